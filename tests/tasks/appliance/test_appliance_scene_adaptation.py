"""Smoothing over a whole recording, by brute force over all paths, and what a recording teaches of itself."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from earmark.errors import UsageError
from earmark.tasks.appliance.scene_adaptation import adapted_posterior, log_odds, sticky_posterior

HOP_S = 1.0


def by_all_paths(log_ratio: np.ndarray, stay: float) -> np.ndarray:
    """Posterior of "on" as the share of the probability of all 2^n paths, shape (n,)."""
    total, on = 0.0, np.zeros(len(log_ratio))
    for path in itertools.product((0, 1), repeat=len(log_ratio)):
        moves = np.prod([stay if a == b else 1 - stay for a, b in itertools.pairwise(path)])
        weight = 0.5 * moves * np.exp(np.dot(path, log_ratio))
        total += weight
        on += weight * np.array(path)
    return on / total


@given(
    log_ratio=st.lists(st.floats(-8, 8), min_size=1, max_size=9),
    dwell_s=st.floats(1.5, 600),
)
@settings(max_examples=60, deadline=None)
def test_posterior_is_that_of_all_paths(log_ratio: list[float], dwell_s: float) -> None:
    expected = by_all_paths(np.array(log_ratio), np.exp(-HOP_S / dwell_s))
    np.testing.assert_allclose(sticky_posterior(log_ratio, HOP_S, dwell_s), expected, atol=1e-9)


def scene(seed: int = 0, gap: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, a model that hears the machine badly, and 26 bands of which five differ."""
    rng = np.random.default_rng(seed)
    truth = (np.arange(90) // 30) % 2
    probability = 1 / (1 + np.exp(-(0.8 * (2 * truth - 1) + rng.standard_normal(90))))
    rows = -70 + rng.standard_normal((90, 26))
    rows[:, 3:8] += gap * truth[:, None]
    return truth, probability, rows


@pytest.mark.parametrize("seed", range(5))
def test_a_recording_teaches_its_two_states(seed: int) -> None:
    truth, probability, rows = scene(seed)
    adapted = adapted_posterior(probability, rows, HOP_S)
    assert roc_auc_score(truth, adapted) > 0.99
    assert np.mean((adapted >= 0.5) == truth) > 0.95


def test_a_machine_that_never_runs_stays_off() -> None:
    rng = np.random.default_rng(1)
    adapted = adapted_posterior(np.full(90, 0.05), rng.standard_normal((90, 26)), HOP_S)
    assert adapted.max() < 0.05


def test_bands_that_never_change_change_nothing() -> None:
    _, probability, _ = scene()
    adapted = adapted_posterior(probability, np.full((90, 26), -60.0), HOP_S)
    assert np.isfinite(adapted).all()
    assert np.corrcoef(adapted, sticky_posterior(log_odds(probability), HOP_S))[0, 1] > 0.7


@pytest.mark.parametrize("n_rows", [0, 1, 2])
def test_short_recordings(n_rows: int) -> None:
    adapted = adapted_posterior(np.full(n_rows, 0.9), np.zeros((n_rows, 26)), HOP_S)
    assert adapted.shape == (n_rows,) and (adapted > 0.5).all()


def test_certain_rows_stay_finite() -> None:
    assert np.isfinite(sticky_posterior(np.full(1000, 1e9), HOP_S)).all()
    assert log_odds([0.0, 0.5, 1.0]).tolist() == pytest.approx([-6.9068, 0.0, 6.9068], abs=1e-4)


def test_times_must_be_positive() -> None:
    with pytest.raises(UsageError, match="dwell_s 0"):
        sticky_posterior([0.0], HOP_S, 0.0)
