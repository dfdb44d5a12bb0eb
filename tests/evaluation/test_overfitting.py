"""Overfitting statistics against the papers' numbers, an independent library and known answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kurtosis, skew

from earmark.errors import UsageError
from earmark.evaluation.overfitting import (
    Moments,
    band,
    deflated_sharpe_ratio,
    expected_maximum_sharpe,
    moments,
    probabilistic_sharpe_ratio,
    probability_of_overfitting,
    sharpe_ratio,
)


def test_the_papers_example_of_the_deflated_sharpe_ratio():
    """Bailey and Lopez de Prado (2014), numerical example: five years of days, 100 trials, annual ratio 2.5."""
    of = Moments(sharpe=2.5 / np.sqrt(250), n=1250, skewness=-3.0, kurtosis=10.0)
    variance = 1 / (2 * 250)
    assert expected_maximum_sharpe(100, variance) == pytest.approx(0.1132, abs=5e-5)
    assert deflated_sharpe_ratio(of, 100, variance) == pytest.approx(0.9004, abs=5e-5)


def test_normal_returns_of_that_example_need_fewer_years():
    """The same paper: with normal returns 88 trials, with skewed ones 46 trials leave 95 % confidence."""
    variance = 1 / (2 * 250)
    skewed = Moments(2.5 / np.sqrt(250), 1250, -3.0, 10.0)
    normal = Moments(2.5 / np.sqrt(250), 1250, 0.0, 3.0)
    assert deflated_sharpe_ratio(skewed, 46, variance) == pytest.approx(0.95, abs=2e-3)
    assert deflated_sharpe_ratio(normal, 88, variance) == pytest.approx(0.95, abs=2e-3)


def test_expected_maximum_is_that_of_normal_draws():
    draws = np.random.default_rng(3).standard_normal((20_000, 50)).max(axis=1)
    assert expected_maximum_sharpe(50, 1.0) == pytest.approx(draws.mean(), rel=0.02)
    assert expected_maximum_sharpe(1, 1.0) == 0.0


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_an_independent_library(seed):
    oracle = pytest.importorskip("purgedcv")
    rng = np.random.default_rng(seed)
    # An even number of configurations, since the median of an odd one is a logit of 0: half counted here, not there.
    returns = rng.standard_t(4, (96, 8)) * 0.01 + np.linspace(0, 0.003, 8)
    ours, theirs = (
        probability_of_overfitting(returns, n_blocks=8),
        oracle.probability_of_backtest_overfitting(returns.T, n_splits=8),
    )
    assert ours.pbo == pytest.approx(theirs.pbo)
    assert ours.degradation == pytest.approx(theirs.slope)
    # That library estimates moments without bias, and the deviation with it.
    first = returns[:, 0]
    shape = skew(first, bias=False), kurtosis(first, fisher=False, bias=False)
    of = Moments(first.mean() / first.std(), len(first), *map(float, shape))
    assert moments(first).sharpe == sharpe_ratio(first) == pytest.approx(of.sharpe, rel=0.01)
    assert probabilistic_sharpe_ratio(of, 0.05) == pytest.approx(
        oracle.probabilistic_sharpe_ratio(first, 0.05)
    )
    assert deflated_sharpe_ratio(of, 8, 0.01) == pytest.approx(oracle.deflated_sharpe_ratio(first, 8, 0.01))


def test_noise_is_overfitted_half_of_the_time_and_skill_is_not():
    rng = np.random.default_rng(11)
    noise = [probability_of_overfitting(rng.standard_normal((240, 20)), n_blocks=8).pbo for _ in range(60)]
    assert np.mean(noise) == pytest.approx(0.5, abs=0.06)
    three = [probability_of_overfitting(rng.standard_normal((240, 3)), n_blocks=8).pbo for _ in range(150)]
    assert np.mean(three) == pytest.approx(0.5, abs=0.06)
    skilled = rng.standard_normal((480, 20)) + np.where(np.arange(20) == 7, 0.5, 0.0)
    result = probability_of_overfitting(skilled)
    assert result.pbo < 0.01 and result.band == "low" and result.probability_of_loss == 0
    assert len(result.logits) == 12_870


def test_halves_are_scored_as_if_cut_out():
    rng = np.random.default_rng(2)
    returns = rng.standard_normal((41, 3)) + 5  # far from 0, blocks of unequal length
    result = probability_of_overfitting(returns, n_blocks=4)
    blocks = np.array_split(returns, 4)
    first, second = np.vstack(blocks[:2]), np.vstack(blocks[2:])
    inside = first.mean(axis=0) / first.std(axis=0, ddof=1)
    best = inside.argmax()
    assert result.inside[0] == pytest.approx(inside[best])
    assert result.outside[0] == pytest.approx(second[:, best].mean() / second[:, best].std(ddof=1))


@given(st.lists(st.floats(-0.1, 0.1), min_size=3, max_size=50), st.floats(-1, 1))
@settings(max_examples=50, deadline=None)
def test_probabilities_are_probabilities(returns, benchmark):
    of = moments(returns)
    p = probabilistic_sharpe_ratio(of, benchmark)
    assert np.isnan(p) or 0 <= p <= 1


def test_decided_cases():
    assert sharpe_ratio(np.zeros(10)) == 0
    assert np.isnan(sharpe_ratio([0.1])) and np.isnan(probabilistic_sharpe_ratio(moments([0.1])))
    assert [band(x) for x in (0.0, 0.1, 0.3, 0.5)] == ["low", "moderate", "high", "severe"]
    idle = probability_of_overfitting(np.zeros((32, 3)), n_blocks=4)
    assert np.isnan(idle.degradation) and (idle.outside == 0).all()
    assert idle.pbo == 0.5 and (idle.logits == 0).all()


@pytest.mark.parametrize(
    ("returns", "blocks"),
    [(np.zeros((40, 1)), 4), (np.zeros((40, 2)), 3), (np.zeros((6, 2)), 4), (np.full((40, 2), np.nan), 4)],
)
def test_nonsense_is_refused(returns, blocks):
    with pytest.raises(UsageError, match="expected"):
        probability_of_overfitting(returns, n_blocks=blocks)
