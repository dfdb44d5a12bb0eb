"""Walk-forward and CPCV train every split; on noise nothing is significant, on a signal little is luck."""

import json
from dataclasses import replace
from math import comb

import numpy as np
import pytest
from search_objectives import STEP_MS, planted

from earmark.data import timeline
from earmark.data.windows import make_windows
from earmark.errors import UsageError
from earmark.models.sequence.classifier import SequenceClassifier
from earmark.tasks.market.training.analyses import alternatives_to, trials_before
from earmark.tasks.market.validation_schemes import Configuration, cpcv_report, fit_split, walk_forward_report

LONG = {"symbols": ("AUSDT",), "step_ms": 900_000, "edge": 0.1}
"""Rows a quarter of an hour apart: hours enough for statistics of hours, and few neutral, so that models trade."""
CLOSE = {"embargo": 2 * STEP_MS}


def logistic(strength=1.0, **params):
    return Configuration(
        f"logistic {strength:g}{params or ''}",
        lambda: SequenceClassifier.make("logistic", strength=strength, **params),
    )


def seeing(column):
    """A configuration that sees one column alone: the others are made constant by its own copy of the table."""

    class OneColumn(SequenceClassifier):
        def _only(self, windows):
            X = np.zeros_like(windows.table.X)
            X[:, column] = windows.table.X[:, column]
            return replace(windows, table=replace(windows.table, X=X))

        def fit(self, train, validation=None, **given):
            return super().fit(self._only(train), validation, **given)

        def predict(self, windows):
            return super().predict(self._only(windows))

    return Configuration(f"column {column}", lambda: OneColumn.make("logistic"))


def windows_of(**given):
    return make_windows(planted(**given), 4)


def test_each_walk_forward_split_is_trained_on_its_own_past():
    fitted = []

    class Recording(SequenceClassifier):
        def fit(self, train, validation=None, **given):
            fitted.append((int(train.label_end_ms.max()), len(train)))
            return super().fit(train, validation, **given)

    windows = windows_of()
    report = walk_forward_report(
        windows, [Configuration("logistic", lambda: Recording.make("logistic"))], **CLOSE
    )
    assert len(fitted) == len(report.splits) == 5
    assert [n for _, n in fitted] == sorted(n for _, n in fitted) == [split.train for split in report.splits]
    assert all(end < split.first_ms for (end, _), split in zip(fitted, report.splits, strict=True))


def test_cpcv_gives_all_splits_and_paths():
    windows, told = windows_of(), []
    report = cpcv_report(
        windows,
        [logistic()],
        n_groups=5,
        k=2,
        purge_ms=0,
        **CLOSE,
        on_split=lambda name, done, total: told.append((done, total)),
    )
    assert len(report.splits) == comb(5, 2) and len(report.paths) == comb(4, 1)
    assert told[-1] == (10, 10)
    for path in report.paths:
        assert path.scores["macro_f1"].low < path.scores["macro_f1"].value < path.scores["macro_f1"].high
    assert len({path.scores["log_loss"].value for path in report.paths}) == 4


def test_a_path_predicts_each_window_by_the_fold_that_did_not_train_on_it():
    windows = windows_of(n=200)
    report = cpcv_report(windows, [logistic()], n_groups=4, k=1, purge_ms=0, embargo=0, cost=0)
    folds = timeline.combinatorial_purged(windows, 4, 1, purge_ms=0, embargo=0)
    said = np.empty(len(windows))
    for fold in folds:
        model = SequenceClassifier.make("logistic", strength=1.0).fit(fold.train)
        said[np.isin(windows.ends, fold.test.ends)] = model.predict(fold.test).direction
    (path,) = report.paths
    assert path.scores["accuracy"].value == pytest.approx((said == windows.y).mean())


def test_known_values_decide_a_window_that_lacks_some():
    table = planted(n=200)
    X = table.X.copy()
    X[::10, 1] = np.nan
    windows = make_windows(replace(table, X=X), 4)
    report = walk_forward_report(windows, [logistic()], n=2, **CLOSE)
    assert all(0 < split.abstained < split.test for split in report.splits)
    assert all(np.isfinite(split.scores["log_loss"].value) for split in report.splits)


def test_a_model_that_stops_early_watches_only_training_windows():
    windows = windows_of(n=300)
    seen = []

    class Recording(SequenceClassifier):
        def fit(self, train, validation=None, **given):
            seen.append((train, validation))
            return super().fit(train, validation, **given)

    fit_split(Recording.make("gbm", n_trees=5), windows)
    train, validation = seen[0]
    assert set(validation.ends) < set(windows.ends)
    assert train.label_end_ms.max() < validation.start_ms.min()


@pytest.mark.parametrize("scheme", [walk_forward_report, pytest.param(cpcv_report, marks=pytest.mark.slow)])
def test_noise_is_not_significant(scheme):
    configurations = [seeing(column) for column in range(4)]
    pbos, deflated = [], []
    for seed in range(6):
        found = scheme(windows_of(n=900, signal=0.0, seed=seed, **LONG), configurations, cost=0).selection
        pbos.append(found.pbo)
        deflated.append(found.is_significant)
    assert 0.35 < np.mean(pbos) < 0.75
    assert not any(deflated)


