"""What models differ in: which features they read, how they turn them into probabilities, and what they keep on disk.

=============== =======================================================================================================
`ColumnsLayer`  one classifier per device on named columns (``level``, ``spectral``, ``logmel256``, ``g1``)
`HeadLayer`     a network on rows of a filter bank or of an encoder's tokens (``cnn``, ``beats``, ``beats-gru``)
`OnnxLayer`     such a network as a file from audio to logits, see `earmark.tasks.appliance.onnx_layer`
`LengthsLayer`  several of these, for windows of several lengths, see `earmark.tasks.appliance.lengths`
=============== =======================================================================================================

``rel_level`` is no feature of a clip: it is the clip's level over a floor that training learnt from windows with every
device off, so the layer adds it; and so it does with third octaves relative to their mean, which are a sum of others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from earmark.errors import InputError, RunError, UsageError
from earmark.features.group import FeatureGroup
from earmark.features.table import FeatureTable
from earmark.models.estimator import Floats
from earmark.models.multilabel import MultiLabel, calibrated
from earmark.models.platt import Platt
from earmark.tasks.appliance.lengths import LengthsLayer
from earmark.tasks.appliance.references import RELATIVE

if TYPE_CHECKING:
    from earmark.models.acoustic.fitted import FittedHead
    from earmark.models.beats.checkpoint import BeatsCheckpoint
    from earmark.models.beats.encoder import BeatsEncoder

__all__ = [
    "BAND_LEVEL",
    "REL_LEVEL",
    "RMS_DBFS",
    "ColumnsLayer",
    "HeadLayer",
    "Layer",
    "load_layer",
    "located_checkpoint",
    "with_derived",
    "write_record",
]

RMS_DBFS = "appliance.level.rms_dbfs"
REL_LEVEL = "appliance.level.rel_level"
BAND_LEVEL, BAND_SHAPE = "appliance.spectrum.third_octave_mean_", "appliance.spectrum.third_octave_shape_"

MODEL_FOLDER = "model"
LAYER_FILE = "layer.json"


class Layer(Protocol):
    """From features of windows to one probability per device."""

    @property
    def groups(self) -> tuple[FeatureGroup, ...]: ...

    @property
    def calibration(self) -> tuple[Platt, ...]: ...

    @property
    def needs_reference(self) -> bool: ...

    def raw(self, table: FeatureTable) -> Floats: ...

    def calibrate(self, raw: Floats) -> Floats: ...

    def with_calibration(self, calibration: Sequence[Platt]) -> Layer: ...

    def on_floor(self, floor_dbfs: float) -> Layer: ...

    def save(self, folder: Path) -> None: ...


@dataclass(frozen=True)
class ColumnsLayer:
    """A `MultiLabel` on columns; `floor_dbfs` is what ``rel_level`` is over, None where no column needs it."""

    model: MultiLabel
    groups: tuple[FeatureGroup, ...]
    floor_dbfs: float | None = None

    @property
    def calibration(self) -> tuple[Platt, ...]:
        """Of each device."""
        return self.model.calibration

    @property
    def needs_reference(self) -> bool:
        """Whether it reads columns less what the recording usually sounds like."""
        return any(name.startswith(RELATIVE) for name in self.model.columns)

    def raw(self, table: FeatureTable) -> Floats:
        """Raw probabilities, shape (n, n_devices).

        Raises
        ------
        InputError
            It reads relative columns, and the table has none.
        SchemaError
            Another column is missing.
        """
        if self.needs_reference and not any(name.startswith(RELATIVE) for name in table.columns):
            raise InputError(
                "a window was given alone; this model compares it with what its recording usually sounds like. Give a "
                "reference: OfRecordings for windows of whole recordings, SoFar for a stream "
                "(earmark.tasks.appliance.references)."
            )
        chosen = with_derived(table, self.floor_dbfs).select(self.model.columns)
        return self.model.raw(chosen.values, chosen.columns)

    def calibrate(self, raw: Floats) -> Floats:
        """Raw probabilities as calibrated ones."""
        return self.model.calibrate(raw)

    def with_calibration(self, calibration: Sequence[Platt]) -> ColumnsLayer:
        """The same model with another calibration."""
        return replace(self, model=self.model.with_calibration(calibration))

    def on_floor(self, floor_dbfs: float) -> ColumnsLayer:
        """The same with ``rel_level`` over another floor; as it is where no column needs one."""
        return self if self.floor_dbfs is None else replace(self, floor_dbfs=floor_dbfs)

    def save(self, folder: Path) -> None:
        """Write ``model/``."""
        self.model.save(folder / MODEL_FOLDER)
        write_record(folder, self.groups, {"floor_dbfs": self.floor_dbfs})


@dataclass(frozen=True)
class HeadLayer:
    """A trained network on the rows that one group gives of a window, with a Platt scaling per device."""

    head: FittedHead
    groups: tuple[FeatureGroup, ...]
    calibration: tuple[Platt, ...]
    checkpoint: BeatsCheckpoint | None = None
    """The encoder's, of models on its tokens or with blocks of it."""

    full_state: bool = False
    """Whether `save` keeps all of the encoder's weights."""

    @property
    def needs_reference(self) -> bool:
        """No: each window is heard alone."""
        return False

    def raw(self, table: FeatureTable) -> Floats:
        """Raw probabilities, shape (n, n_devices)."""
        (group,) = self.groups
        return self.head.probabilities(table.frames(group.name))

    def with_calibration(self, calibration: Sequence[Platt]) -> HeadLayer:
        """The same network with another calibration."""
        return replace(self, calibration=tuple(calibration))

    def on_floor(self, floor_dbfs: float) -> HeadLayer:
        """Itself: a network knows no floor."""
        return self

    def calibrate(self, raw: Floats) -> Floats:
        """Raw probabilities as calibrated ones."""
        return calibrated(raw, self.calibration)

    def save(self, folder: Path) -> None:
        """Write the network's files and ``model/layer.json``."""
        head = self.head
        if self.full_state and self.checkpoint is not None:
            head = replace(head, encoder=_encoder(self.checkpoint))
        head.save(folder, full_state=self.full_state)
        (folder / MODEL_FOLDER).mkdir(exist_ok=True)
        record: dict[str, Any] = {"calibration": [platt.to_dict() for platt in self.calibration]}
        if self.checkpoint is not None:
            record["beats"] = {"path": self.checkpoint.path, "sha256": self.checkpoint.sha256}
        write_record(folder, self.groups, record)


