"""What the daemon remembers over a restart, and the decisions that it made.

In ``data/retraining``: ``state.json``, ``history.jsonl`` (newest last, at most 1000), ``lock``, and ``trigger``, whose
appearance asks for a training.
"""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import RunError, UsageError
from earmark.store.lock import alone

__all__ = ["Memory", "Place"]

STATE, HISTORY, TRIGGER, LOCK = "state.json", "history.jsonl", "trigger", "lock"
KEPT = 1000


@dataclass(frozen=True)
class Memory:
    """When what was last done, in seconds since 1970; 0: never."""

    started_s: float = 0.0
    scheduled_s: float = 0.0
    drift_s: float = 0.0
    performance_s: float = 0.0
    alarmed_s: float = 0.0


class Place:
    """The folder of the daemon of one project."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def read(self) -> Memory:
        """What is remembered; a new memory where there is none."""
        path = self.path / STATE
        try:
            return Memory(**json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return Memory()
        except (ValueError, TypeError) as error:
            raise RunError(f"`{path}` cannot be read ({error}). Remove it: checks begin anew.") from error

    def write(self, memory: Memory) -> None:
        """Replace what is remembered."""
        write_bytes_atomic(self.path / STATE, (json.dumps(asdict(memory)) + "\n").encode())

    def history(self) -> list[dict[str, Any]]:
        """Decisions, oldest first."""
        path = self.path / HISTORY
        if not path.is_file():
            return []
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def note(self, now_s: float, **decision: Any) -> dict[str, Any]:
        """Add a decision with its time; returns the record."""
        time = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="seconds")
        record = {"time": time, **decision}
        lines = [json.dumps(one, ensure_ascii=False, allow_nan=False) for one in (*self.history(), record)]
        write_bytes_atomic(self.path / HISTORY, ("\n".join(lines[-KEPT:]) + "\n").encode())
        return record

    def ask(self) -> None:
        """Ask the daemon for a training."""
        write_bytes_atomic(self.path / TRIGGER, b"")

    def take_asked(self) -> bool:
        """Whether a training was asked for; the question is taken away."""
        try:
            (self.path / TRIGGER).unlink()
        except FileNotFoundError:
            return False
        return True

    def locked(self) -> AbstractContextManager[None]:
        """Be the only daemon here; the lock ends with the process.

        Raises
        ------
        UsageError
            Another one runs.
        """
        return alone(
            self.path / LOCK,
            lambda holder: UsageError(
                f"Process {holder} watches `{self.path.parent}` already. Stop it first."
            ),
        )
