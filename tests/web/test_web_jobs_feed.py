"""The feed: one reader for any number of viewers, what was told before for those that come later."""

import asyncio
import json

import pytest
from web_jobs_project import EXTRACT, make_project

from earmark.web.jobs.events import latest, read
from earmark.web.jobs.feed import Feed
from earmark.web.jobs.job import UnknownJobError
from earmark.web.jobs.runner import JobRunner
from earmark.web.jobs.store import JobStore
from earmark.web.jobs.text import read_text


@pytest.fixture
def store(tmp_path):
    return JobStore(tmp_path / "jobs.sqlite")


@pytest.fixture
def job(store):
    """A job that runs; the test is its command."""
    job = store.add("train", "market", ["train", "market"], title="train")
    store.claim(job.id, 1)
    return store.get(job.id)


def append(job, *events):
    with job.events_path.open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


def epochs(first, last):
    return [
        {"type": "epoch", "epoch": number, "training_loss": 1 / number} for number in range(first, last + 1)
    ]


async def collected(feed, job_id, after=None):
    return [event async for event in feed.subscribe(job_id, after=after)]


def of_type(events, kind):
    return [event for event in events if event["type"] == kind]


def test_two_hundred_viewers_cost_one_reader_and_get_the_same(store, job):
    reads = []

    class Counted(JobStore):
        def get(self, job_id):
            reads.append(job_id)
            return super().get(job_id)

    async def run():
        feed = Feed(Counted(store.path), poll_s=0.05)
        viewers = [asyncio.create_task(collected(feed, job.id)) for _ in range(200)]
        await asyncio.sleep(0.2)
        assert feed.n_readers == 1
        append(job, *epochs(1, 3), {"type": "progress", "stage": "train", "done": 3, "total": 3})
        job.log_path.write_text("one line\nand a torn on")
        await asyncio.sleep(0.2)
        n_before = len(reads)
        late = asyncio.create_task(collected(feed, job.id))
        store.end(job.id, "completed", exit_code=0)
        found = await asyncio.gather(*viewers, late)
        assert feed.n_readers == 0
        assert n_before < 20
        return found

    found = asyncio.run(run())
    for events in found:
        assert [event["epoch"] for event in of_type(events, "epoch")] == [1, 2, 3]
        assert "".join(event["text"] for event in of_type(events, "log")) == "one line\nand a torn on"
        assert [event["status"] for event in of_type(events, "status")] == ["running", "completed"]
        assert (events[0]["type"], events[-1]["status"]) == ("status", "completed")
        assert len({event["id"] for event in events[1:-1]}) == len(events) - 2


def test_a_viewer_that_comes_back_gets_what_it_lacks(store, job):
    append(job, *epochs(1, 50))
    job.log_path.write_text("first\n")
    store.end(job.id, "completed")
    feed = Feed(store, poll_s=0.01)
    whole = asyncio.run(collected(feed, job.id))
    for cut in (1, 20, 51, 52):
        rest = asyncio.run(collected(feed, job.id, after=whole[cut - 1]["id"]))
        assert rest[1:] == whole[cut:]  # behind the status, which is always told
    for odd in ("", "x", "1.2", "-1.0.0", "٣.0.0"):
        assert asyncio.run(collected(feed, job.id, after=odd)) == whole


def test_a_slow_viewer_gets_the_newest_and_stops_nobody(store, job):
    async def run():
        feed = Feed(store, poll_s=0.01, n_waiting=10)
        slow = feed.subscribe(job.id)
        first = await anext(slow)
        quick = asyncio.create_task(collected(feed, job.id))
        for number in range(1, 301):
            append(job, *epochs(number, number))
            if number % 5 == 0:
                await asyncio.sleep(0.03)
        store.end(job.id, "completed")
        seen = await quick
        return first, [event async for event in slow], seen

    first, slow, quick = asyncio.run(run())
    assert first["status"] == "running"
    assert len(of_type(quick, "epoch")) == 300
    assert len(slow) == 10
    assert (slow[-1]["status"], slow[-2]["epoch"]) == ("completed", 300)


