"""The search of `grid meter`: views and parameters, each view with a journal of its own, then a finale over seeds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import RunError, UsageError
from earmark.evaluation.metrics import METRICS
from earmark.tasks.meter.training.settings import seed_of
from earmark.tasks.project import Project
from earmark.tasks.verbs.grid import open_search
from earmark.tasks.verbs.train import TrainOptions
from earmark.tasks.verbs.train import train as run_train
from earmark.training.finale import Finalist, play_finale, remove_others
from earmark.training.grid import Point, Search
from earmark.training.production import history
from earmark.training.pruning import Pruning
from earmark.training.ranking import ranked
from earmark.training.runs import Run, load_run

__all__ = ["GRIDS", "MeterSearch", "Row", "best_of_search", "keep_as_best"]

GRIDS: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "residual_mlp": {
        "learning_rate": (3e-4, 2e-4),
        "hidden": (128, 256, 384, 512, 756, 1024),
        "dropout_scale": (1.0, 1.5, 2.0),
        "n_blocks": (1, 2, 3),
    },
    "ft_transformer": {
        "learning_rate": (8e-4, 3e-4),
        "width": (64, 128),
        "n_layers": (1, 2, 3),
        "dropout_scale": (1.0, 2.0),
    },
    "hybrid": {"learning_rate": (3e-4, 2e-4), "hidden": (256, 512), "dropout_scale": (1.0, 1.5)},
}
"""What is searched where nothing was named, for models for which the task declares no grid."""

_BEST_FILE = "best.json"


@dataclass(frozen=True)
class Row:
    """A point of one view."""

    view: str
    point: Point

    @property
    def values(self) -> dict[str, Any]:
        """The view and the point's values."""
        return {"view": self.view, **self.point.values}


