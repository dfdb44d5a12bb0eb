"""Ctrl-C in the middle of an extraction: exit code 130, one sentence, and all finished work kept."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

SLOW_TASK = """
import time

from earmark import Task, feature_group


@feature_group("slow.mean", columns=("mean",), sample_rate=8_000)
def mean(clip):
    time.sleep(0.15)
    return [abs(clip.samples).mean()]


task = Task(name="slow", groups=[mean])
"""
N_ITEMS = 60


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    (tmp_path / "audio").mkdir()
    for number in range(N_ITEMS):
        soundfile.write(tmp_path / "audio" / f"{number:02}.wav", 0.1 * rng.standard_normal(800), 8_000)
    (tmp_path / "slow.py").write_text(SLOW_TASK)
    return tmp_path


def start(folder: Path, workers: int) -> subprocess.Popen[str]:
    """Begin an extraction in a process group of its own, as a shell does for a job in the foreground."""
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "earmark.cli.main",
            "extract",
            "slow.py",
            "audio",
            "-w",
            str(workers),
            "--format",
            "json",
        ],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def n_kept(folder: Path) -> int:
    """Entries in the cache, asked as a user would."""
    done = subprocess.run(
        [sys.executable, "-m", "earmark.cli.main", "cache", "stats", "--format", "json"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    return json.loads(done.stdout)["entries"] if done.returncode == 0 else 0


@pytest.mark.parametrize("workers", [0, 2])
def test_ctrl_c_keeps_finished_work(folder, workers):
    process = start(folder, workers)
    deadline = time.monotonic() + 60
    while n_kept(folder) < 5 and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert out == ""
    assert [line for line in err.splitlines() if line.startswith("Interrupted")] == [err.strip()], err
    kept = n_kept(folder)
    assert 5 <= kept < N_ITEMS

    process = start(folder, workers)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    answer = json.loads(out)
    assert (answer["items"], answer["computed"]) == (N_ITEMS, {"slow.mean": N_ITEMS - kept})
