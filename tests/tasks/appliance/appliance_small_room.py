"""A run that answers, made in a second: a detector trained on seconds of a synthetic room, with its thresholds."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from earmark.audio.clip import Clip
from earmark.models.classifier import Classifier
from earmark.models.multilabel import OFF_ON, fit_multilabel
from earmark.tasks.appliance.decoding.presets import default_rule
from earmark.tasks.appliance.detector import Detector, table_of_clips
from earmark.tasks.appliance.generator.scene import SyntheticRoom
from earmark.tasks.appliance.layers import ColumnsLayer
from earmark.tasks.appliance.names import DEFAULT_PATTERN
from earmark.tasks.appliance.room import Room
from earmark.tasks.appliance.schema import DEFAULT_DEVICES, states
from earmark.tasks.appliance.thresholds_file import THRESHOLDS_FILE, Thresholds
from earmark.tasks.appliance.views import VIEWS
from earmark.training.runs import RunWriter

RATE = 16_000
ROOM = SyntheticRoom(is_disturbed=False)
GROUPS = tuple(VIEWS["spectral"].groups)
FLOOR_DBFS = -58.0


def steady(ac: bool, fridge: bool, seconds: float, seed: int = 0, daypart: str = "day") -> np.ndarray:
    """Audio of the room in one state."""
    facts = {"ac": ac, "fridge": fridge}
    return ROOM.steady(facts, daypart, seconds, np.random.default_rng(seed)).samples


def switching(spans: dict, seconds: float, seed: int = 0) -> np.ndarray:
    """Audio in which machines run in spans of seconds."""
    return ROOM.switching(
        {"ac": (), "fridge": ()} | spans, "day", seconds, np.random.default_rng(seed)
    ).samples


def written_run(root: Path, decoder: str = "median"):
    """A run folder under `root`/appliance, as training leaves it."""
    room = Room(DEFAULT_DEVICES, DEFAULT_PATTERN, 6.0, 1.5)
    layer = _layer()
    groups = [group.name for group in GROUPS]
    card = room.to_json() | {"groups": groups, "floor_dbfs": FLOOR_DBFS, "model": "spectral"}
    card.pop("seal")
    with RunWriter(root, "appliance", "spectral") as writer:
        Detector(DEFAULT_DEVICES, 6.0, 1.5, RATE, layer, FLOOR_DBFS, card).save(writer.path)
        config = {
            "format": 1,
            "kind": "detector",
            "task": "appliance",
            "key": "0" * 32,
            "classes": states(DEFAULT_DEVICES),
        }
        writer.write_config(
            config | {"recipe": {"algorithm": "spectral"}, "created": "2025-01-01T00:00:00+00:00"}
        )
        writer.write_metrics({"state_acc": {"value": 1.0, "direction": "higher", "folds": []}}, [])
    detector = Detector.load(writer.run.path)
    rule = default_rule(decoder)
    chosen = Thresholds(DEFAULT_DEVICES, {"ac": 0.5, "fridge": 0.5}, rule=rule, model=detector.hash)
    chosen.write(writer.run.path / THRESHOLDS_FILE)
    return writer.run


def change_threshold(folder: Path, device: str, t: float, t_on: float) -> None:
    """Move where a device counts as on, in the file alone."""
    detector = Detector.load(folder)
    old = Thresholds.of_run(folder, detector.devices, detector.hash)
    limits = old.rule.limits_of(detector.devices)
    limits[device] = replace(limits[device], t_on=t_on, t_off=t_on - 0.01)
    replace(old, t={**old.t, device: t}, rule=old.rule.with_limits(limits)).write(folder / THRESHOLDS_FILE)


def _layer() -> ColumnsLayer:
    clips, truth = [], []
    for seed, (ac, fridge, daypart) in enumerate(product((False, True), (False, True), ("day", "night"))):
        samples = steady(ac, fridge, 18.0, 100 + seed, daypart)
        for start in range(0, len(samples) - 6 * RATE + 1, 3 * RATE):
            clips.append(Clip(samples[start : start + 6 * RATE], RATE))
            truth.append((ac, fridge))
    table = table_of_clips(clips, GROUPS)
    y = np.array(truth, dtype=np.int64)
    model = fit_multilabel(
        lambda _label: Classifier.make("logistic", classes=OFF_ON),
        table.values,
        y,
        table.columns,
        DEFAULT_DEVICES.names,
        weights=np.ones(y.shape),
    )
    return ColumnsLayer(model, GROUPS)
