"""Clicks with accents, for tests of trackers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip

SAMPLE_RATE = 22_050


def clicked(times_s: NDArray[np.float64], beats_per_bar: int = 1, duration_s: float = 20.0) -> Clip:
    """Short tones at the given times; the first of each bar is louder and lower."""
    rng = np.random.default_rng(0)
    samples = rng.normal(0, 1e-4, int(duration_s * SAMPLE_RATE))
    n = np.arange(int(0.06 * SAMPLE_RATE))
    for i, time in enumerate(times_s):
        is_downbeat = i % beats_per_bar == 0
        hertz, level = (150, 1.0) if is_downbeat and beats_per_bar > 1 else (1000, 0.5)
        tone = level * np.exp(-n / (0.012 * SAMPLE_RATE)) * np.sin(2 * np.pi * hertz * n / SAMPLE_RATE)
        start = int(time * SAMPLE_RATE)
        end = min(start + len(tone), len(samples))
        samples[start:end] += tone[: max(end - start, 0)]
    return Clip(samples.astype(np.float32), SAMPLE_RATE)
