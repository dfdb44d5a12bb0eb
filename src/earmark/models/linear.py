"""Linear models of class probabilities.

Multinomial logistic regression and, for ordered classes, the cumulative logit model.

Both minimise the weighted mean log loss plus ``||w||^2 / (2 strength n)`` by L-BFGS (scipy); intercepts and
thresholds are not penalised. The problem of `Logistic` is convex, so the fit does not depend on a start or
a seed; `Ordinal` starts at the classes' frequencies. Kept as ``coefficients.npz`` (plain arrays).

`Ordinal` takes the classes in the task's order: P(y <= c) = sigmoid(threshold_c - x w), one w for all
thresholds (proportional odds). It fits where features move along the order, and has a third of the
coefficients of three classes.

References: McCullagh, "Regression Models for Ordinal Data", JRSS B 42, 1980; Liu and Nocedal, "On the
limited memory BFGS method", 1989.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from earmark.models.constraints import Interval, Parameter
from earmark.models.estimator import FitRequest, Floats, FoldEstimator, Ints

__all__ = ["Logistic", "Ordinal"]

COEFFICIENTS_FILE = "coefficients.npz"
_TINY = 1e-12
"""Least probability whose logarithm is taken."""

Doubles = npt.NDArray[np.float64]


class LinearEstimator(FoldEstimator):
    """The fit and the files that both models share; a model adds its loss and its probabilities."""

    files: ClassVar[tuple[str, ...]] = (COEFFICIENTS_FILE,)
    distributions: ClassVar[tuple[str, ...]] = ("scipy",)
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "strength": Parameter(
            0.03, Interval(float, 0, open_low=True), "inverse of the L2 penalty; larger fits closer"
        ),
        "max_iterations": Parameter(1000, Interval(int, 1), "L-BFGS iterations at most"),
    }

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.solution: Doubles = np.empty(0)

    @abstractmethod
    def _start(self, request: FitRequest) -> Doubles:
        """Where the search begins."""

    @abstractmethod
    def _loss(
        self, solution: Doubles, X: Doubles, y: Ints, weight: Doubles, penalty: float
    ) -> tuple[float, Doubles]:
        """Penalised mean log loss and its gradient; `weight` sums to 1."""

    @abstractmethod
    def _probabilities(self, X: Doubles) -> Doubles:
        """From the solution."""

    def _fit(self, request: FitRequest) -> None:
        from scipy.optimize import minimize

        n = len(request.y)
        weight = np.ones(n) if request.sample_weight is None else request.sample_weight.astype(np.float64)
        penalty = 1.0 / (self.params["strength"] * n)
        arguments = (request.X.astype(np.float64), request.y, weight / weight.sum(), penalty)
        options = {"maxiter": self.params["max_iterations"], "gtol": 1e-7, "ftol": 1e-12}
        found = minimize(
            self._loss, self._start(request), arguments, method="L-BFGS-B", jac=True, options=options
        )
        self.solution = found.x
        self.history = [{"epoch": int(found.nit), "training_loss": float(found.fun)}]

    def _predict(self, X: Floats) -> Floats:
        return self._probabilities(X.astype(np.float64)).astype(np.float32)

    def _save(self, folder: Path) -> None:
        np.savez(folder / COEFFICIENTS_FILE, solution=self.solution)

    def _load(self, folder: Path) -> None:
        with np.load(folder / COEFFICIENTS_FILE, allow_pickle=False) as arrays:
            self.solution = arrays["solution"]


class Logistic(LinearEstimator):
    """Multinomial logistic regression.

    The solution holds weights, shape (n_features, k), then k intercepts.
    """

    name: ClassVar[str] = "logistic"

    @property
    def coefficients(self) -> Doubles:
        """Weights, shape (n_features, k present classes)."""
        return self.solution.reshape(self.n_features + 1, -1)[:-1]

    def _start(self, request: FitRequest) -> Doubles:
        return np.zeros((request.X.shape[1] + 1) * request.n_codes)

    def _loss(
        self, solution: Doubles, X: Doubles, y: Ints, weight: Doubles, penalty: float
    ) -> tuple[float, Doubles]:
        table = solution.reshape(X.shape[1] + 1, -1)
        odds = _softmax(X @ table[:-1] + table[-1])
        rows = np.arange(len(y))
        loss = -float(weight @ np.log(np.maximum(odds[rows, y], _TINY))) + penalty / 2 * float(
            np.sum(table[:-1] ** 2)
        )
        odds[rows, y] -= 1.0
        error = odds * weight[:, None]
        return loss, np.vstack([X.T @ error + penalty * table[:-1], error.sum(axis=0)]).ravel()

    def _probabilities(self, X: Doubles) -> Doubles:
        table = self.solution.reshape(self.n_features + 1, -1)
        return _softmax(X @ table[:-1] + table[-1])


class Ordinal(LinearEstimator):
    """Cumulative logit model for classes in order.

    The solution holds weights, shape (n_features,), the first threshold, and the logarithms of the k - 2
    gaps between thresholds.
    """

    name: ClassVar[str] = "ordinal"

    @property
    def coefficients(self) -> Doubles:
        """Weights, shape (n_features,); positive moves towards later classes."""
        return self.solution[: self.n_features]

    @property
    def thresholds(self) -> Doubles:
        """Ascending, shape (k - 1,)."""
        return _ascending(self.solution[self.n_features :])

    def _start(self, request: FitRequest) -> Doubles:
        share = np.cumsum(np.bincount(request.y, minlength=request.n_codes))[:-1] / len(request.y)
        cuts = np.log(share / (1 - share))
        return np.concatenate([np.zeros(request.X.shape[1]), cuts[:1], np.log(np.diff(cuts))])

    def _loss(
        self, solution: Doubles, X: Doubles, y: Ints, weight: Doubles, penalty: float
    ) -> tuple[float, Doubles]:
        d = X.shape[1]
        w, free = solution[:d], solution[d:]
        below, above = _edges(_ascending(free), X @ w)
        rows = np.arange(len(y))
        low, high = _sigmoid(below[rows, y]), _sigmoid(above[rows, y])
        chance = np.maximum(high - low, _TINY)
        loss = -float(weight @ np.log(chance)) + penalty / 2 * float(w @ w)
        # d(-log chance) by the upper and the lower edge; a sigmoid's slope at an infinite edge is 0.
        by_high, by_low = -weight * high * (1 - high) / chance, weight * low * (1 - low) / chance
        by_w = -X.T @ (by_high + by_low) + penalty * w
        by_edge = np.bincount(y, by_high, len(free) + 1)[:-1] + np.bincount(y, by_low, len(free) + 1)[1:]
        by_free = np.cumsum(by_edge[::-1])[::-1] * np.concatenate([[1.0], np.exp(free[1:])])
        return loss, np.concatenate([by_w, by_free])

    def _probabilities(self, X: Doubles) -> Doubles:
        below, above = _edges(self.thresholds, X @ self.coefficients)
        chance = np.maximum(_sigmoid(above) - _sigmoid(below), 0.0)
        return np.asarray(chance / chance.sum(axis=1, keepdims=True))


def _ascending(free: Doubles) -> Doubles:
    """Thresholds from the first and the logarithms of the gaps."""
    return np.cumsum(np.concatenate([free[:1], np.exp(free[1:])]))


def _edges(thresholds: Doubles, score: Doubles) -> tuple[Doubles, Doubles]:
    """Lower and upper edge of each class relative to each row's score, shape (n, k) each; the outermost are
    infinite.
    """
    inner = thresholds[None, :] - score[:, None]
    end = np.full((len(score), 1), np.inf)
    return np.hstack([-end, inner]), np.hstack([inner, end])


def _sigmoid(x: Doubles) -> Doubles:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


def _softmax(logits: Doubles) -> Doubles:
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))
