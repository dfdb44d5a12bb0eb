"""A classifier per device: rows are answered alone, files are safe, Platt scaling is what its paper says."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import RunError, SchemaError, UsageError
from earmark.models.classifier import Classifier
from earmark.models.multilabel import OFF_ON, MultiLabel, fit_multilabel
from earmark.models.platt import Platt

COLUMNS = tuple(f"c{i}" for i in range(40))


def table(n=120, seed=0):
    draw = np.random.default_rng(seed)
    X = draw.normal(size=(n, len(COLUMNS))).astype(np.float32)
    y = np.column_stack([X[:, 0] + 0.3 * draw.normal(size=n) > 0, X[:, 1] > 0]).astype(np.int64)
    return X, y


def fitted(name="logistic", **params):
    X, y = table()
    return fit_multilabel(
        lambda label: Classifier.make(name, classes=OFF_ON, **params),
        X,
        y,
        COLUMNS,
        ("ac", "fridge"),
        weights=np.ones(y.shape),
    )


MODELS = {"logistic": fitted(), "xgboost": fitted("xgboost", n_trees=10)}


@pytest.mark.parametrize("name", MODELS)
@settings(max_examples=25, deadline=None)
@given(rows=st.lists(st.integers(0, 119), min_size=1, max_size=40))
def test_a_row_has_the_same_bits_beside_any_others(name, rows):
    model, (X, _) = MODELS[name], table()
    whole = model.raw(X, COLUMNS)
    assert np.array_equal(model.raw(X[rows], COLUMNS), whole[rows])


@pytest.mark.parametrize("name", MODELS)
def test_saved_and_loaded_it_answers_the_same(name, tmp_path):
    X, _ = table(seed=1)
    model = MODELS[name].with_calibration([Platt(2.0, -1.0), Platt(0.5, 0.25)])
    model.save(tmp_path)
    found = MultiLabel.load(tmp_path)
    assert found.labels == ("ac", "fridge")
    assert np.array_equal(found.calibrate(found.raw(X, COLUMNS)), model.calibrate(model.raw(X, COLUMNS)))
    assert not [path for path in tmp_path.rglob("*") if path.suffix in (".pkl", ".pickle", ".joblib")]


@pytest.mark.parametrize(
    "damage",
    [
        lambda record: record.pop("labels"),
        lambda record: record.update(labels=[]),
        lambda record: record.update(calibration=[{"slope": 1, "offset": 0}]),
        lambda record: record["calibration"][0].update(slope="much"),
        lambda record: record["calibration"][0].update(slope=-1),
    ],
)
def test_a_damaged_file_is_a_run_error(damage, tmp_path):
    MODELS["logistic"].save(tmp_path)
    path = tmp_path / "multilabel.json"
    record = json.loads(path.read_text())
    damage(record)
    path.write_text(json.dumps(record))
    with pytest.raises(RunError, match="train again"):
        MultiLabel.load(tmp_path)


def test_other_columns_are_refused():
    with pytest.raises(SchemaError, match="missing"):
        MODELS["logistic"].raw(np.zeros((2, 1), np.float32), ["c0"])


def test_a_row_of_weight_0_teaches_that_label_nothing():
    X, y = table()
    weights = np.ones(y.shape)
    weights[60:, 1] = 0
    turned = y.copy()
    turned[60:, 1] = 1 - turned[60:, 1]

    def fit(labels):
        make = lambda label: Classifier.make("logistic", classes=OFF_ON)  # noqa: E731
        return fit_multilabel(make, X, labels, COLUMNS, ("ac", "fridge"), weights=weights).raw(X, COLUMNS)

    assert np.array_equal(fit(y), fit(turned))


def test_platt_recovers_slope_and_offset_of_odds():
    draw = np.random.default_rng(3)
    logits = draw.normal(0, 2, 40_000)
    y = draw.random(40_000) < 1 / (1 + np.exp(-(1.7 * logits - 0.8)))
    found = Platt.fit(1 / (1 + np.exp(-logits)), y, np.ones(len(y)))
    assert found.slope == pytest.approx(1.7, abs=0.08)
    assert found.offset == pytest.approx(-0.8, abs=0.08)


@settings(max_examples=30, deadline=None)
@given(
    p=st.lists(st.floats(0, 1), min_size=4, max_size=40),
    seed=st.integers(0, 1000),
)
def test_platt_keeps_the_order_and_the_range(p, seed):
    y = np.random.default_rng(seed).random(len(p)) < 0.5
    q = Platt.fit(p, y, np.ones(len(p))).transform(np.sort(p))
    assert np.all(np.diff(q) >= 0)
    assert np.all((q >= 0) & (q <= 1))


def test_a_weight_of_two_is_the_row_twice():
    p, y = np.array([0.2, 0.4, 0.7, 0.9]), np.array([0, 1, 0, 1])
    twice = Platt.fit(np.repeat(p, 2), np.repeat(y, 2), np.ones(8))
    weighted = Platt.fit(p, y, np.full(4, 2.0))
    assert weighted.slope == pytest.approx(twice.slope, rel=1e-4)
    assert weighted.offset == pytest.approx(twice.offset, abs=1e-4)


def test_separated_rows_are_not_certain_and_less_so_with_less_evidence():
    p, y = np.array([0.1] * 4 + [0.9] * 4), np.array([0] * 4 + [1] * 4)
    much, little = (Platt.fit(p, y, np.full(8, weight)).transform([0.9])[0] for weight in (25.0, 1.0))
    assert little == pytest.approx(5 / 6, abs=0.01)  # (n + 1) / (n + 2) of 4 rows
    assert little < much < 1


def test_one_class_alone_calibrates_nothing():
    assert Platt.fit([0.2, 0.3], [1, 1], [1, 1]).is_identity
    assert np.array_equal(Platt().transform([0.25]), np.float32([0.25]))


def test_a_scaling_that_turns_the_order_is_refused():
    with pytest.raises(UsageError, match="positive slope"):
        Platt(-1.0, 0.0)
