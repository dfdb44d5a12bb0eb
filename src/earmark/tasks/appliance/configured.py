"""The task as the settings of a project want it: with BEATs where there is a checkpoint of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace

from earmark.features.sets import FeatureSet
from earmark.models.beats.checkpoint import BeatsCheckpoint
from earmark.tasks.appliance.groups.tokens import NO_CHECKPOINT, token_groups
from earmark.tasks.settings import EffectiveSettings
from earmark.tasks.task import Task

__all__ = ["BEATS_ABSENT", "beats_views", "project_beats", "with_beats"]

BEATS_ABSENT = dict.fromkeys(("tokens", "token_stats"), NO_CHECKPOINT)
"""Feature sets that a project without the checkpoint lacks, and what to do."""


def project_beats(
    settings: EffectiveSettings, environ: Mapping[str, str] | None = None
) -> BeatsCheckpoint | None:
    """The checkpoint of the command line or the settings, else of the environment; None without one.

    Raises
    ------
    UsageError
        A path where there is no file.
    """
    wanted = settings.settings.appliance.beats
    path = (
        str(settings.root / wanted)
        if wanted
        else (os.environ if environ is None else environ).get("EARMARK_BEATS", "")
    )
    return BeatsCheckpoint.open(path) if path else None


def beats_views(checkpoint: BeatsCheckpoint) -> dict[str, FeatureSet]:
    """The feature sets that a checkpoint brings, by name."""
    rows, stats = token_groups(checkpoint)
    views = (
        FeatureSet("tokens", (rows,), description="tokens of BEATs, the input of its heads"),
        FeatureSet(
            "token_stats", (stats,), description="1536 columns: mean and maximum over the tokens of BEATs"
        ),
    )
    return {view.name: view for view in views}


def with_beats(task: Task, settings: EffectiveSettings) -> Task:
    """The task with what the project's checkpoint brings; itself without one. Errors as of `project_beats`."""
    checkpoint = project_beats(settings)
    if checkpoint is None:
        return task
    return replace(task, feature_sets={**task.feature_sets, **beats_views(checkpoint)}, absent_features={})
