"""Capture of sound: real threads, real pipes and files; sources that overflow, stall, vanish and come back."""

import os
import threading
import time

import numpy as np
import pytest
import soundfile

from earmark.audio.decode import decode
from earmark.errors import DecodeError
from earmark.inference.capture import Capture, Inbox
from earmark.inference.pcm import PcmFormat
from earmark.inference.sources import MediaSource, PcmSource, is_pipe

RATE = 8_000


def ramp(n, start=0):
    return np.arange(start, start + n, dtype=np.float32)


class Clock:
    """Time that passes only where one waits for it."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Scripted:
    """A source that does what is written, one step per look: samples, "overflow", "gone", "silent", "end"."""

    name, sample_rate = "<script>", RATE
    comes_back, reopens_when_silent = True, True

    def __init__(self, steps):
        self.steps, self.problem, self.n_starts = list(steps), None, 0
        self._is_running = False

    @property
    def is_running(self):
        self._step()
        return self._is_running

    def start(self, inbox):
        self.inbox, self.problem, self._is_running = inbox, None, True
        self.n_starts += 1

    def stop(self):
        self._is_running = False

    def _step(self):
        if not self._is_running or not self.steps:
            self._is_running = self._is_running and bool(self.steps)
            return
        step = self.steps.pop(0)
        if isinstance(step, str) and step == "gone":
            self._is_running, self.problem = False, "it was unplugged"
        elif isinstance(step, tuple):
            self.inbox.put(step[0], overflowed=True)
        elif not isinstance(step, str):
            self.inbox.put(step)


def heard_of(steps, **how):
    clock = Clock()
    source = Scripted(steps)
    capture = Capture(source, clock=clock, sleep=clock.sleep, **how)
    return list(capture.pieces(tick_s=0.5)), capture, source, clock


def test_pieces_come_in_order_and_whole():
    found, capture, _, _ = heard_of([ramp(100), ramp(50, 100)])
    assert np.array_equal(np.concatenate([one.samples for one in found]), ramp(150))
    assert vars(capture.counts) == {"overflows": 0, "lags": 0, "lost_s": 0.0, "reopened": 0}


def test_a_source_that_vanishes_is_opened_again_until_it_is_back():
    found, capture, source, clock = heard_of([ramp(80), "gone", "gone", "gone", ramp(80)])
    assert source.n_starts == 4 and capture.counts.reopened == 3
    assert clock.now >= 0.5 + 1.0 + 2.0  # back-off
    away = [one for one in found if one.problem]
    assert away and all("unplugged" in one.problem for one in away)
    assert found[-1].reopened and found[-1].is_behind_a_gap and len(found[-1].samples) == 80


def test_a_source_that_stalls_is_opened_again():
    found, capture, source, _ = heard_of([ramp(80), *["silent"] * 700, ramp(80)])
    assert capture.counts.reopened == 1 and source.n_starts == 2
    assert max(one.quiet_s for one in found) >= 10.0


def test_overflow_is_told_once():
    found, capture, _, _ = heard_of([ramp(10), (ramp(10, 10),), ramp(10, 20)])
    assert [one.overflowed for one in found] == [False, True, False]
    assert capture.counts.overflows == 1 and found[1].is_behind_a_gap


def test_a_source_that_never_gave_anything_is_an_error():
    with pytest.raises(DecodeError, match="it was unplugged"):
        heard_of(["gone"])


def test_samples_that_are_no_numbers_count_as_lost():
    found, capture, _, _ = heard_of([ramp(10), np.full(40, np.nan, np.float32), ramp(10)])
    assert [len(one.samples) for one in found] == [10, 0, 10]
    assert found[1].lost_s == pytest.approx(40 / RATE) and capture.counts.lags == 1


def test_who_reads_too_slowly_stays_with_the_present():
    inbox = Inbox(RATE, max_lag_s=2.0, keep_s=0.5)
    for k in range(100):
        inbox.put(ramp(800, 800 * k))
        assert inbox.waiting_s <= 2.0
    n_lost, samples = inbox.take()
    assert samples[0] == n_lost > 0
    rest = [samples]
    while (taken := inbox.take()) is not None:
        assert taken[0] == 0
        rest.append(taken[1])
    assert np.concatenate(rest)[-1] == 79_999


def test_a_writer_and_a_reader_never_lose_count():
    inbox, found, lost = Inbox(RATE, max_lag_s=0.5, keep_s=0.1), [], 0
    writer = threading.Thread(target=lambda: [inbox.put(ramp(37, 37 * k)) for k in range(20_000)])
    writer.start()
    while writer.is_alive() or inbox.waiting_s:
        taken = inbox.take()
        if taken is not None:
            lost += taken[0]
            found.append(taken[1])
    writer.join()
    n_heard = sum(map(len, found))
    assert n_heard + lost == 37 * 20_000
    assert all(np.all(np.diff(one) == 1) for one in found)
    assert np.all(np.diff([one[0] for one in found]) > 0)


@pytest.mark.parametrize("rate", [RATE, 16_000])
def test_a_file_is_heard_as_it_is_decoded(tmp_path, rate):
    path = tmp_path / "x.flac"
    noise = np.random.default_rng(1).standard_normal((RATE * 9, 2)).astype(np.float32) * 0.1
    soundfile.write(path, noise, RATE)
    source = MediaSource(str(path), sample_rate=rate, is_paced=False)
    found = [one.samples for one in Capture(source, max_lag_s=3.0).pieces()]
    assert np.array_equal(np.concatenate(found), decode(str(path), sample_rate=rate).samples)


def test_a_file_keeps_to_the_clock(tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, np.ones(RATE // 2, np.float32), RATE)
    started = time.monotonic()
    found = [one.samples for one in Capture(MediaSource(str(path), sample_rate=RATE)).pieces()]
    assert time.monotonic() - started >= 0.45 and sum(map(len, found)) == RATE // 2


def test_files_that_cannot_be_heard(tmp_path):
    with pytest.raises(DecodeError, match="does not exist"):
        MediaSource(str(tmp_path / "no.wav"), sample_rate=RATE)
    (tmp_path / "text.wav").write_text("this is no audio" * 100)
    with pytest.raises(DecodeError, match="cannot be heard"):
        list(Capture(MediaSource(str(tmp_path / "text.wav"), sample_rate=RATE)).pieces())


def test_who_writes_into_a_pipe_may_leave_and_come_back(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    assert is_pipe(str(path)) and not is_pipe(str(tmp_path / "none"))
    data = ramp(RATE).astype("<f4").tobytes()
    capture = Capture(PcmSource(str(path), PcmFormat("f32le", RATE)), max_lag_s=30)
    heard, reopened = 0, 0

    def write():
        with path.open("wb") as pipe:
            pipe.write(data)

    threading.Thread(target=write).start()
    pieces = capture.pieces(tick_s=0.05)
    for piece in pieces:
        heard += len(piece.samples)
        if piece.problem and not reopened:
            reopened = 1
            assert heard == RATE
            threading.Thread(target=write).start()
        if heard == 2 * RATE:
            break
    pieces.close()
    assert capture.counts.reopened >= 1 and not capture.source.is_running


def test_standard_input_ends_with_its_bytes():
    read, write = os.pipe()
    os.write(write, ramp(1000).astype("<f4").tobytes())
    os.close(write)
    found = [one.samples for one in Capture(PcmSource(read, PcmFormat("f32le", RATE))).pieces()]
    os.close(read)
    assert np.array_equal(np.concatenate(found), ramp(1000))
