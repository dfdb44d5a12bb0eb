"""The windows that a training may see, as arrays: truth, recordings, trimming, and what each window counts.

Conventions: positions are int64 into the rows; ``y`` has shape (n, n_devices) with -1 where the truth of a window is
unknown, as for a window in which a machine is switched; such rows are scored by nobody and teach nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from earmark.audio.levels import amplitude_dbfs
from earmark.errors import UsageError
from earmark.tasks.appliance.room import Room
from earmark.tasks.appliance.schema import Devices

if TYPE_CHECKING:
    import polars as pl

    from earmark.features.item import Item
    from earmark.tasks.project import Project

__all__ = ["Rows", "read_rows"]

Ints = npt.NDArray[np.int64]
Doubles = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Rows:
    """Unsealed windows of a room, sorted as in its manifest.

    Parameters
    ----------
    table : polars.DataFrame
        Rows of the manifest.
    room : Room
    devices : Devices
        Those that are trained: of the room, or one of them.
    """

    table: pl.DataFrame
    room: Room
    devices: Devices

    def __len__(self) -> int:
        return len(self.table)

    @cached_property
    def y(self) -> Ints:
        """Truth, shape (n, n_devices): 1 on, 0 off, -1 unknown."""
        columns = [self.table[name].fill_null(-1).to_numpy() for name in self.devices.names]
        return np.column_stack(columns).astype(np.int64)

    @cached_property
    def recordings(self) -> npt.NDArray[np.str_]:
        """Recording of each window, shape (n,)."""
        return np.asarray(self.table["recording_id"].to_list())

    @cached_property
    def is_known(self) -> Bools:
        """Whether the truth of all devices is known."""
        return np.asarray((self.y >= 0).all(axis=1))

    @cached_property
    def outlier(self) -> Bools:
        """Whether a window was trimmed from its recording as too loud; it is scored, but teaches nothing."""
        return self.table["outlier"].to_numpy().astype(bool)

    @cached_property
    def rms(self) -> Doubles:
        """Linear level of full scale."""
        return self.table["rms"].to_numpy().astype(np.float64)

    def items(self) -> list[Item]:
        """What the extractor needs of each row."""
        from earmark.features.item import Item

        return [Item(id, uri) for id, uri in self.table.select("id", "uri").iter_rows()]

    def equal_recordings(self, rows: Ints) -> Doubles:
        """Weights with which every recording counts the same, mean 1 over `rows`."""
        _, position, count = np.unique(self.recordings[rows], return_inverse=True, return_counts=True)
        return np.asarray(len(rows) / (len(count) * count[position]), dtype=np.float64)

    def effective(self, rows: Ints) -> Doubles:
        """The same, scaled to the number of windows that do not overlap."""
        overlap = min(1.0, self.room.hop_s / self.room.window_s)
        return self.equal_recordings(rows) * overlap

    def heard(self, rows: Ints, masked: float) -> Doubles:
        """What each window says of each device, shape (n_rows, n_devices): `masked` while another one hides it."""
        index = {name: k for k, name in enumerate(self.devices.names)}
        weights = np.ones((len(rows), len(index)))
        for by, hidden in self.devices.masks:
            weights[self.y[rows, index[by]] == 1, index[hidden]] = masked
        return weights

    def floor_dbfs(self, rows: Ints) -> float | None:
        """Median level of the windows among `rows` with every device off, dBFS; None where there are none."""
        quiet = rows[(self.y[rows] == 0).all(axis=1)]
        return None if not len(quiet) else float(amplitude_dbfs(float(np.median(self.rms[quiet]))))


def read_rows(project: Project, only_device: str | None = None) -> Rows:
    """The unsealed windows of a prepared room.

    Raises
    ------
    UsageError
        Nothing is prepared, `only_device` is none of the room's devices, or no window is left to train on.
    """
    import polars as pl

    room = Room.read(project)
    devices = _only(room.devices, only_device)
    kept = pl.Series(project.splits.train_ids)
    table = project.manifest.table.filter(pl.col("id").is_in(kept.implode()))
    rows = Rows(table, room, devices)
    if not len(rows) or not rows.is_known.any():
        raise UsageError(
            f"`{project.data_folder}` has {len(rows)} windows to train on and none with a known state. "
            "Run: earmark prepare appliance SAMPLES"
        )
    return rows


def _only(devices: Devices, name: str | None) -> Devices:
    if name is None:
        return devices
    if name not in devices.names:
        raise UsageError(
            f"there is no device `{name}` in this room; it has {', '.join(devices.names)}. Correct --only-device."
        )
    return Devices((name,))
