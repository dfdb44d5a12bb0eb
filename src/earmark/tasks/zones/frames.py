"""Frame tables of the zones task: one row per half second of a track.

Values are computed every 512 samples at 22 050 Hz and averaged inside the frame (RMS: root of the mean
square), so a frame sees all of its half second and not one window of it. Frame k covers samples [11 025 k,
11 025 (k + 1)); an analysis window belongs to the frame its centre falls into; a rest shorter than half a
second at the end is dropped. Deltas are first differences of frame values, 0 in the first frame.

Look-ahead
----------
A centred window of 2048 samples sees 46 ms beyond the end of its frame. Columns that are relative to the
whole track (its mean, its loudest frame, its tuning, its beats) declare an infinite look-ahead; each group
lists its own. Columns of the same bare name in two groups may differ: ``zones.frames15.mfcc_1`` is
coefficient 0 of the mel cepstrum, ``zones.frames_spectrum.mfcc_1`` is coefficient 1; roll-off is at 85 % in
the first, 90 % in the second.
"""

from __future__ import annotations

from math import inf

import numpy as np

from earmark.audio.clip import Clip
from earmark.audio.descriptors import spectral_descriptors
from earmark.audio.hpss import harmonic_percussive_frames
from earmark.audio.mel import mfcc
from earmark.audio.onset import onset_envelope
from earmark.audio.pitch import yin
from earmark.audio.spectrum import rms, zero_crossing_rate
from earmark.audio.tempo import beat_frames
from earmark.audio.tonal import chroma
from earmark.features import FeatureGroup, feature_group

__all__ = [
    "FRAMES38_COLUMNS",
    "FRAMES38_GROUPS",
    "FRAME_S",
    "HOP_LENGTH",
    "MIN_DURATION_S",
    "N_CEPSTRAL",
    "SAMPLE_RATE",
    "balance_frames",
    "chroma_frames",
    "drop_frames",
    "energy_frames",
    "frame_means",
    "frame_rms",
    "frames15",
    "frames38",
    "frames_balance",
    "frames_chroma",
    "frames_drops",
    "frames_energy",
    "frames_pitch",
    "frames_rhythm",
    "frames_spectrum",
    "pitch_frames",
    "rhythm_frames",
    "spectrum_frames",
]

SAMPLE_RATE = 22_050  # Hz
HOP_LENGTH = 512  # samples, 23.2 ms
FRAME_LENGTH = 11_025  # samples
FRAME_S = FRAME_LENGTH / SAMPLE_RATE
MIN_DURATION_S = 8.0  # one full way from breakdown to drop; shorter clips have no energy profile to speak of
N_CEPSTRAL = 20  # coefficients computed once and sliced by every group

WINDOW_S = 1024 / SAMPLE_RATE  # half of the 2048-sample window
MEDIAN_S = 15 * HOP_LENGTH / SAMPLE_RATE + WINDOW_S  # half of the 31-frame median filter, and its windows

BUILDUP_FRAMES = 4  # r[i-1] against r[i-4]
EXTREMUM_FRAMES = 4  # a frame is a valley or peak if it is the strict extreme of +-4 frames
CANDIDATE_FRAMES = 7  # a drop candidate follows its valley within 3.5 s
CANDIDATE_RATIO = 1.5
EPSILON = 1e-6

ENERGY_COLUMNS = (
    "rms_energy",
    "rms_energy_delta",
    "rms_energy_delta2",
    "low_energy_flag",
    "zero_crossing_rate",
    "zcr_delta",
)
DROP_COLUMNS = ("energy_buildup_score", "energy_valley", "energy_peak", "drop_candidate")
SPECTRUM_COLUMNS = (
    "spectral_centroid",
    "spectral_centroid_delta",
    "spectral_rolloff",
    "spectral_rolloff_delta",
    "brightness",
    "brightness_delta",
    "spectral_flux",
    "spectral_flatness",
    "spectral_contrast",
    "spectral_bandwidth",
    "mfcc_1",
    "mfcc_2",
    "mfcc_3",
    "mfcc_4",
    "mfcc_5",
    "mfcc_1_delta",
    "mfcc_2_delta",
    "mfcc_3_delta",
    "mfcc_4_delta",
    "mfcc_5_delta",
)
RHYTHM_COLUMNS = ("onset_strength", "onset_strength_delta", "beat_sync")
FRAMES15_COLUMNS = (
    "rms_energy",
    "rms_energy_delta",
    "zcr",
    "spectral_centroid",
    "spectral_rolloff",
    *(f"mfcc_{k}" for k in range(1, 6)),
    *(f"mfcc_{k}_delta" for k in range(1, 6)),
)