@dataclass(frozen=True)
class MeterSearch:
    """Searches of one model, a view each.

    Parameters
    ----------
    project : Project
    algorithm : str
    options : TrainOptions
        What stays equal at all points.
    searches : mapping of view to Search
    """

    project: Project
    algorithm: str
    options: TrainOptions
    searches: Mapping[str, Search]

    @classmethod
    def open(
        cls,
        project: Project,
        algorithm: str,
        options: TrainOptions,
        *,
        views: Sequence[str] = (),
        space: Mapping[str, Sequence[Any]] | None = None,
        pruning: Pruning | None = None,
    ) -> MeterSearch:
        """The searches over `space`, or the model's own grid; views default to that of the options.

        Raises
        ------
        UsageError
            There is no grid for the model, or it names what the model does not have.
        """
        chosen = space or project.task.grids.get(algorithm) or GRIDS.get(algorithm)
        if chosen is None:
            raise UsageError(f"There is no grid for {algorithm}. Name what is searched: --set NAME=V1,V2")
        names = views or (options.features or project.feature_sets()[0].name,)
        searches = {}
        for name in names:
            opened = open_search(
                project, algorithm, options=replace(options, features=name), space=chosen, n_folds=None
            )
            searches[project.task.features(name).name] = replace(opened, pruning=pruning)
        return cls(project, algorithm, options, searches)

    @property
    def metric(self) -> str:
        """What ranks."""
        return next(iter(self.searches.values())).rank_by

    def rows(self) -> list[Row]:
        """All points, view by view."""
        return [Row(view, point) for view, search in self.searches.items() for point in search.points()]

    def summary(self) -> list[Row]:
        """Done points of all views, best first."""
        done = [row for row in self.rows() if row.point.status == "done"]
        return [done[i] for i in ranked([row.point.score for row in done], METRICS[self.metric].direction)]

    def run(
        self,
        *,
        workers: int = 1,
        limit: int | None = None,
        retry_pruned: bool = False,
        threads: int | None = None,
        on_point: Callable[[str, Mapping[str, Any]], None] | None = None,
    ) -> None:
        """Compute what is not done; `on_point` hears of each point that ends, with its view."""
        left = limit
        for view, search in self.searches.items():
            settled = ("done",) if retry_pruned else ("done", "pruned")
            todo = sum(point.status not in settled for point in search.points())
            if left is not None and left < 1:
                return
            search.run(
                workers=workers,
                limit=left,
                retry_pruned=retry_pruned,
                threads=threads,
                on_event=None if on_point is None else lambda event, view=view: on_point(view, event),  # type: ignore[misc]
            )
            left = None if left is None else left - min(left, todo)

    def reset(self, *, with_runs: bool = False) -> int:
        """Forget points and their logs, and with them the finale's choice; the finale's runs as well if asked."""
        held = sum(search.reset() for search in self.searches.values())
        for search in self.searches.values():
            shutil.rmtree(search.log_folder, ignore_errors=True)
        best_file = _best_file(self.project)
        if with_runs and best_file.exists():
            record = json.loads(best_file.read_text(encoding="utf-8"))
            used = {entry["run"] for entry in history(self.project.runs_folder, self.project.task.name)}
            for name in record["runs"]:
                if name not in used:
                    shutil.rmtree(self._runs / name, ignore_errors=True)
        best_file.unlink(missing_ok=True)
        return held

    def finale(
        self,
        *,
        top: int,
        n_seeds: int,
        keep_top: int = 0,
        on_event: Callable[[Mapping[str, Any]], None] | None = None,
    ) -> list[Finalist]:
        """The best `top` points over `n_seeds` seeds, best first; the winner is what `best_of_search` then gives.

        Raises
        ------
        UsageError
            No point is done.
        """
        best = self.summary()[:top]
        if not best:
            raise UsageError("No point of the search is done, so there is no finale. Run the search first.")
        seed = self.project.settings.seed

        def fit(values: Mapping[str, Any], seed: int) -> Run:
            options = self._options_of(values, seed)
            (run,) = run_train(self.project, options, on_event=on_event).runs
            return run

        finalists = play_finale(
            [row.values for row in best],
            range(seed, seed + n_seeds),
            fit,
            metric=self.metric,
            direction=METRICS[self.metric].direction,
        )
        winner = finalists[0]
        keep_as_best(
            self.project,
            winner.best_run(METRICS[self.metric].direction),
            values=dict(winner.values),
            metric=self.metric,
            mean=winner.mean,
            spread=winner.spread,
            runs=[run.name for one in finalists for run in one.runs],
        )
        used = [entry["run"] for entry in history(self.project.runs_folder, self.project.task.name)]
        remove_others(finalists, keep_top, used)
        return finalists

    def _options_of(self, values: Mapping[str, Any], seed: int) -> TrainOptions:
        """The training of a point with a seed."""
        fixed = dict((self.options.parameters or {}).get(self.algorithm, {}))
        own = {
            name: v for name, v in values.items() if name not in ("view", "class_weight") and "." not in name
        }
        starts = "preprocess."
        preprocess = {n.removeprefix(starts): v for n, v in values.items() if n.startswith(starts)}
        weights = (
            {"balanced": "weights", None: "none"}[values["class_weight"]]
            if "class_weight" in values
            else None
        )
        return replace(
            self.options,
            features=values["view"],
            parameters={self.algorithm: {**fixed, **own, **seed_of(self.algorithm, seed)}},
            preprocess={**self.options.preprocess, **preprocess},
            balance=weights or self.options.balance,
        )

    @property
    def _runs(self) -> Path:
        return self.project.runs_folder / self.project.task.name


def keep_as_best(project: Project, run: Run, **found: Any) -> None:
    """Let ``best`` be this run; `found` is recorded beside it."""
    record = {"run": run.name, "runs": [run.name], **found}
    path = _best_file(project)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(path, (json.dumps(record, indent=1) + "\n").encode())


def _best_file(project: Project) -> Path:
    return project.runs_folder / project.task.name / ".grid" / _BEST_FILE


def best_of_search(project: Project) -> Run | None:
    """What the name ``best`` stands for: the last that was kept, by a finale or by a training; None without any.

    Raises
    ------
    RunError
        The record of it cannot be read, or its run is gone.
    """
    path = _best_file(project)
    if not path.exists():
        return None
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["run"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"`{path}` cannot be read ({error}). Remove it and run `earmark grid meter` again."
        ) from error
    return load_run(path.parent.parent / name, task=project.task.name)
