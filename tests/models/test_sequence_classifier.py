"""A classifier carries scaling, columns and missing values with its model."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sequence_settings import PLAIN, SIZES
from window_tables import book_windows, series, windows

from earmark.data.windows import Windows, make_windows
from earmark.errors import InputError, MissingExtraError, RunError, SchemaError, UsageError
from earmark.models.sequence import registry
from earmark.models.sequence.classifier import Scaling, SequenceClassifier


def classifier(name="logistic", **scaling):
    return SequenceClassifier.make(name, scaling=Scaling(**scaling), schema="market/1:abc", **SIZES[name])


@pytest.mark.parametrize("form", ["pooled", "per_symbol", "rolling", "none"])
def test_every_form_comes_back_from_disk(form, tmp_path):
    found = windows(n=130)
    found = found.take(found.ends % 130 > 40)
    model = classifier(form=form).fit(found)
    said = model.predict(found)
    model.save(tmp_path)
    loaded = SequenceClassifier.load(tmp_path)
    np.testing.assert_array_equal(loaded.predict(found).probabilities, said.probabilities)
    assert (loaded.schema, loaded.classes) == ("market/1:abc", ("down", "neutral", "up"))
    assert loaded.columns == found.table.columns


def test_windows_with_missing_values_are_left_out_or_filled():
    found = windows(n=50)
    found.table.X[20, 1] = np.nan
    dropping = classifier().fit(found)
    assert dropping.n_dropped == found.length
    usable = dropping.usable(found)
    assert (~usable).sum() == found.length
    assert len(dropping.predict(found.take(usable))) == usable.sum()
    with pytest.raises(InputError, match="`volume` in 1 rows"):
        dropping.predict(found)
    for missing in ("zero", "median"):
        filling = classifier(missing=missing).fit(found)
        assert filling.n_dropped == 0
        assert np.isfinite(filling.predict(found).probabilities).all()


def test_a_column_without_any_value_is_named():
    found = windows(n=50)
    found.table.X[:, 2] = np.nan
    with pytest.raises(UsageError, match="`rsi_14`"):
        classifier().fit(found)
    assert len(classifier(missing="median").fit(found).predict(found)) == len(found)


def test_sample_weights_follow_the_windows_that_are_left():
    found = windows(n=50)
    found.table.X[20, 1] = np.nan
    weight = np.where(found.y == 2, 0, 1).astype(np.float32)
    said = classifier().fit(found, sample_weight=weight).predict(found.take(np.arange(5)))
    assert said.probabilities[:, 2].max() < 0.05


def test_an_unfitted_classifier_says_so(tmp_path):
    with pytest.raises(UsageError, match="not fitted"):
        classifier().predict(windows(n=20))
    with pytest.raises(UsageError, match="nothing to save"):
        classifier().save(tmp_path)


def test_wrong_columns_and_unknown_symbols_are_named():
    found = windows(n=50)
    model = classifier(form="per_symbol").fit(found)
    columns = ("future_direction_60s", *found.table.columns[1:])
    with pytest.raises(SchemaError, match="future_direction_60s"):
        model.predict(Windows(replace(found.table, columns=columns), found.ends, found.length))
    other = replace(found.table, symbols=("AUSDT", "4USDT"))
    with pytest.raises(SchemaError, match="4USDT"):
        model.predict(Windows(other, found.ends, found.length))


def test_rolling_starts_without_a_value_and_fills_nothing():
    found = windows(n=130)
    model = classifier(form="rolling", rolling_window=100).fit(found)
    first = [np.flatnonzero(found.symbol == symbol)[:19] for symbol in (0, 1)]
    assert not model.usable(found)[np.concatenate(first)].any()
    assert model.n_dropped == 2 * 19
    with pytest.raises(UsageError, match="expected 'drop'"):
        Scaling(form="rolling", missing="zero")
    with pytest.raises(UsageError, match="rolling_window"):
        Scaling(rolling_window=99)


def test_a_mapped_table_is_read_as_it_is_needed(tmp_path):
    table = series(n=60)
    np.save(tmp_path / "X.npy", table.X)
    mapped = replace(table, X=np.load(tmp_path / "X.npy", mmap_mode="r"))
    plain, lazy = make_windows(table, 8), make_windows(mapped, 8)
    one, other = classifier().fit(plain).predict(plain), classifier().fit(lazy).predict(lazy)
    np.testing.assert_array_equal(one.probabilities, other.probabilities)


def test_book_levels_stay_raw():
    pytest.importorskip("torch")
    model = SequenceClassifier.make("tlob", **(SIZES["tlob"] | PLAIN | {"epochs": 1}))
    found = book_windows(n=30)
    model.fit(found)
    assert (model.form, model.scaler) == ("none", None)
    np.testing.assert_array_equal(model.scaled(found).inputs(), found.inputs())
    with pytest.raises(SchemaError, match="lack 16 of 16 columns of book levels"):
        SequenceClassifier.make("tlob", levels=4).fit(windows(n=30))


def test_a_folder_without_a_model_and_life_without_torch(tmp_path, monkeypatch):
    with pytest.raises(RunError, match="cannot be read"):
        SequenceClassifier.load(tmp_path)
    monkeypatch.setattr(registry.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"earmark\[torch\]"):
        registry.make("mpd")
    assert registry.make("logistic").name == "logistic"
