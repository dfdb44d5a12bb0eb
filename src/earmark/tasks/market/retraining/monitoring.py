"""What a run in production meets: whether newer rows are still like those it was made on, and whether it is right.

*Drift* compares the newest rows with the last week of those that the run was trained, chosen and tested on, each symbol
with itself: prices of two symbols are not one distribution. Predictions of both are the run's own, made now.

*Right or wrong* is asked of labelled rows behind the sealed period alone, which nothing has been measured on yet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earmark.data.windows import SeriesTable, Windows, make_windows
from earmark.errors import UsageError

if TYPE_CHECKING:
    from earmark.evaluation.drift import Drift
    from earmark.tasks.market.serving.model import ServedModel
    from earmark.training.runs import Run

__all__ = ["Monitored"]

DAY_MS = 86_400_000
BASELINE_DAYS = 7
MIN_BASELINE_ROWS = 1000


@dataclass
class Monitored:
    """A run and the rows that came since.

    Attributes
    ----------
    project : Path
    run : Run
    newest : int
        Rows of all symbols together that are looked at.
    """

    project: Path
    run: Run
    newest: int

    def drift(self) -> Drift:
        """The newest rows against the last week before them that the run knew.

        Raises
        ------
        UsageError
            Fewer than half of `newest` rows came since, or fewer than 1000 were there before.
        """
        from earmark.evaluation.drift import BASELINE_ROWS, assess, latest

        now, then = self._since(self._trained_until), self._before()
        order = np.argsort(now.time_ms, kind="stable")
        now = now.take(np.sort(latest(order, self.newest)))
        if len(then) < MIN_BASELINE_ROWS:
            raise UsageError(
                f"Insufficient data: {len(then)} samples of the last {BASELINE_DAYS} days before the end of the "
                f"training, need at least {MIN_BASELINE_ROWS} to compare with."
            )
        then = then.take(np.sort(np.argsort(then.time_ms, kind="stable")[-BASELINE_ROWS:]))
        symbols = sorted({*then.table.symbols} & {*now.table.symbols})
        columns = tuple(f"{symbol}:{name}" for symbol in symbols for name in self._model.columns)
        said = tuple(self._model.classifier.predict(windows).probabilities for windows in (then, now))
        return assess(
            _side_by_side(then, symbols),
            _side_by_side(now, symbols),
            columns,
            predictions=(said[0], said[1]),
        )

    def graded(self) -> NDArray[np.bool_]:
        """For each labelled row behind the sealed period, whether the likeliest class was right."""
        import polars as pl

        from earmark.store.label_sets import LabelSets

        windows = self._since(max(self._trained_until, self._sealed_until))
        if not len(windows):
            return np.zeros(0, bool)
        name = f"future_direction_{self._model.horizon_s}s"
        labels = LabelSets(self._store).scan(
            self._source["label_set"],
            start=int(windows.time_ms.min()),
            symbols=self._record["symbols"],
            columns=[name],
        )
        said: dict[str, Any] = {
            "symbol": np.array(windows.table.symbols)[windows.symbol],
            "timestamp": windows.time_ms,
            "said": self._model.classifier.predict(windows).direction,
        }
        graded = pl.DataFrame(said).join(labels.collect(), on=("symbol", "timestamp")).drop_nulls()
        right: NDArray[np.bool_] = (graded["said"] == graded[name].cast(pl.Int64)).to_numpy()
        return right

    def _since(self, instant_ms: int) -> Windows:
        """Windows that end after an instant, in about the newest rows, and can be predicted."""
        from earmark.tasks.market.serving.series import joined_series
        from earmark.tasks.market.serving.stored import stored_series

        symbols = self._record["symbols"]
        tables = stored_series(self._model, self._store, self._source["group"], symbols, newest=self.newest)
        windows = self._usable(tables[0] if len(tables) == 1 else joined_series(tables))
        return windows.take(windows.time_ms > instant_ms)

    def _before(self) -> Windows:
        """Windows of the last week that the run knew and nothing seals."""
        from earmark.data.time_seal import SealedPeriod
        from earmark.tasks.market.dataset import SeriesSource, load_series
        from earmark.tasks.market.prepare import FOLDER

        seal = SealedPeriod(self._store.parent / FOLDER)
        end = (
            self._trained_until if seal.bounds is None else min(self._trained_until, seal.bounds.first_ms - 1)
        )
        fields = {**self._source, "symbols": tuple(self._record["symbols"])}
        source = SeriesSource(store=self._store, **fields)
        start = end - BASELINE_DAYS * DAY_MS
        return self._usable(
            load_series(source, seal, start_ms=start, end_ms=end, columns=self._model.columns)
        )

    def _usable(self, table: SeriesTable) -> Windows:
        windows = make_windows(table, self._model.window, labelled=False)
        return windows.take(self._model.classifier.usable(windows)) if len(windows) else windows

    @cached_property
    def _model(self) -> ServedModel:
        from earmark.tasks.market.serving.model import served_model

        return served_model(self.run)

    @cached_property
    def _record(self) -> dict[str, Any]:
        from earmark.tasks.market.serving.model import dataset_record

        return dict(dataset_record(self.run))

    @property
    def _source(self) -> dict[str, Any]:
        return dict(self._record["source"])

    @property
    def _store(self) -> Path:
        from earmark.tasks.market.prepare import data_folder

        return data_folder(self.project) / "feature_store"

    @property
    def _trained_until(self) -> int:
        return int(self._record["end_ms"])

    @property
    def _sealed_until(self) -> int:
        from earmark.data.time_seal import SealedPeriod
        from earmark.tasks.market.prepare import FOLDER

        bounds = SealedPeriod(self._store.parent / FOLDER).bounds
        return self._trained_until if bounds is None else bounds.last_ms


def _side_by_side(windows: Windows, symbols: list[str]) -> NDArray[np.float32]:
    """Last rows of each symbol beside those of the others, ``nan`` below the shorter ones."""
    parts = [
        windows.take(windows.symbol == windows.table.symbols.index(symbol)).last_rows() for symbol in symbols
    ]
    width = len(windows.table.columns)
    found = np.full((max(map(len, parts)), width * len(parts)), np.nan, np.float32)
    for place, part in enumerate(parts):
        found[: len(part), place * width : (place + 1) * width] = part
    return found
