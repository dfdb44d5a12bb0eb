"""Signatures, groupings, ambiguity and the whole answer, on bars whose beats are known."""

import json
from dataclasses import replace

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_bars import bars_of, beats_at, steady

from earmark.tasks.meter.analysis.bars import Bars, counted_in
from earmark.tasks.meter.analysis.document import document, document_schema
from earmark.tasks.meter.analysis.hypotheses import hypotheses, signature
from earmark.tasks.meter.analysis.recording import Speaker, Window, analyse
from earmark.tasks.meter.analysis.tempo import Candidate
from earmark.tasks.meter.analysis.wording import hint
from earmark.tasks.meter.schema import CLASSES

SPEAKER = Speaker("model", "20260101-000000-xgboost", "g1630@0123abcd", 0.4)


def sure_of(name: str, p: float = 0.9) -> dict[str, float]:
    return {one: p if one == name else (1 - p) / 5 for one in CLASSES}


probabilities = st.lists(st.floats(0, 1), min_size=6, max_size=6).map(
    lambda raw: dict(zip(CLASSES, np.asarray(raw) / max(sum(raw), 1e-9), strict=True))
)


@pytest.mark.parametrize(
    ("groups", "inner", "bpm", "name", "meter"),
    [
        ((3,), 1, 120, "3", "3/4"),
        ((3, 3), 3, 120, "3", "6/8"),
        ((2, 2), 1, 120, "4", "4/4"),
        ((2, 2), 3, 90, "4", "12/8"),
        ((2,), 1, 110, "4", "2/4"),
        ((3, 2), 1, 120, "5", "5/4"),
        ((3, 2), 1, 240, "5", "5/8"),
        ((2, 2, 3), 1, 150, "7", "7/4"),
        ((2, 2, 3), 1, 230, "7", "7/8"),
        ((2, 2, 2, 3), 1, 230, "9", "9/8"),
        ((3, 3, 3, 2), 1, 230, "11", "11/8"),
    ],
)
def test_every_signature_can_be_reached(groups, inner, bpm, name, meter):
    found = hypotheses(sure_of(name), bars_of(groups, bpm, 40.0, inner=inner))
    assert found.meter == meter
    assert found.ranked[0].division == ("compound" if inner == 3 else "simple")


@pytest.mark.parametrize(
    "groups", [(2, 2, 3), (3, 2, 2), (2, 3, 2), (3, 2), (2, 3), (2, 2, 2, 3), (3, 3, 3, 2)]
)
def test_the_order_of_the_groups_is_heard(groups):
    one = hypotheses(sure_of(str(sum(groups))), bars_of(groups, 200, 40.0)).ranked[0]
    assert one.grouping == groups
    assert one.grouping_measured


def test_without_accents_the_usual_grouping_is_given_and_marked():
    plain = Bars(beats_at(steady(200, 40.0), np.arange(132) % 7 + 1), np.empty(0), np.ones(132), np.ones(132))
    one = hypotheses(sure_of("7"), plain).ranked[0]
    assert (one.grouping, one.grouping_measured) == ((2, 2, 3), False)
    assert hypotheses(sure_of("9"), Bars.none()).ranked[0].grouping == (2, 2, 2, 3)


@settings(deadline=None, max_examples=25)
@given(probabilities, st.integers(1, 6))
def test_hypotheses_are_ranked_and_normalised(p, limit):
    found = hypotheses(p, Bars.none(), limit=limit)
    confidences = [one.confidence for one in found.ranked]
    assert confidences == sorted(confidences, reverse=True)
    assert len(confidences) <= limit
    assert 0 <= found.ambiguity <= 1 + 1e-12
    kept = [value for value in p.values() if value >= 0.01 and value >= 0.1 * max(p.values())]
    if len(kept) <= limit and kept:
        assert sum(confidences) == pytest.approx(1)


def test_ambiguity_is_the_share_of_the_largest_entropy():
    assert hypotheses({"3": 0.5, "4": 0.5}, Bars.none()).ambiguity == pytest.approx(1)
    assert hypotheses({"3": 1.0, "4": 0.005}, Bars.none()).ambiguity == 0
    # 0.9 and 0.09 are kept (of 0.99); 0.09 < 0.1 * 0.9 is not, and is then no hypothesis
    found = hypotheses({"3": 0.905, "4": 0.09, "5": 0.005}, Bars.none())
    p = np.array([0.905, 0.09]) / 0.995
    assert found.ambiguity == pytest.approx(-(p * np.log2(p)).sum())
    assert [one.meter for one in found.ranked] == ["3/4"]
    assert found.ranked[0].confidence == 1


def test_no_evidence_gives_no_hypothesis():
    assert hypotheses({}, Bars.none()).ranked == ()
    assert hypotheses(dict.fromkeys(CLASSES, 0.0), Bars.none()).meter is None


