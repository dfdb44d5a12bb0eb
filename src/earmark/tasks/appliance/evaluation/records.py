"""Saved baselines of evaluations, and whether a later one is worse than chance explains.

A record says of every scored window whether its public state was right at the thresholds of its run, one file per split
beside the manifest. Two evaluations of the same windows are compared recording by recording: from
`FEWEST_RECORDINGS` recordings up, by the bootstrap of the difference over recordings, which is worse where its interval
lies wholly below 0. Fewer recordings have no such interval; there one recording fewer with the right state is worse.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import RunError, UsageError
from earmark.evaluation.intervals import bootstrap_weights
from earmark.tasks.appliance.evaluation.altered import said_state
from earmark.tasks.appliance.evaluation.evaluate import FEWEST_RECORDINGS

if TYPE_CHECKING:
    from earmark.tasks.appliance.evaluation.evaluate import ApplianceEvaluation
    from earmark.tasks.project import Project

__all__ = ["Comparison", "Record", "compare", "read_record", "record_of", "write_record"]

FOLDER = "records"
_FORMAT = 1


@dataclass(frozen=True)
class Record:
    """An evaluation's right and wrong answers: recording -> window -> right, and recording -> file right."""

    run: str
    split: str
    windows: Mapping[str, Mapping[str, bool]]
    files: Mapping[str, bool]


@dataclass(frozen=True)
class Comparison:
    """A later evaluation minus a saved one: state accuracy over windows, its bounds, and files right before and now."""

    before: str
    difference: float
    low: float
    high: float
    files_before: int
    files_now: int

    @property
    def is_worse(self) -> bool:
        """Whether it is worse than chance explains."""
        return self.files_now < self.files_before if np.isnan(self.high) else self.high < 0

    def __str__(self) -> str:
        bounds = "" if np.isnan(self.low) else f" [{self.low:+.3f}, {self.high:+.3f}]"
        return (
            f"state accuracy of windows {self.difference:+.3f}{bounds} against {self.before}, files right "
            f"{self.files_now}, before {self.files_before}"
        )


def record_of(found: ApplianceEvaluation) -> Record:
    """What would be kept of an evaluation."""
    known = found.known
    right = said_state(found.answers.p, found.thresholds.t, known) == known.state
    windows: dict[str, dict[str, bool]] = {}
    for name, id, is_right in zip(known.rows.recordings.tolist(), known.ids, right.tolist(), strict=True):
        windows.setdefault(name, {})[id] = is_right
    files = {row["recording_id"]: row["state"] == row["answer"] for row in found.files.rows}
    return Record(found.run.name, found.options.split, windows, files)


def write_record(project: Project, record: Record) -> Path:
    """Keep a record as the one that later evaluations of its split are compared with."""
    path = _path(project, record.split)
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {
        "format": _FORMAT,
        "run": record.run,
        "split": record.split,
        "windows": record.windows,
        "files": record.files,
    }
    write_bytes_atomic(path, (json.dumps(document, indent=1) + "\n").encode())
    return path


def read_record(project: Project, split: str) -> Record:
    """The saved record of a split.

    Raises
    ------
    UsageError
        None was saved.
    RunError
        The file is damaged.
    """
    path = _path(project, split)
    if not path.is_file():
        raise UsageError(
            f"nothing was saved for split {split} (no `{path}`). Run: earmark evaluate appliance --split {split} --save"
        )
    try:
        document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return Record(document["run"], document["split"], document["windows"], document["files"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"`{path}` is no record of an evaluation ({error}). Save it again with --save."
        ) from error


def compare(now: Record, before: Record, *, seed: int = 42) -> Comparison:
    """Compare two evaluations on the windows that both scored; raises UsageError where they share none."""
    names = sorted(now.windows.keys() & before.windows.keys())
    gained = {name: _gained(now.windows[name], before.windows[name]) for name in names}
    total, count = (np.array([gained[name][k] for name in names], dtype=np.float64) for k in (0, 1))
    if not count.sum():
        raise UsageError(
            f"`{now.run}` and the saved `{before.run}` share no window of split {now.split}; expected the same "
            "recordings, cut the same way. Save anew with --save."
        )
    low = high = float("nan")
    if len(names) >= FEWEST_RECORDINGS:
        draws = np.concatenate(
            [weights @ total / (weights @ count) for weights in bootstrap_weights(names, seed=seed)]
        )
        low, high = np.quantile(draws, (0.025, 0.975)).tolist()
    files = sorted(now.files.keys() & before.files.keys())
    n_before, n_now = (sum(record.files[name] for name in files) for record in (before, now))
    return Comparison(before.run, float(total.sum() / count.sum()), low, high, n_before, n_now)


def _gained(now: Mapping[str, bool], before: Mapping[str, bool]) -> tuple[int, int]:
    """Right windows gained, and windows that both have."""
    shared = now.keys() & before.keys()
    return sum(now[id] - before[id] for id in shared), len(shared)


def _path(project: Project, split: str) -> Path:
    return project.data_folder / FOLDER / f"{split}.json"
