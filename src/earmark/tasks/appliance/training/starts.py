"""Where a second stage starts if the first was trained before: the heads of another run, fold by fold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.tasks.appliance.protocols import Fold
from earmark.tasks.appliance.training.folds import taught
from earmark.tasks.appliance.training.rows import Rows
from earmark.tasks.appliance.training.settings import TrainSettings

if TYPE_CHECKING:
    from earmark.models.acoustic.fitted import FittedHead
    from earmark.models.beats.checkpoint import BeatsCheckpoint
    from earmark.training.runs import Run

__all__ = ["Starts", "require_same_folds"]

Ints = npt.NDArray[np.int64]

SAME = ("model", "protocol", "protocol_settings", "val_daypart", "only_device")
"""Settings that decide which windows a fold learns, and what network."""


@dataclass(frozen=True, eq=False)
class Starts:
    """The heads of a run by the windows that they learnt; `require_same_folds` tells that they did.

    Parameters
    ----------
    run : Path
        Its folder.
    rows : Rows
    folds : sequence of Fold
    checkpoint : BeatsCheckpoint
    """

    run: Path
    rows: Rows
    folds: Sequence[Fold]
    checkpoint: BeatsCheckpoint

    def __call__(self, train: Ints) -> FittedHead:
        """The head that was fitted on these rows; raises UsageError if it is of another encoder, or of two stages."""
        from earmark.models.acoustic.fitted import FittedHead

        head = FittedHead.load(self._folder(train))
        if head.tunes_encoder or head.encoder_sha256 != self.checkpoint.sha256:
            raise UsageError(
                f"The run {self.run.name} was trained "
                f"{'in two stages' if head.tunes_encoder else 'on tokens of another checkpoint'}; expected one of the "
                "first stage on tokens of this checkpoint. Name another run, or leave --from out."
            )
        return head

    def _folder(self, train: Ints) -> Path:
        for number, fold in enumerate(self.folds):
            if np.array_equal(taught(self.rows, fold.train), train):
                return self.run / "folds" / str(number)
        return self.run


def require_same_folds(run: Run, settings: TrainSettings, data: str) -> None:
    """Raise UsageError unless the folds of a run learnt what those of `settings` on the windows of hash `data` do."""
    its = TrainSettings.from_record(run.config["recipe"])
    differing = [name for name in SAME if getattr(its, name) != getattr(settings, name)]
    if run.config["hashes"]["data"] != data:
        differing.append("the windows")
    if differing:
        raise UsageError(
            f"The run {run.name} differs in {', '.join(differing)}; a second stage goes on only on the same windows, "
            "so that no fold has heard what it is scored on. Name another run, or leave --from out."
        )