def test_a_signal_is_found_and_choosing_it_is_not_luck():
    configurations = [seeing(column) for column in range(4)]
    report = walk_forward_report(windows_of(n=1200, **LONG), configurations, cost=0)
    found = report.selection
    assert found.best == "column 0"
    assert found.pbo < 0.1 and found.band == "low"
    assert found.is_significant
    assert json.loads(json.dumps(report.to_json(), allow_nan=False))["selection"]["best"] == "column 0"


def test_trials_of_a_search_deflate():
    windows = windows_of(n=900, signal=0.15, **LONG)
    values = [
        walk_forward_report(windows, [logistic()], cost=0, n_trials=n).selection.deflated_sharpe
        for n in (0, 10, 1000)
    ]
    assert values[0] > values[1] > values[2]


def test_cost_is_paid():
    windows = windows_of(symbols=("AUSDT",))
    free, dear = (walk_forward_report(windows, [logistic()], cost=cost, **CLOSE) for cost in (0, 0.01))
    assert dear.paths[0].total_return == pytest.approx(
        free.paths[0].total_return - 0.01 * free.paths[0].n_positions
    )


def test_one_configuration_has_no_pbo_and_says_why():
    found = walk_forward_report(windows_of(), [logistic()], **CLOSE).selection
    assert found.pbo is None and "at least two" in found.why_not
    with pytest.raises(UsageError, match="of its own|name of its"):
        walk_forward_report(windows_of(), [logistic(), logistic()], **CLOSE)


@pytest.mark.slow
def test_a_training_keeps_the_analyses_that_it_was_asked_for(tmp_path):
    from learnable_store import learnable_project

    from earmark.tasks.market.training.config import train_config
    from earmark.tasks.market.training.train import train

    asked = {"model_name": "logistic", "sequence_length": 5, "export_onnx": False, "auto_promote": False}
    config = train_config(asked, {"use_cpcv": True, "cpcv_n_splits": 4, "cpcv_n_test_splits": 1})
    run = train(learnable_project(tmp_path, 900), config).run
    found = run.config["analyses"]["cpcv"]
    assert found["paths"] == 1 and 0 <= found["macro_f1_worst"] <= 1
    report = json.loads((run.path / "cpcv.json").read_text())
    assert len(report["splits"]) == 4
    windows_end = run.config["data"]["split"]["instants_ms"][1]
    assert max(split["last_ms"] for split in report["splits"]) < windows_end


def test_small_configurations_beside_a_model_are_of_other_models():
    from earmark.models.sequence.classifier import Scaling

    names = {
        algorithm: [configuration.name for configuration in alternatives_to(algorithm, Scaling())]
        for algorithm in ("hybrid_cnn_lstm", "gbm", "logistic")
    }
    assert len(names["hybrid_cnn_lstm"]) == 4
    assert names["gbm"] + names["logistic"] == names["hybrid_cnn_lstm"]
    windows = windows_of(n=900, **LONG)
    found = walk_forward_report(windows, alternatives_to("mpd", Scaling()), n=2, cost=0).selection
    assert found.n_configurations == 4 and 0 <= found.pbo <= 1


def test_trials_are_those_of_the_search_for_the_model(tmp_path):
    from earmark.tasks.market.prepare import data_folder
    from earmark.tasks.market.search.state import Folder, SearchState

    assert trials_before(tmp_path, "gbm") == 0
    folder = Folder(data_folder(tmp_path) / "hyperopt")
    folder.path.mkdir(parents=True)
    folder.write(SearchState({"model_name": "gbm"}, "data", {}, ()))
    states = ("complete", "pruned", "fail", "interrupted", "complete")
    folder.write_results([{"state": state} for state in states], {})
    assert trials_before(tmp_path, "gbm") == 3 and trials_before(tmp_path, "logistic") == 0


@pytest.mark.slow
def test_a_training_is_compared_with_small_models_and_deflated_for_its_search(tmp_path):
    """On the 112 columns and two symbols of a stored project, as `calculate_pbo` of a user does."""
    pytest.importorskip("optuna")
    from functools import partial

    from learnable_store import learnable_project

    from earmark.tasks.market.search.objective import project_objective
    from earmark.tasks.market.search.search import SearchRequest, search
    from earmark.tasks.market.search.state import Folder
    from earmark.tasks.market.training.config import train_config
    from earmark.tasks.market.training.train import train

    project = learnable_project(tmp_path, 3000)
    base = {"sequence_length": 20, "view": "v1_112"}
    request = SearchRequest("gbm", base, {"epochs": 5}, mode="quick", n_trials=2, patience=0)
    objective = partial(project_objective, project, "gbm", {**base, **request.trial})
    searched = search(Folder(project / "data" / "hyperopt"), request, objective)
    asked = {**base, "model_name": "gbm", "export_onnx": False, "auto_promote": False, "calculate_pbo": True}
    run = train(project, train_config(asked, {"epochs": 40, "ml_model_config": {"summary": "last"}})).run
    found = run.config["analyses"]["walk_forward"]
    assert found["configurations"] == 3
    assert found["trials"] == 3 + len(searched.trials)
    assert 0 <= found["pbo"] <= 1 and found["pbo_band"] in ("low", "moderate", "high", "severe")
    report = json.loads((run.path / "walk_forward.json").read_text())
    assert {row["configuration"] for row in report["paths"]} == {"gbm", "linear", "linear, held back"}
    assert report["selection"]["n_trials"] == found["trials"]
