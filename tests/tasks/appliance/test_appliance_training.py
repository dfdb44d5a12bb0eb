"""Training of detectors on a small synthetic room: what a run holds, what a fold may know, what is found again."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
from appliance_trained_room import room_project, trained_room
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from earmark.audio.decode import decode
from earmark.audio.fragment import cut, split_fragment
from earmark.errors import InputError, RunError, UsageError
from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.evaluation.scores import (
    file_medians,
    file_scores,
    positive_f1,
    window_scores,
)
from earmark.tasks.appliance.schema import DEFAULT_DEVICES, Devices, state_of, states
from earmark.tasks.appliance.training import train as training_module
from earmark.tasks.appliance.training.columns import _independent
from earmark.tasks.appliance.training.level_rule import best_threshold, level_baseline
from earmark.tasks.appliance.training.scoring import state_index, state_probabilities
from earmark.tasks.appliance.training.search import DetectorSearch
from earmark.tasks.appliance.training.settings import TrainSettings
from earmark.tasks.appliance.training.train import Training, train
from earmark.training.production import promote
from earmark.training.runs import show

LEVEL = TrainSettings(model="level")
SPECTRAL = TrainSettings(model="spectral")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A spectral run with its baselines, and its project."""
    project = room_project(tmp_path_factory.mktemp("runs"))
    return project, train(project, SPECTRAL).run


# --- the level rule ---------------------------------------------------------------------------------------------


def restated_rule(level, on):
    """Every midpoint in turn; the first of the best."""
    values = sorted(set(level))
    best = None
    for low, high in itertools.pairwise(values):
        threshold = (low + high) / 2
        accuracy = float(np.mean((np.asarray(level) > threshold) == np.asarray(on)))
        if best is None or accuracy > best[1]:
            best = threshold, accuracy
    return best


@given(st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=2, max_size=30))
def test_the_level_rule_is_the_first_of_the_best_midpoints(rows):
    level, on = zip(*rows, strict=True)
    if len(set(level)) < 2:
        with pytest.raises(ValueError, match="at least 2"):
            best_threshold(level, on)
        return
    found = best_threshold(level, on)
    assert (found.threshold, found.fitted_accuracy) == pytest.approx(restated_rule(level, on))


def test_the_level_baseline_by_hand():
    """Day: fridge 1 over floor 0 with AC far above; night has the floor one step higher, so half are wrong."""
    y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 2)
    level = np.array([1.0, 2.0, 9.0, 9.5, 2.0, 3.0, 9.0, 9.5])
    names = [f"{word}-{i}" for word in ("day", "night") for i in range(4)]
    day, night = np.arange(4), np.arange(4, 8)
    found = level_baseline(level, y, names, day, night, DEFAULT_DEVICES)
    assert found["ac"]["threshold"] == 5.5
    assert found["fridge"]["threshold"] == 1.5
    assert found["fridge"]["fitted_accuracy"] == 1.0
    assert found["fridge"]["accuracy"] == 0.5
    assert found["fridge"]["auroc"] == 1.0
    assert found["fridge"]["f1"] == pytest.approx(2 / 3)
    assert found["fridge"]["file_f1"] == pytest.approx(2 / 3)  # of all files: under the AC all are above it
    assert found["state_acc"] == found["file_state_acc"] == 0.75


# --- scores -----------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=8))
def test_states_of_devices_are_the_rule_of_the_task(rows):
    devices = Devices(("a", "b", "c"), priority=("b", "c", "a"))
    p = np.array(rows)
    assert state_probabilities(p, devices).sum(axis=1) == pytest.approx(1)
    facts = p >= 0.5
    expected = [state_of(dict(zip("abc", map(bool, row), strict=True)), devices) for row in facts]
    assert [states(devices)[i] for i in state_index(facts.astype(int), devices)] == expected


