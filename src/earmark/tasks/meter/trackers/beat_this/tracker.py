"""Tracker `beat_this`: its network by the user's checkpoint, its beats where the logits peak or by the bar pointer.

Peaks are what its authors give by default: they follow any tempo and any bar. The bar pointer keeps to a steady pulse
and to bars of one length, so that a beat that is not heard is filled in and one too many left out.

Conventions: 50 frames per second; logits, so that 0 is even odds. Clips of more than 30 s are heard in chunks of 1500
frames that overlap by the 6 frames at either end, which are given up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.audio.bar_tracking import track_bars
from earmark.audio.clip import Clip
from earmark.errors import UsageError
from earmark.features.group import feature_group
from earmark.models.weights import Weights
from earmark.tasks.meter.schema import BEAT_COLUMNS, MIN_DURATION_S, SAMPLE_RATE
from earmark.tasks.meter.trackers.beat_this.spectrogram import FPS, N_MELS, beat_this_spectrogram
from earmark.tasks.meter.trackers.rows import Beats

__all__ = ["beat_this", "beats_of_logits", "pointed_beats"]

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

CHUNK_FRAMES = 1500
BORDER_FRAMES = 6
POINTED_LENGTHS = (2, 3, 4, 5, 6, 7, 9, 11)
NEAR_FRAMES = 3  # 60 ms on either side: a peak is the highest of these


@feature_group(
    "meter.beats_beat_this",
    columns=BEAT_COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="events",
    min_duration_s=MIN_DURATION_S,
)
def beat_this(clip: Clip, weights: Weights | None = None, *, dbn: bool = False) -> NDArray[np.float32]:
    """Beats and bars by Beat This!; `registry.tracker` gives it its checkpoint, `dbn` the bar pointer behind it."""
    if weights is None:
        raise UsageError("Beat This! has no checkpoint; expected one. Set EARMARK_BEAT_THIS to its path.")
    of_logits = pointed_beats if dbn else beats_of_logits
    return of_logits(*_logits(clip, weights)).rows


def beats_of_logits(beat: Float64, downbeat: Float64) -> Beats:
    """Beats where the beat's logit peaks above 0; the nearest to each peak of the downbeat's is a downbeat.

    Beats before the first downbeat count towards it as if its bar had the length of the most frequent one; without a
    downbeat there are no positions.
    """
    frames = _peaks(beat)
    times = frames / FPS
    down = _peaks(downbeat)
    if not len(frames):
        return Beats.none()
    nearest = np.unique(np.argmin(np.abs(frames[:, np.newaxis] - down[np.newaxis, :]), axis=0))
    strengths = 1.0 / (1.0 + np.exp(-beat[np.rint(frames).astype(np.int64)]))
    return Beats(times, _counted(len(frames), nearest), strengths.astype(np.float32))


def pointed_beats(beat: Float64, downbeat: Float64) -> Beats:
    """The most likely beats and bars of `POINTED_LENGTHS` beats, by the bar pointer."""
    either, down = (1.0 / (1.0 + np.exp(-logits)) for logits in (beat, downbeat))
    activation = np.stack([np.maximum(either - down, 0.0), down], axis=1)
    bars = track_bars(activation, FPS, beats_per_bar=POINTED_LENGTHS)
    return Beats(bars.times_s, bars.positions, bars.strengths.astype(np.float32))


def _counted(n_beats: int, downbeats: Int64) -> Int64:
    """Positions from 1 at the given indices; zeros if there are none."""
    if not len(downbeats):
        return np.zeros(n_beats, dtype=np.int64)
    index = np.arange(n_beats)
    last = np.searchsorted(downbeats, index, side="right") - 1
    positions = index - downbeats[np.maximum(last, 0)] + 1
    spacings = np.diff(downbeats)
    usual = int(np.bincount(spacings).argmax()) if len(spacings) else int(downbeats[0]) + 1
    return np.where(last >= 0, positions, (index - downbeats[0]) % max(usual, 1) + 1)


def _peaks(logits: Float64) -> Float64:
    """Frames where a logit above 0 is the highest within 60 ms; adjacent ones are one, between them."""
    if not len(logits):
        return np.empty(0)
    padded = np.pad(logits, NEAR_FRAMES, constant_values=-np.inf)
    highest = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEAR_FRAMES + 1).max(axis=1)
    found = np.flatnonzero((logits == highest) & (logits > 0))
    runs = np.split(found, np.flatnonzero(np.diff(found) > 1) + 1)
    return np.array([run.mean() for run in runs if len(run)])


def _logits(clip: Clip, weights: Weights) -> tuple[Float64, Float64]:
    checkpoint = weights.load()
    import torch

    from earmark.models.sequence.device import repeatable
    from earmark.tasks.meter.trackers.beat_this.network import load_beat_this

    try:
        network = load_beat_this(checkpoint)
    except (KeyError, AttributeError, RuntimeError) as error:
        raise UsageError(
            f"{weights.path} does not hold the tensors of Beat This! ({str(error).splitlines()[0]}). Fetch it again."
        ) from error
    with torch.inference_mode(), repeatable(0):
        logits = in_chunks(network, beat_this_spectrogram(clip))
    return logits[0], logits[1]


def in_chunks(network: Any, spectrogram: NDArray[np.float32]) -> Float64:
    """Logits of beat and downbeat of a whole spectrogram, float64, shape (2, n_frames).

    The last of several chunks is moved back to end with the clip; of two that overlap the earlier counts.
    """
    import torch

    n_frames = len(spectrogram)
    result = np.empty((2, n_frames))
    for start in reversed(_chunk_starts(n_frames)):
        chunk = _cut(spectrogram, start)
        beat, downbeat = (out[0].numpy() for out in network(torch.from_numpy(chunk)[None]))
        inner = slice(BORDER_FRAMES, len(chunk) - BORDER_FRAMES)
        first = start + BORDER_FRAMES
        result[:, first : first + inner.stop - inner.start] = np.stack([beat, downbeat])[:, inner]
    return result


def _chunk_starts(n_frames: int) -> list[int]:
    step = CHUNK_FRAMES - 2 * BORDER_FRAMES
    starts = list(range(-BORDER_FRAMES, n_frames - BORDER_FRAMES, step))
    if n_frames > step:
        starts[-1] = n_frames - CHUNK_FRAMES + BORDER_FRAMES
    return starts


def _cut(spectrogram: NDArray[np.float32], start: int) -> NDArray[np.float32]:
    """Frames from `start`, zeros outside the clip: a full chunk, or up to 6 frames beyond the end."""
    end = min(start + CHUNK_FRAMES, len(spectrogram) + BORDER_FRAMES)
    chunk = np.zeros((end - start, N_MELS), dtype=np.float32)
    inner = slice(max(start, 0), min(end, len(spectrogram)))
    chunk[inner.start - start : inner.stop - start] = spectrogram[inner]
    return chunk
