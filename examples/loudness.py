"""A task of one's own in one file: is a recording loud or quiet?

Try it: ``earmark demo examples/loudness.py``.
"""

from pathlib import Path

import numpy as np
import soundfile

from earmark import Clip, Task, feature_group
from earmark.audio.spectrum import rms

FULL_SCALE_DB = 96.0  # dynamic range of 16-bit audio: silence lies this far below full scale


@feature_group("loudness.level", columns=("mean_db", "peak_db", "range_db"), sample_rate=16_000)
def level(clip: Clip):
    """Mean, largest and range of the level in dB below full scale."""
    frames_db = decibels(clip.memo(rms))
    return [frames_db.mean(), frames_db.max(), np.ptp(frames_db)]


@feature_group("loudness.crest", columns=("crest_db",), sample_rate=16_000)
def crest(clip: Clip):
    """Peak over effective value in dB: 3 for a sine, high for clicks."""
    effective = np.sqrt(np.mean(np.square(clip.samples)))
    return [decibels(np.abs(clip.samples).max()) - decibels(effective)]


def decibels(amplitude):
    """Amplitude in dB re full scale, never below silence."""
    return 20 * np.log10(np.maximum(amplitude, 10 ** (-FULL_SCALE_DB / 20)))


def make_demo(folder: Path) -> Path:
    """Forty seconds of noise at levels that a listener would call loud or quiet, and their labels."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(42)
    lines = ["path,label"]
    for number in range(40):
        label = ("quiet", "loud")[number % 2]
        peak = rng.uniform(0.3, 0.9) if label == "loud" else rng.uniform(0.01, 0.2)
        name = f"{label}-{number:02}.wav"
        soundfile.write(folder / name, peak * rng.uniform(-1, 1, 16_000), 16_000)
        lines.append(f"{name},{label}")
    labels = folder / "labels.csv"
    labels.write_text("\n".join(lines) + "\n")
    return labels


task = Task(
    name="loudness",
    item_noun="recordings",
    groups=[level, crest],
    classes=("quiet", "loud"),
    demo=make_demo,
)
