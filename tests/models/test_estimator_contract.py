"""What every registered estimator promises, swept over all of them."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from model_tables import QUICK, blobs

from earmark.errors import RunError, SchemaError, UsageError
from earmark.models.registry import ESTIMATORS, estimator_class, load_estimator, make

ALL = sorted(ESTIMATORS)


def quick(name: str, **params):
    return make(name, **(QUICK[name] | params))


def fitted(name: str):
    X, y = blobs()
    return quick(name).fit(X[:45], y[:45], validation=(X[45:], y[45:]))


def test_every_estimator_is_swept():
    assert set(QUICK) == set(ESTIMATORS)


@pytest.mark.parametrize("name", ALL)
def test_probabilities_are_float32_rows_that_sum_to_one(name, table):
    X, y = table
    p = fitted(name).predict_proba(X)
    assert p.shape == (60, 3) and p.dtype == np.float32
    assert np.isfinite(p).all() and (p >= 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    assert np.mean(p.argmax(axis=1) == y) > 0.6


@pytest.mark.parametrize("name", ALL)
def test_save_and_load_give_the_same_bits(name, table, tmp_path):
    model = fitted(name)
    model.save(tmp_path)
    loaded = load_estimator(tmp_path)
    assert type(loaded) is estimator_class(name)
    np.testing.assert_array_equal(loaded.predict_proba(table[0]), model.predict_proba(table[0]))
    assert loaded.get_params() == json.loads(json.dumps(model.get_params()), object_hook=dict) or (
        json.dumps(loaded.get_params()) == json.dumps(model.get_params())
    )
    assert loaded.history == model.history and loaded.length == model.length


@pytest.mark.parametrize("name", ALL)
def test_saving_twice_writes_the_same_files(name, tmp_path):
    for folder in ("a", "b"):
        fitted(name).save(tmp_path / folder)
    first, second = (
        {
            path.relative_to(tmp_path / f): path.read_bytes()
            for path in (tmp_path / f).rglob("*")
            if path.is_file()
        }
        for f in ("a", "b")
    )
    assert first == second


@pytest.mark.parametrize("name", ALL)
def test_no_file_is_a_pickle(name, tmp_path):
    fitted(name).save(tmp_path)
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} <= {".json", ".ubj", ".safetensors", ".npz"}
    assert all(not path.read_bytes().startswith(b"\x80") for path in files)
    for path in files:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                assert all(arrays[key].dtype != object for key in arrays)


REPEAT = """
import hashlib, sys
from model_tables import QUICK, blobs
from earmark.models.registry import ESTIMATORS, load_estimator, make
X, y = blobs()
for name in sorted(ESTIMATORS):
    loaded = load_estimator(f"{sys.argv[1]}/{name}").predict_proba(X)
    fitted = make(name, **QUICK[name]).fit(X[:45], y[:45], validation=(X[45:], y[45:])).predict_proba(X)
    print(*(hashlib.sha256(p.tobytes()).hexdigest() for p in (loaded, fitted)))
