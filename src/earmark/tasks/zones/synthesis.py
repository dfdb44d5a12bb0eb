"""Synthetic dance tracks with a known tempo, known sections and known drops.

A track is a sequence of *sections* in whole bars of four beats. Each section sets the level of each layer:

=========  =====  =====  =====  ====  =====  =====
section    kick   bass   hats   pad   clap   riser
=========  =====  =====  =====  ====  =====  =====
intro      yes    no     soft   soft  no     no
groove     yes    yes    yes    yes   yes    no
breakdown  no     no     no     soft  no     no
build      no     no     rises  soft  no     rises
drop       loud   loud   loud   loud  loud   no
outro      yes    no     soft   soft  no     no
=========  =====  =====  =====  ====  =====  =====

Conventions: mono float32 at 22 050 Hz, times in seconds from the start, levels as linear amplitude.
Everything random comes from the generator that is passed in, so a seed makes the same samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["SAMPLE_RATE", "Palette", "Section", "Style", "arrange", "render"]

SAMPLE_RATE = 22_050  # Hz
BEATS_PER_BAR = 4
SIDECHAIN_DEPTH = 0.6  # share by which the kick ducks pad and bass
NOISE_FLOOR = 3e-4  # amplitude, about -70 dB
MINOR_TRIADS = ((0, 3, 7), (8, 12, 15), (3, 7, 10), (10, 14, 17))  # i VI III VII in semitones above the root
LAYERS = ("kick", "bass", "hats", "pad", "clap", "riser")
SECTION_LEVELS = {
    "intro": (0.8, 0.0, 0.4, 0.5, 0.0, 0.0),
    "groove": (1.0, 0.8, 0.8, 0.7, 0.6, 0.0),
    "breakdown": (0.0, 0.0, 0.0, 0.6, 0.0, 0.0),
    "build": (0.0, 0.0, 0.5, 0.6, 0.0, 0.5),
    "drop": (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    "outro": (0.8, 0.0, 0.4, 0.5, 0.0, 0.0),
}


@dataclass(frozen=True)
class Section:
    """Part of a track: ``kind`` is a row of the table above, ``start_bar`` counts from 0."""

    kind: str
    start_bar: int
    n_bars: int


@dataclass(frozen=True)
class Palette:
    """What stays the same in all tracks of an artist.

    Parameters
    ----------
    root_hz : float
        Lowest note of the bass.
    kick_hz : float
        Where the kick's pitch comes to rest.
    pad_partials : int
        Number of overtones of a pad note; more is brighter.
    hat_decay_s : float
    drive : float
        Input gain of the soft clipper at the end; more is denser and louder.
    """

    root_hz: float
    kick_hz: float
    pad_partials: int
    hat_decay_s: float
    drive: float


@dataclass(frozen=True)
class Style:
    """What makes one track: its tempo and the level of each layer.

    Parameters
    ----------
    tempo_bpm : float
    levels : mapping of layer name to float
        Multiplied with the level of the section.
    breakdown_depth : float
        0 keeps the pad at full level in breakdowns, 1 silences it.
    gain : float
        Amplitude of the finished track.
    """

    tempo_bpm: float
    levels: dict[str, float]
    breakdown_depth: float
    gain: float

    @property
    def bar_s(self) -> float:
        """Length of a bar in seconds."""
        return BEATS_PER_BAR * 60 / self.tempo_bpm


def arrange(n_bars: int, n_drops: int, rng: np.random.Generator) -> tuple[Section, ...]:
    """Divide a track into sections with ``n_drops`` breakdown-build-drop cycles.

    Parameters
    ----------
    n_bars : int
        Length of the track; at least 4 + 6 for each drop.
    n_drops : int
    rng : numpy.random.Generator

    Returns
    -------
    tuple of Section
        In time order, without gaps, together ``n_bars`` long.
    """
    plan: list[tuple[str, int]] = [("intro", int(rng.integers(2, 4)))]
    spare = n_bars - plan[0][1] - 2 - 6 * n_drops
    lead = spare if n_drops == 0 else int(rng.integers(0, max(1, spare // 2) + 1))
    if lead:
        plan.append(("groove", lead))
    extra = (spare - lead) // n_drops if n_drops else 0
    for _ in range(n_drops):
        pause = int(rng.integers(0, extra // 2 + 1))
        plan += [("breakdown", 2 + pause), ("build", 1), ("drop", 3 + extra - pause)]
    plan.append(("outro", n_bars - sum(length for _, length in plan)))
    starts = np.cumsum([0, *(length for _, length in plan)])
    return tuple(
        Section(kind, int(start), length) for (kind, length), start in zip(plan, starts, strict=False)
    )


def render(
    sections: Sequence[Section], style: Style, palette: Palette, rng: np.random.Generator
) -> np.ndarray:
    """Samples of a track, float32, shape (n_samples,), within [-1, 1]."""
    n_bars = sections[-1].start_bar + sections[-1].n_bars
    n_samples = round(n_bars * style.bar_s * SAMPLE_RATE)
    envelopes = _envelopes(sections, style, n_samples)
    ducking = _ducking(envelopes["kick"], style)
    mix = NOISE_FLOOR * rng.standard_normal(n_samples, dtype=np.float32)
    beats = np.arange(n_bars * BEATS_PER_BAR)
    _place(mix, _kick(palette), beats, envelopes["kick"], style)
    _place(mix, _hat(palette, rng), np.arange(0.5, len(beats), 0.5), envelopes["hats"], style)
    _place(mix, _clap(rng), beats[1::2], envelopes["clap"], style)
    mix += envelopes["bass"] * ducking * _bass(n_samples, style, palette)
    mix += envelopes["pad"] * ducking * _pad(n_samples, style, palette, rng)
    riser = envelopes["riser"]
    rising = np.flatnonzero(riser)
    mix[rising] += riser[rising] * np.diff(rng.standard_normal(len(rising) + 1, dtype=np.float32)) * 0.5
    return np.asarray(style.gain * np.tanh(palette.drive * mix), dtype=np.float32)


def _envelopes(sections: Sequence[Section], style: Style, n_samples: int) -> dict[str, np.ndarray]:
    curves = {layer: np.zeros(n_samples, dtype=np.float32) for layer in LAYERS}
    for section in sections:
        start = round(section.start_bar * style.bar_s * SAMPLE_RATE)
        stop = min(n_samples, round((section.start_bar + section.n_bars) * style.bar_s * SAMPLE_RATE))
        for layer, level in zip(LAYERS, SECTION_LEVELS[section.kind], strict=True):
            curves[layer][start:stop] = level * style.levels[layer]
        if section.kind in ("breakdown", "build"):
            curves["pad"][start:stop] *= 1 - style.breakdown_depth
        if section.kind == "build":
            ramp = np.linspace(0, 1, stop - start, dtype=np.float32)
            curves["hats"][start:stop] *= ramp
            curves["riser"][start:stop] *= ramp**2
    return curves


def _ducking(kick: np.ndarray, style: Style) -> np.ndarray:
    beat_s = style.bar_s / BEATS_PER_BAR
    phase = (np.arange(len(kick), dtype=np.float32) / np.float32(beat_s * SAMPLE_RATE)) % 1
    return np.asarray(1 - SIDECHAIN_DEPTH * (kick > 0) * np.exp(-6 * phase))


def _place(mix: np.ndarray, shot: np.ndarray, beats: np.ndarray, envelope: np.ndarray, style: Style) -> None:
    beat_samples = style.bar_s / BEATS_PER_BAR * SAMPLE_RATE
    for start in np.round(beats * beat_samples).astype(int):
        if start < len(mix) and envelope[start] > 0:
            stop = min(start + len(shot), len(mix))
            mix[start:stop] += envelope[start] * shot[: stop - start]


def _kick(palette: Palette) -> np.ndarray:
    time = np.arange(round(0.25 * SAMPLE_RATE)) / SAMPLE_RATE
    sweep = palette.kick_hz * (time + 4 * (1 - np.exp(-time / 0.03)) * 0.03)
    return (np.sin(2 * np.pi * sweep) * np.exp(-time / 0.09)).astype(np.float32)


def _hat(palette: Palette, rng: np.random.Generator) -> np.ndarray:
    time = np.arange(round(0.12 * SAMPLE_RATE)) / SAMPLE_RATE
    noise = np.diff(rng.standard_normal(len(time) + 2), n=2)
    return (0.15 * noise * np.exp(-time / palette.hat_decay_s)).astype(np.float32)


def _clap(rng: np.random.Generator) -> np.ndarray:
    time = np.arange(round(0.2 * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.25 * np.diff(rng.standard_normal(len(time) + 1)) * np.exp(-time / 0.04)).astype(np.float32)


def _bass(n_samples: int, style: Style, palette: Palette) -> np.ndarray:
    bar = round(style.bar_s * SAMPLE_RATE)
    time = np.arange(bar) / SAMPLE_RATE
    gate = (time * style.tempo_bpm / 60 * 2 % 1 < 0.8).astype(np.float32)
    bars = [gate * _tone(palette.root_hz * 2 ** ((triad[0] % 12) / 12), time, 3) for triad in MINOR_TRIADS]
    return _tiled(0.5 * np.concatenate(bars), n_samples)


def _pad(n_samples: int, style: Style, palette: Palette, rng: np.random.Generator) -> np.ndarray:
    time = np.arange(round(style.bar_s * SAMPLE_RATE)) / SAMPLE_RATE
    detune = 1 + 0.002 * rng.standard_normal(3)
    chords = [
        sum(
            _tone(4 * palette.root_hz * factor * 2 ** (semitone / 12), time, palette.pad_partials)
            for semitone, factor in zip(triad, detune, strict=True)
        )
        for triad in MINOR_TRIADS
    ]
    return _tiled(0.25 * np.concatenate(chords), n_samples)


def _tone(frequency_hz: float, time: np.ndarray, n_partials: int) -> np.ndarray:
    """A sawtooth with its first partials below 10 kHz, fading in and out over 5 ms at the ends."""
    tone = np.zeros(len(time), dtype=np.float32)
    for partial in range(1, n_partials + 1):
        if partial * frequency_hz < 10_000:
            tone += (np.sin(2 * np.pi * partial * frequency_hz * time) / partial).astype(np.float32)
    fade = np.minimum(1, np.minimum(time, time[::-1]) / 0.005)
    return np.asarray(tone * fade, dtype=np.float32)


def _tiled(loop: np.ndarray, n_samples: int) -> np.ndarray:
    return np.tile(loop, -(-n_samples // len(loop)))[:n_samples].astype(np.float32)
