"""The worker that answers: warm, replaceable, never in the way; and the frames of a stream of events."""

import asyncio
import os
import time

import pytest

pytest.importorskip("fastapi", reason='pip install "earmark[web]"')

from earmark.errors import DecodeError, MissingExtraError, WorkerError
from earmark.web.answers import Answers
from earmark.web.sse import event_stream


def refuse(kind):
    if kind == "decode":
        raise DecodeError("`a.wav` is not audio.")
    raise MissingExtraError("torch", "torch", "BEATs")


def die():
    os._exit(9)


def nap(seconds):
    time.sleep(seconds)
    return os.getpid()


@pytest.fixture
def answers():
    found = Answers()
    yield found
    found.close()


def test_one_warm_process_answers_and_errors_come_back_as_themselves(answers):
    async def ask():
        first, second = await answers.ask(os.getpid), await answers.ask(os.getpid)
        with pytest.raises(DecodeError, match="not audio"):
            await answers.ask(refuse, "decode")
        with pytest.raises(Exception, match="torch"):
            await answers.ask(refuse, "extra")
        return first, second, await answers.ask(os.getpid)

    pids = asyncio.run(ask())
    assert len(set(pids)) == 1 and pids[0] != os.getpid()


def test_a_worker_that_dies_is_told_and_replaced(answers):
    async def ask():
        before = await answers.ask(os.getpid)
        with pytest.raises(WorkerError, match="died in die"):
            await answers.ask(die)
        return before, await answers.ask(os.getpid)

    before, after = asyncio.run(ask())
    assert before != after


def test_the_event_loop_goes_on_while_an_answer_is_computed(answers):
    async def ask():
        await answers.ask(os.getpid)
        asked = asyncio.create_task(answers.ask(nap, 0.5))
        n_turns = 0
        while not asked.done():
            await asyncio.sleep(0.01)
            n_turns += 1
        return n_turns

    assert asyncio.run(ask()) > 5


async def frames(events, keep_alive_s=60.0):
    response = event_stream(events, keep_alive_s=keep_alive_s)
    return b"".join([chunk async for chunk in response.body_iterator]).decode()


def test_events_are_framed_and_the_end_is_told():
    async def events():
        yield {"type": "epoch", "epoch": 1, "id": 7}
        yield {"type": "log", "text": "line\nother"}

    text = asyncio.run(frames(events()))
    assert 'event: epoch\nid: 7\ndata: {"type": "epoch", "epoch": 1, "id": 7}\n\n' in text
    assert '"line\\nother"' in text and text.endswith("event: end\ndata: {}\n\n")


def test_a_silent_stream_is_kept_alive_and_its_source_is_closed():
    closed = []

    async def events():
        try:
            await asyncio.sleep(0.2)
            yield {"type": "late"}
        finally:
            closed.append(True)

    text = asyncio.run(frames(events(), keep_alive_s=0.02))
    assert text.count(": still here") >= 3 and "late" in text and closed == [True]


def test_a_viewer_that_leaves_while_nothing_happens_leaves_nothing_behind():
    """The response is cancelled in the middle of waiting: the source is closed, and nothing is raised but that."""
    closed = []

    async def events():
        try:
            yield {"type": "first"}
            await asyncio.sleep(60)
        finally:
            closed.append(True)

    async def leave():
        body = event_stream(events()).body_iterator
        frames = [await anext(body), await anext(body)]
        waiting = asyncio.ensure_future(anext(body))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        return frames

    assert b"first" in asyncio.run(leave())[1] and closed == [True]
