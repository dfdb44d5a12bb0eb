"""Which run answers: the named one; else that of the settings, the promoted one, the newest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from earmark.errors import NoModelError

if TYPE_CHECKING:
    from earmark.tasks.project import Project
    from earmark.training.runs import Run

__all__ = ["answering_run"]


def answering_run(project: Project, name: str | None = None) -> Run:
    """The run that thresholds are chosen for and that files, streams and live are answered by.

    Parameters
    ----------
    project : Project
    name : str, optional
        Of a run, or a folder that holds one.

    Raises
    ------
    NoModelError
        Nothing was trained.
    RunError
        No run of that name.
    """
    from earmark.training.production import history, production_run
    from earmark.training.runs import list_runs, load_run

    root, task = project.runs_folder, project.task.name
    named = name or project.settings.predict.run
    if named:
        return load_run(named, root=root, task=task)
    if history(root, task):
        return production_run(root, task)
    runs = list_runs(root, task)
    if not runs:
        raise NoModelError(
            f"`{root}` holds no run of {task}, so nothing can answer. Run: earmark train appliance"
        )
    return runs[-1]
