"""Regressions of arousal and valence: what they learn, what they may not see, files that are safe to load."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from earmark.errors import InputError, RunError, SchemaError, UsageError
from earmark.features.table import FeatureTable
from earmark.tasks.zones.deam.arousal_valence import AV_COLUMNS, TARGETS, AVModel, train_av
from earmark.tasks.zones.deam.arousal_valence_report import write_av
from earmark.tasks.zones.deam.opensmile import COMMON_COLUMNS

N = 120


def drawn(seed=0, n=N):
    """A table in which arousal is in the energy and valence in the brightness, with a missing tempo."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(n, len(COMMON_COLUMNS))).astype(np.float32)
    values[:, COMMON_COLUMNS.index("zones.common.tempo")] = np.nan
    energy = values[:, COMMON_COLUMNS.index("zones.common.rms_energy")]
    bright = values[:, COMMON_COLUMNS.index("zones.common.brightness")]
    arousal = np.clip(5 + 1.5 * energy + rng.normal(0, 0.2, n), 1, 9)
    valence = np.clip(5 + 1.5 * bright + rng.normal(0, 0.2, n), 1, 9)
    table = FeatureTable(tuple(f"deam/{i}" for i in range(n)), COMMON_COLUMNS, values)
    return table, arousal, valence, [f"artist {i // 3}" for i in range(n)]


@pytest.fixture(scope="module")
def trained():
    table, arousal, valence, groups = drawn()
    return train_av(table, arousal, valence, groups=groups)


def test_columns():
    assert len(AV_COLUMNS) == 19
    assert set(COMMON_COLUMNS) - set(AV_COLUMNS) == {
        f"zones.common.{name}" for name in ("drop_contrast_mean", "drop_count", "drop_intensity")
    }


def test_it_learns_what_is_there_out_of_fold(trained):
    for place, target in enumerate(TARGETS):
        error = trained.out_of_fold[:, place] - trained.annotated[:, place]
        assert trained.scores[target]["mae"] == pytest.approx(np.abs(error).mean())
        assert trained.scores[target]["rmse"] == pytest.approx(np.sqrt((error**2).mean()))
        assert trained.scores[target]["r2"] > 0.7 > 0.1 > trained.baseline[target]["r2"]
    first = {
        target: AV_COLUMNS[int(shares.argmax())] for target, shares in trained.model.importance().items()
    }
    assert first == {"arousal": "zones.common.rms_energy", "valence": "zones.common.brightness"}
    assert all(shares.sum() == pytest.approx(1) for shares in trained.model.importance().values())


def test_groups_stay_in_one_fold(trained):
    groups = np.array([f"artist {i // 3}" for i in range(N)])
    assert all(len(set(trained.folds[groups == group])) == 1 for group in set(groups))
    assert len(set(trained.folds)) == 5


def test_noise_is_not_learned():
    table, _, _, groups = drawn()
    rng = np.random.default_rng(1)
    noise = train_av(table, rng.uniform(2, 8, N), rng.uniform(2, 8, N), groups=groups)
    assert all(noise.scores[target]["r2"] < 0.1 for target in TARGETS)


def test_a_fold_is_predicted_from_the_others_alone():
    """Targets of one fold are moved far away: its predictions, and the range they are clipped to, do not follow."""
    table, arousal, valence, groups = drawn(n=60)
    folds = np.arange(60) // 3 % 4
    before = train_av(table, arousal, valence, folds, groups)
    moved = np.where(folds == 1, arousal + 100, arousal)
    after = train_av(table, moved, valence, folds, groups)
    np.testing.assert_array_equal(before.out_of_fold[folds == 1], after.out_of_fold[folds == 1])
    assert after.out_of_fold[folds == 1, 0].max() <= arousal[folds != 1].max()


def test_predictions_stay_in_the_range_of_training_and_follow_names(trained):
    table, *_ = drawn(seed=2)
    found = trained.model.predict(3 * table.values, table.columns)
    for place, target in enumerate(TARGETS):
        low, high = trained.model.ranges[target]
        assert low <= found[:, place].min() <= found[:, place].max() <= high
    order = np.random.default_rng(0).permutation(len(table.columns))
    shuffled = trained.model.predict(3 * table.values[:, order], [table.columns[i] for i in order])
    np.testing.assert_array_equal(found, shuffled)
    with pytest.raises(SchemaError, match="zones.common.tempo, zones.common.zero_crossing_rate"):
        trained.model.predict(table.values[:, 2:], table.columns[2:])
    with pytest.raises(InputError, match="1 rows hold infinite"):
        trained.model.predict(np.where(np.arange(N)[:, None] == 5, np.inf, table.values), table.columns)


