"""Feature groups of the zones task; `feature_sets` selects from them.

All groups share one front end: mono, 22 050 Hz, float32, whole file; Hann windows of 2048 samples every
512, centred; one STFT, one harmonic-percussive separation and one beat pass per track, memoised on the
clip. Definitions are librosa's with the parameters given in `earmark.audio`; this module only summarises
over time.

Notation
--------
``r`` is the frame RMS with mean ``m`` and standard deviation ``s``, ``d = diff(r)``, ``o`` the onset
strength. Standard deviations divide by n. "P90" is the 90th percentile, linearly interpolated.

Degenerate input
----------------
Silence, a constant or a click give finite numbers: ratios to a silent mean are 1, ratios of beat intervals
need at least two intervals and are 0 (confidence: 0.5) otherwise, drop statistics are 0, a dynamic range is
0 for silence only.
"""

from __future__ import annotations

import numpy as np

from earmark.audio.clip import Clip
from earmark.audio.descriptors import spectral_descriptors
from earmark.audio.hpss import harmonic_percussive_energy
from earmark.audio.mel import log_mel, mfcc
from earmark.audio.onset import onset_envelope
from earmark.audio.spectrum import rms, zero_crossing_rate
from earmark.audio.tempo import beat_frames, tempo
from earmark.audio.tonal import chroma
from earmark.features import feature_group
from earmark.tasks.zones import frames as frame_groups
from earmark.tasks.zones.drops import (
    BAND_DROP_COLUMNS,
    FRAME_LEVEL,
    FULL_RATE,
    Drops,
    band_drop_statistics,
    band_energy,
    find_band_drops,
    find_drops,
)
from earmark.tasks.zones.frames import (
    FRAME_S,
    FRAMES38_COLUMNS,
    HOP_LENGTH,
    MIN_DURATION_S,
    N_CEPSTRAL,
    SAMPLE_RATE,
)
from earmark.tasks.zones.measures import (
    SILENT_RMS,
    chroma_entropy,
    dynamic_range,
    energy_slope,
    p90,
    rhythmic_regularity,
    smoothed_drop_intensity,
    tempo_confidence,
    tempo_stability,
)
from earmark.tasks.zones.statistics import (
    NDROP_COLUMNS,
    agg8,
    agg8_columns,
    flag_count_columns,
    flag_counts,
    ndrop,
)
from earmark.tasks.zones.tempo_vote import tempo_vote

__all__ = [
    "balance",
    "basic",
    "common",
    "contrast",
    "drops",
    "drops13",
    "dynamics",
    "fast",
    "full_rate_drops",
    "harmony",
    "rhythm",
    "spectrum",
    "timbre",
    "track_statistics",
]

HOP_S = HOP_LENGTH / SAMPLE_RATE
EPSILON = 1e-6
MIN_MINUTES = 0.1
N_CONTRAST = 7
MFCC_COLUMNS = tuple(f"mfcc_{k}_{statistic}" for k in range(1, 6) for statistic in ("mean", "std"))


