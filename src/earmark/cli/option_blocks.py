"""Blocks of options that several commands have, and what they mean.

=====================  ========================================================  ============================
block                  options                                                   read by
=====================  ========================================================  ============================
`prepared_options`     label files and DEAM, to prepare first                    `prepare_first`
`cache_option`         where the feature cache lies                              `cache_folder`
`recipe_options`       what replaces settings of a recipe                        `recipe_changes`
=====================  ========================================================  ============================

A command takes them as keyword arguments under the names of `PREPARED` and `RECIPE`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation

if TYPE_CHECKING:
    from earmark.tasks.project import Project

__all__ = [
    "cache_folder",
    "cache_option",
    "prepare_first",
    "prepared_options",
    "recipe_changes",
    "recipe_options",
]

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _block(*options: Decorator) -> Decorator:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


prepared_options = _block(
    click.option(
        "--data",
        "--user",
        "-u",
        "labels",
        multiple=True,
        type=click.Path(exists=True, path_type=Path),
        help="Label file or folder to prepare first, as `prepare` does; may be repeated.",
    ),
    click.option(
        "--deam",
        "--deam-dir",
        "-d",
        "deam",
        type=click.Path(exists=True, file_okay=False, path_type=Path),
        help="Folder of DEAM to prepare first, beside --data or alone.",
    ),
)

cache_option = click.option(
    "--cache-dir",
    "--checkpoint-dir",
    "cache_dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the feature cache (default: of the settings).",
)

recipe_options = _block(
    click.option(
        "--top-n", "--top-features", "top_n", type=click.IntRange(min=1), help="Keep the best N columns."
    ),
    click.option("--no-normalize", is_flag=True, help="Do not standardise the columns."),
    click.option(
        "--leave-out", multiple=True, metavar="PATTERN", help="Drop columns, e.g. '*mfcc*'; may be repeated."
    ),
    click.option("--no-drop-features", is_flag=True, help="The same as --leave-out '*drop*'."),
    click.option(
        "--balance", type=click.Choice(["none", "weights"]), help="Class weights (default: the recipe's)."
    ),
)


def cache_folder(given: Path | None) -> Path | None:
    """The folder as the settings take it; relative to where the user is, not to the project."""
    return None if given is None else given.absolute()


def recipe_changes(
    top_n: int | None,
    no_normalize: bool,
    leave_out: tuple[str, ...],
    no_drop_features: bool,
    balance: str | None,
) -> dict[str, Any]:
    """Fields of `TrainOptions` for the options of `recipe_options`."""
    patterns = (*leave_out, *(["*drop*"] if no_drop_features else []))
    preprocess: dict[str, Any] = {
        **({"top_k": top_n} if top_n else {}),
        **({"standardise": False} if no_normalize else {}),
        **({"leave_out": patterns} if patterns else {}),
    }
    return {"preprocess": preprocess, "balance": balance}


def prepare_first(
    invocation: Invocation, project: Project, labels: tuple[Path, ...], deam: Path | None
) -> bool:
    """Prepare what was given, if anything was; whether a row of it failed.

    Raises
    ------
    UsageError
        DEAM alone would take the place of labels that were prepared before.
    """
    from earmark.cli.output import note
    from earmark.cli.prepare import complain_of_rejected
    from earmark.errors import UsageError
    from earmark.tasks.verbs.prepare import prepare

    if not labels and deam is None:
        return False
    if not labels and project.is_prepared and _has_labels_besides(project, "deam"):
        raise UsageError(
            f"--deam alone would replace the labels prepared in `{project.data_folder}`. Name the label file as well: "
            "--data FILE; or, where it was prepared with DEAM already, leave --deam out."
        )
    options: Mapping[str, Any] = {"check": True, **({"deam": deam} if deam else {})}
    prepared = prepare(project, labels, options=options)
    _, failed = complain_of_rejected(invocation, prepared)
    note(invocation, f"Prepared {prepared.n_items} {project.task.item_noun} in {prepared.folder}.")
    return failed


def _has_labels_besides(project: Project, source: str) -> bool:
    table = project.manifest.table
    return "source" not in table.columns or any(name != source for name in table["source"])
