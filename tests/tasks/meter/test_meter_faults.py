"""What may happen to `extract meter` and `predict meter`: Ctrl-C, a kill, no room, two at once, hours of audio.

The sentence of each is checked, and that the same command then finishes what is left.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from synthetic_bars import drummed, written

from earmark.cache.entries import FeatureCache

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

N_SONGS = 16
PHASES = ("beats", "onsets", "tempo")
EXTRACT = (
    "extract",
    "meter",
    "songs",
    "--warm",
    "-w",
    "2",
    "--format",
    "json",
    *(word for name in PHASES for word in ("--phase", name)),
)
NO_ROOM_BYTES = 60_000
BOUND_KB = 700_000


@pytest.fixture
def folder(tmp_path) -> Path:
    for k in range(N_SONGS):
        (tmp_path / "songs").mkdir(exist_ok=True)
        written(tmp_path / "songs" / f"{k:02d}.wav", drummed(3 + k % 3, 90 + 5 * k, 20.0))
    return tmp_path


def start(folder: Path, *words: str, **how: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "earmark", *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **how,  # type: ignore[call-overload]
    )


def finished(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def wait_for_entries(folder: Path) -> None:
    """Until an item was stored, which is while the workers are at work."""
    path = folder / ".earmark" / "cache"
    for _ in range(1200):
        time.sleep(0.05)
        if not (path / "data.mdb").exists():
            continue
        with FeatureCache(path, read_only=True) as cache:
            if any(group.entries for group in cache.stats().groups):
                return
    raise AssertionError("nothing was stored")


def stored(document: str) -> list[tuple[str, str, int, int]]:
    rows = json.loads(document)["phases"]
    return [(row["phase"], row["cached"], row["was_cached"], row["computed"]) for row in rows]


WHOLE = [(name, f"{N_SONGS}/{N_SONGS}") for name in PHASES]


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill"])
def test_a_run_that_was_stopped_goes_on(folder, sent):
    process = start(folder, *EXTRACT)
    wait_for_entries(folder)
    process.send_signal(sent)
    code, _, err = finished(process)
    if sent == signal.SIGINT:
        assert code == 130 and "the same command goes on from there" in err
        assert "Traceback" not in err
    code, out, err = finished(start(folder, *EXTRACT))
    assert code == 0, err
    rows = stored(out)
    assert [row[:2] for row in rows] == WHOLE
    assert all(was + computed == N_SONGS for _, _, was, computed in rows)
    assert rows[0][2] > 0
    assert [row[3] for row in stored(finished(start(folder, *EXTRACT))[1])] == [0] * len(PHASES)


def test_two_at_once_both_end_with_everything(folder):
    both = [start(folder, *EXTRACT) for _ in range(2)]
    for code, out, err in map(finished, both):
        assert code == 0, err
        assert [row[:2] for row in stored(out)] == WHOLE
    answers = [
        start(folder, "predict", "meter", "songs", "--fallback", "rule", "--format", "json") for _ in range(2)
    ]
    first, second = (finished(one) for one in answers)
    assert first[0] == 0 and first[1] == second[1]


def test_without_room_it_says_so_and_goes_on_with_room(folder):
    def no_room() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (NO_ROOM_BYTES, NO_ROOM_BYTES))

    code, out, err = finished(start(folder, *EXTRACT, preexec_fn=no_room))
    assert (code, out) == (2, "")
    assert "could not be written" in err and "free space" in err and "Traceback" not in err
    code, out, err = finished(start(folder, *EXTRACT))
    assert code == 0, err
    assert [row[:2] for row in stored(out)] == WHOLE


def test_the_memory_for_hours_is_that_of_a_window(tmp_path):
    rate, path = 8000, tmp_path / "set.flac"
    bars = np.repeat(drummed(3, 120, 60.0)[::4], 1)  # at a rate that is not asked for
    with soundfile.SoundFile(path, "w", rate, 1) as file:
        for _ in range(round(2 * 3600 * rate / len(bars))):
            file.write(bars)
    words = [
        "predict",
        "meter",
        f"{path}#t=3600,3630",
        "--fallback",
        "rule",
        "--workers",
        "0",
        "--format",
        "json",
    ]
    process = start(tmp_path, *words)
    assert process.stdout is not None
    out = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.communicate()
    assert process.returncode == 0 and json.loads(out)[0]["duration"] == 30.0
    assert usage.ru_maxrss < BOUND_KB
