"""Modulation of a sound's envelope: the beat of a compressor, the speech or the steps over it.

Conventions: the envelope is the RMS of 10 ms frames (`levels.frame_rms`), its mean removed; its power at each frequency
is that of one plain Fourier transform over the clip. Shares are of all of the envelope's power, up to 50 Hz.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.levels import frame_rms

__all__ = ["BANDS_HZ", "modulation_shares"]

BANDS_HZ = ((0.5, 2.0), (2.0, 8.0), (8.0, 32.0))
"""A frequency on an edge belongs to the band above it."""

FRAME_S = 0.01
STEADY = 1e-20  # of the mean's power: what rounding leaves of a constant envelope


def modulation_shares(clip: Clip) -> NDArray[np.float64]:
    """Share of the envelope's power in each of `BANDS_HZ`, 0 to 1, shape (3,); 0 where the envelope is constant."""
    envelope = clip.memo(frame_rms, frame_s=FRAME_S)
    if envelope.size == 0:
        return np.zeros(len(BANDS_HZ))
    power = np.abs(np.fft.rfft(envelope - envelope.mean()))[1:] ** 2
    if power.sum() <= STEADY * envelope.sum() ** 2:
        return np.zeros(len(BANDS_HZ))
    frequencies_hz = np.fft.rfftfreq(len(envelope), FRAME_S)[1:]
    inside = [power[(frequencies_hz >= low) & (frequencies_hz < high)].sum() for low, high in BANDS_HZ]
    return np.asarray(inside / power.sum())
