"""Which meters are made, how often, how grouped and how fast.

Bar lengths are log-normal around a median in seconds: what dances, songs and slow movements of that meter span, from
a jig's half second to a slow usul's eight.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from earmark.tasks.meter.schema import CLASSES
from earmark.tasks.meter.scores.score import Meter

__all__ = ["MADE", "MadeMeter", "draw_bar_s", "draw_meter", "signatures_of"]

BAR_LIMITS_S = (0.7, 8.5)
PULSE_LIMITS_S = (0.105, 1.3)


@dataclass(frozen=True)
class MadeMeter:
    """A signature of the generator.

    Parameters
    ----------
    signature, label : str
    share : float
        Of the pieces of its class.
    groupings : dict
        Groups of pulses with their weights.
    bar_s : float
        Median length of a bar in seconds.
    spread : float
        Standard deviation of its natural logarithm.
    """

    signature: str
    label: str
    share: float
    groupings: dict[tuple[int, ...], float]
    bar_s: float
    spread: float = 0.4


_NINE = {(2, 2, 2, 3): 0.5, (3, 3, 3): 0.3, (2, 2, 3, 2): 0.08, (2, 3, 2, 2): 0.07, (3, 2, 2, 2): 0.05}
_ELEVEN = {
    (2, 2, 3, 2, 2): 0.35,
    (3, 3, 3, 2): 0.25,
    (3, 2, 3, 3): 0.1,
    (2, 3, 2, 2, 2): 0.1,
    (2, 2, 2, 2, 3): 0.1,
}
_ELEVEN |= {(3, 2, 2, 2, 2): 0.1}
MADE = (
    MadeMeter("3/4", "3", 0.56, {(3,): 0.8, (2, 1): 0.1, (1, 2): 0.1}, 1.6),
    MadeMeter("3/8", "3", 0.08, {(3,): 1.0}, 1.3),
    MadeMeter("6/8", "3", 0.36, {(3, 3): 1.0}, 1.5),
    MadeMeter("4/4", "4", 0.68, {(2, 2): 0.85, (1, 2, 1): 0.05, (4,): 0.1}, 2.6),
    MadeMeter("2/4", "4", 0.20, {(2,): 1.0}, 1.2, 0.3),
    MadeMeter("12/8", "4", 0.12, {(3, 3, 3, 3): 1.0}, 2.6),
    MadeMeter("5/4", "5", 0.45, {(3, 2): 0.65, (2, 3): 0.35}, 2.6),
    MadeMeter("5/8", "5", 0.55, {(2, 3): 0.5, (3, 2): 0.5}, 1.8, 0.45),
    MadeMeter("7/4", "7", 0.35, {(3, 2, 2): 0.4, (2, 2, 3): 0.25, (4, 3): 0.2, (3, 4): 0.15}, 3.9),
    MadeMeter("7/8", "7", 0.65, {(2, 2, 3): 0.4, (3, 2, 2): 0.4, (2, 3, 2): 0.2}, 2.2, 0.5),
    MadeMeter("9/8", "9", 0.90, _NINE, 2.4),
    MadeMeter("9/4", "9", 0.10, {(2, 2, 2, 3): 0.7, (3, 3, 3): 0.3}, 4.6, 0.3),
    MadeMeter("11/8", "11", 0.90, _ELEVEN, 2.7),
    MadeMeter("11/4", "11", 0.10, {(4, 4, 3): 0.5, (3, 3, 3, 2): 0.5}, 5.0, 0.3),
)  # fmt: skip


def signatures_of(label: str) -> tuple[MadeMeter, ...]:
    """The signatures of a class; see `CLASSES`."""
    return tuple(made for made in MADE if made.label == label)


def draw_meter(rng: np.random.Generator, label: str | None = None) -> tuple[Meter, MadeMeter]:
    """A meter of a class, or of any class, with a grouping."""
    candidates = signatures_of(label or str(rng.choice(CLASSES)))
    shares = np.array([made.share for made in candidates])
    made = candidates[int(rng.choice(len(candidates), p=shares / shares.sum()))]
    weights = np.array(list(made.groupings.values()))
    chosen = int(rng.choice(len(weights), p=weights / weights.sum()))
    return Meter(made.signature, list(made.groupings)[chosen]), made


def draw_bar_s(rng: np.random.Generator, made: MadeMeter, meter: Meter) -> float:
    """Length of a bar in seconds, within what hands play and ears count."""
    length = made.bar_s * float(np.exp(rng.normal(0, made.spread)))
    low, high = (limit * meter.pulses for limit in PULSE_LIMITS_S)
    return float(np.clip(length, max(BAR_LIMITS_S[0], low), min(BAR_LIMITS_S[1], high)))
