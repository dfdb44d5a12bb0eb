"""`train --target`: models of something else than the label, each training in a folder of its own.

Layout: ``<runs>/<task>-<target>/<YYYYMMDD-HHMMSS>/`` (UTC), beside the task's runs and not among them: such a folder
has no ``run.toml``, since it holds no classifier that could be evaluated, promoted or compared with runs. It is
written under a hidden temporary name and renamed when complete.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from earmark.errors import RunError, UsageError
from earmark.features.progress import ProgressCallback
from earmark.models.constraints import closest
from earmark.tasks.project import Project
from earmark.tasks.task import TargetReport, TargetRequest
from earmark.training.runs import PARTIAL_PREFIX, clean_partial

__all__ = ["TrainedTarget", "newest_target", "require_target", "train_target"]


@dataclass(frozen=True)
class TrainedTarget:
    """What a training reported, and where its files lie."""

    folder: Path
    report: TargetReport


def train_target(
    project: Project,
    name: str,
    *,
    parameters: Mapping[str, Any] | None = None,
    workers: int | None = None,
    progress: ProgressCallback | None = None,
) -> TrainedTarget:
    """Train one target of the task.

    Parameters
    ----------
    project : Project
    name : str
        A key of the task's ``targets``.
    parameters : mapping, optional
        By the target's own names.
    workers, progress
        Of the extraction.

    Raises
    ------
    UsageError
        No such target.
    """
    train = project.task.targets[require_target(project, name)]
    folder = target_folder(project, name)
    folder.mkdir(parents=True, exist_ok=True)
    clean_partial(folder)
    wanted = folder / f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    partial = folder / f"{PARTIAL_PREFIX}{wanted.name}-{uuid.uuid4().hex[:8]}"
    partial.mkdir()
    try:
        report = train(TargetRequest(project, partial, parameters or {}, workers, progress))
        return TrainedTarget(_claimed(partial, wanted), report)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def require_target(project: Project, name: str) -> str:
    """The target called `name`; case and ``-`` do not matter.

    Raises
    ------
    UsageError
        The task has none of that name; it names those that it has.
    """
    folded, known = name.strip().lower().replace("-", "_"), project.task.targets
    if folded not in known:
        names = [project.task.label_noun, *known]
        raise UsageError(
            f"task `{project.task.name}` has no target {name!r}{closest(folded, names)}. Known: {', '.join(names)}."
        )
    return folded


def target_folder(project: Project, name: str) -> Path:
    """Folder of all trainings of a target."""
    return project.runs_folder / f"{project.task.name}-{name}"


def newest_target(project: Project, name: str) -> Path | None:
    """The newest finished training of a target, or None."""
    found = [path for path in target_folder(project, name).glob("[!.]*") if path.is_dir()]
    return max(found, key=lambda path: path.name, default=None)


def _claimed(partial: Path, wanted: Path) -> Path:
    """Give a finished folder its name, or the next free one where another ended in the same second."""
    for attempt in range(1, 1000):
        target = wanted if attempt == 1 else wanted.with_name(f"{wanted.name}-{attempt:03d}")
        try:
            partial.rename(target)
        except OSError:
            if not target.exists():
                raise
            continue
        return target
    raise RunError(f"`{wanted.parent}` holds 999 trainings named `{wanted.name}`. Remove some.")
