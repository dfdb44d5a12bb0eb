"""Tempo by vote of three estimators, with a confidence; the ``tempo`` of the basic feature group.

One estimator alone often reports half or double the tempo that a DJ counts. Here each of three estimates
stands with its double and its half as candidates; a candidate scores higher in the range where dance music
lies and if others agree with it.

==================  =====================================================================
estimator           what it does
==================  =====================================================================
local tempo         fullest of 50 bins from 60 to 200 BPM of the tempo around each frame
percussive beats    beats of the percussive part alone, median interval
autocorrelation     lag of the largest autocorrelation of the whole onset envelope
==================  =====================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from earmark.audio.beats import track_beats
from earmark.audio.clip import Clip
from earmark.audio.hpss import harmonic_percussive_frames
from earmark.audio.onset import onset_envelope
from earmark.audio.tempo import local_tempo

__all__ = ["TempoVote", "tempo_vote", "vote"]

HOP_LENGTH = 512
LOWEST_BPM, HIGHEST_BPM = 60.0, 200.0
HISTOGRAM_BINS = 50
TIGHTNESS = 100.0
OCTAVE_WEIGHT = 0.8
AGREEMENT_BPM = 3.0
AGREEMENT_GAIN = 0.1
MAX_CONFIDENCE = 0.95
OCTAVE_CONFIDENCE = 0.85
SPREAD_CONFIDENCE = ((3.0, 1.0), (5.0, 0.85), (np.inf, 0.7))  # spread of the top three below, BPM; factor


@dataclass(frozen=True)
class TempoVote:
    """Tempo in BPM and its confidence from 0 to 0.95; both 0 for a clip without onsets."""

    bpm: float
    confidence: float


def tempo_vote(clip: Clip) -> TempoVote:
    """Tempo of a clip by vote."""
    onset = np.asarray(clip.memo(onset_envelope), dtype=np.float64)
    estimates = [
        _fullest_bin(np.asarray(clip.memo(local_tempo), dtype=np.float64)),
        _beat_tempo(percussive_envelope(clip), clip.sample_rate),
        _autocorrelation_tempo(onset, clip.sample_rate),
    ]
    return vote([bpm for bpm in estimates if bpm > 0])


def vote(estimates_bpm: Sequence[float]) -> TempoVote:
    """Choose among estimates, their doubles and halves.

    A candidate starts with 1 (0.8 for a double or half), times 1.3 from 115 to 145 BPM, 1.1 from 90 to 115
    and from 145 to 165, 0.7 below 80 or above 175, plus 10 % for each other candidate within 3 BPM.
    Confidence is 1, 0.85 or 0.7 by the spread of the three best candidates (below 3, below 5 BPM, more),
    times 0.85 if the winner is a double or half, at most 0.95.

    Parameters
    ----------
    estimates_bpm : sequence of float
        Candidates outside 60 to 200 BPM are left out.

    Returns
    -------
    TempoVote
        Zero without estimates.
    """
    pairs = [
        (bpm * factor, 1.0 if factor == 1 else OCTAVE_WEIGHT)
        for factor in (1.0, 2.0, 0.5)
        for bpm in estimates_bpm
        if LOWEST_BPM <= bpm * factor <= HIGHEST_BPM
    ]
    if not pairs:
        return TempoVote(0.0, 0.0)
    bpm, weight = np.array(pairs).T
    others = (np.abs(bpm[:, None] - bpm[None, :]) <= AGREEMENT_BPM).sum(axis=1) - 1
    score = weight * np.array([_range_weight(value) for value in bpm]) * (1 + AGREEMENT_GAIN * others)
    order = np.argsort(-score, kind="stable")
    spread = float(np.ptp(bpm[order[:3]]))
    confidence = next(factor for limit, factor in SPREAD_CONFIDENCE if spread < limit)
    if weight[order[0]] < 1:
        confidence *= OCTAVE_CONFIDENCE
    return TempoVote(float(bpm[order[0]]), min(confidence, MAX_CONFIDENCE))


def percussive_envelope(clip: Clip) -> np.ndarray:
    """Positive change of the log level of the percussive part, shape (n_frames,), 0 in the first frame."""
    level = np.asarray(clip.memo(harmonic_percussive_frames)[:, 1], dtype=np.float64)
    floor = 1e-3 * float(level.max())
    if floor <= 0:
        return np.zeros(len(level))
    return np.maximum(0.0, np.diff(np.log(level + floor), prepend=np.log(level[0] + floor)))


def _range_weight(bpm: float) -> float:
    if 115 <= bpm <= 145:
        return 1.3
    if 90 <= bpm <= 165:
        return 1.1
    return 0.7 if bpm < 80 or bpm > 175 else 1.0


def _fullest_bin(local_bpm: np.ndarray) -> float:
    counts, edges = np.histogram(local_bpm, bins=HISTOGRAM_BINS, range=(LOWEST_BPM, HIGHEST_BPM))
    fullest = int(np.argmax(counts))
    return float(edges[fullest] + edges[fullest + 1]) / 2 if counts[fullest] else 0.0


def _beat_tempo(envelope: np.ndarray, sample_rate: int) -> float:
    start_bpm = _autocorrelation_tempo(envelope, sample_rate)
    if start_bpm <= 0:
        return 0.0
    frames_per_beat = float(np.round(60 * sample_rate / HOP_LENGTH / start_bpm))
    beats = track_beats(envelope.astype(np.float32), frames_per_beat, TIGHTNESS)
    if len(beats) < 3:
        return 0.0
    # The mean of all intervals resolves tempo finer than one hop; dropped beats are kept out by the median.
    intervals = np.diff(beats)
    usual = intervals[np.abs(intervals - np.median(intervals)) <= 2]
    return float(60 * sample_rate / HOP_LENGTH / usual.mean())


def _autocorrelation_tempo(envelope: np.ndarray, sample_rate: int) -> float:
    frames_per_minute = 60 * sample_rate / HOP_LENGTH
    shortest, longest = int(np.ceil(frames_per_minute / HIGHEST_BPM)), int(frames_per_minute / LOWEST_BPM)
    if len(envelope) < longest + 2 or not envelope.std() > 0:
        return 0.0
    spectrum = np.fft.rfft(envelope - envelope.mean(), n=2 * len(envelope))
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[: longest + 2]
    lag = shortest + int(np.argmax(correlation[shortest : longest + 1]))
    left, centre, right = correlation[lag - 1 : lag + 2]
    curvature = left - 2 * centre + right
    shift = 0.5 * (left - right) / curvature if curvature < 0 else 0.0
    return float(frames_per_minute / (lag + np.clip(shift, -0.5, 0.5)))
