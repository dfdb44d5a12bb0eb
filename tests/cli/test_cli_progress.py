"""Progress goes to a terminal, and nowhere else."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

from earmark.cli.options import Invocation
from earmark.cli.progress import progress
from earmark.features.progress import Progress

DRAW = """
from earmark.cli.options import Invocation
from earmark.cli.progress import progress
from earmark.features.progress import Progress
with progress(Invocation(quiet={quiet})) as report:
    for done in range(4):
        report(Progress("extract", done, 3, failed=1, message="a.mp3"))
print("result")
"""


def test_silent_where_standard_error_is_no_terminal(capsys):
    with progress(Invocation()) as report:
        report(Progress("extract", 1, 2, message="a.mp3"))
    assert capsys.readouterr() == ("", "")


def test_messages_are_lines_when_verbose(capsys):
    with progress(Invocation(verbose=True)) as report:
        report(Progress("extract", 0, 2))
        report(Progress("extract", 1, 2, message="a.mp3"))
    assert capsys.readouterr() == ("", "extract 1/2: a.mp3\n")


def _on_a_terminal(quiet: bool) -> tuple[str, str]:
    """Standard output and what the terminal behind standard error showed."""
    leader, follower = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", DRAW.format(quiet=quiet)],
        stdout=subprocess.PIPE,
        stderr=follower,
        text=True,
        check=True,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(follower)
    shown = b""
    try:
        while chunk := os.read(leader, 65536):
            shown += chunk
    except OSError:
        pass  # Linux says EIO where the other end has closed
    os.close(leader)
    return done.stdout, shown.decode()


def test_a_bar_with_counts_and_failures_on_a_terminal():
    out, shown = _on_a_terminal(quiet=False)
    assert out == "result\n"
    assert "extract" in shown
    assert "3/3" in shown
    assert "1 failed" in shown


def test_quiet_draws_nothing_on_a_terminal():
    out, shown = _on_a_terminal(quiet=True)
    assert (out, shown) == ("result\n", "")
