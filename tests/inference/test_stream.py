"""A stream's answers are those of a batch for the same samples, whatever the pieces, with bounded memory and work."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from tone_groups import level, shape

from earmark.errors import TooShortError, UsageError
from earmark.features import feature_group
from earmark.inference.ladder import Predictor, RuleMethod
from earmark.inference.pcm import PcmDecoder, PcmFormat
from earmark.inference.rules import RuleSet, above, below
from earmark.inference.smoothing import Hysteresis
from earmark.inference.stream import Stream
from earmark.inference.windows import Windowing

RATE = 8000
RULES = RuleSet(
    {"calm": (below("test.level.rms", 0.1),), "loud": (above("test.level.rms", 0.3),)}, threshold=0.6
)
WINDOWING = Windowing(every_s=1, window_s=4)
RULE = Hysteresis(margin=0.1, dwell_s=2)
seen_samples: list[int] = []


@feature_group("test.other_rate", columns=("peak",), sample_rate=6000)
def other_rate(clip):
    return [np.abs(clip.samples).max()]


@feature_group("test.counted", columns=("n",), sample_rate=RATE)
def counted(clip):
    seen_samples.append(len(clip.samples))
    return [len(clip.samples)]


@feature_group("test.patient", columns=("n",), sample_rate=RATE, min_duration_s=2.5)
def patient(clip):
    return [len(clip.samples)]


@feature_group("test.touchy", columns=("peak",), sample_rate=RATE)
def touchy(clip):
    if np.abs(clip.samples).max() > 0.9:
        raise ValueError("too loud to look at")
    return [np.abs(clip.samples).max()]


def predictor(*groups, extras=None, cache=None):
    return Predictor(RuleMethod(RULES), [level, *groups], cache, workers=0, extras=extras)


def noise(*parts: tuple[float, float], seed: int = 0) -> np.ndarray:
    """Uniform noise in parts of (seconds, peak), float32."""
    rng = np.random.default_rng(seed)
    return np.concatenate([peak * rng.uniform(-1, 1, round(s * RATE)) for s, peak in parts]).astype(
        np.float32
    )


def stream(*groups, name="noise", keep=True, windowing=WINDOWING, rule=RULE, **options) -> Stream:
    return Stream(predictor(*groups, **options), name, windowing=windowing, rule=rule, keep=keep)


def listen(heard: Stream, samples: np.ndarray, step: int = 3001) -> list:
    ticks = []
    for start in range(0, len(samples), step):
        ticks += heard.hear({RATE: samples[start : start + step]})
    return [*ticks, *heard.finish()]


def batch(tmp_path, samples, *groups, extras=None):
    """What `Predictor` says of a file of these samples."""
    path = tmp_path / "batch.wav"
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    [found] = predictor(*groups, extras=extras).predict([str(path)])
    return found


def answer_of(prediction):
    return (prediction.confidence, prediction.probabilities, prediction.extras)


@settings(max_examples=12, deadline=None)
@given(sizes=st.lists(st.integers(200, 40_000), min_size=1, max_size=6))
def test_results_are_the_same_bits_in_any_pieces(sizes):
    samples = noise((6, 0.05), (5.3, 0.9))
    outcomes = []
    for steps in ([len(samples) * 4], sizes):
        heard = stream(other_rate, shape, extras={"peak": "test.other_rate.peak"})
        decoder = PcmDecoder(PcmFormat("f32le", RATE), heard.rates, "noise")
        data, ticks, position, turn = samples.tobytes(), [], 0, 0
        while position < len(data):
            size = steps[turn % len(steps)]
            ticks += heard.hear(decoder.push(data[position : position + size]))
            position, turn = position + size, turn + 1
        ticks += heard.hear(decoder.finish())
        ticks += heard.finish()
        outcomes.append((ticks, heard.whole(), heard.timeline(), heard.duration_s))
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0][0]) == 11


def test_each_answer_is_that_of_a_batch_for_the_samples_of_its_window(tmp_path):
    samples = noise((7, 0.05), (6.4, 0.8))
    heard = stream(shape, extras={"crossings": "test.shape.crossings"})
    ticks = listen(heard, samples)
    assert [tick.window_s for tick in ticks] == [(max(0, t - 4), t) for t in range(1, 14)]
    for tick in ticks:
        start_s, end_s = tick.window_s
        part = batch(
            tmp_path, samples[int(start_s * RATE) : int(end_s * RATE)], shape, extras=heard.predictor.extras
        )
        assert answer_of(tick.answer) == answer_of(part)
        prefix = batch(tmp_path, samples[: int(tick.so_far.t_s * RATE)], shape, extras=heard.predictor.extras)
        assert (tick.so_far.answer.label, answer_of(tick.so_far.answer)) == (prefix.label, answer_of(prefix))
    whole = batch(tmp_path, samples, shape, extras=heard.predictor.extras)
    assert (heard.whole().label, answer_of(heard.whole())) == (whole.label, answer_of(whole))


def test_the_label_follows_the_signal_and_the_timeline_dates_it_back():
    ticks = listen(heard := stream(), noise((20, 0.05), (20, 0.8), (20, 0.05)))
    labels = {tick.t_s: tick.label for tick in ticks}
    assert (labels[19], labels[30], labels[39], labels[50]) == ("calm", "loud", "loud", "calm")
    assert {tick.answer.label for tick in ticks if tick.t_s > 25} == {"loud", "calm"}
    assert [span.label for span in heard.timeline()] == ["calm", "loud", "calm"]
    assert [span.start_s for span in heard.timeline()] == pytest.approx([0, 20, 40], abs=2.5)
    changed = next(tick for tick in ticks if tick.label == "loud")
    assert changed.since_s == heard.timeline()[1].start_s < changed.t_s


def test_answers_of_everything_so_far_cost_a_bounded_number_of_passes():
    seen_samples.clear()
    samples = noise((200, 0.05))
    ticks = listen(stream(counted), samples, step=50_000)
    asked = sorted({tick.so_far.t_s for tick in ticks})
    assert all(tick.t_s >= tick.so_far.t_s > tick.t_s / 1.1 - 1.001 for tick in ticks)
    assert all(later >= 1.1 * earlier - 1e-6 for earlier, later in pairwise(asked) if earlier > 4)
    windows = len(ticks) * 4 * RATE
    assert sum(seen_samples) - windows <= 11 * len(samples)


def test_without_the_whole_memory_is_that_of_a_window():
    samples = noise((60, 0.05), (60, 0.8))
    kept, flat = stream(), stream(keep=False)
    most = 0
    found = []
    for start in range(0, len(samples), 1000):
        found += flat.hear({RATE: samples[start : start + 1000]})
        most = max(most, flat.heard[RATE].n_kept)
    assert most <= (4 + 1) * RATE + 2000
    assert [(tick.label, tick.answer) for tick in found] == [
        (t.label, t.answer) for t in listen(kept, samples)
    ]
    assert {tick.so_far for tick in found} == {None}
    assert flat.timeline() == kept.timeline()
    with pytest.raises(UsageError, match="not kept"):
        flat.whole()


def test_a_window_that_is_too_short_has_no_label_yet():
    ticks = listen(heard := stream(patient), noise((5, 0.05)))
    assert [(tick.label, tick.answer is None, tick.so_far is None, tick.error) for tick in ticks[:2]] == [
        (None, True, True, None)
    ] * 2
    assert [tick.label for tick in ticks[2:]] == ["calm"] * 3
    assert heard.timeline()[0].start_s == 0
    with pytest.raises(
        TooShortError, match=r"noise has 2\.0 s of audio; test\.patient needs at least 2\.5 s"
    ):
        listen(short := stream(patient), noise((2, 0.05)))
        short.whole()
    with pytest.raises(UsageError, match=r"--window is 2 s; `test\.patient` needs at least 2\.5 s"):
        stream(patient, windowing=Windowing(1, 2))


def test_a_feature_that_fails_is_told_in_its_lines_and_the_label_stays():
    ticks = listen(heard := stream(touchy), noise((8, 0.05), (1, 1.0), (8, 0.05)))
    failed = [tick for tick in ticks if tick.error]
    assert failed and all("too loud to look at" in tick.error for tick in failed)
    without = [tick.t_s for tick in ticks if tick.answer is None]
    assert without == [9, 10, 11, 12]
    assert {tick.label for tick in ticks} == {"calm"}
    assert ticks[-1].so_far.t_s == 8 < ticks[-1].t_s
    with pytest.raises(Exception, match="too loud"):
        heard.whole()


def test_no_decision_is_the_word_of_the_predictor():
    between = noise((10, 0.27))  # between the rules: neither reaches the threshold
    ticks = listen(heard := stream(), np.concatenate([between, noise((10, 0.02))]))
    assert ticks[0].label == "UNCERTAIN" and ticks[0].answer.label == "UNCERTAIN"
    assert ticks[-1].label == "calm"
    assert [span.label for span in heard.timeline()] == ["UNCERTAIN", "calm"]


def test_ticks_that_were_not_taken_come_later():
    heard = stream()
    heard.hear({RATE: noise((3, 0.05))})
    assert [tick.t_s for tick in heard.hear({RATE: noise((1, 0.05))})] == [1, 2, 3, 4]
