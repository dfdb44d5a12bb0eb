"""What models differ in: which features they read, how they turn them into probabilities, and what they keep on disk.

=============== =======================================================================================================
`ColumnsLayer`  one classifier per device on named columns (``level``, ``spectral``, ``logmel256``, ``g1``)
`HeadLayer`     a network on rows of a filter bank or of an encoder's tokens (``cnn``, ``beats``, ``beats-gru``)
=============== =======================================================================================================

``rel_level`` is no feature of a clip: it is the clip's level over a floor that training learnt from windows with every
device off, so the layer adds it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from earmark.errors import RunError
from earmark.features.group import FeatureGroup
from earmark.features.table import FeatureTable
from earmark.models.estimator import Floats
from earmark.models.multilabel import FILE as MULTILABEL_FILE
from earmark.models.multilabel import MultiLabel, calibrated
from earmark.models.platt import Platt

if TYPE_CHECKING:
    from earmark.models.acoustic.files import FittedHead

__all__ = ["REL_LEVEL", "RMS_DBFS", "ColumnsLayer", "HeadLayer", "Layer", "load_layer", "with_rel_level"]

RMS_DBFS = "appliance.level.rms_dbfs"
REL_LEVEL = "appliance.level.rel_level"

MODEL_FOLDER = "model"
CALIBRATION_FILE = "calibration.json"


class Layer(Protocol):
    """From features of windows to one probability per device."""

    @property
    def groups(self) -> tuple[FeatureGroup, ...]: ...

    def raw(self, table: FeatureTable) -> Floats: ...

    def calibrate(self, raw: Floats) -> Floats: ...

    def save(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class ColumnsLayer:
    """A `MultiLabel` on columns; `floor_dbfs` is what ``rel_level`` is over, None where no column needs it."""

    model: MultiLabel
    groups: tuple[FeatureGroup, ...]
    floor_dbfs: float | None = None

    def raw(self, table: FeatureTable) -> Floats:
        """Raw probabilities, shape (n, n_devices); raises SchemaError where a column is missing."""
        chosen = with_rel_level(table, self.floor_dbfs).select(self.model.columns)
        return self.model.raw(chosen.values, chosen.columns)

    def calibrate(self, raw: Floats) -> Floats:
        """Raw probabilities as calibrated ones."""
        return self.model.calibrate(raw)

    def save(self, folder: Path) -> None:
        """Write ``model/``."""
        self.model.save(folder / MODEL_FOLDER)


@dataclass(frozen=True)
class HeadLayer:
    """A trained network on the rows that one group gives of a window, with a Platt scaling per device."""

    head: FittedHead
    groups: tuple[FeatureGroup, ...]
    calibration: tuple[Platt, ...]

    def raw(self, table: FeatureTable) -> Floats:
        """Raw probabilities, shape (n, n_devices)."""
        (group,) = self.groups
        return self.head.probabilities(table.frames(group.name))

    def calibrate(self, raw: Floats) -> Floats:
        """Raw probabilities as calibrated ones."""
        return calibrated(raw, self.calibration)

    def save(self, folder: Path) -> None:
        """Write the network's files and ``calibration.json``."""
        self.head.save(folder)
        (folder / MODEL_FOLDER).mkdir(exist_ok=True)
        text = json.dumps([platt.to_dict() for platt in self.calibration], indent=1)
        (folder / MODEL_FOLDER / CALIBRATION_FILE).write_text(text + "\n", encoding="utf-8")


def load_layer(folder: Path, card: Mapping[str, Any]) -> Layer:
    """The layer in a detector's folder; raises RunError where its files are missing or damaged."""
    groups = groups_named(card["groups"], card)
    if (folder / MODEL_FOLDER / MULTILABEL_FILE).is_file():
        return ColumnsLayer(MultiLabel.load(folder / MODEL_FOLDER), groups, card["floor_dbfs"])
    from earmark.models.acoustic.files import FittedHead

    path = folder / MODEL_FOLDER / CALIBRATION_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"`{folder}` holds no model ({error}). Name a finished run, or train again."
        ) from error
    return HeadLayer(FittedHead.load(folder), groups, tuple(Platt.from_dict(entry) for entry in record))


def groups_named(names: Sequence[str], card: Mapping[str, Any]) -> tuple[FeatureGroup, ...]:
    """Feature groups by name, with the encoder that the card names."""
    raise NotImplementedError


def with_rel_level(table: FeatureTable, floor_dbfs: float | None) -> FeatureTable:
    """The table with ``rel_level`` behind its other columns, where a floor is known and the level is in it."""
    if floor_dbfs is None or RMS_DBFS not in table.columns:
        return table
    relative = (table.column(RMS_DBFS).astype(np.float64) - floor_dbfs).astype(np.float32)
    return FeatureTable(
        table.ids, (*table.columns, REL_LEVEL), np.column_stack([table.values, relative]), arrays=table.arrays
    )
