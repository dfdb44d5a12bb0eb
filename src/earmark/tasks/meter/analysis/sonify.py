"""Clicks over a song, so that beats can be judged by ear: 880 Hz on downbeats, 440 Hz on the others.

Conventions: mono float32; clicks are sines of 40 ms that decay, at half of full scale; the song is turned down to leave
room, so that the sum does not clip.
"""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.tasks.meter.trackers.rows import Beats

__all__ = ["click_track", "wav_bytes", "with_clicks"]

Samples = NDArray[np.float32]

DOWNBEAT_HZ, BEAT_HZ = 880.0, 440.0
CLICK_S = 0.040
CLICK_DECAY_S = 0.010
CLICK_LEVEL = 0.5
SONG_LEVEL = 0.45


def click_track(beats: Beats, n_samples: int, sample_rate: int) -> Samples:
    """Clicks alone, shape (n_samples,); a click that runs beyond the end is cut."""
    track = np.zeros(n_samples, dtype=np.float32)
    sounds = {is_down: _click(DOWNBEAT_HZ if is_down else BEAT_HZ, sample_rate) for is_down in (True, False)}
    for time, position in zip(beats.times_s, beats.positions, strict=True):
        start = round(float(time) * sample_rate)
        room = track[start : start + len(sounds[True])]
        room[:] = sounds[bool(position == 1)][: len(room)]
    return track


def with_clicks(clip: Clip, beats: Beats) -> Samples:
    """The clip at peak 0.45 with its clicks, in [-1, 1]."""
    peak = np.abs(clip.samples).max(initial=np.float32(0.0))
    song = clip.samples * np.float32(SONG_LEVEL / peak) if peak > 0 else clip.samples
    return np.asarray(song + click_track(beats, len(song), clip.sample_rate))


def wav_bytes(samples: Samples, sample_rate: int) -> bytes:
    """A 16-bit wav file."""
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, samples, sample_rate, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _click(frequency_hz: float, sample_rate: int) -> Samples:
    time_s = np.arange(round(CLICK_S * sample_rate)) / sample_rate
    wave = CLICK_LEVEL * np.exp(-time_s / CLICK_DECAY_S) * np.sin(2 * np.pi * frequency_hz * time_s)
    return wave.astype(np.float32)
