"""`earmark evaluate market`: scores of the right windows, a seal that keeps its record, drift that is found or not."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from series_store import sample_rows
from serving_runs import LENGTH, trained_project
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef, roc_auc_score

from earmark.cli.main import run as program
from earmark.errors import RunError, UsageError
from earmark.models.sequence.base import SequencePrediction
from earmark.tasks.market.assessment.drift import drift
from earmark.tasks.market.assessment.evaluate import evaluate
from earmark.tasks.market.assessment.schemes import SchemeOptions, evaluate_scheme
from earmark.tasks.market.assessment.sections import class_warnings, confidence_rows, direction_auc
from earmark.tasks.market.prepare import PrepareOptions, load_prepared, prepare
from earmark.tasks.market.serving.model import chosen_run


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return trained_project(tmp_path_factory, "assessed")


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
    assert "blocks of time" in page and "all windows:" in page
    for foreign in (
        "out of fold",
        "must not straddle",
        "were not recorded",
        "Not recorded",
        ">file<",
        "items",
    ):
        assert foreign not in page.split("<body", 1)[-1], foreign
    assert not {"sources.csv", "feature_importance.csv"} & names
    errors = (assessed.folder / "errors.csv").read_text().splitlines()
    assert errors[1].startswith(("4USDT 2025-06-15 ", "ETHUSDT 2025-06-15 "))
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


def test_the_seal_is_opened_on_record_or_not_at_all(tmp_path_factory):
    folder = trained_project(tmp_path_factory, "sealed")
    run, ledger = chosen_run(folder, "latest"), folder / "data/market/ledger.jsonl"
    with pytest.raises(UsageError, match="--reason"):
        evaluate(folder, run, split="sealed")
    assert not ledger.exists()
    found = evaluate(folder, run, split="sealed", reason="final score", save=False)
    events = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert [(e["event"], e["run"], e["reason"]) for e in events] == [("open", run.name, "final score")]
    assert found.evaluation.test_openings == 1 and found.folder is None
    assert found.part.windows.time_ms.min() > run.config["data"]["end_ms"]
    assert evaluate(folder, run, save=False).evaluation.test_openings == 1, "later reports count it"
    prepare(folder, PrepareOptions(symbols=("4USDT",), sequence_length=LENGTH))
    for asked in ({"split": "sealed", "reason": "once more"}, {"split": "test"}):
        with pytest.raises(RunError, match="another division of the data"):
            evaluate(folder, run, **asked)
    assert len(ledger.read_text().splitlines()) == 1, "a refused evaluation opens nothing"


@pytest.mark.parametrize(
    ("asked", "n_splits", "n_paths"),
    [
        (SchemeOptions("walk_forward", folds=2), 2, 1),
        (SchemeOptions("cpcv", groups=3, test_groups=1, pbo=True, cost=0.0), 6, 2),
    ],
)
def test_the_configuration_of_a_run_is_trained_anew_on_every_split(
    project, run, tmp_path, monkeypatch, asked, n_splits, n_paths
):
    from earmark.tasks.market.training import analyses

    monkeypatch.setattr(analyses, "ALTERNATIVES", {"the last": ("last_direction", {})})
    last = int(load_prepared(project).test.time_ms.min())
    found = evaluate_scheme(project, run, asked, output=tmp_path)
    document = json.loads((tmp_path / f"{asked.scheme}.json").read_text())
    assert document == found.to_json() and document["run"] == run.name and document["cost"] == asked.cost
    assert len(document["splits"]) == n_splits and len(document["paths"]) == n_paths
    assert all(split["last_ms"] < last for split in document["splits"]), "the test part is left alone"
    names = ["logistic", "the last"] if asked.pbo else ["logistic"]
    assert {path["configuration"] for path in document["paths"]} == set(names)
    assert found.report.selection.n_configurations == len(names)
    assert ("overfitting" in found.sentence() or "PBO" in found.sentence()) == asked.pbo
    assert len((tmp_path / "splits.csv").read_text().splitlines()) == n_splits + 1


def test_a_split_trains_what_the_run_was(project, run):
    """Fitted on the run's own training windows, the configuration is the run's model, to the last bit."""
    from earmark.tasks.market.assessment.schemes import configurations_of

    (own,) = configurations_of(run, pbo=False)
    prepared = load_prepared(project)
    again = own.make().fit(prepared.train, prepared.validation).predict(prepared.test)
    then = run.part("test").select(pl.col("^probability_.*$")).to_numpy()
    assert np.array_equal(again.probabilities, then)


def test_trials_of_a_search_for_the_model_deflate_its_sharpe_ratio(project, run):
    from earmark.tasks.market.search.state import Folder, SearchState

    folder = Folder(project / "data/hyperopt")
    folder.write(SearchState({"model_name": "logistic"}, "data", {}, ("loss",)))
    folder.write_results([{"state": "complete"}] * 7, {"model_name": "logistic"})
    found = evaluate_scheme(project, run, SchemeOptions("walk_forward", folds=2), save=False)
    assert found.report.selection.n_trials == 8


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
    code, out, err = earmark("evaluate", "market", "--walk-forward", "--folds", "2", "--no-save")
    assert code == 0 and "logistic" in out and "2 splits were trained" in err
    rows = json.loads(earmark("evaluate", "market", "--latency", "--format", "json")[1])
    assert [row["way"] for row in rows] == ["model", "live"]
    assert all(0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] for row in rows)
    for wrong in (
        ["--drift", "--latency"],
        ["--cpcv", "--walk-forward"],
        ["--cpcv", "--folds", "3"],
        ["--pbo"],
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