@feature_group(
    "zones.frames15",
    columns=FRAMES15_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="frames",
    frame_s=FRAME_S,
    min_duration_s=MIN_DURATION_S,
    lookahead_s={
        name: inf if name.startswith("mfcc") else WINDOW_S for name in FRAMES15_COLUMNS
    },  # the cepstrum is floored 80 dB below the loudest frame of the track
)
def frames15(clip: Clip) -> np.ndarray:
    """Small frame table: level, zero crossings, centroid, 85 % roll-off, cepstral coefficients 0 to 4."""
    level = clip.memo(frame_rms)
    shape = clip.memo(spectral_descriptors)
    cepstrum = frame_means(clip, clip.memo(mfcc, n_mfcc=N_CEPSTRAL)[:, :5])
    return np.column_stack(
        [
            level,
            _delta(level),
            frame_means(clip, clip.memo(zero_crossing_rate)),
            frame_means(clip, shape.centroid_hz),
            frame_means(clip, shape.rolloff85_hz),
            cepstrum,
            _delta(cepstrum),
        ]
    )


@feature_group(
    "zones.frames_energy",
    columns=ENERGY_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="frames",
    frame_s=FRAME_S,
    min_duration_s=MIN_DURATION_S,
    lookahead_s={
        "rms_energy": WINDOW_S,
        "rms_energy_delta": WINDOW_S,
        "rms_energy_delta2": WINDOW_S,
        "low_energy_flag": inf,
        "zero_crossing_rate": WINDOW_S,
        "zcr_delta": WINDOW_S,
    },
)
def frames_energy(clip: Clip) -> np.ndarray:
    """Level and its changes, whether it is below the track's mean, zero crossings."""
    return clip.memo(energy_frames)


@feature_group(
    "zones.frames_spectrum",
    columns=SPECTRUM_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="frames",
    frame_s=FRAME_S,
    min_duration_s=MIN_DURATION_S,
    lookahead_s={
        name: inf if name.startswith(("mfcc", "spectral_contrast")) else WINDOW_S for name in SPECTRUM_COLUMNS
    },
)
def frames_spectrum(clip: Clip) -> np.ndarray:
    """Shape of the spectrum and cepstral coefficients 1 to 5; roll-off at 90 %."""
    return clip.memo(spectrum_frames)


@feature_group(
    "zones.frames_rhythm",
    columns=RHYTHM_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="frames",
    frame_s=FRAME_S,
    min_duration_s=MIN_DURATION_S,
)
def frames_rhythm(clip: Clip) -> np.ndarray:
    """Onset strength, its change, and whether a beat falls into the frame."""
    return clip.memo(rhythm_frames)


@feature_group(
    "zones.frames_chroma",
    columns=("chroma_energy",),
    sample_rate=SAMPLE_RATE,
    kind="frames",
    frame_s=FRAME_S,
    min_duration_s=MIN_DURATION_S,
)
def frames_chroma(clip: Clip) -> np.ndarray:
    """Sum of the twelve chroma bins: small for a single pitch class, up to 12 for a dense sound."""
    return clip.memo(chroma_frames)


@feature_group(
    "zones.frames_balance",
    columns=("harmonic_ratio", "percussive_ratio"),
    sample_rate=SAMPLE_RATE,
    kind="frames",
    frame_s=FRAME_S,
    min_duration_s=MIN_DURATION_S,
    lookahead_s=MEDIAN_S,
)
def frames_balance(clip: Clip) -> np.ndarray:
    """Shares of harmonic and percussive energy of the median-filtered spectrogram."""
    return clip.memo(balance_frames)