def test_scores_of_files_by_hand():
    names = ["x"] * 3 + ["y"] * 3 + ["z"] * 2
    y = [[0, 1]] * 3 + [[0, 0]] * 3 + [[1, 1]] * 2
    p = [[0.1, 0.9], [0.2, 0.2], [0.9, 0.7]] + [[0.1, 0.8]] * 3 + [[0.75, 0.1], [0.75, 0.3]]
    medians = file_medians(names, y, p)
    assert medians.p == pytest.approx(np.array([[0.2, 0.7], [0.1, 0.8], [0.75, 0.2]]))
    found = file_scores(medians, {"ac": 0.75, "fridge": 0.7}, DEFAULT_DEVICES)
    assert found.f1 == {"ac": 1.0, "fridge": 0.5}  # equal to its threshold is on
    assert found.state_acc == pytest.approx(2 / 3)
    assert found.margin == pytest.approx({"ac": 0.55, "fridge": -0.6})


def test_a_device_that_is_masked_is_also_scored_where_it_can_be_heard():
    y = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    p = np.array([[0, 0.1], [0, 0.9], [1, 0.9], [1, 0.1]])
    found = window_scores(y, p, DEFAULT_DEVICES, {"ac": 0.5, "fridge": 0.5})
    assert found["fridge"]["auroc"] == 0.5
    assert found["fridge when ac is off"]["auroc"] == 1.0
    alone = window_scores(y[:1], p[:1], DEFAULT_DEVICES, {"ac": 0.5, "fridge": 0.5})
    assert np.isnan(alone["ac"]["auroc"]) and alone["ac"]["undefined"] == "no window is on"
    assert positive_f1([0, 0], [1, 0]) == 0.0


@given(st.integers(0, 1000))
def test_a_device_is_on_as_often_as_off_whatever_the_others_do(seed):
    y = np.random.default_rng(seed).integers(0, 2, (60, 2))
    weights = _independent(y, 1, np.ones(60))
    assert weights.sum() == pytest.approx(60)
    for other in (0, 1):
        cell = y[:, 0] == other
        on, off = weights[cell & (y[:, 1] == 1)].sum(), weights[cell & (y[:, 1] == 0)].sum()
        assert on == pytest.approx(off) or not on or not off


# --- a run ------------------------------------------------------------------------------------------------------


