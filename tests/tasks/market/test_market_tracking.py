"""Tracking in MLflow: a SQLite database, a PostgreSQL server, and a server that is down."""

import getpass
import math
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from earmark.errors import MissingExtraError
from earmark.tasks.market.training.config import train_config
from earmark.tasks.market.training.tracking import EXPERIMENTS, flattened, resolve_uri, track
from earmark.tasks.market.training.train import train

mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("default")  # those of MLflow and its drivers are theirs


PLAIN = {"model_name": "majority", "sequence_length": 10, "export_onnx": False}


@pytest.fixture(scope="module")
def tracked(learnable, network):
    """A run, the name it was tracked under, and the project's own database."""
    uri, run = resolve_uri(learnable, None, wanted=True), network[0].run
    done = track(run, uri, "model_training")
    assert done.run_id is not None, done.warnings
    return run, done.run_id, uri


def check_tracked(run, run_id, uri):
    """All numbers, parameters, tags and files of `run` are there, read by MLflow's own client."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    found = client.get_run(run_id)
    assert found.info.status == "FINISHED" and found.info.run_name == run.name
    assert client.get_experiment(found.info.experiment_id).name == "model_training"
    params = found.data.params
    assert params["settings.epochs"] == "3" and params["recipe.algorithm"] == "hybrid_cnn_lstm"
    assert all(len(value) <= 500 for value in params.values())
    losses = client.get_metric_history(run_id, "validation_loss")
    assert [metric.step for metric in losses] == [0, 1, 2]
    for name, score in run.metrics.items():
        value = found.data.metrics[f"test_{name}"]
        if score["value"] is None:
            assert math.isnan(value)
        else:
            assert value == pytest.approx(score["value"])
    tags = found.data.tags
    assert tags["framework"] == "earmark" and float(tags["f1"]) == pytest.approx(
        run.metrics["macro_f1"]["value"]
    )
    return client


def test_a_run_is_tracked_whole(tracked):
    run, run_id, uri = tracked
    client = check_tracked(run, run_id, uri)
    assert uri.endswith("data/mlflow/mlruns.db") and Path(uri.removeprefix("sqlite:///")).is_file()
    assert set(EXPERIMENTS) <= {experiment.name for experiment in client.search_experiments()}
    files = {file.path for file in client.list_artifacts(run_id, "run")}
    assert {"run/run.toml", "run/test.parquet", "run/MODEL_CARD.md"} <= files
    assert not (Path.cwd() / "mlruns").exists()


def test_the_model_has_its_signature(tracked):
    _, run_id, uri = tracked
    client = mlflow.MlflowClient(tracking_uri=uri)
    info = mlflow.models.get_model_info(client.download_artifacts(run_id, "model"))
    assert info.signature.inputs.inputs[0].shape == (-1, 10, 112)
    assert info.signature.outputs.inputs[0].shape == (-1, 5)


def test_a_training_that_is_asked_to_tracks_itself(tracked, learnable):
    uri = tracked[2]
    result = train(learnable, train_config(PLAIN, {"mlflow_uri": uri}), reuse=False)
    found = mlflow.MlflowClient(tracking_uri=uri).get_run(result.mlflow_run)
    assert found.info.run_name == result.run.name and found.info.status == "FINISHED"


def test_a_server_that_is_down_costs_nothing(learnable):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        uri = f"http://me:secret@127.0.0.1:{free.getsockname()[1]}"
    result = train(learnable, train_config(PLAIN, {"mlflow_uri": uri}), reuse=False)
    assert result.run.path.is_dir() and result.mlflow_run is None
    said = next(text for text in result.messages if "did not take the run" in text)
    assert "earmark runs track" in said and "secret" not in said
    assert "secret" not in (result.run.path / "run.toml").read_text()


def test_undefined_numbers_stay_undefined(tracked):
    real, _, uri = tracked
    run = type(real)(real.path, real.config)
    run.__dict__["metrics"] = {**run.metrics, "mcc": {"value": None, "direction": "higher", "folds": []}}
    done = track(run, uri, "model_training")
    found = mlflow.MlflowClient(tracking_uri=uri).get_run(done.run_id)
    assert math.isnan(found.data.metrics["test_mcc"])


def test_values_are_flattened_and_cut():
    found = flattened({"a": {"b": [1, 2], "c": None}, "d": "x" * 900})
    assert found == {"a.b": "[1, 2]", "a.c": "nan", "d": "x" * 500}


def test_the_uri_is_asked_for_or_of_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert resolve_uri(tmp_path, None) is None
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert resolve_uri(tmp_path, None) == "http://127.0.0.1:5000"
    assert resolve_uri(tmp_path, "sqlite:///a.db") == "sqlite:///a.db"


def test_without_mlflow_the_extra_is_named(tracked, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "mlflow", None)
    with pytest.raises(MissingExtraError, match=r"earmark\[track\]"):
        track(tracked[0], "sqlite:///x.db", "model_training")


def server_programs():
    """Folder of PostgreSQL's programs, newest first; None where there are none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), reverse=True)
    on_path = shutil.which("initdb")
    return found[0].parent if found else Path(on_path).parent if on_path else None


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory):
    """A PostgreSQL server of its own on a free port; it refuses to run as root."""
    programs = server_programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed; apt-get install postgresql")
    as_user = []
    if getpass.getuser() == "root":
        if subprocess.run(["id", "postgres"], capture_output=True).returncode or not shutil.which("runuser"):
            pytest.skip(
                "PostgreSQL does not run as root, and there is no user postgres; apt-get install postgresql"
            )
        as_user = ["runuser", "-u", "postgres", "--"]
    folder = tmp_path_factory.mktemp("postgresql")
    if as_user:
        for path in (folder, *folder.parents):
            if path == Path(path.anchor) or path.parent == Path(path.anchor):
                break
            path.chmod(0o755)
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    def call(program, *args):
        done = subprocess.run(
            [*as_user, str(programs / program), *args],
            capture_output=True,
            text=True,
            cwd=folder,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr

    data = str(folder / "data")
    call("initdb", "-D", data, "-U", "tracker", "--auth=trust", "--no-sync", "-E", "UTF8")
    options = f"-p {port} -h 127.0.0.1 -k {folder} -c fsync=off"
    call("pg_ctl", "-D", data, "-o", options, "-l", str(folder / "log"), "-w", "start")
    try:
        call("createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "tracker", "mlflow")
        yield f"postgresql+psycopg2://tracker@127.0.0.1:{port}/mlflow"
    finally:
        call("pg_ctl", "-D", data, "-m", "immediate", "stop")


@pytest.mark.slow
def test_a_run_is_tracked_in_postgresql(tracked, postgresql, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = tracked[0]
    done = track(run, postgresql.replace("+psycopg2", ""), "model_training")
    assert done.run_id is not None, done.warnings
    check_tracked(run, done.run_id, postgresql)
