"""The 112 features without units: comparable between symbols whose prices and volumes differ a million times.

==================== ===========================================================================================
level                (x / m - 1) x 1e4, basis points of the mid; 0 where there is no price
difference           x / m x 1e4
quantity             ln((x + e) / (r + e)), r its own median over the last 200 steps, e = 1e-12
signed_quantity      x / D, D the median over the last 200 steps of the quantity of the top five levels, both sides
impact               price per quantity: x D / m x 1e4
relative_impact      return per quantity: x D x 1e4; of fewer than 10 states, where x is a price per quantity,
                     s / m D / N x 1e4 with N the quantity of the top five levels
ratio                ln, bounded to 1e-6..1e6
oscillator           (x - 50) / 50
negative_oscillator  (x + 50) / 50
running              what it gained in 20 candles by their volume (nvi: its relative change)
plain                x
==================== ===========================================================================================
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from earmark.orderbook.catalog import FEATURE_NAMES, FEATURES, Scale

__all__ = ["MEDIAN_STEPS", "RUNNING_CANDLES", "Stationary"]

Vector = npt.NDArray[np.float64]

MEDIAN_STEPS = 200
"""Steps of the medians to which quantities are compared; fewer after a gap."""

RUNNING_CANDLES = 20

EPSILON = 1e-12
RATIO_BOUND = 1e6
BASIS_POINTS = 1e4

RUNNING_ORDER = ("obv", "ad_line", "vpt", "nvi")
"""As `indicators.running_changes` gives them; price_volume_trend is vpt."""


def positions(scale: Scale) -> npt.NDArray[np.intp]:
    """Where the features of a scale stand."""
    return np.array([feature.number - 1 for feature in FEATURES if feature.scale == scale], np.intp)


LEVEL, DIFFERENCE = positions("level"), positions("difference")
QUANTITY, SIGNED = positions("quantity"), positions("signed_quantity")
IMPACT, RELATIVE_IMPACT = positions("impact"), positions("relative_impact")
RATIO = positions("ratio")
OSCILLATOR, NEGATIVE = positions("oscillator"), positions("negative_oscillator")

RUNNING = np.array([FEATURE_NAMES.index(name) for name in (*RUNNING_ORDER, "price_volume_trend")])
RUNNING_SOURCE = np.array([*range(len(RUNNING_ORDER)), RUNNING_ORDER.index("vpt")])

VOLUME = QUANTITY.tolist().index(FEATURE_NAMES.index("volume"))
"""Of the candle, among the quantities."""

DEPTH = np.array([FEATURE_NAMES.index("depth_bid_5"), FEATURE_NAMES.index("depth_ask_5")])

RELATIVE_SPREAD = FEATURE_NAMES.index("effective_spread")


class Stationary:
    """Medians of one symbol's quantities, and the maps that need them; a new one begins after a gap."""

    def __init__(self) -> None:
        # The last column is the depth D.
        self._ring = np.empty((MEDIAN_STEPS, len(QUANTITY) + 1))
        self._pushed = 0
        self._medians: Vector | None = None

    def push(self, features: Vector) -> None:
        """Take the features of the next step, float64, shape (112,)."""
        row = self._ring[self._pushed % MEDIAN_STEPS]
        row[:-1] = features[QUANTITY]
        row[-1] = features[DEPTH].sum()
        self._pushed += 1
        self._medians = None

    @property
    def medians(self) -> Vector:
        """Of the quantities, and of the depth at last."""
        if self._medians is None:
            self._medians = np.median(self._ring[: min(self._pushed, MEDIAN_STEPS)], axis=0)
        return self._medians

    @property
    def depth(self) -> float:
        """Median quantity of the top five levels of both sides."""
        return float(self.medians[-1])

    def features(self, features: Vector, mid: float, running: Vector, *, short_history: bool) -> Vector:
        """The 112 features by scale.

        Parameters
        ----------
        features : ndarray of float64, shape (112,)
            Those pushed last.
        mid : float
            Mid price.
        running : ndarray, shape (4,)
            Changes in the order of `RUNNING_ORDER`.
        short_history : bool
            Whether there are fewer than 10 states.
        """
        per_mid = BASIS_POINTS / mid if mid > 0 else 0.0
        out = features.copy()
        out[LEVEL] = relative_levels(features[LEVEL], mid)
        out[DIFFERENCE] = features[DIFFERENCE] * per_mid
        out[QUANTITY] = relative_quantities(features[QUANTITY], self.medians[:-1])
        out[SIGNED] = features[SIGNED] / self.depth if self.depth > 0 else 0.0
        out[IMPACT] = features[IMPACT] * self.depth * per_mid
        impact = relative_spread_impact(features) if short_history else features[RELATIVE_IMPACT]
        out[RELATIVE_IMPACT] = impact * self.depth * BASIS_POINTS
        out[RATIO] = np.log(np.clip(features[RATIO], 1 / RATIO_BOUND, RATIO_BOUND))
        out[OSCILLATOR] = (features[OSCILLATOR] - 50) / 50
        out[NEGATIVE] = (features[NEGATIVE] + 50) / 50
        out[RUNNING] = running[RUNNING_SOURCE]
        return out

    def candle(self, shape: Vector, mid: float) -> Vector:
        """Features 51-63 of a candle by scale, shape (13,): prices by the mid, volume by the closed candles'."""
        out = shape.copy()
        prices = [0, 1, 2, 3, 5]
        out[prices] = relative_levels(shape[prices], mid)
        out[4] = relative_quantities(shape[4:5], self.medians[VOLUME : VOLUME + 1])[0]
        return out


def relative_spread_impact(features: Vector) -> float:
    """Relative spread over the quantity of the top five levels."""
    depth = float(features[DEPTH].sum())
    return float(features[RELATIVE_SPREAD]) / depth if depth > 0 else 0.0


def relative_levels(prices: Vector, mid: float) -> Vector:
    """Distance from the mid in basis points."""
    if mid <= 0:
        return np.zeros_like(prices)
    return np.where(prices == 0, 0.0, (prices / mid - 1) * BASIS_POINTS)


def relative_quantities(quantities: Vector, reference: Vector) -> Vector:
    """Logarithm of the quotient."""
    return np.asarray(np.log((quantities + EPSILON) / (reference + EPSILON)))
