"""A trained detector: windows of one room in, one probability per device out.

Every way to ask it goes through here: training scores its folds, `predict` reads files through the feature cache,
`stream` and `live` hand in clips. A window's probabilities depend on that window alone and are equal to the last bit
on every way; but those of a model that also asks how the window differs from the rest of its recording, which is given
as a *reference* and is not the same for a file and for a stream (`earmark.tasks.appliance.references`).

A detector is a folder with ``card.json`` (what it was made of and how it must be asked) and the files of its *layer*:
``model/`` for models on columns, ``model.safetensors`` and ``head.safetensors`` for neural ones. Layers are what the
models differ in; see `earmark.tasks.appliance.layers`.

Conventions: probabilities are float32, shape (n_windows, n_devices), columns in the order of ``devices.names``; levels
in dBFS; a window has ``window_s`` seconds at ``sample_rate`` Hz.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from earmark.audio.clip import Clip
from earmark.data.parquet import file_hash
from earmark.errors import InputError, RunError, SchemaError
from earmark.features.compute import compute_clip
from earmark.features.group import FeatureGroup
from earmark.features.table import FeatureTable
from earmark.models.estimator import Floats
from earmark.tasks.appliance.room import Room
from earmark.tasks.appliance.schema import Devices

if TYPE_CHECKING:
    from earmark.tasks.appliance.layers import Layer
    from earmark.tasks.appliance.references import Reference
    from earmark.training.runs import Run

__all__ = ["CARD_FILE", "LENGTHS_KEY", "Detector", "table_of_clips"]

CARD_FILE = "card.json"
LENGTHS_KEY = "windows_s"
"""In the card: devices that are heard in the last seconds of a window, and in how many."""


@dataclass(frozen=True)
class Detector:
    """A layer with what is needed to ask it.

    Parameters
    ----------
    devices : Devices
    window_s, hop_s : float
        Of the windows it was trained on.
    sample_rate : int
        Hz, after the one resampling.
    layer : Layer
        The model, its feature groups and its calibration.
    floor_dbfs : float or None
        Median level of the training windows with everything off; None where there were none.
    card : mapping
        The content of ``card.json``.
    hash : str
        Of the model's files; ``thresholds.yaml`` names it. Empty before it is saved.
    """

    devices: Devices
    window_s: float
    hop_s: float
    sample_rate: int
    layer: Layer
    floor_dbfs: float | None = None
    card: Mapping[str, Any] = field(default_factory=dict, repr=False)
    hash: str = ""

    @property
    def groups(self) -> tuple[FeatureGroup, ...]:
        """What must be extracted of a window."""
        return self.layer.groups

    @property
    def n_samples(self) -> int:
        """Samples of a window."""
        return round(self.window_s * self.sample_rate)

    @property
    def lengths(self) -> dict[str, float]:
        """Device -> seconds of the windows that its probability is of."""
        own: Mapping[str, float] = self.card.get(LENGTHS_KEY, {})
        return {name: own.get(name, self.window_s) for name in self.devices.names}

    @property
    def needs_reference(self) -> bool:
        """Whether `probabilities` must be told what the recording usually sounds like."""
        return self.layer.needs_reference

    def probabilities(
        self, given: FeatureTable | Sequence[Clip], reference: Reference | None = None
    ) -> Floats:
        """Calibrated probability that each device is on.

        Parameters
        ----------
        given : FeatureTable or sequence of Clip
            Features of `groups`, a row per window, or the windows themselves.
        reference : Reference, optional
            What the windows are compared with; read only if `needs_reference`.

        Returns
        -------
        ndarray, float32, shape (n_windows, n_devices)
            Shape (0, n_devices) of nothing.

        Raises
        ------
        InputError
            A clip is no window of this detector, a feature cannot be computed of it, or a reference is missing.
        SchemaError
            A column is missing in the table.
        """
        return self.layer.calibrate(self.raw(given, reference))

    def raw(self, given: FeatureTable | Sequence[Clip], reference: Reference | None = None) -> Floats:
        """The same before calibration."""
        if not isinstance(given, FeatureTable):
            self._require_windows(given)
            given = table_of_clips(given, self.groups)
        if not len(given):
            return np.empty((0, len(self.devices.names)), dtype=np.float32)
        if reference is not None and self.needs_reference:
            given = reference.over(given)
        return self.layer.raw(given)

    def calibrated_as(self, other: Detector) -> Detector:
        """The same with another's calibration: a fold's model with that of the final one, which limits are chosen for.

        A fold calibrates on few windows of recordings that it has heard, and is as cautious as these are few; the final
        model does on all windows that no fold had heard. Their probabilities rank alike and are not of one size.
        """
        return replace(self, layer=self.layer.with_calibration(other.layer.calibration))

    def save(self, folder: str | Path) -> None:
        """Write the layer and ``card.json`` into `folder`."""
        path = Path(folder)
        self.layer.save(path)
        text = json.dumps(dict(self.card), indent=1, allow_nan=False) + "\n"
        (path / CARD_FILE).write_text(text, encoding="utf-8")

    @classmethod
    def load(cls, run: Run | str | Path, *, beats: str | None = None) -> Self:
        """The final model of a run, or a detector's folder.

        Parameters
        ----------
        run : Run or path
        beats : str, optional
            Where the checkpoint of its encoder may lie; else EARMARK_BEATS, else where it was in training.

        Raises
        ------
        RunError
            The folder holds no detector, a file of it is damaged, or its encoder's checkpoint is not to be found.
        """
        from earmark.tasks.appliance.layers import load_layer

        path = Path(run) if isinstance(run, str | Path) else run.path
        card = read_card(path)
        try:
            room = Room.from_json(card)
            return cls(
                devices=room.devices,
                window_s=room.window_s,
                hop_s=room.hop_s,
                sample_rate=room.sample_rate,
                layer=load_layer(path, beats),
                floor_dbfs=card["floor_dbfs"],
                card=card,
                hash=model_hash(path),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"`{path / CARD_FILE}` cannot be used ({type(error).__name__}: {error}). Train again."
            ) from error

    def _require_windows(self, clips: Sequence[Clip]) -> None:
        for clip in clips:
            if clip.sample_rate != self.sample_rate or len(clip.samples) != self.n_samples:
                raise InputError(
                    f"{clip.uri or 'a clip'} has {len(clip.samples)} samples at {clip.sample_rate} Hz; a window of "
                    f"this model has {self.n_samples} at {self.sample_rate} Hz. Cut it to {self.window_s:g} s."
                )


def read_card(folder: Path) -> dict[str, Any]:
    """``card.json`` of a detector's folder; raises RunError where there is none."""
    try:
        card: dict[str, Any] = json.loads((folder / CARD_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(
            f"`{folder}` holds no detector ({error}). Name a finished run, or run: earmark train appliance"
        ) from error
    return card


def model_hash(folder: Path) -> str:
    """Of the files that decide the probabilities, 32 hexadecimal digits, in whichever folder they lie."""
    from earmark.training.recipe import digest

    kept = [folder / CARD_FILE, *sorted((folder / "model").rglob("*")), *sorted(folder.glob("*.safetensors"))]
    files = [path for path in kept if path.is_file()]
    return digest([[path.relative_to(folder).as_posix(), file_hash(path)] for path in files])


def table_of_clips(clips: Sequence[Clip], groups: Sequence[FeatureGroup]) -> FeatureTable:
    """Features of clips, as the engine computes those of files; raises InputError where a group fails."""
    vectors = [group for group in groups if group.kind == "vector"]
    rows: list[np.ndarray] = []
    arrays: dict[str, list[np.ndarray]] = {group.name: [] for group in groups if group.kind != "vector"}
    for number, clip in enumerate(clips):
        result = compute_clip(clip, groups)
        for name, error in result.errors.items():
            raise InputError(f"{clip.uri or f'window {number}'}: {name}: {error.message}")
        rows.append(
            np.concatenate([np.empty(0, np.float32), *(result.arrays[group.name] for group in vectors)])
        )
        for name, kept in arrays.items():
            kept.append(result.arrays[name])
    columns = tuple(column for group in vectors for column in group.column_names)
    if any(len(row) != len(columns) for row in rows):
        raise SchemaError(f"features have another width than the {len(columns)} columns declared.")
    values = np.array(rows, dtype=np.float32).reshape(len(rows), len(columns))
    ids = tuple(clip.uri or str(number) for number, clip in enumerate(clips))
    return FeatureTable(ids, columns, values, arrays=arrays)
