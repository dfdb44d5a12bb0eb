"""A small synthesiser that needs nothing but numpy: plucked, struck, blown, bowed and drum voices.

It makes demos and tests where no fluidsynth is, and colours of sound that no sound font has. A tone is a sum of
partials under one envelope; a drum is filtered noise over a falling sine. Each pitch of a part is made once, long, and
cut and released for every note that plays it.

Conventions: mono float32 at `SAMPLE_RATE`; a seed makes the same samples.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from earmark.tasks.meter.schema import SAMPLE_RATE
from earmark.tasks.meter.scores.score import Part, Score

__all__ = ["VOICES", "Voice", "synthesise", "voice_of"]

Samples = NDArray[np.float32]

MAX_NOTE_S = 4.0
RELEASE_S = 0.05
VIBRATO_HZ = 5.2
_TOP_HZ = 9_500.0


@dataclass(frozen=True)
class Voice:
    """How a tone sounds.

    Parameters
    ----------
    n_partials : int
    slope : float
        Amplitude of partial k is ``k ** -slope``.
    odd_only : bool
        Whether even partials are missing, as in a stopped pipe.
    attack_s, decay_s : float
        Rise, and time constant of the fall; infinite for a voice that is sustained.
    damping : float
        How much faster high partials fall than low ones.
    stretch : float
        Inharmonicity of a stiff string.
    vibrato : float
        Depth as a share of the frequency, at about 5 Hz.
    breath : float
        Noise that comes with the tone.
    """

    n_partials: int
    slope: float
    odd_only: bool = False
    attack_s: float = 0.005
    decay_s: float = np.inf
    damping: float = 0.0
    stretch: float = 0.0
    vibrato: float = 0.0
    breath: float = 0.0


VOICES = {
    "plucked": Voice(12, 1.0, attack_s=0.002, decay_s=0.45, damping=0.5, stretch=1e-5),
    "struck": Voice(10, 1.3, attack_s=0.003, decay_s=0.8, damping=0.3, stretch=3e-4),
    "bell": Voice(5, 0.8, attack_s=0.001, decay_s=0.6, damping=0.6, stretch=8e-3),
    "blown": Voice(6, 1.6, attack_s=0.035, vibrato=0.004, breath=0.04),
    "reed": Voice(12, 0.9, odd_only=True, attack_s=0.02, vibrato=0.002),
    "bowed": Voice(14, 1.0, attack_s=0.06, vibrato=0.005),
    "organ": Voice(8, 0.7, attack_s=0.01),
}

_FAMILIES = (
    (8, "struck"),
    (16, "bell"),
    (24, "organ"),
    (40, "plucked"),
    (45, "bowed"),
    (48, "plucked"),
    (56, "bowed"),
)
_LATER_FAMILIES = ((64, "reed"), (72, "reed"), (80, "blown"), (104, "organ"), (109, "plucked"), (112, "reed"))

_DRUMS = {
    "low": (55.0, 0.16, 0.15), "tom": (110.0, 0.14, 0.2), "snare": (180.0, 0.09, 1.0), "wood": (620.0, 0.04, 0.25),
    "hat": (0.0, 0.035, 1.0), "cymbal": (0.0, 0.3, 1.0),
}  # fmt: skip
"""Name -> frequency of its head in Hz, time constant in seconds, share of noise."""
_DRUM_OF = {
    35: "low",
    36: "low",
    37: "wood",
    38: "snare",
    39: "snare",
    40: "snare",
    42: "hat",
    44: "hat",
    46: "cymbal",
}
_DRUM_OF |= {
    49: "cymbal",
    51: "cymbal",
    54: "hat",
    70: "hat",
    82: "hat",
    76: "wood",
    77: "wood",
    64: "low",
    61: "low",
}


def voice_of(program: int) -> str:
    """The voice nearest to a General MIDI program."""
    return next((name for limit, name in (*_FAMILIES, *_LATER_FAMILIES) if program < limit), "plucked")


def synthesise(score: Score, duration_s: float, *, seed: int = 0) -> Samples:
    """Play a score.

    Parameters
    ----------
    score : Score
    duration_s : float
        Length of the result; what lies beyond is not played.
    seed : int
        Of noise, phases and the room.

    Returns
    -------
    np.ndarray, float32, shape (n_samples,)
        With a peak of 0.5, or silent.
    """
    rng = np.random.default_rng((seed, 91))
    n_samples = round(duration_s * SAMPLE_RATE)
    mix = np.zeros(n_samples, dtype=np.float32)
    for part in score.parts:
        _add_part(mix, part, score, rng)
    mix = _in_room(mix, rng)
    peak = float(np.abs(mix).max(initial=0.0))
    return np.asarray(mix * (0.5 / peak) if peak > 0 else mix, dtype=np.float32)


def _add_part(mix: Samples, part: Part, score: Score, rng: np.random.Generator) -> None:
    make = _drum if part.is_drums else partial(_tone, VOICES[voice_of(part.program)])
    starts = score.tempo.seconds([note.start for note in part.notes])
    ends = score.tempo.seconds([note.start + note.duration for note in part.notes])
    longest: dict[int, float] = {}
    for note, start_s, end_s in zip(part.notes, starts, ends, strict=True):
        longest[note.pitch] = max(longest.get(note.pitch, 0.0), float(end_s - start_s))
    tones = {pitch: make(pitch, duration_s + RELEASE_S, rng) for pitch, duration_s in longest.items()}
    for note, start_s, end_s in zip(part.notes, starts, ends, strict=True):
        first = round(float(start_s) * SAMPLE_RATE)
        if first >= len(mix):
            continue
        tone = tones[note.pitch]
        sound = tone if part.is_drums else _released(tone, float(end_s - start_s))
        stop = min(len(mix), first + len(sound))
        mix[first:stop] += np.float32((note.velocity / 127) ** 1.7) * sound[: stop - first]


def _tone(voice: Voice, pitch: int, duration_s: float, rng: np.random.Generator) -> Samples:
    frequency = 440 * 2 ** ((pitch - 69) / 12)
    length_s = min(duration_s, MAX_NOTE_S, 5 * voice.decay_s)
    time = np.arange(round(length_s * SAMPLE_RATE), dtype=np.float32) / np.float32(SAMPLE_RATE)
    swayed = time + voice.vibrato / (2 * math.pi * VIBRATO_HZ) * np.sin(2 * math.pi * VIBRATO_HZ * time)
    tone = np.zeros_like(time)
    for order in range(1, voice.n_partials + 1, 2 if voice.odd_only else 1):
        at_hz = frequency * order * math.sqrt(1 + voice.stretch * order**2)
        if at_hz > _TOP_HZ:
            break
        wave = np.sin(2 * math.pi * at_hz * swayed + rng.uniform(0, 2 * math.pi))
        if math.isfinite(voice.decay_s):
            wave *= np.exp(time * (-(1 + voice.damping * (order - 1)) / voice.decay_s))
        tone += order**-voice.slope * wave
    if voice.breath:
        tone += np.float32(voice.breath) * rng.standard_normal(len(time), dtype=np.float32)
    return np.asarray(tone * np.minimum(1, time / voice.attack_s), dtype=np.float32)


def _released(tone: Samples, duration_s: float) -> Samples:
    held = max(1, round(duration_s * SAMPLE_RATE))
    fade = round(RELEASE_S * SAMPLE_RATE)
    sound = tone[: held + fade].copy()
    if len(sound) > held:
        sound[held:] *= np.linspace(1, 0, len(sound) - held, dtype=np.float32)
    return sound


def _drum(key: int, duration_s: float, rng: np.random.Generator) -> Samples:
    """A stroke; how long its note is written does not matter."""
    head_hz, decay_s, noise = _DRUMS[_DRUM_OF.get(key, "tom")]
    time = np.arange(round(6 * decay_s * SAMPLE_RATE), dtype=np.float32) / np.float32(SAMPLE_RATE)
    swept = head_hz * (time + 0.02 * (1 - np.exp(-time / 0.02)))
    hiss = np.diff(rng.standard_normal(len(time) + 1, dtype=np.float32)) * np.exp(-time / (0.6 * decay_s))
    body = np.sin(2 * np.pi * swept) * np.exp(-time / decay_s)
    return np.asarray((1 - 0.7 * noise) * body * (head_hz > 0) + 0.6 * noise * hiss, dtype=np.float32)


def _in_room(dry: Samples, rng: np.random.Generator) -> Samples:
    """A short diffuse tail, so that silence between notes is not absolute."""
    from scipy.signal import oaconvolve

    length = round(0.35 * SAMPLE_RATE)
    decay = np.exp(-np.arange(length) / (rng.uniform(0.03, 0.09) * SAMPLE_RATE))
    tail = (rng.standard_normal(length) * decay).astype(np.float32)
    tail *= np.float32(rng.uniform(0.05, 0.35) / np.sqrt(np.sum(tail**2)))
    return np.asarray(dry + oaconvolve(dry, tail)[: len(dry)], dtype=np.float32)
