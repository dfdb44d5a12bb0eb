"""Events for a program that watches a command: told where it asked for them, never in the way of the work."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

from earmark.cli.events import tell, tell_training, telling
from earmark.cli.options import Invocation
from earmark.cli.progress import progress
from earmark.features.progress import Progress


@pytest.fixture
def told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "events.jsonl"
    monkeypatch.setenv("EARMARK_EVENTS", str(path))
    return lambda: [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_nothing_is_written_where_nobody_asks(tmp_path, monkeypatch):
    monkeypatch.delenv("EARMARK_EVENTS", raising=False)
    tell({"type": "note", "text": "a"})
    assert list(tmp_path.iterdir()) == []
    with telling(print) as report:
        assert report is print


def test_progress_is_told_at_its_ends_and_seldom_between(told):
    with progress(Invocation(quiet=True)) as report:
        for done in range(2001):
            report(Progress("extract", done, 2000))
        report(Progress("train", 0, 5, failed=1, message="a"))
        report(Progress("train", 3, 5))
    events = told()
    extract = [event["done"] for event in events if event["stage"] == "extract"]
    assert (extract[0], extract[-1]) == (0, 2000)
    assert len(extract) < 40
    train = [event for event in events if event["stage"] == "train"]
    assert [event["done"] for event in train] == [0, 3]  # where it stood when it ended early
    assert {name: train[0][name] for name in ("type", "total", "failed", "message")} == {
        "type": "progress",
        "total": 5,
        "failed": 1,
        "message": "a",
    }


def test_trainings_count_epochs_from_one_and_have_no_nan(told):
    tell_training({"event": "epoch", "epoch": 0, "train_loss": math.nan, "val_loss": 1.5, "stage": "fold 1"})
    tell_training({"event": "point", "done": 1, "total": 2, "values": {"a": math.inf}, "score": 0.5})
    epoch, trial = told()
    assert (epoch["type"], epoch["epoch"], epoch["training_loss"], epoch["validation_loss"]) == (
        "epoch",
        1,
        None,
        1.5,
    )
    assert (trial["type"], trial["values"]) == ("trial", {"a": None})


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full is of Linux")
def test_a_full_disk_is_told_once_and_ends_nothing(monkeypatch, capsys):
    monkeypatch.setenv("EARMARK_EVENTS", "/dev/full")
    for number in range(3):
        tell({"type": "note", "text": str(number)})
    err = capsys.readouterr().err
    assert err.count("progress cannot be told (No space left on device)") == 1


TORN = """
import resource, signal, sys
from pathlib import Path
from earmark.cli.events import tell

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (Path(sys.argv[1]).stat().st_size + 10, most))
tell({"type": "note", "text": "torn"})
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
tell({"type": "note", "text": "after"})
"""


def test_a_line_that_a_limit_tore_costs_no_other(told, tmp_path):
    path = Path(os.environ["EARMARK_EVENTS"])
    path.write_text('{"type": "note", "text": "before"}\n')
    with (tmp_path / "log.txt").open("wb") as log:
        log.write(bytes(1000))  # the log is beyond the limit, too
        log.flush()
        subprocess.run([sys.executable, "-c", TORN, str(path)], stderr=log, check=True)
    lines = path.read_text().splitlines()
    assert [json.loads(line)["text"] for line in (lines[0], lines[2])] == ["before", "after"]
    assert len(lines[1]) == 10


def test_a_training_tells_its_epochs_and_its_runs(earmark, project, told):
    done = earmark(
        "-C", project, "train", "--algorithms", "neural", "--epochs", "2", "--no-report", "--format", "json"
    )
    assert done.code == 0, done.err
    events = told()
    epochs = [event for event in events if event["type"] == "epoch"]
    assert {event["stage"] for event in epochs} >= {"final"}
    assert {(event["epoch"], event["total_epochs"]) for event in epochs} == {(1, 2), (2, 2)}
    assert {event["algorithm"] for event in epochs} == {"neural_network"}
    assert all(event["training_loss"] > 0 for event in epochs)
    (run,) = [event for event in events if event["type"] == "run"]
    assert run["name"] == json.loads(done.out)["best"]
    assert not run["reused"]


def test_a_search_tells_its_points(earmark, project, told):
    done = earmark(
        "-C", project, "grid", "--algorithm", "xgboost", "--set", "max_depth=1,2", "--set", "n_trees=3"
    )
    assert done.code == 0, done.err
    trials = [event for event in told() if event["type"] == "trial"]
    assert [(event["done"], event["total"], event["status"]) for event in trials] == [
        (1, 2, "done"),
        (2, 2, "done"),
    ]
    assert trials[1]["values"] == {"max_depth": 2, "n_trees": 3}
