"""A search over parameter values that can be stopped anywhere and goes on where it was.

Every point that was computed is one line of a journal (JSON lines). A point is known by a key: the hash of
recipe, data, folds, code and library versions; with the same key it is never computed again, with another
(new data, edited code) it is. A failed point is a line too, and is tried again by the next search. A line
is written in one piece and forced to the disk; a process killed while writing leaves a torn last line,
which is skipped, so at most the point in flight is lost. A point that falls far behind the best can be ended early
(`earmark.training.pruning`); it is then a line of status ``pruned`` and is left alone unless it is asked for. What
happens in a point is written to a log of its own, beside the journal.

Points are ranked by the cross-validated metric in its own direction. The winner's score is the best of many
and so a little too good; only folds or data that took no part in the search tell how good it is.
"""

from __future__ import annotations

import itertools
import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import RunError, UsageError
from earmark.models.constraints import check_parameters, closest
from earmark.store.lock import alone
from earmark.training.crossval import OnEvent, cross_validate
from earmark.training.fit import final_length
from earmark.training.folds import regrouped
from earmark.training.pruning import PrunedError, Pruning, Target, Watch
from earmark.training.ranking import Direction, Metrics, pick, ranked
from earmark.training.recipe import Recipe

if TYPE_CHECKING:
    from earmark.data.dataset import Dataset

__all__ = ["Point", "Search", "Space", "read_journal"]

Space = Mapping[str, Sequence[Any]]
"""Parameter -> values to try. ``preprocess.top_k`` and the like reach the preprocessing, ``class_weight``
the recipe.
"""

_RECIPE_FIELDS = ("class_weight", "validation_fraction")


@dataclass(frozen=True)
class Point:
    """One combination of values.

    Attributes
    ----------
    key : str
    values : dict
        Parameter -> value.
    status : {"done", "failed", "pruned", "pending"}
    score : float
        Cross-validated metric; NaN unless done.
    folds : tuple of float
        Score of each fold.
    seconds : float
    error : str
        Why it failed or was ended early; empty otherwise.
    length : int
        Median of the rounds or epochs that the folds kept; 0 where there are none.
    validation : float
        Mean over folds of the best balanced accuracy on the rows of early stopping; NaN where none is measured.
    """

    key: str
    values: Mapping[str, Any]
    status: str = "pending"
    score: float = math.nan
    folds: tuple[float, ...] = ()
    seconds: float = 0.0
    error: str = ""
    length: int = 0
    validation: float = math.nan