def test_files_round_trip_and_repeat_bit_for_bit(trained, tmp_path):
    table, arousal, valence, groups = drawn()
    trained.model.save(tmp_path / "one")
    train_av(table, arousal, valence, groups=groups).model.save(tmp_path / "two")
    names = {"model.json", "arousal.json", "valence.json"}
    assert {path.name for path in (tmp_path / "one").iterdir()} == names
    assert all(
        (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in names
    )
    for name in names:
        json.loads((tmp_path / "one" / name).read_text())  # JSON throughout, nothing that runs
    loaded = AVModel.load(tmp_path / "one")
    np.testing.assert_array_equal(
        loaded.predict(table.values, table.columns), trained.model.predict(table.values, table.columns)
    )


def damages():
    return {
        "missing": lambda folder: (folder / "valence.json").unlink(),
        "cut": lambda folder: (folder / "arousal.json").write_bytes(
            (folder / "arousal.json").read_bytes()[:-9]
        ),
        "swapped": lambda folder: (folder / "arousal.json").rename(folder / "valence.json"),
        "pickle": lambda folder: (folder / "model.json").write_bytes(b"\x80\x04cos\nsystem\n."),
        "other": lambda folder: (folder / "model.json").write_text('{"format": "other"}'),
        "list": lambda folder: (folder / "model.json").write_text("[]"),
    }


@pytest.mark.parametrize("damage", damages())
def test_damaged_files_are_refused(trained, tmp_path, damage):
    trained.model.save(tmp_path)
    damages()[damage](tmp_path)
    with pytest.raises(RunError, match="no usable model of arousal and valence"):
        AVModel.load(tmp_path)


def test_the_report(trained, tmp_path):
    files = write_av(trained, tmp_path, about={"mapping": "plan"})
    assert {path.name for path in files} == {
        *("arousal.json", "valence.json", "model.json", "training_report.json", "out_of_fold.csv"),
        *("feature_importance.csv", "feature_importance.png", "scatter.png"),
    }
    report = json.loads((tmp_path / "training_report.json").read_text())
    assert report["scores"]["arousal"] == trained.scores["arousal"]
    assert (report["n"], report["n_folds"], report["mapping"]) == (N, 5, "plan")
    with (tmp_path / "feature_importance.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["feature"] for row in rows} == set(AV_COLUMNS)
    assert [float(row["importance"]) for row in rows] == sorted(
        (float(r["importance"]) for r in rows), reverse=True
    )
    with (tmp_path / "out_of_fold.csv").open(newline="") as file:
        header = next(csv.reader(file))
    assert header == ["id", "fold", "ann.arousal", "ann.valence", "est.arousal", "est.valence"]


def test_a_constant_target_has_no_r2(tmp_path):
    table, arousal, _, groups = drawn(n=30)
    trained = train_av(table, arousal, np.full(30, 5.0), groups=groups)
    assert np.isnan(trained.scores["valence"]["r2"])
    write_av(trained, tmp_path)
    report = json.loads((tmp_path / "training_report.json").read_text())
    assert report["scores"]["valence"] == {"mae": 0.0, "rmse": 0.0, "r2": None}


def test_what_cannot_be_trained_on():
    table, arousal, valence, groups = drawn(n=30)
    folds = np.arange(30) // 3 % 3
    with pytest.raises(SchemaError, match="arousal_max_mean"):
        train_av(table, arousal, valence, columns=[*AV_COLUMNS, "x.arousal_max_mean"])
    with pytest.raises(SchemaError, match="missing: zones.common.tempo"):
        train_av(table.select(COMMON_COLUMNS[1:]), arousal, valence)
    with pytest.raises(UsageError, match="1 rows have no arousal or valence, the first is `deam/4`"):
        train_av(table, np.where(np.arange(30) == 4, np.nan, arousal), valence)
    with pytest.raises(UsageError, match="table has 30 rows, arousal 29"):
        train_av(table, arousal[1:], valence)
    with pytest.raises(UsageError, match="lies in two folds"):
        train_av(table, arousal, valence, np.arange(30) % 3, groups)
    with pytest.raises(UsageError, match="at least two folds"):
        train_av(table, arousal, valence, np.zeros(30), groups)
    with pytest.raises(UsageError, match="29 groups were given"):
        train_av(table, arousal, valence, folds, groups[1:])
