"""Decision rules over time: sequences by hand, and what must hold for every sequence."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import UsageError
from earmark.inference.smoothing import Debounce, Hysteresis, Segment, segments

CLASSES = ("calm", "middle", "loud")
STEP_S = 5.0


def states(rule, rows):
    """Values of a rule fed every five seconds, from 5 s on."""
    times = [STEP_S * (i + 1) for i in range(len(rows))]
    return [held and held.value for held in rule.follow(times, rows)]


def p(calm, loud):
    return {"calm": calm, "middle": 1 - calm - loud, "loud": loud}


def debounced(values, dwell_s):
    held, out = None, []
    for i, value in enumerate(values):
        held = Debounce(dwell_s).step(held, float(i), value)
        out.append(held.value)
    return "".join(out)


@pytest.mark.parametrize(
    ("dwell_s", "seen", "held"),
    [
        (2, "aabbbbb", "aaaabbb"),  # b from 2, 2 s later it holds
        (2, "aabbabbb", "aaaaaaab"),  # a change back cancels
        (2, "aabcbcbc", "aaaaaaaa"),  # rivals that alternate never hold
        (2, "aabbccc", "aaaaaac"),  # a second rival begins its own time
        (0, "abcab", "abcab"),
        (9, "abbbbb", "aaaaaa"),
    ],
)
def test_a_value_must_be_seen_without_a_break(dwell_s, seen, held):
    assert debounced(seen, dwell_s) == held


def test_the_state_knows_since_when_it_was_seen():
    rule, held = Debounce(2), None
    for t_s, value in enumerate("aabbb"):
        held = rule.step(held, t_s, value)
    assert (held.value, held.since_s, held.t_s, held.rival_since_s) == ("b", 2, 4, None)


def test_time_must_go_forward():
    held = Debounce(1).step(None, 3.0, "a")
    with pytest.raises(UsageError, match="at 3 s follows one at 3 s"):
        Debounce(1).step(held, 3.0, "b")


@pytest.mark.parametrize(
    "make", [lambda: Hysteresis(margin=1.5), lambda: Hysteresis(dwell_s=-1), lambda: Debounce(-1)]
)
def test_settings_that_mean_nothing_are_refused(make):
    with pytest.raises(UsageError, match="expected"):
        make()


def test_another_class_must_lead_by_the_margin_for_the_dwell_time():
    rule = Hysteresis(margin=0.1, dwell_s=10)
    rows = [p(0.6, 0.3), p(0.45, 0.5), p(0.35, 0.5), p(0.3, 0.6), p(0.35, 0.5), p(0.5, 0.45), p(0.4, 0.6)]
    assert states(rule, rows) == ["calm"] * 4 + ["loud"] * 3


def test_a_lead_that_sinks_below_the_margin_cancels_the_change():
    rule = Hysteresis(margin=0.1, dwell_s=10)
    rows = [p(0.6, 0.3), p(0.3, 0.6), p(0.3, 0.6), p(0.45, 0.5), p(0.3, 0.6), p(0.3, 0.6), p(0.3, 0.6)]
    assert states(rule, rows) == ["calm"] * 6 + ["loud"]


def test_the_first_window_that_decides_sets_the_state_and_lasting_indecision_ends_it():
    rule = Hysteresis(margin=0.1, dwell_s=10)
    sure, unsure = p(0.2, 0.7), None
    assert states(rule, [unsure, unsure, sure]) == [None, None, "loud"]
    assert states(rule, [sure, unsure, unsure, sure, unsure]) == ["loud"] * 5
    assert states(rule, [sure, unsure, unsure, unsure, sure, sure, sure]) == ["loud"] * 3 + [None] * 3 + [
        "loud"
    ]


def test_without_margin_and_dwell_the_state_is_the_best_class():
    rows = [p(0.6, 0.3), p(0.3, 0.6), p(0.1, 0.2), p(0.5, 0.5)]
    assert states(Hysteresis(0, 0), rows) == ["calm", "loud", "middle", "calm"]


def test_a_class_that_was_chosen_against_the_odds_needs_no_lead_but_its_time():
    rule, held, found = Hysteresis(margin=0.3, dwell_s=10), None, []
    chosen = ["calm", "loud", "loud", "loud", "loud", "calm", "calm", "calm"]
    for i, name in enumerate(chosen):
        held = rule.step(held, STEP_S * i, p(0.5, 0.4) if i < 5 else p(0.6, 0.2), name)
        found.append(held.value)
    assert found == ["calm"] * 3 + ["loud"] * 4 + ["calm"]


def test_a_tie_is_no_lead():
    assert states(Hysteresis(0, 0), [p(0.3, 0.6), p(0.5, 0.5)]) == ["loud", "loud"]


share = st.floats(0, 1, allow_nan=False)
row = st.one_of(st.none(), st.builds(lambda a, b: p(a * (1 - b), b), share, share))


@given(rows=st.lists(row, max_size=60), margin=share, dwell_s=st.sampled_from([0.0, 4.0, 5.0, 12.0, 30.0]))
def test_changes_are_never_closer_than_the_dwell_time_and_have_a_reason(rows, margin, dwell_s):
    rule = Hysteresis(margin, dwell_s)
    found = states(rule, rows)
    assert found == states(rule, rows)
    first = next((i for i, value in enumerate(rows) if value is not None), len(rows))
    changes = [i for i in range(first + 1, len(rows)) if found[i] != found[i - 1]]
    for earlier, later in zip([first, *changes], changes, strict=False):
        assert (later - earlier) * STEP_S >= dwell_s
    for i in changes:  # every window of the dwell time spoke for the new state
        for j in range(i, -1, -1):
            if (i - j) * STEP_S > dwell_s:
                break
            spoken = rows[j]
            if found[i] is None:
                assert spoken is None
            else:
                assert spoken is not None and spoken[found[i]] == max(spoken.values())


@given(row=row.filter(lambda one: one is not None), n=st.integers(1, 30), dwell_s=st.floats(0, 60))
def test_constant_input_is_a_constant_state(row, n, dwell_s):
    assert set(states(Hysteresis(0.1, dwell_s), [row] * n)) == {max(row, key=row.get)}


def test_segments_are_the_spans_between_starts():
    assert segments([(0, "a"), (10, "b"), (12, "b"), (30, "a")], 40) == (
        Segment(0, 10, "a"),
        Segment(10, 30, "b"),
        Segment(30, 40, "a"),
    )
    assert segments([], 40) == ()
    assert segments([(0, "a"), (50, "b")], 40) == (Segment(0, 40, "a"),)


@given(
    starts=st.lists(st.tuples(st.floats(0, 100), st.sampled_from("abc")), max_size=20).map(sorted),
    end_s=st.floats(1, 200),
)
def test_segments_tile_their_time(starts, end_s):
    found = segments(starts, end_s)
    assert all(one.start_s < one.end_s for one in found)
    for one, following in pairwise(found):
        assert (one.end_s, one.label != following.label) == (following.start_s, True)
    if any(start < end_s for start, _ in starts):
        assert (found[0].start_s, found[-1].end_s) == (starts[0][0], end_s)
