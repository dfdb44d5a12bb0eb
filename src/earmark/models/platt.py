"""Platt scaling: a sigmoid on the log odds of a yes-or-no model, ``q = sigmoid(slope * logit(p) + offset)``.

Targets are smoothed as Platt gives it, (n_on + 1) / (n_on + 2) and 1 / (n_off + 2), where ``n_on`` and ``n_off`` are
*effective* counts, the sums of the weights: overlapping windows of one recording are no independent evidence, so their
weights add up to less than their number, and rows that a model separates perfectly do not make it certain.

References: Platt, "Probabilistic outputs for support vector machines", 1999; Lin, Lin and Weng, "A note on Platt's
probabilistic outputs for support vector machines", Machine Learning 68, 2007.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.models.estimator import Floats

__all__ = ["Platt"]

Doubles = npt.NDArray[np.float64]

CLIP = 1e-6
"""Probabilities are taken from [CLIP, 1 - CLIP]: about the float32 precision of a probability near 1."""

MIN_SLOPE = 1e-3
"""Calibration never turns the order of two windows round."""

RIDGE = 1e-3
"""Penalty on the squared distance from slope 1 and offset 0, in units of one effective row: a unique minimum."""


@dataclass(frozen=True)
class Platt:
    """Slope and offset on the log odds; the default changes nothing."""

    slope: float = 1.0
    offset: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.slope) and np.isfinite(self.offset) and self.slope > 0):
            raise UsageError(
                f"Platt scaling has slope {self.slope} and offset {self.offset}; expected finite numbers and a "
                "positive slope. Train again."
            )

    @property
    def is_identity(self) -> bool:
        """Whether probabilities stay as they are."""
        return self == Platt()

    @classmethod
    def fit(cls, p: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike) -> Self:
        """Minimise the weighted log loss against smoothed targets.

        Parameters
        ----------
        p : array, shape (n,)
            Probabilities of rows that the model did not learn from.
        y : array, shape (n,)
            0 or 1.
        weights : array, shape (n,)
            Not negative; their sum over a class is its effective count.

        Returns
        -------
        Platt
            The identity where a class has no weight: nothing says where the border lies.
        """
        from scipy.optimize import minimize

        x, on, w = _log_odds(p), np.asarray(y, dtype=bool), np.asarray(weights, dtype=np.float64)
        n_on, n_off = float(w[on].sum()), float(w[~on].sum())
        if not n_on or not n_off:
            return cls()
        target = np.where(on, (n_on + 1) / (n_on + 2), 1 / (n_off + 2))

        def loss(solution: Doubles) -> tuple[float, Doubles]:
            slope, offset = solution
            z = slope * x + offset
            error = w * (_sigmoid(z) - target)
            value = w @ (np.logaddexp(0.0, z) - target * z)
            value += RIDGE / 2 * ((slope - 1) ** 2 + offset**2)
            return float(value), np.array([error @ x + RIDGE * (slope - 1), error.sum() + RIDGE * offset])

        bounds = [(MIN_SLOPE, None), (None, None)]
        found = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds)
        return cls(float(found.x[0]), float(found.x[1]))

    def transform(self, p: npt.ArrayLike) -> Floats:
        """Calibrated probabilities, float32, the shape of `p`."""
        if self.is_identity:
            return np.asarray(p, dtype=np.float32)
        return _sigmoid(self.slope * _log_odds(p) + self.offset).astype(np.float32)

    def to_dict(self) -> dict[str, float]:
        """``slope`` and ``offset``."""
        return {"slope": self.slope, "offset": self.offset}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; UsageError for what it could not have written."""
        try:
            return cls(float(record["slope"]), float(record["offset"]))
        except (KeyError, TypeError, ValueError) as error:
            raise UsageError(
                f"{record!r} is no Platt scaling; expected the numbers `slope` and `offset`. Train again."
            ) from error


def _log_odds(p: npt.ArrayLike) -> Doubles:
    inside = np.clip(np.asarray(p, dtype=np.float64), CLIP, 1 - CLIP)
    return np.asarray(np.log(inside) - np.log1p(-inside))


def _sigmoid(z: Doubles) -> Doubles:
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * z)))
