"""A detector's layer by an exported file: audio to logits by onnxruntime, without torch and without a checkpoint.

The file is what `earmark.tasks.appliance.export` wrote. It is asked as a feature group whose columns are the logits of
the devices, so that answers of files are cached, and streams and live come the same way.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from earmark.audio.clip import Clip
from earmark.features.group import FeatureGroup, feature_group
from earmark.features.table import FeatureTable
from earmark.models.estimator import Floats
from earmark.models.multilabel import calibrated
from earmark.models.onnx_files import session
from earmark.models.platt import Platt
from earmark.models.weights import Weights
from earmark.tasks.appliance.schema import SAMPLE_RATE

__all__ = ["MODEL_FILE", "OnnxLayer", "logits_group"]

MODEL_FILE = "model.onnx"


@dataclass(frozen=True)
class OnnxLayer:
    """An ONNX file from audio to logits, with a Platt scaling per device.

    Parameters
    ----------
    model : Weights
        The file.
    devices : tuple of str
        In the order of its output.
    calibration : tuple of Platt
    """

    model: Weights
    devices: tuple[str, ...]
    calibration: tuple[Platt, ...]

    @property
    def groups(self) -> tuple[FeatureGroup, ...]:
        """The one group: logits of a window."""
        return (logits_group(self.model, self.devices),)

    @property
    def needs_reference(self) -> bool:
        """No: each window is heard alone."""
        return False

    def raw(self, table: FeatureTable) -> Floats:
        """Raw probabilities, shape (n, n_devices)."""
        from scipy.special import expit

        logits = table.select(self.groups[0].column_names).values
        return np.asarray(expit(logits.astype(np.float64)), dtype=np.float32)

    def with_calibration(self, calibration: Sequence[Platt]) -> OnnxLayer:
        """The same file with another calibration."""
        return replace(self, calibration=tuple(calibration))

    def on_floor(self, floor_dbfs: float) -> OnnxLayer:
        """Itself: a network knows no floor."""
        return self

    def calibrate(self, raw: Floats) -> Floats:
        """Raw probabilities as calibrated ones."""
        return calibrated(raw, self.calibration)

    def save(self, folder: Path) -> None:
        """Copy the file to ``model/`` and write ``model/layer.json``."""
        from earmark.tasks.appliance.layers import MODEL_FOLDER, write_record

        (folder / MODEL_FOLDER).mkdir(parents=True, exist_ok=True)
        target = folder / MODEL_FOLDER / MODEL_FILE
        if target.resolve() != Path(self.model.path):
            shutil.copyfile(self.model.path, target)
        write_record(
            folder,
            self.groups,
            {"onnx": list(self.devices), "calibration": [platt.to_dict() for platt in self.calibration]},
        )


def logits_group(model: Weights, devices: Sequence[str]) -> FeatureGroup:
    """Group ``appliance.onnx``: what a file says of a window before calibration."""
    return feature_group(
        "appliance.onnx",
        columns=tuple(devices),
        sample_rate=SAMPLE_RATE,
        parameters={"model": model},
        lookahead_s=0.0,
    )(_logits)


def _logits(clip: Clip, *, model: Weights) -> Floats:
    """Logits of the devices, shape (n_devices,)."""
    answer: Floats = _session(model).run(["logits"], {"audio": clip.samples[None]})[0][0]
    return answer


@lru_cache(maxsize=1)
def _session(model: Weights) -> Any:
    """Opened once per process, on one thread: each window has the same bits wherever it is asked."""
    return session(model.content())
