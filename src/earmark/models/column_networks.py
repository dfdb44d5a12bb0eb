"""Networks on many columns of several kinds (torch), kept as ``model.safetensors``.

================== ======================================================================================
``residual_mlp``   a wide layer, residual blocks of the same width, two narrower layers
``ft_transformer`` a token per block of columns, a transformer encoder, the answer read from a token of its own
``hybrid``         the trunk of the first and the encoder of the second, joined
================== ======================================================================================

They learn soft targets: a sigmoid per class, so that a piece may be in two. `predict_proba` gives the sigmoids divided
by their sum, whose largest is the largest sigmoid. AdamW, a cosine rate with warm restarts; how classes are balanced,
rows changed and the epoch chosen: `earmark.models.column_training`.

Fitting needs the extra ``torch``; prediction does not import torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from earmark.errors import MissingExtraError, UsageError
from earmark.models.column_blocks import BlockPlan, block_of_columns
from earmark.models.column_forward import (
    Doubles,
    Weights,
    ft_transformer_logits,
    hybrid_logits,
    residual_logits,
)
from earmark.models.constraints import Choice, Interval, Parameter
from earmark.models.estimator import FitRequest, Floats, FoldEstimator, Ints

__all__ = ["ColumnNetwork", "FTTransformer", "Hybrid", "ResidualMLP"]

MODEL_FILE = "model.safetensors"
_BLOCK = "column_block"
_ROWS_AT_ONCE = 256
"""Rows of one pass, which bounds the memory of the tokens."""

_SHARE = Interval(float, 0, 1, open_high=True)
_COMMON: Mapping[str, Parameter] = {
    "blocks": Parameter(12, BlockPlan(), "columns that belong together: a number, or beginnings of names"),
    "dropout_scale": Parameter(1.0, Interval(float, 0), "factor of every dropout; none exceeds 0.5"),
    "learning_rate": Parameter(8e-4, Interval(float, 0, open_low=True), "AdamW's first step size"),
    "weight_decay": Parameter(1e-3, Interval(float, 0), "decoupled shrinkage of matrices, times the rate"),
    "batch_size": Parameter(64, Interval(int, 2), "rows per step"),
    "epochs": Parameter(200, Interval(int, 1), "epochs at most"),
    "early_stopping_epochs": Parameter(50, Interval(int, 1), "epochs without a better score before stopping"),
    "restart_epochs": Parameter(50, Interval(int, 1), "epochs until the rate first starts over"),
    "restart_factor": Parameter(2, Interval(int, 1, 16), "how many times as long each further stretch is"),
    "balance": Parameter(
        "pos_weight", Choice(("pos_weight", "sampler", "both", "none")), "how rare classes are made up for"
    ),
    "focal_gamma": Parameter(0.0, Interval(float, 0, 10), "focus on rows that are wrong; 0 is none"),
    "mix": Parameter("cutmix", Choice(("cutmix", "cutmix_range", "mixup", "none")), "how rows are mixed"),
    "gain": Parameter(0.05, _SHARE, "rows are scaled by up to this share"),
    "noise": Parameter(0.02, Interval(float, 0), "noise in standard deviations of a column"),
    "block_dropout": Parameter(0.0, _SHARE, "share of blocks set to their mean in training"),
    "select_by": Parameter(
        "balanced_accuracy",
        Choice(("balanced_accuracy", "accuracy")),
        "validation score that chooses the epoch",
    ),
    "seed": Parameter(42, Interval(int, 0, 2**31 - 1), "seed of everything that is drawn"),
}
_BLOCKS = Parameter(1, Interval(int, 0, 64), "residual blocks")
_TRANSFORMER: Mapping[str, Parameter] = {
    "width": Parameter(128, Interval(int, 1, 4096), "units of a token"),
    "n_heads": Parameter(4, Interval(int, 1, 64), "heads of attention; they divide the width"),
    "n_layers": Parameter(2, Interval(int, 1, 64), "layers of the encoder"),
}


_LOGITS: Mapping[str, Callable[[Doubles, Weights, Ints, Mapping[str, Any]], Doubles]] = {
    "residual_mlp": residual_logits,
    "ft_transformer": ft_transformer_logits,
    "hybrid": hybrid_logits,
}


class ColumnNetwork(FoldEstimator):
    """What the three share; a fit repeats bit for bit on one machine's CPU."""

    extras: ClassVar[tuple[tuple[str, str], ...]] = (("torch", "torch"), ("safetensors", "torch"))
    files: ClassVar[tuple[str, ...]] = (MODEL_FILE,)
    distributions: ClassVar[tuple[str, ...]] = ("torch",)
    stops_early: ClassVar[bool] = True
    continues: ClassVar[bool] = True
    learns_targets: ClassVar[bool] = True
    length_parameter: ClassVar[str | None] = "epochs"

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self._require_heads()
        self.tensors: dict[str, Floats] = {}
        self.block: Ints = np.empty(0, np.int64)
        self.best_epoch = -1
        self._wide: dict[str, Doubles] = {}

    def set_params(self, **params: Any) -> Any:
        """Change some parameters; raises UsageError as the constructor does."""
        super().set_params(**params)
        self._require_heads()
        return self

    @property
    def length(self) -> int | None:
        """Epochs up to the one whose weights were kept."""
        return self.best_epoch + 1 if self.tensors else None

    def _require_heads(self) -> None:
        width, heads = self.params.get("width", 1), self.params.get("n_heads", 1)
        if width % heads:
            raise UsageError(
                f"Estimator `{self.name}`: `width` is {width} and `n_heads` is {heads}, expected a width that the "
                "heads divide. Change one of them."
            )

    def _fit(self, request: FitRequest) -> None:
        try:
            from earmark.models.column_training import train_columns
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "torch", "torch", f"Training `{self.name}`") from error
        self.block = block_of_columns(self.params["blocks"], request.X.shape[1], request.columns)
        found = train_columns(self.name, request, self.block, self.params)
        self.tensors, self.best_epoch, self.history = found
        self._wide = {}

    def _predict(self, X: Floats) -> Floats:
        if not self._wide:
            self._wide = {name: tensor.astype(np.float64) for name, tensor in self.tensors.items()}
        rows = X.astype(np.float64)
        parts = [rows[start : start + _ROWS_AT_ONCE] for start in range(0, len(rows), _ROWS_AT_ONCE)]
        logits = np.concatenate(
            [_LOGITS[self.name](part, self._wide, self.block, self.params) for part in parts]
        )
        # The logarithm of the sigmoid, for a row whose sigmoids are all too small for a float.
        log_sigmoid = -np.logaddexp(0.0, -logits)
        shares = np.exp(log_sigmoid - log_sigmoid.max(axis=1, keepdims=True))
        return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float32)

    def _save(self, folder: Path) -> None:
        from safetensors.numpy import save_file

        arrays: dict[str, Any] = {**self.tensors, _BLOCK: self.block}
        save_file(arrays, folder / MODEL_FILE, metadata={"best_epoch": str(self.best_epoch)})

    def _load(self, folder: Path) -> None:
        try:
            from safetensors import SafetensorError, safe_open
        except ModuleNotFoundError as error:
            raise MissingExtraError("safetensors", "torch", f"Loading `{self.name}`") from error
        try:
            with safe_open(folder / MODEL_FILE, framework="numpy") as file:
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                self.best_epoch = int(file.metadata()["best_epoch"])
        except SafetensorError as error:
            raise ValueError(f"{MODEL_FILE} is damaged: {error}") from error
        self.block = arrays.pop(_BLOCK)
        self.tensors = arrays


class ResidualMLP(ColumnNetwork):
    """A wide layer, residual blocks, two narrower layers."""

    name: ClassVar[str] = "residual_mlp"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "hidden": Parameter(640, Interval(int, 1, 65_536), "units of the wide layer and the blocks"),
        "n_blocks": _BLOCKS,
        **_COMMON,
    }


class FTTransformer(ColumnNetwork):
    """A transformer over one token per block of columns."""

    name: ClassVar[str] = "ft_transformer"
    parameters: ClassVar[Mapping[str, Parameter]] = {**_TRANSFORMER, **_COMMON}


class Hybrid(ColumnNetwork):
    """The residual trunk and the transformer, joined."""

    name: ClassVar[str] = "hybrid"
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "hidden": Parameter(512, Interval(int, 1, 65_536), "units of the wide layer and the blocks"),
        "n_blocks": _BLOCKS,
        **_TRANSFORMER,
        **_COMMON,
    }
