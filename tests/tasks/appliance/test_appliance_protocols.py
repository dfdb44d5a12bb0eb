"""Protocols: reference counts, a gap between the sides, no recording or source on two, and every guard."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from appliance_recordings import EIGHT, room_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import UsageError
from earmark.tasks.appliance.protocols import PROTOCOLS, SELECTED_ON_SCORED, Fold, folds
from earmark.tasks.appliance.windows import Windowing

OPEN = room_rows()
SEALED = room_rows(sealed_from=150.21)


def nearest_s(table: pl.DataFrame, one: np.ndarray, other: np.ndarray) -> float:
    """Smallest time between a window of one side and one of the other in the same recording; infinite without."""
    start, end = table["start_sec"].to_numpy(), table["end_sec"].to_numpy()
    recording = table["recording_id"].to_numpy()
    least = np.inf
    for name in set(recording[one]) & set(recording[other]):
        a, b = (side[recording[side] == name] for side in (one, other))
        apart = np.maximum(start[b][None, :] - end[a][:, None], start[a][:, None] - end[b][None, :])
        least = min(least, float(apart.min()))
    return least


def counts(fold: Fold, table: pl.DataFrame) -> list[int]:
    n = table["recording_id"].n_unique()
    return [len(side) // n for side in (fold.train, fold.select, fold.score)]


def untrimmed(table: pl.DataFrame) -> pl.DataFrame:
    return table.with_columns(outlier=pl.lit(False))


def test_ranges_have_the_reference_counts_on_the_grid() -> None:
    (fold,) = folds(untrimmed(OPEN), "ranges")
    assert counts(fold, OPEN) == [63, 16, 16]
    fine = untrimmed(room_rows(windowing=Windowing(4.0, 0.5)))
    (fold,) = folds(fine, "ranges")
    assert counts(fold, fine) == [193, 53, 52]
    (fold,) = folds(untrimmed(OPEN), "ranges", test_at_end=False)
    assert OPEN["start_sec"].to_numpy()[fold.score].min() == 150.0


def test_the_single_daypart_is_selected_and_scored_on_the_same_windows_and_says_so() -> None:
    (fold,) = folds(OPEN, "single", val_daypart="night")
    assert (len(fold.train), len(fold.select)) == (464, 464)
    assert len(fold.score) == 468  # with the outliers: loud, hard windows count
    assert set(fold.select) < set(fold.score)
    assert fold.note == SELECTED_ON_SCORED
    with pytest.raises(UsageError, match=r"no daypart 'dusk'.*day, night"):
        folds(OPEN, "single", val_daypart="dusk")


def test_swap_scores_each_daypart_once_and_selects_on_the_training_side() -> None:
    made = folds(SEALED)
    assert [fold.name for fold in made] == ["day-to-night", "night-to-day"]
    daypart, start = SEALED["daypart"].to_numpy(), SEALED["start_sec"].to_numpy()
    for fold in made:
        own, other = fold.name.split("-to-")
        assert set(daypart[fold.train]) == set(daypart[fold.select]) == {own}
        assert set(daypart[fold.score]) == {other}
        assert (start[fold.select].min(), start[fold.select].max()) == (111.0, 133.5)
        assert len(fold.score) == 4 * 90


@settings(max_examples=12, deadline=None)
@given(
    protocol=st.sampled_from(["swap", "loro", "blocks", "files", "ranges"]),
    seconds=st.floats(180.0, 400.0),
    sealed=st.booleans(),
    gap_s=st.floats(8.0, 20.0),
    takes=st.integers(1, 2),
)
def test_sides_never_meet_and_nothing_sealed_takes_part(
    protocol: str, seconds: float, sealed: bool, gap_s: float, takes: int
) -> None:
    stems = [f"{stem}-{take}" for stem in EIGHT for take in range(1, takes + 1)]
    sealed_from = seconds - 30 if sealed and protocol != "ranges" else None
    table = room_rows(stems, seconds, Windowing(6.0, 2.0), sealed_from)
    outlier, split = table["outlier"].to_numpy(), table["split"].to_numpy()
    extra = {"train_s": 60.0, "val_s": 20.0, "test_s": 20.0} if protocol == "ranges" else {}
    for fold in folds(table, protocol, gap_s=gap_s, **extra):
        for side in (fold.train, fold.select, fold.score):
            assert len(side)
            assert (np.diff(side) > 0).all()
            assert (split[side] == "train").all()
        assert not outlier[np.concatenate([fold.train, fold.select])].any()
        assert nearest_s(table, fold.train, fold.select) >= gap_s - 1e-6
        assert nearest_s(table, fold.train, fold.score) >= gap_s - 1e-6
        assert not set(fold.select) & set(fold.score)
        assert fold.train.dtype == fold.select.dtype == fold.score.dtype == np.int64


def test_one_recording_is_left_out_unless_its_state_has_no_other() -> None:
    made = folds(SEALED, "loro")
    assert len(made) == 8
    for fold in made:
        (name,) = set(SEALED["recording_id"].to_numpy()[fold.score])
        assert fold.name == f"without-{name}"
        assert name not in SEALED["recording_id"].to_numpy()[np.concatenate([fold.train, fold.select])]
    with pytest.raises(UsageError, match="`ac-off-fridge-on-day`, each the only training"):
        folds(room_rows([name for name in EIGHT if name != "ac-off-fridge-on-night"]), "loro")


def test_a_source_is_never_on_two_sides() -> None:
    stems = [f"{stem}-{take}" for stem in EIGHT for take in (1, 2)]
    table = room_rows(stems, 60.0)
    source = table["recording_id"].str.slice(-1) + table["daypart"]
    table = table.with_columns(machine_src=source)
    made = folds(table, "groups", n_folds=4)
    assert len(made) == 4
    values = source.to_numpy()
    for fold in made:
        sides = [set(values[side]) for side in (fold.train, fold.select, fold.score)]
        assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
    assert sorted(at for fold in made for at in fold.score) == list(range(table.height))
    with pytest.raises(UsageError, match="2 groups of recordings"):
        folds(table, "groups", group_on="daypart")
    with pytest.raises(UsageError, match="no column noise to group on"):
        folds(table, "groups", group_on="noise")


def test_a_random_division_of_windows_is_only_a_demonstration_of_its_leak() -> None:
    with pytest.raises(UsageError, match="not divided at random"):
        folds(OPEN, "windows")
    (fold,) = folds(OPEN, "windows", demonstrate=True)
    assert fold.leaky
    assert fold.note.startswith("leaky")
    assert nearest_s(OPEN, fold.train, fold.score) < 0  # they share samples
    assert not any(other.leaky for other in folds(OPEN, "swap"))


@pytest.mark.parametrize(
    ("protocol", "given", "told"),
    [
        ("swap", {"gap_s": 7.9}, r"a gap of 7\.9 s is shorter than a window and a margin \(8 s\)"),
        ("swap", {"margin_s": 5.0}, "shorter than a window and a margin"),
        ("ranges", {"train_s": 5.0}, "nothing trains"),
        ("ranges", {"val_s": 3.0}, "nothing selects"),
        ("ranges", {"test_s": 4.0}, "nothing is scored"),
        ("blocks", {"block_s": 5.0}, "blocks of 5 s leave a shorter gap"),
        ("blocks", {"block_s": 90.0}, "too few blocks of 90 s"),
        ("files", {"train_split": 1.0}, "share of recordings"),
        ("swop", {}, "no protocol 'swop'.*`?swap"),
        ("swap", {"train_s": 5.0}, "has no setting train_s"),
    ],
)
def test_what_would_leak_or_leave_a_side_empty_is_refused(
    protocol: str, given: dict[str, float], told: str
) -> None:
    with pytest.raises(UsageError, match=told):
        folds(OPEN, protocol, **given)


def test_ranges_that_score_what_is_sealed_are_refused_and_dayparts_must_be_told() -> None:
    with pytest.raises(UsageError, match="are the sealed part"):
        folds(SEALED, "ranges")
    legacy = OPEN.with_columns(daypart=pl.lit(None, dtype=pl.String))
    for protocol in ("swap", "single"):
        with pytest.raises(UsageError, match="needs two dayparts"):
            folds(legacy, protocol)
    assert len(folds(legacy, "blocks")) == 6
    with pytest.raises(UsageError, match="never trained"):
        folds(OPEN.filter(~pl.col("recording_id").str.starts_with("ac-off-fridge-on-day")), "swap")
    with pytest.raises(UsageError, match="every window of the room is sealed"):
        folds(OPEN.with_columns(split=pl.lit("test")), "swap")
    with pytest.raises(UsageError, match="not the manifest of a room"):
        folds(pl.DataFrame({"id": ["a"]}), "swap")


def test_every_protocol_is_told_in_the_module_and_seeds_repeat() -> None:
    import earmark.tasks.appliance.protocols as module

    assert all(f"``{name}``" in str(module.__doc__) for name in PROTOCOLS)
    one, again, other = (folds(OPEN, "files", seed=seed)[0] for seed in (1, 1, 4))
    assert np.array_equal(one.score, again.score)
    assert not np.array_equal(one.score, other.score)
