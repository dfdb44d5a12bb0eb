"""A search that is interrupted, killed and started twice ends with every point computed once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from meter_projects import make_project

HERE = Path(__file__).parent
SPACE = ("--set", "n_trees=4000,4001,4002,4003", "--set", "max_depth=2,3,4", "--views", "both")
GRID = ("grid", "meter", "--model", "boosting", *SPACE, "--no-finale")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("meter")
    make_project(path)
    return path


@pytest.fixture
def started(folder):
    """Starts searches; what is left of them in the end is killed."""
    running = []

    def start(*more):
        running.append(_started(folder, *more))
        return running[-1]

    yield start
    for process in running:
        if process.poll() is None:
            process.kill()
        process.communicate()


def _started(folder, *more):
    command = [sys.executable, str(HERE / "small_meter.py"), "-C", str(folder), *GRID, *more]
    environment = {**os.environ, "PYTHONPATH": str(HERE), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def _done(folder):
    journal = folder / "runs" / "meter" / ".grid" / "xgboost-both.jsonl"
    lines = journal.read_bytes().split(b"\n")[:-1] if journal.exists() else []
    return [json.loads(line) for line in lines]


def _wait_for(folder, n, process):
    end = time.monotonic() + 120
    while len(_done(folder)) < n:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)


def test_every_point_is_computed_once_whatever_happens(folder, started):
    first = started()
    _wait_for(folder, 1, first)
    second = started()
    _, err = second.communicate(timeout=120)
    assert second.returncode == 2 and "is searching with" in err, err
    os.kill(first.pid, signal.SIGINT)
    _, err = first.communicate(timeout=120)
    assert first.returncode == 130, err
    n_kept = len(_done(folder))
    third = started("--parallel-runs", "2")
    _wait_for(folder, n_kept + 1, third)
    os.killpg(third.pid, signal.SIGKILL)  # its workers, too: alone they would end, but later
    third.communicate(timeout=120)
    last = started()
    _, err = last.communicate(timeout=300)
    assert last.returncode == 0 and "SKIP" in err, err
    counts = Counter(line["key"] for line in _done(folder))
    assert len(counts) == 12 and set(counts.values()) == {1}
    assert all(line["status"] == "done" for line in _done(folder))


def test_a_view_that_is_none_and_features_that_fail_are_said(folder, started):
    process = started("--features", "g1630")
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2 and "no feature set 'g1630'" in err, err
    hidden = sorted((folder / "audio").glob("*.wav"))[::3]
    for path in hidden:
        path.write_bytes(b"no audio")
    process = started()
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2 and "have all features" in err, err
