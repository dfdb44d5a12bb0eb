"""Calibration: probabilities that mean what they say, so that of the items called 0.8 sure, 80 % are right.

Three calibrators, from the simplest:

=============== ============================================================================================
``none``        the probabilities as they are
``temperature`` q ~ p^(1/T): one number for all classes [1]; never changes which class is most probable
``isotonic``    per class a rising step function of its probability, then scaled to sum 1 [2]
=============== ============================================================================================

Conventions: ``p`` has shape (n, n_classes), rows sum to 1; ``y`` holds positions of classes, shape (n,). A
calibrator is fitted on rows that the model did not learn from, out-of-fold rows say. A class to which the
model gave nothing in any of these rows was absent from its training, and keeps its 0. All other probabilities
leave a calibrator above 0: a model of a few hundred items cannot know that something is impossible.

References
----------
.. [1] Guo, Pleiss, Sun, Weinberger. On calibration of modern neural networks. ICML 2017.
.. [2] Zadrozny, Elkan. Transforming classifier scores into accurate multiclass probability estimates. KDD
   2002.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.models.constraints import closest
from earmark.models.estimator import Ints

__all__ = ["CALIBRATORS", "Calibrator", "Identity", "Isotonic", "Temperature", "from_dict", "mean_log_loss"]

Doubles = npt.NDArray[np.float64]

FLOOR = 1e-6
"""What a temperature takes a probability of 0 for: about the float32 precision of a probability near 1."""

T_RANGE = (0.1, 100.0)
"""Temperatures that are tried: from ten times as sharp to nearly uniform."""

_ROW_SUM_TOLERANCE = 1e-3


class Calibrator(Protocol):
    """A fitted map from probabilities to probabilities; equal parameters make equal objects."""

    method: ClassVar[str]

    @classmethod
    def fit(cls, p: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Self:
        """Fit to rows ``p`` with classes ``y``; ``weights``, shape (n,), are positive, 1 each when absent."""

    def transform(self, p: npt.ArrayLike) -> Doubles:
        """Calibrated probabilities, float64, shape (n, n_classes); rows sum to 1 as those of ``p`` do."""

    def to_dict(self) -> dict[str, Any]:
        """``method`` and parameters, of types that JSON and YAML know."""

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; UsageError for what it could not have written."""


@dataclass(frozen=True)
class Identity:
    """No calibration."""

    method: ClassVar[str] = "none"

    @classmethod
    def fit(cls, p: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Self:
        """Nothing is learned; see `Calibrator.fit`."""
        _checked_fit(p, y, weights)
        return cls()

    def transform(self, p: npt.ArrayLike) -> Doubles:
        """``p`` itself as float64."""
        return _checked(p)

    def to_dict(self) -> dict[str, Any]:
        """See `Calibrator.to_dict`."""
        return {"method": self.method}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """See `Calibrator.from_dict`."""
        _check_keys(record, {"method"})
        return cls()


@dataclass(frozen=True)
class Temperature:
    """One temperature for all classes: above 1 the probabilities move towards equal, below 1 apart.

    Parameters
    ----------
    temperature : float
        Positive.
    present : tuple of bool, length n_classes
        Whether the model knows the class; a 0 of such a class is taken for `FLOOR`.
    """

    temperature: float
    present: tuple[bool, ...]
    method: ClassVar[str] = "temperature"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise UsageError(f"The temperature is {self.temperature}; expected a positive number.")

    @classmethod
    def fit(cls, p: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Self:
        """Minimise the mean log loss over `T_RANGE`; 1 where no other temperature is better."""
        from scipy.optimize import minimize_scalar

        rows, classes, w = _checked_fit(p, y, weights)
        present = tuple(bool((column > 0).any()) for column in rows.T)

        def loss(log_temperature: float) -> float:
            return mean_log_loss(cls(math.exp(log_temperature), present).transform(rows), classes, w)

        # The loss is convex in 1/T, so it has one minimum in log T as well.
        bounds = (math.log(T_RANGE[0]), math.log(T_RANGE[1]))
        found = minimize_scalar(loss, bounds=bounds, method="bounded", options={"xatol": 1e-6})
        return cls(math.exp(float(found.x)) if found.fun < loss(0.0) else 1.0, present)

    def transform(self, p: npt.ArrayLike) -> Doubles:
        """See `Calibrator.transform`."""
        rows = _checked(p, len(self.present))
        floored = np.where(self.present, np.maximum(rows, FLOOR), rows)
        scaled = np.log(floored, out=np.full(rows.shape, -np.inf), where=floored > 0) / self.temperature
        raised = np.exp(scaled - scaled.max(axis=1, keepdims=True, initial=-np.inf))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))

    def to_dict(self) -> dict[str, Any]:
        """See `Calibrator.to_dict`."""
        return {"method": self.method, "temperature": self.temperature, "present": list(self.present)}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """See `Calibrator.from_dict`."""
        _check_keys(record, {"method", "temperature", "present"})
        present = record["present"]
        if not isinstance(present, list) or not all(isinstance(known, bool) for known in present):
            raise UsageError(f"`present` is {present!r}; expected true or false for each class.")
        return cls(_number(record["temperature"], "temperature"), tuple(present))


