"""From rows to records: what the model says of each row, or why it says nothing.

A record is a line of JSON with the keys of `record_of`. Where the model abstains, ``abstained`` is true and ``reason``
names why; ``direction`` and ``signal_type`` are null then, so that nobody acts on them:

=================== ====================================================================================
``warming_up``      fewer rows without a gap than a window has
``missing_values``  a row of the window lacks a value, and the model was trained to leave such windows out
``below_threshold`` the confidence is below the threshold that was asked for; the numbers are given
=================== ====================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.data.windows import SeriesTable, make_windows
from earmark.errors import UsageError
from earmark.models.sequence.base import SequencePrediction
from earmark.tasks.market.serving.model import ServedModel
from earmark.tasks.market.serving.series import Histories, Observed

__all__ = ["BELOW_THRESHOLD", "MISSING_VALUES", "SIGNALS", "WARMING_UP", "Answerer", "Record"]

SIGNALS = ("SELL", "HOLD", "BUY")
"""Signal of class 0, 1, 2."""

WARMING_UP, MISSING_VALUES, BELOW_THRESHOLD = "warming_up", "missing_values", "below_threshold"

Record = dict[str, Any]


class Answerer:
    """A model, its threshold, and the history of what it has been told.

    Parameters
    ----------
    model : ServedModel
    threshold : float
        Least ``signal_confidence`` of an answer; 0 asks for none.
    """

    def __init__(self, model: ServedModel, *, threshold: float = 0.0) -> None:
        if not 0 <= threshold <= 1:
            raise UsageError(f"The threshold is {threshold:g}; expected a confidence from 0 to 1.")
        self.model, self.threshold = model, threshold
        self.histories = Histories(model)

    def push(self, samples: Iterable[Observed]) -> None:
        """Tell what has happened without asking."""
        self.histories.push(samples)

    def take(self, samples: Iterable[Observed]) -> list[Record]:
        """Tell the samples of one tick and ask about them; a record each, by symbol."""
        samples = list(samples)
        self.push(samples)
        return self.newest(sample.symbol for sample in samples)

    def newest(self, symbols: Iterable[str]) -> list[Record]:
        """Records of the newest row of each symbol."""
        names = list(symbols)
        return list(self.records(*self.histories.newest(names))) if names else []

    def records(self, table: SeriesTable, rows: npt.NDArray[np.int64]) -> Iterator[Record]:
        """Records of the rows at these positions of a series.

        Parameters
        ----------
        table : SeriesTable
            With the columns of the model.
        rows : ndarray of int64
            Ascending.
        """
        windows = make_windows(table, self.model.window, labelled=False)
        windows = windows.take(np.isin(windows.ends, rows))
        usable = self.model.classifier.usable(windows) if len(windows) else np.zeros(0, dtype=bool)
        answered = windows.take(usable)
        predicted = self.model.answer(answered)
        place = dict(zip(answered.ends.tolist(), range(len(answered)), strict=True))
        complete = set(windows.ends.tolist())
        for row in rows.tolist():
            symbol = table.symbols[table.symbol[row]]
            at = int(table.time_ms[row]), float(table.price[row])
            if row in place:
                yield self._answer(symbol, *at, predicted, place[row])
            else:
                yield self._record(symbol, *at, reason=MISSING_VALUES if row in complete else WARMING_UP)

    def _answer(
        self, symbol: str, time_ms: int, price: float, predicted: SequencePrediction, at: int
    ) -> Record:
        confidence = predicted.confidence[at]
        is_sure = confidence >= self.threshold
        return self._record(
            symbol,
            time_ms,
            price,
            probabilities=[_shortest(p) for p in predicted.probabilities[at]],
            direction=int(predicted.direction[at]) if is_sure else None,
            confidence=_shortest(confidence),
            strength=_shortest(predicted.strength[at]),
            expected_return=_shortest(predicted.expected_return[at]),
            reason=None if is_sure else BELOW_THRESHOLD,
        )

    def _record(
        self,
        symbol: str,
        time_ms: int,
        price: float,
        *,
        probabilities: list[float] | None = None,
        direction: int | None = None,
        confidence: float | None = None,
        strength: float | None = None,
        expected_return: float | None = None,
        reason: str | None,
    ) -> Record:
        model = self.model
        names = model.classifier.classes
        return {
            "task": "market",
            "symbol": symbol,
            "timestamp": time_ms,
            "horizon_s": model.horizon_s,
            "probabilities": None
            if probabilities is None
            else dict(zip(map(str.lower, names), probabilities, strict=True)),
            "direction": direction,
            "signal_type": None if direction is None else SIGNALS[direction],
            "signal_confidence": confidence,
            "signal_strength": strength,
            "expected_return": expected_return,
            "mid_price": price if np.isfinite(price) else None,
            "model": model.name,
            "version": model.version,
            "schema": model.schema,
            "abstained": reason is not None,
            "reason": reason,
        }


def _shortest(value: np.float32) -> float:
    """The number with the fewest digits that is this float32: a reader gets its bits back."""
    return float(str(np.float32(value)))
