"""Harmonic and percussive parts of a clip, by median filtering of its magnitude spectrum.

What stays the same over 31 frames is harmonic, what stays the same over 31 bins is percussive. The spectrum
is divided between the two by the soft mask h^2 / (h^2 + p^2) of the two medians; where both vanish, in
halves. The edges are reflected. The percussive signal is the clip minus the harmonic one, so that the two add
up to the clip.

Reference: D. Fitzgerald, Harmonic/percussive separation using median filtering, DAFx 2010 (kernel 31,
exponent 2, margin 1).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.spectrum import hann_window, n_frames_of

Array = NDArray[np.float32]
N_FFT = 2048


@dataclass(frozen=True)
class Separation:
    """Energies of the two signals (sums of squares) and their magnitudes by frame, shape (n_frames, 2)."""

    harmonic_energy: float
    percussive_energy: float
    frames: Array


def harmonic_percussive_energy(clip: Clip) -> tuple[float, float]:
    """Energies (sums of squares) of the harmonic and the percussive signal; both 0 for silence."""
    separation = clip.memo(separate)
    return separation.harmonic_energy, separation.percussive_energy


def harmonic_percussive_frames(clip: Clip) -> Array:
    """Sums over the bins of the harmonic and percussive magnitude of each frame, float32, shape (n_frames, 2)."""
    return clip.memo(separate).frames


def separate(clip: Clip) -> Separation:
    """Energies and frame sums of the harmonic and percussive parts, in one pass that holds 48 frames."""
    return _separated(clip, np.empty(0, dtype=np.float32))


def harmonic_percussive_signals(clip: Clip) -> tuple[Array, Array]:
    """Harmonic and percussive signal, float32, each of the clip's length; their sum is the clip."""
    harmonic = np.zeros(len(clip.samples), dtype=np.float32)
    _separated(clip, harmonic)
    return harmonic, clip.samples - harmonic


def _separated(clip: Clip, harmonic: Array) -> Separation:
    """Run the kernel; ``harmonic`` receives the signal unless it is empty."""
    from earmark.audio import hpss_kernel
    from earmark.audio.tile_fft import twiddles

    n_frames = n_frames_of(len(clip.samples))
    frames = np.empty((n_frames, 2), dtype=np.float32)
    energies = hpss_kernel.separate(clip.samples, n_frames, hann_window(N_FFT), twiddles(), harmonic, frames)
    return Separation(float(energies[0]), float(energies[1]), frames)
