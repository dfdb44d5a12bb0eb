"""The ledger of a test set: one line of JSON per event, flushed to the disk before anything comes of the event.

Events are ``open`` and ``reseal``, with ``when`` (UTC), ``run``, ``commit``, ``version``, ``data``, ``reason``, ``n``.
Lines are only ever added.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from earmark.errors import SealError

__all__ = ["LEDGER_FILE", "Openings", "append_event", "count_openings", "ledger_event", "read_ledger"]

LEDGER_FILE = "ledger.jsonl"


@dataclass(frozen=True)
class Openings:
    """How often the test set was opened: `count` times by `n_runs` runs; drawn anew `n_reseals` times."""

    count: int
    n_runs: int
    n_reseals: int = 0

    def __str__(self) -> str:
        runs = f" by {self.n_runs} run{'s' * (self.n_runs != 1)}"
        opened = f"opened {_times(self.count)}{runs}" if self.count else "never opened"
        return opened + (f", drawn anew {_times(self.n_reseals)}" if self.n_reseals else "")


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def ledger_event(
    event: str, data: str, *, run: str, commit: str | None, reason: str, n: int
) -> dict[str, Any]:
    """A line for the ledger, of now and of this version of earmark; `data` names what the test set is."""
    from importlib.metadata import version

    return {
        "event": event,
        "when": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "run": run,
        "commit": commit,
        "version": version("earmark"),
        "data": data,
        "reason": reason,
        "n": n,
    }


def append_event(path: Path, record: Mapping[str, Any]) -> None:
    """Add one line and flush it to the disk; safe between processes."""
    line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
    try:
        handle = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            size = os.fstat(handle).st_size
            torn = size > 0 and os.pread(handle, 1, size - 1) != b"\n"
            line = b"\n" + line if torn else line
            written = os.write(handle, line)
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        raise SealError(_unwritable(path, str(error))) from error
    if written != len(line):
        raise SealError(_unwritable(path, f"{written} of {len(line)} bytes were written"))


def read_ledger(path: str | Path) -> list[dict[str, Any]]:
    """Events of a ledger, oldest first; empty without a file.

    A line that cannot be read is returned as an opening by the run ``unreadable line N``, never left out: the
    count may be too high, not too low.
    """
    path = Path(path)
    if not path.is_file():
        return []
    events = []
    for number, line in enumerate(path.read_bytes().split(b"\n"), start=1):
        if line.strip():
            events.append(_event(line, number))
    return events


def _event(line: bytes, number: int) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        event = None
    if isinstance(event, dict) and {"event", "when", "run"} <= event.keys():
        return event
    return {"event": "open", "when": "", "run": f"unreadable line {number}", "reason": ""}


def count_openings(events: Sequence[Mapping[str, Any]]) -> Openings:
    """Openings since the test set was last drawn anew."""
    last_reseal = max((i for i, event in enumerate(events) if event["event"] == "reseal"), default=-1)
    runs = [event["run"] for event in events[last_reseal + 1 :] if event["event"] == "open"]
    return Openings(len(runs), len(set(runs)), sum(event["event"] == "reseal" for event in events))


def _unwritable(path: Path, cause: str) -> str:
    return (
        f"the ledger `{path}` cannot be written ({cause}), so the test set stays sealed. "
        "Expected to record the opening first. Free disk space or make the folder writable, then run again."
    )
