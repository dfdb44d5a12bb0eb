"""Fitting a network on what one group gives of each window: a filter bank, or an encoder's tokens.

With ``unfreeze_blocks`` a second stage goes on from the best of the first, with the encoder's last blocks, on filter
banks. A fold keeps it only if it selects better; the final model does only if the median of the folds did.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.features.table import FeatureTable
from earmark.models.acoustic.inputs import Fixed, Source
from earmark.models.acoustic.settings import PARAMETERS, HeadSettings
from earmark.models.platt import Platt
from earmark.tasks.appliance.groups.fbank import fbank
from earmark.tasks.appliance.groups.tokens import encoder_of
from earmark.tasks.appliance.layers import HeadLayer
from earmark.tasks.appliance.training.altered import Altered
from earmark.tasks.appliance.training.folds import Fitted
from earmark.tasks.appliance.training.rows import Rows
from earmark.tasks.appliance.training.settings import TrainSettings

if TYPE_CHECKING:
    from earmark.features.group import FeatureGroup
    from earmark.models.acoustic.fitted import FittedHead
    from earmark.models.acoustic.trainer import Validation
    from earmark.models.beats.checkpoint import BeatsCheckpoint

__all__ = ["BLOCK_EPOCHS", "EPOCHS", "NetworkFit", "head_settings"]

Ints = npt.NDArray[np.int64]
Array = npt.NDArray[Any]
Tell = Callable[[dict[str, Any]], None]
Starts = Callable[[Ints], "FittedHead"]

EPOCHS = "epochs"
"""What a network's length counts."""

BLOCK_EPOCHS = "epochs_of_blocks"
"""The same of the second stage; 0 where the first one is kept."""


class _Chosen:
    """Windows at some positions of all, read when they are asked for."""

    def __init__(self, inputs: Sequence[Array], positions: Ints) -> None:
        self._inputs, self._positions = inputs, positions

    def __len__(self) -> int:
        return len(self._positions)

    def __getitem__(self, position: int, /) -> Array:
        return self._inputs[int(self._positions[position])]


def head_settings(settings: TrainSettings, epochs: int | None = None) -> HeadSettings:
    """The first stage's settings; `epochs` is where a fit without validation windows ends."""
    unknown = [name for name in settings.network if name not in PARAMETERS]
    if unknown:
        raise UsageError(
            f"There is no setting {', '.join(unknown)} of a network; it has {', '.join(PARAMETERS)}. Correct the names."
        )
    named = {
        "network": settings.kind.network,
        "masked_loss": settings.masked_loss,
        "seed": settings.seed,
        "unfreeze_blocks": 0,
    }
    found = HeadSettings.of({**dict(settings.network), **named})
    return replace(found, stop_after=epochs) if epochs is not None else found


@dataclass(frozen=True, eq=False)
class NetworkFit:
    """The `Fit` of a network.

    Parameters
    ----------
    rows : Rows
    table : FeatureTable
        With the rows of `group`, and for a second stage those of the filter bank.
    group : FeatureGroup
        Which the network reads in its first stage.
    settings : TrainSettings
    checkpoint : BeatsCheckpoint, optional
        Of networks on tokens.
    altered : Altered, optional
        Altered windows to train on; without, they are trained on as they are.
    starts : callable, optional
        Training rows -> the head that another run fitted on them, in place of a first stage.
    tell : callable, optional
        Is given each epoch's entry.
    """

    rows: Rows
    table: FeatureTable
    group: FeatureGroup
    settings: TrainSettings
    checkpoint: BeatsCheckpoint | None = None
    altered: Altered | None = None
    starts: Starts | None = None
    tell: Tell | None = None

    def __call__(
        self, train: Ints, select: Ints, *, lengths: Mapping[str, int | None] | None, work: Path | None
    ) -> Fitted:
        known = lengths or {}
        first = (
            self._stage_1(train, select, known.get(EPOCHS), work)
            if self.starts is None
            else self.starts(train)
        )
        if not self.settings.unfreeze_blocks:
            return self._fitted(first, {EPOCHS: first.best_epoch + 1})
        epochs = known.get(BLOCK_EPOCHS)
        best = first if epochs == 0 else self._stage_2(first, train, select, epochs, work)
        kept = best.best_epoch + 1 if best.tunes_encoder else 0
        return self._fitted(best, {EPOCHS: first.best_epoch + 1, BLOCK_EPOCHS: kept})

    def _stage_1(self, train: Ints, select: Ints, epochs: int | None, work: Path | None) -> FittedHead:
        from earmark.models.acoustic.trainer import fit_head

        return fit_head(
            self._inputs(train) if self.altered is None else self.altered.inputs(train),
            _truth(self.rows, train),
            devices=self.rows.devices.names,
            settings=head_settings(self.settings, epochs),
            encoder_sha256="" if self.checkpoint is None else self.checkpoint.sha256,
            validation=self._validation(self.group, select),
            checkpoint=work,
            **self._how(train),
        )

    def _stage_2(
        self, first: FittedHead, train: Ints, select: Ints, epochs: int | None, work: Path | None
    ) -> FittedHead:
        from earmark.models.acoustic.trainer import fine_tune

        assert self.checkpoint is not None
        settings = head_settings(self.settings, epochs).stage_2(self.settings.unfreeze_blocks)
        return fine_tune(
            first,
            encoder_of(self.checkpoint),
            self._inputs(train, fbank) if self.altered is None else self.altered.banks(train),
            _truth(self.rows, train),
            settings=settings,
            validation=self._validation(fbank, select),
            checkpoint=work,
            **self._how(train),
        )

    def _how(self, train: Ints) -> dict[str, Any]:
        """What both stages share."""
        return {
            "masks": self.rows.devices.masks,
            "weights": self.rows.equal_recordings(train),
            "on_epoch": self.tell,
        }

    def _inputs(self, positions: Ints, group: FeatureGroup | None = None) -> Source:
        return Fixed(_Chosen(self.table.frames((group or self.group).name), positions))

    def _validation(self, group: FeatureGroup, select: Ints) -> Validation | None:
        """The windows that tell the best epoch; None where there are none."""
        from earmark.models.acoustic.trainer import Validation

        if not len(select):
            return None
        chosen = _Chosen(self.table.frames(group.name), select)
        return Validation(chosen, _truth(self.rows, select), self.rows.recordings[select].tolist())

    def _fitted(self, head: FittedHead, lengths: dict[str, int | None]) -> Fitted:
        heard = fbank if head.tunes_encoder else self.group
        layer = HeadLayer(head, (heard,), (Platt(),) * len(self.rows.devices), self.checkpoint)
        return Fitted(layer, float(head.best_entry["train_loss"]), lengths, head.history)


def _truth(rows: Rows, positions: Ints) -> npt.NDArray[np.float32]:
    """Labels as the trainer takes them, NaN where unknown."""
    y = rows.y[positions].astype(np.float32)
    return np.where(y < 0, np.nan, y).astype(np.float32)
