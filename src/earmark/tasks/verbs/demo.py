"""`demo`: the whole job on built-in data, from nothing to a report; what is done already is not done again."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from earmark.data.seal import MANIFEST_FILE
from earmark.errors import UsageError
from earmark.features.progress import ProgressCallback
from earmark.tasks.project import Project
from earmark.tasks.verbs.evaluate import Evaluated, evaluate
from earmark.tasks.verbs.extract import Extracted, extract
from earmark.tasks.verbs.predict import Predicted, predict
from earmark.tasks.verbs.prepare import prepare
from earmark.tasks.verbs.train import TrainedModels, train

__all__ = ["DemoResult", "demo"]

Result = TypeVar("Result")
N_PREDICTED = 3


@dataclass(frozen=True)
class DemoResult:
    """What each stage gave, and how long it took in seconds."""

    labels: Path
    extracted: Extracted
    trained: TrainedModels
    evaluated: Evaluated
    predicted: Predicted
    seconds: dict[str, float]


def demo(
    project: Project, *, workers: int | None = None, progress: ProgressCallback | None = None
) -> DemoResult:
    """Make the task's demo data in the project folder, then prepare, extract, train, evaluate and predict.

    Raises
    ------
    UsageError
        The task has no demo data, or the folder holds data of the user's.
    """
    task = project.task
    if task.demo is None:
        raise UsageError(f"task `{task.name}` has no demo; try `earmark demo zones`.")
    folder = project.root / "demo" / task.name
    _refuse_other_data(project, folder)
    seconds: dict[str, float] = {}
    make = task.demo

    def timed(stage: str, action: Callable[[], Result]) -> Result:
        started = time.perf_counter()
        result = action()
        seconds[stage] = time.perf_counter() - started
        return result

    labels = timed("make the tracks", lambda: make(folder))
    timed("prepare", lambda: prepare(project, [labels]))
    sets = list(dict.fromkeys([task.default_features, *task.baselines]))
    extracted = timed("extract", lambda: extract(project, features=sets, workers=workers, progress=progress))
    trained = timed("train", lambda: train(project, progress=progress))
    evaluated = timed("evaluate", lambda: evaluate(project, trained.best, progress=progress))
    paths = [item.uri for item in project.manifest.subset(project.splits.test_ids[:N_PREDICTED])]
    predicted = timed("predict", lambda: predict(project, paths, workers=workers))
    return DemoResult(labels, extracted, trained, evaluated, predicted, seconds)


def _refuse_other_data(project: Project, folder: Path) -> None:
    """A demo in a project at work would put its own items and test set in the place of the user's."""
    if not (project.data_folder / MANIFEST_FILE).exists():
        return
    own = folder.resolve()
    others = [item.uri for item in project.manifest if not Path(item.uri).resolve().is_relative_to(own)]
    if others:
        raise UsageError(
            f"`{project.data_folder}` holds {len(others)} items that are not the demo's, such as `{others[0]}`. "
            f"Expected a project folder of its own. Run: earmark -C trial demo {project.task.name}"
        )
