"""Joined runs: weights are chosen without the rows they are scored on, the joined model says the mixed thing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from training_tables import make_dataset

from earmark.errors import RunError, SchemaError, UsageError
from earmark.models.classifier import Classifier
from earmark.training.joined import JoinedClassifier, load_classifier, mixed, weigh
from earmark.training.source_balance import source_weights


def accuracy(y, p):
    return float((p.argmax(axis=1) == y).mean())


def _members(seed=0, n=240):
    """A is right on class 0 and guesses the rest, B the other way round."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    a, b = rng.dirichlet([1, 1, 1], (2, n))
    a[y == 0] = [0.9, 0.05, 0.05]
    b[y == 1], b[y == 2] = [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]
    return y, np.arange(n) % 4, [a, b]


def test_global_weights_are_the_best_of_the_grid():
    y, fold, members = _members()
    found = weigh(members, y, fold, accuracy, "higher")
    every = [accuracy(y, w * members[0] + (1 - w) * members[1]) for w in np.linspace(0, 1, 21)]
    chosen = found.weights[0, 0]
    assert accuracy(y, mixed(members, found.weights)) == max(every) and (found.weights[0] == chosen).all()
    per_class = weigh(members, y, fold, accuracy, "higher", "per-class")
    assert accuracy(y, mixed(members, per_class.weights)) >= max(every)
    np.testing.assert_array_equal(weigh(members, y, fold, accuracy, "higher", "equal").weights, 0.5)


@pytest.mark.parametrize("kind", ["global", "per-class"])
def test_a_fold_has_no_part_in_the_weights_it_is_scored_with(kind):
    y, fold, members = _members()
    before = weigh(members, y, fold, accuracy, "higher", kind)
    spoilt = np.where(fold == 2, (y + 1) % 3, y)
    after = weigh(members, spoilt, fold, accuracy, "higher", kind)
    np.testing.assert_array_equal(before.probabilities[fold == 2], after.probabilities[fold == 2])


@given(st.integers(0, 2**32 - 1), st.integers(2, 4))
def test_mixed_rows_sum_to_one_even_where_weights_leave_nothing(seed, n_members):
    rng = np.random.default_rng(seed)
    members = [np.eye(3)[rng.integers(0, 3, 5)] for _ in range(n_members)]
    weights = np.zeros((n_members, 3))
    weights[rng.integers(0, n_members, 3), np.arange(3)] = 1
    np.testing.assert_allclose(mixed(members, weights).sum(axis=1), 1)


def test_a_joined_classifier_takes_its_columns_by_name_and_survives_the_disk(tmp_path):
    data = make_dataset()
    halves = [data.columns[::2], data.columns[1::2]]
    members = tuple(
        Classifier.make("logistic", classes=data.classes).fit(data.select(own).X, data.y, own)
        for own in halves
    )
    joined = JoinedClassifier(members, np.array([[1, 0, 0.5], [0, 1, 0.5]]))
    p = joined.predict_proba(data.X, data.columns)
    own = [m.predict_proba(data.select(m.columns).X, m.columns) for m in members]
    expected = np.stack([own[0][:, 0], own[1][:, 1], (own[0][:, 2] + own[1][:, 2]) / 2], axis=1)
    np.testing.assert_allclose(p, expected / expected.sum(axis=1, keepdims=True), rtol=1e-6)
    joined.save(tmp_path / "m")
    again = load_classifier(tmp_path / "m")
    order = again.align(data.columns)
    np.testing.assert_array_equal(again.predict_proba(data.X[:, order], again.columns), p)
    with pytest.raises(SchemaError, match="columns are missing"):
        again.align(halves[0])
    (tmp_path / "m" / "joined.json").write_text("{}")
    with pytest.raises(RunError, match="no readable joined model"):
        load_classifier(tmp_path / "m")
    with pytest.raises(UsageError, match="2 to 4 runs"):
        weigh([p], data.y, data.folds, accuracy, "higher")


def test_weights_by_source_leave_classes_alone_and_make_sources_equal():
    rng = np.random.default_rng(1)
    y = rng.integers(0, 3, 300)
    sources = np.where(rng.random(300) < np.array([0.9, 0.5, 0.2])[y], "a", "b")
    weights = source_weights(y, sources)
    for label in range(3):
        of_class = y == label
        assert weights[of_class].sum() == pytest.approx(of_class.sum(), rel=1e-5)
        a, b = (weights[of_class & (sources == name)].sum() for name in "ab")
        assert a == pytest.approx(b, rel=1e-5)
    assert source_weights(np.zeros(41, int), np.array(["a"] * 40 + ["b"])).max() == 10
    with pytest.raises(UsageError, match="two sources or more"):
        source_weights(y, np.array(["a"] * 300))
