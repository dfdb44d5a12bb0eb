"""Calibrators: what they may never change, what they recover, and that they survive being written down."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from earmark.errors import UsageError
from earmark.models.calibration import (
    CALIBRATORS,
    Identity,
    Isotonic,
    Temperature,
    from_dict,
    mean_log_loss,
)

SHAPES = st.tuples(st.integers(1, 20), st.integers(2, 5))


@st.composite
def probabilities(draw):
    """Rows of three classes with zeros, ones and ties among them."""
    values = draw(arrays(np.float64, draw(SHAPES), elements=st.sampled_from([0, 0.1, 0.2, 0.5, 1, 1e-9])))
    values[:, 0] += values.sum(axis=1) == 0
    return values / values.sum(axis=1, keepdims=True)


def overconfident(n=3000, sharpness=3.0, seed=0):
    """True probabilities q, labels drawn from them, and a model that says q^sharpness."""
    rng = np.random.default_rng(seed)
    q = rng.dirichlet(np.ones(3), size=n)
    y = (rng.random((n, 1)) > np.cumsum(q, axis=1)).sum(axis=1)
    p = q**sharpness
    return q, p / p.sum(axis=1, keepdims=True), y


@settings(deadline=None, max_examples=60)
@given(probabilities(), st.floats(0.1, 100), st.integers(0, 10))
def test_every_calibrator_gives_probabilities_and_keeps_unknown_classes_at_0(p, temperature, seed):
    y = np.random.default_rng(seed).integers(0, p.shape[1], len(p))
    absent = ~(p > 0).any(axis=0)
    fitted = [kind.fit(p, y) for kind in CALIBRATORS.values()]
    for calibrator in [*fitted, Temperature(temperature, tuple(bool(known) for known in ~absent))]:
        q = calibrator.transform(p)
        assert np.isfinite(q).all() and (q >= 0).all()
        np.testing.assert_allclose(q.sum(axis=1), 1, rtol=1e-12)
        assert (q[:, absent] == 0).all()
        assert from_dict(json.loads(json.dumps(calibrator.to_dict()))) == calibrator


@settings(deadline=None, max_examples=60)
@given(probabilities(), st.floats(0.1, 100))
def test_a_temperature_never_changes_the_most_probable_class_nor_any_order(p, temperature):
    q = Temperature(temperature, (True,) * p.shape[1]).transform(p)
    rows = np.arange(len(p))
    np.testing.assert_array_equal(q[rows, p.argmax(axis=1)], q.max(axis=1))
    order = p.argsort(axis=1)
    assert (np.diff(np.take_along_axis(q, order, axis=1), axis=1) >= -1e-15).all()


def test_the_temperature_of_an_overconfident_model_is_found():
    q, p, y = overconfident()
    found = Temperature.fit(p, y)
    assert found.temperature == pytest.approx(3.0, rel=0.1)
    np.testing.assert_allclose(found.transform(p), q, atol=0.03)
    assert Temperature.fit(q, y).temperature == pytest.approx(1.0, rel=0.1)


def test_both_calibrators_lower_the_loss_on_rows_they_have_not_seen():
    _, p, y = overconfident()
    seen, new = np.arange(len(y)) < 1500, np.arange(len(y)) >= 1500
    before = mean_log_loss(p[new], y[new])
    for kind in (Temperature, Isotonic):
        assert mean_log_loss(kind.fit(p[seen], y[seen]).transform(p[new]), y[new]) < before - 0.1


def test_a_weight_of_two_is_the_row_repeated():
    _, p, y = overconfident(200)
    weights = 1.0 + (np.arange(200) < 70)
    twice = np.repeat(np.arange(200), weights.astype(int))
    once = Temperature.fit(p, y, weights)
    assert once.temperature == pytest.approx(Temperature.fit(p[twice], y[twice]).temperature, rel=1e-4)
    stepped, repeated = Isotonic.fit(p, y, weights), Isotonic.fit(p[twice], y[twice])
    np.testing.assert_allclose(stepped.transform(p), repeated.transform(p), atol=1e-2)


def test_the_isotonic_function_of_a_small_case_is_that_computed_by_hand():
    """Pool adjacent violators: 0, (1, 0 -> 1/2, 1/2), 1, the ends bounded by the rule of succession."""
    of_second = np.array([0.1, 0.4, 0.6, 0.9])
    p = np.stack([1 - of_second, of_second], axis=1)
    found = Isotonic.fit(p, np.array([0, 1, 0, 1]))
    assert found.knots[1] == (
        (0.1, pytest.approx(1 / 6)),
        (0.4, 0.5),
        (0.6, 0.5),
        (0.9, pytest.approx(5 / 6)),
    )
    np.testing.assert_allclose(found.transform(p)[:, 1], [1 / 6, 0.5, 0.5, 5 / 6])


def test_an_impossible_truth_leaves_every_fit_finite():
    p = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    y = np.array([1, 1, 0])
    assert Temperature.fit(p, y).temperature > 10
    for kind in (Temperature, Isotonic):
        assert mean_log_loss(kind.fit(p, y).transform(p), y) < 1.2
    assert mean_log_loss(Identity.fit(p, y).transform(p), y) == pytest.approx(36.04 / 3, abs=0.01)


def test_a_model_that_is_always_right_stays_finite_and_no_rows_are_no_answers():
    p = np.array([[0.9, 0.1], [0.2, 0.8]])
    for kind in CALIBRATORS.values():
        fitted = kind.fit(p, np.array([0, 1]))
        assert fitted.transform(p).argmax(axis=1).tolist() == [0, 1]
        assert fitted.transform(np.empty((0, 2))).shape == (0, 2)


@pytest.mark.parametrize(
    ("p", "y", "weights", "words"),
    [
        ([[0.5, 0.5]], [2], None, "run from 2 to 2"),
        ([[0.5, 0.6]], [0], None, "a sum of 1"),
        ([[np.nan, 1.0]], [0], None, "a sum of 1"),
        ([[-0.5, 1.5]], [0], None, "none below 0"),
        ([0.5, 0.5], [0, 1], None, r"shape \(2,\)"),
        (np.empty((0, 2)), [], None, "at least one"),
        ([[0.5, 0.5]], [0, 1], None, "as many of each"),
        ([[0.5, 0.5]], [0], [0.0], "positive weights"),
    ],
)
def test_what_cannot_be_calibrated_is_refused(p, y, weights, words):
    for kind in CALIBRATORS.values():
        with pytest.raises(UsageError, match=words):
            kind.fit(p, y, weights)


@pytest.mark.parametrize(
    "record",
    [
        {"method": "temprature"},
        {},
        {"method": "none", "temperature": 1.0},
        {"method": "temperature", "temperature": 0, "present": [True]},
        {"method": "temperature", "temperature": "1", "present": [True]},
        {"method": "temperature", "temperature": True, "present": [True]},
        {"method": "temperature", "temperature": 1.0, "present": [1]},
        {"method": "isotonic", "knots": [[[0.5, 0.2], [0.4, 0.3]]]},
        {"method": "isotonic", "knots": [[[0.1, 0.5], [0.4, 0.3]]]},
        {"method": "isotonic", "knots": [[[0.1, 0.0]]]},
        {"method": "isotonic", "knots": [[[0.1, float("nan")]]]},
        {"method": "isotonic", "knots": [[[0.1, 0.2, 0.3]]]},
        {"method": "isotonic", "knots": 3},
    ],
)
def test_a_record_that_no_calibrator_wrote_is_refused(record):
    with pytest.raises(UsageError):
        from_dict(record)


def test_another_number_of_classes_is_refused():
    _, p, y = overconfident(50)
    for kind in (Temperature, Isotonic):
        with pytest.raises(UsageError, match=r"shape \(1, 2\); expected \(n, 3\)"):
            kind.fit(p, y).transform([[0.5, 0.5]])
