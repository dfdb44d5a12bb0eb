"""Who answers: a run of the project, the run that is shipped with the package, or a rule that needs none.

The shipped run lies in the package as any other run, in ``shipped/meter/<run>/`` beside its card, and is only read. The
rule is the fallback that a user must ask for: how well bars of 3, 4, 5 and 7 fit the downbeats heard, and where bars
cannot be laid, the strongest period of the onset envelope. Its answers are marked; where it hears neither it says
nothing, never four.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earmark.errors import NoModelError, RunError
from earmark.features.group import FeatureGroup
from earmark.features.table import FeatureTable
from earmark.inference.ladder import Method, ModelMethod
from earmark.tasks.meter.analysis.recording import Probabilities, Speaker
from earmark.tasks.meter.groups.signals import SIGNAL_GROUP
from earmark.tasks.meter.schema import CLASSES, SIGNATURES
from earmark.tasks.meter.signatures import class_scores
from earmark.tasks.project import Project
from earmark.training.runs import Run, list_runs

__all__ = ["Answerer", "answerer_for", "shipped_runs"]

RULE_SIGNALS = ("bar_tracking", "autocorr")
"""The first that says anything answers."""


@dataclass(frozen=True)
class Answerer:
    """What answers about windows.

    Parameters
    ----------
    speaker : Speaker
    groups : tuple of FeatureGroup
        Their columns are what `probabilities` reads.
    method : Method or None
        None: the rule.
    """

    speaker: Speaker
    groups: tuple[FeatureGroup, ...]
    method: Method | None = field(default=None, repr=False)

    def probabilities(self, table: FeatureTable) -> list[Probabilities | None]:
        """Of each row, a probability per class; None where there is no evidence at all."""
        if not len(table):
            return []
        if self.method is None:
            return [_named(CLASSES, row) for row in _rule(table)]
        rows = self.method.answer(table.values, table.columns).probabilities
        return [_named(self.method.classes, row) for row in rows]


def answerer_for(
    project: Project, *, run: str | None = None, fallback: str | None = None, threshold: float | None = None
) -> Answerer:
    """The named run; else the one of the settings, the promoted, the newest, the shipped; else the fallback.

    Parameters
    ----------
    project : Project
        Of the task `meter`.
    run : str, optional
    fallback : {"rule"}, optional
        What answers if there is no run.
    threshold : float, optional
        Below which nothing is decided; default that of the run.

    Raises
    ------
    NoModelError
        There is no run, and no fallback was asked for.
    RunError
        The run cannot be used.
    """
    named = run or project.settings.meter.run or project.settings.predict.run
    if named or list_runs(project.runs_folder, project.task.name):
        return _of_run(project, named, threshold)
    if shipped_runs():
        return _of_run(_shipped(project), None, threshold)
    if fallback == "rule":
        return Answerer(Speaker("rule", threshold=threshold or 0.0), (SIGNAL_GROUP,))
    raise NoModelError(
        f"`{project.runs_folder}` holds no run of meter, and none is shipped with this version. Expected a trained "
        "model. Run: earmark train meter, or ask for the rule that needs none: --fallback rule"
    )


def shipped_runs() -> list[Run]:
    """Runs in the package, none if it was built without."""
    folder = _shipped_folder()
    return list_runs(folder, "meter") if folder.is_dir() else []


def _shipped_folder() -> Path:
    return Path(str(files("earmark.tasks.meter").joinpath("shipped")))


def _shipped(project: Project) -> Project:
    overrides = {"runs": str(_shipped_folder())}
    return Project.open(project.task, project.root, overrides)


def _of_run(project: Project, name: str | None, threshold: float | None) -> Answerer:
    from earmark.tasks.verbs.predict import predictor_for

    predictor, chosen = predictor_for(project, run=name, threshold=threshold)
    method = predictor.method
    if chosen is None or not isinstance(method, ModelMethod):
        raise RunError("no run was chosen to answer about meter. Name one: --run RUN")
    own = 0.0 if method.decision is None else method.decision.threshold
    view = f"{chosen.config['settings']['features']}@{chosen.config['hashes']['features'][:8]}"
    least = own if method.threshold is None else method.threshold
    return Answerer(Speaker("model", chosen.name, view, least), tuple(predictor.extractor.groups), method)


def _rule(table: FeatureTable) -> NDArray[np.float64]:
    """Scores of the classes by the first signal that speaks, shape (n_rows, n_classes); 0 where none does."""
    scores = np.zeros((len(table), len(CLASSES)))
    for signal in RULE_SIGNALS:
        columns = {name: f"{SIGNAL_GROUP.name}.{signal}_{name.replace('/', '_')}" for name in SIGNATURES}
        found = class_scores({name: table.column(column).astype(float) for name, column in columns.items()})
        scores = np.where(scores.any(axis=1, keepdims=True), scores, found)
    return scores


def _named(classes: tuple[str, ...], row: NDArray[np.float64]) -> Probabilities | None:
    total = float(row.sum())
    return {name: float(p) / total for name, p in zip(classes, row, strict=True)} if total > 0 else None
