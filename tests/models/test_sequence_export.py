"""ONNX files answer as their models do, say what they expect, and are made smaller and timed."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from sequence_settings import PLAIN, SIZES, windows_for

from earmark.errors import MissingExtraError, UsageError
from earmark.models.sequence.classifier import SequenceClassifier

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("torch")

from earmark.models.sequence.export import export_onnx, measure_latency, quantise, run_onnx  # noqa: E402


def fitted(name, windows, **params):
    trainer = PLAIN | {"epochs": 2} if "epochs" in SequenceClassifier.make(name).estimator.parameters else {}
    return SequenceClassifier.make(name, schema="market/1:abc", **(SIZES[name] | trainer | params)).fit(
        windows
    )


@pytest.mark.parametrize("name", ["logistic", "hybrid_cnn_lstm", "mpd", "tlob", "deeplob"])
def test_files_answer_as_their_models(name, tmp_path):
    windows = windows_for(name, n=30)
    model = fitted(name, windows.take(windows.y != 0))
    exported = export_onnx(model, tmp_path / "model.onnx", windows)
    assert exported.difference <= 1e-4
    loaded = onnx.load(exported.path)
    assert loaded.opset_import[0].version == 14
    (given,), (answer,) = loaded.graph.input, loaded.graph.output
    assert (given.name, answer.name) == ("input", "output")
    shape = given.type.tensor_type.shape.dim
    assert shape[0].dim_param
    assert [dim.dim_value for dim in shape[1:]] == [windows.length, len(windows.table.columns)]
    fields = {entry.key: json.loads(entry.value) for entry in loaded.metadata_props}
    assert fields["schema"] == "market/1:abc"
    assert tuple(fields["columns"]) == model.columns
    assert fields["output"] == ["down", "neutral", "up", "confidence", "expected_return"]
    assert ("scaler" in fields) == (not model.estimator.reads_levels)
    assert (run_onnx(exported.path, model.scaled(windows)).probabilities[:, 0] == 0).all()


def test_eight_bit_weights_are_smaller_and_close(tmp_path):
    windows = windows_for("mpd", n=30)
    model = fitted("mpd", windows)
    plain = export_onnx(model, tmp_path / "model.onnx", windows)
    small = quantise(plain.path, tmp_path / "int8.onnx")
    assert small.stat().st_size < plain.n_bytes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["int8.onnx", "model.onnx"]
    said = run_onnx(small, model.scaled(windows)).probabilities
    np.testing.assert_allclose(said, model.predict(windows).probabilities, atol=0.1)
    latency = measure_latency(small, n_warm_up=2, n_runs=20)
    assert 0 < latency.p50_ms <= latency.p95_ms <= latency.p99_ms
    assert latency.n_runs == 20


def test_models_without_a_form_and_life_without_onnx(tmp_path, monkeypatch):
    windows = windows_for("gbm", n=30)
    with pytest.raises(UsageError, match="no ONNX form"):
        export_onnx(fitted("gbm", windows, n_trees=2), tmp_path / "model.onnx", windows)
    with pytest.raises(UsageError, match="last row"):
        export_onnx(fitted("logistic", windows, summary="statistics"), tmp_path / "model.onnx", windows)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"earmark\[onnx\]"):
        export_onnx(fitted("logistic", windows), tmp_path / "model.onnx", windows)
    assert not list(tmp_path.iterdir())
