"""One number, 1 to 10, by which DJ software can sort tracks of all zones.

Each zone owns a band: YELLOW 1 to 3, GREEN 4 to 6, PURPLE 7 to 10, so that sorting by the number never puts a calm
zone above a lively one. Inside its band a track lies by the expected zone, ``p(GREEN) + 2 p(PURPLE)`` in [0, 2]: a
GREEN track that is nearly PURPLE gets 6.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from earmark.errors import UsageError
from earmark.tasks.zones.labels import CLASSES

__all__ = ["ENERGY_BANDS", "energy_number"]

ENERGY_BANDS: Mapping[str, tuple[int, int]] = {"YELLOW": (1, 3), "GREEN": (4, 6), "PURPLE": (7, 10)}
"""Lowest and highest number of each zone."""

_EXPECTED_RANGE: Mapping[str, tuple[float, float]] = {
    "YELLOW": (0.0, 1.0),
    "GREEN": (0.5, 1.5),
    "PURPLE": (1.0, 2.0),
}
"""Expected zones that a track can have whose most probable zone is this one."""


def energy_number(probabilities: Mapping[str, float], zone: str) -> int:
    """Energy of a track within the band of its zone.

    Parameters
    ----------
    probabilities : mapping of zone to float
        Of all three zones, summing to 1.
    zone : str
        The decision. Where it is not the most probable zone, the number still stays in its band.

    Returns
    -------
    int
        1 to 10; within one zone it never falls when the expected zone rises.

    Raises
    ------
    UsageError
        `zone` is none of the three, or a probability is missing or not finite.

    Examples
    --------
    >>> energy_number({"YELLOW": 0.1, "GREEN": 0.5, "PURPLE": 0.4}, "GREEN")
    6
    >>> energy_number({"YELLOW": 0.9, "GREEN": 0.1, "PURPLE": 0.0}, "YELLOW")
    1
    """
    if zone not in ENERGY_BANDS:
        raise UsageError(f"There is no energy of the zone {zone!r}; expected one of {', '.join(CLASSES)}.")
    values = [probabilities.get(name, math.nan) for name in CLASSES]
    if not all(math.isfinite(value) for value in values):
        raise UsageError(
            f"The probabilities are {dict(probabilities)}; expected a finite number for each of {', '.join(CLASSES)}."
        )
    expected = sum(position * value for position, value in enumerate(values))
    (lowest, highest), (start, end) = ENERGY_BANDS[zone], _EXPECTED_RANGE[zone]
    share = min(max((expected - start) / (end - start), 0.0), 1.0)
    return min(lowest + int(share * (highest - lowest + 1)), highest)
