"""Preprocessing and the column schema around an estimator."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from model_tables import QUICK, blobs

from earmark.errors import InputError, RunError, SchemaError, UsageError
from earmark.models.classifier import Classifier
from earmark.models.preprocess import PARAMETERS, Preprocess, anova_f
from earmark.models.registry import ESTIMATORS

COLUMNS = ("zones.a", "zones.b", "zones.c", "zones.d", "zones.e", "zones.f")
CLASSES = ("YELLOW", "GREEN", "PURPLE")


def classifier(name: str = "logistic", **preprocess) -> Classifier:
    return Classifier.make(name, classes=CLASSES, preprocess=preprocess, **QUICK[name])


@pytest.mark.parametrize("name", sorted(ESTIMATORS))
def test_missing_values_at_fit_and_at_prediction(name, table, tmp_path):
    X, y = table
    X = X.copy()
    X[::7, 1] = np.nan
    model = classifier(name).fit(X, y, COLUMNS)
    X[:, 4] = np.nan  # a column that was complete in training
    p = model.predict_proba(X, COLUMNS)
    assert np.isfinite(p).all()
    model.save(tmp_path)
    np.testing.assert_array_equal(Classifier.load(tmp_path).predict_proba(X, COLUMNS), p)


def test_columns_are_checked_by_name_and_order(table):
    X, y = table
    model = classifier().fit(X, y, COLUMNS)
    with pytest.raises(SchemaError, match=r"2 in another order \(zones.b, zones.a\)"):
        model.predict_proba(X, ("zones.b", "zones.a", *COLUMNS[2:]))
    with pytest.raises(SchemaError, match=r"1 missing \(zones.f\)"):
        model.predict_proba(X[:, :5], COLUMNS[:5])
    with pytest.raises(SchemaError, match=r"1 missing \(zones.f\); 1 unknown \(other.f\)"):
        model.predict_proba(X, (*COLUMNS[:5], "other.f"))
    with pytest.raises(SchemaError, match=r"expected \(rows, 6\)"):
        model.predict_proba(X[:, :5], COLUMNS)


def test_align_selects_by_name(table):
    X, y = table
    model = classifier().fit(X, y, COLUMNS)
    shuffled = ["extra.g", *reversed(COLUMNS)]
    wide = np.column_stack([np.full(60, 9, np.float32), X[:, ::-1]])
    index = model.align(shuffled)
    np.testing.assert_array_equal(
        model.predict_proba(wide[:, index], model.columns), model.predict_proba(X, COLUMNS)
    )
    with pytest.raises(SchemaError, match=r"missing \(zones.a\)"):
        model.align(COLUMNS[1:])
    with pytest.raises(SchemaError, match=r"named twice \(zones.a\)"):
        model.align((*COLUMNS, "zones.a"))


def test_a_column_named_twice_cannot_be_trained_on(table):
    with pytest.raises(SchemaError, match="named twice: zones.a"):
        classifier().fit(*table, (*COLUMNS[:5], "zones.a"))


def test_constant_columns_are_dropped_with_a_warning(table):
    X, y = table
    X = X.copy()
    X[:, 1], X[:, 5] = 3.25, np.nan
    model = classifier().fit(X, y, COLUMNS)
    assert model.preprocess.kept == ("zones.a", "zones.c", "zones.d", "zones.e")
    assert model.warnings == [
        "1 of 6 columns are constant on the training rows and were dropped: zones.b",
        "1 of 6 columns are missing in every row on the training rows and were dropped: zones.f",
    ]
    X[:, 1] = np.nan
    assert np.isfinite(model.predict_proba(X, COLUMNS)).all()


def test_nothing_but_constants_is_an_error(table):
    with pytest.raises(InputError, match="None of the 6 columns varies"):
        classifier().fit(np.ones_like(table[0]), table[1], COLUMNS)


def test_infinities_are_named(table):
    X, y = table
    X = X.copy()
    X[0, 3] = -np.inf
    with pytest.raises(InputError, match="zones.d"):
        classifier().fit(X, y, COLUMNS)


def test_standardised_columns_have_mean_zero_and_deviation_one(table):
    X, y = table
    Z = Preprocess().fit(X, COLUMNS, y).transform(X)
    np.testing.assert_allclose(Z.mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(Z.std(axis=0), 1, atol=1e-5)
    np.testing.assert_array_equal(Preprocess(standardise=False).fit(X, COLUMNS, y).transform(X), X)


def test_the_median_fills_gaps(table):
    X, y = table
    X = X.copy()
    X[:10, 0] = np.nan
    filled = Preprocess(standardise=False).fit(X, COLUMNS, y).transform(X)
    np.testing.assert_allclose(filled[:10, 0], np.nanmedian(X[:, 0]), rtol=1e-6)
    kept = Preprocess(impute=None).fit(X, COLUMNS, y).transform(X)
    assert np.isnan(kept[:10, 0]).all() and np.isfinite(kept[10:]).all()


def test_selection_keeps_the_columns_that_differ_between_classes(table):
    X, y = table
    fitted = Preprocess(top_k=2).fit(X, COLUMNS, y)
    assert fitted.kept == ("zones.a", "zones.b")
    assert fitted.dropped["zones.f"] == "not among the best k" and fitted.warnings == []
    with pytest.raises(UsageError, match="labels"):
        Preprocess(top_k=2).fit(X, COLUMNS)


def test_anova_f_agrees_with_scikit_learn(table):
    from sklearn.feature_selection import f_classif

    X, y = table
    np.testing.assert_allclose(
        anova_f(X.astype(np.float64), y), f_classif(X.astype(np.float64), y)[0], rtol=1e-9
    )


@pytest.mark.parametrize(
    ("parameter", "value"),
    [(name, value) for name, spec in PARAMETERS.items() for value in spec.constraint.invalid_examples()],
)
def test_each_invalid_preprocessing_value_is_refused(parameter, value):
    with pytest.raises(UsageError, match=f"`{parameter}` is"):
        Preprocess(**{parameter: value})


@settings(max_examples=60, deadline=None)
@given(
    X=arrays.arrays(
        np.float32,
        st.tuples(st.integers(2, 12), st.integers(1, 5)),
        elements=st.one_of(st.floats(-1e6, 1e6, width=32), st.just(float("nan"))),
    ),
    standardise=st.booleans(),
)
def test_json_round_trip_keeps_every_bit(X, standardise):
    columns = [f"c{i}" for i in range(X.shape[1])]
    try:
        fitted = Preprocess(standardise=standardise).fit(X, columns)
    except InputError:
        return  # nothing varies
    again = Preprocess.from_json(fitted.to_json())
    np.testing.assert_array_equal(again.transform(X), fitted.transform(X))
    assert np.isfinite(fitted.transform(X)).all() and again.to_json() == fitted.to_json()


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"params": {"impute": "mean"}}'])
def test_foreign_json_is_a_run_error(text):
    with pytest.raises((RunError, UsageError)):
        Preprocess.from_json(text)


@pytest.mark.parametrize("file", ["classifier.json", "preprocess.json", "estimator.json"])
def test_a_missing_file_is_a_run_error(file, table, tmp_path):
    classifier().fit(*table, COLUMNS).save(tmp_path)
    (tmp_path / file).unlink()
    with pytest.raises(RunError):
        Classifier.load(tmp_path)


def test_a_hostile_parameter_file_runs_nothing(table, tmp_path):
    classifier().fit(*table, COLUMNS).save(tmp_path)
    record = json.loads((tmp_path / "estimator.json").read_text())
    record["name"] = "os.system"
    (tmp_path / "estimator.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match="no estimator"):
        Classifier.load(tmp_path)


def test_refitting_forgets_the_first_fit():
    X, y = blobs(seed=1)
    once = classifier("xgboost").fit(X, y, COLUMNS).predict_proba(X, COLUMNS)
    twice = classifier("xgboost").fit(*blobs(30, 4, seed=5), COLUMNS[:4]).fit(X, y, COLUMNS)
    np.testing.assert_array_equal(twice.predict_proba(X, COLUMNS), once)
