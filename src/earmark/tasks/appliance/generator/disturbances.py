"""What else is heard in a room: clanks, steps, speech-like bursts, music, traffic, a kettle.

Each is rare and short against the machines, as in a real room, and belongs to none of them: windows that hold one are
what outlier trimming is for, and what a detector must not take for a switch. A disturbance is a function of a length, a
rate in Hz and a generator; `DISTURBANCES` gives its length and its level over the background.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from earmark.tasks.appliance.generator.noise import Samples, at_level, band, falling, shaped_noise

__all__ = ["DISTURBANCES", "Disturbance", "add_disturbances"]

Sound = Callable[[int, int, np.random.Generator], Samples]

MEAN_PAUSE_S = 40.0
FADE_S = 0.02


@dataclass(frozen=True)
class Disturbance:
    """A sound, the range of its length in seconds, and the range of its level in dB over the background."""

    name: str
    sound: Sound
    length_s: tuple[float, float]
    over_floor_db: tuple[float, float]


def add_disturbances(
    samples: Samples, sample_rate: int, floor_db: float, rng: np.random.Generator
) -> list[tuple[str, float, float]]:
    """Mix disturbances into a recording, in place.

    Parameters
    ----------
    samples : np.ndarray, shape (n_samples,)
    sample_rate : int
        Hz.
    floor_db : float
        Level of the background in dBFS.
    rng : numpy.random.Generator

    Returns
    -------
    list of (name, start, end)
        What was added, in seconds, in the order of time.
    """
    added = []
    duration_s = len(samples) / sample_rate
    start_s = rng.exponential(MEAN_PAUSE_S)
    while start_s < duration_s:
        kind = DISTURBANCES[rng.integers(len(DISTURBANCES))]
        length_s = min(rng.uniform(*kind.length_s), duration_s - start_s)
        start, n_samples = int(start_s * sample_rate), int(length_s * sample_rate)
        if n_samples > 2 * FADE_S * sample_rate:
            sound = _faded(kind.sound(n_samples, sample_rate, rng), sample_rate)
            samples[start : start + n_samples] += at_level(sound, floor_db + rng.uniform(*kind.over_floor_db))
            added.append((kind.name, start_s, start_s + length_s))
        start_s += length_s + rng.exponential(MEAN_PAUSE_S)
    return added


def _faded(samples: Samples, sample_rate: int) -> Samples:
    ends = np.minimum(np.arange(len(samples)), np.arange(len(samples))[::-1])
    return samples * np.minimum(1.0, ends / (FADE_S * sample_rate))


def _clank(n_samples: int, sample_rate: int, rng: np.random.Generator) -> Samples:
    """Partials of struck metal: no harmonics, each with a decay of its own."""
    time_s = np.arange(n_samples) / sample_rate
    hz, decay_s = rng.uniform(700, 5_000, 5), rng.uniform(0.03, 0.2, 5)
    return np.asarray(
        sum(np.exp(-time_s / d) * np.sin(2 * np.pi * f * time_s) for f, d in zip(hz, decay_s, strict=True))
    )


def _steps(n_samples: int, sample_rate: int, rng: np.random.Generator) -> Samples:
    """Thumps below 200 Hz, two per second."""
    noise = shaped_noise(n_samples, sample_rate, partial(band, low_hz=40, high_hz=200), 0, rng)
    since_s = (np.arange(n_samples) / sample_rate) % rng.uniform(0.45, 0.6)
    return noise * np.exp(-since_s / 0.06)


def _speech(n_samples: int, sample_rate: int, rng: np.random.Generator) -> Samples:
    """A buzz whose pitch wanders, through two resonances, in four syllables per second."""
    time_s = np.arange(n_samples) / sample_rate
    pitch_hz = rng.uniform(100, 220) * (1 + 0.15 * np.sin(2 * np.pi * 0.7 * time_s + rng.uniform(0, 6)))
    turns = np.cumsum(pitch_hz) / sample_rate
    formants = rng.uniform(400, 800), rng.uniform(1_000, 2_300)
    voice = np.zeros(n_samples)
    for number in range(1, 25):
        hz = number * float(pitch_hz.mean())
        voice += sum(np.exp(-(((hz - f) / 200) ** 2)) for f in formants) * np.sin(2 * np.pi * number * turns)
    syllables = np.maximum(0.0, np.sin(2 * np.pi * 2 * time_s + rng.uniform(0, 6)))
    return voice * syllables


def _music(n_samples: int, sample_rate: int, rng: np.random.Generator) -> Samples:
    """Broken chords, three notes per second."""
    time_s = np.arange(n_samples) / sample_rate
    note = (3 * time_s).astype(int)
    steps = rng.choice([0, 3, 7, 10, 12, 15], note[-1] + 1)
    hz = 220 * 2 ** (steps[note] / 12)
    turns = np.cumsum(hz) / sample_rate
    decay = np.exp(-((3 * time_s) % 1) / 0.5)
    return np.asarray(decay * sum(np.sin(2 * np.pi * n * turns) / n for n in (1, 2, 3)))


def _traffic(n_samples: int, sample_rate: int, rng: np.random.Generator) -> Samples:
    """A car that comes and goes."""
    noise = shaped_noise(n_samples, sample_rate, partial(falling, corner_hz=150), 0, rng)
    return noise * np.hanning(n_samples)


def _kettle(n_samples: int, sample_rate: int, rng: np.random.Generator) -> Samples:
    """Hiss that grows until it stops."""
    noise = shaped_noise(n_samples, sample_rate, partial(band, low_hz=800, high_hz=6_000), 0, rng)
    return noise * np.linspace(0, 1, n_samples)


DISTURBANCES = (
    Disturbance("clank", _clank, (0.3, 0.8), (4, 14)),
    Disturbance("steps", _steps, (1.5, 4), (-2, 8)),
    Disturbance("speech", _speech, (1, 4), (0, 10)),
    Disturbance("music", _music, (4, 8), (-6, 2)),
    Disturbance("traffic", _traffic, (5, 9), (-4, 4)),
    Disturbance("kettle", _kettle, (8, 14), (-6, 2)),
)
