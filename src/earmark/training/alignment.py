"""Making rows of one source look like those of another: by moments, by covariance, by weights.

All functions work on prepared rows (imputed, standardised by the target source) and use no labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.models.estimator import Floats
from earmark.training.folds import balanced_folds

__all__ = ["ALIGNMENTS", "Alignment", "source_odds"]

ALIGNMENTS = ("none", "moments", "coral")

_RIDGE = 1.0
"""Added to both covariances of standardised columns, as Sun, Feng and Saenko do: one row more per direction."""
_ODDS_RANGE = (0.01, 10.0)
"""A row counts at most ten times, and at least a hundredth of, the mean: few rows must not carry the fit, and rows that
are nothing like own ones must be able to leave it."""
_STRENGTH = 0.1
"""Inverse penalty of the source classifier. Sources are often told apart perfectly, and unpenalised odds are then 0;
with a tenth of this, sources two standard deviations apart in one column are weighted almost alike."""
_N_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Alignment:
    """A map of one source's rows onto another's: ``(X - centre) @ matrix``, or ``* scale``, plus ``target``.

    Fitted on rows that train and applied to any of the same source, so that rows held out of a fit move as those
    inside it did.
    """

    centre: npt.NDArray[np.float64] | None = None
    change: npt.NDArray[np.float64] | None = field(default=None, repr=False)
    target: npt.NDArray[np.float64] | None = None

    @classmethod
    def fit(cls, kind: str, other: Floats, own: Floats) -> Self:
        """The map of rows like `other` onto rows like `own`.

        Parameters
        ----------
        kind : {"none", "moments", "coral"}
            ``moments`` gives every column the mean and standard deviation of `own`; ``coral`` gives the rows its mean
            and covariance.
        other : ndarray, float32, shape (n, d)
        own : ndarray, float32, shape (m, d)

        Raises
        ------
        UsageError
            Missing values, which have no covariance.
        """
        if kind == "none" or not len(other):
            return cls()
        if not (np.isfinite(other).all() and np.isfinite(own).all()):
            raise UsageError(
                f"`{kind}` alignment found missing values; expected imputed rows. Keep the preprocessing's "
                "imputation on."
            )
        A, B = other.astype(np.float64), own.astype(np.float64)
        change = _scale(A, B) if kind == "moments" else _recolouring(A, B)
        return cls(A.mean(axis=0), change, B.mean(axis=0))

    def apply(self, rows: Floats) -> Floats:
        """The rows moved, float32, shape (n, d)."""
        if self.centre is None or self.change is None or self.target is None:
            return rows
        centred = rows.astype(np.float64) - self.centre
        moved = centred * self.change if self.change.ndim == 1 else centred @ self.change
        return np.asarray(moved + self.target, dtype=np.float32)


def source_odds(
    own: Floats,
    other: Floats,
    own_groups: npt.NDArray[Any],
    other_groups: npt.NDArray[Any],
    *,
    seed: Sequence[int],
) -> Floats:
    """How much more likely each row of `other` is under the source of `own`, mean 1.

    The odds p(own | x) / p(other | x) of a penalised logistic classifier, times n_other / n_own, estimate the ratio
    of densities. Each row is judged by a classifier that did not see its group, and the odds are kept between a
    hundredth and ten times their mean. Rows of both sources count alike in total when they are told apart.

    Returns
    -------
    ndarray, float32, shape (n_other,)
    """
    from sklearn.linear_model import LogisticRegression

    X = np.concatenate([own, other])
    is_own = np.r_[np.ones(len(own), dtype=np.int64), np.zeros(len(other), dtype=np.int64)]
    groups = np.concatenate([own_groups, other_groups])
    n_folds = min(_N_FOLDS, len(np.unique(own_groups)), len(np.unique(other_groups)))
    if n_folds < 2:
        return np.ones(len(other), dtype=np.float32)
    fold = balanced_folds(is_own, groups, n_folds, seed=list(seed))
    logit = np.zeros(len(X))
    for k in range(n_folds):
        model = LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=1000)
        logit[fold == k] = model.fit(X[fold != k], is_own[fold != k]).decision_function(X[fold == k])
    odds = np.exp(np.clip(logit[len(own) :], -20, 20))
    odds = np.clip(odds / odds.mean(), *_ODDS_RANGE)
    return np.asarray(odds / odds.mean(), dtype=np.float32)


def _scale(A: npt.NDArray[np.float64], B: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Per column the ratio of standard deviations, 0 where A is constant."""
    spread = A.std(axis=0)
    return np.asarray(np.divide(B.std(axis=0), spread, out=np.zeros_like(spread), where=spread > 0))


def _recolouring(A: npt.NDArray[np.float64], B: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The matrix that whitens rows like A and gives them the covariance of B."""
    ridge = _RIDGE * np.eye(A.shape[1])
    whitening = _power(np.cov(A.T, ddof=0) + ridge, -0.5)
    recoloured: npt.NDArray[np.float64] = whitening @ _power(np.cov(B.T, ddof=0) + ridge, 0.5)
    return recoloured


def _power(covariance: npt.NDArray[np.float64], exponent: float) -> npt.NDArray[np.float64]:
    """A power of a symmetric positive definite matrix."""
    values, vectors = np.linalg.eigh(np.atleast_2d(covariance))
    powered: npt.NDArray[np.float64] = (vectors * values**exponent) @ vectors.T
    return powered
