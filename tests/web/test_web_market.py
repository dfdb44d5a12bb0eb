"""The management API of market: every field works or is refused, the registry is guarded, a real training is told."""

import pytest
from web_client import client_of
from web_market import API, QUICK, SOCKET, add_run, learnable_project, wait_for, wait_for_job

from earmark.tasks.market.training.config import describe_fields
from earmark.training.production import promote
from earmark.training.runs import load_run
from earmark.web.api.market.training import TrainRequest
from earmark.web.forms import arguments, form_of
from earmark.web.paths import AllowList

FIELDS = describe_fields()
OTHER = {
    "preset": "quick_experiment",
    "model_name": "mpd",
    "data_path": "data/ml_training",
    "symbols": ["ETHUSDT"],
    "days": 3.5,
    "start_date": "2026-01-01",
    "end_date": "2026-02-01",
    "feature_group": "mine",
    "label_set": "fixed-1",
    "ml_model_config": {"preset": "tiny"},
    "trainer_config": {"accumulation": 1},
    "data_config": {"stride": 5},
}
"""A value that differs from the page's, where the declaration does not lead to one."""

NEEDS = {
    "class_weight_method": {"use_class_weights": True},
    "oversample_method": {"use_oversampling": True},
    "oversample_ratio": {"use_oversampling": True},
    "rolling_window_size": {"use_rolling_normalization": True},
    "tb_tp_multiplier": {"labeling_method": "triple_barrier"},
    "tb_sl_multiplier": {"labeling_method": "triple_barrier"},
    "tb_max_holding_period": {"labeling_method": "triple_barrier"},
    "cpcv_n_splits": {"use_cpcv": True},
    "cpcv_n_test_splits": {"use_cpcv": True},
    "calculate_pbo": {"use_cpcv": True},
    "int8": {"export_onnx": True},
    "data_path": {"data_source": "legacy"},
}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A store with labels and no run."""
    return learnable_project(tmp_path_factory.mktemp("market"), n=700)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of an empty project, in which nothing is ever started."""
    with client_of(tmp_path_factory.mktemp("empty")) as found:
        yield found


def another(field):
    """A valid value that is not the page's default."""
    if field["name"] in OTHER:
        return OTHER[field["name"]]
    shown, limits = field["page"], field["limits"]
    if field["choices"]:
        return next(one for one in field["choices"] if one != shown)
    if isinstance(shown, bool):
        return not shown
    low, high = limits.get("ge", limits.get("gt")), limits.get("le", limits.get("lt"))
    if isinstance(shown, float):
        return (shown + high) / 2 if shown != high else (shown + low) / 2
    return (shown or low) + 1 if high is None or (shown or low) < high else shown - 1


@pytest.mark.parametrize(
    "field", [one for one in FIELDS if one["name"] != "mlflow_uri"], ids=lambda one: one["name"]
)
def test_every_field_of_a_training_reaches_the_command(field, tmp_path):
    """What is given in the request stands in the command line; nothing is read and forgotten."""
    value = another(field)
    request = TrainRequest(**{**NEEDS.get(field["name"], {}), field["name"]: value})
    values = {name: _as_text(one) for name, one in request.values().items()}
    words = arguments(form_of("train", "market"), values, AllowList((tmp_path,)))
    given = [word for word in words if word.startswith((f"--set={field['name']}=", f"--{field['name']}="))]
    assert len(given) == 1, words
    shown = given[0].partition("=")[2].partition("=")[2] or given[0].partition("=")[2]
    assert shown.lower().strip('"').endswith(_as_text(value).lower().rpartition("/")[2])


def _as_text(value):
    import json

    if isinstance(value, dict):
        return json.dumps(value)
    return ",".join(value) if isinstance(value, list | tuple) else str(value)