@feature_group(
    "zones.frames_pitch",
    columns=("pitch", "pitch_confidence"),
    sample_rate=SAMPLE_RATE,
    kind="frames",
    frame_s=FRAME_S,
    min_duration_s=MIN_DURATION_S,
    lookahead_s=WINDOW_S,
)
def frames_pitch(clip: Clip) -> np.ndarray:
    """YIN fundamental frequency in Hz, searched from 65 to 2093 Hz, and 1 - aperiodicity."""
    return clip.memo(pitch_frames)


@feature_group(
    "zones.frames_drops",
    columns=DROP_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="frames",
    frame_s=FRAME_S,
    min_duration_s=MIN_DURATION_S,
    lookahead_s={
        "energy_buildup_score": inf,  # relative to the track's mean level
        "energy_valley": EXTREMUM_FRAMES * FRAME_S + WINDOW_S,
        "energy_peak": EXTREMUM_FRAMES * FRAME_S + WINDOW_S,
        "drop_candidate": (EXTREMUM_FRAMES - 1) * FRAME_S + WINDOW_S,
    },
)
def frames_drops(clip: Clip) -> np.ndarray:
    """Build-up score, valleys, peaks and drop candidates of the level."""
    return clip.memo(drop_frames)


FRAMES38_GROUPS: tuple[FeatureGroup, ...] = (
    frames_energy,
    frames_spectrum,
    frames_rhythm,
    frames_chroma,
    frames_balance,
    frames_pitch,
    frames_drops,
)
FRAMES38_COLUMNS = tuple(column for group in FRAMES38_GROUPS for column in group.columns)


def frames38(clip: Clip) -> np.ndarray:
    """All columns of `FRAMES38_GROUPS` side by side, shape (n_frames, 38)."""
    tables = (
        clip.memo(energy_frames),
        clip.memo(spectrum_frames),
        clip.memo(rhythm_frames),
        clip.memo(chroma_frames),
        clip.memo(balance_frames),
        clip.memo(pitch_frames),
        clip.memo(drop_frames),
    )
    return np.column_stack(tables)


