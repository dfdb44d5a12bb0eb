"""The log of experiments: a JSON line for each train, grid, ablation, evaluation and choice of weights.

``<runs>/meter/experiments.jsonl``; a line is written in one piece and stays as it is:

============== =========================================================================================
``when``       UTC, ISO 8601
``kind``       train, grid, ablate, evaluate, ensemble
``command``    what was typed
``code``       hash of the code that decides the numbers of a training
``version``    of earmark
``data``       hashes of items and splits, and the data's of each run
``parameters`` of each run: algorithm, features, rows, parameters that differ from the defaults
``results``    what was shown
``runs``       run -> its key, 16 hexadecimal digits
``hash``       of all of the above but ``when``, 16 hexadecimal digits: equal experiments have equal hashes
============== =========================================================================================

Scores of the sealed test are in no line: the ledger of the seal and the records of `evaluate --save` hold these.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from earmark.errors import RunError
from earmark.store.lock import in_turn
from earmark.tasks.project import Project
from earmark.training.recipe import code_hash, digest
from earmark.training.runs import Run

__all__ = ["note_experiment", "read_experiments"]

FILE = "experiments.jsonl"
_DIGITS = 16


def note_experiment(
    project: Project,
    kind: str,
    results: Mapping[str, Any],
    runs: Sequence[Run],
    *,
    command: Sequence[str] | None = None,
) -> Path:
    """Append a line and return the log's path; `command` defaults to the arguments of this process."""
    told = {
        "kind": kind,
        "command": list(sys.argv[1:] if command is None else command),
        "code": code_hash()[:_DIGITS],
        "version": metadata.version("earmark"),
        "data": _data(project, runs),
        "parameters": {run.name: _parameters(run) for run in runs},
        "results": results,
        "runs": {run.name: run.key[:_DIGITS] for run in runs},
    }
    # Values such as paths and arrays' numbers become what JSON has, once, so that the hash is that of the line.
    plain = _plain(json.loads(json.dumps(told, default=str)))
    when = datetime.now(UTC).isoformat(timespec="seconds")
    line = json.dumps({"when": when, **plain, "hash": digest(plain)[:_DIGITS]}, allow_nan=False)
    path = project.runs_folder / project.task.name / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with in_turn(path), path.open("ab") as file:
        file.write(line.encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return path


def read_experiments(project: Project) -> list[dict[str, Any]]:
    """All lines, oldest first.

    Raises
    ------
    RunError
        A line cannot be read.
    """
    path = project.runs_folder / project.task.name / FILE
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            found.append(json.loads(line))
        except ValueError as error:
            raise RunError(f"`{path}` line {number} is no JSON ({error}). Remove the line.") from error
    return found


def _plain(value: Any) -> Any:
    """The value with null for what is not finite, which JSON has not."""
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _data(project: Project, runs: Sequence[Run]) -> dict[str, Any]:
    return {
        "items": project.manifest.items_hash,
        "splits": project.splits.hash,
        **{run.name: run.config["hashes"].get("dataset") for run in runs},
    }


def _parameters(run: Run) -> dict[str, Any]:
    settings, recipe = run.config["settings"], run.config["recipe"]
    return {
        "algorithm": run.algorithm,
        "features": settings.get("features"),
        "rows": settings.get("rows", {}),
        "params": recipe["params"],
    }
