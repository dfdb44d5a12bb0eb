"""Streams and live messages: whatever the pieces the same messages, and in the end the answer of a batch."""

import io
from dataclasses import replace

import numpy as np
import pytest
import soundfile
from synthetic_bars import RATE, drummed, written

from earmark.errors import DecodeError
from earmark.inference.pcm import PcmFormat
from earmark.tasks.meter.serving.heard import Recording
from earmark.tasks.meter.serving.live import Listener
from earmark.tasks.meter.serving.microphone import paced
from earmark.tasks.meter.serving.predict import analyst_for, document_of
from earmark.tasks.meter.serving.stream import STDIN, Stream
from earmark.tasks.project import Project

PCM = PcmFormat("s16le", RATE)


@pytest.fixture(scope="module")
def analyst(tmp_path_factory):
    return analyst_for(Project.open("meter", tmp_path_factory.mktemp("project")), fallback="rule")


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    """A wav of 50 s with 16-bit samples, and those samples as bytes."""
    path = tmp_path_factory.mktemp("songs") / "waltz.wav"
    soundfile.write(path, drummed(3, 120, 50.0), RATE, subtype="PCM_16")
    return str(path), soundfile.read(path, dtype="int16")[0].astype("<i2").tobytes()


def batch(analyst, path: str) -> dict:
    [outcome] = analyst.files([path], workers=0)
    return document_of(outcome)


class Trickle(io.RawIOBase):
    """A pipe that gives its bytes in pieces of changing size."""

    def __init__(self, data: bytes, seed: int) -> None:
        self._data, self._at, self._rng = data, 0, np.random.default_rng(seed)

    def read(self, _n: int = -1) -> bytes:
        n = int(self._rng.integers(1, 120_000))
        self._at += n
        return self._data[self._at - n : self._at]


def of_pieces(seconds: float, signal: np.ndarray):
    n = round(seconds * RATE)
    return [{RATE: signal[start : start + n]} for start in range(0, len(signal), n)]


@pytest.mark.slow
def test_the_last_line_is_the_answer_of_a_batch(analyst, song):
    path, raw = song
    expected = batch(analyst, path)
    *messages, last = Stream(analyst, Trickle(raw, 1), PCM).lines()
    assert last == expected | {"path": STDIN}
    assert list(Stream(analyst, Trickle(raw, 2), PCM).lines()) == [*messages, last]
    with open(path, "rb") as file:  # noqa: PTH123
        *_, of_bytes = Stream(analyst, file).lines()
    assert of_bytes == last


@pytest.mark.slow
def test_a_file_is_streamed_through_the_same_cache(analyst, song):
    path, _ = song
    *messages, last = Stream(analyst, path).lines()
    assert last == batch(analyst, path)
    assert {one["type"] for one in messages} == {"warmup_progress", "onset", "analysis"}


def test_a_short_signal_is_one_window(analyst, tmp_path):
    signal = drummed(4, 100, 30.9)
    recording = Recording(analyst, STDIN)
    for piece in of_pieces(0.7, signal):
        recording.hear(piece)
    found = document_of(recording.finish())
    assert found == batch(analyst, written(tmp_path / "x.wav", signal)) | {"path": STDIN}
    assert len(found["meter_map"]) == 1


@pytest.mark.slow
def test_what_is_no_longer_needed_is_forgotten(analyst):
    recording, listener = Recording(analyst, STDIN), Listener(analyst)
    listener._is_due = lambda _tick: False  # the answers cost seconds, and keep nothing
    for _ in range(4):
        for piece in of_pieces(1.0, drummed(4, 120, 30.0)):
            recording.hear(piece)
            list(listener.hear(piece))
    assert recording.signal._heard[RATE].n_kept <= 32 * RATE
    assert listener.signal._heard[RATE].n_kept <= 62 * RATE


@pytest.fixture(scope="module")
def heard(analyst):
    """Messages about 21 s of a waltz."""
    listener = Listener(analyst)
    return [m for piece in of_pieces(0.1, drummed(3, 120, 21.0)) for m in listener.hear(piece)]


def test_messages_keep_their_times(heard):
    warm_up = [one["seconds"] for one in heard if one["type"] == "warmup_progress"]
    assert warm_up == [0.5 * k for k in range(1, 17)]
    times = [one["t"] for one in heard if one["type"] == "analysis"]
    assert times == [*(8 + 0.5 * k for k in range(21)), 20.0]
    windows = {one["t"]: one["window"] for one in heard if one["type"] == "analysis"}
    assert windows[8.0] == [2.0, 8.0] and windows[14.5] == [2.0, 14.5] and windows[15.0] == [0.0, 15.0]


def test_each_onset_is_told_once_and_soon(heard):
    told = [one["time"] for one in heard if one["type"] == "onset"]
    assert told == sorted(set(told))
    beats = np.arange(0.3, 20.5, 0.5)
    nearest = np.abs(np.asarray(told)[None, :] - beats[:, None]).min(axis=1)
    assert np.mean(nearest < 0.07) > 0.9
    counts = [one["onset_count"] for one in heard if one["type"] == "warmup_progress"]
    assert counts == sorted(counts) and counts[-1] == sum(time < 7.85 for time in told)


def test_answers_converge_and_are_those_of_a_batch_of_the_window(heard, analyst, tmp_path):
    found = [one for one in heard if one["type"] == "analysis"]
    assert [one["data"]["converged"] for one in found[:2]] == [False, False]
    path = written(tmp_path / "x.wav", drummed(3, 120, 21.0))
    for one in (found[0], found[-1]):
        start, end = one["window"]
        expected = batch(analyst, f"{path}#t={start:g},{end:g}")
        own = {"path": "<live>", "source_type": "live", "converged": one["data"]["converged"]}
        assert one["data"] == expected | own


def test_convergence_needs_three_that_agree(analyst, song):
    listener = Listener(analyst)
    [base] = analyst.files([song[0]], workers=0)
    near, far = (
        replace(base, tempo=replace(base.tempo, bpm=base.tempo.bpm * share)) for share in (1.02, 1.2)
    )
    found = [listener._converged(one) for one in (base, near, base, far, base, base, base)]
    assert found == [False, False, True, False, False, False, True]


def test_a_late_listener_answers_only_the_present(analyst):
    listener = Listener(analyst, catch_up=True)
    found = [one for one in listener.hear({RATE: drummed(3, 120, 20.0)}) if one["type"] == "analysis"]
    assert [one["t"] for one in found] == [20.0]


def test_silence_is_told_as_such(analyst):
    listener = Listener(analyst, catch_up=True)
    found = list(listener.hear({RATE: np.zeros(9 * RATE, dtype=np.float32)}))
    assert not [one for one in found if one["type"] == "onset"]
    assert found[-1]["code"] == "silent" and found[-1]["data"] is None


def test_a_stream_that_is_too_short_or_cut_has_an_error(analyst):
    *_, last = Stream(analyst, io.BytesIO(bytes(RATE)), PCM).lines()
    assert last["code"] == "too_short"
    with pytest.raises(DecodeError, match="inside a frame"):
        list(Stream(analyst, io.BytesIO(bytes(5)), PcmFormat("f32le", RATE)).lines())


def test_pieces_are_held_back_until_they_sound():
    import time

    started = time.monotonic()
    assert len(list(paced([{RATE: np.zeros(1)}] * 4, 0.05))) == 4
    assert time.monotonic() - started >= 0.2
