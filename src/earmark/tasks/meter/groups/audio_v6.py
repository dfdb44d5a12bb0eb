"""Group ``meter.audio``: 1449 numbers that a clip's sound gives without beats, in eight blocks A to H.

Conventions: the clip passes the front end first; curves have frames of 512 samples, lags are frames; a tempo t has
F(t) = 60 fps / t frames per beat; the autocorrelation is biased; a peak is the largest value within 5 % of a lag and 0
outside the lags there are; what is scaled to a maximum of 1 stays 0 where nothing is positive.

    A  autocorrelation of four curves at 64 multiples, 0.5 to 16 beats, of four tempi
    B  mean tempogram at 64 tempi, 30 to 300 BPM
    C  13 mel cepstral coefficients: means, standard deviations
    D  7 bands of spectral contrast: means, standard deviations
    E  inter-onset intervals: mean, standard deviation, median (s); onsets per second
    F  onset times modulo bars of n beats, weighted by strength
    G  autocorrelation at n beats, and its normalised differences (a - b) / (a + b)
    H  mean tempogram at n beats, the best of the tempi 60 to 200 BPM

`AUDIO` is version v6 and `audio_group` gives the earlier ones. In v5 and v6 the tempi are those of the tempogram, in
`earmark.tasks.meter.groups.audio_tracked` those of the beats, in v3 and v4 the clip's tempo, its half and its double.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from earmark.audio.autocorrelation import autocorrelation, lag_peaks
from earmark.audio.clip import Clip
from earmark.audio.curves import curves
from earmark.audio.descriptors import spectral_descriptors
from earmark.audio.front_end import HIGHPASS_HZ, front_end
from earmark.audio.mel import mfcc
from earmark.audio.onset_events import OnsetEvents, onset_events
from earmark.audio.tempo import mean_tempogram
from earmark.errors import UsageError
from earmark.features.group import FeatureGroup, feature_group
from earmark.tasks.meter.groups.audio_columns import (
    BAR_BEATS,
    N_ACF_LAGS,
    N_BAR_BINS,
    N_MFCC,
    N_PROFILE,
    PEAK_BEATS,
    RATIOS,
    SALIENCE_BEATS,
    VERSIONS,
    audio_columns,
)
from earmark.tasks.meter.groups.tempo_candidates import dp_tempi, tempogram_tempi
from earmark.tasks.meter.schema import FRAMES_PER_S, MAX_BPM, MIN_BPM, MIN_DURATION_S, SAMPLE_RATE

__all__ = ["AUDIO", "audio_group", "audio_values"]

Float64 = NDArray[np.float64]

ACF_BEATS = np.linspace(0.5, 16.0, N_ACF_LAGS)
PROFILE_BPM = np.geomspace(MIN_BPM, MAX_BPM, N_PROFILE)
SALIENCE_BPM = np.arange(60.0, 201.0, 2.0)
SMALLEST_SUM = 1e-8
ROUNDING = 1e-6  # of a bin


def audio(clip: Clip, *, version: str, highpass_hz: float) -> Float64:
    """The columns of a version, shape (n_columns,); the tempi come from the clip alone."""
    ready = clip.memo(front_end, highpass_hz=highpass_hz)
    tempi = tempogram_tempi(ready) if version in BAR_BEATS else dp_tempi(ready)
    return audio_values(ready, tempi, version)


AUDIO: FeatureGroup = feature_group(
    "meter.audio",
    columns=audio_columns("v6"),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
    parameters={"version": "v6", "highpass_hz": HIGHPASS_HZ},
)(audio)


def audio_group(version: str = "v6", highpass_hz: float = HIGHPASS_HZ) -> FeatureGroup:
    """`AUDIO` or an earlier version of it, under the same name.

    Parameters
    ----------
    version : {"v3", "v4", "v5", "v6"}
    highpass_hz : float
        Corner of the front end, Hz; 0 leaves it out.

    Raises
    ------
    UsageError
        An unknown version.
    """
    if version not in VERSIONS:
        raise UsageError(
            f"`{version}` is no version of the audio group; there are {', '.join(VERSIONS)}. Choose one of them."
        )
    variant = AUDIO.with_parameters(version=version, highpass_hz=highpass_hz)
    return replace(variant, columns=audio_columns(version))


def audio_values(ready: Clip, tempi: tuple[float, ...], version: str = "v6") -> Float64:
    """All blocks of a version at given tempi (BPM), on a clip that has passed the front end."""
    four = np.stack(ready.memo(curves))
    # a lag that the clip does not hold is outside, even where its window reaches back into the clip
    correlations = autocorrelation(four, min(four.shape[1], _n_lags(tempi)))
    blocks = [_multi_tempo(correlations, tempi)]
    if version != "v3":
        cepstrum, contrast_db = ready.memo(mfcc, n_mfcc=N_MFCC), ready.memo(spectral_descriptors).contrast_db
        blocks += [_profile(ready), _moments(cepstrum), _moments(contrast_db), _intervals(ready)]
    if version in BAR_BEATS:
        beat_frames = 60.0 * FRAMES_PER_S / tempi[0]
        blocks += [
            _bar_histograms(ready.memo(onset_events), beat_frames, BAR_BEATS[version]),
            _ratios(correlations, beat_frames, version),
            _salience(ready.memo(mean_tempogram)),
        ]
    return np.concatenate([block.ravel() for block in blocks])


def _n_lags(tempi: tuple[float, ...]) -> int:
    """Enough lags for 16 beats at the slowest tempo and 5 % more."""
    return int(ACF_BEATS[-1] * 60.0 * FRAMES_PER_S / min(tempi) * 1.05) + 3


def _multi_tempo(correlations: Float64, tempi: tuple[float, ...]) -> Float64:
    """Block A, shape (n_tempi, 4, 64)."""
    frames = 60.0 * FRAMES_PER_S / np.array(tempi)
    lags = frames[:, None] * ACF_BEATS
    peaks = lag_peaks(correlations, lags.ravel()).reshape(len(correlations), *lags.shape)
    return np.swapaxes(peaks, 0, 1)


def _profile(ready: Clip) -> Float64:
    """Block B, shape (64,)."""
    return _scaled(lag_peaks(ready.memo(mean_tempogram), 60.0 * FRAMES_PER_S / PROFILE_BPM))


def _moments(frames: NDArray[np.float32]) -> Float64:
    """Blocks C and D: means, then standard deviations of the columns, shape (2, n_columns)."""
    return np.stack([frames.mean(axis=0, dtype=np.float64), frames.std(axis=0, dtype=np.float64)])


def _intervals(ready: Clip) -> Float64:
    """Block E, shape (4,); fewer than two onsets have no interval: 0."""
    times_s = ready.memo(onset_events).times_s
    rate = len(times_s) / ready.duration_s if ready.duration_s else 0.0
    between_s = np.diff(times_s)
    if not len(between_s):
        return np.array([0.0, 0.0, 0.0, rate])
    return np.array([between_s.mean(), between_s.std(), np.median(between_s), rate])


def _bar_histograms(onsets: OnsetEvents, beat_frames: float, beats: tuple[int, ...]) -> Float64:
    """Block F, shape (n_bars, 32): the first bin starts at the start of the clip, whatever the downbeat.

    A beat of the tempogram is a whole number of frames, so onsets fall on the edges of bins: they count to the later.
    """
    bars_frames = np.array(beats)[:, None] * beat_frames
    place = np.floor(onsets.frames * (N_BAR_BINS / bars_frames) + ROUNDING).astype(np.int64) % N_BAR_BINS
    bins = place + N_BAR_BINS * np.arange(len(beats))[:, None]
    weights = np.broadcast_to(onsets.strength, bins.shape)
    counts: Float64 = np.bincount(
        bins.ravel(), weights=weights.ravel(), minlength=N_BAR_BINS * len(beats)
    ).astype(np.float64)
    return _scaled(counts.reshape(len(beats), N_BAR_BINS))


def _ratios(correlations: Float64, beat_frames: float, version: str) -> Float64:
    """Block G, shape (4, n_peaks + n_ratios)."""
    numbers = PEAK_BEATS["v6"]
    peaks = lag_peaks(correlations, np.array(numbers) * beat_frames)
    place: Mapping[int, int] = {n: i for i, n in enumerate(numbers)}
    positive = np.maximum(peaks, 0.0)
    first = positive[:, [place[a] for a, _ in RATIOS[version]]]
    second = positive[:, [place[b] for _, b in RATIOS[version]]]
    total = first + second
    ratios = np.where(total < SMALLEST_SUM, 0.0, first - second) / np.where(total < SMALLEST_SUM, 1.0, total)
    return np.concatenate([peaks[:, [place[n] for n in PEAK_BEATS[version]]], ratios], axis=1)


def _salience(profile: Float64) -> Float64:
    """Block H, shape (9,)."""
    beat_frames = 60.0 * FRAMES_PER_S / SALIENCE_BPM
    lags = np.array(SALIENCE_BEATS)[:, None] * beat_frames
    return _scaled(lag_peaks(profile, lags.ravel()).reshape(lags.shape).max(axis=1))


def _scaled(values: Float64) -> Float64:
    """The last axis scaled to a maximum of 1; all 0 where nothing is positive."""
    largest = values.max(axis=-1, keepdims=True)
    return np.where(largest > 0, values, 0.0) / np.where(largest > 0, largest, 1.0)
