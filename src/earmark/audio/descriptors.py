"""Spectral descriptors of every frame: centroid, roll-off, contrast, mel bands and more, from one pass over
the signal.

Conventions: frames of 2048 samples, hop 512, periodic Hann window, centred, zeros outside the signal; S is
the magnitude spectrum; dB of the contrast are ``10 log10`` of magnitudes, as in the literature's reference
implementation. A silent frame has 0 in every field, but flatness 1.

The contrast compares the mean of the strongest 2 % of the bins of a band with the mean of the weakest 2 %.
Material that a codec or a resampler has low-passed leaves rounding noise there, 150 dB down, and its level
depends on the machine. So magnitudes count as at least ``CONTRAST_FLOOR`` times the frame's largest.

References: D. Jiang et al., Music type classification by spectral contrast feature, ICME 2002; G. Peeters, A
large set of audio features for sound description, Ircam 2004.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.filterbanks import mel_filterbank
from earmark.audio.spectrum import fft_frequencies_hz, hann_window, n_frames_of

Array = NDArray[np.float32]
N_FFT = 2048
BRIGHT_HZ = 3000.0
PITCH_RANGE_HZ = (150.0, 4000.0)
CONTRAST_FLOOR = 2.0**-23  # what float32 resolves beside the largest
CONTRAST_LOWEST_HZ = 200.0
CONTRAST_QUANTILE = 0.02
N_CONTRAST_BANDS = 7


@dataclass(frozen=True)
class SpectralDescriptors:
    """What `spectral_descriptors` returns: float32, first axis frames. Shared: do not write to them.

    Attributes
    ----------
    centroid_hz : shape (n_frames,)
        Mean frequency, weighted by S.
    rolloff85_hz, rolloff90_hz : shape (n_frames,)
        Lowest bin frequency under which 85 or 90 % of the summed S lie.
    brightness : shape (n_frames,)
        Share of S above 3000 Hz, 0 to 1.
    bandwidth_hz : shape (n_frames,)
        Standard deviation of the frequency, weighted by S.
    flatness : shape (n_frames,)
        Geometric over arithmetic mean of the power (at least 1e-10), 0 to 1.
    flux : shape (n_frames,)
        Euclidean distance to the S of the frame before; 0 in the first.
    magnitude_sum, high_sum : shape (n_frames,)
        Sum of S over all bins and over those above 3000 Hz.
    contrast_db : shape (n_frames, 7)
        Peak over valley of 0-200 Hz, five octaves from there, and the rest; a band above half the rate is 0.
    mel_power : shape (n_frames, 128)
        Power in mel bands.
    peak_bin, peak_power : shape (n_peaks,)
        Place in bins and height of the peaks of the power spectrum of all frames, for the tuning.
    peak_size_bin, peak_size : shape (n_peaks_of_size,)
        The same of the magnitude spectrum S: another parabola, and more peaks reach a tenth of the largest.
    """

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
    peak_bin: Array
    peak_power: Array
    peak_size_bin: Array
    peak_size: Array


def spectral_descriptors(clip: Clip) -> SpectralDescriptors:
    """All descriptors of the magnitude spectrum, in one pass.

    Returns
    -------
    SpectralDescriptors
        At least one frame, also of an empty clip; all values finite.
    """
    from earmark.audio import descriptor_kernel as kernel
    from earmark.audio.simd import LANES
    from earmark.audio.tile_fft import twiddles

    n_frames = n_frames_of(len(clip.samples))
    n_padded = -(-n_frames // LANES) * LANES
    sums, extremes = np.empty(n_padded * 16, dtype=np.float32), np.empty(n_padded * 16, dtype=np.float32)
    mel_bands, mel_weights = _sparse_mel(clip.sample_rate)
    mel_power = np.empty(n_padded * len(mel_bands), dtype=np.float32)
    bands, settings = contrast_bands(clip.sample_rate), _settings(clip.sample_rate)
    # Room for the most there can be; memory that is not written to is not taken.
    most_peaks = n_frames * ((settings[2] - settings[1]) // 2 + 1)
    peaks = np.empty((4, most_peaks), dtype=np.float32)
    n_peaks, n_peaks_of_size = kernel.describe(
        clip.samples,
        n_frames,
        hann_window(N_FFT),
        twiddles(),
        bands,
        mel_bands,
        mel_weights,
        settings,
        sums,
        extremes,
        mel_power,
        *peaks,
    )
    table = sums.reshape(n_padded, 16)[:n_frames].T
    return SpectralDescriptors(
        **_frame_values(table, clip.sample_rate),
        contrast_db=_contrast_db(extremes.reshape(n_padded, 16)[:n_frames], bands),
        mel_power=mel_power.reshape(n_padded, -1)[:n_frames],
        peak_bin=peaks[0, :n_peaks].copy(),
        peak_power=peaks[1, :n_peaks].copy(),
        peak_size_bin=peaks[2, :n_peaks_of_size].copy(),
        peak_size=peaks[3, :n_peaks_of_size].copy(),
    )


def _frame_values(table: Array, sample_rate: int) -> dict[str, Array]:
    """The descriptors that follow from the kernel's sums, (16, n_frames)."""
    from earmark.audio import descriptor_kernel as kernel

    bin_hz = np.float32(sample_rate / N_FFT)
    total = table[kernel.TOTAL].copy()
    scale = np.where(total > 0, total, np.float32(1.0))
    centroid = table[kernel.MOMENT1] / scale
    spread = table[kernel.MOMENT2].astype(np.float64) / scale - centroid.astype(np.float64) ** 2
    n_bins = 1 + N_FFT // 2
    return {
        "centroid_hz": centroid * bin_hz,
        "rolloff85_hz": table[kernel.ROLL85] * bin_hz,
        "rolloff90_hz": table[kernel.ROLL90] * bin_hz,
        "brightness": table[kernel.HIGH] / (total + np.float32(1e-6)),
        "bandwidth_hz": np.sqrt(np.maximum(spread, 0.0)).astype(np.float32) * bin_hz,
        "flatness": np.exp2(table[kernel.LOG2_POWER] / n_bins) / (table[kernel.POWER] / n_bins),
        "flux": np.sqrt(table[kernel.FLUX2]),
        "magnitude_sum": total,
        "high_sum": table[kernel.HIGH].copy(),
    }


