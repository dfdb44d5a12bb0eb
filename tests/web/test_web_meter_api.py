"""The parts of the answers about meter that need no server: steps of a recording, listener, watchers, refusals."""

import asyncio
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "tasks" / "meter"))

from synthetic_bars import RATE, drummed, written
from web_client import client_of

from earmark.errors import DecodeError, InputError, SilentError, TooShortError, WorkerError
from earmark.tasks.meter.serving.model import shipped_runs
from earmark.tasks.meter.serving.predict import document_of
from earmark.web.meter import conversation, listener, recording
from earmark.web.meter.ears import Ears, TooManyError
from earmark.web.meter.opened import analyst_of, speaker_of
from earmark.web.meter.steps import N_REMEMBERED, Steps

KEY = "one"
SLOW = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("project")


def batch(folder, source) -> dict:
    [outcome] = analyst_of(folder).files([str(source)], workers=0, use_cache=False)
    return document_of(outcome)


def answered(folder, path, name="song.wav", n_peaks=None):
    try:
        found = recording.decode(KEY, folder, Path(path), name)
        for number in range(found.n_windows):
            recording.track(KEY, number)
        return found, recording.answer(KEY, n_peaks)
    finally:
        recording.forget(KEY)


@pytest.mark.parametrize(
    "duration_s", [12.0, pytest.param(30.999, marks=SLOW), pytest.param(46.0, marks=SLOW)]
)
def test_the_steps_end_in_the_answer_of_a_batch(folder, tmp_path, duration_s):
    path = written(tmp_path / "kept.wav", drummed(3, 120, duration_s))
    found, document = answered(folder, path)
    assert document == batch(folder, path) | {"path": "song.wav"}
    assert found.duration_s == pytest.approx(document["duration"], abs=1e-4)
    assert found.n_windows == len(document["meter_map"]) == (1 if duration_s < 31 else 3)
    with pytest.raises(WorkerError, match="Send it again"):
        recording.answer(KEY)


@settings(max_examples=30, deadline=None)
@given(n_samples=st.integers(1, 400), n_parts=st.integers(1, 500), seed=st.integers(0, 2**32 - 1))
def test_peaks_are_the_extremes_of_equal_parts(n_samples, n_parts, seed):
    from tempfile import TemporaryFile

    from earmark.audio.spool import Spool

    samples = np.random.default_rng(seed).normal(0, 0.3, n_samples).astype(np.float32)
    file = TemporaryFile()  # noqa: SIM115  the spool closes it
    file.write(samples.tobytes())
    found = recording._peaks(Spool(file, n_samples, RATE, "x"), n_parts)
    n = min(n_parts, n_samples)
    parts = [samples[k * n_samples // n : (k + 1) * n_samples // n] for k in range(n)]
    assert found["min"] == pytest.approx([part.min() for part in parts], abs=6e-5)
    assert found["max"] == pytest.approx([part.max() for part in parts], abs=6e-5)


def test_what_cannot_be_answered_is_told_by_the_name_that_was_sent(folder, tmp_path, monkeypatch):
    cut = tmp_path / "hidden.wav"
    cut.write_bytes(b"RIFF\x00\x01\x00\x00WAVEfmt ")
    with pytest.raises(DecodeError, match="^`song.wav` ") as refused:
        recording.decode(KEY, folder, cut, "song.wav")
    assert "hidden" not in str(refused.value)
    with pytest.raises(SilentError, match="^`song.wav` is silent"):
        answered(folder, written(tmp_path / "silent.wav", np.zeros(5 * RATE, dtype=np.float32)))
    with pytest.raises(TooShortError, match="song.wav") as refused:
        answered(folder, written(tmp_path / "short.wav", drummed(3, 120, 1.0)))
    assert str(tmp_path) not in str(refused.value)
    monkeypatch.setattr(recording, "LONGEST_S", 3.0)
    with pytest.raises(InputError, match="Cut it"):
        answered(folder, written(tmp_path / "long.wav", drummed(3, 120, 4.0)))


def test_another_run_or_setting_opens_the_analyst_anew(tmp_path):
    first = analyst_of(tmp_path)
    assert analyst_of(tmp_path) is first
    run = shipped_runs()[0]
    own = tmp_path / "runs" / "meter" / f"{run.name}-own"
    shutil.copytree(run.path, own)
    assert speaker_of(tmp_path).run == own.name
    (tmp_path / "earmark.toml").write_text("[meter]\nmax_meter_hypotheses = 1\n")
    second = analyst_of(tmp_path)
    assert second.project.settings.meter.max_meter_hypotheses == 1
    (own / "thresholds.yaml").unlink()
    assert analyst_of(tmp_path) is not second


@pytest.mark.parametrize("seed", [1, pytest.param(2, marks=SLOW)])
def test_a_listener_hears_bytes_in_any_pieces(folder, tmp_path, seed):
    signal = drummed(3, 120, 16.1)
    data, rng, messages, at = signal.tobytes(), np.random.default_rng(seed), [listener.begin(KEY, folder)], 0
    while at < len(data):
        n = int(rng.integers(1, 300_000))
        messages += listener.hear(KEY, data[at : at + n])
        at += n
    warm_up = [one["seconds"] for one in messages if one["type"] == "warmup_progress"]
    assert warm_up == [0.5 * k for k in range(17)]
    last = [one for one in messages if one["type"] == "analysis"][-1]
    start, end = last["window"]
    assert (start, end) == (0.0, 16.0)
    expected = batch(folder, f"{written(tmp_path / 'x.wav', signal)}#t={start:g},{end:g}")
    own = {"path": "<live>", "source_type": "live", "converged": last["data"]["converged"]}
    assert last["data"] == expected | own


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30])
def test_what_is_no_sound_is_refused(folder, value):
    listener.begin(KEY, folder)
    with pytest.raises(DecodeError, match="Expected finite samples"):
        listener.hear(KEY, np.full(RATE, value, dtype="<f4").tobytes())


