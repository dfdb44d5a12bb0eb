"""The script a user would write with librosa for the columns of the zones set: one call for each feature.

It stands in for the analysis functions of a clip and leaves the summaries over time to the feature groups, so
a column that differs shows a difference of definition, not of summary.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import librosa
import numpy as np

from earmark.audio.clip import Clip
from earmark.audio.descriptors import BRIGHT_HZ, CONTRAST_FLOOR

SAMPLE_RATE = 22_050


@dataclass(frozen=True)
class Shape:
    """The descriptors that the zones set uses."""

    centroid_hz: np.ndarray
    rolloff85_hz: np.ndarray
    brightness: np.ndarray
    contrast_db: np.ndarray


class NaiveClip(Clip):
    """A clip whose analyses are librosa's."""

    def memo(self, function: Callable[..., Any], /, **parameters: Any) -> Any:
        """Result of librosa's counterpart, computed once, or of the function itself if it has none."""
        counterpart = globals().get(f"naive_{function.__name__}")
        if counterpart is None:
            return super().memo(function, **parameters)
        key = function.__name__
        if key not in self._memo:
            self._memo[key] = counterpart(self.samples, **parameters)
        return self._memo[key]


def load(path: str) -> NaiveClip:
    """Decode as librosa does."""
    samples, _ = librosa.load(path, sr=SAMPLE_RATE, mono=True)
    return NaiveClip(samples, SAMPLE_RATE)


def naive_rms(y: np.ndarray) -> np.ndarray:
    return librosa.feature.rms(y=y)[0]


def naive_zero_crossing_rate(y: np.ndarray) -> np.ndarray:
    return librosa.feature.zero_crossing_rate(y)[0]


def naive_spectral_descriptors(y: np.ndarray) -> Shape:
    S = np.abs(librosa.stft(y))
    high = S[librosa.fft_frequencies(sr=SAMPLE_RATE) > BRIGHT_HZ].sum(axis=0)
    return Shape(
        centroid_hz=librosa.feature.spectral_centroid(y=y, sr=SAMPLE_RATE)[0],
        rolloff85_hz=librosa.feature.spectral_rolloff(y=y, sr=SAMPLE_RATE)[0],
        brightness=high / (S.sum(axis=0) + 1e-6),
        contrast_db=librosa.feature.spectral_contrast(y=y, sr=SAMPLE_RATE).T,
    )


def naive_mfcc(y: np.ndarray, n_mfcc: int = 20) -> np.ndarray:
    return librosa.feature.mfcc(y=y, sr=SAMPLE_RATE, n_mfcc=n_mfcc).T


def naive_onset_envelope(y: np.ndarray) -> np.ndarray:
    return librosa.onset.onset_strength(y=y, sr=SAMPLE_RATE)


def naive_tempo(y: np.ndarray) -> float:
    return _beats(y)[0]


def naive_beat_frames(y: np.ndarray) -> np.ndarray:
    return _beats(y)[1]


def naive_local_tempo(y: np.ndarray) -> np.ndarray:
    tempogram = librosa.feature.tempogram(y=y, sr=SAMPLE_RATE)
    bpm = librosa.tempo_frequencies(len(tempogram), sr=SAMPLE_RATE)
    inside = np.flatnonzero((bpm >= 60) & (bpm <= 200))
    return bpm[inside[tempogram[inside].argmax(axis=0)]]


def naive_harmonic_percussive_energy(y: np.ndarray) -> tuple[float, float]:
    harmonic, percussive = librosa.effects.hpss(y)
    return float(harmonic @ harmonic), float(percussive @ percussive)


def naive_chroma(y: np.ndarray) -> np.ndarray:
    return librosa.feature.chroma_stft(y=y, sr=SAMPLE_RATE).T


def floored_contrast(y: np.ndarray) -> np.ndarray:
    """librosa's contrast of magnitudes with earmark's floor, shape (n_frames, 7)."""
    S = np.abs(librosa.stft(y))
    return librosa.feature.spectral_contrast(
        S=np.maximum(S, CONTRAST_FLOOR * S.max(axis=0)), sr=SAMPLE_RATE
    ).T


_last: dict[str, Any] = {}


def _beats(y: np.ndarray) -> tuple[float, np.ndarray]:
    """Tempo and beats of one call: even a naive script calls the tracker once."""
    if _last.get("y") is not y:
        envelope = librosa.onset.onset_strength(y=y, sr=SAMPLE_RATE)
        bpm, frames = librosa.beat.beat_track(
            onset_envelope=envelope, sr=SAMPLE_RATE, start_bpm=120, tightness=100
        )
        _last.update(y=y, beats=(float(np.atleast_1d(bpm)[0]), frames))
    return _last["beats"]
