"""Splices, delays, false events and scores per second, by hand-computed cases."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.audio.clip import Clip
from earmark.errors import UsageError
from earmark.tasks.appliance.decoding.hmm import HmmSettings
from earmark.tasks.appliance.decoding.medians import MedianSettings
from earmark.tasks.appliance.decoding.presets import Rule, default_rule
from earmark.tasks.appliance.evaluation.changes import (
    Report,
    Trace,
    follow,
    pooled,
    score_changes,
    true_changes,
)
from earmark.tasks.appliance.evaluation.seconds import auroc_by, probability_per_second, truth_per_second
from earmark.tasks.appliance.evaluation.splice import Piece, random_pieces, splice
from earmark.tasks.appliance.schema import DEFAULT_DEVICES, Devices
from earmark.tasks.appliance.thresholds.fit_decoder import compare_rules, fit_decoder, score_rule

RATE = 16_000
OFF, AC, FRIDGE, BOTH = (
    {"ac": a, "fridge": f} for a, f in ((False, False), (True, False), (False, True), (True, True))
)


def noise(seconds, level, seed=0):
    return Clip(
        (np.random.default_rng(seed).normal(0, level, round(seconds * RATE))).astype(np.float32), RATE
    )


def dbfs(samples):
    return 10 * np.log10(np.mean(np.square(samples, dtype=np.float64)))


def test_a_splice_keeps_levels_and_knows_its_switches():
    pieces = [Piece(noise(10, 0.01, 1), OFF), Piece(noise(5, 0.04, 2), AC), Piece(noise(7, 0.01, 3), OFF)]
    made = splice(pieces)
    fade = round(0.005 * RATE)
    assert len(made.clip.samples) == 22 * RATE - 2 * fade
    assert made.starts_s == pytest.approx((0, 10 - fade / 2 / RATE, 15 - 1.5 * fade / RATE), abs=1e-9)
    assert made.states(DEFAULT_DEVICES) == tuple(
        zip(made.starts_s, ("both-off", "ac-on", "both-off"), strict=True)
    )
    for piece, start_s in zip(pieces, made.starts_s, strict=True):
        at = round(start_s * RATE) + fade
        assert dbfs(made.clip.samples[at : at + 4 * RATE]) == pytest.approx(dbfs(piece.clip.samples), abs=0.2)
    # nothing is scaled outside the cross-fades
    assert np.array_equal(made.clip.samples[: 10 * RATE - fade], pieces[0].clip.samples[:-fade])


def test_a_cross_fade_has_constant_power():
    rng = np.random.default_rng(0)
    joined = [
        splice(
            [Piece(Clip(rng.normal(0, 0.1, 900).astype(np.float32), 1000), OFF) for _ in range(2)],
            crossfade_s=0.4,
        )
        for _ in range(400)
    ]
    power = np.mean([np.square(one.clip.samples[500:900], dtype=np.float64) for one in joined], axis=0)
    assert np.convolve(power, np.ones(50) / 50, "valid") == pytest.approx(0.01, rel=0.1)


@pytest.mark.parametrize(
    ("pieces", "words"),
    [
        ([], "no piece"),
        ([Piece(noise(1, 0.1), OFF), Piece(Clip(np.ones(8000, np.float32), 8000), AC)], "8000, 16000 Hz"),
        ([Piece(noise(0.001, 0.1), OFF), Piece(noise(1, 0.1), AC)], "16 samples"),
    ],
)
def test_pieces_that_do_not_fit_are_refused(pieces, words):
    with pytest.raises(UsageError, match=words):
        splice(pieces)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 50))
def test_random_pieces_switch_one_device_at_a_time_and_are_seeded(seed):
    recordings = [Piece(noise(3, 0.01, n), facts) for n, facts in enumerate((OFF, AC, FRIDGE, BOTH))]
    made = [list(random_pieces(recordings, n_pieces=8, seed=seed, stay_s=(1, 2))) for _ in range(2)]
    assert all(np.array_equal(a.clip.samples, b.clip.samples) for a, b in zip(*made, strict=True))
    for before, after in itertools.pairwise(made[0]):
        assert sum(before.facts[name] != after.facts[name] for name in OFF) == 1
    assert all(1 <= piece.clip.duration_s <= 2 for piece in made[0])


def trace(p, facts, switch_s, hop_s=1.0, window_s=1.0):
    rows = np.asarray(p, dtype=np.float64)
    ends_s = window_s + hop_s * np.arange(len(rows))
    return Trace(rows, ends_s, (0.0, *switch_s), facts, float(ends_s[-1]))


def test_delays_misses_and_false_events_in_figures():
    given_trace = trace(np.full((100, 2), 0.5), (OFF, AC, OFF, FRIDGE, BOTH), (20.0, 40.0, 60.0, 80.0))
    reports = [
        Report(3, "both-off"), Report(10, "fridge-on"), Report(11, "both-off"),  # one false, one return
        Report(24.5, "ac-on"), Report(47, "both-off"),  # ac on 4.5 s, off 7 s
        Report(79, "ac-on"),  # false while the fridge is missed, and ac-on stands before its time
    ]  # fmt: skip
    scores = score_changes(given_trace, reports, DEFAULT_DEVICES)
    assert [(c.device, c.kind, c.delay_s) for c in scores.changes] == [
        ("ac", "on", 4.5), ("ac", "off", 7.0), ("fridge", "on", None), ("ac", "on", 0.0),
    ]  # fmt: skip
    assert [report.t_s for report in scores.false_events] == [10, 79]
    assert (scores.n_missed, scores.hours) == (1, pytest.approx(100 / 3600))
    twice = pooled([scores, scores])
    assert twice.false_per_hour == pytest.approx(72) and len(twice.changes) == 8
    row = next(row for row in scores.rows(DEFAULT_DEVICES) if (row["device"], row["kind"]) == ("ac", "on"))
    assert (row["changes"], row["missed"], row["delay_s"], row["delay_p90_s"]) == (
        2,
        0,
        2.25,
        pytest.approx(4.05),
    )


def test_a_late_report_of_a_state_that_ended_is_false():
    short = trace(np.full((30, 2), 0.5), (OFF, AC, OFF), (10.0, 12.0))
    scores = score_changes(
        short, [Report(1, "both-off"), Report(14, "ac-on"), Report(20, "both-off")], DEFAULT_DEVICES
    )
    assert [c.delay_s for c in scores.changes] == [None, 8.0]
    assert [report.t_s for report in scores.false_events] == [14]


def test_a_hidden_switch_is_not_asked_for():
    assert true_changes((0.0, 5.0, 9.0), (AC, BOTH, FRIDGE), DEFAULT_DEVICES)[0].t_s == 9.0


def clear_trace(facts, switch_s, p_on, seconds, window_s=6.0, hop_s=1.5, seed=0):
    """A window is as sure of a device as it has of it, with a little noise."""
    rng, starts_s = np.random.default_rng(seed), np.arange(0, seconds - window_s, hop_s)
    edges = [0.0, *switch_s, seconds]
    share = np.zeros((len(starts_s), 2))
    for first, last, fact in zip(edges, edges[1:], facts, strict=False):
        held = (
            np.clip(np.minimum(starts_s + window_s, last) - np.maximum(starts_s, first), 0, None) / window_s
        )
        share += held[:, None] * np.array([fact["ac"], fact["fridge"]])
    p = (1 - p_on) + (2 * p_on - 1) * share + rng.uniform(-0.02, 0.02, share.shape)
    return Trace(p.clip(0, 1), starts_s + window_s, (0.0, *switch_s), facts, seconds)


@pytest.mark.parametrize("name", ["hmm", "median", "events", "votes"])
def test_every_decoder_finds_clear_changes_and_invents_none(name):
    clear = clear_trace((OFF, AC, OFF, FRIDGE, OFF), (100.0, 220.0, 340.0, 480.0), 0.95, 600.0)
    scores = score_rule([clear], default_rule(name), DEFAULT_DEVICES)
    assert scores.n_missed == 0 and not scores.false_events
    assert 0 < scores.delays_s().max() < 30


def test_a_report_is_stamped_with_the_end_of_its_window():
    sudden = trace([[0.0, 0.0]] * 5 + [[1.0, 0.0]] * 5, (OFF, AC), (5.0,), hop_s=1.5, window_s=6.0)
    told = follow(sudden, Rule(MedianSettings(1, 1)), DEFAULT_DEVICES)
    assert told == [Report(6.0, "both-off"), Report(6.0 + 5 * 1.5, "ac-on")]


def test_fitting_the_decoder_is_never_worse_and_tells_sooner_where_it_can():
    slow = clear_trace((OFF, AC, OFF, FRIDGE, OFF), (100.0, 220.0, 340.0, 480.0), 0.8, 600.0)
    fitted = fit_decoder([slow], Rule(HmmSettings()), DEFAULT_DEVICES)
    assert not fitted.scores.false_events and fitted.scores.n_missed <= fitted.before.n_missed
    assert np.median(fitted.scores.delays_s()) < np.median(fitted.before.delays_s())
    assert fitted.warning is None
    rows = compare_rules([slow], {"plain": Rule(), "fitted": fitted.rule}, DEFAULT_DEVICES)
    assert [row["decoder"] for row in rows] == ["plain"] * 4 + ["fitted"] * 4


def test_only_hmm_on_audio_that_switches_is_fitted():
    still = clear_trace((OFF,), (), 0.9, 60.0)
    with pytest.raises(UsageError, match="nothing switches"):
        fit_decoder([still], Rule(), DEFAULT_DEVICES)
    moving = clear_trace((OFF, AC), (30.0,), 0.9, 60.0)
    with pytest.raises(UsageError, match="`median`"):
        fit_decoder([moving], default_rule("median"), DEFAULT_DEVICES)


def test_probability_per_second_weighs_the_middle_of_windows():
    found = probability_per_second([0.0, 1.0], [0.0, 2.0], [4.0, 6.0], 7)
    assert found[:2] == pytest.approx([0, 0]) and found[4:6] == pytest.approx([1, 1])
    # second 2: middle 2.5 is 0.5 from the first window's, 1.5 from the second's: weights .75 and .25
    assert found[2:4] == pytest.approx([0.25, 0.75]) and np.isnan(found[6])
    assert np.isnan(probability_per_second([], [], [], 3)).all()
    with pytest.raises(UsageError, match="one value"):
        probability_per_second([0.1], [0.0, 1.0], [1.0], 2)


def test_truth_and_auroc_per_second():
    truth = truth_per_second([(0.0, 1.5), (3.4, 4.0), (4.0, 4.4)], 6)
    assert truth.tolist() == [True, True, False, True, False, False]
    scores = auroc_by(truth, [0.9, 0.8, 0.1, 0.2, 0.3, np.nan], [-6, -6, -6, 12, 12, 12])
    assert scores["-6"]["auroc"] == 1.0 and scores["12"]["auroc"] == 0.0
    assert scores["all"] == {"auroc": pytest.approx(5 / 6), "seconds": 5, "uncovered": 1}
    assert np.isnan(auroc_by([True], [0.5], [0])["all"]["auroc"])


def test_a_hidden_device_owes_no_report_and_gives_no_false_one():
    """Where the fridge gives the state although the air conditioner hides it."""
    devices = Devices(("fridge", "ac"), masks=(("ac", "fridge"),))
    starts_s, facts = (0.0, 100.0, 200.0, 300.0), (FRIDGE, BOTH, AC, OFF)
    trace = Trace(np.empty((0, 2)), np.empty(0), starts_s, facts, 400.0)
    assert [(one.t_s, one.device) for one in true_changes(starts_s, facts, devices)] == [(300.0, "ac")]
    for under_it in ("ac-on", "fridge-on"):
        told = [
            Report(10.0, "fridge-on"),
            Report(150.0, "ac-on"),
            Report(250.0, under_it),
            Report(310.0, "both-off"),
        ]
        found = score_changes(trace, told, devices)
        assert (found.n_missed, found.false_events) == (0, ())
    false = score_changes(trace, [Report(50.0, "ac-on"), Report(320.0, "fridge-on")], devices)
    assert (false.n_missed, len(false.false_events)) == (1, 2)