@feature_group(
    "zones.dynamics",
    columns=(
        "low_energy",
        "rms_energy",
        "energy_variance",
        "drop_strength",
        "energy_slope",
        "energy_buildup_ratio",
        "peak_energy_ratio",
        "has_climax",
        "climax_position",
        "dynamic_range",
    ),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def dynamics(clip: Clip) -> list[float]:
    """Level and its course: mean, spread (a standard deviation), slope, climax, range in dB."""
    level = np.asarray(clip.memo(rms), dtype=np.float64)
    mean, spread, change = level.mean(), level.std(), np.diff(level)
    return [
        float((level < mean).mean()),
        mean,
        spread,
        p90(np.abs(change)),
        energy_slope(level),
        float((change > 0).mean()) if len(change) else 0.5,
        level.max() / mean if mean > SILENT_RMS else 1.0,
        float(level.max() - mean > 2 * spread),
        int(np.argmax(level)) / len(level),
        dynamic_range(level),
    ]


@feature_group(
    "zones.spectrum",
    columns=("zero_crossing_rate", "spectral_rolloff", "brightness", "spectral_centroid"),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def spectrum(clip: Clip) -> list[float]:
    """Frame means of zero crossings, 85 % roll-off in Hz, share of magnitude above 3 kHz, centroid in Hz."""
    shape = clip.memo(spectral_descriptors)
    return [
        _mean(clip.memo(zero_crossing_rate)),
        _mean(shape.rolloff85_hz),
        _mean(shape.brightness),
        _mean(shape.centroid_hz),
    ]


@feature_group("zones.timbre", columns=MFCC_COLUMNS, sample_rate=SAMPLE_RATE, min_duration_s=MIN_DURATION_S)
def timbre(clip: Clip) -> np.ndarray:
    """Mean and standard deviation of cepstral coefficients 0 to 4, named 1 to 5."""
    return _means_and_stds(clip.memo(mfcc, n_mfcc=N_CEPSTRAL)[:, :5])


@feature_group(
    "zones.contrast",
    columns=(
        *(f"spectral_contrast_mean_{band}" for band in range(N_CONTRAST)),
        *(f"spectral_contrast_std_{band}" for band in range(N_CONTRAST)),
        "spectral_contrast_mean",
        "spectral_contrast_std",
    ),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def contrast(clip: Clip) -> np.ndarray:
    """Peak over valley in dB, in six octave bands from 200 Hz and the rest: mean, std, their averages."""
    bands = clip.memo(spectral_descriptors).contrast_db
    means, stds = bands.mean(axis=0, dtype=np.float64), bands.std(axis=0, dtype=np.float64)
    return np.concatenate([means, stds, [means.mean(), stds.mean()]])


@feature_group(
    "zones.rhythm",
    columns=(
        "tempo",
        "onset_strength_mean",
        "onset_strength_std",
        "beat_strength",
        "tempo_stability",
        "onset_acceleration",
        "rhythmic_regularity",
    ),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def rhythm(clip: Clip) -> list[float]:
    """Tempo in BPM and how steady it is; strength of onsets and of the sound at beats."""
    onset = np.asarray(clip.memo(onset_envelope), dtype=np.float64)
    level, beats = clip.memo(rms), np.asarray(clip.memo(beat_frames))
    return [
        clip.memo(tempo),
        onset.mean(),
        onset.std(),
        _mean(level[beats]) if len(beats) else 0.0,
        tempo_stability(clip),
        float(np.abs(np.diff(onset, n=2)).mean()) if len(onset) > 2 else 0.0,
        rhythmic_regularity(clip),
    ]


@feature_group(
    "zones.balance",
    columns=("harmonic_ratio", "percussive_ratio"),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def balance(clip: Clip) -> list[float]:
    """Shares of the energy of the harmonic and of the percussive signal; together 1 unless it is silent."""
    harmonic, percussive = clip.memo(harmonic_percussive_energy)
    total = harmonic + percussive + EPSILON
    return [harmonic / total, percussive / total]


@feature_group(
    "zones.drops",
    columns=("drop_frequency", "drop_contrast_mean", "drop_contrast_max", "drop_count", "drop_intensity"),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def drops(clip: Clip) -> list[float]:
    """Breakdown -> drop events of the full-rate detector: per minute, contrast, count, intensity."""
    events = clip.memo(full_rate_drops)
    return [
        len(events) / max(clip.duration_s / 60, MIN_MINUTES),
        events.contrast_mean,
        events.contrast_max,
        float(len(events)),
        events.intensity,
    ]


@feature_group(
    "zones.harmony", columns=("harmonic_complexity",), sample_rate=SAMPLE_RATE, min_duration_s=MIN_DURATION_S
)
def harmony(clip: Clip) -> list[float]:
    """Frame mean of the natural-log entropy of the chroma vector: 0 for one pitch class, log 12 for noise."""
    return [chroma_entropy(clip.memo(chroma))]


@feature_group(
    "zones.fast",
    columns=(
        "tempo",
        "tempo_confidence",
        "rms_energy",
        "energy_variance",
        "spectral_centroid",
        "spectral_rolloff",
        "brightness",
        "zero_crossing_rate",
        "drop_intensity",
        "low_energy",
    ),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def fast(clip: Clip) -> list[float]:
    """Ten numbers, no separation or cepstrum; variance of r, brightness of the whole track, P90 of |d|."""
    level = np.asarray(clip.memo(rms), dtype=np.float64)
    shape = clip.memo(spectral_descriptors)
    magnitude = float(shape.magnitude_sum.sum(dtype=np.float64))
    return [
        clip.memo(tempo),
        tempo_confidence(clip),
        level.mean(),
        level.var(),
        _mean(shape.centroid_hz),
        _mean(shape.rolloff85_hz),
        float(shape.high_sum.sum(dtype=np.float64)) / magnitude if magnitude > 0 else 0.0,
        _mean(clip.memo(zero_crossing_rate)),
        p90(np.abs(np.diff(level))),
        float((level < level.mean()).mean()),
    ]


@feature_group(
    "zones.basic",
    columns=(
        "tempo",
        "zero_crossing_rate",
        "low_energy",
        "rms_energy",
        "spectral_rolloff",
        "brightness",
        "spectral_centroid",
        *MFCC_COLUMNS,
        "energy_variance",
        "drop_intensity",
    ),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def basic(clip: Clip) -> np.ndarray:
    """Input of the zone rules: tempo by vote, energy variance as (s/m)^2, drop intensity from 0 to 1."""
    level = np.asarray(clip.memo(rms), dtype=np.float64)
    shape = clip.memo(spectral_descriptors)
    mean = level.mean()
    head = [
        clip.memo(tempo_vote).bpm,
        _mean(clip.memo(zero_crossing_rate)),
        float((level < mean).mean()),
        mean,
        _mean(shape.rolloff85_hz),
        _mean(shape.brightness),
        _mean(shape.centroid_hz),
    ]
    cepstral = _means_and_stds(clip.memo(mfcc, n_mfcc=N_CEPSTRAL)[:, :5])
    variance = float((level.std() / mean) ** 2) if mean > SILENT_RMS else 0.0
    return np.concatenate([head, cepstral, [variance, smoothed_drop_intensity(level)]])


@feature_group(
    "zones.common",
    columns=(
        "tempo",
        "zero_crossing_rate",
        "low_energy",
        "rms_energy",
        "spectral_rolloff",
        "brightness",
        "spectral_centroid",
        *MFCC_COLUMNS,
        "energy_variance",
        "drop_strength",
        "drop_contrast_mean",
        "drop_count",
        "drop_intensity",
    ),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def common(clip: Clip) -> np.ndarray:
    """Columns that audio and frame tables share: means over 0.5 s frames, spreads over analysis frames.

    Roll-off is at 90 % and the cepstrum is coefficients 1 to 5; low energy, drop strength and drops are of
    the 0.5 s RMS.
    """
    energy, shape = clip.memo(frame_groups.energy_frames), clip.memo(frame_groups.spectrum_frames)
    level = clip.memo(frame_groups.frame_rms)
    cepstrum = clip.memo(mfcc, n_mfcc=N_CEPSTRAL)[:, 1:6]
    columns = frame_groups.SPECTRUM_COLUMNS
    means = dict(zip(columns, shape.mean(axis=0), strict=True))
    events = find_drops(level, frame_s=FRAME_S, rule=FRAME_LEVEL)
    head = [
        clip.memo(tempo),
        energy[:, frame_groups.ENERGY_COLUMNS.index("zero_crossing_rate")].mean(),
        float((level < level.mean()).mean()),
        level.mean(),
        means["spectral_rolloff"],
        means["brightness"],
        means["spectral_centroid"],
    ]
    cepstral = np.column_stack(
        [[means[f"mfcc_{k}"] for k in range(1, 6)], cepstrum.std(axis=0, dtype=np.float64)]
    ).ravel()
    tail = [
        clip.memo(rms).std(dtype=np.float64),
        p90(np.abs(np.diff(level))),
        events.contrast_mean,
        float(len(events)),
        events.intensity,
    ]
    return np.concatenate([head, cepstral, tail])


@feature_group(
    "zones.drops13", columns=BAND_DROP_COLUMNS, sample_rate=SAMPLE_RATE, min_duration_s=MIN_DURATION_S
)
def drops13(clip: Clip) -> list[float]:
    """Drops of a weighted band energy in 0.5 s frames: how many, how strong, how built up, where."""
    mel_db = frame_groups.frame_means(clip, clip.memo(log_mel))
    energy, bass = band_energy(mel_db, clip.memo(frame_groups.frame_rms))
    events = find_band_drops(energy, bass, frame_s=FRAME_S)
    return band_drop_statistics(events, energy, bass, duration_s=clip.duration_s)


FLAG_COLUMNS = ("low_energy_flag", "beat_sync", "energy_valley", "energy_peak", "drop_candidate")


@feature_group(
    "zones.frames38_agg8",
    columns=(
        *agg8_columns(FRAMES38_COLUMNS),
        *flag_count_columns(FLAG_COLUMNS),
        *NDROP_COLUMNS,
    ),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def track_statistics(clip: Clip) -> np.ndarray:
    """Eight statistics over time of each of the 38 frame columns, counts of the flags, build-up ratios."""
    table = clip.memo(frame_groups.frames38)
    column = dict(zip(FRAMES38_COLUMNS, table.T, strict=True))
    flags = np.column_stack([column[name] for name in FLAG_COLUMNS])
    ratios = ndrop(column["rms_energy"], column["energy_buildup_score"], column["drop_candidate"])
    return np.concatenate([agg8(table), flag_counts(flags), ratios])


def full_rate_drops(clip: Clip) -> Drops:
    """Breakdown -> drop events of a clip, from its RMS every 23 ms."""
    return find_drops(clip.memo(rms), frame_s=HOP_S, rule=FULL_RATE)


def _means_and_stds(values: np.ndarray) -> np.ndarray:
    stacked = [values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)]
    return np.column_stack(stacked).ravel()


def _mean(values: np.ndarray) -> float:
    return float(np.mean(values, dtype=np.float64))
