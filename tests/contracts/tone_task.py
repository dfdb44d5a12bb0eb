"""A small task for end-to-end tests, as a user would write it: is a short tone low or high?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from earmark.data.policy import SplitPolicy
from earmark.features import feature_group
from earmark.tasks.task import Task
from earmark.training.recipe import Recipe

RATE = 8_000


@feature_group("tone.spectrum", columns=("centroid_hz", "level", "spread_hz"), sample_rate=RATE)
def spectrum(clip):
    magnitude = np.abs(np.fft.rfft(clip.samples)) + 1e-9
    frequency_hz = np.fft.rfftfreq(clip.samples.size, 1 / RATE)
    centroid = (magnitude * frequency_hz).sum() / magnitude.sum()
    spread = np.sqrt((magnitude * (frequency_hz - centroid) ** 2).sum() / magnitude.sum())
    return [centroid, np.abs(clip.samples).mean(), spread]


task = Task(
    name="tone",
    groups=[spectrum],
    classes=("low", "high"),
    split=SplitPolicy(n_folds=3, stratify_on="label"),
    recipes=(Recipe("xgboost", {"n_trees": 40}), Recipe("logistic")),
    item_noun="tones",
)


def write_tone(path: Path, pitch_hz: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    time_s = np.arange(RATE // 4) / RATE
    samples = rng.uniform(0.1, 0.5) * np.sin(2 * np.pi * pitch_hz * time_s) + rng.normal(0, 0.05, time_s.size)
    # Files of floats carry the time of writing, so that equal sounds would have other contents each time.
    soundfile.write(path, samples, RATE, subtype="PCM_24")