def test_a_run_holds_what_is_promised(run):
    _, found = run
    files = {path.relative_to(found.path).as_posix() for path in found.path.rglob("*") if path.is_file()}
    promised = ("run.toml", "card.json", "train_config.json", "best_metrics.json", "metrics.jsonl")
    assert {*promised, "out_of_fold.parquet", "model/multilabel.json", "folds/0/model/layer.json"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pt", ".joblib"))]
    assert sum(path.stat().st_size for path in found.path.rglob("*") if path.is_file()) < 5e6
    assert found.is_detector and found.classes == ("ac-on", "fridge-on", "both-off")
    best = json.loads((found.path / "best_metrics.json").read_text())
    assert {"f1_ac", "f1_fridge", "state_acc", "num_files", "train_loss", "epoch"} <= best.keys()
    assert best["num_files"] == 8
    table = found.out_of_fold()
    own = [f"{kind}_{name}" for kind in ("y", "p", "raw") for name in ("ac", "fridge")]
    assert {"id", "recording_id", "start_sec", "end_sec", "fold", "outlier", *own} <= set(table.columns)
    assert table["id"].is_unique().all()
    assert found.metrics["state_acc"]["value"] == 1.0


def test_headlines_keep_the_loud_windows_and_the_trimmed_score_stands_beside(run):
    _, found = run
    card = json.loads((found.path / "card.json").read_text())
    assert len(found.out_of_fold()) == 8 * 27  # of 45 s each
    assert {"balanced_accuracy", "state_acc"} <= card["trimmed"].keys()


def test_baselines_stand_beside_it_on_the_same_folds(run):
    _, found = run
    card = json.loads((found.path / "card.json").read_text())
    assert [row["name"] for row in card["baselines"]] == ["rms", "g1", "logmel256"]
    for row in card["baselines"]:
        assert [fold["fold"] for fold in row["folds"]] == ["day-to-night", "night-to-day"]


def test_files_and_clips_have_the_same_bits(run):
    project, found = run
    detector = Detector.load(found)
    table = project.manifest.table.head(12)
    items = list(project.manifest)[:12]
    by_engine = detector.probabilities(project.extract(detector.groups, items))
    clips = []
    for uri in table["uri"]:
        recording, span = split_fragment(uri)
        clips.append(cut(decode(recording, sample_rate=16_000), span))
    assert np.array_equal(detector.probabilities(clips), by_engine)
    assert np.array_equal(detector.probabilities(clips[:1]), by_engine[:1])
    assert detector.probabilities([]).shape == (0, 2)
    with pytest.raises(InputError, match="96000"):
        detector.probabilities([replace(clips[0], samples=clips[0].samples[:1000])])


def test_the_same_command_finds_the_run_and_trained_anew_has_the_same_numbers(run):
    project, found = run
    assert train(project, SPECTRAL).reused
    again = train(project, SPECTRAL, reuse=False).run
    assert again.path != found.path
    assert again.out_of_fold().equals(found.out_of_fold())
    assert Detector.load(again).hash == Detector.load(found).hash


def test_what_is_scored_changes_nothing_of_the_fold(run, monkeypatch):
    """Floors, scalings, weights and calibration are of the training side: poison the other side, nothing moves."""
    project, _ = run
    clean = Training.open(project, SPECTRAL, with_baselines=False)
    fold = clean.folds[0]
    values, y = clean.table.values.copy(), clean.rows.table
    values[fold.score] = 1e3
    poisoned = replace(clean, table=replace(clean.table, values=values), rows=replace(clean.rows, table=y))
    from earmark.tasks.appliance.training.folds import fit_folds

    first, second = (
        fit_folds(each.rows, each.table, each.folds[:1], each.fit(), SPECTRAL).results[0]
        for each in (clean, poisoned)
    )
    assert first.layer.model.calibration == second.layer.model.calibration
    assert first.layer.floor_dbfs == second.layer.floor_dbfs
    at = fold.select
    assert np.array_equal(first.selected, second.selected) and len(at)


def test_a_training_that_was_stopped_goes_on_with_the_folds_it_had(tmp_path, monkeypatch):
    project = room_project(tmp_path)
    fits = []
    original = training_module.columns_fit

    def counted(*args):
        fit = original(*args)

        def run_fit(*positions, **named):
            fits.append(len(positions[0]))
            return fit(*positions, **named)

        return run_fit

    monkeypatch.setattr(training_module, "columns_fit", counted)

    def stop(event):
        if event["name"] == "day-to-night":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(project, LEVEL, with_baselines=False, on_event=stop)
    assert len(fits) == 1
    resumed = train(project, LEVEL, with_baselines=False).run
    assert len(fits) == 3  # the other fold and the final model
    whole = train(project, LEVEL, with_baselines=False, reuse=False, resume=False).run
    assert resumed.out_of_fold().equals(whole.out_of_fold())
    assert not list((tmp_path / "appliance" / ".work").glob("*/*"))


def test_the_leaky_split_says_so_and_is_never_promoted_nor_searched(tmp_path):
    project = room_project(tmp_path)
    leaky = replace(LEVEL, protocol="windows")
    found = train(project, leaky, with_baselines=False).run
    assert "leaky" in found.name and found.is_leaky
    assert "leaky" in json.loads((found.path / "card.json").read_text())["protocol_note"]
    with pytest.raises(RunError, match="demonstration"):
        promote(tmp_path, found)
    with pytest.raises(UsageError, match="cannot be searched"):
        DetectorSearch(project, leaky, {"c": [1.0]})


def test_runs_of_rooms_are_shown_and_promoted_like_others(run):
    project, found = run
    promote(project.runs_folder, found)
    (found.path / "thresholds.yaml").write_text("t_ac: 0.5\n")
    assert show(found)["decision"] is None


def test_the_earlier_single_split_is_one_model_and_says_what_it_was_selected_on(tmp_path):
    project = room_project(tmp_path)
    single = replace(LEVEL, protocol="single", val_daypart="night")
    found = train(project, single, with_baselines=False).run
    card = json.loads((found.path / "card.json").read_text())
    assert card["protocol_note"] == "selected on the same files"
    assert set(found.out_of_fold()["recording_id"].str.split("-").list.last()) == {"night"}
    final, of_fold = Detector.load(found), found.path / "folds" / "0" / "model" / "ac"
    assert final.layer.model.classifiers[0].columns
    assert (of_fold / "coefficients.npz").read_bytes() == (
        found.path / "model" / "ac" / "coefficients.npz"
    ).read_bytes()


def test_one_device_alone_and_trees(tmp_path):
    project = room_project(tmp_path)
    only = TrainSettings(only_device="fridge", estimator="trees", trees={"n_trees": 20})
    found = train(project, only, with_baselines=False).run
    assert found.classes == ("fridge-on", "fridge-off")
    card = json.loads((found.path / "card.json").read_text())
    assert card["lengths"]["fridge"] >= 1
    with pytest.raises(UsageError, match="no device `kettle`"):
        train(project, replace(only, only_device="kettle"))


def test_a_damaged_or_foreign_folder_is_a_run_error(run, tmp_path):
    _, found = run
    with pytest.raises(RunError, match="earmark train appliance"):
        Detector.load(tmp_path)
    (tmp_path / "card.json").write_text((found.path / "card.json").read_text())
    with pytest.raises(RunError, match="train again"):
        Detector.load(tmp_path)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"model": "spectrl"}, "spectral"),
        ({"protocol": "swop"}, "swap"),
        ({"masked_loss": 2.0}, "0 to 1"),
        ({"c": 0.0}, "positive"),
        ({"estimator": "forest"}, "logistic or trees"),
    ],
)
def test_wrong_settings_are_told(wrong, words):
    with pytest.raises(UsageError, match=words):
        TrainSettings(**wrong)


