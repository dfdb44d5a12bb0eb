"""What a prepared room is: its devices and the window that all of its rows have, in ``devices.json``.

The file lies beside the manifest and is written by `prepare`. Training copies what it needs into the run, so that
a detector never asks the room again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import UsageError
from earmark.tasks.appliance.schema import DEFAULT_DEVICES, HOP_S, SAMPLE_RATE, WINDOW_S, Devices

if TYPE_CHECKING:
    from earmark.tasks.project import Project

__all__ = ["ROOM_FILE", "Room"]

ROOM_FILE = "devices.json"
_REMEDY = "Run: earmark prepare appliance SAMPLES"


@dataclass(frozen=True)
class Room:
    """A prepared room.

    Parameters
    ----------
    devices : Devices
    pattern : str or None
        Of the names of its recordings; None where a table of labels or of segments named them.
    window_s, hop_s : float
        Seconds.
    sample_rate : int
        Hz.
    seal : mapping
        How its test was sealed: ``kind`` (``takes``, ``tail``, ``scenes`` or ``none``), ``seal_s``, ``gap_s`` and
        ``recordings``, the sealed span ``[from, to]`` of each recording by the hash of its content; ``to`` is null
        for its end.
    """

    devices: Devices = DEFAULT_DEVICES
    pattern: str | None = None
    window_s: float = WINDOW_S
    hop_s: float = HOP_S
    sample_rate: int = SAMPLE_RATE
    seal: Mapping[str, Any] = field(default_factory=dict)

    @property
    def window_samples(self) -> int:
        """Samples of one window."""
        return round(self.window_s * self.sample_rate)

    @classmethod
    def read(cls, project: Project) -> Room:
        """The room of a prepared project.

        Raises
        ------
        UsageError
            It has not been prepared, or the file is not one of ours.
        """
        path = project.data_folder / ROOM_FILE
        if not path.is_file():
            raise UsageError(f"`{project.data_folder}` holds no prepared room (no {ROOM_FILE}). {_REMEDY}")
        return cls.from_file(path)

    @classmethod
    def from_file(cls, path: Path) -> Room:
        """The room written at `path`; errors as of `read`."""
        try:
            return cls.from_json(json.loads(path.read_text("utf-8")))
        except (KeyError, TypeError, ValueError, UnicodeDecodeError) as error:
            raise UsageError(
                f"`{path}` is not the description of a room ({error}). It is written by `prepare`. {_REMEDY}"
            ) from error

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Room:
        """The room that `to_json` wrote."""
        devices = Devices(
            tuple(document["devices"]),
            tuple(document["priority"]),
            tuple((by, hides) for by, hides in document["masks"]),
        )
        return cls(
            devices,
            document["pattern"],
            float(document["window_s"]),
            float(document["hop_s"]),
            int(document["sample_rate"]),
            dict(document.get("seal", {})),
        )

    def to_json(self) -> dict[str, Any]:
        """The room as plain values."""
        return {
            "pattern": self.pattern,
            "devices": list(self.devices.names),
            "priority": list(self.devices.priority),
            "masks": [list(pair) for pair in self.devices.masks],
            "window_s": self.window_s,
            "hop_s": self.hop_s,
            "sample_rate": self.sample_rate,
            "seal": dict(self.seal),
        }

    def write(self, folder: Path) -> None:
        """Write ``devices.json`` into `folder`, whole or not at all."""
        text = json.dumps(self.to_json(), indent=2, ensure_ascii=False) + "\n"
        write_bytes_atomic(folder / ROOM_FILE, text.encode())