@dataclass(frozen=True)
class Isotonic:
    """Per class a rising function of its probability, linear between knots and constant outside.

    Values stay 1/(n + 2) away from 0 and 1, n the rows of the fit: the rule of succession's estimate after n
    rows of one kind. Without that bound one unseen kind of item would cost an infinite log loss.

    Parameters
    ----------
    knots : tuple, length n_classes
        Of each class pairs (probability in, probability out), rising in both; none for a class that the model
        does not know, which stays as it is.
    """

    knots: tuple[tuple[tuple[float, float], ...], ...]
    method: ClassVar[str] = "isotonic"

    def __post_init__(self) -> None:
        for pairs in self.knots:
            values = np.asarray(pairs, dtype=np.float64).reshape(-1, 2)
            inside = np.isfinite(values).all() and ((values >= 0) & (values <= 1 + _ROW_SUM_TOLERANCE)).all()
            if not inside or (np.diff(values, axis=0) < 0).any() or (values[:, 1:] <= 0).any():
                raise UsageError(
                    f"The knots {pairs} are no rising function from [0, 1] to (0, 1]; expected pairs "
                    "[probability in, probability out] that rise in both. Choose the thresholds again."
                )

    @classmethod
    def fit(cls, p: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike | None = None) -> Self:
        """Fit each class against the rest by least squares."""
        rows, classes, w = _checked_fit(p, y, weights)
        return cls(
            tuple(
                _isotonic_knots(column, classes == k, w) if (column > 0).any() else ()
                for k, column in enumerate(rows.T)
            )
        )

    def transform(self, p: npt.ArrayLike) -> Doubles:
        """See `Calibrator.transform`."""
        rows = _checked(p, len(self.knots)).copy()
        for k, pairs in enumerate(self.knots):
            if pairs:
                x, value = np.asarray(pairs).T
                rows[:, k] = np.interp(rows[:, k], x, value)
        return np.asarray(rows / rows.sum(axis=1, keepdims=True))

    def to_dict(self) -> dict[str, Any]:
        """See `Calibrator.to_dict`."""
        return {"method": self.method, "knots": [[list(pair) for pair in pairs] for pairs in self.knots]}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """See `Calibrator.from_dict`."""
        _check_keys(record, {"method", "knots"})
        try:
            knots = tuple(tuple((float(x), float(value)) for x, value in pairs) for pairs in record["knots"])
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"`knots` cannot be read ({error}); expected a list of pairs [probability in, probability "
                "out] for each class."
            ) from error
        return cls(knots)


CALIBRATORS: Mapping[str, type[Calibrator]] = {
    kind.method: kind for kind in (Identity, Temperature, Isotonic)
}
"""By name, the simplest first."""


def from_dict(record: Mapping[str, Any]) -> Calibrator:
    """The calibrator that `to_dict` described."""
    method = str(record.get("method"))
    if method not in CALIBRATORS:
        raise UsageError(
            f"There is no calibration `{method}`{closest(method, CALIBRATORS)}. "
            f"Expected one of: {', '.join(CALIBRATORS)}."
        )
    return CALIBRATORS[method].from_dict(record)


def mean_log_loss(p: Doubles, y: Ints, weights: Doubles | None = None) -> float:
    """Mean negative natural logarithm of the truth's probability, nats, an impossible item costing 36 nats."""
    of_truth = np.clip(p[np.arange(len(y)), y], np.finfo(np.float64).eps, 1.0)
    return float(np.average(-np.log(of_truth), weights=weights))


def _isotonic_knots(
    column: Doubles, of_class: npt.NDArray[np.bool_], weights: Doubles
) -> tuple[tuple[float, float], ...]:
    from sklearn.isotonic import IsotonicRegression

    bound = 1 / (len(column) + 2)
    fitted = IsotonicRegression(y_min=bound, y_max=1 - bound, out_of_bounds="clip")
    fitted.fit(column, of_class.astype(np.float64), sample_weight=weights)
    return tuple(
        (float(x), float(value)) for x, value in zip(fitted.X_thresholds_, fitted.y_thresholds_, strict=True)
    )


def _checked(p: npt.ArrayLike, n_classes: int | None = None) -> Doubles:
    rows = np.asarray(p, dtype=np.float64)
    if rows.ndim != 2 or (n_classes is not None and rows.shape[1] != n_classes):
        wanted = "n_classes" if n_classes is None else n_classes
        raise UsageError(f"The probabilities have shape {rows.shape}; expected (n, {wanted}).")
    sums = rows.sum(axis=1)
    if rows.size and not ((rows >= 0).all() and (np.abs(sums - 1) <= _ROW_SUM_TOLERANCE).all()):
        row = int(np.argmax(~((rows >= 0).all(axis=1) & (np.abs(sums - 1) <= _ROW_SUM_TOLERANCE))))
        raise UsageError(
            f"Row {row} of the probabilities is {rows[row].tolist()}; expected none below 0, and a sum of 1."
        )
    return rows


def _checked_fit(
    p: npt.ArrayLike, y: npt.ArrayLike, weights: npt.ArrayLike | None
) -> tuple[Doubles, Ints, Doubles]:
    rows, classes = _checked(p), np.asarray(y, dtype=np.int64)
    w = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not len(rows) or classes.shape != (len(rows),) or w.shape != classes.shape:
        raise UsageError(
            f"A calibration was asked for with {len(rows)} rows, classes of shape {classes.shape} and weights "
            f"of shape {w.shape}; expected as many of each, and at least one."
        )
    if classes.min() < 0 or classes.max() >= rows.shape[1] or not (np.isfinite(w) & (w > 0)).all():
        raise UsageError(
            f"The classes run from {classes.min()} to {classes.max()} and the weights from {w.min()} to "
            f"{w.max()}; expected classes 0 to {rows.shape[1] - 1} and positive weights."
        )
    return rows, classes, w


def _check_keys(record: Mapping[str, Any], known: set[str]) -> None:
    unknown, missing = sorted(set(record) - known), sorted(known - set(record))
    if unknown or missing:
        raise UsageError(
            f"The calibration has the keys {', '.join(map(str, record))}; expected {', '.join(sorted(known))}."
        )


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise UsageError(f"`{name}` is {value!r}; expected a number.")
    return float(value)
