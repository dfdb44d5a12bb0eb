"""A dense network (torch), kept as ``model.safetensors``.

Input batch-norm; then per layer dense, ReLU, batch-norm, dropout 0.3; softmax over the classes. Layers
512-256-128. Adam 1e-3, batches of 32, at most 200 epochs; training stops after 20 epochs without a better
validation loss and keeps the weights of the best; the rate is halved after 10 such epochs, down to 1e-6.
Without validation rows it runs all epochs and the rate follows the training loss.

Fitting needs the extra ``torch``. Prediction does not import torch: it is a few matrix products in float64,
so that one row gives the same float32 probabilities alone and in a batch.

References: Ioffe and Szegedy, "Batch Normalization", ICML 2015; Srivastava et al., "Dropout", JMLR 15, 2014.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from earmark.errors import MissingExtraError
from earmark.models.constraints import Interval, Parameter
from earmark.models.estimator import FitRequest, Floats, FoldEstimator

__all__ = ["NeuralNetwork"]

MODEL_FILE = "model.safetensors"
NORM_EPSILON = 1e-5
"""Added to variances in batch-norm."""

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Widths:
    """A list of layer widths."""

    def accepts(self, value: Any) -> bool:
        """Whether it is a non-empty list of positive integers."""
        width = Interval(int, 1, 65_536)
        return (
            isinstance(value, (list, tuple)) and len(value) > 0 and all(width.accepts(item) for item in value)
        )

    def describe(self) -> str:
        """The words of the error message."""
        return "a list of integers >= 1, one per layer"

    def invalid_examples(self) -> list[Any]:
        """Empty, zero, fractions, text, and no list."""
        return [(), (0,), (64, 2.5), ("64",), 64, None]


class NeuralNetwork(FoldEstimator):
    """Dense network with batch-norm and dropout; a fit repeats bit for bit on one machine's CPU."""

    name: ClassVar[str] = "neural_network"
    extras: ClassVar[tuple[tuple[str, str], ...]] = (("torch", "torch"), ("safetensors", "torch"))
    files: ClassVar[tuple[str, ...]] = (MODEL_FILE,)
    distributions: ClassVar[tuple[str, ...]] = ("torch",)
    stops_early: ClassVar[bool] = True
    continues: ClassVar[bool] = True
    length_parameter: ClassVar[str | None] = "epochs"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "layers": Parameter((512, 256, 128), Widths(), "units of each dense layer"),
        "dropout": Parameter(
            0.3, Interval(float, 0, 1, open_high=True), "share of units silenced in training"
        ),
        "learning_rate": Parameter(1e-3, Interval(float, 0, open_low=True), "Adam's first step size"),
        "weight_decay": Parameter(
            0.0, Interval(float, 0), "decoupled shrinkage of dense weights per step, times the rate"
        ),
        "batch_size": Parameter(32, Interval(int, 2), "rows per step"),
        "epochs": Parameter(200, Interval(int, 1), "epochs at most"),
        "early_stopping_epochs": Parameter(
            20, Interval(int, 1), "epochs without improvement before stopping"
        ),
        "halving_epochs": Parameter(
            10, Interval(int, 1), "epochs without improvement before the rate is halved"
        ),
        "learning_rate_floor": Parameter(1e-6, Interval(float, 0), "least step size"),
        "seed": Parameter(42, Interval(int, 0, 2**31 - 1), "seed of weights, order of rows and dropout"),
    }

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.tensors: dict[str, Floats] = {}
        self.best_epoch = -1

    @property
    def length(self) -> int | None:
        """Epochs up to the one whose weights were kept."""
        return self.best_epoch + 1 if self.tensors else None

    def _fit(self, request: FitRequest) -> None:
        try:
            from earmark.models.neural_training import train_network
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "torch", "torch", f"Training `{self.name}`") from error
        self.tensors, self.best_epoch, self.history = train_network(request, self.params)

    def _predict(self, X: Floats) -> Floats:
        hidden = _normed(X.astype(np.float64), self.tensors, "norms.0")
        n_layers = len(self.params["layers"])
        for layer in range(n_layers):
            hidden = np.maximum(_dense(hidden, self.tensors, f"dense.{layer}"), 0.0)
            hidden = _normed(hidden, self.tensors, f"norms.{layer + 1}")
        logits = _dense(hidden, self.tensors, f"dense.{n_layers}")
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True), dtype=np.float32)

    def _save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        save_file(self.tensors, folder / MODEL_FILE, metadata={"best_epoch": str(self.best_epoch)})

    def _load(self, folder: Path) -> None:
        try:
            from safetensors import SafetensorError, safe_open
        except ModuleNotFoundError as error:
            raise MissingExtraError("safetensors", "torch", f"Loading `{self.name}`") from error
        try:
            with safe_open(folder / MODEL_FILE, framework="numpy") as file:
                self.tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                self.best_epoch = int(file.metadata()["best_epoch"])
        except SafetensorError as error:
            raise ValueError(f"{MODEL_FILE} is damaged: {error}") from error


def _dense(X: Doubles, tensors: Mapping[str, Floats], name: str) -> Doubles:
    return X @ tensors[f"{name}.weight"].astype(np.float64).T + tensors[f"{name}.bias"]


def _normed(X: Doubles, tensors: Mapping[str, Floats], name: str) -> Doubles:
    variance = tensors[f"{name}.running_var"].astype(np.float64)
    scale = tensors[f"{name}.weight"] / np.sqrt(variance + NORM_EPSILON)
    return (X - tensors[f"{name}.running_mean"]) * scale + tensors[f"{name}.bias"]
