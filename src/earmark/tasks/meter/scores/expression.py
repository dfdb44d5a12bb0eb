"""How notes are played: tempo that drifts, accents that tell or do not, notes early, late, short or bound.

Everything is drawn once per piece, so that a performance has a manner. Bars keep to the tempo map; only notes stray.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from earmark.tasks.meter.scores.rhythm import strength
from earmark.tasks.meter.scores.score import Meter, Note, TempoMap

__all__ = ["Manner", "draw_tempo", "played"]


@dataclass(frozen=True)
class Manner:
    """A way of playing.

    Parameters
    ----------
    accent : float
        Velocity that the strongest place has above the weakest; 0 for flat playing, as engraved scores sound.
    spread : float
        Standard deviation of velocities.
    late_s : float
        Standard deviation of onsets in seconds.
    legato : float
        Sounding share of a note's duration.
    """

    accent: float
    spread: float
    late_s: float
    legato: float

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Manner:
        """From machine-like to lively."""
        return cls(
            accent=float(rng.choice([0.0, rng.uniform(4, 16), rng.uniform(16, 36)], p=[0.35, 0.35, 0.3])),
            spread=float(rng.choice([0.0, rng.uniform(1, 9)], p=[0.3, 0.7])),
            late_s=float(rng.choice([0.0, rng.uniform(0.002, 0.02)], p=[0.45, 0.55])),
            legato=float(
                rng.choice([1.0, rng.uniform(0.85, 1.0), rng.uniform(0.35, 0.8)], p=[0.3, 0.45, 0.25])
            ),
        )


def played(
    rng: np.random.Generator,
    notes: Iterable[Note],
    meter: Meter,
    manner: Manner,
    first_bar: float,
    quarter_s: float,
) -> tuple[Note, ...]:
    """Notes as the manner has them; velocities of the written notes are kept as the level around which it plays."""
    result = []
    for note in notes:
        place = (note.start - first_bar) % meter.bar_quarters
        place = 0.0 if meter.bar_quarters - place < 1e-6 else place
        level = (
            note.velocity + manner.accent * (strength(meter, place) - 0.35) + rng.normal(0, 1) * manner.spread
        )
        late = min(max(float(rng.normal(0, 1)), -2.5), 2.5) * manner.late_s / quarter_s
        start = max(0.0, note.start + late)
        result.append(
            replace(
                note,
                start=start,
                duration=note.duration * manner.legato,
                velocity=min(max(round(level), 12), 127),
            )
        )
    return tuple(result)


def draw_tempo(
    rng: np.random.Generator, quarter_s: float, meter: Meter, n_bars: int, first_bar: float
) -> TempoMap:
    """Strict, breathing, drifting or free tempo, in steps of a pulse; bars keep their mean length within 15 %."""
    kind = str(rng.choice(["strict", "breathing", "drifting", "free"], p=[0.4, 0.3, 0.12, 0.18]))
    if kind == "strict":
        return TempoMap.constant(quarter_s)
    count = n_bars * meter.pulses
    pulses = np.arange(count)
    if kind == "breathing":
        change = _wandering(rng, count, 0.012 * rng.uniform(0.4, 1.6))
    elif kind == "drifting":
        change = np.linspace(0, rng.uniform(-0.14, 0.14), count)
    else:
        phrase = meter.pulses * int(rng.choice([2, 4]))
        arch = np.cos(2 * np.pi * pulses / phrase) * rng.uniform(0.02, 0.09)
        change = arch + _wandering(rng, count, 0.012)
    starts = first_bar + pulses * meter.pulse_quarters
    lengths = quarter_s * np.exp(change)
    if first_bar > 0:
        starts, lengths = np.concatenate([[0.0], starts]), np.concatenate([lengths[:1], lengths])
    return TempoMap(tuple(starts.tolist()), tuple(lengths.tolist()))


def _wandering(rng: np.random.Generator, count: int, step: float) -> np.ndarray:
    """A random walk that returns to 0, limited to 15 %."""
    walk = np.zeros(count)
    for index in range(1, count):
        walk[index] = 0.94 * walk[index - 1] + rng.normal(0, step)
    return np.clip(walk, -0.15, 0.15)
