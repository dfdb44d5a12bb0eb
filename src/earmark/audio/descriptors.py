"""Spectral descriptors of every frame."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.filterbanks import mel_filterbank
from earmark.audio.spectrum import fft_frequencies_hz, magnitude

Array = NDArray[np.float32]
BRIGHT_HZ = 3000.0
CONTRAST_FLOOR = 1e-9


@dataclass(frozen=True)
class SpectralDescriptors:
    """What `spectral_descriptors` returns; first axis: frames."""

    centroid_hz: Array
    rolloff85_hz: Array
    rolloff90_hz: Array
    brightness: Array
    bandwidth_hz: Array
    flatness: Array
    flux: Array
    magnitude_sum: Array
    high_sum: Array
    contrast_db: Array
    mel_power: Array
    chroma: Array


def spectral_descriptors(clip: Clip) -> SpectralDescriptors:
    """All descriptors of the magnitude spectrum."""
    from earmark.audio.tonal import chroma

    S = clip.memo(magnitude)
    f = fft_frequencies_hz(clip.sample_rate).astype(np.float32)
    total = S.sum(axis=1)
    share = S / np.where(total > 0, total, 1)[:, None]
    centroid = share @ f
    bandwidth = np.sqrt(np.maximum((share * (f[None, :] - centroid[:, None]) ** 2).sum(axis=1), 0))
    cumulated = np.cumsum(S, axis=1)
    high = S[:, f > BRIGHT_HZ].sum(axis=1)
    power = np.maximum(S**2, np.float32(1e-10))
    return SpectralDescriptors(
        centroid_hz=centroid,
        rolloff85_hz=f[(cumulated < np.float32(0.85) * cumulated[:, -1:]).sum(axis=1)],
        rolloff90_hz=f[(cumulated < np.float32(0.90) * cumulated[:, -1:]).sum(axis=1)],
        brightness=high / (total + np.float32(1e-6)),
        bandwidth_hz=bandwidth,
        flatness=np.exp(np.log(power).mean(axis=1)) / power.mean(axis=1),
        flux=np.sqrt((np.diff(S, axis=0, prepend=S[:1]) ** 2).sum(axis=1)),
        magnitude_sum=total,
        high_sum=high,
        contrast_db=_contrast_db(S, clip.sample_rate),
        mel_power=S**2 @ mel_filterbank(clip.sample_rate).T,
        chroma=clip.memo(chroma),
    )


def _contrast_db(S: Array, sample_rate: int) -> Array:
    from earmark.audio.mel import power_to_db

    floored = np.maximum(S, CONTRAST_FLOOR * S.max(axis=1, keepdims=True))
    valley = np.zeros((len(S), 7), dtype=np.float32)
    peak = np.zeros((len(S), 7), dtype=np.float32)
    for band, (start, stop, k) in enumerate(contrast_bands(sample_rate)):
        if stop > start:
            ordered = np.sort(floored[:, start:stop], axis=1)
            valley[:, band] = ordered[:, :k].mean(axis=1)
            peak[:, band] = ordered[:, -k:].mean(axis=1)
    return power_to_db(peak) - power_to_db(valley)


def contrast_bands(sample_rate: int, n_fft: int = 2048) -> list[tuple[int, int, int]]:
    """First bin, end, and number of extreme bins of each of the 7 contrast bands."""
    f = fft_frequencies_hz(sample_rate, n_fft)
    edges = np.concatenate([[0.0], 200.0 * 2.0 ** np.arange(7)])
    bands = []
    for k in range(7):
        inside = np.flatnonzero((f >= edges[k]) & (f <= edges[k + 1]))
        if not len(inside):
            bands.append((0, 0, 1))
            continue
        start = int(inside[0]) - (k > 0)
        stop = len(f) if k == 6 else int(inside[-1]) + 1
        count = max(1, int(np.rint(0.02 * (stop - start))))
        bands.append((start, stop if k == 6 else stop - 1, count))
    return bands
