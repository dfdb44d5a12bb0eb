"""The feature set `fusion72`: five signals and the onset model, in a project that has trained one.

Which run is the onset model follows from the settings and from what was trained last, so the feature set, and the phase
`onset_model` of `extract`, are there only in projects with one.
"""

from __future__ import annotations

from dataclasses import replace

from earmark.errors import RunError, UsageError
from earmark.features.sets import FeatureSet
from earmark.tasks.meter.groups.onset_model import ONSET_MODEL
from earmark.tasks.meter.onset_runs import OnsetModel, chosen_run
from earmark.tasks.settings import EffectiveSettings
from earmark.tasks.task import Task
from earmark.training.runs import load_run

__all__ = ["FUSION", "onset_model", "onset_problems", "with_fusion"]

FUSION = "fusion72"


def with_fusion(task: Task, settings: EffectiveSettings) -> Task:
    """The task with `FUSION`, whose signals are those of the task's trackers; itself without an onset model.

    Raises
    ------
    UsageError
        The run that the settings name is none of the onset model.
    """
    model, _ = onset_model(settings)
    if model is None:
        return task
    onset = ONSET_MODEL.with_parameters(model=model)
    groups = (*task.features("signals60").groups, onset)
    view = FeatureSet(
        FUSION, groups, description="72 columns: signals60 and the onset model, six times twelve"
    )
    return replace(
        task,
        feature_sets={**task.feature_sets, FUSION: view},
        phases={**task.phases, "onset_model": (onset,)},
    )


def onset_problems(settings: EffectiveSettings) -> tuple[str, ...]:
    """Why the onset model that was trained last is not there, and what to do; empty where nothing is wrong."""
    _, problem = onset_model(settings)
    return (problem,) if problem else ()


def onset_model(settings: EffectiveSettings) -> tuple[OnsetModel | None, str]:
    """The run of ``meter.onset_model``, else the one trained last, and what is wrong with the latter (or ``""``).

    A run that went away is no error by itself: the command that trains it again opens the project, too.

    Raises
    ------
    UsageError
        The run that the settings name is none of the onset model.
    """
    runs, named = settings.path("runs"), settings.settings.meter.onset_model
    try:
        run = load_run(named, root=runs, task="meter") if named else chosen_run(runs)
        return (OnsetModel.of(run) if run else None), ""
    except RunError as error:
        if named:
            raise UsageError(f"meter.onset_model = {named!r}: {error}") from error
        return None, str(error)
