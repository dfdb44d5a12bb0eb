"""What a long stage tells whoever watches it; drawing it is the watcher's business."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Progress", "ProgressCallback"]


@dataclass(frozen=True, slots=True)
class Progress:
    """One step of a stage.

    Parameters
    ----------
    stage : str
        What is being done, as a title: ``"extract"``, ``"cross-validate"``.
    done, total : int
        Finished units and all units, failures included.
    failed : int
        Units set aside so far.
    message : str or None
        The unit just finished, or an event worth a line.
    """

    stage: str
    done: int
    total: int
    failed: int = 0
    message: str | None = None


ProgressCallback = Callable[[Progress], None]
