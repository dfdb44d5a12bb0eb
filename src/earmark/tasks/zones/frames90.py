"""The frame table of 90 columns: level, shape of the spectrum, timbre, harmony and drops every half second.

Frames and averaging are those of `earmark.tasks.zones.frames`. Columns that frames38 or frames79 define are
taken from there and have the same bare name, 35 of the 90; a group all of whose columns are, is shared.

==========================  =================================================================================
columns                     definition
==========================  =================================================================================
rms                         root of the mean mel power, over the highest of the track: 0 to 1, free of gain
rms_variance                variance of rms over the last 8 frames (4 s), fewer at the start
low_energy_flag             1 where rms lies below its mean
spectral_centroid,          of the magnitude spectrum, as in frames38; the roll-off is at 85 %
 rolloff, brightness,
 flux, flatness, bandwidth
spectral_skewness           sum(S (f - c)^3) / sum(S) / b^3, c the centroid and b the bandwidth: > 0 where
                            the spectrum trails off upwards
spectral_kurtosis           sum(S (f - c)^4) / sum(S) / b^4: 3 for a bell shape, more with far outliers
spectral_contrast_1 .. 7    natural log of the mean of the strongest over that of the weakest quarter of the
                            bins, in seven bands of equal width (1572 Hz, from 5 Hz)
spectral_contrast           mean of the seven
mfcc_1 .. 19                cepstral coefficients 1 to 19 of the log mel spectrum, at most 80 dB below its
                            loudest band
onset_strength, zero        as in frames38
 _crossing_rate
..._delta                   difference to the frame before: of rms, zero crossings, centroid, roll-off,
                            brightness, onset strength and the cepstrum; rms_delta2 is that of rms_delta
chroma, tonnetz             ``zones.frames_tonal``
harmonic, percussive ratio  ``zones.frames_balance``
build-up, valley, peak,     ``zones.frames_drops``, so of the level in full: the mel bands begin at 20 Hz and
 drop candidate             weigh every band alike, which hides the bass that a drop brings back
==========================  =================================================================================

Mel bands: 128, 20 to 8000 Hz, Slaney. Bins: 2048-sample spectra, S their magnitude. Silence gives 0, but
flatness 1.

Look-ahead: centroid, roll-off, brightness, flux, flatness, bandwidth, skewness, kurtosis, contrast and zero
crossings see half a window beyond their frame; all else is relative to the whole track.

Reference: G. Peeters, A large set of audio features for sound description, Ircam 2004 (spectral moments).
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import numpy as np

from earmark.audio.clip import Clip
from earmark.audio.descriptors import CONTRAST_FLOOR, N_FFT, spectral_descriptors
from earmark.audio.filterbanks import mel_filterbank
from earmark.audio.mel import power_to_db
from earmark.audio.spectrum import FFT_BLOCK_FRAMES, hann_window, n_frames_of
from earmark.features import FeatureGroup, feature_group
from earmark.tasks.zones.frames import (
    DROP_COLUMNS,
    ENERGY_COLUMNS,
    FRAME_S,
    HOP_LENGTH,
    MIN_DURATION_S,
    RHYTHM_COLUMNS,
    SAMPLE_RATE,
    SPECTRUM_COLUMNS,
    WINDOW_S,
    balance_frames,
    drop_frames,
    energy_frames,
    frame_means,
    frames_balance,
    frames_drops,
    rhythm_frames,
    spectrum_frames,
)
from earmark.tasks.zones.frames79 import TONAL_COLUMNS, frames_tonal, tonal_frames
from earmark.tasks.zones.statistics import agg14, agg14_columns, first_difference

__all__ = [
    "FRAMES90_COLUMNS",
    "FRAMES90_GROUPS",
    "SpectralShape",
    "frames90",
    "frames90_cepstrum",
    "frames90_level",
    "frames90_spectrum",
    "frames90_statistics",
    "local_variance",
    "mel_level",
    "spectral_shape",
]

N_MELS, LOWEST_HZ, HIGHEST_HZ = 128, 20.0, 8000.0
VARIANCE_FRAMES = 8
N_BANDS, BAND_BINS = 7, 146  # bins 1 to 1022: all but 0 Hz and the last two
QUARTER_BINS = BAND_BINS // 4
COEFFICIENTS = range(1, 20)
LEAST_VARIANCE = 1e-12  # of the place in the spectrum, 0 to 1; a window's own main lobe has 1e-7

LEVEL_COLUMNS = (
    "rms",
    "rms_delta",
    "rms_delta2",
    "rms_variance",
    "low_energy_flag",
    "zero_crossing_rate",
    "zcr_delta",
    "onset_strength",
    "onset_strength_delta",
)
SHAPE_COLUMNS = (
    "spectral_centroid",
    "spectral_centroid_delta",
    "spectral_rolloff",
    "spectral_rolloff_delta",
    "brightness",
    "brightness_delta",
    "spectral_flux",
    "spectral_flatness",
    "spectral_bandwidth",
    "spectral_skewness",
    "spectral_kurtosis",
    *(f"spectral_contrast_{k}" for k in range(1, 1 + N_BANDS)),
    "spectral_contrast",
)
CEPSTRUM_COLUMNS = (*(f"mfcc_{k}" for k in COEFFICIENTS), *(f"mfcc_{k}_delta" for k in COEFFICIENTS))


@feature_group(
    "zones.frames90_level",
    columns=LEVEL_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="frames",
    frame_s=FRAME_S,
    min_duration_s=MIN_DURATION_S,
    lookahead_s={
        name: WINDOW_S if name in {"zero_crossing_rate", "zcr_delta"} else inf for name in LEVEL_COLUMNS
    },
)
def frames90_level(clip: Clip) -> np.ndarray:
    """Level of the mel bands from 0 to 1, its changes and spread; zero crossings and onset strength."""
    return clip.memo(level_frames)


@feature_group(
    "zones.frames90_spectrum",
    columns=SHAPE_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="frames",
    frame_s=FRAME_S,
    min_duration_s=MIN_DURATION_S,
    lookahead_s=WINDOW_S,
)
def frames90_spectrum(clip: Clip) -> np.ndarray:
    """Shape of the spectrum with its third and fourth moment; roll-off at 85 %; contrast of linear bands."""
    return clip.memo(shape_frames)


@feature_group(
    "zones.frames90_cepstrum",
    columns=CEPSTRUM_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="frames",
    frame_s=FRAME_S,
    min_duration_s=MIN_DURATION_S,
)
def frames90_cepstrum(clip: Clip) -> np.ndarray:
    """Cepstral coefficients 1 to 19 of mel bands from 20 to 8000 Hz, and their changes."""
    return clip.memo(cepstrum_frames)


FRAMES90_GROUPS: tuple[FeatureGroup, ...] = (
    frames90_level,
    frames90_spectrum,
    frames90_cepstrum,
    frames_tonal,
    frames_balance,
    frames_drops,
)
FRAMES90_COLUMNS = (
    *(*LEVEL_COLUMNS, *SHAPE_COLUMNS, *CEPSTRUM_COLUMNS),
    *(*TONAL_COLUMNS, *frames_balance.columns, *DROP_COLUMNS),
)


@feature_group(
    "zones.frames90_agg14",
    columns=agg14_columns(FRAMES90_COLUMNS),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def frames90_statistics(clip: Clip) -> np.ndarray:
    """Fourteen statistics over time of each of the 90 frame columns."""
    return agg14(clip.memo(frames90))


def frames90(clip: Clip) -> np.ndarray:
    """All columns of `FRAMES90_GROUPS` side by side, shape (n_frames, 90)."""
    own = (clip.memo(level_frames), clip.memo(shape_frames), clip.memo(cepstrum_frames))
    shared = (clip.memo(tonal_frames), clip.memo(balance_frames), clip.memo(drop_frames))
    return np.column_stack([*own, *shared])


def level_frames(clip: Clip) -> np.ndarray:
    """Values of ``zones.frames90_level``, shape (n_frames, 9)."""
    level = clip.memo(mel_level)
    step = first_difference(level)
    crossings = _named(ENERGY_COLUMNS, clip.memo(energy_frames), "zero_crossing_rate", "zcr_delta")
    onset = _named(RHYTHM_COLUMNS, clip.memo(rhythm_frames), "onset_strength", "onset_strength_delta")
    own = [level, step, first_difference(step), local_variance(level), level < level.mean()]
    return np.column_stack([*own, crossings, onset])


def shape_frames(clip: Clip) -> np.ndarray:
    """Values of ``zones.frames90_spectrum``, shape (n_frames, 19)."""
    rolloff = frame_means(clip, clip.memo(spectral_descriptors).rolloff85_hz)
    shared = dict(zip(SPECTRUM_COLUMNS, clip.memo(spectrum_frames).T, strict=True))
    shared |= {"spectral_rolloff": rolloff, "spectral_rolloff_delta": first_difference(rolloff)}
    known = [shared[name] for name in SHAPE_COLUMNS[: SHAPE_COLUMNS.index("spectral_skewness")]]
    shape = clip.memo(spectral_shape)
    own = frame_means(clip, np.column_stack([shape.skewness, shape.kurtosis, shape.contrast]))
    return np.column_stack([*known, own, own[:, 2:].mean(axis=1)])


def cepstrum_frames(clip: Clip) -> np.ndarray:
    """Values of ``zones.frames90_cepstrum``, shape (n_frames, 38)."""
    mel_db = power_to_db(clip.memo(spectral_shape).mel_power)
    angle = np.pi / N_MELS * np.outer(np.arange(N_MELS) + 0.5, COEFFICIENTS)
    cosines = np.sqrt(2.0 / N_MELS) * np.cos(angle)  # orthonormal DCT-II without coefficient 0
    # The transform is linear, so the mean of the cepstrum is the cepstrum of the mean.
    coefficients = frame_means(clip, mel_db) @ cosines
    return np.column_stack([coefficients, first_difference(coefficients)])


def mel_level(clip: Clip) -> np.ndarray:
    """Root of the mean mel power of each frame over the highest of the track, shape (n_frames,): 0 to 1."""
    power = clip.memo(spectral_shape).mel_power.mean(axis=1, dtype=np.float64)
    level = np.sqrt(frame_means(clip, power))
    loudest = float(level.max())
    return np.asarray(level / loudest if loudest > 0 else level)


def local_variance(level: np.ndarray) -> np.ndarray:
    """Variance over each frame and the 7 before it, shape (n_frames,); over fewer at the start, so 0 first."""
    return np.array([level[max(0, i + 1 - VARIANCE_FRAMES) : i + 1].var() for i in range(len(level))])


@dataclass(frozen=True)
class SpectralShape:
    """What `spectral_shape` returns, every 512 samples; float32. Shared: do not write to it.

    Attributes
    ----------
    skewness, kurtosis : shape (n_hops,)
        Standardised third and fourth moment of the magnitude over frequency; 0 for silence.
    contrast : shape (n_hops, 7)
        Natural log of the strongest over the weakest quarter of seven bands of equal width.
    mel_power : shape (n_hops, 128)
        Power in mel bands from 20 to 8000 Hz.
    """

    skewness: np.ndarray
    kurtosis: np.ndarray
    contrast: np.ndarray
    mel_power: np.ndarray


def spectral_shape(clip: Clip) -> SpectralShape:
    """Moments, linear-band contrast and narrow mel bands of every spectrum, in one pass by blocks.

    Returns
    -------
    SpectralShape
        At least one row; all values finite.
    """
    from scipy.sparse import csr_array

    n_frames = n_frames_of(len(clip.samples))
    moments = np.empty((n_frames, 2), dtype=np.float32)
    contrast = np.empty((n_frames, N_BANDS), dtype=np.float32)
    mel_power = np.empty((n_frames, N_MELS), dtype=np.float32)
    # One weight in a hundred is not 0; a dense product would also wake threads for each small block.
    filters = csr_array(mel_filterbank(clip.sample_rate, N_FFT, N_MELS, LOWEST_HZ, HIGHEST_HZ))
    for start in range(0, n_frames, FFT_BLOCK_FRAMES):
        stop = min(start + FFT_BLOCK_FRAMES, n_frames)
        size = _magnitude_between(clip, start, stop)
        moments[start:stop] = _skewness_kurtosis(size)
        contrast[start:stop] = _quarter_contrast(size)
        mel_power[start:stop] = (filters @ np.square(size).T).T
    return SpectralShape(moments[:, 0], moments[:, 1], contrast, mel_power)


def _magnitude_between(clip: Clip, start: int, stop: int) -> np.ndarray:
    """Rows ``start`` to ``stop`` of the magnitude spectrum: a whole track's would take 20 MB per minute."""
    first, length = start * HOP_LENGTH - N_FFT // 2, (stop - start - 1) * HOP_LENGTH + N_FFT
    samples = clip.samples[max(0, first) : first + length]
    padded = np.zeros(length, dtype=np.float32)
    padded[max(0, -first) :][: len(samples)] = samples
    framed = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP_LENGTH]
    return np.abs(np.fft.rfft(framed * hann_window(N_FFT), axis=1))