def _contrast_db(extremes: Array, bands: NDArray[np.int64]) -> Array:
    """Peak over valley in dB, both at most 80 dB below their maximum over the clip."""
    from earmark.audio.mel import power_to_db

    counts = bands[:, 2].astype(np.float32)
    peak, valley = extremes[:, :N_CONTRAST_BANDS] / counts, extremes[:, N_CONTRAST_BANDS:14] / counts
    contrast = power_to_db(peak) - power_to_db(valley)
    contrast[:, bands[:, 1] <= bands[:, 0]] = 0.0
    return contrast


@lru_cache(maxsize=8)
def contrast_bands(sample_rate: int) -> NDArray[np.int64]:
    """First bin, end, and number of extreme bins of the contrast bands, shape (7, 3).

    A band takes in the bin below its lower edge and leaves out the highest below its upper edge; the last
    goes to the end.
    """
    f = fft_frequencies_hz(sample_rate, N_FFT)
    edges_hz = np.concatenate([[0.0], CONTRAST_LOWEST_HZ * 2.0 ** np.arange(N_CONTRAST_BANDS)])
    bands = np.zeros((N_CONTRAST_BANDS, 3), dtype=np.int64)
    bands[:, 2] = 1
    for k in range(N_CONTRAST_BANDS):
        inside = np.flatnonzero((f >= edges_hz[k]) & (f <= edges_hz[k + 1]))
        if not len(inside):
            continue
        last = k == N_CONTRAST_BANDS - 1
        first, end = int(inside[0]) - (k > 0), len(f) if last else int(inside[-1]) + 1
        count = max(1, int(np.rint(CONTRAST_QUANTILE * (end - first))))
        bands[k] = first, end if last else end - 1, count
    return bands


@lru_cache(maxsize=8)
def _sparse_mel(sample_rate: int) -> tuple[NDArray[np.int64], Array]:
    """Mel filters without their zeros: first bin, number of bins and place of the weights; the weights."""
    filters = mel_filterbank(sample_rate, N_FFT)
    bands = np.zeros((len(filters), 3), dtype=np.int64)
    weights = [np.zeros(0, dtype=np.float32)]
    place = 0
    for i, triangle in enumerate(filters):
        inside = np.flatnonzero(triangle)
        first, n = (int(inside[0]), int(inside[-1] - inside[0]) + 1) if len(inside) else (0, 0)
        bands[i] = first, n, place
        weights.append(triangle[first : first + n])
        place += n
    return bands, np.concatenate(weights)


def _settings(sample_rate: int) -> tuple[int, int, int, float]:
    """First bin above 3000 Hz, first and end bin of pitches, floor of the contrast."""
    f = fft_frequencies_hz(sample_rate, N_FFT)
    low_hz, high_hz = PITCH_RANGE_HZ
    inside = np.flatnonzero((f >= low_hz) & (f < min(high_hz, sample_rate / 2)))
    first, end = (int(inside[0]), int(inside[-1]) + 1) if len(inside) else (1, 1)
    high = int(np.searchsorted(f, BRIGHT_HZ, side="right"))
    return min(high, len(f)), max(first, 1), min(end, len(f) - 1), CONTRAST_FLOOR
