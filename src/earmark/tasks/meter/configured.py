"""The task as the settings of a project want it: which trackers fill the slots that feed the features.

A tracker that lacks its checkpoint leaves its slot empty; `absences` says so, for whoever extracts, answers or asks
after the health of a project. Other trackers make other features: the cache keeps both.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from earmark.tasks.meter.groups.slots import DEFAULT_TRACKERS
from earmark.tasks.meter.trackers.registry import Slot, slots
from earmark.tasks.meter.views import phases_with, views_with
from earmark.tasks.settings import EffectiveSettings
from earmark.tasks.task import Task

__all__ = ["absences", "configured", "project_slots"]


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


def configured(task: Task, settings: EffectiveSettings) -> Task:
    """The task with the features of the project's trackers; itself where they are the built-in ones.

    Raises
    ------
    UsageError
        As from `project_slots`.
    """
    trackers = tuple(slot.group for slot in project_slots(settings))
    if trackers == DEFAULT_TRACKERS:
        return task
    return replace(task, feature_sets=views_with(trackers), phases=phases_with(trackers))


def absences(settings: EffectiveSettings) -> tuple[str, ...]:
    """Why slots of a project are empty against its wishes, and what to do about each."""
    return tuple(slot.reason for slot in project_slots(settings) if slot.is_missing)
