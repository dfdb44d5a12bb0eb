"""How much of a backtest's result is selection: Sharpe ratios deflated for trials, and the probability of overfitting.

Conventions: ``returns`` are per period, as fractions, in order of time; Sharpe ratios are per period, not annualised,
with the standard deviation of a sample (ddof 1), 0 where nothing was earned and nothing varied. Kurtosis is that of
the fourth moment: 3 for a normal distribution.

* *Probabilistic Sharpe ratio*: the probability that the true ratio exceeds a benchmark, given length, skewness and
  kurtosis of the returns [1]_.
* *Deflated Sharpe ratio*: the same with the benchmark that the best of so many trials reaches by chance [1]_.
* *PBO*: the share of symmetric halvings of time in which the configuration that is best in one half lies in the lower
  half of the other (combinatorially symmetric cross-validation) [2]_. Ties share their mean rank, and a rank at the
  median itself (the middle of an odd number, or a tie of all) counts half. The paper leaves that case open; so counted,
  noise has a PBO of 0.5 for any number of configurations, and so have configurations that are all the same.

References
----------
.. [1] Bailey, Lopez de Prado. The deflated Sharpe ratio. Journal of Portfolio Management 40(5), 2014.
.. [2] Bailey, Borwein, Lopez de Prado, Zhu. The probability of backtest overfitting. Journal of Computational Finance
   20(4), 2017.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.errors import UsageError

__all__ = [
    "Overfitting",
    "band",
    "deflated_sharpe_ratio",
    "expected_maximum_sharpe",
    "moments",
    "probabilistic_sharpe_ratio",
    "probability_of_overfitting",
    "sharpe_ratio",
]

FloatArray = NDArray[np.float64]

BANDS = ((0.1, "low"), (0.3, "moderate"), (0.5, "high"))
N_BLOCKS = 16
"""Blocks of time in CSCV: 12,870 halvings."""


@dataclass(frozen=True)
class Moments:
    """What the probabilistic Sharpe ratio knows of a series of returns."""

    sharpe: float
    n: int
    skewness: float
    kurtosis: float


@dataclass(frozen=True, eq=False)
class Overfitting:
    """Result of CSCV.

    Attributes
    ----------
    pbo : float
        Share of halvings with a logit below 0, and half of those with a logit of 0.
    logits : ndarray, shape (n_halvings,)
        ln(w / (1 - w)), w the relative rank outside of the configuration that was best inside.
    inside, outside : ndarray, shape (n_halvings,)
        Score of that configuration in either half.
    n_configurations : int
    """

    pbo: float
    logits: FloatArray
    inside: FloatArray
    outside: FloatArray
    n_configurations: int

    @property
    def band(self) -> str:
        """``low``, ``moderate``, ``high`` or ``severe``."""
        return band(self.pbo)

    @property
    def probability_of_loss(self) -> float:
        """Share of halvings in which the chosen configuration loses outside."""
        return float(np.mean(self.outside < 0))

    @property
    def degradation(self) -> float:
        """Slope of the score outside over the score inside; ``nan`` if the latter never varies."""
        spread = self.inside - self.inside.mean()
        varies = float(spread @ spread)
        return float(spread @ self.outside) / varies if varies > 0 else float("nan")


def band(pbo: float) -> str:
    """Name of a probability of overfitting: below 0.1 low, 0.3 moderate, 0.5 high, else severe."""
    return next((name for limit, name in BANDS if pbo < limit), "severe")


def sharpe_ratio(returns: ArrayLike) -> float:
    """Mean over standard deviation per period; 0 for returns that are all 0, ``nan`` for fewer than two."""
    values = _returns(returns)
    if len(values) < 2:
        return float("nan")
    # Rounding of the mean would leave a constant series a tiny deviation.
    variance = values.var(ddof=1) if np.ptp(values) > 0 else 0.0
    return float(_sharpe(values.mean(), variance))


def moments(returns: ArrayLike) -> Moments:
    """Sharpe ratio, length, skewness and kurtosis of returns."""
    values = _returns(returns)
    if not len(values) or np.ptp(values) == 0:
        return Moments(sharpe_ratio(values), len(values), 0.0, 3.0)
    deviation = values - values.mean()
    deviation /= np.abs(deviation).max()  # squares of tiny returns would vanish
    skewness, kurtosis = (float(np.mean((deviation / deviation.std()) ** k)) for k in (3, 4))
    return Moments(sharpe_ratio(values), len(values), skewness, kurtosis)


def probabilistic_sharpe_ratio(of: Moments, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio exceeds `benchmark` (per period), 0 to 1.

    Parameters
    ----------
    of : Moments
        See `moments`.
    benchmark : float

    Returns
    -------
    float
        ``nan`` for fewer than two returns.
    """
    from scipy.special import ndtr

    if of.n < 2 or np.isnan(of.sharpe):
        return float("nan")
    if np.isinf(of.sharpe):  # returns without any variation
        return float(of.sharpe > 0)
    variance = 1 - of.skewness * of.sharpe + (of.kurtosis - 1) / 4 * of.sharpe**2
    if variance <= 0:
        raise UsageError(
            f"Skewness {of.skewness:.3g} and kurtosis {of.kurtosis:.3g} belong to no distribution; expected kurtosis "
            "of at least 1 + skewness squared. Compute both from the same returns."
        )
    return float(ndtr((of.sharpe - benchmark) * np.sqrt(of.n - 1) / np.sqrt(variance)))


