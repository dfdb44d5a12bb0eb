"""The search over settings: scores, pruning, convergence, freezing, and what survives a kill."""

import json
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from search_objectives import Broken, Formula, formula, logistic_objective, planted

from earmark.errors import RunError, UsageError
from earmark.tasks.market.search import scoring
from earmark.tasks.market.search.search import SearchRequest, continued, search
from earmark.tasks.market.search.spaces import BALANCE, Decimal, Whole, around, groups_for, settings_of
from earmark.tasks.market.search.state import Folder
from earmark.tasks.market.search.study import GroupStudy, Limits
from earmark.tasks.market.training.config import train_config
from earmark.tasks.market.training.recipe import series_recipe

pytest.importorskip("optuna")


def quick(folder, objective=formula, **changes):
    found = {"model_name": "mpd", "mode": "quick", "n_trials": 6, "patience": 0} | changes
    return search(Folder(folder), SearchRequest(**found), objective)


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A completed search: its folder, what it found, and what its objective was asked for."""
    folder, objective = tmp_path_factory.mktemp("searched"), Formula()
    return folder, quick(folder, lambda: objective, n_trials=8), objective.calls


# scores ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("share", "factor"), [(0.5, 1), (0.75, 0.6), (0.9, 0.3), (0.99, 0.1), (1, 0.1)])
def test_collapsed_predictions_cost_score(share, factor):
    scores = {"val_f1": 0.5, "val_loss": 0.8, "largest_share": share}
    assert scoring.objective(scores, "val_f1") == pytest.approx(0.5 * factor)
    assert scoring.objective(scores, "val_loss") == pytest.approx(-0.8 / factor)


def test_scores_equal_those_of_scikit_learn():
    from sklearn.metrics import f1_score, log_loss, matthews_corrcoef

    rng = np.random.default_rng(1)
    y, p = rng.integers(0, 3, 200), rng.dirichlet(np.ones(3), 200)
    said, found = p.argmax(axis=1), scoring.scores_of(y, p)
    assert found["val_f1"] == pytest.approx(f1_score(y, said, average="macro"))
    assert found["val_mcc"] == pytest.approx(matthews_corrcoef(y, said))
    assert found["val_loss"] == pytest.approx(log_loss(y, p))
    constant = np.tile([0.2, 0.5, 0.3], (200, 1))
    assert scoring.scores_of(y, constant)["val_mcc"] == 0
    assert scoring.scores_of(y, constant)["largest_share"] == 1


def test_convergence_counts_trials_since_the_last_improvement():
    assert not scoring.has_converged([0.5] * 5)
    assert scoring.has_converged([0.5] + [0.504] * 5)
    assert not scoring.has_converged([0.5, 0.5, 0.5, 0.5, 0.506, 0.5])
    assert scoring.has_converged([0.5, float("-inf"), 0.4, 0.4, 0.4, 0.4])
    assert not scoring.has_converged([0.5] * 50, patience=0)


# spaces ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["hybrid_cnn_lstm", "mpd", "gbm", "logistic"])
def test_every_corner_of_every_space_is_a_valid_configuration(model):
    for group in groups_for(model, {"labeling_method": "triple_barrier"}):
        for end in (0, -1):
            values = {name: dimension.grid()[end] for name, dimension in group.space.items()}
            base = {"model_name": model, "labeling_method": "triple_barrier"}
            series_recipe(train_config(base, settings_of(values)))


def test_what_has_no_meaning_beside_a_switch_is_left_out():
    values = {
        BALANCE: "use_class_weights",
        "oversample_ratio": 0.7,
        "use_focal_loss": False,
        "focal_gamma": 2.0,
    }
    assert settings_of(values) == {
        "use_class_weights": True,
        "use_oversampling": False,
        "use_undersampling": False,
        "use_focal_loss": False,
    }
    assert settings_of(values | {BALANCE: "use_undersampling"})["oversample_ratio"] == 0.7


def test_barriers_are_searched_where_they_make_the_labels():
    assert "triple_barrier" not in [group.name for group in groups_for("mpd", {})]
    barrier = groups_for("mpd", {"labeling_method": "triple_barrier"})[-1]
    assert barrier.metric == "val_mcc"


def test_ranges_are_narrowed_around_the_best_and_stay_inside():
    group = groups_for("mpd", {})[0]
    narrow = around(group, {"learning_rate": 8e-4, "batch_size": 64}).space
    assert narrow["learning_rate"] == Decimal(pytest.approx(8e-4 / 3), 1e-3, log=True)
    assert narrow["batch_size"].values == (64,)
    assert around(groups_for("mpd", {})[4], {"scheduler_T_0": 10}).space["scheduler_T_0"] == Whole(5, 17)


# the search --------------------------------------------------------------------------------------------------------


def test_a_search_finds_the_best_values_and_freezes_them(searched):
    folder, found, calls = searched
    assert [result.group for result in found.results] == ["learning_rate", "regularization", "class_balance"]
    assert 1e-5 < found.best["learning_rate"] < 5e-4
    assert abs(found.best["dropout"] - 0.3) < 0.15
    winner = found.results[0].settings["learning_rate"]
    assert {call["learning_rate"] for call in calls if "dropout" in call} == {winner}
    assert json.loads((folder / "best_params.json").read_text()) == found.best
    train_config(found.best)


def test_the_pruner_is_fed_every_epoch_and_ends_a_hopeless_trial(tmp_path):
    group = groups_for("mpd", {})[0]
    study = GroupStudy(tmp_path / "g.db", "g", group, method="random", metric="val_f1", seed=0)
    for rate in (1e-4, 9e-5, 1.1e-4, 9e-4):
        study.study.enqueue_trial({"learning_rate": rate, "batch_size": 64})
    study.run(formula(), {}, Limits(4, 0), should_stop=lambda: False, on_trial=lambda row: None)
    rows = study.rows()
    assert [row.state for row in rows] == ["complete", "complete", "complete", "pruned"]
    assert [row.epochs for row in rows] == [4, 4, 4, 3]  # two epochs of warm-up, then out
    trained = [len(trial.intermediate_values) for trial in study.study.get_trials()]
    assert trained == [4, 4, 4, 3]


@pytest.mark.slow
def test_a_real_network_is_pruned_by_its_own_epochs(tmp_path):
    pytest.importorskip("torch")
    from search_objectives import divided

    from earmark.models.sequence.classifier import SequenceClassifier
    from earmark.tasks.market.search.objective import ScoredParts, TrainingObjective

    division = divided(planted(n=150))
    parts = ScoredParts(division.train, division.validation)
    small = {"channels": (8,), "lstm_width": 4, "lstm_layers": 1, "n_heads": 1, "epochs": 4, "device": "cpu"}

    def make(settings):
        plain = {"accumulation": 1, "dropout": 0.0, "schedule": "constant", "batch_size": 32}
        rate = settings["learning_rate"] * 30  # so few steps need larger ones
        return SequenceClassifier.make("hybrid_cnn_lstm", **small, **plain, learning_rate=rate)

    study = GroupStudy(
        tmp_path / "g.db", "g", groups_for("mpd", {})[0], method="random", metric="val_f1", seed=0
    )
    for rate in (1e-3, 9e-4, 8e-4, 1e-6):
        study.study.enqueue_trial({"learning_rate": rate, "batch_size": 32})
    objective = TrainingObjective(make, lambda settings: parts)
    study.run(objective, {}, Limits(4, 0), should_stop=lambda: False, on_trial=lambda row: None)
    assert [row.state for row in study.rows()] == ["complete", "complete", "complete", "pruned"]


def test_a_poisoned_test_part_changes_nothing(tmp_path):
    asked = {"model_name": "logistic", "mode": "full", "n_trials": 2}
    clean = quick(tmp_path / "a", logistic_objective, **asked)
    poisoned = quick(tmp_path / "b", lambda: logistic_objective(poison=True), **asked)
    assert clean.best == poisoned.best
    assert [row["scores"] for row in clean.trials] == [row["scores"] for row in poisoned.trials]
    assert logistic_objective().fingerprint == logistic_objective(poison=True).fingerprint


def test_a_grid_takes_each_point_once(tmp_path):
    found = quick(tmp_path, method="grid", n_trials=99, mode="group", group="learning_rate")
    first = [row["values"] for row in found.trials if row["group"] == "learning_rate"]
    assert len({(row["learning_rate"], row["batch_size"]) for row in first}) == len(first) == 16


def test_the_same_seed_gives_the_same_trials(tmp_path):
    one = {"mode": "group", "group": "regularization", "n_trials": 5}
    first, second = (quick(tmp_path / name, **one) for name in "ab")
    assert [row["values"] for row in first.trials] == [row["values"] for row in second.trials]


def test_a_failed_trial_is_noted_and_the_search_goes_on(tmp_path):
    found = quick(tmp_path, Broken, method="grid", n_trials=8, mode="group", group="learning_rate")
    failed = [row for row in found.trials if row["state"] == "fail"]
    assert failed and all("loss is inf" in row["error"] for row in failed)
    assert found.results[0].failed == len(failed)


def test_a_group_of_failures_is_an_error(tmp_path):
    class Hopeless(Formula):
        def __call__(self, settings, on_epoch):
            raise UsageError("no windows")

    with pytest.raises(RunError, match="no windows"):
        quick(tmp_path, Hopeless)


def test_a_stopped_search_goes_on_where_it_was(tmp_path):
    told = []
    request = SearchRequest("mpd", mode="quick", n_trials=3, patience=0)
    broken = search(
        Folder(tmp_path),
        request,
        formula,
        should_stop=lambda: len(told) >= 4,
        on_trial=lambda group, row: told.append((group, row)),
    )
    assert broken.status == "interrupted"
    assert Folder(tmp_path).read().status == "interrupted"
    again = search(Folder(tmp_path), continued(Folder(tmp_path), 60), formula)
    assert again.status == "completed"
    counts = [result.trials for result in again.results]
    assert counts == [3, 3, 3]
    assert len(again.trials) == 9


def test_another_search_is_refused_until_the_first_is_finished_or_reset(tmp_path):
    request = SearchRequest("mpd", mode="quick", n_trials=4, patience=0)
    search(Folder(tmp_path), request, formula, should_stop=lambda: True)
    with pytest.raises(UsageError, match="n_trials"):
        quick(tmp_path)
    Folder(tmp_path).reset()
    again = quick(tmp_path, n_trials=1, mode="group", group="regularization")
    assert again.status == "completed"


def test_two_searches_at_once_are_refused(tmp_path):
    with Folder(tmp_path).locked(), pytest.raises(UsageError, match="is searching"):
        quick(tmp_path)


def test_the_time_limit_counts_over_sittings(tmp_path):
    asked = {"n_trials": 2, "mode": "group", "group": "regularization"}
    assert quick(tmp_path, timeout_s=0.0, **asked).status == "timed out"
    assert quick(tmp_path, timeout_s=60.0, **asked).status == "completed"


def test_a_killed_search_tries_its_running_trial_again(tmp_path):
    here = Path(__file__).parent
    process = subprocess.Popen(
        [sys.executable, str(here / "search_process.py"), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=here,
    )
    for _ in range(6):  # in the second trial
        process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    again = search(Folder(tmp_path), continued(Folder(tmp_path), 60), formula)
    rows = [row for row in again.trials if row["group"] == "learning_rate"]
    interrupted = [row for row in rows if row["state"] == "interrupted"]
    assert len(interrupted) == 1
    assert interrupted[0]["values"] in [
        row["values"] for row in rows if row["state"] in ("complete", "pruned")
    ]
    assert again.results[0].trials == 4


def test_studies_of_one_database_take_no_more_trials_than_asked_for(tmp_path):
    group, limits = groups_for("mpd", {})[0], Limits(6, 0)

    def take(seed):
        study = GroupStudy(tmp_path / "g.db", "g", group, method="random", metric="val_f1", seed=seed)
        study.run(Formula(0.01), {}, limits, should_stop=lambda: False, on_trial=lambda row: None)
        return study.rows()

    watching = GroupStudy(tmp_path / "g.db", "g", group, method="random", metric="val_f1", seed=9)
    assert watching.rows() == []
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(take, (0, 1)))
    rows = watching.rows()
    assert len(rows) == 6 and {row.state for row in rows} <= {"complete", "pruned"}


@pytest.mark.slow
def test_workers_share_the_trials(tmp_path):
    request = SearchRequest("mpd", mode="group", group="learning_rate", n_trials=6, patience=0)
    found = search(Folder(tmp_path), request, formula, workers=2)
    assert found.status == "completed"
    assert found.results[0].trials == 6


def test_fine_tuning_begins_at_the_best(searched, tmp_path):
    with pytest.raises(UsageError, match="nothing was searched"):
        quick(tmp_path / "empty", mode="fine_tune")
    folder = Path(shutil.copytree(searched[0], tmp_path / "searched"))
    best = searched[1].best
    with pytest.raises(UsageError, match="are of `mpd`"):
        quick(folder, mode="fine_tune", model_name="hybrid_cnn_lstm")
    found = quick(folder, mode="fine_tune", n_trials=3)
    rates = [row["values"]["learning_rate"] for row in found.trials if row["group"] == "learning_rate"]
    assert all(best["learning_rate"] / 3.01 <= rate <= best["learning_rate"] * 3.01 for rate in rates)
