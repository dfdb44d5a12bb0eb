"""The search over settings of a detector, on inner folds of what trains: `grid appliance`.

What a protocol scores takes no part. Of each of its folds the training windows alone are divided again, into blocks of
time, and a point is the mean of what it scores there: first over the inner folds, then the worse of the outer ones,
since a room is heard in both directions and steady results beat one high score. Points are journalled one by one; a
search that was killed goes on where it was, and a point whose settings, data or code changed is computed anew.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.errors import EarmarkError, RunError, UsageError
from earmark.models.constraints import closest
from earmark.store.lock import alone
from earmark.tasks.appliance.protocols import GAP_S, Fold, folds
from earmark.tasks.appliance.training.folds import fit_folds
from earmark.tasks.appliance.training.rows import Rows
from earmark.tasks.appliance.training.scoring import metrics_of
from earmark.tasks.appliance.training.settings import TrainSettings
from earmark.tasks.appliance.training.train import Training

if TYPE_CHECKING:
    from earmark.features.progress import ProgressCallback
    from earmark.tasks.project import Project

__all__ = ["INNER_BLOCK_S", "JOURNAL", "DetectorSearch", "ScoredPoint", "inner_folds"]

JOURNAL = "grid.jsonl"
INNER_BLOCK_S = 30.0
INNER_BLOCKS = 6
SCORE = "log_loss"
"""Of public states, the lower the better: on few recordings it still tells apart what all gets right."""

OnEvent = Callable[[dict[str, Any]], None]


@dataclass(frozen=True)
class ScoredPoint:
    """A point: its values, ``status`` (pending, done, failed), score (NaN unless done) and the score of each fold."""

    key: str
    values: Mapping[str, Any]
    status: str = "pending"
    score: float = math.nan
    folds: tuple[float, ...] = ()
    seconds: float = 0.0
    error: str = ""


@dataclass(frozen=True)
class DetectorSearch:
    """All combinations of `space` around `settings`.

    Parameters
    ----------
    project : Project
    settings : TrainSettings
        What stays equal.
    space : mapping of name to values
        Names are settings of `TrainSettings`, or ``network.<name>`` and ``trees.<name>``.
    """

    project: Project
    settings: TrainSettings
    space: Mapping[str, Sequence[Any]]

    def __post_init__(self) -> None:
        if self.settings.is_leaky:
            raise UsageError("--split windows is a demonstration and cannot be searched. Choose a protocol.")
        known = [
            item.name for item in fields(TrainSettings) if item.name not in ("protocol", "protocol_settings")
        ]
        unknown = [name for name in self.space if name.partition(".")[0] not in known]
        if unknown:
            raise UsageError(
                f"The search cannot vary {', '.join(f'`{name}`{closest(name, known)}' for name in unknown)}; it can "
                f"vary {', '.join(known)}. Correct the names."
            )

    @property
    def journal(self) -> Path:
        """Where points are kept."""
        return self.project.runs_folder / "appliance" / JOURNAL

    def points(self, progress: ProgressCallback | None = None) -> list[ScoredPoint]:
        """All points in the grid's order, with what the journal knows of each."""
        known = _read(self.journal)
        found = [(self._training(values, progress), values) for values in self._values()]
        return [known.get(training.key, ScoredPoint(training.key, values)) for training, values in found]

    def run(
        self,
        *,
        limit: int | None = None,
        on_event: OnEvent | None = None,
        progress: ProgressCallback | None = None,
    ) -> list[ScoredPoint]:
        """Compute the points that are not done, and return all.

        Raises
        ------
        RunError
            Another process searches in this project.
        """
        with alone(self.journal.with_suffix(".lock"), _busy):
            todo = [point for point in self.points(progress) if point.status != "done"][:limit]
            for number, point in enumerate(todo, start=1):
                done = self._computed(point, progress)
                _append(self.journal, done)
                if on_event is not None:
                    on_event({"event": "point", "done": number, "total": len(todo), "point": done})
        return self.points(progress)

    def reset(self) -> int:
        """Forget the journal; returns how many points it held."""
        n = len(_read(self.journal))
        self.journal.unlink(missing_ok=True)
        return n

    def _values(self) -> Iterator[dict[str, Any]]:
        for chosen in itertools.product(*self.space.values()):
            yield dict(zip(self.space, chosen, strict=True))

    def _training(self, values: Mapping[str, Any], progress: ProgressCallback | None) -> Training:
        settings = with_values(self.settings, values)
        return Training.open(self.project, settings, with_baselines=False, progress=progress)

    def _computed(self, point: ScoredPoint, progress: ProgressCallback | None) -> ScoredPoint:
        start = time.perf_counter()
        try:
            training = self._training(point.values, progress)
            scores = [_inner_score(training, fold) for fold in training.folds]
        except EarmarkError as problem:
            seconds = time.perf_counter() - start
            return replace(
                point, status="failed", error=f"{type(problem).__name__}: {problem}", seconds=seconds
            )
        seconds = time.perf_counter() - start
        return replace(
            point, status="done", score=max(scores), folds=tuple(scores), error="", seconds=seconds
        )


