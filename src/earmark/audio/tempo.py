"""Tempo, beats and local tempo from the onset envelope.

Conventions: BPM; frames of 512 samples; lags in frames. The tempogram is the autocorrelation of the onset
envelope in a Hann window around each frame, scaled to 1 at lag 0; outside the clip the envelope runs linearly
to 0.

References: P. Grosche, M. Mueller, F. Kurth, Cyclic tempogram, ICASSP 2010; D. Ellis, Beat tracking by
dynamic programming, J. New Music Research 36(1), 2007 (start 120 BPM, one octave standard deviation,
tightness 100).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.audio.beats import track_beats
from earmark.audio.clip import Clip
from earmark.audio.onset import onset_envelope

Array = NDArray[np.float32]
HOP_LENGTH = 512
START_BPM = 120.0
TIGHTNESS = 100.0
MAX_BPM = 320.0  # faster periodicities are subdivisions
TEMPO_WINDOW_S = 8.0
TEMPOGRAM_FRAMES = 384
LOCAL_BPM = (60.0, 200.0)
BLOCK_FRAMES = 512


def tempo(clip: Clip) -> float:
    """Tempo of the clip, BPM; 0 without any onset.

    The lag that maximises the mean tempogram (window 8 s) weighted by a log-normal prior around 120 BPM.
    """
    envelope = clip.memo(onset_envelope)
    if not envelope.any():
        return 0.0
    from earmark.audio.tempogram_kernel import windowed_autocorrelation

    window_frames = int(TEMPO_WINDOW_S * clip.sample_rate) // HOP_LENGTH
    mean, _ = windowed_autocorrelation(_padded(envelope, window_frames), window_frames, window_frames)
    lags = np.arange(1, window_frames)
    bpm = 60.0 * clip.sample_rate / (HOP_LENGTH * lags)
    score = np.log1p(1e6 * mean[1:]) - 0.5 * (np.log2(bpm) - np.log2(START_BPM)) ** 2
    score[bpm >= MAX_BPM] = -np.inf
    return float(bpm[np.argmax(score)])


def beat_frames(clip: Clip) -> NDArray[np.int64]:
    """Frames of the beats, ascending; empty without any onset."""
    bpm = clip.memo(tempo)
    if bpm <= 0:
        return np.empty(0, dtype=np.int64)
    frames_per_beat = float(np.round(60.0 * clip.sample_rate / HOP_LENGTH / bpm))
    return track_beats(clip.memo(onset_envelope), frames_per_beat, TIGHTNESS)


def beat_times_s(clip: Clip) -> NDArray[np.float64]:
    """Times of the beats in seconds."""
    return np.asarray(clip.memo(beat_frames) * (HOP_LENGTH / clip.sample_rate), dtype=np.float64)


def local_tempo(clip: Clip) -> Array:
    """Tempo around each frame, BPM, shape (n_frames,); 0 where there is no onset within the window.

    The lag of the largest tempogram value (window 384 frames) among those of 60 to 200 BPM.
    """
    from earmark.audio.tempogram_kernel import best_lags

    envelope = clip.memo(onset_envelope)
    frames_per_minute = 60.0 * clip.sample_rate / HOP_LENGTH
    first = max(1, int(np.ceil(frames_per_minute / LOCAL_BPM[1])))
    end = int(np.floor(frames_per_minute / LOCAL_BPM[0])) + 1
    lags = best_lags(_padded(envelope, TEMPOGRAM_FRAMES), TEMPOGRAM_FRAMES, first, max(end, first + 1))
    bpm = frames_per_minute / np.where(lags > 0, lags, np.inf)
    return bpm.astype(np.float32)


def tempogram(clip: Clip, window_frames: int = TEMPOGRAM_FRAMES) -> Array:
    """Local autocorrelation of the onset envelope, shape (n_frames, window_frames), 1 at lag 0 (0 where silent)."""
    from scipy.fft import irfft, next_fast_len, rfft

    envelope = clip.memo(onset_envelope)
    padded = _padded(envelope, window_frames)
    framed = np.lib.stride_tricks.sliding_window_view(padded, window_frames)[: len(envelope)]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window_frames) / window_frames)
    n = next_fast_len(2 * window_frames - 1, real=True)
    result = np.empty((len(envelope), window_frames), dtype=np.float32)
    for start in range(0, len(envelope), BLOCK_FRAMES):
        power = np.abs(rfft(framed[start : start + BLOCK_FRAMES] * window, n=n, axis=1)) ** 2
        product = irfft(power, n=n, axis=1)[:, :window_frames]
        scale = np.where(product[:, :1] > 1e-20, product[:, :1], np.inf)
        result[start : start + BLOCK_FRAMES] = product / scale
    return result


def mean_tempogram(clip: Clip, window_frames: int = TEMPOGRAM_FRAMES) -> NDArray[np.float64]:
    """Mean of `tempogram` over the frames, float64, shape (window_frames,); all 0 without any onset."""
    from earmark.audio.tempogram_kernel import windowed_autocorrelation

    envelope = clip.memo(onset_envelope)
    if not envelope.any():
        return np.zeros(window_frames)
    mean, _ = windowed_autocorrelation(_padded(envelope, window_frames), window_frames, window_frames)
    return mean


def _padded(envelope: Array, window_frames: int) -> NDArray[np.float64]:
    """The envelope with a ramp to zero of half a window at either end, shape (n_frames + window_frames,)."""
    half = window_frames // 2
    ramped = np.pad(envelope.astype(np.float64), half, mode="linear_ramp", end_values=0.0)
    return np.append(ramped, np.zeros(window_frames - 2 * half))  # for an odd window, read by no frame
