"""Decision rules against a second writing of their formulas, presets, and the latency that they give."""

import itertools
import math

import appliance_restated_decoders as restated
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import UsageError
from earmark.tasks.appliance.decoding.events import EventSettings, hops
from earmark.tasks.appliance.decoding.hmm import HmmSettings, most_likely_path
from earmark.tasks.appliance.decoding.latency import Switch, latency, played_latency
from earmark.tasks.appliance.decoding.limits import Limits
from earmark.tasks.appliance.decoding.medians import MedianSettings
from earmark.tasks.appliance.decoding.presets import DECODERS, PRESETS, Rule, default_rule, preset
from earmark.tasks.appliance.decoding.votes import VoteSettings
from earmark.tasks.appliance.schema import DEFAULT_DEVICES, Devices, state_of

NAMES = ("ac", "fridge", "fan", "pump", "washer", "server")
EDGES = [0.0, 0.3, 0.35, 0.55, 0.6, 0.7, 0.75, 0.8, 1.0]

probabilities = st.one_of(st.sampled_from(EDGES), st.floats(0, 1))


def sequences(n_devices, max_windows=40):
    return st.lists(
        st.lists(probabilities, min_size=n_devices, max_size=n_devices), min_size=1, max_size=max_windows
    )


@st.composite
def rooms(draw, max_windows=40):
    names = NAMES[: draw(st.integers(1, 6))]
    return Devices(names), draw(sequences(len(names), max_windows))


def run(rule, devices, rows, initial=None):
    decoder = rule.decoder(devices)
    decoder.reset(initial)
    return [decoder.step(row, index) for index, row in enumerate(rows)]


@settings(deadline=None)
@given(rooms(), st.integers(1, 9), st.integers(1, 4))
def test_median_is_its_formula(room, n, k):
    devices, rows = room
    rule = Rule(MedianSettings(n, k))
    limits = {name: (one.t_on, one.t_off) for name, one in rule.limits_of(devices).items()}
    instant, stable = restated.median_states(rows, devices.names, limits, n, k)
    decided = run(rule, devices, rows)
    assert [one.status for one in decided] == instant
    assert [one.stable for one in decided] == stable
    assert [one.changed for one in decided] == [a != b for a, b in itertools.pairwise([None, *stable])]
    assert all(one.facts is None and one.p_shown is None for one in decided[: n - 1])


@settings(deadline=None)
@given(sequences(1, 120), st.sampled_from(["g2", "g2-fast"]), st.sampled_from(["ac", "fridge"]))
def test_events_are_their_formula(rows, name, device):
    rule, devices = PRESETS[name], Devices((device,))
    limits = rule.limits_of(devices)[device]
    switches, smooth = restated.event_switches(
        [row[0] for row in rows], rule.hop_s, rule.settings.n, rule.settings.tau_s,
        limits.t_on, limits.t_off, limits.on_s, limits.off_s, limits.cooldown_s,
    )  # fmt: skip
    decided = run(rule, devices, rows)
    assert np.allclose([one.p_shown[0] for one in decided], smooth, rtol=0, atol=1e-12)
    assert [(e.step, e.kind) for one in decided for e in one.events] == switches


def test_hold_and_rest_of_an_event_in_figures():
    limits = Limits(0.75, 0.35, on_s=4, off_s=8, cooldown_s=20)
    rule = Rule(EventSettings(1, 0.0), hop_s=0.5, limits={"ac": limits})
    rows = [[0.9]] * 10 + [[0.1]] * 100 + [[0.9]] * 100
    found = [(e.step, e.kind) for one in run(rule, Devices(("ac",)), rows) for e in one.events]
    # on: 8 windows in a row, the 8th has index 7; off: rest of 40 windows ends at 47; on: 8 windows from 110
    assert found == [(7, "on"), (47, "off"), (117, "on")]
    assert hops(1.2, 0.4) == 3 and hops(20, 0.5) == 40 and hops(0, 0.5) == 0


