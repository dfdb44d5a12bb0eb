"""`earmark predict --five-way`: fields that a task adds to its predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from earmark.tasks.project import Project
    from earmark.tasks.verbs.predict import Predicted

__all__ = ["five_way_options", "refiner"]

_FLAGS = {
    "mapping": "--mapping",
    "valence_threshold": "--valence-threshold",
    "yellow_arousal": "--yellow-arousal",
    "purple_arousal": "--purple-arousal",
    "model_dir": "--model-dir",
}


def five_way_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of five-way zones; the command takes them as ``**refining``."""
    for option in (
        click.option(
            "--model-dir",
            type=click.Path(exists=True, file_okay=False, path_type=Path),
            help="With --five-way: a model of train --target av (default: the newest).",
        ),
        click.option(
            "--purple-arousal", type=float, help="With --five-way: mapped_zone is PURPLE above this arousal."
        ),
        click.option(
            "--yellow-arousal", type=float, help="With --five-way: mapped_zone is YELLOW below this arousal."
        ),
        click.option(
            "--valence-threshold",
            type=float,
            help="With --five-way: valence from which YELLOW is chill and PURPLE euphoric (default: 4.5).",
        ),
        click.option(
            "--mapping",
            type=click.Path(exists=True, dir_okay=False, path_type=Path),
            help="With --five-way: YAML file with the thresholds of arousal and valence.",
        ),
        click.option(
            "--five-way",
            is_flag=True,
            help="Add arousal, valence and the zone split by valence; needs train --target av.",
        ),
    ):
        function = option(function)
    return function


def refiner(
    project: Project, refining: Mapping[str, Any], *, workers: int | None, use_cache: bool
) -> Callable[[Predicted], Predicted]:
    """What adds the fields that were asked for; refuses before anything is predicted.

    Raises
    ------
    UsageError
        Options without ``--five-way``, or a task that adds nothing.
    """
    from earmark.errors import UsageError

    options = {name: value for name, value in refining.items() if name in _FLAGS and value is not None}
    if not refining["five_way"]:
        if options:
            flags = ", ".join(_FLAGS[name] for name in options)
            raise UsageError(f"{flags} belongs to the five-way zones; give --five-way with it.")
        return lambda predicted: predicted
    outputs = project.task.outputs
    if outputs is None or outputs.refine is None:
        raise UsageError(f"Task `{project.task.name}` has no five-way zones. Leave --five-way out.")
    refined = outputs.refine(project, {**options, "workers": workers, "use_cache": use_cache})
    return lambda predicted: replace(predicted, outcomes=tuple(refined(predicted.outcomes)))
