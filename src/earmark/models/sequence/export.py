"""ONNX: export, parity with the model, 8-bit weights, latency.

A model file has one input, ``input`` (n, window, n_columns), scaled as the metadata says, with n free; and one output,
``output`` (n, n_classes + 2): probabilities, confidence, expected return. The metadata hold schema, columns, classes,
window and scaler, so a file can be used without its run.

Opset 14, traced: the exporter that follows ``torch.export`` has no LSTM (torch 2.13).
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.data.windows import Windows
from earmark.errors import UsageError
from earmark.models.estimator import Floats
from earmark.models.onnx_files import PARITY, Exported, require, session, traced
from earmark.models.sequence.base import SequencePrediction, in_batches

if TYPE_CHECKING:
    from earmark.models.sequence.classifier import SequenceClassifier
    from earmark.models.sequence.linear import WindowLogistic
    from earmark.models.sequence.networks.heads import SequenceNetwork

__all__ = [
    "OPSET",
    "Exported",
    "Latency",
    "export_onnx",
    "logistic_to_onnx",
    "measure_latency",
    "network_to_onnx",
    "quantise",
    "run_onnx",
]

OPSET = 14
PARITY_WINDOWS = 256
_QUANTISED = ["MatMul", "Gemm", "LSTM"]
"""Kinds of nodes whose weights go to 8 bits; onnxruntime has no 8-bit convolution of such weights on a CPU."""


@dataclass(frozen=True)
class Latency:
    """Time of one window, in ms."""

    mean_ms: float
    std_ms: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    n_runs: int


def export_onnx(classifier: SequenceClassifier, path: str | Path, sample: Windows) -> Exported:
    """Write a fitted classifier's model, checked: by ONNX's checker, and against the classifier on `sample`.

    Parameters
    ----------
    classifier : SequenceClassifier
    path : str or Path
    sample : Windows
        Raw windows that the classifier can predict; the first 256 are compared.

    Raises
    ------
    UsageError
        If the model has no ONNX form, or the file's output differs by more than 1e-4; then nothing is written.
    MissingExtraError
        Without the packages of the extra ``onnx``.
    """
    onnx = require("onnx")
    model = onnx.load_from_string(classifier.estimator.onnx_bytes())
    onnx.helper.set_model_props(model, _metadata(classifier))
    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    chosen = sample.take(np.arange(min(PARITY_WINDOWS, len(sample))))
    if not len(chosen):
        raise UsageError(
            "The sample has no windows; expected some, to compare the ONNX model with the model."
        )
    difference = _difference(run_onnx(data, classifier.scaled(chosen)), classifier.predict(chosen))
    if not difference <= PARITY:
        raise UsageError(
            f"The ONNX model differs by {difference:.2g} from the model, expected at most {PARITY:g}. Export another "
            "model; nothing was written."
        )
    write_bytes_atomic(path, data)
    return Exported(Path(path), OPSET, difference, len(data))


def network_to_onnx(network: SequenceNetwork) -> bytes:
    """A network in evaluation mode as ONNX."""
    import torch

    example = torch.zeros(1, network.window, network.n_columns)
    free = {"input": {0: "n"}, "output": {0: "n"}}
    return traced(network, example, names=("input", "output"), free=free, opset=OPSET)


def logistic_to_onnx(model: WindowLogistic) -> bytes:
    """The regression of the last row as ONNX: gather, product, softmax."""
    onnx = require("onnx")
    helper, constant = onnx.helper, onnx.numpy_helper.from_array
    weights, intercepts = model.coefficients()
    known = {
        "last": np.array(-1, np.int64),
        "weights": weights,
        "intercepts": intercepts,
        "movement": model.class_movement[:, None],
    }
    nodes = [
        helper.make_node("Gather", ["input", "last"], ["row"], axis=1),
        helper.make_node("Gemm", ["row", "weights", "intercepts"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ReduceMax", ["probabilities"], ["confidence"], axes=[1], keepdims=1),
        helper.make_node("MatMul", ["probabilities", "movement"], ["return"]),
        helper.make_node("Concat", ["probabilities", "confidence", "return"], ["output"], axis=1),
    ]
    shapes = ["n", model.window, len(model.columns)], ["n", model.n_classes + 2]
    floats = onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "logistic",
        [helper.make_tensor_value_info("input", floats, shapes[0])],
        [helper.make_tensor_value_info("output", floats, shapes[1])],
        [constant(value, name) for name, value in known.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=8)
    return bytes(made.SerializeToString())


def run_onnx(model: bytes | str | Path, windows: Windows) -> SequencePrediction:
    """Answers of an ONNX model for windows that are scaled as it expects."""
    answering = session(model)
    parts = in_batches(
        len(windows), 256, lambda rows: answering.run(None, {"input": windows.inputs(rows)})[0]
    )
    output = np.concatenate(list(parts))
    return SequencePrediction(output[:, :-2], output[:, -2], output[:, -1])


def quantise(path: str | Path, target: str | Path) -> Path:
    """Write `path` again with dense and LSTM weights in 8 bits; activations are quantised as they come."""
    require("onnxruntime")
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    target = Path(target)
    prepared, partial = target.with_suffix(".prepared"), target.with_suffix(".partial")
    try:
        quant_pre_process(path, prepared, skip_symbolic_shape=True)
        quantize_dynamic(prepared, partial, weight_type=QuantType.QInt8, op_types_to_quantize=_QUANTISED)
        partial.replace(target)
    finally:
        prepared.unlink(missing_ok=True)
        partial.unlink(missing_ok=True)
    return target


def measure_latency(
    model: str | Path, *, n_warm_up: int = 100, n_runs: int = 1000, n_threads: int = 1
) -> Latency:
    """Time single windows of zeros through an ONNX model; on a busy machine the numbers mean little."""
    answering = session(model, n_threads)
    shape = [1, *answering.get_inputs()[0].shape[1:]]
    feed = {"input": np.zeros(shape, np.float32)}
    taken = np.empty(n_warm_up + n_runs)
    for run in range(len(taken)):
        start = time.perf_counter()
        answering.run(None, feed)
        taken[run] = time.perf_counter() - start
    ms = 1e3 * taken[n_warm_up:]
    p50, p95, p99 = np.percentile(ms, [50, 95, 99])
    return Latency(float(ms.mean()), float(ms.std()), float(p50), float(p95), float(p99), n_runs)


def _metadata(classifier: SequenceClassifier) -> dict[str, str]:
    scaler = classifier.scaler
    fields: dict[str, Any] = {
        "model": classifier.estimator.name,
        "schema": classifier.schema,
        "columns": classifier.columns,
        "classes": classifier.classes,
        "window": classifier.estimator.window,
        "output": [*classifier.classes, "confidence", "expected_return"],
        "scaling": classifier.form,
        "missing": classifier.scaling.missing,
    }
    if scaler is not None:
        fields["scaler"] = {
            "symbols": scaler.symbols,
            "center": scaler.center.tolist(),
            "scale": scaler.scale.tolist(),
            "fill": scaler.fill.tolist() if np.isfinite(scaler.fill).all() else None,
        }
    return {name: json.dumps(value) for name, value in fields.items()}


def _difference(one: SequencePrediction, other: SequencePrediction) -> float:
    def largest(a: Floats, b: Floats) -> float:
        return float(np.abs(a - b).max())

    return max(
        largest(one.probabilities, other.probabilities),
        largest(one.confidence, other.confidence),
        largest(one.expected_return, other.expected_return),
    )