def _skewness_kurtosis(size: np.ndarray) -> np.ndarray:
    """Standardised third and fourth moment of each row over its bins, shape (n, 2); 0 where there is no spread."""
    place = np.linspace(0.0, 1.0, size.shape[1])
    total, *raw = (size.astype(np.float64) @ place[:, None] ** np.arange(5)).T
    m1, m2, m3, m4 = np.divide(raw, total, out=np.zeros((4, len(size))), where=total > 0)
    variance = m2 - m1**2
    spread = np.where(variance > LEAST_VARIANCE, variance, np.inf)
    third = m3 - 3 * m1 * m2 + 2 * m1**3
    fourth = m4 - 4 * m1 * m3 + 6 * m1**2 * m2 - 3 * m1**4
    return np.column_stack([third / spread**1.5, fourth / spread**2])


def _quarter_contrast(size: np.ndarray) -> np.ndarray:
    """Natural log of the mean of the strongest over that of the weakest quarter of each band, shape (n, 7).

    A mean counts as at least ``CONTRAST_FLOOR`` times the row's largest magnitude, below which there is
    rounding noise only; a silent row is 0.
    """
    bands = size[:, 1 : 1 + N_BANDS * BAND_BINS].reshape(len(size), N_BANDS, BAND_BINS)
    top_start = BAND_BINS - QUARTER_BINS
    ordered = np.sort(bands, axis=2)  # vectorised, so much faster than a partition
    floor = np.float32(CONTRAST_FLOOR) * size.max(axis=1, keepdims=True)
    floor = np.where(floor > 0, floor, np.float32(1.0))
    weakest = np.maximum(ordered[:, :, :QUARTER_BINS].mean(axis=2), floor)
    strongest = np.maximum(ordered[:, :, top_start:].mean(axis=2), floor)
    return np.asarray(np.log(strongest / weakest))


def _named(columns: tuple[str, ...], table: np.ndarray, *names: str) -> np.ndarray:
    return table[:, [columns.index(name) for name in names]]
