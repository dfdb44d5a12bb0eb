"""The level of the room with everything off: measured on demand, kept beside the run, watched while live.

A floor that was confirmed replaces that of training where levels are compared: the file ``floor.json`` lies beside the
run's own files and the model is not touched, so deleting it takes the step back.

Conventions: dBFS of the RMS of windows; medians, so that a slammed door counts once.
"""

from __future__ import annotations

import json
import time
from collections import deque
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import RunError

__all__ = ["FLOOR_FILE", "Floor", "FloorWatch"]

FLOOR_FILE = "floor.json"
DRIFT_DB, DRIFT_S = 3.0, 600.0
RUNNING_S = 60.0
"""Levels under the running median."""


@dataclass(frozen=True)
class Floor:
    """A confirmed floor: its level, seconds it was measured over, windows, and the time, ISO 8601 in UTC."""

    floor_dbfs: float
    seconds: float
    n_windows: int
    measured: str

    @classmethod
    def of_levels(cls, levels_dbfs: list[float], seconds: float) -> Floor:
        """From the levels of windows in which everything was off."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        return cls(round(float(np.median(levels_dbfs)), 4), round(seconds, 3), len(levels_dbfs), now)

    @classmethod
    def read(cls, run: Path) -> Floor | None:
        """The floor kept beside a run; None where none was confirmed.

        Raises
        ------
        RunError
            The file is not one of ours.
        """
        path = run / FLOOR_FILE
        if not path.is_file():
            return None
        try:
            return cls(**json.loads(path.read_text("utf-8")))
        except (OSError, TypeError, ValueError) as error:
            raise RunError(
                f"`{path}` holds no level of a room ({error}). Delete it, or measure again: "
                "earmark live appliance --confirm"
            ) from error

    def write(self, run: Path) -> Path:
        """Keep it beside a run, in place of an earlier one."""
        path = run / FLOOR_FILE
        write_bytes_atomic(path, (json.dumps(asdict(self), indent=1) + "\n").encode())
        return path


class FloorWatch:
    """Tells whether the level with everything off has moved away for long.

    Parameters
    ----------
    floor_dbfs : float or None
        None: nothing to compare with, and nothing ever drifts.
    hop_s : float
        Seconds that each level stands for.
    """

    def __init__(self, floor_dbfs: float | None, hop_s: float) -> None:
        self.floor_dbfs = floor_dbfs
        self._hop_s = hop_s
        self._levels: deque[float] = deque(maxlen=max(1, round(RUNNING_S / hop_s)))
        self._away_s = 0.0

    @property
    def drifts(self) -> bool:
        """More than 3 dB away for 10 minutes of everything being off."""
        return self._away_s >= DRIFT_S

    def hear(self, level_dbfs: float) -> None:
        """Take the level of a window in which everything is off."""
        self._levels.append(level_dbfs)
        if self.floor_dbfs is None:
            return
        is_away = abs(float(np.median(self._levels)) - self.floor_dbfs) > DRIFT_DB
        self._away_s = self._away_s + self._hop_s if is_away else 0.0