def frame_means(clip: Clip, values: np.ndarray) -> np.ndarray:
    """Average analysis frames (hop 512) inside frames of 0.5 s.

    Parameters
    ----------
    values : ndarray, shape (n_hops,) or (n_hops, n_columns)

    Returns
    -------
    ndarray, float64, shape (n_frames,) or (n_frames, n_columns)
        ``n_frames`` is the number of whole half seconds, at least 1.
    """
    n_frames = max(1, len(clip.samples) // FRAME_LENGTH)
    starts = -(-np.arange(n_frames + 1) * FRAME_LENGTH // HOP_LENGTH)
    starts = np.minimum(starts, len(values))
    sums = np.add.reduceat(values[: starts[-1]], starts[:-1], axis=0, dtype=np.float64)
    counts = np.diff(starts)
    means: np.ndarray = sums / (counts if values.ndim == 1 else counts[:, None])
    return means


def frame_rms(clip: Clip) -> np.ndarray:
    """RMS energy of each frame, shape (n_frames,): root of the mean square over its analysis windows."""
    return np.asarray(np.sqrt(frame_means(clip, np.square(clip.memo(rms), dtype=np.float64))))


def energy_frames(clip: Clip) -> np.ndarray:
    """Values of ``zones.frames_energy``, shape (n_frames, 6)."""
    level = clip.memo(frame_rms)
    crossings = frame_means(clip, clip.memo(zero_crossing_rate))
    return np.column_stack(
        [
            level,
            _delta(level),
            _delta(_delta(level)),
            level < level.mean(),
            crossings,
            _delta(crossings),
        ]
    )


def drop_frames(clip: Clip) -> np.ndarray:
    """Values of ``zones.frames_drops``, shape (n_frames, 4)."""
    level = clip.memo(frame_rms)
    valley, peak = strict_extrema(level)
    return np.column_stack([buildup_score(level), valley, peak, drop_candidates(level, valley)])


def spectrum_frames(clip: Clip) -> np.ndarray:
    """Values of ``zones.frames_spectrum``, shape (n_frames, 20)."""
    shape = clip.memo(spectral_descriptors)
    moving = frame_means(clip, np.column_stack([shape.centroid_hz, shape.rolloff90_hz, shape.brightness]))
    changes = _delta(moving)
    steady = frame_means(
        clip,
        np.column_stack([shape.flux, shape.flatness, shape.contrast_db.mean(axis=1), shape.bandwidth_hz]),
    )
    cepstrum = frame_means(clip, clip.memo(mfcc, n_mfcc=N_CEPSTRAL)[:, 1:6])
    paired = np.stack([moving, changes], axis=2).reshape(len(moving), -1)
    return np.column_stack([paired, steady, cepstrum, _delta(cepstrum)])


def rhythm_frames(clip: Clip) -> np.ndarray:
    """Values of ``zones.frames_rhythm``, shape (n_frames, 3)."""
    onset = frame_means(clip, clip.memo(onset_envelope))
    on_beat = np.zeros(len(onset))
    beats = np.asarray(clip.memo(beat_frames)) * HOP_LENGTH // FRAME_LENGTH
    on_beat[beats[beats < len(onset)]] = 1.0
    return np.column_stack([onset, _delta(onset), on_beat])


def chroma_frames(clip: Clip) -> np.ndarray:
    """Values of ``zones.frames_chroma``, shape (n_frames, 1)."""
    return frame_means(clip, clip.memo(chroma).sum(axis=1))[:, None]


def balance_frames(clip: Clip) -> np.ndarray:
    """Values of ``zones.frames_balance``, shape (n_frames, 2)."""
    energies = frame_means(clip, clip.memo(harmonic_percussive_frames))
    total = energies.sum(axis=1, keepdims=True) + EPSILON
    return np.asarray(energies / total)


def pitch_frames(clip: Clip) -> np.ndarray:
    """Values of ``zones.frames_pitch``, shape (n_frames, 2)."""
    f0_hz, aperiodicity = clip.memo(yin, fmin_hz=65.0, fmax_hz=2093.0)
    return frame_means(clip, np.column_stack([f0_hz, 1.0 - aperiodicity]))


def buildup_score(level: np.ndarray) -> np.ndarray:
    """Relative rise of the level over the last two seconds, per second, at least 0; 0 in the first 4 frames.

    ``score[i] = max(0, (r[i-1] - r[i-4]) / (4 * 0.5 s) / (mean(r) + 1e-6))``
    """
    score = np.zeros(len(level))
    rise = level[BUILDUP_FRAMES - 1 : -1] - level[:-BUILDUP_FRAMES]
    score[BUILDUP_FRAMES:] = np.maximum(0.0, rise) / (BUILDUP_FRAMES * FRAME_S) / (level.mean() + EPSILON)
    return score


def strict_extrema(level: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Flags of frames that are strictly lower (valley), or higher (peak), than the 4 frames on either side.

    Returns
    -------
    valley, peak : ndarray of bool, shape (n_frames,)
        False in the first and last 4 frames, whose neighbours are not all known.
    """
    valley, peak = np.zeros(len(level), dtype=bool), np.zeros(len(level), dtype=bool)
    width = 2 * EXTREMUM_FRAMES + 1
    if len(level) >= width:
        windows = np.lib.stride_tricks.sliding_window_view(level, width)
        others = np.delete(windows, EXTREMUM_FRAMES, axis=1)
        inner = slice(EXTREMUM_FRAMES, len(level) - EXTREMUM_FRAMES)
        valley[inner] = level[inner] < others.min(axis=1)
        peak[inner] = level[inner] > others.max(axis=1)
    return valley, peak


def drop_candidates(level: np.ndarray, valley: np.ndarray) -> np.ndarray:
    """Flag of the first of the 7 frames after each valley whose level exceeds 1.5 times the valley's."""
    found = np.zeros(len(level), dtype=bool)
    for position in np.flatnonzero(valley):
        following = level[position + 1 : position + 1 + CANDIDATE_FRAMES] > CANDIDATE_RATIO * level[position]
        if following.any():
            found[position + 1 + int(np.argmax(following))] = True
    return found


def _delta(values: np.ndarray) -> np.ndarray:
    return np.diff(values, axis=0, prepend=values[:1])