def with_values(settings: TrainSettings, values: Mapping[str, Any]) -> TrainSettings:
    """The settings with a point's values in their places."""
    changes: dict[str, Any] = {}
    for name, value in values.items():
        place, _, inner = name.partition(".")
        if inner:
            changes[place] = {**changes.get(place, getattr(settings, place)), inner: value}
        else:
            changes[place] = value
    return replace(settings, **changes)


def inner_folds(rows: Rows, outer: Fold) -> tuple[Rows, tuple[Fold, ...]]:
    """The training windows of a fold as rows of their own, and blocks of time of them: six of a recording, or 30 s."""
    own = Rows(rows.table[np.sort(np.concatenate([outer.train, outer.select]))], rows.room, rows.devices)
    longest_s = float(own.table["end_sec"].max())  # type: ignore[arg-type]
    block_s = min(INNER_BLOCK_S, max(GAP_S, longest_s / INNER_BLOCKS))
    return own, folds(own.table, "blocks", block_s=block_s)


def _inner_score(training: Training, outer: Fold) -> float:
    rows, divided = inner_folds(training.rows, outer)
    kept = np.sort(np.concatenate([outer.train, outer.select]))
    inner = on_rows(training, rows, kept)
    out = fit_folds(rows, inner.table, divided, inner.fit(), training.settings)
    return float(metrics_of(rows, out)[SCORE]["value"])


def on_rows(training: Training, rows: Rows, kept: Any) -> Training:
    """The same training on some of its rows."""
    from earmark.tasks.appliance.training.columns import taken

    return replace(training, rows=rows, table=taken(training.table, kept))


def _busy(process: str) -> RunError:
    return RunError(f"Process {process} is searching in this project. Wait for it, or stop it.")


def _read(path: Path) -> dict[str, ScoredPoint]:
    """The last entry of each key; a line that a kill tore is skipped: its point is simply not done."""
    found: dict[str, ScoredPoint] = {}
    for line in path.read_bytes().split(b"\n") if path.exists() else ():
        try:
            entry = json.loads(line)
            score = math.nan if entry["score"] is None else entry["score"]
            found[entry["key"]] = ScoredPoint(**(entry | {"score": score, "folds": tuple(entry["folds"])}))
        except (ValueError, TypeError, KeyError):
            continue
    return found


def _append(path: Path, point: ScoredPoint) -> None:
    """One line in one write, on the disk before the search goes on."""
    score = point.score if math.isfinite(point.score) else None
    line = json.dumps({**vars(point), "values": dict(point.values), "score": score}).encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(b"\n" + line + b"\n")  # the first break ends a line that a kill tore
        file.flush()
        os.fsync(file.fileno())
