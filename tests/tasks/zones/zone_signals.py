"""Clips that the tests of the zones features share: degenerate ones, noises, tracks with known drops."""

from __future__ import annotations

import numpy as np

from earmark.audio.clip import Clip
from earmark.tasks.zones.synthesis import SAMPLE_RATE, Palette, Section, Style, arrange, render

PALETTE = Palette(root_hz=50.0, kick_hz=52.0, pad_partials=8, hat_decay_s=0.03, drive=1.0)


def style(energy: float, tempo_bpm: float = 128.0, gain: float = 0.7) -> Style:
    """A style whose layers rise with ``energy``."""
    levels = {
        "kick": 0.3 + 0.6 * energy,
        "bass": 0.3 + 0.4 * energy,
        "hats": 0.2 + 0.7 * energy,
        "pad": 0.5 - 0.2 * energy,
        "clap": 0.1 + 0.8 * energy,
        "riser": 0.3,
    }
    return Style(tempo_bpm, levels, breakdown_depth=0.5, gain=gain)


def planted_drop(tempo_bpm: float = 128.0) -> tuple[Clip, float]:
    """A track of groove, breakdown, build and drop, and the time of the drop in seconds."""
    sections = (
        Section("groove", 0, 8),
        Section("breakdown", 8, 4),
        Section("build", 12, 1),
        Section("drop", 13, 7),
    )
    track_style = style(0.9, tempo_bpm)
    samples = render(sections, track_style, PALETTE, np.random.default_rng(7))
    return Clip(samples, SAMPLE_RATE), 13 * track_style.bar_s


def synthetic_tracks(n_tracks: int, n_bars: int = 12) -> list[Clip]:
    """Tracks of varied tempo, energy, palette and number of drops, about 22 s each."""
    tracks = []
    for index in range(n_tracks):
        rng = np.random.default_rng((11, index))
        palette = Palette(
            root_hz=float(rng.uniform(41, 62)),
            kick_hz=float(rng.uniform(45, 65)),
            pad_partials=int(rng.integers(3, 12)),
            hat_decay_s=float(rng.uniform(0.015, 0.05)),
            drive=float(rng.uniform(0.6, 1.4)),
        )
        track_style = style(
            float(rng.uniform(0, 1)), float(rng.uniform(105, 150)), float(rng.uniform(0.3, 0.9))
        )
        samples = render(arrange(n_bars, index % 2, rng), track_style, palette, rng)
        tracks.append(Clip(samples, SAMPLE_RATE))
    return tracks


def coloured_noise(exponent: float, duration_s: float, seed: int) -> Clip:
    """Noise with power falling as frequency to the ``exponent``: 0 white, 1 pink, 2 brown; RMS 0.1."""
    n_samples = int(duration_s * SAMPLE_RATE)
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n_samples))
    frequency_hz = np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE)
    spectrum *= np.maximum(frequency_hz, 20.0) ** (-exponent / 2)
    samples = np.fft.irfft(spectrum, n=n_samples)
    return Clip((0.1 * samples / samples.std()).astype(np.float32), SAMPLE_RATE)


def degenerate_clips() -> dict[str, Clip]:
    """Ten seconds each (one sample and half a second aside) of what breaks formulas."""
    n_samples = 10 * SAMPLE_RATE
    time = np.arange(n_samples) / SAMPLE_RATE
    rng = np.random.default_rng(5)
    click, clicks = np.zeros(n_samples), np.zeros(n_samples)
    click[n_samples // 2] = 1.0
    clicks[:: SAMPLE_RATE // 2] = 1.0
    samples = {
        "silence": np.zeros(n_samples),
        "one sample": np.ones(1),
        "half a second": rng.standard_normal(SAMPLE_RATE // 2),
        "white noise": 0.1 * rng.standard_normal(n_samples),
        "faint noise": 1e-7 * rng.standard_normal(n_samples),
        "clipping": np.clip(20 * np.sin(2 * np.pi * 110 * time), -1, 1),
        "direct current": np.full(n_samples, 0.5),
        "one click": click,
        "clicks": clicks,
        "silence then noise": np.where(time < 5, 0, 0.1 * rng.standard_normal(n_samples)),
        "sine": 0.5 * np.sin(2 * np.pi * 440 * time),
    }
    return {name: Clip(values.astype(np.float32), SAMPLE_RATE) for name, values in samples.items()}