def expected_maximum_sharpe(n_trials: int, variance: float) -> float:
    """The Sharpe ratio that the best of `n_trials` without skill is expected to show.

    Parameters
    ----------
    n_trials : int
        Independent trials.
    variance : float
        Of the trials' Sharpe ratios, per period.
    """
    from scipy.special import ndtri

    if n_trials < 1 or variance < 0:
        raise UsageError(
            f"{n_trials} trials of variance {variance}; expected at least 1 and not less than 0."
        )
    if n_trials == 1:
        return 0.0
    either = (1 - np.euler_gamma) * ndtri(1 - 1 / n_trials) + np.euler_gamma * ndtri(
        1 - 1 / (n_trials * np.e)
    )
    return float(np.sqrt(variance) * either)


def deflated_sharpe_ratio(of: Moments, n_trials: int, variance: float) -> float:
    """Probability that the Sharpe ratio of the best of `n_trials` is more than luck, 0 to 1."""
    return probabilistic_sharpe_ratio(of, expected_maximum_sharpe(n_trials, variance))


def probability_of_overfitting(
    returns: ArrayLike, *, n_blocks: int = N_BLOCKS, score: Literal["sharpe", "mean"] = "sharpe"
) -> Overfitting:
    """Probability of backtest overfitting by combinatorially symmetric cross-validation.

    Parameters
    ----------
    returns : array, shape (n_periods, n_configurations)
        What each configuration would have earned in each period.
    n_blocks : int
        Even number of stretches of time; half of them are one half of the data.
    score : {"sharpe", "mean"}
        By which a configuration is best.

    Raises
    ------
    UsageError
        Fewer than two configurations, an odd number of blocks, or fewer than two periods per block.
    """
    from scipy.stats import rankdata

    values = np.asarray(returns, dtype=np.float64)
    _check_table(values, n_blocks)
    inside = _halves(n_blocks)
    scores = [_scores(values, half, score) for half in (inside, 1 - inside)]
    best = scores[0].argmax(axis=1)
    every = np.arange(len(best))
    rank = rankdata(scores[1], axis=1)[every, best]
    logits = np.log(rank / (values.shape[1] + 1 - rank))
    pbo = np.mean((logits < 0) + (logits == 0) / 2)
    return Overfitting(float(pbo), logits, scores[0][every, best], scores[1][every, best], values.shape[1])


def _halves(n_blocks: int) -> FloatArray:
    """Every choice of half of the blocks, 1 where chosen, shape (n_halvings, n_blocks)."""
    chosen = np.array(list(combinations(range(n_blocks), n_blocks // 2)))
    half = np.zeros((len(chosen), n_blocks))
    np.put_along_axis(half, chosen, 1.0, axis=1)
    return half


def _scores(values: FloatArray, half: FloatArray, score: str) -> FloatArray:
    """Score of each configuration in each half, shape (n_halvings, n_configurations)."""
    blocks = np.array_split(values, half.shape[1])
    n = (half @ [len(block) for block in blocks])[:, None]
    mean: FloatArray = half @ np.stack([block.sum(axis=0) for block in blocks]) / n
    if score == "mean":
        return mean
    # Squares about the overall mean: little is lost where returns are far from 0.
    centre = values.mean(axis=0)
    squares = half @ np.stack([((block - centre) ** 2).sum(axis=0) for block in blocks])
    variance = np.maximum(squares - n * (mean - centre) ** 2, 0) / (n - 1)
    return _sharpe(mean, variance)


def _sharpe(mean: ArrayLike, variance: ArrayLike) -> FloatArray:
    mean, deviation = np.asarray(mean, dtype=np.float64), np.sqrt(variance)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where((mean == 0) & (deviation == 0), 0.0, mean / deviation))


def _returns(returns: ArrayLike) -> FloatArray:
    values = np.asarray(returns, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise UsageError(
            f"Returns have shape {values.shape} and {int((~np.isfinite(values)).sum())} values that are no numbers; "
            "expected one finite number per period."
        )
    return values


def _check_table(values: FloatArray, n_blocks: int) -> None:
    if values.ndim != 2 or values.shape[1] < 2 or not np.isfinite(values).all():
        raise UsageError(
            f"Returns have shape {values.shape}; expected finite numbers, a row per period and a column for each of at "
            "least two configurations. PBO compares configurations: run a search first."
        )
    if n_blocks < 2 or n_blocks % 2 or n_blocks > 20 or len(values) < 2 * n_blocks:
        raise UsageError(
            f"{len(values)} periods were to be cut into {n_blocks} blocks; expected an even number of blocks from 2 to "
            "20 and at least two periods in each."
        )
