"""`earmark evaluate market`: scores of the right windows, a seal that keeps its record, drift that is found or not."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from series_store import sample_rows, write_store
from serving_runs import train_run, trained_project
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, roc_auc_score

from earmark.cli.main import run as program
from earmark.errors import RunError, UsageError
from earmark.models.sequence.base import SequencePrediction
from earmark.tasks.market.assessment.drift import drift
from earmark.tasks.market.assessment.evaluate import evaluate
from earmark.tasks.market.assessment.sections import class_warnings, confidence_rows, direction_auc
from earmark.tasks.market.serving.model import chosen_run
from earmark.training.runs import load_run


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("assessed")
    trained_project(folder)
    return folder


@pytest.fixture(scope="module")
def run(project):
    return chosen_run(project, "latest")


@pytest.fixture(scope="module")
def assessed(project, run):
    return evaluate(project, run)


@pytest.fixture
def earmark(project, capsys):
    def call(*args):
        code = program(["-C", str(project), *args])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def test_scores_are_those_of_the_predictions_that_the_run_kept(assessed, run):
    part = run.part("test")
    p = part.select(pl.col("^probability_.*$")).to_numpy()
    y, answer = part["label"].to_numpy(), p.argmax(axis=1)
    found = assessed.evaluation.metrics
    assert found["accuracy"].value == pytest.approx(accuracy_score(y, answer))
    assert found["macro_f1"].value == pytest.approx(f1_score(y, answer, average="macro"))
    assert found["mcc"].value == pytest.approx(matthews_corrcoef(y, answer))
    table = assessed.to_json()["tables"]["direction"]["direction.csv"][0]
    moved = y != 1
    expected = roc_auc_score(y[moved] == 2, p[moved, 2] / (p[moved, 2] + p[moved, 0]))
    assert table["auc_up_down"] == pytest.approx(expected, abs=1e-6) and table["moves"] == moved.sum()
    assert [row.name for row in assessed.evaluation.comparison[1:]] == ["majority", "last_direction"]


def test_symbols_add_up_to_the_whole(assessed):
    rows = assessed.to_json()["tables"]["symbols"]["symbols.csv"]
    assert [row["symbol"] for row in rows] == ["4USDT", "ETHUSDT"] and {r["horizon_s"] for r in rows} == {60}
    total = sum(row["windows"] for row in rows)
    mean = sum(row["windows"] * row["accuracy"] for row in rows) / total
    assert total == assessed.evaluation.n
    assert mean == pytest.approx(assessed.evaluation.metrics["accuracy"].value)


def test_the_report_says_which_rows_were_scored(assessed):
    names = {path.name for path in assessed.folder.iterdir()}
    assert {"report.html", "metrics.json", "MODEL_CARD.md", "symbols.csv", "confidence.csv"} <= names
    page = (assessed.folder / "report.html").read_text()
    assert "Scored on the newest part before the sealed period" in page
    assert (
        "Up against down" in page and "out of fold" not in page.split("<body", 1)[-1].split("</header", 1)[0]
    )


def _part(y, p, confidence=None):
    p = np.asarray(p, np.float32)
    confidence = p.max(axis=1) if confidence is None else np.asarray(confidence, np.float32)
    windows = SimpleNamespace(y=np.asarray(y), movement=np.zeros(len(y)))
    predicted = SequencePrediction(p, confidence, np.zeros(len(y), np.float32))
    return SimpleNamespace(name="test", windows=windows, predicted=predicted, n_left_out=0)


def test_small_cases_by_hand():
    assert (
        direction_auc(np.array([0, 2, 1]), np.array([[0.4, 0.5, 0.1], [0.2, 0.5, 0.3], [0.1, 0.8, 0.1]])) == 1
    )
    assert direction_auc(np.array([0, 2]), np.array([[0.0, 1, 0], [0, 1, 0]])) == 0.5
    assert np.isnan(direction_auc(np.array([2, 2, 1]), np.eye(3)))
    part = _part([0, 1, 1], np.eye(3)[[0, 0, 1]] * 0.7 + 0.1, [0.9, 0.4, 0.6])
    whole, down, _, up = confidence_rows(part, ("down", "neutral", "up"))
    assert (whole["confidence_when_right"], whole["confidence_when_wrong"]) == pytest.approx((0.75, 0.4))
    assert (down["windows"], down["right"]) == (2, 0.5) and np.isnan(up["right"])
    warnings = class_warnings(part, ("down", "neutral", "up"))
    assert len(warnings) == 1 and "No window of the part test is up" in warnings[0]
    assert (
        "never answers neutral"
        in class_warnings(_part([1, 0, 2], np.eye(3)[[0, 0, 2]]), ("down", "neutral", "up"))[0]
    )


def test_the_seal_is_opened_on_record_or_not_at_all(tmp_path):
    run = trained_project(tmp_path, n=900)
    ledger = tmp_path / "data/market/ledger.jsonl"
    with pytest.raises(UsageError, match="--reason"):
        evaluate(tmp_path, run, split="sealed")
    assert not ledger.exists()
    found = evaluate(tmp_path, run, split="sealed", reason="final score", save=False)
    events = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [(e["event"], e["run"], e["reason"]) for e in events] == [("open", run.name, "final score")]
    assert found.evaluation.test_openings == 1 and found.folder is None
    assert found.part.windows.time_ms.min() > run.config["data"]["end_ms"]
    assert evaluate(tmp_path, run, save=False).evaluation.test_openings == 1, "later reports count it"
    write_store(tmp_path, sample_rows("NEW", 900, seed=9), set_id="another")
    train_run(tmp_path, symbols="NEW", label_set="another")
    with pytest.raises(RunError, match="another division of the data"):
        evaluate(tmp_path, load_run(run.path), split="sealed", reason="once more")
    assert len(ledger.read_text().splitlines()) == 1, "a refused evaluation opens nothing"


def test_no_drift_is_found_where_nothing_moved_and_moved_features_are(project, run):
    calm = drift(project, run, window=200)
    assert not any(feature.drifted for feature in calm.drift.features) and calm.window_rows == 200
    rows = sample_rows("4USDT", 600, seed=7, start_ms=int(calm.last_ms) + 30_000)
    moved = rows.with_columns(pl.col("imbalance_5") * 3 + 2, pl.col("spread_volatility") + 4)
    from earmark.store.offline import FeatureStore

    FeatureStore(project / "data/feature_store").write_offline_features("training_features", moved)
    found = drift(project, run, window=400)
    drifted = {feature.feature for feature in found.drift.features if feature.drifted}
    assert {"imbalance_5", "spread_volatility"} <= drifted and len(drifted) <= 6
    assert found.n_history == 2 and found.drift.severity in ("low", "medium", "high", "critical")
    with pytest.raises(UsageError, match="Insufficient data"):
        drift(project, run, window=100_000)


def test_the_command_prints_scores_latency_and_refuses_two_at_once(earmark, project):
    code, out, err = earmark("evaluate", "market", "--split", "val", "--no-save", "--format", "json")
    document = json.loads(out)
    assert code == 0 and {"metrics", "per_class", "confusion", "tables"} <= document.keys()
    assert "these scores flatter" in err and "never opened" in err
    assert earmark("evaluate", "market", "--no-save", "--gate", "accuracy=1.0")[0] == 3
    rows = json.loads(earmark("evaluate", "market", "--latency", "--format", "json")[1])
    assert [row["way"] for row in rows] == ["model", "live"]
    assert all(0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] for row in rows)
    for wrong in (
        ["--drift", "--latency"],
        ["--window", "50"],
        ["--apply"],
        ["--reason", "x"],
        ["a", "--run", "b"],
    ):
        assert earmark("evaluate", "market", *wrong)[0] == 2, wrong
    code, _, err = earmark("evaluate", "market", "--ab")
    assert code != 0 and "live market --challenger" in err


def test_dataset_and_ledger_are_shown(earmark):
    code, out, err = earmark("data", "show", "market", "--format", "json")
    document = json.loads(out)
    assert code == 0 and {row["symbol"] for row in document["rows"]} == {"all", "4USDT", "ETHUSDT"}
    assert "Sealed from" in err and "never opened" in err
    assert earmark("data", "ledger", "market")[0] == 0