@settings(deadline=None)
@given(rooms(), st.integers(1, 12))
def test_votes_are_their_formula(room, n):
    devices, rows = room
    decided = run(Rule(VoteSettings(n)), devices, rows)
    for d, name in enumerate(devices.names):
        expected = restated.vote_facts([row[d] for row in rows], n, 0.5, 0.70, 0.30)
        assert [one.facts[name] for one in decided] == expected


@settings(max_examples=40, deadline=None)
@given(
    sequences(2, 5),
    st.tuples(st.floats(0.05, 0.95), st.floats(0.05, 0.95)),
    st.sampled_from([0.25, 1.0, 4.0]),
    st.sampled_from([3.0, 60.0, 600.0]),
    st.sampled_from([0.0, 0.25, 1.0]),
)
def test_hmm_is_the_sum_over_all_paths(rows, priors, evidence, dwell_s, masked_weight):
    devices = DEFAULT_DEVICES
    own = HmmSettings(evidence, dwell_s, 0.9, dict(zip(devices.names, priors, strict=True)), masked_weight)
    rule = Rule(own, hop_s=0.5, windows_s={"ac": 2.0})
    g = (evidence * 0.5 / 2.0, evidence * 0.5 / 6.0)
    told = (devices.names, priors, g, 0.5, dwell_s, devices.masks, masked_weight)
    decided, stable = run(rule, devices, rows), None
    for n in range(1, len(rows) + 1):
        logs = {p: restated.path_log_probability(path, rows[:n], *told) for p, path in enumerate(paths_of(n))}
        top = max(logs.values())
        weights = {p: math.exp(value - top) for p, value in logs.items()}
        total = sum(weights.values())
        last = [path[-1] for path in paths_of(n)]
        for d, name in enumerate(devices.names):
            marginal = sum(weight for p, weight in weights.items() if last[p][name]) / total
            assert decided[n - 1].p_shown[d] == pytest.approx(marginal, rel=1e-9, abs=1e-12)
        public = {}
        for p, weight in weights.items():
            public[state_of(last[p], devices)] = public.get(state_of(last[p], devices), 0.0) + weight / total
        best = max(public, key=public.get)
        if abs(public[best] - 0.9) > 1e-9:
            stable = best if public[best] >= 0.9 else stable
            assert decided[n - 1].stable == stable
        else:
            stable = decided[n - 1].stable


def paths_of(n):
    return list(restated.paths(n, DEFAULT_DEVICES.names))


@settings(max_examples=40, deadline=None)
@given(sequences(2, 4), st.sampled_from([1.0, 4.0]))
def test_the_most_likely_path_is_the_best_of_all(rows, evidence):
    devices, own = DEFAULT_DEVICES, HmmSettings(evidence, 10.0, masked_weight=0.25)
    found = most_likely_path(rows, devices, own, hop_s=1.5, windows_s={"ac": 6.0, "fridge": 6.0})
    g = (evidence * 0.25,) * 2
    told = (rows, devices.names, (0.5, 0.5), g, 1.5, 10.0, devices.masks, 0.25)
    best = max(restated.path_log_probability(path, *told) for path in paths_of(len(rows)))
    mine = [dict(zip(devices.names, map(bool, row), strict=True)) for row in found]
    assert restated.path_log_probability(mine, *told) == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("n_devices", range(1, 7))
@pytest.mark.parametrize("name", DECODERS)
def test_every_decoder_follows_one_to_six_devices(name, n_devices):
    devices = Devices(NAMES[:n_devices], priority=NAMES[:n_devices][::-1])
    rows = [[0.99] * n_devices] * 60 + [[0.01] * n_devices] * 120
    decided = run(default_rule(name), devices, rows)
    assert decided[59].stable == f"{devices.priority[0]}-on"
    nothing = {1: "ac-off", 2: "both-off"}.get(n_devices, "all-off")
    assert decided[-1].stable == decided[-1].status == nothing
    assert [(e.device, e.kind) for one in decided[60:] for e in one.events] == [
        (d, "off") for d in devices.names
    ]
    assert 0 <= decided[-1].confidence <= 1


