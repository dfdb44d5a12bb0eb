"""`thresholds --ensemble`: finished runs joined to a new one, their weights chosen on out-of-fold rows.

The runs must have been scored on the same rows and folds; algorithms and features may differ. The scores of the new
run are of rows that took no part in choosing the weights they were mixed with. The sealed test is not touched.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np

from earmark.data.dataset import Dataset
from earmark.errors import RunError, UsageError
from earmark.evaluation.metrics import METRICS
from earmark.features.sets import FeatureSet
from earmark.tasks.probe import feature_probe
from earmark.tasks.project import Project
from earmark.tasks.verbs.rows import RowChoice, rows_of_run
from earmark.tasks.verbs.train import features_hash
from earmark.training.joined import KINDS, JoinedClassifier, Weighing, weigh
from earmark.training.recipe import code_hash, digest
from earmark.training.runs import Run, RunWriter, find_run
from earmark.training.train import out_of_fold_table, scores_of

__all__ = ["Joined", "join_runs"]


@dataclass(frozen=True)
class Joined:
    """The members, the weights of every kind with their honest scores, and the run that was written (None: dry run)."""

    members: tuple[Run, ...]
    metric: str
    weighings: Mapping[str, Weighing]
    scores: Mapping[str, Mapping[str, Mapping[str, Any]]]
    run: Run | None = None

    def rows(self) -> list[dict[str, Any]]:
        """One row per member and kind of weights: its score, accuracy, and the weights."""
        alone = [
            {"what": run.name, **{name: run.metrics[name]["value"] for name in self._shown}, "weights": None}
            for run in self.members
        ]
        return alone + [
            {
                "what": kind,
                **{name: self.scores[kind][name]["value"] for name in self._shown},
                "weights": _short(self.weighings[kind].weights),
            }
            for kind in KINDS
        ]

    @property
    def _shown(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((self.metric, "accuracy", "ece")))

    def to_json(self) -> dict[str, Any]:
        """The document of ``thresholds --ensemble --format json``."""
        return {
            "task": self.members[0].task,
            "members": [run.name for run in self.members],
            "metric": self.metric,
            "kinds": {
                kind: {"weights": self.weighings[kind].weights.tolist(), "scores": self.scores[kind]}
                for kind in KINDS
            },
            "run": None if self.run is None else self.run.name,
        }


def join_runs(
    project: Project, members: Sequence[Run], *, kind: str = "global", dry_run: bool = False
) -> Joined:
    """Choose weights of every kind, and write a run with those of `kind`.

    Parameters
    ----------
    project : Project
    members : sequence of Run
        2 to 4 runs.
    kind : str
        One of `earmark.training.joined.KINDS`.
    dry_run : bool
        Write nothing.

    Raises
    ------
    UsageError
        Too few or too many runs, the same run twice, or no feature set with the columns of all.
    RunError
        A run's data or code changed since, or the runs were scored on different rows or folds.
    """
    started = time.perf_counter()
    _require_different(members)
    tables = [run.out_of_fold() for run in members]
    for run, table in zip(members[1:], tables[1:], strict=True):
        shared = ["id", "fold", "label"]
        if run.classes != members[0].classes or not table.select(shared).equals(tables[0].select(shared)):
            raise RunError(
                f"`{run.name}` was scored on other rows or folds than `{members[0].name}`; expected the same ones. "
                "Train both on the rows that are prepared now."
            )
    for run in members:
        _require_current(project, run)
    view = _view_of_all(project, members)
    dataset = RowChoice.of_run(members[0]).apply(project, project.training_data(view)[0])
    metric = members[0].config["rank_by"]
    columns = [f"probability_{name}" for name in members[0].classes]
    probabilities = [table.select(columns).to_numpy() for table in tables]
    ranking = METRICS[metric]
    weighings = {
        one: weigh(probabilities, dataset.y, dataset.folds, ranking.function, ranking.direction, one)
        for one in KINDS
    }
    scores = {
        one: scores_of(METRICS, dataset, found.probabilities.astype(np.float32))
        for one, found in weighings.items()
    }
    joined = Joined(tuple(members), metric, weighings, scores)
    if dry_run:
        return joined
    return Joined(
        tuple(members), metric, weighings, scores, _written(project, joined, kind, view, dataset, started)
    )


def _require_different(members: Sequence[Run]) -> None:
    if len({run.name for run in members}) < len(members) or len(members) < 2:
        raise UsageError(
            f"{', '.join(run.name for run in members) or 'no runs'}: expected two to four different runs."
        )


def _require_current(project: Project, run: Run) -> None:
    now, trained = rows_of_run(project, run)[0].hash, run.config["hashes"]["dataset"]
    if now != trained:
        raise RunError(
            f"`{run.name}` was trained on data {trained[:8]}, which are {now[:8]} now: labels, splits or feature code "
            "have changed. Train it again."
        )


def _view_of_all(project: Project, members: Sequence[Run]) -> FeatureSet:
    """The narrowest feature set with the columns of all members."""
    sets = [project.task.features(run.config["settings"]["features"]) for run in members]
    wanted = {column for one in sets for column in one.columns}
    fitting = [one for one in project.task.feature_sets.values() if wanted <= set(one.columns)]
    if not fitting:
        raise UsageError(
            f"no feature set of `{project.task.name}` holds the columns of {', '.join(one.name for one in sets)} "
            "together. Join runs whose features lie in one set."
        )
    return min(fitting, key=lambda one: (len(one.columns), one.name != sets[0].name))


def _written(
    project: Project, joined: Joined, kind: str, view: FeatureSet, dataset: Dataset, started: float
) -> Run:
    weighing, members = joined.weighings[kind], joined.members
    key = digest([[run.key for run in members], kind, weighing.weights.tolist(), view.name])
    known = find_run(project.runs_folder, project.task.name, key)
    if known is not None:
        return known
    by_fold = [run.fold_classifiers() for run in members]
    with RunWriter(project.runs_folder, project.task.name, f"joined {kind}") as writer:
        JoinedClassifier(tuple(run.classifier() for run in members), weighing.weights).save(writer.path)
        for name, weights in weighing.fold_weights.items():
            of_fold = tuple(found[name] for found in by_fold)
            JoinedClassifier(of_fold, weights).save(writer.path / "folds" / str(name))
        writer.write_out_of_fold(out_of_fold_table(dataset, weighing.probabilities.astype(np.float32)))
        lines = [
            {"stage": f"fold-{name}", "weights": found.tolist()}
            for name, found in weighing.fold_weights.items()
        ]
        writer.write_metrics(
            joined.scores[kind], [*lines, {"stage": "final", "weights": weighing.weights.tolist()}]
        )
        config = _config(project, joined, kind, view, dataset)
        writer.write_config({**config, "key": key, "seconds": round(time.perf_counter() - started, 3)})
    assert writer.run is not None
    return writer.run


def _config(
    project: Project, joined: Joined, kind: str, view: FeatureSet, dataset: Dataset
) -> dict[str, Any]:
    """The first member's, with what is the joined run's own."""
    first, weights = joined.members[0].config, joined.weighings[kind].weights
    algorithms = [run.algorithm for run in joined.members]
    hashes = {"dataset": dataset.hash, "features": features_hash(project, view), "code": code_hash()}
    return {
        **first,
        "created": datetime.now(UTC).isoformat(timespec="microseconds"),
        "columns": len(view.columns),
        "recipe": {
            **first["recipe"],
            "algorithm": "joined",
            "params": {"members": algorithms, "kind": kind},
            "preprocess": {},
        },
        "fit": {"members": [run.name for run in joined.members], "weights": weights.tolist(), "warnings": []},
        "hashes": {**first["hashes"], **hashes},
        "versions": {name: text for run in joined.members for name, text in run.config["versions"].items()},
        "settings": {**first["settings"], "features": view.name, "probe": feature_probe(view)},
    }


def _short(weights: np.ndarray) -> str:
    """One number per member where all its classes have the same."""
    rows = [sorted({f"{value:g}" for value in row}) for row in weights]
    return " ".join(
        row[0] if len(row) == 1 else "/".join(f"{v:g}" for v in weights[i]) for i, row in enumerate(rows)
    )
