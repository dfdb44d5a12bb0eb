"""`thresholds --drops`: the sweep over the drop detector's thresholds, as a table and a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import UsageError
from earmark.evaluation.tables import csv_text
from earmark.features.progress import ProgressCallback
from earmark.tasks.task import Tuning
from earmark.tasks.zones.analysis.drop_sweep import tune_drops

if TYPE_CHECKING:
    from earmark.tasks.project import Project

__all__ = ["SWEEP_FILE", "drop_tuning"]

SWEEP_FILE = "drop_sweep.csv"


def drop_tuning(project: Project, output: Path | None, progress: ProgressCallback | None) -> Tuning:
    """Sweep the training tracks and write ``drop_sweep.csv``.

    Parameters
    ----------
    project : Project
    output : Path, optional
        A folder, or a ``.csv`` file. Default: ``<runs>/<task>-drops/``.
    progress : callable, optional

    Raises
    ------
    UsageError
        Not prepared, no training track can be read, or a file of another form was named.
    """
    path = _file(output or project.runs_folder / f"{project.task.name}-drops")
    sweep = tune_drops(project, progress=progress)
    rows = sweep.rows()
    write_bytes_atomic(path, csv_text(rows).encode())
    return Tuning(rows, sweep.sentences(), (path,))


def _file(output: Path) -> Path:
    if output.is_dir() or not output.suffix:
        return output / SWEEP_FILE
    if output.suffix.lower() != ".csv":
        raise UsageError(f"`{output}`: expected a folder, or a name that ends in .csv.")
    return output
