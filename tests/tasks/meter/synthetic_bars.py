"""Bars made for tests: clicks and drums whose tempo, meter and accents are known exactly."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
import soundfile

from earmark.tasks.meter.analysis.bars import Bars
from earmark.tasks.meter.trackers.rows import Beats

RATE = 22_050


def beats_at(times_s, positions=None) -> Beats:
    times_s = np.asarray(times_s, dtype=np.float64)
    positions = np.zeros(len(times_s)) if positions is None else positions
    return Beats(times_s, np.asarray(positions, dtype=np.int64), np.ones(len(times_s), dtype=np.float32))


def steady(bpm: float, duration_s: float, start_s: float = 0.5) -> np.ndarray:
    return np.arange(start_s, duration_s, 60.0 / bpm)


def bars_of(groups: Sequence[int], bpm: float, duration_s: float, *, inner: int = 1) -> Bars:
    """Bars whose groups begin with an accent, the first with a stronger one; `inner` onsets per beat."""
    times_s = steady(bpm, duration_s)
    n = sum(groups)
    starts = {0, *accumulate(groups[:-1])}
    place = np.arange(len(times_s)) % n
    accent = np.where(place == 0, 2.0, np.where(np.isin(place, list(starts)), 1.0, 0.0))
    accent = accent + 0.05 * np.random.default_rng(0).normal(size=len(accent))
    onsets = (times_s[:, None] + np.arange(inner) / inner * 60.0 / bpm).ravel()
    return Bars(beats_at(times_s, place + 1), onsets, accent, accent)


def clicks(times_s, strengths, duration_s: float, pitches_hz=None) -> np.ndarray:
    """A signal of decaying clicks."""
    signal = np.zeros(round(duration_s * RATE), dtype=np.float32)
    t = np.arange(round(0.06 * RATE)) / RATE
    pitches_hz = np.full(len(times_s), 1_000.0) if pitches_hz is None else pitches_hz
    for time_s, strength, pitch_hz in zip(times_s, strengths, pitches_hz, strict=True):
        wave = strength * np.exp(-t / 0.012) * np.sin(2 * np.pi * pitch_hz * t)
        room = signal[round(time_s * RATE) : round(time_s * RATE) + len(t)]
        room += wave[: len(room)].astype(np.float32)
    return signal


def drummed(beats_per_bar: int, bpm: float, duration_s: float, start_s: float = 0.3) -> np.ndarray:
    """Bars with a low drum on the first beat and lighter, higher ones on the others."""
    times_s = steady(bpm, duration_s - 0.1, start_s)
    is_down = np.arange(len(times_s)) % beats_per_bar == 0
    return clicks(times_s, np.where(is_down, 0.9, 0.35), duration_s, np.where(is_down, 110.0, 1_500.0))


def written(path, signal: np.ndarray, rate: int = RATE):
    soundfile.write(path, signal, rate, subtype="FLOAT" if str(path).endswith(".wav") else None)
    return str(path)
