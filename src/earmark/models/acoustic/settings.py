"""Settings of a fit, as data; nothing here needs torch.

Learning rates are AdamW's largest, per step. An epoch is one pass over the training windows. Which epoch is kept is
told by `select`, on the validation windows; without any the last is kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from earmark.models.constraints import Choice, Constraint, Interval, Optional, Parameter, check_parameters

__all__ = ["NETWORKS", "PARAMETERS", "POOLS", "SELECTIONS", "STAGE_2_LR_HEAD", "HeadSettings"]

NETWORKS = ("attention", "gru", "cnn")
"""Attention pooling and an MLP on tokens; convolution and GRU on tokens; a small CNN on a filter bank."""

POOLS = ("attention", "mean", "mean+max")

SELECTIONS = ("val_loss", "auroc", "margin", "mean_f1")
"""What tells the best epoch: the loss (least), or a measure of `earmark.models.acoustic.selection` (largest)."""

STAGE_2_LR_HEAD = 3e-4
"""Rate of pooling and head while blocks of the encoder learn too."""


def _declared(default: Any, constraint: Constraint, meaning: str) -> Any:
    return field(default=default, metadata={"parameter": Parameter(default, constraint, meaning)})


@dataclass(frozen=True)
class HeadSettings:
    """Settings of one stage of a fit, checked against `PARAMETERS`, where each is explained.

    Raises
    ------
    UsageError
        A value breaks its constraint.
    """

    network: str = _declared("attention", Choice(NETWORKS), "which network")
    pool: str = _declared("attention", Choice(POOLS), "how `attention` folds tokens into one vector")
    epochs: int = _declared(12, Interval(int, 1, 10_000), "passes over which the rate falls to 0")
    stop_after: int | None = _declared(
        None, Optional(Interval(int, 1)), "epochs to train of those; None: all"
    )
    batch_size: int = _declared(16, Interval(int, 1), "windows per step")
    lr_head: float = _declared(1e-3, Interval(float, 0, open_low=True), "rate of pooling and head")
    lr_blocks: float = _declared(2e-5, Interval(float, 0, open_low=True), "rate of the encoder's last blocks")
    weight_decay: float = _declared(1e-2, Interval(float, 0), "decay of matrices; biases and norms have none")
    warmup_steps: int | None = _declared(
        None, Optional(Interval(int, 0)), "None: 10 % of all steps, at most 200"
    )
    masked_loss: float = _declared(0.25, Interval(float, 0, 1), "what a hidden device's loss counts")
    patience: int = _declared(5, Interval(int, 1), "epochs without a better one after which training ends")
    select: str = _declared("val_loss", Choice(SELECTIONS), "what tells the best epoch")
    unfreeze_blocks: int = _declared(0, Interval(int, 0), "stage 2: last blocks of the encoder that learn")
    seed: int = _declared(42, Interval(int, 0), "of weights, order and dropout")
    device: str = _declared("cpu", Choice(("auto", "cpu", "cuda", "mps")), "where torch computes")
    n_threads: int = _declared(1, Interval(int, 1), "of torch; 1 repeats on every machine of a kind")

    def __post_init__(self) -> None:
        check_parameters("The network", PARAMETERS, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """All settings by name."""
        return asdict(self)

    def stage_2(self, unfreeze_blocks: int) -> HeadSettings:
        """The settings of stage 2 that follow these of stage 1."""
        return replace(self, unfreeze_blocks=unfreeze_blocks, lr_head=STAGE_2_LR_HEAD)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> HeadSettings:
        """Settings out of a mapping that may hold other keys too, as a run's record does."""
        return cls(**{name: value for name, value in values.items() if name in PARAMETERS})


PARAMETERS: Mapping[str, Parameter] = {item.name: item.metadata["parameter"] for item in fields(HeadSettings)}
