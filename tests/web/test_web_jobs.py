"""Jobs with real processes: the command of the terminal, its end written down whoever is killed meanwhile."""

import itertools
import json
import os
import signal
import subprocess
import sys
import threading

import pytest
from web_jobs_project import EXTRACT, ended, make_project, wait_until

from earmark.web.jobs.events import latest, read
from earmark.web.jobs.job import JobStateError, UnknownJobError
from earmark.web.jobs.runner import JobRunner
from earmark.web.jobs.store import JobStore, JobStoreError

SERVER = """
import sys, time
from earmark.web.jobs.runner import JobRunner

with JobRunner(sys.argv[1]) as jobs:
    print(jobs.submit("extract", "slow.py", ["audio", "--workers=0"]).id, flush=True)
    time.sleep(600)
"""


def n_extracted(job):
    return latest(job).get("done") or 0


@pytest.fixture(scope="module")
def quick(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("quick"))


@pytest.fixture
def slow(tmp_path):
    return make_project(tmp_path / "slow", n_items=30, seconds=0.1)


def test_a_job_leaves_what_the_command_leaves(quick):
    with JobRunner(quick) as jobs:
        job = ended(jobs.store, jobs.submit(*EXTRACT).id)
    said = json.loads(job.output_path.read_text())
    assert (job.status, job.exit_code, job.message) == ("completed", 0, None)
    assert (said["items"], said["computed"]) == (4, {"slow.mean": 4})
    assert job.title == "extract slow.py audio --workers=0"
    assert json.loads((job.folder / "argv.json").read_text()) == list(job.argv)
    assert job.created <= job.started <= job.ended
    told, _ = read(job)
    progress = [event for event in told if event["type"] == "progress"]
    assert (progress[0]["done"], progress[-1]["done"], progress[-1]["total"]) == (0, 4, 4)
    again = [sys.executable, "-m", "earmark", "-C", str(quick), "--format", "json", *job.argv]
    terminal = json.loads(subprocess.run(again, capture_output=True, cwd=quick, check=True).stdout)
    assert terminal["computed"] == {"slow.mean": 0}  # the same cache, the same features


def test_jobs_run_in_their_order_and_one_at_a_time_over_all_servers(quick):
    with JobRunner(quick) as one, JobRunner(quick) as other:
        ids = [(one, other)[number % 2].submit("schema", None, []).id for number in range(4)]
        jobs = [ended(one.store, job_id) for job_id in ids]
    assert len(set(ids)) == 4
    assert [job.status for job in jobs] == ["completed"] * 4
    for before, after in itertools.pairwise(jobs):
        assert before.ended <= after.started
    assert [job.id for job in one.store.list(limit=4)] == ids[::-1]


def test_a_failure_is_told_in_the_sentence_of_the_command(quick):
    with JobRunner(quick) as jobs:
        missing = ended(jobs.store, jobs.submit("train", "slow.py", ["--epochs=0"]).id)
        partly = jobs.submit("extract", "slow.py", ["audio", "absent.wav", "--workers=0"])
        partly = ended(jobs.store, partly.id)
    assert (missing.status, missing.exit_code) == ("failed", 2)
    assert "--epochs" in missing.message
    assert not missing.message.startswith("error")
    assert (partly.status, partly.exit_code) in [("completed", 1), ("failed", 2)]
    assert partly.message


def test_cancelling_keeps_finished_work(slow):
    with JobRunner(slow) as jobs:
        job, waiting = jobs.submit(*EXTRACT), jobs.submit(*EXTRACT)
        wait_until(lambda: n_extracted(job) >= 3)
        with pytest.raises(JobStateError, match="running"):
            jobs.delete(job.id)
        assert jobs.cancel(waiting.id).status == "cancelled"
        jobs.cancel(job.id)
        job = ended(jobs.store, job.id, 9)  # at the first signal
        assert (job.status, job.exit_code, job.message) == ("cancelled", 130, None)
        assert "Interrupted. Finished work is kept" in job.log_path.read_text()
        with pytest.raises(JobStateError, match="cancelled already"):
            jobs.cancel(job.id)
        again = ended(jobs.store, jobs.resume(job.id).id)
        assert 0 < json.loads(again.output_path.read_text())["computed"]["slow.mean"] <= 27
        jobs.delete(job.id)
        assert not job.folder.exists()
        with pytest.raises(UnknownJobError, match=job.id):
            jobs.store.get(job.id)