@dataclass(frozen=True)
class Search:
    """A grid over one recipe, on one dataset, with one journal.

    Parameters
    ----------
    recipe : Recipe
        What stays equal at all points.
    space : mapping
        Parameter -> values; the points are all combinations, the last parameter varying fastest.
    dataset : Dataset
    metrics : mapping
    rank_by : str
        Name of the metric that ranks.
    journal : Path
        File of finished points, made if absent.
    n_folds : int, optional
        Redraw the folds, e.g. 3 for a quick search; default the dataset's own folds.
    pruning : Pruning, optional
        When a point is ended early; default never.
    """

    recipe: Recipe
    space: Space
    dataset: Dataset
    metrics: Metrics
    rank_by: str
    journal: Path
    n_folds: int | None = None
    pruning: Pruning | None = None

    def __post_init__(self) -> None:
        pick(self.metrics, self.rank_by)
        _check_space(self.recipe, self.space)

    @property
    def log_folder(self) -> Path:
        """Where each point writes what happens in it."""
        return self.journal.with_suffix(".logs")

    @property
    def direction(self) -> Direction:
        """Which way the ranking metric is better."""
        return pick(self.metrics, self.rank_by).direction

    def points(self) -> list[Point]:
        """All points in the grid's order, each with what the journal knows of it: what a dry run shows."""
        known = {point.key: point for point in read_journal(self.journal)}
        return [known.get(point.key, point) for point in self._grid()]

    def run(
        self,
        *,
        workers: int = 1,
        limit: int | None = None,
        on_event: OnEvent | None = None,
        retry_pruned: bool = False,
        threads: int | None = None,
    ) -> list[Point]:
        """Compute the points that are not done, journal each, and return `points`.

        Parameters
        ----------
        workers : int
            Processes; 1 computes here.
        limit : int, optional
            Compute at most so many.
        on_event : callable, optional
            Called with ``{"event": "point", "done": i, "total": n, "values": ..., "status": ..., "score":
            ...}``.
        retry_pruned : bool
            Compute points that were ended early again.
        threads : int, optional
            Of numeric libraries, per point; default the cores divided by the processes.

        Returns
        -------
        list of Point

        Raises
        ------
        RunError
            Another process is searching with this journal: it would compute the same points.

        Notes
        -----
        An interrupt (Ctrl-C) passes through; all points finished before it are in the journal.
        """
        settled = ("done",) if retry_pruned else ("done", "pruned")
        with alone(self.journal.with_suffix(".lock"), self._busy):
            todo = [point for point in self.points() if point.status not in settled][:limit]
            for done, point in enumerate(self._computed(todo, self._dataset(), workers, threads), start=1):
                _append(self.journal, point)
                if on_event is not None:
                    told = {name: getattr(point, name) for name in ("values", "status", "score", "error")}
                    on_event({"event": "point", "done": done, "total": len(todo)} | told)
        return self.points()

    def _busy(self, process: str) -> RunError:
        return RunError(
            f"Process {process} is searching with `{self.journal}`. Wait for it, or stop it and give this search more "
            "points at a time."
        )

    def summary(self) -> list[Point]:
        """Done points from best to worst; among equals the earlier in the grid."""
        done = [point for point in self.points() if point.status == "done"]
        return [done[i] for i in ranked([point.score for point in done], self.direction)]

    def best(self) -> Recipe:
        """The recipe with the best point's values; raises UsageError if no point is done."""
        points = self.summary()
        if not points:
            raise UsageError(f"No point of the search in `{self.journal}` is done. Run the search first.")
        return _with_values(self.recipe, points[0].values)

    def reset(self) -> int:
        """Forget the journal; returns how many points it held."""
        held = len(read_journal(self.journal))
        self.journal.unlink(missing_ok=True)
        return held

    def _grid(self) -> list[Point]:
        names = list(self.space)
        data = {"dataset": self.dataset.hash, "folds": str(self.n_folds), "metric": self.rank_by}
        points = []
        for combination in itertools.product(*self.space.values()):
            values = dict(zip(names, combination, strict=True))
            points.append(Point(_with_values(self.recipe, values).key(data), values))
        return points

    def _dataset(self) -> Dataset:
        if self.n_folds is None:
            return self.dataset
        return regrouped(self.dataset, self.n_folds, seed=self.recipe.seed)

    def _computed(
        self, todo: Sequence[Point], dataset: Dataset, workers: int, threads: int | None
    ) -> Iterator[Point]:
        """Points as they finish."""
        job = _Job(self.recipe, dataset, self.metrics, self.rank_by, self.journal, self.pruning)
        if workers <= 1 or len(todo) < 2:
            from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

            with threadpool_limits(limits=threads):
                yield from map(job.compute, todo)
            return
        from joblib import Parallel, delayed, parallel_config

        jobs = (delayed(job.compute)(point) for point in todo)
        with parallel_config(backend="loky", inner_max_num_threads=threads):
            yield from Parallel(n_jobs=workers, return_as="generator_unordered", pre_dispatch="all")(jobs)


def read_journal(path: str | Path) -> list[Point]:
    """The last entry of each key, in order of first appearance; torn lines are skipped, no file is no
    points.
    """
    path, points = Path(path), {}
    if not path.exists():
        return []
    for line in path.read_bytes().split(b"\n"):
        try:
            entry = json.loads(line)
            score = math.nan if entry["score"] is None else entry["score"]
            validation = math.nan if entry.get("validation") is None else entry["validation"]
            numbers = {"score": score, "validation": validation, "folds": tuple(entry["folds"])}
            points[entry["key"]] = Point(**(entry | numbers))
        except (ValueError, TypeError, KeyError):
            continue  # torn by a kill in the middle of a write; its point is simply not done
    return list(points.values())