def test_hmm_refuses_a_seventh_device():
    with pytest.raises(UsageError, match="7 devices"):
        default_rule().decoder(Devices(tuple("abcdefg")))


@pytest.mark.parametrize("name", [*PRESETS, *DECODERS])
def test_a_steady_room_gives_one_state_and_no_event(name):
    rule = PRESETS.get(name) or default_rule(name)
    for facts in itertools.product([False, True], repeat=2):
        known = dict(zip(DEFAULT_DEVICES.names, facts, strict=True))
        rng = np.random.default_rng(3)
        rows = np.where(facts, 0.93, 0.07) + rng.uniform(-0.06, 0.06, (400, 2))
        from_start = run(rule, DEFAULT_DEVICES, rows, initial=known)
        assert not any(one.events or one.changed for one in from_start)
        assert sum(one.changed for one in run(rule, DEFAULT_DEVICES, rows)) <= 1 + any(facts)
        assert from_start[-1].stable == state_of(known, DEFAULT_DEVICES)


@pytest.mark.parametrize("name", [*PRESETS, *DECODERS])
def test_reset_forgets_everything(name):
    decoder = (PRESETS.get(name) or default_rule(name)).decoder(DEFAULT_DEVICES)
    rows = np.random.default_rng(5).uniform(0, 1, (50, 2))
    first = [decoder.step(row, index) for index, row in enumerate(rows)]
    decoder.reset()
    assert [decoder.step(row, index) for index, row in enumerate(rows)] == first


def test_a_probability_at_its_limit_switches():
    rule = Rule(MedianSettings(1, 1), limits={"ac": Limits(0.8, 0.6)})
    found = [one.facts["ac"] for one in run(rule, Devices(("ac",)), [[0.7999], [0.8], [0.6001], [0.6]])]
    assert found == [False, True, True, False]


def test_what_is_hidden_moves_less():
    known, rows = {"ac": True, "fridge": False}, [[0.99, 0.99]] * 20
    shown = [
        run(Rule(HmmSettings(masked_weight=w)), DEFAULT_DEVICES, rows, known)[-1].p_shown[1]
        for w in (0.0, 0.25, 1.0)
    ]
    assert shown == sorted(shown)
    assert shown[0] < 0.1 and shown[2] > 0.9


def test_a_window_not_yet_full_says_nothing_to_hmm_and_is_refused_elsewhere():
    rule = PRESETS["fast"]
    decided = run(rule, DEFAULT_DEVICES, [[0.99, math.nan]] * 12)
    assert decided[-1].p_shown[1] == pytest.approx(0.5) and decided[-1].stable == "ac-on"
    with pytest.raises(UsageError, match="0 to 1"):
        run(PRESETS["g3"], DEFAULT_DEVICES, [[0.99, math.nan]])


@pytest.mark.parametrize("row", [[0.5], [0.5, 1.2], [[0.5, 0.5]], [0.5, -0.1]])
@pytest.mark.parametrize("name", DECODERS)
def test_rows_that_are_no_probabilities_are_refused(name, row):
    with pytest.raises(UsageError, match="probabilit"):
        default_rule(name).decoder(DEFAULT_DEVICES).step(row, 0)


def test_windows_that_could_not_be_heard_hold_the_state():
    decided = run(PRESETS["g3"], DEFAULT_DEVICES, [[0.9, 0.1]] * 8)[-1]
    held = decided.held(8)
    assert (held.index, held.stable, held.changed, held.events) == (8, "ac-on", False, ())


HIDES = (("ac", "fridge"), ("pump", "fridge"), ("pump", "fan"))


