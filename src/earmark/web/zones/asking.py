"""Zones of files, in the worker process that stays warm: the predictor is opened once and kept until a run, a
promotion or the settings change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.inference.prediction import Failed, Prediction
from earmark.web.zones.sources import Source, told

if TYPE_CHECKING:
    from earmark.features.table import FeatureTable
    from earmark.inference.ladder import Predictor
    from earmark.tasks.project import Project
    from earmark.tasks.verbs.predict import Predicted
    from earmark.training.runs import Run

__all__ = ["MEASURES", "TASK", "Answered", "Question", "answer", "open_zones", "undo", "write"]

TASK = "zones"

MEASURES: Mapping[str, str] = {
    "energy_variance": "zones.basic.energy_variance",
    "drop_intensity": "zones.basic.drop_intensity",
}
"""What the table shows beside an answer, whatever model gave it: measures of the feature set that the rules read."""

_KEPT = 4


@dataclass(frozen=True)
class Question:
    """How files are answered; the options of ``earmark predict zones`` of the same names."""

    folder: Path
    method: str = "model"
    run: str | None = None
    threshold: float | None = None
    five_way: bool = False
    with_features: bool = False


@dataclass(frozen=True)
class Answered:
    """The answer of one input, and the measures of `MEASURES`; none where it failed."""

    outcome: Prediction | Failed
    measures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class _Opened:
    project: Project
    predictor: Predictor
    run: Run | None
    refined: Callable[[Predicted], Predicted]


def answer(question: Question, sources: Sequence[Source | Failed]) -> list[Answered]:
    """One answer per source, in order, under the sources' names.

    Raises
    ------
    RunError
        The method asks a model, and there is no run.
    UsageError
        Five-way zones, and no model of them.
    """
    from earmark.tasks.verbs.predict import Predicted

    opened = _opened(question, _stamp(question.folder))
    uris = [one if isinstance(one, Failed) else one.uri for one in sources]
    # One look at each file for all that is asked; the predictor then finds its features in the cache.
    table = _features(opened, [uri for uri in uris if isinstance(uri, str)])
    outcomes = opened.predictor.predict(uris)
    outcomes = list(opened.refined(Predicted(tuple(outcomes), opened.run)).outcomes)
    measures = dict(zip(table.ids, _measured(table), strict=True))
    return [
        Answered(_named(outcome, source, question.folder), measures.get(outcome.path, {}))
        for outcome, source in zip(outcomes, sources, strict=True)
    ]


def write(
    folder: Path,
    outcomes: Sequence[Prediction | Failed],
    how: Mapping[str, bool],
) -> Any:
    """Plan or write the tags of files, as `earmark.cli.tags.write_tags` does."""
    from earmark.cli.tags import write_tags

    return write_tags(open_zones(folder), outcomes, how)


def undo(folder: Path, which: str) -> Any:
    """Take back the last write of the project, or all; the task's report."""
    from earmark.cli.tags import tag_writing

    project = open_zones(folder)
    return tag_writing(project.task).undo(project, which=which)


def open_zones(folder: Path) -> Project:
    """The project in a folder, with its settings as they are now."""
    from earmark.cli.options import Invocation, open_project

    return open_project(Invocation(folder=folder, format="json", quiet=True), TASK)


def _features(opened: _Opened, uris: Sequence[str]) -> FeatureTable:
    from earmark.features.extractor import Extractor
    from earmark.features.item import Item

    project = opened.project
    measuring = project.task.features(project.task.rule_features).groups
    groups = {group.name: group for group in (*opened.predictor.extractor.groups, *measuring)}
    extractor = Extractor(list(groups.values()), project.cache, workers=0)
    return extractor.run([Item(uri, uri) for uri in dict.fromkeys(uris)])


def _measured(table: FeatureTable) -> Iterator[dict[str, float]]:
    values = table.values[:, [table.columns.index(column) for column in MEASURES.values()]]
    return (dict(zip(MEASURES, map(float, row), strict=True)) for row in values)


def _named(outcome: Prediction | Failed, source: Source | Failed, folder: Path) -> Prediction | Failed:
    """The outcome under its source's name, in its sentences too."""
    if isinstance(source, Failed):
        return outcome
    if isinstance(outcome, Prediction):
        return replace(outcome, path=source.name)
    return Failed(source.name, told(folder, outcome.error.replace(source.uri, source.name)))


@lru_cache(maxsize=_KEPT)
def _opened(question: Question, _state: tuple[Any, ...]) -> _Opened:
    from earmark.cli.refine import refiner
    from earmark.tasks.verbs.predict import predictor_for

    project = open_zones(question.folder)
    predictor, run = predictor_for(
        project,
        run=question.run,
        method=question.method,
        threshold=question.threshold,
        workers=0,
        with_features=question.with_features,
    )
    refined = refiner(project, {"five_way": question.five_way}, workers=0, use_cache=True)
    return _Opened(project, predictor, run, refined)


def _stamp(folder: Path) -> tuple[Any, ...]:
    """What changes when a run is added, promoted or given thresholds, and when the settings do."""
    from earmark.tasks.verbs.targets import target_folder

    project = open_zones(folder)
    runs = project.runs_folder / TASK
    watched = [runs, *sorted(runs.glob("*")), *sorted(target_folder(project, "av").glob("*"))]
    times = tuple((str(path), path.stat().st_mtime_ns) for path in watched if path.exists())
    return (repr(project.settings), times)
