"""Which beats are downbeats: evidence at each beat, and the bars that explain it.

Conventions: beats are times in seconds, ascending; a curve is read within an eighth of a beat on either side; bars
have a constant number of beats and a free first phase.

References: M. Davies, M. Plumbley, A spectral difference approach to downbeat extraction in musical audio, EUSIPCO 2006
(change between beats); M. Goto, An audio-based real-time beat tracking system for music with or without drum-sounds,
J. New Music Research 30(2), 2001 (chord change and low drums).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.filterbanks import mel_filterbank
from earmark.audio.mel import log_mel
from earmark.audio.onset import CENTRE_SHIFT, ONSET_DELAY_FRAMES
from earmark.audio.spectrum import fft_frequencies_hz
from earmark.audio.tonal import chroma

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

HOP_LENGTH = 512
LOW_HZ = 200.0
BAR_LENGTHS = (2, 3, 4, 5, 6, 7, 9, 11, 12)
MARGIN = 1e-6  # keeps the logarithms of an activation of 0 or 1 finite


@dataclass(frozen=True)
class BarFit:
    """Bars laid over beats.

    Attributes
    ----------
    beats_per_bar : int
        0 without beats.
    positions : np.ndarray, int64, shape (n_beats,)
        From 1 at the downbeat.
    log_likelihood : dict of int to float
        Of each bar length at its best phase, per beat.
    """

    beats_per_bar: int
    positions: Int64
    log_likelihood: dict[int, float]


def onset_in_bands(clip: Clip, first: int, end: int | None) -> NDArray[np.float32]:
    """Onset strength in mel bands ``first`` to ``end - 1``, dB, shape (n_frames,), aligned as `onset_envelope`."""
    level_db = clip.memo(log_mel)
    envelope = np.zeros(len(level_db), dtype=np.float32)
    rise = np.maximum(np.diff(level_db[:, first:end], axis=0), 0.0).mean(axis=1)
    envelope[CENTRE_SHIFT + 1 :] = rise[: max(0, len(envelope) - CENTRE_SHIFT - 1)]
    return envelope


def low_onset_envelope(clip: Clip) -> NDArray[np.float32]:
    """Onset strength below 200 Hz, dB, shape (n_frames,), aligned as `onset_envelope`."""
    return onset_in_bands(clip, 0, _n_low_bands(clip.sample_rate))


def _n_low_bands(sample_rate: int) -> int:
    """How many mel bands have their peak below 200 Hz, at least one."""
    peaks = np.argmax(mel_filterbank(sample_rate), axis=1)
    return max(1, int((fft_frequencies_hz(sample_rate)[peaks] < LOW_HZ).sum()))


def onset_at_beats(envelope: NDArray[np.float32], beats_s: Float64, sample_rate: int) -> Float64:
    """`at_beats` of a curve that lags as the onset envelope does."""
    return at_beats(envelope, beats_s + ONSET_DELAY_FRAMES * (HOP_LENGTH / sample_rate), sample_rate)


def at_beats(curve: NDArray[np.float32], beats_s: Float64, sample_rate: int) -> Float64:
    """Maximum of a curve within an eighth of a beat of each beat, shape (n_beats,)."""
    frames = beats_s * (sample_rate / HOP_LENGTH)
    reach = np.median(np.diff(frames)) / 8 if len(frames) > 1 else 1.0
    first = np.clip(np.floor(frames - reach).astype(np.int64), 0, len(curve) - 1)
    end = np.clip(np.ceil(frames + reach).astype(np.int64) + 1, first + 1, len(curve))
    return np.array([curve[a:b].max() for a, b in zip(first, end, strict=True)], dtype=np.float64)


def between_beats(frames: NDArray[np.float32], beats_s: Float64, sample_rate: int) -> Float64:
    """Mean of a feature from each beat to the next, the last to the end of the clip, shape (n_beats, n_features)."""
    edges = np.clip(np.rint(beats_s * (sample_rate / HOP_LENGTH)).astype(np.int64), 0, len(frames) - 1)
    sums = np.concatenate([np.zeros((1, frames.shape[1])), np.cumsum(frames, axis=0, dtype=np.float64)])
    ends = np.maximum(np.append(edges[1:], len(frames)), edges + 1)
    return np.asarray((sums[ends] - sums[edges]) / (ends - edges)[:, np.newaxis])


def chroma_change(clip: Clip, beats_s: Float64, span: int = 1) -> Float64:
    """1 - cosine between the chroma of `span` beats before and after each beat, shape (n_beats,); 0 at the ends."""
    means = between_beats(clip.memo(chroma), beats_s, clip.sample_rate)
    change = np.zeros(len(means))
    if len(means) < 2 * span:
        return change
    sums = np.lib.stride_tricks.sliding_window_view(means, span, axis=0).sum(axis=-1)
    before, after = sums[:-span], sums[span:]
    product = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
    cosine = np.where(product > 0, (before * after).sum(axis=1) / np.where(product > 0, product, 1.0), 1.0)
    change[span : span + len(cosine)] = 1.0 - cosine
    return change


def downbeat_activation(clip: Clip, beats_s: Float64) -> Float64:
    """Logistic of half the standardised low onsets and half the standardised change of chroma, shape (n_beats,)."""
    if not len(beats_s):
        return np.empty(0)
    low = onset_at_beats(clip.memo(low_onset_envelope), beats_s, clip.sample_rate)
    evidence = 0.5 * standardised(low) + 0.5 * standardised(chroma_change(clip, beats_s))
    return np.asarray(1.0 / (1.0 + np.exp(-evidence)))


def standardised(values: Float64) -> Float64:
    """Mean 0, standard deviation 1; zeros for a constant."""
    spread = values.std()
    return np.asarray((values - values.mean()) / spread) if spread > 1e-9 else np.zeros_like(values)


def fit_bars(
    activation: Float64, lengths: Sequence[int] = BAR_LENGTHS, favour: Mapping[int, float] | None = None
) -> BarFit:
    """Bar length and phase of the highest likelihood: log a at downbeats, log (1 - a) elsewhere.

    The position advances by one at each beat, so that every path is a phase and nothing need be decoded.

    Parameters
    ----------
    activation : np.ndarray, shape (n_beats,)
        Probability of each beat being a downbeat.
    lengths : sequence of int
        Bar lengths in beats.
    favour : mapping of int to float, optional
        What else speaks for a length, added to its log likelihood per beat.
    """
    if not len(activation):
        return BarFit(0, np.empty(0, dtype=np.int64), dict.fromkeys(lengths, 0.0))
    a = np.clip(activation, MARGIN, 1.0 - MARGIN)
    gain = np.log(a) - np.log1p(-a)
    rest = float(np.log1p(-a).sum())
    best = {n: _best_phase(gain, n) for n in lengths}
    likelihood = {n: (rest + value) / len(a) + (favour or {}).get(n, 0.0) for n, (_, value) in best.items()}
    chosen = max(likelihood, key=lambda n: likelihood[n])
    return BarFit(chosen, positions_of(len(a), chosen, best[chosen][0]), likelihood)


def positions_of(n_beats: int, beats_per_bar: int, phase: int) -> Int64:
    """Positions from 1 when the beat of index `phase` is a downbeat."""
    return np.asarray((np.arange(n_beats) - phase) % beats_per_bar + 1, dtype=np.int64)


def _best_phase(gain: Float64, n: int) -> tuple[int, float]:
    sums = [float(gain[phase::n].sum()) for phase in range(min(n, len(gain)))]
    phase = int(np.argmax(sums))
    return phase, sums[phase]
