"""The production pointer: which run predictions use by default, and the way back.

``<root>/<task>/production.json`` holds the promotions, oldest first; the last is in force. It is replaced
in one step.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import RunError
from earmark.training.runs import Run, load_run

__all__ = ["history", "production_run", "promote", "rollback"]

_FILE = "production.json"


def promote(root: str | Path, run: Run, *, reason: str = "") -> None:
    """Make `run` the production run of its task; the model is loaded first, so that a broken one is
    refused.
    """
    run.classifier()
    entry = {"run": run.name, "when": datetime.now(UTC).isoformat(timespec="seconds"), "reason": reason}
    _write(root, run.task, [*history(root, run.task), entry])


def rollback(root: str | Path, task: str) -> Run:
    """Undo the last promotion; returns the run that is in force again.

    Raises
    ------
    RunError
        If there is no promotion before the last, or its run is gone; nothing is changed then.
    """
    entries = history(root, task)
    if len(entries) < 2:
        raise RunError(
            f"`{task}` has {len(entries)} promotion(s), expected at least 2 to go back. "
            "Promote a run instead."
        )
    earlier = load_run(Path(root) / task / entries[-2]["run"], task=task)
    _write(root, task, entries[:-1])
    return earlier


def production_run(root: str | Path, task: str) -> Run:
    """The run in force; raises RunError if none was promoted or it is gone."""
    entries = history(root, task)
    if not entries:
        raise RunError(f"No run of `{task}` was promoted. Run: earmark runs promote NAME, or name a run.")
    return load_run(Path(root) / task / entries[-1]["run"], task=task)


def history(root: str | Path, task: str) -> list[dict[str, Any]]:
    """Promotions, oldest first: ``run``, ``when`` (UTC), ``reason``; empty if there were none."""
    path = Path(root) / task / _FILE
    if not path.exists():
        return []
    try:
        entries: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["promotions"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"`{path}` cannot be read ({error}). Remove it and promote a run again.") from error
    return entries


def _write(root: str | Path, task: str, entries: list[dict[str, Any]]) -> None:
    text = json.dumps({"promotions": entries}, indent=1) + "\n"
    write_bytes_atomic(Path(root) / task / _FILE, text.encode())
