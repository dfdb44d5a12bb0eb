"""One training from recipe to run folder; killed anywhere, it continues.

Cross-validate, fit on all rows, score out of fold, write.

State of an unfinished training lives in ``<root>/<task>/.work/<key>/`` under the recipe's key (see
`earmark.training.recipe`) and is removed when the run is written. A finished run with the same key is
returned as it is. An ensemble is blended from the runs of its members, which are trained first where they
are missing.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.errors import RunError, UsageError
from earmark.models.classifier import Classifier
from earmark.models.estimator import Floats
from earmark.training.blend import Blend, blend
from earmark.training.crossval import Event, OnEvent, OutOfFold, cross_validate
from earmark.training.fit import final_length, fit_final
from earmark.training.ranking import Metrics, pick
from earmark.training.recipe import Recipe, code_hash, digest
from earmark.training.runs import Run, RunWriter, clean_partial, find_run
from earmark.training.work import WORK_AGE_S, locked, work_folder

if TYPE_CHECKING:
    import polars as pl

    from earmark.data.dataset import Dataset

__all__ = ["Trained", "out_of_fold_table", "scores_of", "train"]


@dataclass(frozen=True)
class Trained:
    """A finished run, and whether it was found rather than made."""

    run: Run
    reused: bool


def train(
    recipe: Recipe,
    dataset: Dataset,
    *,
    root: str | Path,
    task: str,
    metrics: Metrics,
    rank_by: str,
    hashes: Mapping[str, str] | None = None,
    settings: Mapping[str, Any] | None = None,
    slug: str | None = None,
    resume: bool = True,
    reuse: bool = True,
    on_event: OnEvent | None = None,
    auxiliary: Dataset | None = None,
) -> Trained:
    """Train `recipe` on `dataset` and leave a run.

    Parameters
    ----------
    recipe : Recipe
    dataset : Dataset
        Training rows with folds; test rows are not in it.
    root, task : path, str
        The run goes to ``<root>/<task>/<time>-<slug>/``.
    metrics : mapping
        Name -> metric with ``function(y, probabilities)`` and ``direction``; all are scored out of fold.
    rank_by : str
        The metric by which runs are ranked, and by which blend weights are chosen.
    hashes : mapping, optional
        More hashes that belong to the data's identity, e.g. ``split``, ``features``; part of the key and of
        ``run.toml``.
    settings : mapping, optional
        Anything else worth recording in ``run.toml``, e.g. the command's configuration; not part of the key.
    slug : str, optional
        Words for the folder's name; default the algorithm.
    resume : bool
        Continue what a killed training of the same key left; otherwise it is discarded.
    reuse : bool
        Return a finished run of the same key instead of training.
    on_event : callable, optional
        Called with dicts: epochs and folds as in `cross_validate`, and ``{"event": "run", "name": ...,
        "reused": ...}``.
    auxiliary : Dataset, optional
        Rows of another source, which train as the recipe's strategy says and are scored beside, never in, the
        run's scores.

    Returns
    -------
    Trained

    Raises
    ------
    RunError
        If another process is training the same key.
    """
    pick(metrics, rank_by)
    given = (metrics, rank_by, hashes or {}, settings or {}, slug, on_event, auxiliary)
    job = _Training(recipe, dataset, Path(root), task, *given)
    found = find_run(root, task, job.key) if reuse else None
    run = found or job.run(resume=resume, reuse=reuse)
    if on_event is not None:
        on_event({"event": "run", "name": run.name, "path": str(run.path), "reused": found is not None})
    return Trained(run, found is not None)


@dataclass(frozen=True)
class _Scored:
    """What a run is written from."""

    probabilities: Floats
    final: Classifier
    fold_classifiers: Mapping[int, Classifier]
    lines: list[Event]
    notes: Mapping[str, Any]
    auxiliary: Floats | None


@dataclass(frozen=True)
class _Training:
    recipe: Recipe
    dataset: Dataset
    root: Path
    task: str
    metrics: Metrics
    rank_by: str
    hashes: Mapping[str, str]
    settings: Mapping[str, Any]
    slug: str | None
    on_event: OnEvent | None
    auxiliary: Dataset | None

    @property
    def key(self) -> str:
        ranked = {"rank_by": self.rank_by} if self.recipe.members() else {}
        return self.recipe.key(self._data_hashes() | dict(self.hashes) | ranked)

    def _data_hashes(self) -> dict[str, str]:
        other = {} if self.auxiliary is None else {"auxiliary": self.auxiliary.hash}
        return {"dataset": self.dataset.hash} | other

    def run(self, *, resume: bool, reuse: bool) -> Run:
        work, start = work_folder(self.root, self.task, self.key), perf_counter()
        with locked(work.with_suffix(".lock")):
            if not resume:
                shutil.rmtree(work, ignore_errors=True)
            # The process that held the lock a moment ago may have finished this very training.
            found = find_run(self.root, self.task, self.key) if reuse else None
            if found is not None:
                return found
            scored = self._blended(resume, reuse) if self.recipe.members() else self._fitted(work)
            run = self._write(scored, perf_counter() - start)
            shutil.rmtree(work, ignore_errors=True)
        clean_partial(work.parent, older_than_s=WORK_AGE_S, pattern="*")
        return run

    def _fitted(self, work: Path) -> _Scored:
        recipe, data = self.recipe, self.dataset
        out = cross_validate(
            lambda: recipe.make(data.classes),
            data,
            class_weight=recipe.class_weight,
            validation_fraction=recipe.validation_fraction,
            seed=recipe.seed,
            work=work,
            on_event=self.on_event,
            strategy=recipe.strategy,
            auxiliary=self.auxiliary,
        )
        length = final_length(out.lengths)
        final = fit_final(
            lambda: recipe.make(data.classes),
            data,
            length=length,
            class_weight=recipe.class_weight,
            checkpoint=work / "final.state",
            on_event=self.on_event,
            strategy=recipe.strategy,
            auxiliary=self.auxiliary,
            seed=recipe.seed,
            validation_fraction=recipe.validation_fraction,
        )
        lengths = [kept for kept in out.lengths if kept is not None]
        notes = {"final_length": length, "fold_lengths": lengths, "warnings": final.warnings}
        lines = _lines(out) + [{"stage": "final"} | epoch for epoch in final.estimator.history]
        of_folds = dict(zip(out.names, out.classifiers, strict=True))
        return _Scored(out.probabilities, final, of_folds, lines, notes, out.auxiliary)

    def _blended(self, resume: bool, reuse: bool) -> _Scored:
        """From the members' runs; nothing is fitted here but the weights."""
        runs = [self._member(member, resume, reuse) for member in self.recipe.members()]
        data, metric = self.dataset, pick(self.metrics, self.rank_by)
        members = [_probabilities(run.out_of_fold(), data) for run in runs]
        fixed = self.recipe.fixed_weights()
        mix = blend(members, data.y, data.folds, metric.function, metric.direction, fixed=fixed)
        by_run = [run.fold_classifiers() for run in runs]
        folds = {
            name: _joined([found[name] for found in by_run], mix.fold_weights[name]) for name in by_run[0]
        }
        final = _joined([run.classifier() for run in runs], mix.weights)
        names = [run.name for run in runs]
        notes = {"members": names, "weights": list(mix.weights), "warnings": final.warnings}
        return _Scored(mix.probabilities, final, folds, _weight_lines(mix), notes, self._mixed(runs, mix))

    def _mixed(self, runs: Sequence[Run], mix: Blend) -> Floats | None:
        """Auxiliary rows, blended with the weights of the fold that left them out."""
        other = self.auxiliary
        tables = [run.auxiliary_out_of_fold() for run in runs]
        if other is None or any(table is None for table in tables):
            return None
        members = [_probabilities(table, other) for table in tables if table is not None]
        return mix.of_folds(members, other.folds)

    def _member(self, recipe: Recipe, resume: bool, reuse: bool) -> Run:
        return train(
            recipe,
            self.dataset,
            root=self.root,
            task=self.task,
            metrics=self.metrics,
            rank_by=self.rank_by,
            hashes=self.hashes,
            settings=self.settings,
            resume=resume,
            reuse=reuse,
            on_event=self.on_event,
            auxiliary=self.auxiliary,
        ).run

    def _write(self, scored: _Scored, seconds: float) -> Run:
        scores, other = scores_of(self.metrics, self.dataset, scored.probabilities), self.auxiliary
        beside = (
            None
            if other is None or scored.auxiliary is None
            else scores_of(self.metrics, other, scored.auxiliary)
        )
        with RunWriter(self.root, self.task, self.slug or _slug(self.recipe)) as writer:
            scored.final.save(writer.path)
            for name, classifier in scored.fold_classifiers.items():
                classifier.save(writer.path / "folds" / str(name))
            writer.write_out_of_fold(out_of_fold_table(self.dataset, scored.probabilities))
            if other is not None and scored.auxiliary is not None:
                writer.write_auxiliary_out_of_fold(out_of_fold_table(other, scored.auxiliary))
            lines = scored.lines + _score_lines(scores, np.unique(self.dataset.folds).tolist())
            writer.write_metrics(scores, lines, auxiliary=beside)
            writer.write_config(self._config(scored.notes, seconds))
        assert writer.run is not None
        return writer.run

    def _config(self, notes: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        data = self.dataset
        return {
            "format": 1,
            "task": self.task,
            "key": self.key,
            "created": datetime.now(UTC).isoformat(timespec="microseconds"),
            "seconds": round(seconds, 3),
            "rank_by": self.rank_by,
            "classes": list(data.classes),
            "rows": len(data.y),
            "columns": len(data.columns),
            "folds": len(np.unique(data.folds)),
            "groups": len(np.unique(data.groups)),
            "auxiliary_rows": 0 if self.auxiliary is None else len(self.auxiliary),
            "recipe": self.recipe.settings(),
            "fit": dict(notes),
            "hashes": self._data_hashes()
            | {"rows": _rows_hash(data)}
            | dict(self.hashes)
            | {"code": code_hash()},
            "versions": self.recipe.versions(),
            "settings": dict(self.settings),
        }


def scores_of(metrics: Metrics, data: Dataset, probabilities: Floats) -> dict[str, dict[str, Any]]:
    """What `RunWriter.write_metrics` takes: of all rows and of each fold's, None where a score is undefined."""
    y, fold, scores = data.y, data.folds, {}
    for name, metric in metrics.items():
        of_folds = [_finite(metric.function(y[fold == f], probabilities[fold == f])) for f in np.unique(fold)]
        value = _finite(metric.function(y, probabilities))
        scores[name] = {"value": value, "direction": metric.direction, "folds": of_folds}
    return scores


def _slug(recipe: Recipe) -> str:
    return (
        f"{recipe.algorithm} {recipe.strategy.label}" if recipe.strategy.uses_auxiliary else recipe.algorithm
    )


def _joined(members: Sequence[Classifier], weights: Sequence[float]) -> Classifier:
    """One classifier from members that preprocess alike."""
    from earmark.models.blended import Blended

    first = members[0]
    if any(member.preprocess.to_json() != first.preprocess.to_json() for member in members):
        raise UsageError(
            "The members of the ensemble were preprocessed differently. Train them with the same recipe."
        )
    blended = Blended.of([member.estimator for member in members], weights)
    return Classifier(blended, first.classes, first.preprocess, first.columns)


def _lines(out: OutOfFold) -> list[Event]:
    """Epochs of each fold; seconds are left out, so that equal trainings leave equal files."""
    pairs = zip(out.names, out.histories, strict=True)
    return [{"stage": f"fold-{name}"} | epoch for name, history in pairs for epoch in history]


def _weight_lines(mix: Blend) -> list[Event]:
    chosen = mix.fold_weights.items()
    lines: list[Event] = [{"stage": f"fold-{name}", "weights": list(weights)} for name, weights in chosen]
    return [*lines, {"stage": "final", "weights": list(mix.weights)}]


def _score_lines(scores: Mapping[str, Mapping[str, Any]], folds: Sequence[int]) -> list[Event]:
    return [
        {"stage": f"fold-{fold}", "scores": {name: score["folds"][i] for name, score in scores.items()}}
        for i, fold in enumerate(folds)
    ]


def out_of_fold_table(dataset: Dataset, probabilities: Floats) -> pl.DataFrame:
    """What `RunWriter.write_out_of_fold` takes."""
    import polars as pl

    columns: dict[str, Any] = {
        "id": list(dataset.ids),
        "group": dataset.groups.tolist(),
        "fold": dataset.folds,
        "label": dataset.y,
        "source": dataset.sources.tolist(),
    }
    by_class = {f"probability_{name}": probabilities[:, i] for i, name in enumerate(dataset.classes)}
    return pl.DataFrame(columns | by_class)


def _probabilities(table: pl.DataFrame, dataset: Dataset) -> Floats:
    if table["id"].to_list() != list(dataset.ids):
        raise RunError(
            "A member's out-of-fold rows are not the dataset's rows in their order. Train the member again."
        )
    return table.select(f"probability_{name}" for name in dataset.classes).to_numpy().astype(np.float32)


def _rows_hash(dataset: Dataset) -> str:
    """Of what is scored, whatever the features: runs that share it may be compared."""
    rows = [dataset.ids, dataset.y.tolist(), dataset.folds.tolist(), dataset.groups.tolist(), dataset.classes]
    return digest(rows)


def _finite(score: Any) -> float | None:
    """Undefined scores become null, which JSON has, where NaN is not JSON."""
    value = float(score)
    return value if math.isfinite(value) else None
