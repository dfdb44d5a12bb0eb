"""When a model is trained again: by the clock, for drift, for lost accuracy, or because somebody asked.

Pure rules on numbers; `daemon` measures and acts. Times are seconds since 1970, times of day are UTC.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Literal

from earmark.errors import UsageError

__all__ = [
    "Policy",
    "Trigger",
    "drift_asks",
    "latest_scheduled",
    "parse_period_s",
    "parse_time_of_day_s",
    "performance_asks",
]

Trigger = Literal["manual", "drift", "performance", "scheduled"]

DAY_S = 86_400
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": DAY_S}


@dataclass(frozen=True)
class Policy:
    """When to look, and what asks for a training.

    Attributes
    ----------
    schedule_s : float or None
        Seconds after midnight UTC; None: not by the clock.
    drift_every_s, performance_every_s : float
        Between two checks.
    drift_share : float
        Share of the tested features that moved, after correction for the number of tests.
    min_accuracy : float
        Least accuracy on rows that came after the training.
    max_drop : float
        Largest loss of accuracy against the test part.
    days : float
        Newest days that are trained on.
    window_rows : int
        Newest rows that are compared; half of them must be there.
    min_rows : int
        Fewest labelled rows that an accuracy is measured on.
    rest_s : float
        After a training for drift or accuracy, neither asks again for so long: the same rows would.
    """

    schedule_s: float | None = 3 * 3600.0
    drift_every_s: float = 3600.0
    performance_every_s: float = 1800.0
    drift_share: float = 0.15
    min_accuracy: float = 0.75
    max_drop: float = 0.10
    days: float = 30.0
    window_rows: int = 10_000
    min_rows: int = 1000
    rest_s: float = float(DAY_S)

    def __post_init__(self) -> None:
        if not 0 < self.drift_share <= 1 or not 0 <= self.min_accuracy <= 1 or not 0 < self.max_drop <= 1:
            raise UsageError(
                f"drift share {self.drift_share}, least accuracy {self.min_accuracy}, largest drop {self.max_drop}: "
                "expected shares from 0 to 1. Correct them."
            )
        if min(self.drift_every_s, self.performance_every_s) <= 0:
            raise UsageError("Periods of checks are to be longer than 0. Give such as 60m.")


def drift_asks(share: float, policy: Policy) -> str | None:
    """Why drift asks for a training; None where it does not, or nothing could be tested (``nan``)."""
    if math.isnan(share) or share <= policy.drift_share:
        return None
    return f"{share:.1%} of the features moved, more than {policy.drift_share:.0%}"


def performance_asks(accuracy: float, reference: float, policy: Policy) -> str | None:
    """Why accuracy asks for a training; None where it does not.

    Parameters
    ----------
    accuracy : float
        On rows that came after the training.
    reference : float
        On the test part.
    """
    if accuracy < policy.min_accuracy:
        return f"accuracy is {accuracy:.3f}, less than {policy.min_accuracy:g}"
    if reference - accuracy > policy.max_drop:
        return f"accuracy fell by {reference - accuracy:.3f} to {accuracy:.3f}, more than {policy.max_drop:g}"
    return None


def latest_scheduled(now_s: float, policy: Policy) -> float | None:
    """The last instant at or before now at which the clock asks; None where it never does."""
    if policy.schedule_s is None:
        return None
    return now_s - (now_s - policy.schedule_s) % DAY_S


def parse_period_s(text: str) -> float:
    """``60m`` -> 3600.0; units s, m, h and d."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhd])", text.strip().lower())
    if found is None or float(found[1]) <= 0:
        raise UsageError(f"`{text}` is no period; expected a number and s, m, h or d, such as 60m.")
    return float(found[1]) * _UNITS[found[2]]


def parse_time_of_day_s(text: str) -> float | None:
    """``03:00`` -> 10800.0, seconds after midnight; ``never`` -> None."""
    if text.strip().lower() == "never":
        return None
    found = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)", text.strip())
    if found is None:
        raise UsageError(f"`{text}` is no time of day; expected HH:MM in UTC, such as 03:00, or never.")
    return 3600.0 * int(found[1]) + 60.0 * int(found[2])