def test_the_reader_ends_with_its_last_viewer_and_begins_anew(store, job):
    async def run():
        feed = Feed(store, poll_s=0.01)
        for _ in range(3):
            viewer = feed.subscribe(job.id)
            assert (await anext(viewer))["status"] == "running"
            assert feed.n_readers == 1
            await viewer.aclose()
            assert feed.n_readers == 0
        with pytest.raises(UnknownJobError, match="20000101_000000"):
            await collected(feed, "20000101_000000")

    asyncio.run(run())


def test_of_all_jobs_the_changes_are_told(store, job):
    async def run():
        viewer = Feed(store, poll_s=0.01).subscribe()
        told = [await anext(viewer)]
        other = store.add("extract", "zones", ["extract", "zones"], title="t")
        told.append(await anext(viewer))
        store.end(job.id, "failed", exit_code=2, message="no")
        told.append(await anext(viewer))
        store.remove(job.id)
        told.append(await anext(viewer))
        await viewer.aclose()
        return other, told

    other, told = asyncio.run(run())
    assert [(event["job"]["id"], event["status"]) for event in told[:3]] == [
        (job.id, "running"),
        (other.id, "pending"),
        (job.id, "failed"),
    ]
    assert told[2]["job"]["message"] == "no"
    assert (told[3]["type"], told[3]["job_id"]) == ("deleted", job.id)


def test_output_is_streamed_of_services_alone(store, job):
    service = store.add("live", "market", ["live", "market"], title="t", kind="service")
    store.claim(service.id, 1)
    for one in (store.get(service.id), job):
        one.output_path.write_text('{"answer": 1}\n{"answer": 2}\n')
        store.end(one.id, "cancelled")
    feed = Feed(store, poll_s=0.01)
    told = of_type(asyncio.run(collected(feed, service.id)), "output")
    assert "".join(event["text"] for event in told) == '{"answer": 1}\n{"answer": 2}\n'
    assert not of_type(asyncio.run(collected(feed, job.id)), "output")


def test_of_a_long_log_the_end_is_told(store, job):
    job.log_path.write_text("".join(f"line {number} é\n" for number in range(20_000)))
    store.end(job.id, "completed")
    text = "".join(
        event["text"] for event in of_type(asyncio.run(collected(Feed(store, poll_s=0.01), job.id)), "log")
    )
    assert 60_000 < len(text.encode()) <= 65_536
    assert text.startswith("line ")
    assert text.endswith("line 19999 é\n")


def test_torn_and_foreign_lines_are_no_events(job):
    job.events_path.write_bytes(
        b'{"type": "note", "text": "a"}\n{"type": "epo\n[1]\n{"no": "type"}\n\xff\xfe\n'
        b'{"type": "epoch", "epoch": 2, "training_loss": null}\n{"type": "note"'
    )
    events, after = read(job)
    assert [event["type"] for event in events] == ["note", "epoch"]
    assert read(job, after) == ([], after)
    with job.events_path.open("ab") as file:
        file.write(b', "text": "b"}\n')
    assert read(job, after)[0] == [{"type": "note", "text": "b"}]
    assert latest(job) == {"message": "b", "epoch": 2, "training_loss": None}


def test_pieces_of_a_text_join_to_the_whole(tmp_path):
    path = tmp_path / "log.txt"
    whole = "a short line\n" + "ü" * 500 + "\n" + "€x" * 333
    path.write_text(whole)
    for n_bytes in (1, 2, 7, 100, 4096):
        text, offset = "", 0
        while True:
            piece = read_text(path, offset, n_bytes)
            if piece.next_offset == offset:
                break
            text, offset = text + piece.text, piece.next_offset
        assert text == whole or n_bytes < 3  # a letter of three bytes fits into no piece of two
        assert offset == piece.size
    assert read_text(path, -2000).text == "€x" * 333  # the line that -2000 lies in is left out
    assert read_text(path, 10**30).text == ""
    assert read_text(tmp_path / "absent").size == 0


def test_a_real_job_is_seen_from_its_queue_to_its_end(tmp_path):
    project = make_project(tmp_path / "project")

    async def run():
        with JobRunner(project) as jobs:
            return await collected(Feed(jobs.store), jobs.submit(*EXTRACT).id)

    events = asyncio.run(asyncio.wait_for(run(), 60))
    assert [event["status"] for event in of_type(events, "status")][-1] == "completed"
    assert [event["done"] for event in of_type(events, "progress")][-1] == 4
