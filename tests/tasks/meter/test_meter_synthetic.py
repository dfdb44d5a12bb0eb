"""From generated sound to what is said of it: tempo, ramps, division, grouping, and two hours of them."""

from __future__ import annotations

from itertools import accumulate, pairwise

import numpy as np
import pytest
from synthetic_bars import RATE, clicks, drummed, steady

from earmark.audio.clip import Clip
from earmark.tasks.meter.analysis.bars import Bars, counted_in
from earmark.tasks.meter.analysis.document import document
from earmark.tasks.meter.analysis.hypotheses import hypotheses
from earmark.tasks.meter.schema import CLASSES
from earmark.tasks.meter.serving.answers import answer
from earmark.tasks.meter.serving.model import answerer_for
from earmark.tasks.meter.serving.reading import Reading, WindowRows, groups_to_read, read_clips
from earmark.tasks.meter.serving.stitching import window_bars
from earmark.tasks.meter.serving.windows import planned
from earmark.tasks.meter.settings import MeterSettings
from earmark.tasks.meter.trackers.registry import slots
from earmark.tasks.project import Project

SLOTS = slots(environ={})


@pytest.fixture(scope="module")
def answerer(tmp_path_factory):
    return answerer_for(Project.open("meter", tmp_path_factory.mktemp("project")), fallback="rule")


def rows(signal: np.ndarray, features=()) -> WindowRows:
    found = read_clips({RATE: Clip(signal, RATE)}, groups_to_read(features, SLOTS), SLOTS, "signal")
    assert isinstance(found, WindowRows), found
    return found


def heard_bars(signal: np.ndarray) -> Bars:
    """Beats, onsets and accents of a signal as an answer reads them."""
    found = rows(signal)
    return window_bars(0.0, found.beats["bars"], found.onsets, found.accents, found.length.peak)


def said(signal: np.ndarray, answerer) -> dict:
    reading = Reading("signal", (0.0,), (rows(signal, answerer.groups),))
    return document(answer(reading, answerer, SLOTS, MeterSettings()))


def sure_of(name: str) -> dict[str, float]:
    return {one: 0.9 if one == name else 0.02 for one in CLASSES}


def grouped(groups, bpm: float, duration_s: float = 28.0) -> np.ndarray:
    """A low drum on the downbeat, a louder click where a group begins, soft clicks elsewhere."""
    times_s = steady(bpm, duration_s - 0.1)
    place = np.arange(len(times_s)) % sum(groups)
    is_start = np.isin(place, [0, *accumulate(groups[:-1])])
    strengths = np.where(place == 0, 1.0, np.where(is_start, 0.6, 0.15))
    return clicks(times_s, strengths, duration_s, np.where(place == 0, 110.0, 1_500.0))


@pytest.mark.parametrize(
    "bpm",
    [
        pytest.param(bpm, marks=() if bpm in (40, 120, 300) else pytest.mark.slow)
        for bpm in (40, 48, 57, 70, 83, 100, 120, 140, 167, 200, 240, 270, 300)
    ],
)
def test_clicks_have_their_tempo_or_an_octave_of_it(bpm, answerer):
    tempo = said(clicks(steady(bpm, 19.8), np.ones(len(steady(bpm, 19.8))), 20.0), answerer)["tempo"]
    octaves = np.log2(tempo["bpm"] / bpm)
    assert octaves == pytest.approx(round(octaves), abs=np.log2(1.02))
    assert tempo["tempo_category"] == "steady"


@pytest.mark.parametrize(("start_bpm", "end_bpm"), [(80, 140), (150, 90)])
def test_a_ramp_has_a_curve_that_follows_it(start_bpm, end_bpm, answerer):
    times_s = [0.4]
    while times_s[-1] < 29.0:
        times_s.append(times_s[-1] + 60 / (start_bpm + (end_bpm - start_bpm) * times_s[-1] / 30))
    found = said(clicks(np.array(times_s[:-1]), np.ones(len(times_s) - 1), 30.0), answerer)
    at_s = np.array([one["time"] for one in found["tempo_curve"]])
    bpm = np.array([one["bpm"] for one in found["tempo_curve"]])
    truth = start_bpm + (end_bpm - start_bpm) * at_s / 30
    octave = np.round(np.log2(np.median(bpm / truth)))
    np.testing.assert_allclose(bpm / 2**octave, truth, rtol=0.06)
    assert found["tempo"]["is_variable"]


@pytest.mark.parametrize("groups", [(2, 2, 3), (3, 2, 2)])
def test_the_order_of_the_groups_is_heard_in_sound(groups):
    bars = counted_in(heard_bars(grouped(groups, 220)), "7")
    best = hypotheses(sure_of("7"), bars).ranked[0]
    assert (best.grouping, best.grouping_measured) == (groups, True)


def test_six_eight_and_three_four_of_the_same_eighths_differ():
    """Six eighths a bar at 240 per minute: two dotted beats of three, or three beats of two."""
    names = {
        groups: hypotheses(sure_of("3"), heard_bars(grouped(groups, 240))).meter
        for groups in ((3, 3), (2, 2, 2))
    }
    assert names == {(3, 3): "6/8", (2, 2, 2): "3/4"}


def test_two_hours_are_one_answer_without_a_seam(answerer):
    """480 windows with the rows of one whose bars fit the hop of 15 s."""
    window = rows(drummed(3, 120, 30.0, start_s=0.3), answerer.groups)
    layout = planned("two hours", 7_200.0)
    reading = Reading(layout.uri, layout.starts_s, (window,) * len(layout.starts_s))
    found = document(answer(reading, answerer, SLOTS, MeterSettings()))
    beats_s = np.array([one["time"] for one in found["beats"]])
    assert len(found["meter_map"]) == len(layout.starts_s) > 470
    np.testing.assert_allclose(np.diff(beats_s), 0.5, atol=0.06)
    assert beats_s[-1] > 7_190
    assert np.diff([one["time"] for one in found["beats"] if one["is_downbeat"]]).max() < 6.5
    edges = [(one["start"], one["end"]) for one in found["sections"]]
    assert [edges[0][0], edges[-1][1]] == [0.0, 7_200.0]
    assert all(end == start for (_, end), (start, _) in pairwise(edges))
