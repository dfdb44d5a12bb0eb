"""Planted against detected drops: pairs by hand and against an independent matcher, truth files, empty signals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.audio.decode import decode
from earmark.errors import UsageError
from earmark.tasks.zones.analysis.drop_detection import (
    DETECTORS,
    Detection,
    compare_times,
    detect,
    drop_curves,
    false_alarms_per_minute,
    level_curve,
    planted_drops,
)
from earmark.tasks.zones.demo import DemoLibrary, generate_demo
from earmark.tasks.zones.features import SAMPLE_RATE, common, drops, drops13

TIMES = st.lists(st.integers(0, 400).map(lambda n: n / 10), max_size=12)


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> DemoLibrary:
    return generate_demo(tmp_path_factory.mktemp("drops"), 4)


def test_pairs_by_hand() -> None:
    found = compare_times([10.0, 30.0, 50.0], [11.0, 29.5, 40.0, 70.0])
    assert (found.n_planted, found.n_found, found.n_hits) == (3, 4, 2)
    assert found.errors_s.tolist() == [1.0, -0.5]
    assert (found.precision, found.recall) == (0.5, pytest.approx(2 / 3))
    assert found.f1 == pytest.approx(4 / 7)


def test_most_pairs_come_before_near_ones() -> None:
    # The nearest pair (11.9, 11.5) alone would leave 10.0 and 13.5 without a partner.
    found = compare_times([10.0, 11.9], [11.5, 13.5])
    np.testing.assert_allclose(found.errors_s, [1.5, 1.6])


def test_of_equally_many_pairs_the_nearest_count() -> None:
    assert compare_times([10.0], [8.5, 10.2]).errors_s.tolist() == [pytest.approx(0.2)]


def test_nothing_planted_or_found_is_decided() -> None:
    assert np.isnan(compare_times([], []).f1) and np.isnan(Detection().precision)
    assert compare_times([], [3.0]).f1 == 0 and compare_times([3.0], []).f1 == 0
    assert np.isnan(compare_times([3.0], []).to_row()["error_median_s"])
    with pytest.raises(UsageError, match=r"tolerance is 0 s"):
        compare_times([1.0], [1.0], tolerance_s=0)


def pairs_from_left_to_right(planted: list[float], found: list[float], tolerance_s: float) -> int:
    """Greedy on sorted times, which gives as many pairs as possible where all tolerances are equal."""
    planted, found, pairs = sorted(planted), sorted(found), 0
    while planted and found:
        if abs(planted[0] - found[0]) <= tolerance_s:
            planted, found, pairs = planted[1:], found[1:], pairs + 1
        elif planted[0] < found[0]:
            planted = planted[1:]
        else:
            found = found[1:]
    return pairs


@given(TIMES, TIMES, st.sampled_from([0.5, 2.0, 5.0]))
def test_pairing_is_maximal_within_tolerance_and_symmetric(
    planted: list[float], found: list[float], tolerance_s: float
) -> None:
    there = compare_times(planted, found, tolerance_s=tolerance_s)
    back = compare_times(found, planted, tolerance_s=tolerance_s)
    assert there.n_hits == back.n_hits == pairs_from_left_to_right(planted, found, tolerance_s)
    assert (np.abs(there.errors_s) <= tolerance_s).all()
    assert np.abs(there.errors_s).sum() == pytest.approx(np.abs(back.errors_s).sum())
    pooled = there + back
    assert pooled.n_hits == 2 * there.n_hits and pooled.n_planted == len(planted) + len(found)


@given(TIMES.filter(len))
def test_perfect_detection_scores_one(times: list[float]) -> None:
    assert compare_times(times, times[::-1]).f1 == 1.0


def test_truth_is_found_beside_the_tracks(library: DemoLibrary, tmp_path: Path) -> None:
    paths = [str(path) for path in library.tracks]
    truth = json.loads(library.truth.read_text(encoding="utf-8"))["tracks"]
    known = planted_drops([*paths, str(tmp_path / "other.wav"), "s3://bucket/track.wav"])
    assert set(known) == set(paths)
    for path in library.tracks:
        assert known[str(path)].tolist() == truth[f"audio/{path.name}"]["drops_s"]
    elsewhere = library.truth.rename(library.truth.with_name("kept.json"))
    try:
        assert planted_drops(paths) == {}
        assert set(planted_drops(paths, elsewhere)) == set(paths)
    finally:
        elsewhere.rename(library.truth)


def test_a_truth_file_of_another_kind_is_none_and_a_broken_one_is_named(tmp_path: Path) -> None:
    track = str(tmp_path / "track.wav")
    for text in ("[]", "{}", '{"tracks": 3}', '{"tracks": {"track.wav": {"zone": "GREEN"}}}'):
        (tmp_path / "truth.json").write_text(text)
        assert planted_drops([track]) == {}
    (tmp_path / "truth.json").write_text('{"tracks": {')
    with pytest.raises(UsageError, match=r"truth\.json` is not JSON"):
        planted_drops([track])
    with pytest.raises(UsageError, match=r"there is no `nowhere\.json`"):
        planted_drops([track], "nowhere.json")


def test_detectors_on_curves_agree_with_the_features(library: DemoLibrary) -> None:
    for path in library.tracks:
        clip = decode(path, sample_rate=SAMPLE_RATE)
        times = detect(level_curve(clip), drop_curves(clip))
        assert len(times["full rate"]) == drops(clip)[drops.columns.index("drop_count")]
        assert len(times["frame level"]) == common(clip)[common.columns.index("drop_count")]
        assert len(times["band energy"]) == drops13(clip)[drops13.columns.index("drop_count")]


def test_silence_and_noise_hold_next_to_no_drop() -> None:
    rows = false_alarms_per_minute(n_clips=1, duration_s=30)
    assert [row["signal"] for row in rows] == ["silence", "white noise", "pink noise", "brown noise"]
    for row in rows[:3]:
        assert [row[name] for name in DETECTORS] == [0, 0, 0]
    assert max(rows[3][name] for name in DETECTORS) <= 2