@pytest.mark.parametrize("field", [one for one in FIELDS if one["limits"]], ids=lambda one: one["name"])
def test_a_value_out_of_range_is_refused_with_its_field(field, client):
    """422 names the field, and nothing is started."""
    limits = field["limits"]
    bad = limits["ge"] - 1 if "ge" in limits else limits["gt"]
    answer = client.post(f"{API}/train", json={field["name"]: bad})
    assert answer.status_code == 422
    assert [one["loc"][-1] for one in answer.json()["detail"]] == [field["name"]]
    assert client.get(f"{API}/training/status").json()["jobs"] == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"nonsense": 1}, "nonsense"),
        ({"model_name": "tlop"}, "model_name"),
        ({"preset": "nothing"}, "preset"),
        ({"data_source": "legacy", "data_path": "/etc"}, "data_path"),
        ({"data_source": "legacy", "data_path": "../.."}, "data_path"),
        ({"trainer_config": "no object"}, "trainer_config"),
        ({"use_class_weights": True, "use_oversampling": True}, "values"),
    ],
)
def test_what_no_training_takes_is_refused(body, field, client):
    """Unknown names, models and presets, paths outside, two ways of balancing."""
    answer = client.post(f"{API}/train", json=body)
    assert answer.status_code == 422
    assert field in {one["loc"][-1] for one in answer.json()["detail"]}


def test_other_commands_refuse_by_field_too(client):
    """Labels, searches, the collector and the holdout take the options of their commands."""
    for path, body, field in (
        (f"{API}/label", {"threshold": "often", "tolerance_s": -1}, "tolerance_s"),
        (f"{API}/collector/start", {"venue": "somewhere"}, "venue"),
        ("/api/hyperopt/start", {"trials": 0}, "trials"),
        ("/api/ml-backtesting/holdout", {"holdout_days": 0}, "holdout_days"),
        (f"{API}/retraining/start", {"schedule": "soon"}, "schedule"),
        ("/api/ensemble/training/start", {"model_type": "gbm"}, "model_type"),
    ):
        answer = client.post(path, json=body)
        assert answer.status_code == 422, path
        assert field in {one["loc"][-1] for one in answer.json()["detail"]}, path


def test_nothing_is_there_and_all_says_so(client):
    """An empty project: no error, and the command that is next."""
    data = client.get(f"{API}/data/status").json()
    assert (data["rows"], data["ready"]) == (0, False)
    assert "earmark collect market" in data["messages"][0]
    assert client.get(f"{API}/training/status").json()["is_training"] is False
    assert client.get(f"{API}/models").json()["total"] == 0
    assert client.get("/api/hyperopt/status").json()["state"] is None
    assert client.get("/api/hyperopt/best-params").status_code == 404
    assert client.get("/api/ml-backtesting/holdout").json() == []
    assert client.get("/api/ensemble/training/available-symbols").json() == {"symbols": []}
    assert "earmark collect market" in client.get(f"{API}/collector/status").json()["message"]
    for path in (
        f"{API}/retraining/stop",
        f"{API}/collector/stop",
        "/api/hyperopt/stop",
        "/api/hyperopt/resume",
    ):
        assert client.post(path).status_code == 409, path
    assert client.post(f"{API}/retraining/trigger").status_code == 409
    refused = client.delete("/api/ml-backtesting/holdout/sealed")
    assert refused.status_code == 409
    assert "--reseal" in refused.json()["detail"]
    runs = client.get(f"{API}/mlflow/runs").json()
    assert (runs["runs"], "--mlflow" in runs["reason"]) == ([], True)
    assert client.get(f"{API}/mlflow/best-run?metric=val_accuracy").json()["run"] is None


def test_readiness_of_a_store(project):
    """Rows, symbols and coverage, and a holdout that can be sealed."""
    with client_of(project) as client:
        data = client.get(f"{API}/data/status").json()
        assert (data["rows"], data["symbols"]) == (1400, ["4USDT", "ETHUSDT"])
        assert data["coverage"]["60"] > 0.99
        assert data["schema_ok"]
        symbols = client.get("/api/ensemble/training/available-symbols").json()["symbols"]
        assert symbols == ["4USDT", "ETHUSDT"]


