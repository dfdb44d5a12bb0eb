"""Which run answers: the named one; else that of the settings, the promoted one, the newest that stands for the room.

A demonstration of leakage never answers unasked, nor does a run of other devices or windows than those prepared: one
that was trained for one device alone, or before the windows were changed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from earmark.errors import NoModelError, UsageError
from earmark.tasks.appliance.detector import read_card
from earmark.tasks.appliance.room import ROOM_FILE, Room

if TYPE_CHECKING:
    from earmark.tasks.project import Project
    from earmark.training.runs import Run

__all__ = ["answering_run"]


def answering_run(project: Project, name: str | None = None, *, only_device: str | None = None) -> Run:
    """The run that thresholds are chosen for and that files, streams and live are answered by.

    Parameters
    ----------
    project : Project
    name : str, optional
        Of a run, or a folder that holds one.
    only_device : str, optional
        The newest run that was trained for this device alone, whatever is promoted.

    Raises
    ------
    NoModelError
        Nothing was trained, or nothing that answers unasked.
    RunError
        No run of that name.
    UsageError
        Both were given.
    """
    from earmark.training.production import history, production_run
    from earmark.training.runs import list_runs, load_run

    root, task = project.runs_folder, project.task.name
    if name and only_device:
        raise UsageError(
            f"the run {name} and a run of {only_device} alone were both asked for. Name one of them."
        )
    named = name or (None if only_device else project.settings.predict.run)
    if named:
        return load_run(named, root=root, task=task)
    if only_device is None and history(root, task):
        return production_run(root, task)
    runs = list_runs(root, task)
    if not runs:
        raise NoModelError(
            f"`{root}` holds no run of {task}, so nothing can answer. Run: earmark train appliance"
        )
    path = project.data_folder / ROOM_FILE
    room = Room.from_file(path) if path.is_file() else None
    reasons = {run.name: _against(run, room, only_device) for run in runs}
    fit = [run for run in runs if reasons[run.name] is None]
    if not fit:
        newest = runs[-1].name
        raise NoModelError(
            f"none of the {len(runs)} runs in `{root}` answers unasked; the newest, `{newest}`, {reasons[newest]}. "
            f"Run: earmark train appliance{'' if only_device is None else f' --only-device {only_device}'}. "
            f"Or name one: --run {newest}"
        )
    return fit[-1]


def _against(run: Run, room: Room | None, only_device: str | None) -> str | None:
    """Why a run does not answer unless it is named; `room` is what is prepared, if anything is."""
    if not run.is_detector:
        return "is no detector"
    if run.is_leaky:
        return "is a demonstration of leakage"
    own = Room.from_json(read_card(run.path))
    if only_device is not None and own.devices.names != (only_device,):
        return f"knows {', '.join(own.devices.names)}; asked for is one of {only_device} alone"
    if room is None:
        return None
    if only_device is None and own.devices.names != room.devices.names:
        return f"knows {', '.join(own.devices.names)}; the room has {', '.join(room.devices.names)}"
    if (own.window_s, own.sample_rate) != (room.window_s, room.sample_rate):
        return f"was trained on windows of {own.window_s:g} s; the room has {room.window_s:g} s"
    return None
