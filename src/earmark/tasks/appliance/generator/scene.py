"""A recording of the synthetic room: background, machines and disturbances, mixed.

The background is pink noise at -58.3 dBFS by day and -57.5 dBFS by night, whose level drifts by 0.4 dB. Machines are
added to it, never put in its place. A machine that is switched on or off is faded for `FADE_S`, with the switch in the
middle of the fade.

Conventions: float32 in [-1, 1], mono; times in seconds from the start; the same seed gives the same samples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from earmark.errors import UsageError
from earmark.tasks.appliance.generator.disturbances import add_disturbances
from earmark.tasks.appliance.generator.machines import FLOOR_DB, Machine, machines_of
from earmark.tasks.appliance.generator.noise import Samples, amplitude, pink, shaped_noise
from earmark.tasks.appliance.schema import SAMPLE_RATE

__all__ = ["Heard", "SyntheticRoom", "random_spans"]

DRIFT_DB, DRIFT_S = 0.4, 75.0
FADE_S = 0.1

Spans = tuple[tuple[float, float], ...]
"""Seconds in which a machine runs, in order, without overlap."""


@dataclass(frozen=True)
class Heard:
    """A recording and the truth about it.

    Parameters
    ----------
    samples : np.ndarray, shape (n_samples,)
    on_spans : mapping of str to spans
        Of each machine.
    disturbances : tuple of (name, start, end)
    """

    samples: NDArray[np.float32]
    on_spans: Mapping[str, Spans]
    disturbances: tuple[tuple[str, float, float], ...]


@dataclass(frozen=True)
class SyntheticRoom:
    """A room and what stands in it.

    Parameters
    ----------
    devices : tuple of str
        Its machines; see `earmark.tasks.appliance.generator.machines`.
    sample_rate : int
        Hz, above twice the highest frequency that is made.
    mains_hz : int
        50 or 60.
    is_disturbed : bool
        Whether anything but the machines is heard.

    Examples
    --------
    >>> room = SyntheticRoom()
    >>> heard = room.steady({"ac": True, "fridge": False}, "day", 6.0, np.random.default_rng(1))
    >>> heard.samples.shape, heard.on_spans
    ((96000,), {'ac': ((0.0, 6.0),), 'fridge': ()})
    """

    devices: tuple[str, ...] = ("ac", "fridge")
    sample_rate: int = SAMPLE_RATE
    mains_hz: int = 50
    is_disturbed: bool = True
    _machines: Mapping[str, Machine] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.sample_rate < SAMPLE_RATE:
            raise UsageError(
                f"a synthetic room at {self.sample_rate} Hz would lack what the features read. Expected at least "
                f"{SAMPLE_RATE} Hz."
            )
        object.__setattr__(self, "_machines", machines_of(self.devices, mains_hz=self.mains_hz))

    def steady(
        self, facts: Mapping[str, bool], daypart: str, duration_s: float, rng: np.random.Generator
    ) -> Heard:
        """A recording in which nothing is switched."""
        always: Spans = ((0.0, duration_s),)
        return self.switching(
            {name: always if facts[name] else () for name in self.devices}, daypart, duration_s, rng
        )

    def switching(
        self, on_spans: Mapping[str, Spans], daypart: str, duration_s: float, rng: np.random.Generator
    ) -> Heard:
        """A recording in which each machine runs in the spans given, seconds from the start.

        Raises
        ------
        UsageError
            The daypart has no background.
        """
        if daypart not in FLOOR_DB:
            raise UsageError(
                f"no background is known for the daypart {daypart!r}. Expected {' or '.join(FLOOR_DB)}."
            )
        n_samples = round(duration_s * self.sample_rate)
        mix = self._background(n_samples, daypart, rng)
        for name in self.devices:
            if on_spans[name]:
                sound = self._machines[name].sound(n_samples, self.sample_rate, daypart, rng)
                mix += sound * _envelope(on_spans[name], n_samples, self.sample_rate)
        added = add_disturbances(mix, self.sample_rate, FLOOR_DB[daypart], rng) if self.is_disturbed else []
        return Heard(np.clip(mix, -1, 1).astype(np.float32), dict(on_spans), tuple(added))

    def _background(self, n_samples: int, daypart: str, rng: np.random.Generator) -> Samples:
        noise = shaped_noise(n_samples, self.sample_rate, pink, FLOOR_DB[daypart], rng)
        swing = np.sin(2 * np.pi * (np.arange(n_samples) / (DRIFT_S * self.sample_rate) + rng.random()))
        return np.asarray(noise * amplitude(DRIFT_DB) ** swing)


def random_spans(
    duration_s: float, dwell_s: tuple[float, float], rng: np.random.Generator
) -> tuple[tuple[float, float], ...]:
    """Spans of a machine that is on and off by turns, each for a time drawn evenly from `dwell_s`, to 10 ms."""
    spans = []
    at_s, is_on = 0.0, bool(rng.integers(2))
    while at_s < duration_s:
        until_s = min(round(at_s + rng.uniform(*dwell_s), 2), duration_s)
        if is_on:
            spans.append((at_s, until_s))
        at_s, is_on = until_s, not is_on
    return tuple(spans)


def _envelope(spans: Sequence[tuple[float, float]], n_samples: int, sample_rate: int) -> Samples:
    """1 where the machine runs, 0 where not; a start or an end of the recording is no switch."""
    level = np.zeros(n_samples)
    time_s = np.arange(n_samples) / sample_rate
    for on, off in spans:
        rising = np.ones(n_samples) if on <= 0 else np.clip((time_s - on) / FADE_S + 0.5, 0, 1)
        falls = off < n_samples / sample_rate
        falling = np.clip((off - time_s) / FADE_S + 0.5, 0, 1) if falls else np.ones(n_samples)
        level = np.maximum(level, np.minimum(rising, falling))
    return level
