"""The trained run that answers, with its thresholds: the same for files, streams and live.

Nothing else ever answers: without a run, or without its thresholds, the error names the command that makes them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.runs import answering_run
from earmark.tasks.appliance.serving.floor import Floor
from earmark.tasks.appliance.thresholds_file import Thresholds

if TYPE_CHECKING:
    from earmark.tasks.project import Project

__all__ = ["Model", "open_folder", "open_model"]


@dataclass(frozen=True)
class Model:
    """A detector and its thresholds; `open_model` finds them.

    Parameters
    ----------
    folder : Path
        Of the run.
    detector : Detector
        With the confirmed floor of the room, where one was measured.
    thresholds : Thresholds
    floor_dbfs : float or None
        The level of the room with everything off: confirmed, else of training.
    """

    folder: Path
    detector: Detector
    thresholds: Thresholds
    floor_dbfs: float | None

    @property
    def name(self) -> str:
        """Of the run."""
        return self.folder.name


def open_model(
    project: Project,
    *,
    run: str | None = None,
    only_device: str | None = None,
    thresholds: Path | None = None,
) -> Model:
    """The model of `earmark.tasks.appliance.runs.answering_run`.

    Parameters
    ----------
    project : Project
    run : str, optional
        Name of a run, or a folder that holds one.
    only_device : str, optional
        The run is to know this device alone.
    thresholds : Path, optional
        A file in place of the run's own.

    Raises
    ------
    NoModelError
        Nothing was trained, or nothing that answers unasked.
    RunError
        The run is no detector, or has no thresholds, or they are of another model.
    """
    folder = answering_run(project, run, only_device=only_device).path
    beats = project.settings.appliance.beats
    return open_folder(folder, thresholds, None if beats is None else str(project.root / beats))


def open_folder(folder: Path, thresholds: Path | None = None, beats: str | None = None) -> Model:
    """The detector and thresholds in a run's folder; errors as of `open_model`, `beats` as of `Detector.load`."""
    detector = Detector.load(folder, beats=beats)
    if thresholds is None:
        chosen = Thresholds.of_run(folder, detector.devices, detector.hash)
    else:
        chosen = Thresholds.read(thresholds, detector.devices, model=detector.hash)
    confirmed = Floor.read(folder)
    if confirmed is None:
        return Model(folder, detector, chosen, detector.floor_dbfs)
    on_floor = replace(detector, layer=detector.layer.on_floor(confirmed.floor_dbfs))
    return Model(folder, on_floor, chosen, confirmed.floor_dbfs)
