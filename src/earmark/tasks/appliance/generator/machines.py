"""How machines sound.

=========  ========================================================================================================
machine    sound
=========  ========================================================================================================
`ac`       a blower: noise that falls by 6 dB per octave above 200 Hz, at -46 dBFS
`fridge`   a compressor: multiples of twice the mains frequency, and a line at the speed of its rotor, 2 % under
           the mains frequency and wobbling by 0.3 Hz; its power is 0.445 of that of the background by day (+1.6 dB)
           and 0.514 by night (+1.8 dB)
any other  by turns a motor at a speed of its own, as strong as the background, and a fan whose noise falls from a
           corner of its own, 3 dB above it
=========  ========================================================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from earmark.tasks.appliance.generator.noise import Samples, at_level, falling, shaped_noise

__all__ = ["FLOOR_DB", "Blower", "Machine", "Motor", "machines_of"]

FLOOR_DB: Mapping[str, float] = {"day": -58.3, "night": -57.5}
"""Level of the background in dBFS."""
BLOWER_DB = -46.0
FRIDGE_SHARE: Mapping[str, float] = {"day": 0.445, "night": 0.514}
"""Power of the compressor, as a multiple of the background's."""
SLIP = 0.98
"""Speed of the rotor of an induction motor as a multiple of the mains frequency."""
WOBBLE_HZ, WOBBLE_S = 0.3, 9.0
N_HARMONICS = 10


@dataclass(frozen=True)
class Blower:
    """Noise that is level up to `corner_hz` and falls by 6 dB per octave above, at `level_db` dBFS by daypart."""

    level_db: Mapping[str, float]
    corner_hz: float = 200.0

    def sound(self, n_samples: int, sample_rate: int, daypart: str, rng: np.random.Generator) -> Samples:
        """Its noise, shape (n_samples,)."""
        spectrum = partial(falling, corner_hz=self.corner_hz)
        return shaped_noise(n_samples, sample_rate, spectrum, self.level_db[daypart], rng)


@dataclass(frozen=True)
class Motor:
    """Harmonics of `hum_hz`, the n-th of amplitude 1/n, and a line at `rotor_hz` as strong as the first.

    A whole number of Hz makes the hum the same in every second.
    """

    level_db: Mapping[str, float]
    hum_hz: int
    rotor_hz: float

    def sound(self, n_samples: int, sample_rate: int, daypart: str, rng: np.random.Generator) -> Samples:
        """Its lines, shape (n_samples,)."""
        time_s = np.arange(n_samples) / sample_rate
        turn = 2 * np.pi * rng.random(N_HARMONICS + 2)
        swing = 2 * np.pi * time_s / WOBBLE_S + turn[0]
        # The integral of rotor_hz + WOBBLE_HZ * cos(swing), in turns.
        turns = self.rotor_hz * time_s + WOBBLE_HZ * WOBBLE_S / (2 * np.pi) * np.sin(swing)
        total = np.sin(2 * np.pi * turns + turn[1])
        second = 2 * np.pi * self.hum_hz * np.arange(sample_rate) / sample_rate
        hum = sum(np.sin(n * second + turn[n + 1]) / n for n in range(1, N_HARMONICS + 1))
        return at_level(total + np.resize(hum, n_samples), self.level_db[daypart])


Machine = Blower | Motor


def machines_of(names: Sequence[str], *, mains_hz: int = 50) -> dict[str, Machine]:
    """A machine for each name: the two above, and others told apart by their place in the list.

    Examples
    --------
    >>> machines_of(["ac", "fridge", "washer"])["fridge"]
    Motor(level_db={'day': -61.8, 'night': -60.4}, hum_hz=100, rotor_hz=49.0)
    """
    return {name: _machine(name, number, mains_hz) for number, name in enumerate(names)}


def _machine(name: str, number: int, mains_hz: int) -> Machine:
    if name == "ac":
        return Blower(dict.fromkeys(FLOOR_DB, BLOWER_DB))
    if name == "fridge":
        level_db = {daypart: _over_floor(daypart, share) for daypart, share in FRIDGE_SHARE.items()}
        return Motor(level_db, 2 * mains_hz, SLIP * mains_hz)
    if number % 2:
        return Blower({daypart: _over_floor(daypart, 2.0) for daypart in FLOOR_DB}, 250.0 * (1 + number))
    return Motor(dict(FLOOR_DB), 37 + 11 * number, 18.5 + 5.5 * number)


def _over_floor(daypart: str, share: float) -> float:
    return round(FLOOR_DB[daypart] + 10 * float(np.log10(share)), 1)
