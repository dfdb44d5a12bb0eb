"""Tempo consensus, curve, categories and sections: rules by hand, and properties over all tempos."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_bars import steady

from earmark.tasks.meter.analysis.curve import category, jumps_s, tempo_curve
from earmark.tasks.meter.analysis.sections import edges_s
from earmark.tasks.meter.analysis.tempo import NO_TEMPO, Candidate, beat_candidate, consensus

bpm_values = st.floats(40, 300)


@pytest.mark.parametrize(
    ("estimates", "bpm"),
    [
        ([(100.0, 0.9), (100.0, 0.7)], 100.0),
        ([(120.0, 0.9), (60.0, 0.7)], 120.0),  # doubled: below 0.7 of the most confident
        ([(120.0, 0.9), (240.0, 0.7)], 120.0),  # halved: above 1.4 of it
        ([(70.0, 0.9), (140.0, 0.5)], 140.0),  # below 80, and an estimate speaks for the double
        ([(70.0, 0.9)], 70.0),  # below 80, but nothing does
        ([(70.0, 0.9), (200.0, 0.5)], 70.0),  # 200 is no 140 by 15 %, and 50 is another level than 70
        ([(300.0, 0.9), (99.4, 0.8), (99.4, 0.7)], 150.0),  # thirds do not pull
        ([(210.0, 0.9)], 105.0),  # above 200, and the half is in 80 to 180
        ([(400.0, 0.9)], 400.0),  # the half is neither likely nor supported
        ([(120.0, 0.0), (90.0, 0.3)], 90.0),  # no confidence, no say
    ],
)
def test_octaves_are_chosen_as_the_rules_say(estimates, bpm):
    found = consensus([Candidate(str(i), *one) for i, one in enumerate(estimates)])
    assert found.bpm == pytest.approx(bpm)


def test_confidence_falls_by_five_times_the_spread():
    # mean 104, weighted standard deviation 4: 1 - 5 * 4 / 104
    found = consensus([Candidate("a", 100.0, 0.5), Candidate("b", 108.0, 0.5)])
    assert found.confidence == pytest.approx(1 - 20 / 104)


def test_without_evidence_there_is_no_tempo():
    assert consensus([]) == consensus([Candidate("dp", 0.0, 0.7)]) == NO_TEMPO
    assert beat_candidate(np.empty(0)).confidence == 0


@settings(deadline=None, max_examples=25)
@given(st.lists(st.tuples(bpm_values, st.floats(0, 1)), max_size=4))
def test_a_consensus_is_an_estimate_up_to_octaves(estimates):
    found = consensus([Candidate(str(i), *one) for i, one in enumerate(estimates)])
    heard = [bpm for bpm, confidence in estimates if confidence > 0]
    assert 0 <= found.confidence <= 1
    assert (found.bpm is None) == (not heard)
    if len(set(heard)) == 1:
        octaves = np.log2(found.bpm / heard[0])
        assert octaves == pytest.approx(round(octaves), abs=1e-9)


@settings(deadline=None, max_examples=25)
@given(bpm_values)
def test_clicks_of_every_tempo_have_a_flat_curve(bpm):
    times_s = steady(bpm, 30.0)
    curve = tempo_curve(times_s)
    np.testing.assert_allclose(curve.bpm, bpm, rtol=1e-9)
    assert category(curve.variation) == "steady"
    assert not jumps_s(times_s)
    assert consensus([beat_candidate(np.diff(times_s))]).confidence == pytest.approx(1)


@settings(deadline=None, max_examples=25)
@given(st.floats(60, 150), st.floats(1.0, 1.5))
def test_a_ramp_is_a_curve_and_no_jump(start_bpm, ratio):
    position = np.arange(64)
    bpm = start_bpm * (1 + (ratio - 1) * position / 63)
    times_s = np.concatenate([[0.0], np.cumsum(60 / bpm)])
    curve = tempo_curve(times_s)
    inner = np.interp(curve.times_s, times_s[1:], bpm)
    np.testing.assert_allclose(curve.bpm, inner, rtol=0.03)
    assert np.all(np.diff(curve.bpm) >= -1e-9)
    assert not jumps_s(times_s)


@pytest.mark.parametrize(("variation", "word"), [(0.029, "steady"), (0.03, "slightly variable")])
def test_categories_change_at_their_limits(variation, word):
    assert category(variation) == word
    assert [category(x) for x in (0.069, 0.07, 0.149, 0.15)] == [
        "slightly variable",
        "variable",
        "variable",
        "rubato",
    ]


def test_a_missed_beat_does_not_show():
    times_s = np.delete(steady(120, 30.0), 20)
    np.testing.assert_allclose(tempo_curve(times_s).bpm, 120, rtol=1e-9)
    assert not jumps_s(times_s)


@settings(deadline=None, max_examples=25)
@given(st.floats(70, 180), st.floats(1.2, 1.7), st.booleans())
def test_a_jump_is_found_at_its_beat(bpm, ratio, is_faster):
    after = bpm * ratio if is_faster else bpm / ratio
    before_s = np.arange(40) * 60 / bpm
    times_s = np.concatenate([before_s, before_s[-1] + np.arange(1, 40) * 60 / after])
    assert jumps_s(times_s) == pytest.approx((before_s[-1],), abs=1e-6)


def test_the_curve_follows_the_octave_of_the_tempo():
    curve = tempo_curve(steady(300, 20.0)).in_octave_of(150.0)
    np.testing.assert_allclose(curve.bpm, 150)
    assert tempo_curve(np.array([1.0])).in_octave_of(120.0).range_bpm is None


@settings(deadline=None, max_examples=25)
@given(
    st.floats(0.5, 400),
    st.lists(st.floats(0, 400), max_size=6),
    bpm_values,
)
def test_sections_cover_the_recording_without_stubs(duration_s, changes_s, bpm):
    beats_s = steady(bpm, duration_s)
    edges = edges_s(duration_s, beats_s, [change for change in changes_s if change < duration_s])
    assert edges[0] == 0 and edges[-1] == duration_s
    lengths = np.diff(edges)
    assert (lengths > 0).all()
    if duration_s > 8:
        assert lengths.min() >= 4 and lengths.max() <= 28.0 + 1e-9
    for edge in edges[1:-1]:
        assert edge in changes_s or edge in beats_s


def test_slices_lie_on_beats_about_20_s_apart():
    assert edges_s(30.0, steady(120, 30.0, 0.1), []) == pytest.approx((0.0, 20.1, 30.0))
    assert edges_s(70.0, np.empty(0), [31.0]) == pytest.approx((0.0, 20.0, 31.0, 51.0, 70.0))
