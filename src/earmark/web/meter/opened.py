"""The analyst of a project, kept open in a worker until something that decides who answers has changed."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from earmark.tasks.meter.analysis.recording import Speaker
    from earmark.tasks.meter.serving.predict import Analyst
    from earmark.tasks.project import Project

__all__ = ["analyst_of", "speaker_of", "warm"]

TASK = "meter"
N_OPEN = 2

Stamps = tuple[tuple[str, int], ...]


def analyst_of(folder: Path) -> Analyst:
    """What answers in a project folder; opened anew when its settings, its runs or their thresholds are others.

    Raises
    ------
    NoModelError
        There is no run.
    RunError, UsageError
        The run or the settings cannot be used.
    """
    from earmark.tasks.project import Project

    project = Project.open(TASK, folder)
    return _opened(folder, project.settings.model_dump_json(), _stamps(project))


def speaker_of(folder: Path) -> Speaker:
    """Who answers in a project folder; errors as of `analyst_of`."""
    return analyst_of(folder).answerer.speaker


def warm() -> None:
    """Import what answers need, before the first is asked for."""
    import earmark.tasks.meter.serving.live
    import earmark.tasks.meter.task  # noqa: F401


@lru_cache(maxsize=N_OPEN)
def _opened(folder: Path, _settings: str, _stamps: Stamps) -> Analyst:
    from earmark.tasks.meter.serving.predict import analyst_for
    from earmark.tasks.project import Project

    analyst = analyst_for(Project.open(TASK, folder))
    _rehearse(analyst)
    return analyst


def _rehearse(analyst: Analyst) -> None:
    """Hear a little noise: what compiled code loads when it first runs is loaded before anybody waits for it."""
    import numpy as np

    from earmark.tasks.meter.serving.live import Listener

    listener = Listener(analyst, catch_up=True)
    duration_s = analyst.project.settings.meter.warmup_seconds
    noise = (
        np.random.default_rng(0).normal(0, 0.1, round(duration_s * max(listener.rates))).astype(np.float32)
    )
    for _ in listener.hear({rate: noise[: round(duration_s * rate)] for rate in listener.rates}):
        pass


def _stamps(project: Project) -> Stamps:
    """Names and times of the runs and of what is decided about them.

    Everything in a run is written by renaming, which also changes the time of its folder.
    """
    folder = project.runs_folder / TASK
    if not folder.is_dir():
        return ()
    return tuple(sorted((one.name, one.stat().st_mtime_ns) for one in folder.iterdir()))