def test_a_job_outlives_its_server_and_the_next_one_sees_the_end(slow):
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(slow)], stdout=subprocess.PIPE, text=True)
    job_id = server.stdout.readline().strip()
    store = JobStore.of(slow)
    wait_until(lambda: n_extracted(store.get(job_id)) >= 3)
    server.kill()
    server.wait()
    server.stdout.close()
    with JobRunner(slow) as jobs:
        assert jobs.store.get(job_id).status == "running"
        assert ended(jobs.store, job_id).status == "completed"


def test_a_lost_worker_is_an_interruption_and_resuming_finishes(slow):
    with JobRunner(slow) as jobs:
        job = jobs.submit(*EXTRACT)
        wait_until(lambda: n_extracted(job) >= 3)
        os.kill(int(job.worker_lock.read_text()), signal.SIGKILL)
        lost = ended(jobs.store, job.id, 20)
        assert lost.status == "interrupted"
        assert "Resume" in lost.message
        assert (
            "Interrupted. Finished work is kept" in lost.log_path.read_text()
        )  # the command was not left alone
        again = ended(jobs.store, jobs.resume(job.id).id)
        assert again.status == "completed"
        assert 0 < json.loads(again.output_path.read_text())["computed"]["slow.mean"] <= 27


def test_services_run_beside_the_queue(slow):
    with JobRunner(slow) as jobs:
        first = jobs.submit(*EXTRACT)
        service = jobs.submit("schema", None, [], kind="service")
        assert ended(jobs.store, service.id).status == "completed"
        assert not jobs.store.get(first.id).is_over
        jobs.cancel(first.id)
        ended(jobs.store, first.id)


def test_of_many_that_claim_one_wins(tmp_path):
    store = JobStore(tmp_path / "jobs.sqlite")
    ids = [store.add("train", "zones", ["train", "zones"], title="t").id for _ in range(20)]
    won = []

    def claim():
        own = JobStore(tmp_path / "jobs.sqlite")
        won.extend(job_id for job_id in ids if own.claim(job_id, n_jobs=100))

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(won) == sorted(ids)
    assert store.count(status="running") == 20


def test_the_limit_holds_and_ends_are_final(tmp_path):
    store = JobStore(tmp_path / "jobs.sqlite")
    first, second = (store.add("train", "zones", ["train"], title="t") for _ in range(2))
    assert store.next_pending(1) == first
    assert store.claim(first.id, 1)
    assert store.next_pending(1) is None
    assert not store.claim(second.id, 1)
    assert store.next_pending(2) == second
    assert not store.withdraw(first.id)
    assert not store.remove(first.id)
    assert store.end(first.id, "failed", exit_code=2, message="no", runs=["a"])
    assert not store.end(first.id, "completed")
    assert (store.get(first.id).status, store.get(first.id).runs) == ("failed", ("a",))
    assert store.withdraw(second.id)
    assert not store.claim(second.id, 1)
    assert [job.id for job in store.list(status="cancelled", task="zones", command="train", kind="job")] == [
        second.id
    ]


def test_a_list_of_another_kind_is_not_touched(tmp_path):
    (tmp_path / "text").write_bytes(b"no database" * 1000)
    with pytest.raises(JobStoreError, match="cannot be used"):
        JobStore(tmp_path / "text")
    assert (tmp_path / "text").read_bytes() == b"no database" * 1000
    import sqlite3

    JobStore(tmp_path / "newer")
    connection = sqlite3.connect(tmp_path / "newer")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(JobStoreError, match="version 99"):
        JobStore(tmp_path / "newer")