"""


def test_fits_and_loaded_models_repeat_bit_for_bit_in_another_process(table, tmp_path):
    here = []
    for name in ALL:
        model = fitted(name)
        model.save(tmp_path / name)
        here.append([hashlib.sha256(model.predict_proba(table[0]).tobytes()).hexdigest()] * 2)
    command = [sys.executable, "-c", REPEAT, str(tmp_path)]
    ran = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    assert [line.split() for line in ran.stdout.splitlines()] == here


@pytest.mark.parametrize("name", ALL)
def test_one_class_has_probability_one(name, table, tmp_path):
    X, y = table
    model = quick(name).fit(X, np.full_like(y, 1), n_classes=3)
    model.save(tmp_path)
    for each in (model, load_estimator(tmp_path)):
        np.testing.assert_array_equal(each.predict_proba(X[:4]), np.tile(np.float32([0, 1, 0]), (4, 1)))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_missing_class_keeps_its_column_at_zero(name, missing, table, tmp_path):
    X, y = table
    rows = y != missing
    # The validation rows hold the missing class too; they must neither fail nor count.
    model = quick(name).fit(X[rows], y[rows], n_classes=3, validation=(X[:12], y[:12]))
    model.save(tmp_path)
    p = load_estimator(tmp_path).predict_proba(X)
    assert p.shape == (60, 3) and (p[:, missing] == 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-5)
    assert np.mean(p[rows].argmax(axis=1) == y[rows]) > 0.6


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_few_rows_are_enough_to_fit(name, n):
    X, y = blobs(n)
    p = quick(name).fit(X, y, n_classes=3).predict_proba(X)
    assert p.shape == (n, 3) and np.isfinite(p).all()


@pytest.mark.parametrize("name", ALL)
def test_missing_values_are_taken_or_refused_by_name(name, table):
    X, y = table
    X = X.copy()
    X[3, 2] = np.nan
    if estimator_class(name).accepts_nan:
        assert np.isfinite(quick(name).fit(X, y).predict_proba(X)).all()
    else:
        with pytest.raises(UsageError, match=r"columns \[2\].*Impute"):
            quick(name).fit(X, y)


@pytest.mark.parametrize("name", ALL)
def test_infinities_are_refused(name, table):
    X, y = table
    X = X.copy()
    X[3, 2] = np.inf
    with pytest.raises(UsageError, match="infinite"):
        quick(name).fit(X, y)


@pytest.mark.parametrize("name", ALL)
def test_another_number_of_columns_is_refused(name, table):
    with pytest.raises(SchemaError, match="Got 5 columns, expected 6"):
        fitted(name).predict_proba(table[0][:, :5])


@pytest.mark.parametrize("name", ALL)
def test_no_rows_give_no_probabilities(name):
    assert fitted(name).predict_proba(np.empty((0, 6), np.float32)).shape == (0, 3)


@pytest.mark.parametrize("name", ALL)
def test_a_row_alone_is_predicted_as_in_a_batch(name, table):
    model, X = fitted(name), table[0]
    alone = np.concatenate([model.predict_proba(X[i : i + 1]) for i in range(10)])
    np.testing.assert_allclose(alone, model.predict_proba(X)[:10], rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize(
    ("y", "weight", "match"),
    [
        ([0, 1], None, "a label per row"),
        ([0.5, 1, 2], None, "class indices"),
        ([0, 1, 7], None, "expected 0..2"),
        ([0, -1, 2], None, "expected 0..2"),
        ([0, 1, 2], [1, 1], "one finite number"),
        ([0, 1, 2], [1, 1, -1], "one finite number"),
        ([0, 1, 2], [0, 0, 0], "not all 0"),
    ],
)
def test_bad_labels_and_weights_are_refused(name, y, weight, match):
    weight = None if weight is None else np.float32(weight)
    with pytest.raises(UsageError, match=match):
        quick(name).fit(blobs(3)[0], np.array(y), n_classes=3, sample_weight=weight)


@pytest.mark.parametrize("name", ALL)
def test_no_rows_cannot_be_fitted(name):
    with pytest.raises(UsageError, match="at least one row"):
        quick(name).fit(np.empty((0, 4), np.float32), np.empty(0, int), n_classes=3)


@pytest.mark.parametrize("name", ALL)
def test_an_unfitted_estimator_says_so(name, tmp_path):
    with pytest.raises(UsageError, match="not fitted"):
        quick(name).predict_proba(blobs()[0])
    with pytest.raises(UsageError, match="not fitted"):
        quick(name).save(tmp_path)


@pytest.mark.parametrize("name", ALL)
def test_heavy_rows_pull_the_model(name, table):
    X, y = table
    plain = quick(name).fit(X, y).predict_proba(X)
    heavy = quick(name).fit(X, y, sample_weight=np.where(y == 0, 20, 1).astype(np.float32)).predict_proba(X)
    assert heavy[:, 0].mean() > plain[:, 0].mean()


@pytest.mark.parametrize("name", ALL)
def test_parameters_round_trip(name):
    model = quick(name)
    assert json.dumps(make(name, **model.get_params()).get_params()) == json.dumps(model.get_params())
    parameter = {
        "ensemble": "xgboost__max_depth",
        "logistic": "max_iterations",
        "ordinal": "max_iterations",
    }.get(name, "seed")
    assert model.set_params(**{parameter: 7}).get_params()[parameter] == 7
    with pytest.raises(UsageError, match="no_such"):
        model.set_params(no_such=1)


@pytest.mark.parametrize("name", ALL)
def test_defaults_satisfy_their_own_constraints(name):
    for spec in estimator_class(name).parameters.values():
        assert spec.constraint.accepts(spec.default) and spec.meaning


@pytest.mark.parametrize(
    ("name", "parameter", "value"),
    [
        pytest.param(name, parameter, value, id=f"{name}-{parameter}-{value!r}")
        for name in ALL
        for parameter, spec in estimator_class(name).parameters.items()
        for value in spec.constraint.invalid_examples()
    ],
)
def test_each_invalid_value_is_refused_with_its_name(name, parameter, value):
    with pytest.raises(UsageError, match=rf"`{parameter}` is .*expected"):
        make(name, **{parameter: value})


@pytest.mark.parametrize("name", ALL)
def test_a_damaged_file_is_a_run_error(name, tmp_path):
    model = fitted(name)
    model.save(tmp_path)
    for path in sorted(p for p in tmp_path.rglob("*") if p.is_file()):
        whole = path.read_bytes()
        for damaged in (b"", whole[: len(whole) // 2]):
            path.write_bytes(damaged)
            with pytest.raises(RunError, match="Train again"):
                load_estimator(tmp_path)
        path.unlink()
        with pytest.raises(RunError, match="Train again"):
            load_estimator(tmp_path)
        path.write_bytes(whole)
    load_estimator(tmp_path)


@pytest.mark.parametrize("name", ALL)
def test_length_is_what_a_copy_runs(name, table):
    model = fitted(name)
    if estimator_class(name).length_parameter is None:
        assert model.length is None and model.with_length(3).get_params() == model.get_params()
        return
    assert 1 <= model.length <= 12
    assert model.with_length(3).fit(*table).length == 3
    assert model.with_length(None).get_params() == model.get_params()


@pytest.mark.parametrize("name", [n for n in ALL if estimator_class(n).stops_early])
def test_epochs_are_reported_as_they_happen(name, table):
    X, y = table
    seen = []
    quick(name).fit(X, y, validation=(X, y), on_epoch=seen.append)
    assert len(seen) >= 12 and all("validation_loss" in entry for entry in seen)
