"""Fitting a network on what one group gives of each window: a filter bank, or an encoder's tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.features.table import FeatureTable
from earmark.models.acoustic.settings import PARAMETERS, HeadSettings
from earmark.models.platt import Platt
from earmark.tasks.appliance.layers import HeadLayer
from earmark.tasks.appliance.training.folds import Fitted
from earmark.tasks.appliance.training.rows import Rows
from earmark.tasks.appliance.training.settings import TrainSettings

if TYPE_CHECKING:
    from earmark.features.group import FeatureGroup
    from earmark.models.beats.checkpoint import BeatsCheckpoint

__all__ = ["EPOCHS", "head_settings", "networks_fit"]

Ints = npt.NDArray[np.int64]
Array = npt.NDArray[Any]
Tell = Callable[[dict[str, Any]], None]

EPOCHS = "epochs"
"""What a network's length counts."""


class _Chosen:
    """Windows at some positions of all, read when they are asked for."""

    def __init__(self, inputs: Sequence[Array], positions: Ints) -> None:
        self._inputs, self._positions = inputs, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, position: int, /) -> Array:
        return self._inputs[int(self._positions[position])]


def head_settings(settings: TrainSettings, epochs: int | None = None) -> HeadSettings:
    """The network's own settings; `epochs` is where a fit without validation windows ends."""
    unknown = [name for name in settings.network if name not in PARAMETERS]
    if unknown:
        raise UsageError(
            f"There is no setting {', '.join(unknown)} of a network; it has {', '.join(PARAMETERS)}. Correct the names."
        )
    named = {"network": settings.kind.network, "masked_loss": settings.masked_loss, "seed": settings.seed}
    found = HeadSettings.of({**dict(settings.network), **named})
    return replace(found, stop_after=epochs) if epochs is not None else found


def networks_fit(
    rows: Rows,
    table: FeatureTable,
    groups: Sequence[FeatureGroup],
    settings: TrainSettings,
    *,
    checkpoint: BeatsCheckpoint | None = None,
    tell: Tell | None = None,
) -> Callable[..., Fitted]:
    """The `Fit` of a network on the frozen rows of its one group."""
    (group,) = groups
    inputs = table.frames(group.name)

    def fit(
        train: Ints, select: Ints, *, lengths: Mapping[str, int | None] | None, work: Path | None
    ) -> Fitted:
        from earmark.models.acoustic.trainer import Validation, fit_head

        epochs = None if lengths is None else lengths[EPOCHS]
        validation = None
        if len(select):
            validation = Validation(
                _Chosen(inputs, select), _truth(rows, select), rows.recordings[select].tolist()
            )
        head = fit_head(
            _Chosen(inputs, train),
            _truth(rows, train),
            devices=rows.devices.names,
            settings=head_settings(settings, epochs),
            masks=rows.devices.masks,
            weights=rows.equal_recordings(train),
            validation=validation,
            on_epoch=tell,
            checkpoint=work,
            encoder_sha256="" if checkpoint is None else checkpoint.sha256,
        )
        layer = HeadLayer(head, tuple(groups), (Platt(),) * len(rows.devices), checkpoint)
        loss = head.history[head.best_epoch]["train_loss"]
        return Fitted(layer, float(loss), {EPOCHS: head.best_epoch + 1}, head.history)

    return fit


def _truth(rows: Rows, positions: Ints) -> npt.NDArray[np.float32]:
    """Labels as the trainer takes them, NaN where unknown."""
    y = rows.y[positions].astype(np.float32)
    return np.where(y < 0, np.nan, y).astype(np.float32)