def test_hints_tell_rivals_apart():
    jig = hypotheses({"3": 0.6, "4": 0.4}, bars_of((3, 3), 120, 30.0, inner=3)).ranked
    assert "Count" in hint(jig[0], jig)
    plain = hypotheses({"3": 0.6, "4": 0.4}, bars_of((3,), 120, 30.0)).ranked
    assert "Listen between the beats" in hint(jig[0], (plain[0],))
    assert hint(plain[0], plain[:1]) == ""


def test_downbeats_follow_a_sure_class_where_a_tracker_counted_otherwise():
    heard = bars_of((2, 2, 3), 200, 40.0)
    n = len(heard.beats)
    counted_in_four = replace(heard, beats=beats_at(heard.beats.times_s, np.arange(n) % 4 + 1))
    np.testing.assert_array_equal(counted_in(counted_in_four, "7").beats.positions, heard.beats.positions)
    assert counted_in(heard, "7") is heard
    assert counted_in(bars_of((2,), 110, 30.0), "4").beats_per_bar == 2
    assert signature("4", bars_of((2,), 110, 30.0)) == (2, 4)


def test_a_planted_change_is_found_and_lies_on_a_downbeat():
    """One minute of 3/4 at 120 BPM, then one of 7 at 150: sections, map, stability and downbeats tell both."""
    first, second = bars_of((3,), 120, 60.0), bars_of((2, 2, 3), 150, 60.0)
    moved = replace(
        second,
        beats=beats_at(second.beats.times_s + 60.0, second.beats.positions),
        onset_times_s=second.onset_times_s + 60.0,
    )
    windows = [
        Window(15.0 * k, 15.0 * k + 30.0, sure_of("3" if 15 * k + 15 < 60 else "7", 0.8)) for k in range(7)
    ]
    found = analyse(
        "x.wav", 120.0, windows, Bars.joined([first, moved]), [Candidate("dp", 120, 0.7)], SPEAKER
    )
    edges = [one.start_s for one in found.sections]
    change_s = min(edges, key=lambda edge: abs(edge - 60))
    assert abs(change_s - 60) < 8
    for one in found.sections:
        expected = ("3/4", 120) if one.end_s <= change_s else ("7/4", 150)
        assert one.meter == expected[0]
        assert one.bpm == pytest.approx(expected[1], rel=0.01)
    assert found.stability == pytest.approx(4 / 7)
    assert [one.meter for _, one in found.meter_map] == ["3/4"] * 3 + ["7/4"] * 4


def test_below_the_threshold_it_abstains_and_still_says_what_is_likely():
    windows = [Window(0.0, 30.0, dict.fromkeys(CLASSES, 1 / 6))]
    found = document(analyse("x.wav", 30.0, windows, bars_of((3,), 120, 30.0), [], SPEAKER))
    assert found["abstained"] and len(found["meter_hypotheses"]) == 5
    assert found["meter_ambiguity"] == 1


def test_silent_windows_take_no_part_in_the_mean():
    windows = [Window(0.0, 30.0, sure_of("3")), Window(15.0, 45.0, None)]
    found = analyse("x.wav", 45.0, windows, bars_of((3,), 120, 45.0), [], SPEAKER)
    assert found.probabilities == pytest.approx(sure_of("3"))
    assert found.meter_map[1][1].meter is None
    assert found.stability == 1


@settings(deadline=None, max_examples=25)
@given(
    st.lists(probabilities | st.none(), min_size=1, max_size=5),
    st.sampled_from([(3,), (2, 2), (2, 2, 3), ()]),
    st.integers(40, 300),
)
def test_every_document_is_valid(spoken, groups, bpm):
    duration_s = 15.0 * (len(spoken) + 1)
    bars = bars_of(groups, bpm, duration_s) if groups else Bars.none()
    windows = [
        Window(15.0 * k, 15.0 * k + 30.0, p and (p if sum(p.values()) else None))
        for k, p in enumerate(spoken)
    ]
    found = document(analyse("x.wav", duration_s, windows, bars, [], SPEAKER))
    jsonschema.validate(json.loads(json.dumps(found, allow_nan=False)), document_schema())
    assert len(found["beats"]) == len(bars.beats)


def test_the_schema_refuses_what_is_no_document():
    jsonschema.Draft202012Validator.check_schema(document_schema())
    good = document(
        analyse("x.wav", 30.0, [Window(0, 30, sure_of("7"))], bars_of((2, 2, 3), 230, 30.0), [], SPEAKER)
    )
    for spoiled in ({"meter_hypotheses": None}, {"tempo": {}}, {"sections": [{"meter": "?"}]}, {"more": 1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(good | spoiled, document_schema())