def load_layer(folder: Path, beats: str | None = None) -> Layer:
    """The layer in a folder; raises RunError where its files are missing or damaged.

    `beats` is where the checkpoint of its encoder may lie, where it has one; see `located_checkpoint`.
    """
    path = folder / MODEL_FOLDER / LAYER_FILE
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        if "onnx" in record:
            return _exported(folder, record)
        if "parts" in record:
            return LengthsLayer.load(folder, record, beats)
        checkpoint = located_checkpoint(record["beats"], beats) if "beats" in record else None
        groups = groups_named(record["groups"], checkpoint)
        if "calibration" not in record:
            return ColumnsLayer(MultiLabel.load(folder / MODEL_FOLDER), groups, record["floor_dbfs"])
        calibration = tuple(Platt.from_dict(entry) for entry in record["calibration"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"`{folder}` holds no model ({error}). Name a finished run, or train again."
        ) from error
    from earmark.models.acoustic.fitted import FittedHead

    head = FittedHead.load(folder)
    if head.tunes_encoder and checkpoint is not None:
        head = replace(head, encoder=_encoder(checkpoint))
    return HeadLayer(head, groups, calibration, checkpoint)


def _encoder(checkpoint: BeatsCheckpoint) -> BeatsEncoder:
    from earmark.tasks.appliance.groups.tokens import encoder_of

    return encoder_of(checkpoint)


def _exported(folder: Path, record: Mapping[str, Any]) -> Layer:
    from earmark.models.weights import Weights
    from earmark.tasks.appliance.onnx_layer import MODEL_FILE, OnnxLayer

    calibration = tuple(Platt.from_dict(entry) for entry in record["calibration"])
    return OnnxLayer(Weights.of(folder / MODEL_FOLDER / MODEL_FILE), tuple(record["onnx"]), calibration)


def write_record(folder: Path, groups: Sequence[FeatureGroup], more: Mapping[str, Any]) -> None:
    """Write ``model/layer.json``: the names of the groups, and what else the layer needs to be read again."""
    record = {"groups": [group.name for group in groups], **more}
    path = folder / MODEL_FOLDER / LAYER_FILE
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def groups_named(names: Sequence[str], checkpoint: BeatsCheckpoint | None = None) -> tuple[FeatureGroup, ...]:
    """Feature groups by name; those of an encoder need its checkpoint."""
    from earmark.tasks.appliance.views import VIEWS

    known = {group.name: group for view in VIEWS.values() for group in view.groups}
    if checkpoint is not None:
        from earmark.tasks.appliance.groups.tokens import token_groups

        known |= {group.name: group for group in token_groups(checkpoint)}
    missing = [name for name in names if name not in known]
    if missing:
        raise RunError(
            f"This model reads {', '.join(missing)}, which no feature group gives. Train again with this version."
        )
    return tuple(known[name] for name in names)


def located_checkpoint(record: Mapping[str, str], beats: str | None = None) -> BeatsCheckpoint:
    """The encoder that a model was trained on: where the caller or the environment says, else where it was.

    Parameters
    ----------
    record : mapping
        ``path`` and ``sha256`` in training.
    beats : str, optional
        Where it may lie.

    Raises
    ------
    RunError
        No file with that digest lies in any of these places.
    """
    from earmark.models.beats.checkpoint import BeatsCheckpoint

    problems = []
    for path in dict.fromkeys([beats, os.environ.get("EARMARK_BEATS"), record["path"]]):
        if not path:
            continue
        try:
            found = BeatsCheckpoint.open(path)
        except UsageError as problem:
            problems.append(f"{str(problem)[0].lower()}{str(problem).partition(';')[0][1:]}")
            continue
        if found.sha256 == record["sha256"]:
            return found
        problems.append(f"`{path}` has the SHA-256 {found.sha256[:12]}")
    raise RunError(
        f"This model hears by the BEATs checkpoint with the SHA-256 {record['sha256'][:12]}, which is not there: "
        f"{'; '.join(problems)}. Put it back at `{record['path']}`, or say where it lies: EARMARK_BEATS=FILE"
    )


def with_derived(table: FeatureTable, floor_dbfs: float | None) -> FeatureTable:
    """The table with the columns that the layer derives behind its own.

    ``rel_level`` where a floor is known and the level is in the table; ``third_octave_shape_<k>``, each band over the
    mean of all bands in dB, where third octaves are: what is left of them when the level of everything moves.
    """
    names, added = [], []
    if floor_dbfs is not None and RMS_DBFS in table.columns:
        names.append(REL_LEVEL)
        added.append(table.column(RMS_DBFS).astype(np.float64) - floor_dbfs)
    bands = [name for name in table.columns if name.startswith(BAND_LEVEL)]
    if bands:
        levels = table.select(bands).values.astype(np.float64)
        names += [name.replace(BAND_LEVEL, BAND_SHAPE) for name in bands]
        added += list((levels - levels.mean(axis=1, keepdims=True)).T)
    if not names:
        return table
    values = np.column_stack([table.values, *(column.astype(np.float32) for column in added)])
    return FeatureTable(table.ids, (*table.columns, *names), values, arrays=table.arrays)
