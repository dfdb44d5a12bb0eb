"""The look-ahead proof over what a project has stored, or over a generated session where it has nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from earmark.tasks.market.lookahead import (
    Columns,
    LookaheadRow,
    Recording,
    check_features,
    check_labels,
    check_stored,
    read_recording,
)
from earmark.tasks.market.prepare import data_folder

if TYPE_CHECKING:
    import polars as pl

    from earmark.tasks.market.labels.series import Outcome, PricePath, Samples

__all__ = ["LookaheadRequest", "check_project"]

GENERATED = "generated"
HORIZON_S = 60
"""Of the labels that are checked: the default of training."""
MAX_STALENESS_MS = 1000


@dataclass(frozen=True)
class LookaheadRequest:
    """What is replayed; no symbols means all that have raw data."""

    symbols: tuple[str, ...] = ()
    start_ms: int | None = None
    end_ms: int | None = None
    max_ticks: int = 400
    n_cuts: int = 6
    generated: bool = False


def check_project(project: str | Path, request: LookaheadRequest) -> dict[str, list[LookaheadRow]]:
    """Rows of each symbol: its features, its stored samples, its labels.

    Raises
    ------
    UsageError
        A symbol that was named has no raw data, or too few ticks.
    """
    from earmark.store.raw import RawStore
    from earmark.tasks.market.generated import generated_recording

    data = data_folder(project)
    stored = RawStore(data / "raw").symbols()
    if request.generated or not (stored or request.symbols):
        recording = generated_recording(request.max_ticks)
        return {GENERATED: _check(recording, None, request)}
    return {
        symbol: _check(_recording(data, symbol, request), _samples(project, data, symbol), request)
        for symbol in request.symbols or stored
    }


def _recording(data: Path, symbol: str, request: LookaheadRequest) -> Recording:
    return read_recording(
        data / "raw", symbol, max_ticks=request.max_ticks, start_ms=request.start_ms, end_ms=request.end_ms
    )


def _check(
    recording: Recording, samples: pl.LazyFrame | None, request: LookaheadRequest
) -> list[LookaheadRow]:
    rows = check_features(recording, n_cuts=request.n_cuts)
    if samples is not None:
        rows += _check_samples(recording, samples)
    return rows + _check_labels(recording, request.n_cuts)


def _samples(project: str | Path, data: Path, symbol: str) -> pl.LazyFrame | None:
    """Stored samples of a symbol; None where there are none."""
    from earmark.store.offline import FeatureStore
    from earmark.tasks.settings import load_settings

    group = load_settings(project).settings.market.feature_store_group
    table = FeatureStore(data / "feature_store").table(group)
    return table.scan(symbols=symbol) if table.exists else None


def _check_samples(recording: Recording, samples: pl.LazyFrame) -> list[LookaheadRow]:
    """Stored live samples of the second half of the recording against recomputation; the first half fills memories."""
    import polars as pl

    from earmark.orderbook.catalog import FEATURE_NAMES

    first = recording.states[len(recording.states) // 2].time_ms
    inside = pl.col("timestamp").is_between(first, recording.states[-1].time_ms)
    rows = samples.filter(inside & (pl.col("origin") == "live")).collect()
    if not len(rows):
        return []
    values = rows.select(FEATURE_NAMES).to_numpy(order="c").astype(np.float32)
    found = check_stored(recording, Columns(FEATURE_NAMES, rows["timestamp"].to_numpy(), values))
    return [
        LookaheadRow(f"stored {row.column}", row.compared, row.changed, row.by, row.first_ms) for row in found
    ]


def _check_labels(recording: Recording, n_cuts: int) -> list[LookaheadRow]:
    from earmark.tasks.market.labels.rules import Fixed, label_samples
    from earmark.tasks.market.labels.series import Horizon, PricePath, Samples

    if not recording.quotes:
        return []
    states = [state for state in recording.states if len(state.bids) and len(state.asks)]
    times = np.array([state.time_ms for state in states], np.int64)
    mid = np.array([(state.bids[0, 0] + state.asks[0, 0]) / 2 for state in states])
    quotes = sorted(recording.quotes, key=lambda quote: (quote.time_ms, quote.received_ns))
    path = PricePath(
        recording.symbol,
        np.array([quote.time_ms for quote in quotes], np.int64),
        np.array([quote.mid for quote in quotes]),
        MAX_STALENESS_MS,
    )

    def label(samples: Samples, path: PricePath) -> Outcome:
        return label_samples(Fixed(), samples, Horizon(HORIZON_S), path)

    return check_labels(Samples(recording.symbol, times, mid), path, label, n_cuts=n_cuts)