def test_the_registry_and_its_guards(tmp_path, monkeypatch):
    """Stages, files under their names, 400, 404 and 409; the model in production is never deleted."""
    for at, passed in ((1, True), (2, True), (3, False)):
        add_run(tmp_path, f"20260102-00000{at}-gbm", passed=passed)
    root = tmp_path / "runs"
    monkeypatch.setattr("earmark.training.runs.Run.classifier", lambda run: None)  # there is no model to load
    promote(root, load_run(root / "market" / "20260102-000001-gbm"))
    with client_of(tmp_path) as client:
        address = f"{API}/models/gbm/20260102-00000"
        listed = client.get(f"{API}/models").json()
        assert [one["version"][-5] for one in listed["models"]] == ["3", "2", "1"]
        assert listed["counts"] == {"production": 1, "staging": 0, "archived": 0, "none": 2}
        assert [one["stage"] for one in client.get(f"{API}/models?stage=production").json()["models"]] == [
            "production"
        ]
        assert client.post(f"{address}1-gbm/promote?stage=best").status_code == 400
        assert client.post(f"{address}9-gbm/promote").status_code == 404
        assert client.post(f"{API}/models/mpd/20260102-000001-gbm/promote").status_code == 404
        gate = client.post(f"{address}3-gbm/promote")
        assert (gate.status_code, "gate" in gate.json()["detail"]) == (409, True)
        assert client.post(f"{address}1-gbm/promote?stage=archived").status_code == 409
        assert client.post(f"{address}2-gbm/promote?stage=staging").json()["stage"] == "staging"
        kept = client.delete(f"{address}1-gbm")
        assert (kept.status_code, "in production" in kept.json()["detail"]) == (409, True)
        file = client.get(f"{address}2-gbm/download")
        assert file.content == b"20260102-000002-gbm"
        assert "20260102-000002-gbm-model.onnx" in file.headers["content-disposition"]
        for name in ("best_metrics.json", "../20260102-000001-gbm/model.onnx", "/etc/passwd", ""):
            assert client.get(f"{address}2-gbm/download", params={"file": name}).status_code == 404
        assert client.delete(f"{address}2-gbm").status_code == 204
        assert not (root / "market" / "20260102-000002-gbm").exists()
        assert client.get(f"{API}/models").json()["total"] == 2
        assert client.post(f"{API}/models/rollback").status_code == 409


@pytest.mark.slow
def test_a_training_is_started_told_and_found_again(project):
    """One at a time, a message per epoch, a result, a run; a server that starts later knows it all."""
    settings = {**QUICK, "epochs": 2, "auto_promote": False}
    with client_of(project) as client:
        with client.websocket_connect(f"{SOCKET}{API}/ws") as socket:
            started = client.post(f"{API}/train", json=settings).json()
            assert started["status"] == "started"
            assert client.post(f"{API}/train", json=settings).status_code == 409
            queued = client.post(f"{API}/train?queue=true", json=settings).json()
            assert client.post(f"{API}/training/{queued['job_id']}/cancel").json()["status"] == "cancelled"
            told = _messages_of(socket, started["job_id"])
        assert [one["status"] for one in told] == ["started", "training", "training", "completed"]
        assert [(one["epoch"], one["total_epochs"]) for one in told[1:3]] == [(1, 2), (2, 2)]
        assert {"train_loss", "val_loss", "val_accuracy"} <= set(told[1]["metrics"])
        assert told[1]["progress_pct"] == 50
        wait_for_job(client, started["job_id"])
    with client_of(project) as client:
        state = client.get(f"{API}/training/status").json()
        last = state["last_completed"]
        assert (state["is_training"], last["job_id"]) == (False, started["job_id"])
        assert last["progress"]["current_epoch"] == last["progress"]["total_epochs"] == 2
        assert last["progress"]["best_val_accuracy"] >= last["progress"]["val_accuracy"]
        assert last["params"]["epochs"] == 2
        assert last["result"]["promoted"] is False
        [model] = client.get(f"{API}/models").json()["models"]
        assert model["version"] == last["result"]["run"]
        assert client.post(f"{API}/training/{started['job_id']}/cancel").status_code == 409
        assert client.post(f"{API}/training/20010101_000000/cancel").status_code == 404
        assert client.get("/api/ml-backtesting/holdout").json()[0]["openings"] == 0


def _messages_of(socket, job_id):
    found = []
    while not found or found[-1]["status"] not in ("completed", "failed"):
        message = socket.receive_json()
        if message["task_id"] == job_id:
            found.append(message)
    return found


