"""Fitting devices that are heard in windows of several lengths: one fit per length, each of all devices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from earmark.tasks.appliance.lengths import LengthsLayer, Part
from earmark.tasks.appliance.training.folds import Fitted

if TYPE_CHECKING:
    from earmark.tasks.appliance.training.folds import Fit

__all__ = ["FitByLength"]

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class FitByLength:
    """The `Fit` of a `LengthsLayer`.

    Parameters
    ----------
    fits : sequence of (Part, Fit)
        Each on features of its own length.
    names : tuple of str
        All devices, in order.
    """

    fits: Sequence[tuple[Part, Fit]]
    names: tuple[str, ...]

    def __call__(
        self, train: Ints, select: Ints, *, lengths: Mapping[str, int | None] | None, work: Path | None
    ) -> Fitted:
        """Fit every part; lengths in rounds or epochs and the history bear the name of theirs."""
        done = [
            (
                part,
                fit(
                    train,
                    select,
                    lengths=_own(lengths, part),
                    work=None if work is None else work / part.name,
                ),
            )
            for part, fit in self.fits
        ]
        return Fitted(
            LengthsLayer(tuple((part, fitted.layer) for part, fitted in done), self.names),
            float(np.mean([fitted.train_loss for _, fitted in done])),
            {f"{part.name}/{key}": n for part, fitted in done for key, n in fitted.lengths.items()},
            [{"part": part.name, **entry} for part, fitted in done for entry in fitted.history],
        )


def _own(lengths: Mapping[str, int | None] | None, part: Part) -> dict[str, int | None] | None:
    if lengths is None:
        return None
    start = f"{part.name}/"
    return {key.removeprefix(start): n for key, n in lengths.items() if key.startswith(start)}
