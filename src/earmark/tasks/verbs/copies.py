"""Copies of runs outside the project: for a backup, or to hand a model on."""

from __future__ import annotations

import shutil
from pathlib import Path

from earmark.errors import UsageError

__all__ = ["copy_run"]


def copy_run(run: Path, folder: str | Path) -> Path:
    """Copy the folder of a run or a model into `folder`, under its own name.

    An earlier copy is replaced once the new one is whole.

    Returns
    -------
    Path
        The copy, which `earmark.training.runs.load_run` and ``predict --run`` take.

    Raises
    ------
    UsageError
        `folder` is a file, or holds the runs themselves.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"`{folder}` is a file; expected a folder for a copy of the run. Give another name.")
    copy = folder / run.name
    if copy.resolve() == run.resolve():
        raise UsageError(f"`{folder}` is where the runs lie; expected another folder for a copy of one.")
    partial = folder / f".partial-{run.name}"
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(run, partial)
    if copy.exists():
        shutil.rmtree(copy)
    partial.rename(copy)
    return copy