def with_masks(devices):
    return Devices(devices.names, masks=[pair for pair in HIDES if set(pair) <= set(devices.names)])


@settings(deadline=None)
@given(rooms(), st.integers(1, 5), st.integers(1, 4))
def test_median_holds_what_is_hidden(room, n, k):
    devices, rows = with_masks(room[0]), room[1]
    decided = run(Rule(MedianSettings(n, k)), devices, rows)
    sides = restated.settled_sides([one.facts for one in decided], devices.names, devices.masks, k)
    assert [one.settled for one in decided] == sides


@settings(max_examples=60, deadline=None)
@given(rooms(), st.sampled_from([0.6, 0.9]))
def test_hmm_holds_what_is_hidden(room, confidence):
    devices, rows = with_masks(room[0]), room[1]
    sides, was = {}, {}
    for one in run(Rule(HmmSettings(10.0, 10.0, confidence)), devices, rows):
        p_of = dict(zip(devices.names, one.p_shown, strict=True))
        for name, p in p_of.items():  # that of a device that nothing hides, so that hiders come first
            if not any(hides == name for _, hides in devices.masks) and max(p, 1 - p) >= confidence:
                sides[name] = p >= 0.5
        for _, name in devices.masks:
            hiders = [other for other, hides in devices.masks if hides == name]
            is_hidden = any(p_of[other] >= 0.5 or sides.get(other) for other in hiders)
            if not is_hidden and max(p_of[name], 1 - p_of[name]) >= confidence:
                sides[name] = p_of[name] >= 0.5
        assert one.settled == sides
        assert {event.device for event in one.events} == {d for d in was if was[d] != sides[d]}
        was = dict(sides)


@pytest.mark.parametrize("name", ["median", "hmm"])
def test_a_fridge_under_the_ac_stays_as_it_was(name):
    rows = [[0.01, 0.99]] * 60 + [[0.99, 0.01]] * 120 + [[0.01, 0.99]] * 60 + [[0.01, 0.01]] * 120
    decided = run(default_rule(name), DEFAULT_DEVICES, rows)
    told = [(event.device, event.kind) for one in decided for event in one.events]
    assert told == [("ac", "on"), ("ac", "off"), ("fridge", "off")]
    assert all(one.settled["fridge"] for one in decided if one.stable == "ac-on")
    states_told = [one.stable for one in decided if one.changed]
    assert states_told[:2] == ["fridge-on", "ac-on"] and states_told[-2:] == ["fridge-on", "both-off"]


@given(rooms(), st.sampled_from(sorted(DECODERS)))
@settings(max_examples=60, deadline=None)
def test_settled_sides_are_the_first_ones_and_the_events_since(room, name):
    devices, rows = room
    decoder = default_rule(name).decoder(devices)
    sides = {}
    for index, row in enumerate(rows):
        decided = decoder.step(row, index)
        switched = {event.device: event.kind == "on" for event in decided.events}
        first = {device: side for device, side in decided.settled.items() if device not in sides}
        sides |= first | switched
        assert decided.settled == sides and not first.keys() & switched.keys()
    assert decided.held(9).settled == sides


@pytest.mark.parametrize(
    "make",
    [
        lambda: Limits(0.5, 0.5), lambda: Limits(1.1, 0.5), lambda: Limits(0.8, -0.1),
        lambda: Limits(0.8, 0.6, on_s=-1),
        lambda: MedianSettings(0, 2), lambda: EventSettings(9, -1.0), lambda: VoteSettings(12, 0.5, 0.3, 0.7),
        lambda: HmmSettings(evidence=0), lambda: HmmSettings(confidence=0.5), lambda: HmmSettings(prior={"ac": 1.0}),
        lambda: default_rule("mean"), lambda: preset("g4"),
    ],
)  # fmt: skip
def test_settings_out_of_range_are_refused(make):
    with pytest.raises(UsageError, match="expected|Expected|cannot be used"):
        make()