def test_what_was_on_its_way_is_not_heard_by_the_next(folder):
    listener.begin("before", folder)
    listener.begin("after", folder)
    with pytest.raises(WorkerError, match="Begin again"):
        listener.hear("before", bytes(4))
    assert listener.hear("after", bytes(4)) == []


def test_watchers_are_told_all_steps_whenever_they_come():
    async def watched(steps):
        return [event["type"] async for event in steps.follow("song")]

    async def scene():
        steps = Steps()
        early = asyncio.create_task(watched(steps))
        async with steps.of("song") as step:
            await step.done("received", name="x", n_bytes=1)
            middle = asyncio.create_task(watched(steps))
            await asyncio.sleep(0)
            await step.done("tracked", done=1, total=1)
        seen = [await early, await middle, await watched(steps)]
        with pytest.raises(InputError):
            async with steps.of("song"):
                raise InputError("no")
        return seen, await watched(steps)

    seen, again = asyncio.run(asyncio.wait_for(scene(), 5))
    assert seen == [["received", "tracked", "answered"]] * 3 and again == ["failed"]


def test_only_the_newest_recordings_are_remembered():
    async def scene():
        steps = Steps()
        for number in range(N_REMEMBERED + 50):
            await steps.tell(str(number), {"type": "received"})
        return steps

    told = asyncio.run(scene())._told
    assert len(told) == N_REMEMBERED and str(N_REMEMBERED + 49) in told


def test_a_full_buffer_holds_the_sender_back():
    async def scene():
        waiting = conversation._Waiting()
        for _ in range(3):
            await asyncio.wait_for(waiting.put(bytes(1 << 20)), 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(waiting.put(bytes(1)), 0.05)
        held = asyncio.create_task(waiting.put(b"last"))
        first = await waiting.take()
        await held
        return len(first), await waiting.take()

    assert asyncio.run(scene()) == (3 << 20, b"last")


def test_listeners_are_counted():
    async def scene():
        ears = Ears(2)
        async with ears.lent() as first, ears.lent() as second:
            with pytest.raises(TooManyError, match="2 listen already"):
                async with ears.lent():
                    pass
        async with ears.lent() as third:
            assert third in (first, second)
        ears.close()

    asyncio.run(scene())


def test_requests_that_ask_nothing_are_refused_before_any_work(tmp_path):
    song = {"file": ("song.wav", b"RIFF")}
    with client_of(tmp_path, max_upload_bytes=1000) as client:
        assert client.post("/api/analyze").status_code == 400
        assert client.post("/api/analyze", files={"other": ("song.wav", b"RIFF")}).status_code == 400
        refused = client.post("/api/analyze", files={"file": ("song.exe", b"MZ")})
        assert refused.status_code == 415 and "`song.exe`" in refused.json()["detail"]
        large = client.post("/api/analyze?job=too-large", files={"file": ("song.wav", bytes(100_000))})
        assert large.status_code == 413
        told = client.get("/api/analyze/progress/too-large").text
        assert "event: failed" in told and large.json()["detail"] in told
        for query in ("job=short", "job=../../etc", "peaks=0", "peaks=10001", "peaks=many"):
            assert client.post(f"/api/analyze?{query}", files=song).status_code == 422
        assert client.get("/api/analyze/progress/no").status_code == 422
    assert not list((tmp_path / ".earmark" / "web" / "uploads").glob("*"))
