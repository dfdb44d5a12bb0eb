"""A task's own analyses of a run, as sections of the report and files beside it.

Each analysis has a folder of its own beside the report, named after it: what it writes there cannot replace a
file of the report, and its tables lie there as CSV.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import UsageError
from earmark.evaluation.sections import Section
from earmark.evaluation.tables import csv_text
from earmark.models.constraints import closest
from earmark.tasks.task import Analysis, AnalysisRequest, Task

__all__ = ["require_analyses", "run_analysis"]


def require_analyses(task: Task, names: Iterable[str]) -> None:
    """Refuse a name that is no analysis of the task, naming those that are.

    Raises
    ------
    UsageError
    """
    for name in names:
        if name not in task.analyses:
            known = f"Known: {', '.join(task.analyses)}." if task.analyses else "It has none."
            raise UsageError(
                f"task `{task.name}` has no analysis {name!r}{closest(name, task.analyses)}. {known}"
            )


def run_analysis(name: str, request: AnalysisRequest) -> Section:
    """Run one analysis and gather what it found.

    Parameters
    ----------
    name : str
        A key of the task's ``analyses``.
    request : AnalysisRequest
        Its `folder` is that of the report; the analysis is given the folder `name` below it.

    Returns
    -------
    Section
        With the PNG files as pictures and all files relative to the report.

    Raises
    ------
    UsageError
        A table's name is no plain file name, or a file lies outside the analysis' folder.
    """
    report = request.folder
    folder = report / name
    folder.mkdir(parents=True, exist_ok=True)
    found = request.project.task.analyses[name](replace(request, folder=folder))
    files = [*found.files, *_write_tables(name, found, folder)]
    _require_inside(name, files, folder)
    return Section(
        name=name,
        title=found.title,
        sentences=tuple(found.sentences),
        tables=dict(found.tables),
        pictures={path.name: path.read_bytes() for path in found.files if path.suffix == ".png"},
        files=tuple(
            dict.fromkeys(path.absolute().relative_to(report.absolute()).as_posix() for path in files)
        ),
    )


def _write_tables(name: str, found: Analysis, folder: Path) -> list[Path]:
    odd = [table for table in found.tables if Path(table).name != table]
    if odd:
        raise UsageError(f"analysis `{name}` names its tables {', '.join(odd)}; expected plain file names.")
    paths = []
    for table, rows in found.tables.items():
        paths.append(folder / (table if table.endswith(".csv") else f"{table}.csv"))
        write_bytes_atomic(paths[-1], csv_text(rows).encode())
    return paths


def _require_inside(name: str, files: Sequence[Path], folder: Path) -> None:
    outside = [str(path) for path in files if folder.resolve() not in path.resolve().parents]
    if outside:
        raise UsageError(
            f"analysis `{name}` wrote {', '.join(outside)}; expected files below `{folder}`, the folder it was given."
        )
