"""`evaluate meter`: scores as the field counts them, on both label sets, by data set, source and style, with controls.

``tuning`` are all training rows, each scored by the model that did not see its group; ``val`` those of them that the
data sets give as validation; ``test`` opens the seal, which the ledger records first. A limit draws items, classes in
proportion, so that a smoke test sees every class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from earmark.data.dataset import Dataset
from earmark.errors import UsageError
from earmark.evaluation.counts import stratified_rows
from earmark.features.progress import ProgressCallback
from earmark.tasks.meter.evaluation.controls import NAME, svm_mfcc, timbre_pieces
from earmark.tasks.meter.evaluation.left_out_sources import LeftOut, leave_sources_out
from earmark.tasks.meter.evaluation.records import (
    Answers,
    Regression,
    answers_of,
    compare,
    newest_accepted,
    read_records,
    regressions,
    write_record,
)
from earmark.tasks.meter.evaluation.scores import MeterScores, score_meters
from earmark.tasks.project import Project
from earmark.tasks.verbs.evaluate import Scored, baselines_of, scored_rows
from earmark.tasks.verbs.rows import rows_of_run
from earmark.training.runs import Run

__all__ = [
    "CUTS",
    "QUICK",
    "SPLITS",
    "MeterEvaluation",
    "MeterOptions",
    "Saved",
    "evaluate_meter",
    "save_record",
]

SPLITS = ("tuning", "val", "test")
QUICK = 100
"""Items of a quick evaluation."""

CUTS = ("dataset", "source", "style", "genre")
"""Columns of the manifest by which scores are shown apart."""

RECORDS_FOLDER = "records"


@dataclass(frozen=True)
class MeterOptions:
    """What is scored.

    Attributes
    ----------
    split : str
        One of `SPLITS`.
    limit : int
        Items, classes in proportion; 0: all.
    meter : str, optional
        Items of this class alone.
    datasets : tuple of str
        Items of these data sets alone; empty: all.
    controls : bool
        Score the baselines and controls as well.
    leave_sources_out : bool
        Fit the model again without each source in turn, and score it there; of training rows alone.
    """

    split: str = "tuning"
    limit: int = 0
    meter: str | None = None
    datasets: tuple[str, ...] = ()
    controls: bool = True
    leave_sources_out: bool = False
    seed: int = 42


@dataclass(frozen=True)
class MeterEvaluation:
    """Scores of a run: overall, on the second label set (None where all labels agree), apart by column, of controls."""

    run: Run
    split: str
    data: Dataset
    p: np.ndarray
    answers: Mapping[str, Mapping[str, Any]]
    scores: MeterScores
    corrected: MeterScores | None
    apart: Mapping[str, Mapping[str, MeterScores]]
    controls: Mapping[str, MeterScores]
    left_out: Sequence[LeftOut] = ()

    @property
    def said(self) -> list[str]:
        """The answer for each item."""
        return [self.data.classes[i] for i in self.p.argmax(axis=1)]

    def rows(self) -> list[dict[str, Any]]:
        """A row per item: what the manifest says of it, label, answer and probabilities."""
        known = [self.answers[id] for id in self.data.ids]
        return [
            {
                "id": id,
                **{name: row.get(name) for name in CUTS},
                "label": self.data.classes[self.data.y[i]],
                "label_corrected": row.get("label_corrected"),
                "predicted": said,
                "right": bool(self.p[i].argmax() == self.data.y[i]),
                "confidence": float(self.p[i].max()),
                **{f"p_{name}": float(self.p[i, k]) for k, name in enumerate(self.data.classes)},
            }
            for i, (id, row, said) in enumerate(zip(self.data.ids, known, self.said, strict=True))
        ]

    def to_json(self) -> dict[str, Any]:
        """The document of ``evaluate meter --format json``."""
        return {
            "task": "meter",
            "run": self.run.name,
            "split": self.split,
            "n": len(self.data),
            "original": self.scores.to_json(),
            "corrected": None if self.corrected is None else self.corrected.to_json(),
            "apart": {
                name: {key: one.to_json() for key, one in parts.items()} for name, parts in self.apart.items()
            },
            "controls": {name: one.to_json() for name, one in self.controls.items()},
            "left_out_sources": [one.to_json() for one in self.left_out],
        }


def evaluate_meter(
    project: Project,
    run: Run,
    options: MeterOptions | None = None,
    *,
    reason: str = "evaluate meter --split test",
    progress: ProgressCallback | None = None,
) -> MeterEvaluation:
    """Score a run.

    Raises
    ------
    UsageError
        An unknown split, class or data set, or no item that fits.
    RunError
        The data or feature code changed since the run.
    """
    options = options or MeterOptions()
    _check(project, options)
    split = "test" if options.split == "test" else "val"
    scored = scored_rows(project, run, split, reason=reason, progress=progress)
    found = _controls(project, run, scored, split) if options.controls else {}
    rows = _chosen(scored, options)
    data, p = scored.data.take(rows), scored.p[rows]
    return MeterEvaluation(
        run,
        options.split,
        data,
        p,
        scored.answers,
        _scores(data, p, scored.answers, options.seed),
        _on_corrected(data, p, scored.answers, options.seed),
        {name: _apart(data, p, scored.answers, name, options.seed) for name in CUTS},
        {name: _scores(data, other[rows], scored.answers, options.seed) for name, other in found.items()},
        leave_sources_out(project, run, scored.data, scored.p) if options.leave_sources_out else (),
    )


def _check(project: Project, options: MeterOptions) -> None:
    problems = []
    if options.split not in SPLITS:
        problems.append(f"split is {options.split!r}, expected one of {', '.join(SPLITS)}")
    if options.limit < 0:
        problems.append(f"limit is {options.limit}, expected 0 for all, or a number of items")
    if options.meter is not None and options.meter not in project.classes:
        problems.append(f"meter is {options.meter!r}, expected one of {', '.join(project.classes)}")
    if options.leave_sources_out and options.split == "test":
        problems.append("sources are left out of training rows, and split is test; expected tuning or val")
    if problems:
        raise UsageError(f"The evaluation cannot be made: {'; '.join(problems)}.")


def _chosen(scored: Scored, options: MeterOptions) -> np.ndarray:
    """Positions of the items that are scored."""
    data = scored.data
    known = [scored.answers[id] for id in data.ids]
    kept = np.ones(len(data), dtype=bool)
    if options.split == "val":
        # Data sets that give no validation part have their first fold in its place.
        is_given = any(row.get("part") == "val" for row in known)
        kept &= np.array([row.get("part") == "val" for row in known]) if is_given else data.folds == 0
    if options.meter is not None:
        kept &= data.y == data.classes.index(options.meter)
    if options.datasets:
        kept &= np.array([row.get("dataset") in options.datasets for row in known])
    rows = np.flatnonzero(kept)
    if not len(rows):
        raise UsageError(
            f"None of the {len(data)} items of split {options.split} is of meter {options.meter or 'any'} in data set "
            f"{', '.join(options.datasets) or 'any'}. Ask for others."
        )
    return rows[stratified_rows(data.y[rows], options.limit, seed=options.seed)] if options.limit else rows


def _column(data: Dataset, answers: Mapping[str, Mapping[str, Any]], name: str) -> np.ndarray:
    return np.array([answers[id].get(name) or "" for id in data.ids], dtype=np.str_)


def _scores(data: Dataset, p: np.ndarray, answers: Mapping[str, Mapping[str, Any]], seed: int) -> MeterScores:
    sets = _column(data, answers, "dataset")
    return score_meters(data.y, p, data.targets, data.classes, sets=sets, groups=data.groups, seed=seed)


def _on_corrected(
    data: Dataset, p: np.ndarray, answers: Mapping[str, Mapping[str, Any]], seed: int
) -> MeterScores | None:
    """Scores on the second label set; None where it says nothing else."""
    labels = _column(data, answers, "label_corrected")
    changed = [
        i for i, label in enumerate(labels) if label in data.classes and label != data.classes[data.y[i]]
    ]
    if not changed:
        return None
    y, targets = data.y.copy(), data.targets.copy()
    y[changed] = [data.classes.index(labels[i]) for i in changed]
    targets[changed] = np.eye(len(data.classes), dtype=np.float32)[y[changed]]
    return _scores(replace(data, y=y, soft=targets), p, answers, seed)


def _apart(
    data: Dataset, p: np.ndarray, answers: Mapping[str, Mapping[str, Any]], name: str, seed: int
) -> dict[str, MeterScores]:
    """Scores of the items of each value of a column; empty where no item has one."""
    values = _column(data, answers, name)
    return {
        str(value): _scores(data.take(values == value), p[values == value], answers, seed)
        for value in np.unique(values)
        if value
    }


def _controls(project: Project, run: Run, scored: Scored, split: str) -> dict[str, np.ndarray]:
    """Probabilities of the baselines and of the control of timbre, for all rows of the split."""
    training = scored.data if split == "val" else rows_of_run(project, run)[0]
    found = {one.name: one.probabilities for one in baselines_of(project, training, scored.data, split)}
    known = timbre_pieces(project, training)
    asked = known if split == "val" else timbre_pieces(project, scored.data)
    if known is None or asked is None:
        return found
    return {**found, NAME: svm_mfcc(training, known, scored.data, asked, split).probabilities}


@dataclass(frozen=True)
class Saved:
    """A record that was written, what it was compared with, and what got worse."""

    path: Path
    accepted: bool
    before: str | None
    compared: tuple[Regression, ...]

    @property
    def reasons(self) -> list[str]:
        """A sentence for each regression."""
        return regressions(self.compared)


def save_record(
    project: Project, evaluation: MeterEvaluation, *, strict: bool = False, command: Sequence[str] = ()
) -> Saved:
    """Keep an evaluation of the whole test as a record, accepted unless it is worse than the newest accepted one."""
    if evaluation.split != "test":
        raise UsageError(f"A record is of the sealed test, not of {evaluation.split}. Evaluate --split test.")
    folder, data, run = project.data_folder / RECORDS_FOLDER, evaluation.data, evaluation.run
    labels = [data.classes[i] for i in data.y]
    answers = Answers(dict(zip(data.ids, zip(labels, evaluation.said, strict=True), strict=True)))
    before = newest_accepted(read_records(folder), answers, "original")
    compared = () if before is None else compare(answers, answers_of(before), strict=strict)
    accepted = not any(one.is_worse for one in compared)
    path = write_record(
        folder,
        answers,
        status="accepted" if accepted else "rejected",
        run=run.name,
        label_set="original",
        key=run.key,
        members=list(run.config["fit"].get("members", [])),
        weights=list(run.config["fit"].get("weights", [])),
        hashes=dict(run.config["hashes"]),
        command=list(command),
        scores=evaluation.scores.to_json(),
        corrected=None if evaluation.corrected is None else evaluation.corrected.to_json(),
    )
    return Saved(path, accepted, None if before is None else before["run"], compared)
