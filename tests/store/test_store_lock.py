"""Locks of real processes: refused, waited for, and free again when their holder is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from earmark.errors import UsageError
from earmark.store.lock import acquire, alone, in_turn

HOLD = """
import sys
from earmark.store.lock import alone, in_turn
with alone(sys.argv[2], RuntimeError) if sys.argv[1] == "alone" else in_turn(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


def held_by_process(kind, path):
    """A process that holds a lock until its standard input is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, kind, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"held\n"
    return process


def busy(holder):
    return UsageError(f"process {holder} is there")


def test_the_second_is_refused_with_the_name_of_the_first_until_that_is_killed(tmp_path):
    path = tmp_path / "new folder" / "lock"
    with held_by_process("alone", path) as process:
        with pytest.raises(UsageError, match=f"process {process.pid} is there"), alone(path, busy):
            pass
        assert path.read_text() == str(process.pid), "who is refused leaves the holder's name"
        process.kill()
    with alone(path, busy):
        assert path.read_text() == str(os.getpid())
        with pytest.raises(UsageError, match=f"process {os.getpid()} is there"):
            acquire(path, busy)
    os.close(acquire(path, busy))


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_who_takes_turns_waits(tmp_path, kind):
    path = tmp_path / "place"
    if kind == "folder":
        path.mkdir()
    had = threading.Event()

    def wait():
        with in_turn(path):
            had.set()

    with held_by_process("in_turn", path) as process:
        waiting = threading.Thread(target=wait)
        waiting.start()
        assert not had.wait(0.2)
        process.kill()
    waiting.join(10)
    assert had.is_set() and (list(path.iterdir()) == [] if kind == "folder" else path.is_file())
