"""Bars by what repeats and what is accented: the evidence behind tracker `bars`.

A bar length is scored by three things, each per beat: the log odds of the accents at its best phase, how alike beats
that lie one bar apart are, and a prior against long and rare bars. Repetition tells the length of a bar in music
without accents, accents tell where it begins.

Conventions: beats are times in seconds, ascending; standardised over the clip; natural logarithms. The weights were
set by hand near those of a logistic regression over rendered music of four styles, where scores change little around
them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.downbeats import (
    BAR_LENGTHS,
    HOP_LENGTH,
    BarFit,
    at_beats,
    between_beats,
    chroma_change,
    fit_bars,
    low_onset_envelope,
    onset_at_beats,
    onset_in_bands,
    standardised,
)
from earmark.audio.mel import log_mel
from earmark.audio.onset import onset_envelope
from earmark.audio.spectrum import rms
from earmark.audio.tonal import chroma

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

DOWNBEAT_LOG_ODDS = -1.5  # about one beat in five begins a bar
LOW_BANDS = 8  # mel bands, up to about 250 Hz: where the bass is
HIGH_BANDS = 80  # mel bands from about 4 kHz: cymbals, which more often mark the other beats
HEAD_FRAMES = 4  # of an onset at the beat itself, left out of what happens within the beat
SLOTS = 4  # samples of a curve per beat
SLOT_REACH = (-1, 0, 1, 2)  # frames around a slot whose maximum counts; an attack is spread over them
EVEN_SHARE = 0.15  # of the pattern itself: variation far below this does not count
REPETITION_WEIGHT = 0.5
LENGTH_WEIGHT = 0.4
RARITY = {2: 0.2, 5: 0.1, 7: 0.1, 9: 0.15, 11: 0.2}


def bars_over(clip: Clip, beats_s: Float64, lengths: Sequence[int] = BAR_LENGTHS) -> BarFit:
    """The most plausible bars over given beats; with fewer than four beats none."""
    if len(beats_s) < 4:
        return fit_bars(np.empty(0), lengths)
    odds = accent_log_odds(clip, beats_s)
    alike = repetition(clip, beats_s, odds, lengths)
    favour = {
        n: REPETITION_WEIGHT * alike[n] - LENGTH_WEIGHT * np.log(n) - RARITY.get(n, 0.0) for n in lengths
    }
    return fit_bars(1.0 / (1.0 + np.exp(-odds)), lengths, favour)


def accent_log_odds(clip: Clip, beats_s: Float64) -> Float64:
    """Log odds of each beat being a downbeat by its accents, shape (n_beats,).

    Loudness, onset, bass and change of harmony speak for it; onsets between this beat and the next, and high onsets,
    against it.
    """
    rate = clip.sample_rate
    envelope = clip.memo(onset_envelope)
    bass = between_beats(clip.memo(log_mel)[:, :LOW_BANDS], beats_s, rate).mean(axis=1)
    evidence = (
        (0.50, at_beats(clip.memo(rms), beats_s, rate)),
        (0.40, onset_at_beats(clip.memo(low_onset_envelope), beats_s, rate)),
        (0.40, bass),
        (0.25, chroma_change(clip, beats_s)),
        (0.20, chroma_change(clip, beats_s, span=2)),
        (0.10, onset_at_beats(envelope, beats_s, rate)),
        (-0.15, onset_at_beats(onset_in_bands(clip, HIGH_BANDS, None), beats_s, rate)),
        (-0.20, _highest_inside(envelope, beats_s, rate)),
    )
    total = sum((weight * standardised(values) for weight, values in evidence), start=np.zeros(len(beats_s)))
    return total + DOWNBEAT_LOG_ODDS


def repetition(clip: Clip, beats_s: Float64, odds: Float64, lengths: Sequence[int]) -> dict[int, float]:
    """Sum of the autocorrelations, at each lag in beats, of what happens within beats: -5 to 5."""
    rate = clip.sample_rate
    patterns = [
        _within_beats(curve, beats_s, rate)
        for curve in (clip.memo(onset_envelope), clip.memo(low_onset_envelope), clip.memo(rms))
    ]
    patterns += [between_beats(clip.memo(chroma), beats_s, rate), odds[:, np.newaxis]]
    return {n: float(sum(_likeness(pattern, n) for pattern in patterns)) for n in lengths}


def _highest_inside(envelope: NDArray[np.float32], beats_s: Float64, sample_rate: int) -> Float64:
    """Highest onset strength between each beat and the next, without the heads of both."""
    frames = np.clip(np.rint(beats_s * (sample_rate / HOP_LENGTH)).astype(np.int64), 0, len(envelope) - 1)
    ends = np.append(frames[1:], min(2 * frames[-1] - frames[-2], len(envelope) - 1))
    first = np.minimum(frames + HEAD_FRAMES, len(envelope) - 1)
    end = np.maximum(ends - HEAD_FRAMES, first + 1)
    return np.array([envelope[a:b].max() for a, b in zip(first, end, strict=True)], dtype=np.float64)


def _within_beats(curve: NDArray[np.float32], beats_s: Float64, sample_rate: int) -> Float64:
    """A curve at each quarter of each beat, shape (n_beats, 4)."""
    lengths = np.append(np.diff(beats_s), beats_s[-1] - beats_s[-2])
    times = beats_s[:, np.newaxis] + lengths[:, np.newaxis] * (np.arange(SLOTS) / SLOTS)
    frames = np.rint(times * (sample_rate / HOP_LENGTH)).astype(np.int64)
    around = np.clip(frames[..., np.newaxis] + np.array(SLOT_REACH), 0, len(curve) - 1)
    return np.asarray(curve[around].max(axis=-1), dtype=np.float64)


def _likeness(pattern: Float64, lag: int) -> float:
    """Unbiased autocorrelation of a sequence of vectors at a lag, up to 1; 0 where it is not known.

    Of beats that are all alike the rest is where the frames happen to fall, which repeats at lags of its own.
    """
    if lag >= len(pattern) - 2:
        return 0.0
    centred = pattern - pattern.mean(axis=0)
    power = float((centred**2).sum() + ((EVEN_SHARE * pattern) ** 2).sum()) / len(centred)
    product = float((centred[lag:] * centred[:-lag]).sum()) / (len(centred) - lag)
    return product / power if power > 1e-12 else 0.0
