"""Shelving equalisers of two poles.

Conventions: a section is ``b0 b1 b2 1 a1 a2``, as `scipy.signal.sosfilt` reads it; frequencies in Hz, gains in dB. The
frequency of a shelf is where half of its gain, in dB, is reached.

Reference: R. Bristow-Johnson, "Cookbook formulae for audio EQ biquad filter coefficients", with a slope of 1, the
steepest that stays monotone.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from earmark.errors import UsageError

__all__ = ["high_shelf", "low_shelf", "shelve"]

Section = NDArray[np.float64]


def low_shelf(frequency_hz: float, gain_db: float, sample_rate: int) -> Section:
    """What is well below the frequency is raised by the gain; shape (6,)."""
    return _shelf(frequency_hz, gain_db, sample_rate, side=1.0)


def high_shelf(frequency_hz: float, gain_db: float, sample_rate: int) -> Section:
    """What is well above the frequency is raised by the gain; shape (6,)."""
    return _shelf(frequency_hz, gain_db, sample_rate, side=-1.0)


def shelve(samples: NDArray[np.float32], low: Section, high: Section) -> NDArray[np.float32]:
    """Samples through two sections, one after the other, from rest; float32, shape (n_samples,)."""
    from earmark.audio.biquad_kernel import filter_sections

    filtered: NDArray[np.float32] = filter_sections(samples, 1.0, np.stack([low, high]))
    return filtered


def _shelf(frequency_hz: float, gain_db: float, sample_rate: int, *, side: float) -> Section:
    """The cookbook's low shelf; its high shelf has cosines of the other sign and mirrored middle coefficients."""
    if not 0 < frequency_hz < sample_rate / 2:
        raise UsageError(
            f"A shelf is at {frequency_hz} Hz; expected above 0 and below {sample_rate / 2} Hz. Choose another."
        )
    a = 10 ** (gain_db / 40)
    w = 2 * math.pi * frequency_hz / sample_rate
    cosine, root = side * math.cos(w), math.sqrt(a) * math.sin(w) * math.sqrt(2)
    numerator = (
        a * ((a + 1) - (a - 1) * cosine + root),
        side * 2 * a * ((a - 1) - (a + 1) * cosine),
        a * ((a + 1) - (a - 1) * cosine - root),
    )
    denominator = (
        (a + 1) + (a - 1) * cosine + root,
        -side * 2 * ((a - 1) + (a + 1) * cosine),
        (a + 1) + (a - 1) * cosine - root,
    )
    return np.array([*numerator, *denominator]) / denominator[0]
