"""The contract of sequence models, swept over the registry."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from sequence_settings import LEARNING, NETWORKS, make, windows_for

from earmark.data.windows import Windows
from earmark.errors import RunError, SchemaError, UsageError
from earmark.models.sequence import registry
from earmark.models.sequence.base import SequencePrediction

ALL = tuple(registry.SEQUENCE_MODELS)


def assert_same(one: SequencePrediction, other: SequencePrediction) -> None:
    np.testing.assert_array_equal(one.probabilities, other.probabilities)
    np.testing.assert_array_equal(one.confidence, other.confidence)
    np.testing.assert_array_equal(one.expected_return, other.expected_return)


def few_epochs(name: str) -> dict[str, int]:
    return {"epochs": 2} if name in NETWORKS else {}


@pytest.mark.parametrize("name", ALL)
def test_answers_are_probabilities_and_come_back_from_disk(name, tmp_path):
    pytest.importorskip("torch")
    windows = windows_for(name, n=40)
    model = make(name, **few_epochs(name)).fit(windows)
    said = model.predict(windows)
    assert said.probabilities.dtype == np.float32
    assert said.probabilities.shape == (len(windows), 3)
    np.testing.assert_allclose(said.probabilities.sum(axis=1), 1, atol=1e-5)
    assert (said.confidence >= 0).all()
    assert (said.confidence <= 1).all()
    assert np.isfinite(said.expected_return).all()
    assert model.n_parameters > 0
    model.save(tmp_path)
    assert_same(registry.load(tmp_path).predict(windows), said)
    assert not list(tmp_path.rglob("*.pt")) + list(tmp_path.rglob("*.pkl"))


@pytest.mark.parametrize("name", ALL)
def test_same_seed_same_numbers(name):
    pytest.importorskip("torch")
    windows = windows_for(name, n=40)
    first, second = (make(name, **few_epochs(name)).fit(windows) for _ in range(2))
    assert_same(first.predict(windows), second.predict(windows))
    assert first.history == second.history


@pytest.mark.parametrize("name", LEARNING)
def test_a_small_set_is_learned(name):
    pytest.importorskip("torch")
    windows = windows_for(name, n=90)
    more = {"epochs": 20} if name == "deeplob" else {}
    said = make(name, **more).fit(windows).predict(windows)
    assert (said.direction == windows.y).mean() > 0.85
    assert np.corrcoef(said.expected_return, windows.movement)[0, 1] > 0.6


@pytest.mark.parametrize("name", ALL)
def test_a_class_that_training_lacks_has_probability_zero(name):
    pytest.importorskip("torch")
    windows = windows_for(name, n=40)
    train = windows.take(windows.y != 2)
    said = make(name, **few_epochs(name)).fit(train, windows).predict(windows)
    assert (said.probabilities[:, 2] == 0).all()
    np.testing.assert_allclose(said.probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", ALL)
def test_one_class_alone_is_certain(name):
    pytest.importorskip("torch")
    windows = windows_for(name, n=40)
    said = make(name, **few_epochs(name)).fit(windows.take(windows.y == 1)).predict(windows)
    np.testing.assert_allclose(said.probabilities[:, 1], 1)


@pytest.mark.parametrize("name", ALL)
def test_another_width_is_refused_by_name(name):
    pytest.importorskip("torch")
    windows = windows_for(name, n=40)
    model = make(name, **few_epochs(name)).fit(windows)
    table = windows.table
    renamed = replace(table, columns=("strange", *table.columns[1:]))
    with pytest.raises(SchemaError, match=r"strange"):
        model.predict(Windows(renamed, windows.ends, windows.length))
    with pytest.raises(SchemaError, match=f"windows of {windows.length - 1} rows"):
        model.predict(Windows(table, windows.ends, windows.length - 1))
    narrow = replace(table, X=table.X[:, 1:], columns=table.columns[1:])
    with pytest.raises(SchemaError, match=table.columns[0]):
        model.predict(Windows(narrow, windows.ends, windows.length))


@pytest.mark.parametrize("name", ALL)
def test_no_windows(name):
    pytest.importorskip("torch")
    windows = windows_for(name, n=40)
    none = windows.take(np.zeros(len(windows), dtype=bool))
    with pytest.raises(UsageError, match="no windows"):
        make(name).fit(none)
    said = make(name, **few_epochs(name)).fit(windows).predict(none)
    assert said.probabilities.shape == (0, 3)


@pytest.mark.parametrize("name", [name for name in ALL if name not in ("majority", "last_direction")])
def test_missing_values_are_refused_and_the_column_named(name):
    pytest.importorskip("torch")
    windows = windows_for(name, n=40)
    windows.table.X[windows.ends[3], 1] = np.nan
    with pytest.raises(UsageError, match=windows.table.columns[1]):
        make(name, **few_epochs(name)).fit(windows)


@pytest.mark.parametrize("name", ALL)
def test_every_parameter_refuses_what_breaks_it(name):
    for parameter, spec in registry.model_class(name).parameters.items():
        assert spec.constraint.accepts(spec.default), parameter
        for value in spec.constraint.invalid_examples():
            with pytest.raises(UsageError, match=parameter):
                registry.make(name, **{parameter: value})


def test_a_damaged_file_is_not_parsed(tmp_path):
    windows = windows_for("logistic", n=40)
    make("logistic").fit(windows).save(tmp_path)
    (tmp_path / "rows" / "coefficients.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(RunError, match="hash differs|cannot be read"):
        registry.load(tmp_path)
    record = json.loads((tmp_path / "sequence.json").read_text())
    (tmp_path / "sequence.json").write_text(json.dumps(record | {"format": 99}))
    with pytest.raises(RunError, match="newer earmark"):
        registry.load(tmp_path)


def test_names_and_presets_are_suggested():
    with pytest.raises(UsageError, match="did you mean `hybrid_cnn_lstm`"):
        registry.make("hybrid_cnn_lsmt")
    with pytest.raises(UsageError, match="did you mean `large`"):
        registry.make("mpd", preset="larg")
    assert registry.make("mpd", preset="tiny", layers=2).params["layers"] == 2
    assert registry.canonical_name("CNN-LSTM") == "hybrid_cnn_lstm"


def test_an_early_stop_by_the_caller_keeps_the_rounds_so_far():
    from earmark.models.sequence.base import StopTraining

    def stop(entry):
        if entry["epoch"] == 4:
            raise StopTraining

    model = make("gbm").fit(windows_for("gbm"), on_epoch=stop)
    assert model.length == 5