@dataclass(frozen=True)
class _Job:
    """What computes points; sent to the processes that do."""

    recipe: Recipe
    dataset: Dataset
    metrics: Metrics
    rank_by: str
    journal: Path
    pruning: Pruning | None

    def compute(self, point: Point) -> Point:
        """The point with its score, or why it has none."""
        start = time.perf_counter()
        try:
            found = self._scored(point)
        except PrunedError as reason:
            found = replace(point, status="pruned", error=str(reason), score=math.nan)
        except Exception as error:  # noqa: BLE001  one point's failure, of whatever kind, ends that point only
            text = f"{type(error).__name__}: {error}"
            found = replace(point, status="failed", error=text, score=math.nan)
        return replace(found, seconds=time.perf_counter() - start)

    def _scored(self, point: Point) -> Point:
        recipe, data = _with_values(self.recipe, point.values), self.dataset
        function = pick(self.metrics, self.rank_by).function
        watch = Watch(data, function, self.pruning, self._target(), self._log_of(point))
        out = cross_validate(
            lambda: recipe.make(data.classes),
            data,
            class_weight=recipe.class_weight,
            validation_fraction=recipe.validation_fraction,
            seed=recipe.seed,
            on_event=watch.hear,
            on_fold=watch.judge,
        )
        return replace(
            point,
            status="done",
            score=float(function(data.y, out.probabilities)),
            folds=tuple(out.fold_scores(data.y, function)),
            error="",
            length=final_length(out.lengths) or 0,
            validation=watch.validation,
        )

    def _target(self) -> Target | None:
        """The best point so far, which the journal knows of all processes."""
        done = [point for point in read_journal(self.journal) if point.status == "done"]
        if self.pruning is None or not done or pick(self.metrics, self.rank_by).direction != "higher":
            return None
        best = max(done, key=lambda point: point.score)
        return Target(best.score, best.validation, best.length)

    def _log_of(self, point: Point) -> Path:
        return self.journal.with_suffix(".logs") / f"{point.key}.jsonl"


def _append(path: Path, point: Point) -> None:
    """One line in one write, on the disk before the search goes on."""
    folds = [value if math.isfinite(value) else None for value in point.folds]
    score = point.score if math.isfinite(point.score) else None
    validation = point.validation if math.isfinite(point.validation) else None
    found = {"values": dict(point.values), "score": score, "folds": folds, "validation": validation}
    entry = {**vars(point), **found}
    line = json.dumps(entry, allow_nan=False).encode() + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab+") as file:
        if file.tell() and _last_byte(path) != b"\n":
            line = b"\n" + line  # a torn line stays a line of its own
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def _last_byte(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1)


def _with_values(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    """The recipe with a point's values in their places."""
    fields = {name: value for name, value in values.items() if name in _RECIPE_FIELDS}
    preprocess = {
        name.partition(".")[2]: value for name, value in values.items() if name.startswith("preprocess.")
    }
    params = {name: value for name, value in values.items() if name not in _RECIPE_FIELDS and "." not in name}
    return replace(
        recipe, params=dict(recipe.params) | params, preprocess=dict(recipe.preprocess) | preprocess, **fields
    )


def _check_space(recipe: Recipe, space: Space) -> None:
    """Every name and every value, before the first fit."""
    from earmark.models.preprocess import PARAMETERS
    from earmark.models.registry import make

    known = make(recipe.algorithm, **recipe.params).get_params()
    allowed = [*known, *_RECIPE_FIELDS, *(f"preprocess.{name}" for name in PARAMETERS)]
    unknown = [f"`{name}`{closest(name, allowed)}" for name in space if name not in allowed]
    if unknown:
        raise UsageError(
            f"The search names {', '.join(unknown)}; it can vary {', '.join(allowed)}. Correct the names."
        )
    for name, values in space.items():
        if isinstance(values, str) or not len(values):
            raise UsageError(
                f"The search gives `{name}` the values {values!r}, expected a list of at least one."
            )
        for value in values:
            if name.startswith("preprocess."):
                check_parameters("Preprocess", PARAMETERS, {name.partition(".")[2]: value})
            elif name in known:
                make(recipe.algorithm, **(dict(recipe.params) | {name: value}))