@pytest.mark.slow
def test_a_training_that_is_cancelled_is_told_as_such(project):
    """The job ends, its process too, and the socket says why; MPD is told by its own socket."""
    body = {
        "model_type": "mpd",
        "settings": {**QUICK, "model_name": "mpd", "epochs": 400, "sequence_length": 60},
    }
    body["settings"] |= {"ml_model_config": {"preset": "tiny"}, "early_stopping_patience": 0, "dropout": 0.2}
    with client_of(project) as client, client.websocket_connect(f"{SOCKET}/api/ensemble/ws") as socket:
        job_id = client.post("/api/ensemble/training/start", json=body).json()["job_id"]
        first = socket.receive_json()
        assert (first["status"], first["model_type"]) == ("started", "mpd")
        while socket.receive_json()["status"] != "training":
            pass
        assert client.get(f"/api/ensemble/training/status/{job_id}").json()["progress"]["current_epoch"] >= 1
        assert [one["job_id"] for one in client.get("/api/ensemble/training/list").json()] == [job_id]
        client.post(f"/api/ensemble/training/cancel/{job_id}")
        last = _messages_of(socket, job_id)[-1]
        assert (last["status"], last["message"]) == ("failed", "cancelled")
        state = client.get(f"/api/ensemble/training/status/{job_id}").json()
        assert state["status"] == "cancelled"


@pytest.mark.slow
def test_a_search_is_stopped_resumed_and_cleared(project):
    """Trials are told as they come; what was found is a body for a training."""
    pytest.importorskip("optuna", reason='pip install "earmark[search]"')
    values = {
        "model": "gbm",
        "mode": "group",
        "group": "regularization",
        "trials": 40,
        "patience": 0,
        "epochs": 20,
    }
    values |= {"set": "sequence_length=10\ndata_config.stride=2"}
    with client_of(project) as client:
        started = client.post("/api/hyperopt/start", json=values)
        assert started.status_code == 200, started.text
        job_id = started.json()["job_id"]
        assert client.post("/api/hyperopt/start", json=values).status_code == 409
        assert client.post("/api/hyperopt/clear").status_code == 409
        wait_for(lambda: (client.get("/api/hyperopt/status").json()["latest_trial"] or {}).get("done"), 90)
        client.post("/api/hyperopt/stop")
        assert wait_for_job(client, job_id)["status"] == "cancelled"
        status = client.get("/api/hyperopt/status").json()
        assert (status["is_running"], status["can_resume"], status["state"]) == (False, True, "interrupted")
        resumed = client.post("/api/hyperopt/resume").json()["job_id"]
        client.post("/api/hyperopt/stop")
        wait_for_job(client, resumed)
        assert len(client.get("/api/hyperopt/history").json()) == 2
        assert client.post("/api/hyperopt/clear").status_code == 204
        assert client.get("/api/hyperopt/status").json()["state"] is None


@pytest.mark.slow
def test_retraining_is_a_service(project):
    """It starts, takes a request for a training, writes down what it did, and stops."""
    settings = {**QUICK, "epochs": 1, "auto_promote": False, "seed": 7}
    with client_of(project) as client:
        started = client.post(f"{API}/retraining/start", json={"schedule": "never", "settings": settings})
        assert started.status_code == 200, started.text
        assert client.post(f"{API}/retraining/start", json={}).status_code == 409
        wait_for(lambda: client.get(f"{API}/retraining/status").json()["history"], 60)
        assert client.post(f"{API}/retraining/trigger?trigger=drift").status_code == 409
        assert client.post(f"{API}/retraining/trigger").json()["status"] == "triggered"
        events = lambda: [one["event"] for one in client.get(f"{API}/retraining/status").json()["history"]]  # noqa: E731
        wait_for(lambda: {"trained", "failed"} & set(events()), 120)
        assert "trained" in events()
        assert client.get(f"{API}/training/status").json()["is_training"] is False
        client.post(f"{API}/retraining/stop")
        job = wait_for_job(client, started.json()["job_id"])
        assert job["status"] == "cancelled"
        assert client.get(f"{API}/retraining/status").json()["is_running"] is False


@pytest.mark.slow
def test_a_collector_is_a_service(tmp_path):
    """It collects from the shipped exchange until it is stopped, and tells how it fares per symbol."""
    with client_of(tmp_path) as client:
        values = {"symbols": "BTCUSDT", "simulator": True, "speed": 60}
        started = client.post(f"{API}/collector/start", json=values)
        assert started.status_code == 200, started.text
        state = lambda: client.get(f"{API}/collector/status").json()  # noqa: E731
        wait_for(lambda: state()["symbols"] and state()["symbols"][0]["samples"], 120)
        [symbol] = state()["symbols"]
        assert (symbol["symbol"], symbol["crossed"]) == ("BTCUSDT", 0)
        client.post(f"{API}/collector/stop")
        wait_for_job(client, started.json()["job_id"])
        assert state()["is_running"] is False
        assert client.get(f"{API}/data/status").json()["rows"] > 0
