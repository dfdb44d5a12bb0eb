"""`MultiLabel` of logistic regressions as ONNX: columns in, log odds and calibrated probabilities out.

============================ =====================================================================================
``columns`` (batch, n)       float32, in the order of the model's columns, which the file names; NaN where unknown
``logits`` (batch, n_labels) log odds before calibration
``probabilities`` (same)     after it
============================ =====================================================================================

Per label: gather the kept columns, put medians for NaN, scale, Gemm; then Platt scaling and Sigmoid. In between it is
float64, as in the model. A file is kept only if it says what the model says, to 1e-4.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import UsageError
from earmark.models.classifier import Classifier
from earmark.models.linear import Logistic
from earmark.models.multilabel import MultiLabel
from earmark.models.onnx_files import PARITY, Exported, require, session
from earmark.models.platt import CLIP

__all__ = ["export_multilabel"]

Doubles = npt.NDArray[np.float64]
Floats = npt.NDArray[np.float32]

IR_VERSION = 8
"""Of ONNX files of opset 17."""

LARGEST_LOGIT = float(np.log1p(-CLIP) - np.log(CLIP))
N_SAMPLED, SEED = 64, 0


@dataclass(frozen=True)
class _Linear:
    """One label's model as arrays: which columns, medians, means and scales, weights (n_kept, 1), intercept."""

    kept: npt.NDArray[np.int64]
    median: Doubles
    mean: Doubles
    scale: Doubles
    weights: Doubles
    intercept: float


def export_multilabel(
    model: MultiLabel,
    path: str | Path,
    *,
    metadata: Mapping[str, Any] | None = None,
    opset: int = 17,
    batch: int | None = None,
) -> Exported:
    """Write a model as ONNX, checked against itself.

    Parameters
    ----------
    metadata : mapping, optional
        Kept in the file as JSON, beside ``labels`` and ``columns``.
    opset : int
    batch : int, optional
        Rows at once; None leaves it open.

    Raises
    ------
    UsageError
        An estimator is no logistic regression, or the file differs by more than 1e-4; nothing is written.
    MissingExtraError
        Without the packages of the extra ``onnx``.
    """
    onnx = require("onnx")
    linear = [_linear(label, each) for label, each in zip(model.labels, model.classifiers, strict=True)]
    made = _model(onnx, model, linear, opset, batch)
    facts = {"labels": list(model.labels), "columns": list(model.columns), **(metadata or {})}
    onnx.helper.set_model_props(made, {key: json.dumps(value) for key, value in facts.items()})
    onnx.checker.check_model(made, full_check=True)
    kept = made.SerializeToString()
    rows = _sample(linear, len(model.columns), batch or N_SAMPLED)
    answers: Floats = session(kept).run(["probabilities"], {"columns": rows})[0]
    own = model.calibrate(model.raw(rows, model.columns))
    difference = float(np.abs(answers - own).max())
    if not difference <= PARITY:
        raise UsageError(
            f"The ONNX file differs by {difference:.2g} from the model, expected at most {PARITY:g}. Export with "
            "another opset; nothing was written."
        )
    write_bytes_atomic(path, kept)
    return Exported(Path(path), opset, difference, len(kept))


def _linear(label: str, model: Classifier) -> _Linear:
    if not isinstance(model.estimator, Logistic):
        raise UsageError(
            f"the model of {label} is `{model.estimator.name}`, whose trees this export does not write; expected "
            "logistic regression. Train with --estimator logistic."
        )
    record = json.loads(model.preprocess.to_json())
    table = model.estimator.solution.reshape(len(record["kept"]) + 1, -1)
    if table.shape[1] != 2:
        raise UsageError(f"{label} was only ever on, or only ever off, in training. Record the other state.")
    position = {name: i for i, name in enumerate(record["columns"])}
    difference = table[:, 1] - table[:, 0]
    kept = np.array([position[name] for name in record["kept"]], dtype=np.int64)
    median, mean, scale = (np.array(record[name], dtype=np.float64) for name in ("median", "mean", "scale"))
    return _Linear(kept, median, mean, scale, difference[:-1, None], float(difference[-1]))


def _model(onnx: Any, model: MultiLabel, linear: Sequence[_Linear], opset: int, batch: int | None) -> Any:
    helper, kind = onnx.helper, onnx.TensorProto
    arrays: dict[str, npt.NDArray[Any]] = {
        "slopes": np.array([platt.slope for platt in model.calibration]),
        "offsets": np.array([platt.offset for platt in model.calibration]),
        "lowest": np.array(-LARGEST_LOGIT),
        "highest": np.array(LARGEST_LOGIT),
    }
    nodes = [helper.make_node("Cast", ["columns"], ["x"], to=kind.DOUBLE)]
    for k, one in enumerate(linear):
        arrays |= {
            f"{name}_{k}": getattr(one, name) for name in ("kept", "median", "mean", "scale", "weights")
        }
        arrays[f"intercept_{k}"] = np.array([one.intercept])
        nodes += _label_nodes(helper, k)
    nodes += [
        helper.make_node("Concat", [f"z_{k}" for k in range(len(linear))], ["z"], axis=1),
        helper.make_node("Cast", ["z"], ["logits"], to=kind.FLOAT),
        helper.make_node("Clip", ["z", "lowest", "highest"], ["inside"]),
        helper.make_node("Mul", ["inside", "slopes"], ["sloped"]),
        helper.make_node("Add", ["sloped", "offsets"], ["odds"]),
        helper.make_node("Sigmoid", ["odds"], ["p"]),
        helper.make_node("Cast", ["p"], ["probabilities"], to=kind.FLOAT),
    ]
    rows: int | str = "batch" if batch is None else batch
    graph = helper.make_graph(
        nodes,
        "multilabel",
        [helper.make_tensor_value_info("columns", kind.FLOAT, [rows, len(model.columns)])],
        [
            helper.make_tensor_value_info(name, kind.FLOAT, [rows, len(linear)])
            for name in ("logits", "probabilities")
        ],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in arrays.items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=IR_VERSION, producer_name="earmark"
    )


def _label_nodes(helper: Any, k: int) -> Iterator[Any]:
    """From all columns to the log odds of label k, (batch, 1)."""
    yield helper.make_node("Gather", ["x", f"kept_{k}"], [f"own_{k}"], axis=1)
    yield helper.make_node("IsNaN", [f"own_{k}"], [f"absent_{k}"])
    yield helper.make_node("Where", [f"absent_{k}", f"median_{k}", f"own_{k}"], [f"filled_{k}"])
    yield helper.make_node("Sub", [f"filled_{k}", f"mean_{k}"], [f"centred_{k}"])
    yield helper.make_node("Div", [f"centred_{k}", f"scale_{k}"], [f"scaled_{k}"])
    yield helper.make_node("Gemm", [f"scaled_{k}", f"weights_{k}", f"intercept_{k}"], [f"z_{k}"])


def _sample(linear: Sequence[_Linear], n_columns: int, n_rows: int) -> Floats:
    """Rows to compare on, spread as the training rows were, each with an absent value."""
    rng = np.random.default_rng(SEED)
    rows = rng.normal(size=(n_rows, n_columns))
    for one in linear:
        rows[:, one.kept] = one.mean + one.scale * rng.normal(size=(n_rows, len(one.kept)))
    rows[np.arange(n_rows), rng.integers(n_columns, size=n_rows)] = np.nan
    return rows.astype(np.float32)
