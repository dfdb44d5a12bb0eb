"""What a part of the features is worth: the cross-validated score without it, over seeds.

Parts are the groups of a view, and within `meter.signals` the signals; with `multi` also pairs of groups and the steps
that earlier systems tried. Each is a point of a search of its own journal, so an ablation can be stopped and goes on.
A difference smaller than the spread over seeds says nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from earmark.models.registry import estimator_class
from earmark.tasks.meter.training.settings import seed_summary
from earmark.tasks.project import Project
from earmark.tasks.verbs.grid import open_search
from earmark.tasks.verbs.train import TrainOptions, chosen_features
from earmark.training.grid import Point, Search

__all__ = ["STEPS", "Ablated", "Ablation"]

WHOLE = "none"
_SIGNALS = "meter.signals."
_LEAVE_OUT, _SEED = "preprocess.leave_out", "seed"

_FIRST_STEP = ("meter.beat.slot3_*", "meter.ssm.slot3_*", "meter.signals.autocorr_*", "meter.tempo.*")
_SECOND_STEP = (*_FIRST_STEP, "meter.signals.spacing_2_*")
STEPS: Mapping[str, tuple[str, ...]] = {
    "slot3 + autocorr + tempo": _FIRST_STEP,
    "... + spacing_2": _SECOND_STEP,
    "... + bar_tracking + hcdf": (*_SECOND_STEP, "meter.signals.bar_tracking_*", "meter.signals.hcdf_*"),
}
"""What earlier systems left out together, each step more than the one before; patterns of columns."""


@dataclass(frozen=True)
class Ablated:
    """The score without a part (``none``: with all), its spread over seeds, and how far it lies from all.

    Numbers are None until a seed is done; ``status`` is ``TODO``, ``FAIL`` or ``DONE``, of all seeds.
    """

    left_out: str
    n_columns: int
    score: float | None
    spread: float | None
    delta: float | None
    n_seeds: int
    status: str

    def to_json(self) -> dict[str, Any]:
        """The fields by name."""
        return dict(vars(self))


@dataclass(frozen=True)
class Ablation:
    """The search behind an ablation; `parts` are patterns of columns by the part's name."""

    search: Search
    parts: Mapping[str, tuple[str, ...]]

    @classmethod
    def open(
        cls, project: Project, options: TrainOptions, *, n_seeds: int = 1, multi: bool = False
    ) -> Ablation:
        """The ablation of one algorithm's features; `n_seeds` fits per part where the algorithm draws anything."""
        (algorithm,) = options.algorithms or ()
        parts = _parts(chosen_features(project, options).columns, multi=multi)
        space: dict[str, Sequence[Any]] = {_LEAVE_OUT: tuple(parts.values())}
        if _SEED in estimator_class(algorithm).parameters:
            first = project.settings.seed
            space[_SEED] = tuple(range(first, first + n_seeds))
        search = open_search(project, algorithm, options=options, space=space, n_folds=None)
        journal = search.journal.with_name(f"ablation-{search.journal.name}")
        return cls(replace(search, journal=journal), parts)

    def run(
        self,
        *,
        workers: int = 1,
        threads: int | None = None,
        on_event: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> list[Ablated]:
        """Compute what is not done."""
        self.search.run(workers=workers, threads=threads, on_event=on_event)
        return self.rows()

    def rows(self) -> list[Ablated]:
        """All parts: the whole first, then in the order of the features."""
        points = self.search.points()
        by_part = {
            name: [point for point in points if tuple(point.values[_LEAVE_OUT]) == patterns]
            for name, patterns in self.parts.items()
        }
        whole = _scores(by_part[WHOLE])
        return [self._row(name, of_part, whole) for name, of_part in by_part.items()]

    def _row(self, name: str, points: Sequence[Point], whole: Sequence[float]) -> Ablated:
        columns, patterns = self.search.dataset.columns, self.parts[name]
        n_columns = sum(not _fits(column, patterns) for column in columns)
        failed = any(point.status == "failed" for point in points)
        scores = _scores(points)
        status = "DONE" if len(scores) == len(points) else "FAIL" if failed else "TODO"
        if not scores:
            return Ablated(name, n_columns, None, None, None, 0, status)
        score, spread = seed_summary(scores)
        delta = score - seed_summary(whole)[0] if whole else None
        return Ablated(name, n_columns, score, spread, delta, len(scores), status)


def _scores(points: Iterable[Point]) -> list[float]:
    return [point.score for point in points if point.status == "done"]


def _parts(columns: Sequence[str], *, multi: bool) -> dict[str, tuple[str, ...]]:
    """Patterns by name; a part that is all of the features or nothing of them is left out."""
    names = dict.fromkeys(column.rpartition(".")[0] for column in columns)
    groups: dict[str, tuple[str, ...]] = {name: (f"{name}.*",) for name in names}
    signals = dict.fromkeys(
        column.removeprefix(_SIGNALS).rpartition("_")[0].rpartition("_")[0]
        for column in columns
        if column.startswith(_SIGNALS)
    )
    found = {WHOLE: (), **groups, **{f"{_SIGNALS}{name}": (f"{_SIGNALS}{name}_*",) for name in signals}}
    if multi:
        found |= {f"{a} + {b}": (*groups[a], *groups[b]) for a, b in itertools.combinations(groups, 2)}
        found |= STEPS
    counts = {name: sum(_fits(column, patterns) for column in columns) for name, patterns in found.items()}
    return {name: found[name] for name, n in counts.items() if name == WHOLE or 0 < n < len(columns)}


def _fits(column: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(column, pattern) for pattern in patterns)
