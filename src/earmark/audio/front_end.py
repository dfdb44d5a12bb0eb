"""The front end of rhythm analysis: a clip at peak level 1, without what lies below the lowest drum.

Conventions: the filter is a Butterworth high-pass of order 4, causal, with zero initial state, in double precision;
its output is not scaled again. It runs after the division by the peak, so that the result does not depend on the
level of the recording.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.errors import UsageError

HIGHPASS_HZ = 60.0
ORDER = 4


def front_end(clip: Clip, highpass_hz: float = HIGHPASS_HZ) -> Clip:
    """The clip divided by its peak and high-passed; silence stays zero.

    Parameters
    ----------
    clip : Clip
        As decoded.
    highpass_hz : float
        Corner (-3 dB) of the high-pass, Hz; 0 leaves the filter out.

    Returns
    -------
    Clip
        Same length and rate, with a memo of its own: ``ready = clip.memo(front_end)``, then
        ``ready.memo(log_mel)``.

    Raises
    ------
    UsageError
        The corner is negative or not below half the sample rate.

    Examples
    --------
    >>> clip = Clip(np.sin(np.arange(22_050) * 0.3).astype(np.float32) * 0.1, 22_050)
    >>> bool(np.abs(front_end(clip, highpass_hz=0).samples).max() == 1)
    True
    """
    if not 0 <= highpass_hz < clip.sample_rate / 2:
        raise UsageError(
            f"The high-pass corner is {highpass_hz:g} Hz; expected 0 (off) up to below {clip.sample_rate / 2:g} Hz, "
            "half the sample rate. Choose such a corner."
        )
    level = _peak(clip.samples)
    if not level:
        return Clip(clip.samples, clip.sample_rate, clip.uri)
    if not highpass_hz:
        return Clip(clip.samples / level, clip.sample_rate, clip.uri)
    from earmark.audio.biquad_kernel import filter_sections

    sections = highpass_sections(highpass_hz, clip.sample_rate)
    return Clip(filter_sections(clip.samples, 1.0 / level, sections), clip.sample_rate, clip.uri)


def _peak(samples: NDArray[np.float32]) -> float:
    return max(float(samples.max(initial=0.0)), -float(samples.min(initial=0.0)))


@lru_cache(maxsize=8)
def highpass_sections(corner_hz: float, sample_rate: int) -> NDArray[np.float64]:
    """Second-order sections of the Butterworth high-pass, rows b0 b1 b2 a0 a1 a2, shape (2, 6)."""
    from scipy.signal import butter

    sections: NDArray[np.float64] = butter(ORDER, corner_hz, "highpass", fs=sample_rate, output="sos")
    return np.ascontiguousarray(sections)
