"""What a recording does to a rendering: another level, a tilted spectrum, a narrow band, a floor of noise.

Two renderings with one sound font share its sound; these changes keep a model from learning the sound instead of the
meter. Times of events do not move: the filters are causal with short delays, far below a frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.tasks.meter.schema import SAMPLE_RATE

__all__ = ["coloured"]

PEAK_DB = (-18.0, -1.0)
FLOOR_DB = (-75.0, -42.0)


def coloured(samples: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The samples as another recording would have them; silence stays silence but for the floor.

    Returns
    -------
    np.ndarray, float32, shape (n_samples,)
        Within [-1, 1].
    """
    from scipy.signal import butter, sosfilt

    sound = samples.astype(np.float32)
    if rng.random() < 0.5:
        shelf = float(np.clip(rng.normal(0, 0.35), -0.7, 0.7))
        sound = sound + shelf * sosfilt(butter(1, 1500, "high", fs=SAMPLE_RATE, output="sos"), sound)
    if rng.random() < 0.35:
        cut_hz = float(np.exp(rng.uniform(np.log(3000), np.log(10_000))))
        sound = sosfilt(butter(2, cut_hz, "low", fs=SAMPLE_RATE, output="sos"), sound)
    if rng.random() < 0.25:
        sound = sosfilt(butter(2, float(rng.uniform(50, 180)), "high", fs=SAMPLE_RATE, output="sos"), sound)
    sound = np.asarray(sound, dtype=np.float32)
    peak = float(np.abs(sound).max(initial=0.0))
    if peak > 0 and rng.random() < 0.3:
        drive = float(rng.uniform(1, 3))
        sound, peak = np.tanh(drive * sound / peak), float(np.tanh(drive))
    if peak > 0:
        sound = sound * np.float32(10 ** (rng.uniform(*PEAK_DB) / 20) / peak)
    if rng.random() < 0.6:
        sound = sound + np.float32(10 ** (rng.uniform(*FLOOR_DB) / 20)) * rng.standard_normal(
            len(sound), dtype=np.float32
        )
    return np.asarray(np.clip(sound, -1, 1), dtype=np.float32)
