"""Cues: planted drops of the demo get one on the beat; grids are fitted to beats with a known tempo."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.audio.clip import Clip
from earmark.features.extractor import Extractor
from earmark.features.item import Item
from earmark.tasks.project import Project
from earmark.tasks.zones.cues import (
    CUES,
    MAX_HOT_CUES,
    BeatGrid,
    Segment,
    attack_lag_s,
    beat_events,
    cues_of_events,
    drop_events,
    fit_grid,
    track_cues,
)
from earmark.tasks.zones.demo import generate_demo

RATE = 22_050


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """Eight demo tracks with the truth about them, and their cues in a project."""
    folder = tmp_path_factory.mktemp("demo")
    library = generate_demo(folder, 8, duration_s=45)
    truth = json.loads(library.truth.read_text(encoding="utf-8"))["tracks"]
    project = Project.open("zones", tmp_path_factory.mktemp("project"))
    uris = [str(path) for path in library.tracks]
    found = track_cues(project, uris)
    return project, uris, [(truth[name], found[str(folder / name)]) for name in truth]


def nearest(times_s, time_s):
    return min((abs(other - time_s) for other in times_s if other is not None), default=np.inf)


class TestPlantedDrops:
    def test_nearly_all_get_a_cue_within_a_beat_and_most_on_the_very_beat(self, demo):
        misses = [
            (nearest([cue.time_s for cue in cues.drops], drop_s), 60 / truth["tempo_bpm"])
            for truth, cues in demo[2]
            for drop_s in truth["drops_s"]
        ]
        assert len(misses) >= 8
        assert np.mean([miss_s <= beat_s for miss_s, beat_s in misses]) >= 0.95
        assert np.mean([miss_s <= 0.03 for miss_s, _ in misses]) >= 0.8

    def test_breakdowns_before_them_are_found_within_a_beat(self, demo):
        misses = [
            nearest([cue.breakdown_s for cue in cues.drops], start_s) <= 60 / truth["tempo_bpm"]
            for truth, cues in demo[2]
            for kind, start_s in truth["sections"]
            if kind == "breakdown" and truth["drops_s"]
        ]
        assert np.mean(misses) >= 0.8

    def test_grids_have_the_planted_tempo_and_bars(self, demo):
        # Where the tracker takes another multiple of the tempo, no grid can be right.
        right = [
            (truth, cues.grid)
            for truth, cues in demo[2]
            if abs(cues.grid.bpm / truth["tempo_bpm"] - 1) < 0.001
        ]
        assert len(right) >= 6
        for truth, grid in right:
            bar_s = 240 / truth["tempo_bpm"]
            starts = grid.times_s[grid.beat_in_bar == 1]
            from_truth = np.abs((starts + bar_s / 2) % bar_s - bar_s / 2)
            assert np.median(from_truth) < 0.02

    def test_a_second_call_opens_no_audio_and_gives_the_same(self, demo):
        project, uris, found = demo
        plan = Extractor(CUES.groups, project.cache).plan([Item(uri, uri) for uri in uris])
        assert plan.jobs() == []
        again = track_cues(project, uris)
        assert [again[uri].drops for uri in uris] == [cues.drops for _, cues in found]
        assert track_cues(project, []) == {}


@settings(deadline=None, max_examples=60)
@given(
    bpm=st.floats(80, 180),
    start_s=st.floats(0, 3),
    phase=st.integers(0, 3),
    seed=st.integers(0, 2**16),
    missing=st.floats(0, 0.3),
)
def test_a_steady_tempo_becomes_one_straight_grid(bpm, start_s, phase, seed, missing):
    rng = np.random.default_rng(seed)
    count = np.arange(240)
    kept = rng.random(240) >= missing
    kept[[0, -1]] = True
    frame_s = 512 / RATE
    heard = np.round((start_s + count * 60 / bpm) / frame_s) * frame_s
    novelty = np.where(count % 4 == phase, 3.0, 1.0) + rng.random(240)
    grid = fit_grid(heard[kept], novelty[kept])
    assert len(grid.segments) == 1
    assert grid.bpm == pytest.approx(bpm, rel=1e-3)
    assert 0 <= grid.first_beat_s < 60 / bpm + 0.012
    beat = int(np.argmin(np.abs(grid.times_s - start_s - (phase + 40) * 60 / bpm)))
    assert grid.times_s[beat] == pytest.approx(start_s + (phase + 40) * 60 / bpm, abs=0.012)
    assert grid.beat_in_bar[beat] == 1
    assert np.array_equal(np.diff(grid.beat_in_bar) % 4, np.ones(len(grid.times_s) - 1))


def test_a_tempo_that_moves_is_kept_bar_by_bar():
    times_s = np.concatenate([np.arange(64) * 0.5, 32 + np.arange(64) * 0.4])
    grid = fit_grid(times_s, (np.arange(128) % 4 == 0).astype(float))
    assert np.array_equal(grid.times_s, times_s)
    assert [segment.beat_in_bar for segment in grid.segments] == [1] * 32
    assert grid.segments[0] == Segment(0.0, pytest.approx(120.0), 1)
    assert grid.segments[-1].bpm == pytest.approx(150.0)
    assert grid.bpm == pytest.approx(127 * 60 / times_s[-1])


class TestSnapping:
    grid = BeatGrid(np.arange(17) * 0.5, np.arange(17) % 4 + 1, (Segment(0.0, 120.0, 1),))

    @pytest.mark.parametrize(
        ("time_s", "cue_s"),
        [
            (2.02, 2.0),
            (2.3, 2.0),  # nearer to the second beat, but within a beat of the bar
            (1.6, 2.0),
            (3.1, 3.0),  # more than a beat from any bar
            (8.3, 8.0),
            (9.0, 9.0),  # the grid has ended
        ],
    )
    def test_a_bar_within_a_beat_wins_over_the_nearest_beat(self, time_s, cue_s):
        assert self.grid.snap(time_s) == pytest.approx(cue_s)

    def test_without_beats_the_time_stays(self):
        grid = fit_grid(np.zeros(0), np.zeros(0))
        assert grid.snap(12.3) == 12.3
        assert (grid.bpm, grid.first_beat_s, grid.segments) == (0.0, None, ())

    def test_the_strongest_eight_are_kept_in_time_order(self):
        beats = np.column_stack([np.arange(400) * 0.5, np.arange(400) % 4 == 0])
        contrast = np.array([0.9, 3.0, 0.6, 2.5, 2.4, 0.7, 2.3, 2.2, 2.1, 2.0, 1.9])
        hits = 10.02 + 16 * np.arange(11)
        drops = np.column_stack([hits, np.append(0, hits[1:] - 6), contrast, contrast])
        cues = cues_of_events(beats, drops).drops
        assert len(cues) == MAX_HOT_CUES
        assert [cue.contrast for cue in cues] == [3.0, 2.5, 2.4, 2.3, 2.2, 2.1, 2.0, 1.9]
        assert [cue.time_s for cue in cues] == pytest.approx([10 + 16 * k for k in (1, 3, 4, 6, 7, 8, 9, 10)])
        assert all(cue.breakdown_s < cue.time_s for cue in cues)


class TestSignals:
    def test_the_lag_of_late_beats_is_measured_on_the_waveform(self):
        samples = np.zeros(30 * RATE, dtype=np.float32)
        attacks = np.arange(1, 29) * RATE
        for attack in attacks:
            samples[attack : attack + 400] = 0.8 * np.sin(np.arange(400) * 0.1)
        assert attack_lag_s(samples, attacks / RATE + 0.032) == pytest.approx(0.032, abs=0.004)
        assert attack_lag_s(np.zeros(RATE, dtype=np.float32), np.array([0.5])) == 0.0

    @pytest.mark.parametrize("signal", ["silence", "constant", "click"])
    def test_degenerate_signals_give_whole_rows_or_none(self, signal):
        samples = np.full(10 * RATE, 0.1 if signal == "constant" else 0.0, dtype=np.float32)
        if signal == "click":
            samples[5 * RATE] = 1.0
        clip = Clip(samples, RATE)
        beats, drops = beat_events(clip), drop_events(clip)
        assert beats.shape[1:] == (2,)
        assert drops.shape == (0, 4)
        assert cues_of_events(beats, drops).drops == ()
