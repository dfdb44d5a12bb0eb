"""A training as a job: the run folder is the command line's, and the job names it."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from web_jobs_project import ended

from earmark.web.jobs.events import latest, read
from earmark.web.jobs.job import Job
from earmark.web.jobs.outcome import outcome_of
from earmark.web.jobs.runner import JobRunner
from earmark.web.jobs.store import JobStore

EXAMPLES = Path(__file__).parents[2] / "examples"
SAME = ("out_of_fold.parquet", "best_metrics.json", "classifier.json", "preprocess.json")


@pytest.mark.slow
def test_a_training_leaves_the_run_of_the_terminal(tmp_path):
    shutil.copy(EXAMPLES / "loudness.py", tmp_path / "loudness.py")
    (tmp_path / "earmark.toml").write_text('task = "loudness.py"\nworkers = 1\n')
    training = ("train", "loudness.py", ["--algorithms=neural", "--epochs=2", "--force", "--no-report"])
    with JobRunner(tmp_path) as jobs:
        demo = ended(jobs.store, jobs.submit("demo", "loudness.py", ["--workers=0"]).id, 200)
        assert (demo.status, demo.message) == ("completed", None), demo.log_path.read_text()
        assert demo.runs
        job = ended(jobs.store, jobs.submit(*training).id, 200)
    (name,) = job.runs
    assert json.loads(job.output_path.read_text())["best"] == name
    known = latest(job)
    assert (known["epoch"], known["total_epochs"], known["algorithm"]) == (2, 2, "neural_network")
    assert known["training_loss"] > 0
    environment = {key: value for key, value in os.environ.items() if key != "EARMARK_EVENTS"}
    line = [sys.executable, "-m", "earmark", "train", "loudness.py", *training[2], "--format=json"]
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, check=True)
    other = tmp_path / "runs" / "loudness" / json.loads(done.stdout)["best"]
    mine = tmp_path / "runs" / "loudness" / name
    assert other != mine
    names = {path.relative_to(mine) for path in mine.rglob("*")}
    assert names == {path.relative_to(other) for path in other.rglob("*")}
    for file in SAME:
        assert (mine / file).read_bytes() == (other / file).read_bytes(), file


@pytest.mark.slow
def test_a_training_of_a_market_tells_its_epochs(tmp_path):
    pytest.importorskip("torch")
    sys.path.append(str(Path(__file__).parents[1] / "tasks" / "market"))
    from learnable_store import QUICK, learnable_project

    learnable_project(tmp_path)
    (tmp_path / "quick.json").write_text(json.dumps({**QUICK, "epochs": 1}))
    with JobRunner(tmp_path) as jobs:
        job = ended(
            jobs.store, jobs.submit("train", "market", ["--config=quick.json", "--no-promote"]).id, 200
        )
    assert job.status == "completed", job.log_path.read_text()
    assert len(job.runs) == 1
    events, _ = read(job)
    (epoch,) = [event for event in events if event["type"] == "epoch"]
    assert (epoch["epoch"], epoch["total_epochs"]) == (1, 1)
    assert {"training_loss", "validation_loss", "validation_accuracy"} <= set(epoch)
    assert "step" in {event["type"] for event in events}


@pytest.fixture
def job(tmp_path):
    store = JobStore.of(tmp_path)
    made = store.add("train", "zones", ["train", "zones"], title="t")
    store.claim(made.id, 1)
    for path in (made.log_path, made.output_path):
        path.write_text("")
    return store.get(made.id)


def make_run(job: Job, name: str) -> None:
    folder = job.project / "runs" / "zones" / name
    folder.mkdir(parents=True)
    (folder / "run.toml").write_text("")


@pytest.mark.parametrize(
    ("code", "log", "status", "message"),
    [
        (0, "error: of an earlier try\n", "completed", None),
        (1, "failed: a.mp3: not audio\n", "completed", "Some inputs failed; the log names them."),
        (3, "x\nerror: accuracy 0.4 is below 0.8.\nmore\n", "completed", "accuracy 0.4 is below 0.8."),
        (2, "error: one\nerror: two\nSee: earmark train --help\n", "failed", "two"),
        (139, "what the library said\n\n", "failed", "what the library said"),
        (7, "", "failed", "The command left with 7."),
        (-9, "", "failed", "The system killed the command, mostly because the memory was full. "),
        (-15, "", "interrupted", "The command was ended by SIGTERM. Resume runs it again."),
        (130, "Interrupted. Finished work is kept.\n", "interrupted", "Interrupted. Finished work is kept."),
    ],
)
def test_exit_codes_and_sentences(job, code, log, status, message):
    job.log_path.write_text(log)
    end = outcome_of(job, code)
    assert (end.status, end.exit_code, end.runs) == (status, code, ())
    assert end.message == message or (message is not None and end.message.startswith(message))
    job.cancel_path.touch()
    assert (outcome_of(job, code).status, outcome_of(job, code).message) == ("cancelled", None)


@pytest.mark.parametrize(
    "document",
    [
        {"run": "20260101-000000-a", "path": "/x/runs/zones/20260101-000000-a"},
        {"path": "/x/runs/zones/20260101-000000-a", "best": {"lr": 0.1}},
        {"runs": [{"run": "20260101-000000-a", "path": "elsewhere"}, 3, None], "best": "20260101-000000-a"},
        {"runs": ["20260101-000000-a", "../../etc"]},
    ],
)
def test_runs_are_those_that_the_document_names_and_that_are_there(job, document):
    make_run(job, "20260101-000000-a")
    make_run(job, "20260101-000001-of-another")
    job.output_path.write_text(json.dumps(document))
    assert outcome_of(job, 0).runs == ("20260101-000000-a",)


def test_runs_without_a_document_are_those_that_were_told_else_new(job):
    make_run(job, "20260101-000000-a")
    make_run(job, "20260101-000001-b")
    make_run(job, ".20260101-000002-c.tmp")
    job.output_path.write_text("[1, 2")
    assert outcome_of(job, 0).runs == ("20260101-000000-a", "20260101-000001-b")
    job.events_path.write_text('{"type": "run", "name": "20260101-000001-b"}\n')
    assert outcome_of(job, 0).runs == ("20260101-000001-b",)
