"""Texture: how dense, busy and rough a track sounds, whatever its level.

Listeners call music energetic when many things happen in every part of the spectrum: gaps between partials
fill up, each band rises often, timbre changes quickly. These columns measure that directly, where the
groups of long-term averages hardly do. None of them depends on the gain of the recording.

=============================  ==========================================================================
columns                        meaning
=============================  ==========================================================================
contrast_<b>_p10, _p50, _p90   percentiles over time of the spectral contrast of band b, dB
mfcc_<k>_change                standard deviation of the step from frame to frame of coefficient k, 0 to 12
flux_<band>                    mean rise per frame of the band's level, dB: how often and how far it rises
pulse_<band>_<rate>            log power of the band's level in dB at a rate of change (Hz)
onset_rate                     onsets per second
onset_p50, onset_p99           percentiles of the onset strength, dB
percussive_p10, _p50, _p90     percentiles of the percussive share of the magnitude
level_change, level_spread     standard deviation of the level's step, and its 95th less 10th percentile, dB
=============================  ==========================================================================

Conventions: hop 512 at 22 050 Hz (23.2 ms); bands by index of the 128 mel bands; levels in dB, floored 80 dB
below the loudest frame. Silence gives 0 but for ``pulse``, which gives the logarithm of its floor.

References: E. Pampalk, S. Dixon, G. Widmer, On the evaluation of perceptual similarity measures for music,
DAFx 2003, for the rates of change (fluctuation patterns).
"""

from __future__ import annotations

import numpy as np

from earmark.audio.clip import Clip
from earmark.audio.descriptors import spectral_descriptors
from earmark.audio.hpss import harmonic_percussive_frames
from earmark.audio.mel import log_mel, mfcc
from earmark.audio.onset import onset_envelope
from earmark.audio.spectrum import rms
from earmark.features import feature_group
from earmark.tasks.zones.frames import HOP_LENGTH, MIN_DURATION_S, N_CEPSTRAL, SAMPLE_RATE

__all__ = ["TEXTURE_COLUMNS", "onset_rate", "pulse_power", "texture"]

FRAME_RATE_HZ = SAMPLE_RATE / HOP_LENGTH
N_CONTRAST = 7
N_CHANGES = 13
BANDS = {
    "bass": slice(0, 12),
    "kick": slice(12, 20),
    "mid": slice(20, 50),
    "high": slice(50, 90),
    "air": slice(90, 128),
}
RATES_HZ = {"slow": (0.3, 2.0), "beat": (2.0, 4.0), "fast": (4.0, 8.0), "rough": (8.0, 21.0)}
ONSET_DB = 3.0  # least mean rise over the mel bands that is counted as an onset
PULSE_FLOOR = 1e-6
LEVEL_FLOOR = 1e-4  # of the highest RMS, -80 dB
EPSILON = 1e-6

TEXTURE_COLUMNS = (
    *(f"contrast_{band}_p{share}" for band in range(N_CONTRAST) for share in (10, 50, 90)),
    *(f"mfcc_{k}_change" for k in range(N_CHANGES)),
    *(f"flux_{band}" for band in BANDS),
    *(f"pulse_{band}_{rate}" for band in BANDS for rate in RATES_HZ),
    "onset_rate",
    "onset_p50",
    "onset_p99",
    "percussive_p10",
    "percussive_p50",
    "percussive_p90",
    "level_change",
    "level_spread",
)


@feature_group(
    "zones.texture", columns=TEXTURE_COLUMNS, sample_rate=SAMPLE_RATE, min_duration_s=MIN_DURATION_S
)
def texture(clip: Clip) -> np.ndarray:
    """Density, busyness and roughness of a track; see the table of the module."""
    contrast_db = clip.memo(spectral_descriptors).contrast_db
    cepstrum = clip.memo(mfcc, n_mfcc=N_CEPSTRAL)[:, :N_CHANGES]
    mel_db = clip.memo(log_mel)
    bands_db = np.column_stack([mel_db[:, band].mean(axis=1, dtype=np.float64) for band in BANDS.values()])
    onset = np.asarray(clip.memo(onset_envelope), dtype=np.float64)
    separated = np.asarray(clip.memo(harmonic_percussive_frames), dtype=np.float64)
    percussive = separated[:, 1] / (separated.sum(axis=1) + EPSILON)
    parts = (
        np.percentile(contrast_db, (10, 50, 90), axis=0).T.ravel(),
        _steps(cepstrum).std(axis=0, dtype=np.float64),
        np.maximum(_steps(bands_db), 0.0).mean(axis=0),
        pulse_power(bands_db).ravel(),
        [onset_rate(onset)],
        np.percentile(onset, (50, 99)),
        np.percentile(percussive, (10, 50, 90)),
        _level_course(clip.memo(rms)),
    )
    return np.concatenate(parts)


def pulse_power(curves_db: np.ndarray) -> np.ndarray:
    """Natural log of the power with which curves move at each range of `RATES_HZ`.

    Parameters
    ----------
    curves_db : ndarray, shape (n_frames, n_curves)

    Returns
    -------
    ndarray, shape (n_curves, 4)
        Power per frame of the Hann-windowed curve without its mean, floored at 1e-6, so independent of
        duration.
    """
    n_frames = len(curves_db)
    window = np.hanning(n_frames + 2)[1:-1, None]
    power = np.abs(np.fft.rfft((curves_db - curves_db.mean(axis=0)) * window, axis=0)) ** 2
    rate_hz = np.fft.rfftfreq(n_frames, 1 / FRAME_RATE_HZ)
    sums = [power[(rate_hz >= low) & (rate_hz < high)].sum(axis=0) for low, high in RATES_HZ.values()]
    return np.asarray(np.log(np.column_stack(sums) / n_frames**2 + PULSE_FLOOR))


def onset_rate(onset: np.ndarray) -> float:
    """Local maxima of the onset strength above 3 dB, per second; 0 for fewer than three frames."""
    inner = onset[1:-1]
    peaks = (inner > onset[:-2]) & (inner >= onset[2:]) & (inner > ONSET_DB)
    return float(peaks.sum()) * FRAME_RATE_HZ / len(onset)


def _level_course(level: np.ndarray) -> list[float]:
    loudest = float(level.max())
    if loudest <= 0:
        return [0.0, 0.0]
    level_db = 20 * np.log10(np.maximum(level, LEVEL_FLOOR * loudest).astype(np.float64))
    low, high = np.percentile(level_db, (10, 95))
    return [float(_steps(level_db).std()), float(high - low)]


def _steps(values: np.ndarray) -> np.ndarray:
    return np.diff(values, axis=0, prepend=values[:1])
