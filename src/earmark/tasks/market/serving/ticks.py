"""What a model is told of a tick: the samples that were taken at it, or states of the raw book.

States of the book are kept as `level_series` reads them of the raw store, so that a row is the same live and stored:
those with a healthy mid at every k-th tick since 1970, float32 levels, 0 where one is missing. A gap between two rows
that are kept marks the later one, at whichever tick it happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.orderbook.state import MAX_BOOK_AGE_MS, STEP_MS, BookState
from earmark.tasks.market.labels.label import BOOK_STEPS
from earmark.tasks.market.serving.model import ServedModel
from earmark.tasks.market.serving.series import LevelRow, Observed

if TYPE_CHECKING:
    from earmark.tasks.market.collect.pipeline import Sample

__all__ = ["Ticks", "level_row"]

SymbolState = tuple[str, BookState]


class Ticks:
    """Rows of a model from what happens at ticks.

    Parameters
    ----------
    model : ServedModel

    Raises
    ------
    UsageError
        The model reads states that are taken at other times than ticks.
    """

    def __init__(self, model: ServedModel) -> None:
        if model.reads_levels and model.group != BOOK_STEPS:
            raise UsageError(
                f"`{model.version}` reads the states of {model.group}, which lie between ticks; expected {BOOK_STEPS} "
                "where a market is followed. Its stored rows are answered by: earmark predict market"
            )
        self.model = model
        self._follows_gap: dict[str, bool] = {}

    def observed(self, samples: Sequence[Sample], states: Iterable[SymbolState]) -> list[Observed]:
        """Rows of a tick, of the kind that the model reads."""
        if not self.model.reads_levels:
            return list(samples)
        rows = (self.level_row(symbol, state) for symbol, state in states)
        return [row for row in rows if row is not None]

    def level_row(self, symbol: str, state: BookState) -> LevelRow | None:
        """The row of a state, if it is one that is kept."""
        self._follows_gap[symbol] = self._follows_gap.get(symbol, False) or state.follows_gap
        if state.time_ms % (self.model.every * STEP_MS):
            return None
        row = level_row(symbol, state, self.model.levels, starts_anew=self._follows_gap[symbol])
        if row is not None:
            self._follows_gap[symbol] = False
        return row


def level_row(symbol: str, state: BookState, levels: int, *, starts_anew: bool = False) -> LevelRow | None:
    """Levels of a state; None where a side is empty, the sides cross, or the book is stale."""
    if not len(state.bids) or not len(state.asks):
        return None
    bid, ask = float(state.bids[0, 0]), float(state.asks[0, 0])
    if bid >= ask or state.time_ms - state.event_ms > MAX_BOOK_AGE_MS:
        return None
    picture: npt.NDArray[np.float32] = np.zeros((levels, 4), np.float32)
    for column, side in ((0, state.bids), (2, state.asks)):
        kept = side[:levels]
        picture[: len(kept), column : column + 2] = kept
    return LevelRow(symbol, state.time_ms, picture.ravel(), (bid + ask) / 2, starts_anew)
