"""`earmark train --target`: models of something else than the label."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from earmark.cli.exclusive import refuse_beside
from earmark.cli.options import Invocation, open_project

__all__ = ["target_options"]

_OWN = {"n_estimators": "--n-estimators", "max_depth": "--max-depth", "learning_rate": "--learning-rate"}
_SHARED = ("task", "seed", "workers", "labels", "deam", "folds", "cache_dir", "output")
"""Options of `train` that mean the same for another target."""


def target_options(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """Add ``--target`` and its options to `train`; `function` is called for the label alone."""

    @functools.wraps(function)
    def train(invocation: Invocation, /, **given: Any) -> int | None:
        target = given.pop("target")
        parameters = {name: given.pop(name) for name in _OWN}
        own = {name: value for name, value in parameters.items() if value is not None}
        if target is None or _is_label(target, given["task"], invocation):
            _refuse_own(own)
            return function(invocation, **given)
        return _train(invocation, target, own, given)

    for option in (
        click.option("--learning-rate", type=float, help="With --target av: step of each tree."),
        click.option("--max-depth", type=int, help="With --target av: depth of the trees."),
        click.option("--n-estimators", type=int, help="With --target av: number of trees."),
        click.option(
            "--target",
            metavar="NAME",
            help="What is learned: the label (default), or e.g. av, arousal and valence of DEAM's songs.",
        ),
    ):
        train = option(train)
    return train


def _is_label(target: str, task: str | None, invocation: Invocation) -> bool:
    return target.strip().lower() == open_project(invocation, task).task.label_noun


def _refuse_own(own: dict[str, Any]) -> None:
    from earmark.errors import UsageError

    if own:
        flags = ", ".join(_OWN[name] for name in own)
        raise UsageError(
            f"{flags} was given without --target av, which it belongs to. Set an estimator's parameters by --set, e.g. "
            "--set xgboost.max_depth=4."
        )


def _train(invocation: Invocation, target: str, own: dict[str, Any], given: dict[str, Any]) -> int:
    """Train another target than the label."""
    from earmark.cli.option_blocks import cache_folder, prepare_first
    from earmark.cli.output import emit, note
    from earmark.cli.progress import progress
    from earmark.tasks.verbs.copies import copy_run
    from earmark.tasks.verbs.targets import require_target, train_target

    project = open_project(
        invocation,
        given["task"],
        seed=given["seed"],
        workers=given["workers"],
        split__folds=given["folds"],
        cache=cache_folder(given["cache_dir"]),
    )
    name = require_target(project, target)
    refuse_beside(f"--target {name}", (*_SHARED, *_OWN, "target"))
    has_failed = prepare_first(invocation, project, given["labels"], given["deam"])
    with progress(invocation) as tell:
        trained = train_target(project, name, parameters=own, workers=given["workers"], progress=tell)
    report, folders = trained.report, [trained.folder]
    if given["output"] is not None:
        # Only the folder of a run is copied, and this is one.
        folders.append(copy_run(trained.folder, given["output"]))
    document = {"task": project.task.name, "target": name, "folders": folders, **report.document}
    emit(invocation, list(report.rows), document=document)
    for line in (*report.sentences, *(f"Written: {folder}" for folder in folders)):
        note(invocation, line)
    return 1 if has_failed else 0
