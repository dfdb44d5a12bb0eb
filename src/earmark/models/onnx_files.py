"""ONNX files: a torch module traced to one, and a session that answers by one.

Traced by torch's exporter of graphs: the newer one, which follows ``torch.export``, starts at opset 18 (torch 2.13).
Tracing is sound for networks whose course does not depend on their input.
"""

from __future__ import annotations

import importlib
import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import MissingExtraError

if TYPE_CHECKING:
    import torch

__all__ = ["PARITY", "Exported", "require", "session", "traced"]

Axes = Mapping[str, Mapping[int, str]]

PARITY = 1e-4
"""Largest difference to the model's own output with which a file is kept."""


@dataclass(frozen=True)
class Exported:
    """An ONNX file, and its largest difference to the model on the sample."""

    path: Path
    opset: int
    difference: float
    n_bytes: int


def traced(
    module: torch.nn.Module,
    example: torch.Tensor,
    *,
    names: tuple[str, str],
    free: Axes | None,
    opset: int,
) -> bytes:
    """A module in evaluation mode as ONNX.

    Parameters
    ----------
    module : torch.nn.Module
        Of one input and one output.
    example : Tensor
        An input to trace with.
    names : (str, str)
        Of input and output.
    free : mapping of name to {axis: name of the axis}, or None
        Axes whose length the file leaves open; None fixes all as in the example.
    opset : int

    Raises
    ------
    MissingExtraError
        Without the package onnx.
    """
    import torch

    require("onnx")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # Deprecated in favour of the other exporter, see the module; and notes on tracing.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module,
            (example,),
            buffer,  # type: ignore[arg-type]
            opset_version=opset,
            input_names=[names[0]],
            output_names=[names[1]],
            dynamic_axes=free,
            dynamo=False,
        )
    return buffer.getvalue()


def session(model: bytes | str | Path, n_threads: int = 1) -> Any:
    """A session of onnxruntime on the CPU; raises MissingExtraError without it."""
    try:
        import onnxruntime as runtime  # by name, so that the keys of the cache see its version
    except ModuleNotFoundError as error:
        raise MissingExtraError("onnxruntime", "edge", "Running an ONNX model") from error
    options = runtime.SessionOptions()
    options.intra_op_num_threads = n_threads
    source = model if isinstance(model, bytes) else str(model)
    providers: Sequence[str] = ["CPUExecutionProvider"]
    return runtime.InferenceSession(source, options, providers=providers)


def require(package: str) -> Any:
    """A package of the extra ``onnx``; raises MissingExtraError without it."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        raise MissingExtraError(package, "onnx", "Exporting or running an ONNX model") from error
