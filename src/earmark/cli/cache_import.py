"""`earmark cache import`: feature tables of the earlier program, read as data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command, open_project, task_argument
from earmark.errors import InputError, UsageError

if TYPE_CHECKING:
    import numpy as np

    from earmark.cache.legacy import LegacyRow
    from earmark.tasks.project import Project

__all__ = ["import_command", "locator", "recomputer"]


@command("import")
@task_argument()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--audio-dir",
    "audio",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the recordings are now, looked up by file name; may be repeated.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.02,
    help="Largest relative difference of the sample.",
)
@click.option("--dry-run", is_flag=True, help="Read and show, store nothing.")
@click.pass_obj
def import_command(
    invocation: Invocation, task: str, folder: Path, audio: tuple[Path, ...], tolerance: float, dry_run: bool
) -> int:
    """Import the earlier program's `features.pkl` from FOLDER as the group `imported`.

    The pickle is read as data: nothing in it is imported or run. A twentieth of the rows, at least five, is computed
    again where the formula is the same; one mismatch refuses the whole import, with exit code 3.

    \b
    Examples:
      earmark cache import zones models/checkpoints --audio-dir ~/Music --dry-run
      earmark cache import zones models/checkpoints --audio-dir ~/Music
    """
    from earmark.cache.legacy import import_rows, read_folder
    from earmark.cli.output import complain, emit, note
    from earmark.errors import GateError

    project = open_project(invocation, task)
    earlier = project.task.earlier
    if earlier is None:
        raise UsageError(
            f"Task `{project.task.name}` has no earlier feature tables. Give a task that has, such as zones."
        )
    found = read_folder(folder, earlier.columns_by_length)
    rows: list[dict[str, Any]] = [{"what": "rows", "count": len(found.rows)}]
    rows += [{"what": f"rows of {length} numbers", "count": count} for length, count in found.lengths.items()]
    rows += [{"what": f"rows labelled {label}", "count": count} for label, count in found.labels.items()]
    rows += [
        {"what": "checkpoints listed", "count": len(found.checkpoints)},
        {"what": "model files, not opened", "count": len(found.model_files)},
    ]
    document = dataclasses.asdict(dataclasses.replace(found, rows=()))
    document["rows"] = len(found.rows)
    problems = list(found.problems)
    if not dry_run:
        report = import_rows(
            project.cache, found, locator(audio), recomputer(project, earlier.comparable), tolerance=tolerance
        )
        problems += report.problems
        document["imported"] = dataclasses.asdict(report)
        rows += [
            {"what": "rows compared", "count": report.compared},
            {"what": "rows imported", "count": report.imported},
        ]
    for problem in problems:
        complain(f"failed: {problem.place}: {problem.reason}")
    emit(invocation, rows, columns=["what", "count"], document=document)
    if not dry_run and report.refused:
        worst = report.differences[0]
        raise GateError(
            f"{worst.column} was {worst.old:.6g} and is {worst.new:.6g} now: nothing was imported. Extract "
            "the features again, or give a --tolerance."
        )
    note(
        invocation,
        "Imported rows are kept apart from computed ones." if not dry_run else "Nothing was stored.",
    )
    return 1 if problems else 0


def locator(folders: Sequence[Path]) -> Callable[[str], Path | None]:
    """From a path as it was to the file as it is: the same path, or a file of that name below one of ``folders``."""
    by_name: dict[str, list[Path]] = {}
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            by_name.setdefault(path.name, []).append(path)

    def locate(place: str) -> Path | None:
        if Path(place).is_file():
            return Path(place)
        same_name = by_name.get(place.replace("\\", "/").rpartition("/")[2], [])
        if len(same_name) > 1:
            raise UsageError(
                f"`{place}` could be any of {', '.join(map(str, same_name[:3]))}; file names must be unique below "
                "--audio-dir. Give a narrower folder."
            )
        return same_name[0] if same_name else None

    return locate


def recomputer(
    project: Project, comparable: Mapping[str, str]
) -> Callable[[Sequence[LegacyRow], Sequence[Path]], list[np.ndarray]]:
    """From rows and their files to vectors in the rows' columns, NaN where there is nothing to compare."""

    def compute(rows: Sequence[LegacyRow], paths: Sequence[Path]) -> list[np.ndarray]:
        import numpy as np

        from earmark.features.item import Item

        wanted = {comparable[name] for row in rows for name in row.columns if name in comparable}
        groups = [group for group in project.task.all_groups if wanted & set(group.column_names)]
        items = [Item(str(index), str(path)) for index, path in enumerate(paths)]
        table = project.extract(groups, items)
        if table.failures:
            raise InputError("\n".join(f"{failure.uri}: {failure.error}" for failure in table.failures))
        position = {name: index for index, name in enumerate(table.columns)}
        return [
            np.array(
                [
                    values[position[comparable[name]]] if name in comparable else np.nan
                    for name in row.columns
                ],
                dtype=np.float32,
            )
            for row, values in zip(rows, table.values, strict=True)
        ]

    return compute
