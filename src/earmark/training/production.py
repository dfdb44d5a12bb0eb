"""Stages of runs: which run predictions use by default, which wait, which are put away, and the way back.

``<root>/<task>/production.json`` holds what was decided, oldest first, as ``run``, ``when``, ``reason`` and ``stage``
(absent: production). The last promotion to production is in force; the run that was in force before it is in staging
from then on. The file is replaced in one step.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import RunError
from earmark.models.constraints import closest
from earmark.training.runs import Run, load_run

__all__ = ["PRODUCTION", "STAGES", "history", "production_run", "promote", "rollback", "stages"]

PRODUCTION, STAGING, ARCHIVED = STAGES = ("production", "staging", "archived")
"""Stages that a run can be given; one that was given none has none."""

_FILE = "production.json"


def promote(root: str | Path, run: Run, *, reason: str = "", stage: str = PRODUCTION) -> None:
    """Give `run` a stage; for production the model is loaded first, so that a broken one is refused.

    Raises
    ------
    RunError
        For an unknown stage, or one that would take the run in production away without another in its place.
    """
    if stage not in STAGES:
        raise RunError(
            f"There is no stage `{stage}`{closest(stage, STAGES)}. Choose one of: {', '.join(STAGES)}."
        )
    if stage == PRODUCTION and run.is_leaky:
        raise RunError(
            f"`{run.name}` is a demonstration: its windows were divided at random, so its scores are of what it had "
            "heard. Train with a protocol, e.g. swap, and promote that."
        )
    if stage == PRODUCTION:
        run.classifier()
    elif stages(root, run.task).get(run.name) == PRODUCTION:
        raise RunError(
            f"`{run.name}` is in production and cannot go to {stage}: nothing would predict. Promote another run "
            f"first, or go back: earmark runs rollback {run.task}"
        )
    entry = {"run": run.name, "when": datetime.now(UTC).isoformat(timespec="seconds"), "reason": reason}
    _write(root, run.task, [*_entries(root, run.task), entry | {"stage": stage}])


def rollback(root: str | Path, task: str) -> Run:
    """Undo the last promotion to production; returns the run that is in force again.

    Raises
    ------
    RunError
        If there is no promotion before the last, or its run is gone; nothing is changed then.
    """
    entries = _entries(root, task)
    promotions = [entry for entry in entries if _is_promotion(entry)]
    if len(promotions) < 2:
        raise RunError(
            f"`{task}` has {len(promotions)} promotion(s), expected at least 2 to go back. "
            "Promote a run instead."
        )
    earlier = load_run(Path(root) / task / promotions[-2]["run"], task=task)
    _write(root, task, [entry for entry in entries if entry is not promotions[-1]])
    return earlier


def production_run(root: str | Path, task: str) -> Run:
    """The run in force; raises RunError if none was promoted or it is gone."""
    promotions = history(root, task)
    if not promotions:
        raise RunError(f"No run of `{task}` was promoted. Run: earmark runs promote NAME, or name a run.")
    return load_run(Path(root) / task / promotions[-1]["run"], task=task)


def history(root: str | Path, task: str) -> list[dict[str, Any]]:
    """Promotions to production, oldest first: ``run``, ``when`` (UTC), ``reason``; empty if there were none."""
    return [entry for entry in _entries(root, task) if _is_promotion(entry)]


def stages(root: str | Path, task: str) -> dict[str, str]:
    """Run -> stage, for the runs that were given one."""
    found: dict[str, str] = {}
    for entry in _entries(root, task):
        stage = entry.get("stage", PRODUCTION)
        if stage == PRODUCTION:
            found = {name: STAGING if was == PRODUCTION else was for name, was in found.items()}
        found[entry["run"]] = stage
    return found


def _is_promotion(entry: dict[str, Any]) -> bool:
    return bool(entry.get("stage", PRODUCTION) == PRODUCTION)


def _entries(root: str | Path, task: str) -> list[dict[str, Any]]:
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
