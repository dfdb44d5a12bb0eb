"""The valence-arousal plane of the maps: its ends, the thresholds that divide it, and tracks on it.

Conventions: valence across, arousal up, both on the scale of the annotations (1 to 9 by default). The display has
five zones, which thresholds alone divide; the rule that makes labels may differ inside one of them (`plan` calls
high arousal with low valence GREEN).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import UsageError
from earmark.tasks.zones.deam.mapping import ZoneMapping
from earmark.tasks.zones.labels import CLASSES

__all__ = ["AROUSAL_RANGE", "VALENCE_RANGE", "Plane", "Points", "zone_of"]

FloatArray = NDArray[np.float64]

YELLOW, GREEN, PURPLE = CLASSES
AROUSAL_RANGE, VALENCE_RANGE = (1.6, 8.1), (1.6, 8.4)
"""What the annotations of DEAM span."""


@dataclass(frozen=True)
class Plane:
    """Part of the valence-arousal plane with the thresholds that divide it.

    Parameters
    ----------
    mapping : ZoneMapping
        The rule that makes labels; its thresholds for arousal are the lines of the map.
    valence_split : float
        Where the five-way display divides YELLOW and PURPLE.
    arousal, valence : (low, high)
        Ends of the axes.

    Raises
    ------
    UsageError
        An axis ends before it starts, or a threshold lies outside it.
    """

    mapping: ZoneMapping = field(default_factory=ZoneMapping.default)
    valence_split: float = 4.5
    arousal: tuple[float, float] = AROUSAL_RANGE
    valence: tuple[float, float] = VALENCE_RANGE

    def __post_init__(self) -> None:
        for name, (low, high), lines in (
            ("arousal", self.arousal, (self.yellow_max, self.purple_min)),
            ("valence", self.valence, (self.valence_split,)),
        ):
            if not low < min(lines) <= max(lines) < high:
                words = " and ".join(f"{line:g}" for line in lines)
                raise UsageError(
                    f"{name} runs from {low:g} to {high:g} on the map, expected a range around the thresholds "
                    f"{words}. Change --{name}-min, --{name}-max or the thresholds."
                )

    @classmethod
    def of_options(cls, options: Mapping[str, Any]) -> Plane:
        """The plane that options ask for: ``arousal_min``, ``yellow_threshold``, ``mapping`` and so on."""
        mapping = options.get("mapping") or ZoneMapping.default()
        mapping = mapping if isinstance(mapping, ZoneMapping) else ZoneMapping.read(mapping)
        split = options.get("valence_threshold")
        in_rule = split if "valence_min" in mapping.thresholds[mapping.strategy] else None
        return cls(
            mapping.with_thresholds(
                strategy=mapping.strategy,
                yellow_max=options.get("yellow_threshold"),
                purple_min=options.get("purple_threshold"),
                valence_min=in_rule,
            ),
            float(mapping.thresholds["five_way"]["valence_min"] if split is None else split),
            _pair(options, "arousal", AROUSAL_RANGE),
            _pair(options, "valence", VALENCE_RANGE),
        )

    @property
    def yellow_max(self) -> float:
        """Arousal below which the map is YELLOW."""
        return self.mapping.thresholds[self.mapping.strategy]["yellow_max"]

    @property
    def purple_min(self) -> float:
        """Arousal above which the map is PURPLE."""
        return self.mapping.thresholds[self.mapping.strategy]["purple_min"]

    @property
    def rectangles(self) -> dict[str, tuple[float, float, float, float]]:
        """Left, bottom, right, top of each of the five zones."""
        (left, right), (bottom, top) = self.valence, self.arousal
        split, low, high = self.valence_split, self.yellow_max, self.purple_min
        return {
            "YELLOW_CHILL": (split, bottom, right, low),
            "YELLOW_DARK": (left, bottom, split, low),
            "GREEN": (left, low, right, high),
            "PURPLE_EUPHORIC": (split, high, right, top),
            "PURPLE_AGGRESSIVE": (left, high, split, top),
        }

    @property
    def bands(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest arousal of each of the three zones."""
        bottom, top = self.arousal
        return {
            YELLOW: (bottom, self.yellow_max),
            GREEN: (self.yellow_max, self.purple_min),
            PURPLE: (self.purple_min, top),
        }

    def regions(self, arousal: FloatArray, valence: FloatArray) -> NDArray[np.str_]:
        """Names of the rectangles that points fall into, also beyond the ends of the axes."""
        pleasant = valence >= self.valence_split
        yellow = np.where(pleasant, "YELLOW_CHILL", "YELLOW_DARK")
        purple = np.where(pleasant, "PURPLE_EUPHORIC", "PURPLE_AGGRESSIVE")
        return np.where(
            arousal < self.yellow_max, yellow, np.where(arousal > self.purple_min, purple, "GREEN")
        )

    def label_of(self, region: str) -> str:
        """Zone that the labelling rule gives the middle of a rectangle."""
        left, bottom, right, top = self.rectangles[region]
        return self.mapping.zone((bottom + top) / 2, (left + right) / 2)


@dataclass(frozen=True)
class Points:
    """Tracks on the plane.

    Parameters
    ----------
    arousal, valence : ndarray, shape (n,)
    zone : ndarray of str, shape (n,)
        Labels of the tracks.
    name : str
        Which tracks they are, in a word: ``"auxiliary"``.
    """

    arousal: FloatArray
    valence: FloatArray
    zone: NDArray[np.str_]
    name: str

    def __len__(self) -> int:
        return len(self.arousal)

    def n_outside(self, plane: Plane) -> int:
        """Points beyond the ends of the axes."""
        (left, right), (bottom, top) = plane.valence, plane.arousal
        inside = (left <= self.valence) & (self.valence <= right)
        return int((~(inside & (bottom <= self.arousal) & (self.arousal <= top))).sum())


def zone_of(region: str) -> str:
    """Zone of a five-way name."""
    return region.partition("_")[0]


def _pair(options: Mapping[str, Any], name: str, default: tuple[float, float]) -> tuple[float, float]:
    low, high = (options.get(f"{name}_{end}") for end in ("min", "max"))
    return float(default[0] if low is None else low), float(default[1] if high is None else high)