# --- search and command -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_search_goes_on_where_it_was_and_hears_no_scored_window(tmp_path):
    project = room_project(tmp_path, seconds=100.0)
    search = DetectorSearch(project, LEVEL, {"c": [0.1, 10.0], "masked_loss": [0.0]})
    assert [point.status for point in search.run(limit=1)] == ["done", "pending"]
    with search.journal.open("ab") as file:
        file.write(b'{"key": "torn')
    done = search.run()
    assert [point.status for point in done] == ["done", "done"]
    assert all(len(point.folds) == 2 and point.score == max(point.folds) for point in done)
    told = []
    search.run(on_event=told.append)
    assert told == []
    assert search.reset() == 2
    with pytest.raises(UsageError, match="masked_loss"):
        DetectorSearch(project, LEVEL, {"masked_los": [1]})


def test_the_command_shows_folds_trains_and_says_what_is_next(tmp_path):
    from earmark.cli.appliance.train import train as command
    from earmark.cli.options import Invocation

    def invoke(*args, form="json"):
        invocation = Invocation(folder=trained_room(), format=form)
        runs = ("--output-dir", str(tmp_path / "runs"))
        return CliRunner().invoke(command, [*args, *runs], obj=invocation, catch_exceptions=False)

    folds = json.loads(invoke("--dry-run").stdout)
    assert [row["fold"] for row in folds] == ["day-to-night", "night-to-day"]
    found = invoke("--model", "level", "--no-baselines")
    assert json.loads(found.stdout)["card"]["model"] == "level"
    assert "earmark thresholds appliance --run" in found.stderr
    assert invoke("--val-daypart", "night", "--protocol", "loro").exit_code == 2
    assert invoke("--epochs", "3", "--model", "level").exit_code == 2