def test_presets_are_those_of_the_earlier_systems():
    def told(name):
        rule, limits = PRESETS[name], PRESETS[name].limits_of(DEFAULT_DEVICES)
        return rule.window_s, rule.hop_s, rule.settings, limits["ac"], limits["fridge"]

    ac, fridge = Limits(0.80, 0.60), Limits(0.75, 0.55)
    assert told("g3") == (6.0, 1.5, MedianSettings(7, 2), ac, fridge)
    assert told("snappier") == (4.0, 1.0, MedianSettings(8, 2), ac, fridge)
    assert told("less-flapping") == (6.0, 1.5, MedianSettings(9, 3), Limits(0.85, 0.55), fridge)
    g2 = Limits(0.75, 0.35, 4, 8, 20), Limits(0.65, 0.30, 6, 12, 20)
    assert told("g2") == (4.0, 0.5, EventSettings(9, 6.0), *g2)
    fast = Limits(0.78, 0.42, 2, 6, 15), Limits(0.70, 0.38, 3, 10, 20)
    assert told("g2-fast") == (2.0, 0.5, EventSettings(7, 4.0), *fast)
    assert PRESETS["fast"].windows_of(DEFAULT_DEVICES) == {"ac": 2.0, "fridge": 6.0}
    assert (PRESETS["fast"].name, PRESETS["fast"].hop_s) == ("hmm", 0.5)
    assert default_rule().settings == HmmSettings(1.0, 600.0, 0.90)


def test_latency_is_the_known_one_and_what_happens():
    found = latency(PRESETS["g3"], DEFAULT_DEVICES, "ac")
    assert (found.typical_s, found.worst_s, found.first_answer_s, found.first_stable_s) == (
        12.0,
        16.5,
        15.0,
        16.5,
    )
    assert latency(PRESETS["g3"], DEFAULT_DEVICES, "ac", processing_s=0.4).worst_s == pytest.approx(16.9)


def test_a_played_switch_takes_as_long_as_the_run_is_unsure():
    """By hand, for one device of two whose other stays at the prior: g is 1/4 per window."""
    devices, rule = Devices(("ac", "fan")), default_rule("hmm")

    def typical_s(p_on):
        return played_latency(rule, devices, "ac", switch=Switch((0.02, 0.5), (p_on, 0.5))).typical_s

    delays = [typical_s(p) for p in (0.999, 0.98, 0.9, 0.8)]
    assert delays == sorted(delays) and delays[0] < delays[-1]
    odds, stay = 0.0, math.exp(-1.5 / 600)
    sides = [math.log(0.02 / 0.98)] * 120 + [math.log(0.98 / 0.02)] * 40
    certain = []
    for said in sides:
        p = 1 / (1 + math.exp(-odds))
        p = p * stay + (1 - p) * (1 - stay) if certain else 0.5
        odds = math.log(p / (1 - p)) + said / 4
        certain.append(odds)
    first = next(k for k in range(120, 160) if certain[k] >= math.log(0.9 / 0.1))
    assert abs(typical_s(0.98) - (6.0 + (first - 120) * 1.5)) <= 1.5
    assert typical_s(0.4) is None


@given(
    st.sampled_from([1, 3, 5, 7, 9, 11]),
    st.integers(1, 4),
    st.sampled_from([(6.0, 1.5), (4.0, 1.0), (5.0, 1.5)]),
)
@settings(max_examples=15, deadline=None)
def test_the_formula_of_odd_medians_is_what_a_played_switch_takes(n, k, lengths):
    rule = Rule(MedianSettings(n, k), window_s=lengths[0], hop_s=lengths[1])
    known, played = (f(rule, DEFAULT_DEVICES, "fridge") for f in (latency, played_latency))
    assert known.typical_s == pytest.approx(played.typical_s)
    assert known.first_answer_s == pytest.approx(played.first_answer_s)
    assert known.first_stable_s == pytest.approx(played.first_stable_s)
