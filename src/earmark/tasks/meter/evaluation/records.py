"""Records of evaluations that others are measured against: which files a run got right, and whether one got worse.

A record is one JSON file, ``<data folder>/records/<UTC time>-<run>.json``: ``format``, ``when``, ``status``
(``accepted`` or ``rejected``), ``run`` with its key and its members, ``command``, ``label_set``, ``hashes``, the scores
and per file the label and the answer. A run is compared with the newest accepted record on the same files and label
set; one that is worse is stored as rejected and changes nothing.

Worse is: in total or in a class, McNemar's test finds the loss significant (p < 0.05); in a strict comparison, a single
file fewer. A record without a predecessor is accepted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import RunError
from earmark.evaluation.counts import McNemar, mcnemar

__all__ = [
    "Answers",
    "Regression",
    "compare",
    "newest_accepted",
    "read_records",
    "regressions",
    "write_record",
]

FORMAT = 1
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Answers:
    """File -> label and answer."""

    by_file: Mapping[str, tuple[str, str]]

    def right(self, files: Sequence[str]) -> np.ndarray:
        """Whether the answer is the label, for these files."""
        return np.array([self.by_file[name][0] == self.by_file[name][1] for name in files], dtype=bool)

    def same_items(self, other: Answers) -> bool:
        """Whether both answer the same files with the same labels."""
        mine = {name: label for name, (label, _) in self.by_file.items()}
        return mine == {name: label for name, (label, _) in other.by_file.items()}


@dataclass(frozen=True)
class Regression:
    """What was compared (``total`` or a class), files right before and now, the test, and whether it got worse."""

    of: str
    before: int
    now: int
    test: McNemar
    is_worse: bool

    def to_json(self) -> dict[str, Any]:
        """All of it, the test's numbers beside."""
        counts = {"gained": self.test.only_first, "lost": self.test.only_second, "p": self.test.p}
        return {"of": self.of, "before": self.before, "now": self.now, **counts, "is_worse": self.is_worse}


def compare(now: Answers, before: Answers, *, strict: bool = False) -> tuple[Regression, ...]:
    """The total, then each class; both must answer the same files with the same labels."""
    if not now.same_items(before):
        raise RunError(
            "The two records answer other files or labels; expected the same ones. Save a new record first."
        )
    files = sorted(now.by_file)
    labels = [now.by_file[name][0] for name in files]
    parts = {"total": files}
    for label in dict.fromkeys(sorted(labels, key=lambda text: (len(text), text))):
        parts[label] = [name for name, own in zip(files, labels, strict=True) if own == label]
    return tuple(_regression(of, names, now, before, strict) for of, names in parts.items())


def _regression(of: str, files: Sequence[str], now: Answers, before: Answers, strict: bool) -> Regression:
    new, old = now.right(files), before.right(files)
    test = mcnemar(new, old)
    lost = int(old.sum()) - int(new.sum())
    return Regression(of, int(old.sum()), int(new.sum()), test, lost > 0 and (strict or test.p < SIGNIFICANT))


def regressions(found: Sequence[Regression]) -> list[str]:
    """A sentence for each that is worse."""
    return [
        f"{one.of}: {one.before} -> {one.now} right ({one.test.only_second} lost, {one.test.only_first} gained, "
        f"p = {one.test.p:.3f})"
        for one in found
        if one.is_worse
    ]


def read_records(folder: Path) -> list[dict[str, Any]]:
    """All records, oldest first; raises RunError for one that cannot be read."""
    found = []
    for path in sorted(folder.glob("*.json")):
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["format"] > FORMAT:
                raise ValueError(f"format {record['format']}")
        except (ValueError, KeyError, TypeError) as error:
            raise RunError(
                f"`{path}` is no record of an evaluation ({error}). Remove it, or update earmark."
            ) from error
        found.append(record)
    return found


def newest_accepted(
    records: Sequence[Mapping[str, Any]], answers: Answers, label_set: str
) -> Mapping[str, Any] | None:
    """The newest accepted record on the same files and label set, or None."""
    same = [
        record
        for record in records
        if record["status"] == "accepted"
        and record["label_set"] == label_set
        and answers_of(record).same_items(answers)
    ]
    return same[-1] if same else None


def answers_of(record: Mapping[str, Any]) -> Answers:
    """What a record says of each file."""
    return Answers({name: (label, answer) for name, (label, answer) in record["answers"].items()})


def write_record(
    folder: Path, answers: Answers, *, status: str, run: str, label_set: str, **more: Any
) -> Path:
    """Write a record and return its path; `more` are further JSON values."""
    when = datetime.now(UTC)
    record = {
        "format": FORMAT,
        "when": when.isoformat(timespec="microseconds"),
        "status": status,
        "run": run,
        "label_set": label_set,
        **more,
        "answers": {name: list(pair) for name, pair in sorted(answers.by_file.items())},
    }
    path = folder / f"{when:%Y%m%d-%H%M%S-%f}-{run}-{label_set}.json"
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(path, (json.dumps(record, indent=1, allow_nan=False) + "\n").encode())
    return path
