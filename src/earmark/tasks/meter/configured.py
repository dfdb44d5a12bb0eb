"""The task as the settings of a project want it: which trackers fill the slots that feed the features, and MERT.

A tracker that lacks its checkpoint leaves its slot empty; `absences` says so, for whoever extracts, answers or asks
after the health of a project. Other trackers make other features: the cache keeps both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from earmark.features.group import FeatureGroup
from earmark.models.weights import Weights
from earmark.tasks.meter.groups.slots import DEFAULT_TRACKERS
from earmark.tasks.meter.mert.group import mert_group
from earmark.tasks.meter.trackers.registry import Slot, slots
from earmark.tasks.meter.views import phases_with, views_with
from earmark.tasks.settings import EffectiveSettings
from earmark.tasks.task import Task

__all__ = ["absences", "configured", "project_mert", "project_slots"]


def project_slots(
    settings: EffectiveSettings, environ: Mapping[str, str] | None = None
) -> tuple[Slot, Slot, Slot]:
    """The three slots of a project: `meter.trackers`, with the checkpoints of the settings, else of the environment.

    Raises
    ------
    UsageError
        An unknown tracker, or a path where there is no file.
    """
    wanted = settings.settings.meter
    given = {"EARMARK_BEAT_THIS": wanted.beat_this, "EARMARK_BEATNET": wanted.beatnet}
    named = {variable: str(settings.root / path) for variable, path in given.items() if path}
    return slots(wanted.trackers, {**(os.environ if environ is None else environ), **named})


def project_mert(
    settings: EffectiveSettings, environ: Mapping[str, str] | None = None
) -> FeatureGroup | None:
    """One layer of MERT by the checkpoint of the settings, else of the environment; None without one.

    Raises
    ------
    UsageError
        A path where there is no file.
    """
    wanted = settings.settings.meter
    path = (
        str(settings.root / wanted.mert)
        if wanted.mert
        else (os.environ if environ is None else environ).get("EARMARK_MERT", "")
    )
    return mert_group(Weights.of(path), wanted.mert_layer) if path else None


def configured(task: Task, settings: EffectiveSettings) -> Task:
    """The task with the features of the project's trackers and MERT; itself where there is nothing but the built-in.

    Raises
    ------
    UsageError
        As from `project_slots` and `project_mert`.
    """
    trackers, mert = tuple(slot.group for slot in project_slots(settings)), project_mert(settings)
    if trackers == DEFAULT_TRACKERS and mert is None:
        return task
    return replace(
        task,
        feature_sets=views_with(trackers, mert),
        phases=phases_with(trackers, mert),
        absent_features={} if mert is not None else task.absent_features,
    )


def absences(settings: EffectiveSettings) -> tuple[str, ...]:
    """Why slots of a project are empty against its wishes, and what to do about each."""
    return tuple(slot.reason for slot in project_slots(settings) if slot.is_missing)
