"""A small project under the name of the task `meter`: short clips whose class a few numbers tell."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import soundfile

from earmark.data.manifest import Manifest
from earmark.data.policy import SplitPolicy
from earmark.data.seal import seal
from earmark.data.splits import Splits
from earmark.features.group import feature_group
from earmark.features.sets import FeatureSet
from earmark.tasks.project import Project
from earmark.tasks.task import Task
from earmark.training.recipe import Recipe

RATE = 8000
CLASSES = ("3", "4", "5", "7", "9", "11")
SEALED = ("meters", "label_original", "label_corrected")
POLICY = SplitPolicy(test_fraction=0.25, n_folds=3, sealed_columns=SEALED)


@feature_group("meter.plain", columns=("mean", "peak", "mfcc_mean_01"), sample_rate=RATE)
def plain(clip):
    x = clip.samples
    return np.float32([x.mean(), np.abs(x).max(), np.abs(x).mean()])


@feature_group("meter.noise", columns=("a", "b"), sample_rate=RATE)
def noise(clip):
    x = clip.samples
    return np.float32([x[0] - x.mean(), x[-1] - x.mean()])


TASK = Task(
    name="meter",
    feature_sets={
        "both": FeatureSet("both", (plain, noise)),
        "noise": FeatureSet("noise", (noise,)),
    },
    classes=CLASSES,
    split=POLICY,
    soft_labels="meters",
    recipes=(Recipe("logistic"), Recipe("xgboost")),
    grids={"logistic": {"strength": (0.01, 1.0, 10.0)}},
    item_noun="clips",
    min_coverage=0.95,
)


def make_project(folder: Path, n: int = 64, seed: int = 0) -> Project:
    """Clips of classes 3 and 4 in pairs of one group: level tells the class, most of the time."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        label = "34"[i // 2 % 2]
        level = (0.3 if label == "3" else 0.6) + rng.normal(0, 0.1)
        path = folder / "audio" / f"clip-{i:03d}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.clip(level + rng.normal(0, 0.02, RATE // 4), -1, 1), RATE)
        rows.append(
            {
                "id": path.stem,
                "uri": str(path),
                "group": f"song-{i // 2}",
                "label": label,
                "meters": "3" if label == "3" else "3:0.5,4:0.9",
                "dataset": "meter2800" if i % 4 < 2 else "ballroom",
                "style": "waltz" if label == "3" else "polka",
                "source": f"S{i // 4 % 2}",
                "label_original": label,
                "label_corrected": "4" if i == 0 else label,
            }
        )
    project = Project.open(TASK, folder)
    manifest = Manifest(pl.DataFrame(rows), root=folder)
    seal(project.data_folder, manifest, Splits.make(manifest, POLICY))
    return project
