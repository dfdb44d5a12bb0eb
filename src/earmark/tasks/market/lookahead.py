"""Prove that features see nothing of the future and labels nothing but it, by changing the other side of time.

Features are computed on a whole recording, then again with all cut off that had not happened, or not arrived, when a
tick was closed (*truncation*), and again with noise in its place (*replacement*). Up to that tick every bit must be as
before. Labels are computed again with noise where the price path lies behind the sample, and where it goes on after
the instant at which a label says that it was decided. No code is read: what would look ahead is found by what it does.

What is past at a tick: books up to it, and trades, candles and quotes that had been received when it was closed, of an
exchange time up to it; of a closed candle the end of its minute counts, of a forming one its start.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from earmark.data.windows import SeriesTable
from earmark.errors import UsageError
from earmark.orderbook.events import BestQuote, Candle, Trade
from earmark.orderbook.state import STEP_MS, BookState

if TYPE_CHECKING:
    from earmark.tasks.market.labels.series import Outcome, PricePath, Samples

__all__ = [
    "Columns",
    "LookaheadRow",
    "Recording",
    "all_features",
    "check_features",
    "check_labels",
    "check_stored",
    "read_recording",
    "shifted_labels",
]

MINUTE_MS = 60_000
HISTORY_MS = 4 * 60 * MINUTE_MS
"""Candles and trades before the first tick that features need."""
N_CUTS = 6


@dataclass(frozen=True, eq=False)
class Recording:
    """Raw rows of one symbol, each stream in order of time."""

    symbol: str
    states: Sequence[BookState]
    trades: Sequence[Trade]
    candles: Sequence[Candle]
    quotes: Sequence[BestQuote]

    def until(self, tick: BookState) -> Recording:
        """What had happened and arrived when `tick` was closed."""
        return Recording(
            self.symbol,
            [state for state in self.states if state.time_ms <= tick.time_ms],
            [trade for trade in self.trades if _is_past(trade, tick)],
            [candle for candle in self.candles if _is_past(candle, tick)],
            [quote for quote in self.quotes if _is_past(quote, tick)],
        )

    def since(self, place: int) -> Recording:
        """The recording from its tick number `place` on, with all candles and trades."""
        return replace(self, states=self.states[place:])

    def replaced_after(self, tick: BookState, rng: np.random.Generator) -> Recording:
        """The same times, with other prices and quantities in all that `until` leaves out."""
        return Recording(
            self.symbol,
            [s if s.time_ms <= tick.time_ms else _noisy_state(s, rng) for s in self.states],
            [t if _is_past(t, tick) else _noisy(t, rng, "price", "quantity") for t in self.trades],
            [c if _is_past(c, tick) else _noisy_candle(c, rng) for c in self.candles],
            [
                q if _is_past(q, tick) else _noisy(q, rng, "bid", "ask", "bid_quantity", "ask_quantity")
                for q in self.quotes
            ],
        )


@dataclass(frozen=True, eq=False)
class Columns:
    """Values at ticks: `values` is float32, shape (n, n_columns)."""

    names: tuple[str, ...]
    time_ms: npt.NDArray[np.int64]
    values: npt.NDArray[np.float32]


Compute: TypeAlias = Callable[[Recording], Columns]
Label: TypeAlias = "Callable[[Samples, PricePath], Outcome]"


@dataclass(frozen=True)
class LookaheadRow:
    """What was found for one column: how many of the values compared changed, and by which change of the future.

    ``first_ms`` is the first row that changed, None if none did.
    """

    column: str
    compared: int
    changed: int
    by: str
    first_ms: int | None

    @property
    def ok(self) -> bool:
        """Whether nothing changed."""
        return self.changed == 0


def all_features(recording: Recording) -> Columns:
    """Every column that a model may be given, at every tick: features, lags and derived ones, the dimensionless set."""
    from earmark.orderbook.lagged import lagged_and_derived
    from earmark.orderbook.replay import replay
    from earmark.orderbook.views import VIEWS

    found = replay(
        recording.states, recording.trades, recording.candles, recording.quotes, symbol=recording.symbol
    )
    one_symbol = np.zeros(len(found.time_ms), np.int32)
    derived = lagged_and_derived(found.features, one_symbol, found.time_ms, interval_ms=STEP_MS)
    values = np.concatenate([found.features, derived, found.v2], axis=1)
    return Columns((*VIEWS["v1_187"], *VIEWS["v2"]), found.time_ms, values)


def check_features(
    recording: Recording, compute: Compute = all_features, *, n_cuts: int = N_CUTS, seed: int = 42
) -> list[LookaheadRow]:
    """Compare features on a recording with those on its beginnings, and with those before an invented future.

    Parameters
    ----------
    recording : Recording
    compute : callable
        Features of a recording, at each of its ticks.
    n_cuts : int
        Ticks after which the future is taken away, drawn at random from the second half of the recording.
    seed : int

    Returns
    -------
    list of LookaheadRow
        One per column, in order.

    Raises
    ------
    UsageError
        Fewer ticks than cuts.
    """
    if len(recording.states) < 2 * n_cuts + 2:
        raise UsageError(
            f"The recording of {recording.symbol} has {len(recording.states)} ticks, need at least {2 * n_cuts + 2}. "
            "Collect more data."
        )
    rng = np.random.default_rng(seed)
    whole = compute(recording)
    n = len(recording.states)
    findings = _Findings(whole)
    for place in sorted(rng.choice(np.arange(n // 2, n - 1), n_cuts, replace=False).tolist()):
        tick = recording.states[place]
        findings.compare(compute(recording.until(tick)), tick.time_ms, "truncation")
        findings.compare(compute(recording.replaced_after(tick, rng)), tick.time_ms, "replacement")
    return findings.rows()


def check_stored(
    recording: Recording, stored: Columns, compute: Compute = all_features
) -> list[LookaheadRow]:
    """Compare stored rows with features computed again from raw rows: what was added later is not among them.

    Some features remember far back, such as for how long levels have been there. A value that still depends on where
    the recording begins, as a later beginning shows, is not compared.

    Parameters
    ----------
    recording : Recording
    stored : Columns
        Rows of the feature store whose times are ticks of the recording; columns by the names of `compute`.
    """
    computed, younger = compute(recording), compute(recording.since(len(recording.states) // 4))
    unknown = sorted(set(stored.names) - set(computed.names))
    columns = [computed.names.index(name) for name in stored.names if name not in unknown]
    names = tuple(computed.names[j] for j in columns)
    again, young = (
        Columns(names, found.time_ms, np.ascontiguousarray(found.values[:, columns]))
        for found in (computed, younger)
    )
    known = [stored.names.index(name) for name in names]
    kept = _where_settled(Columns(names, stored.time_ms, stored.values[:, known]), again, young)
    findings = _Findings(again)
    findings.compare(kept, int(computed.time_ms.max(initial=0)), "recomputation")
    not_made = [
        LookaheadRow(name, len(stored.time_ms), len(stored.time_ms), "no raw data", None) for name in unknown
    ]
    return [*findings.rows(), *not_made]


def check_labels(
    samples: Samples, path: PricePath, label: Label, *, n_cuts: int = N_CUTS, seed: int = 42
) -> list[LookaheadRow]:
    """Compare labels after changes of the price path that they must not notice.

    Parameters
    ----------
    samples : Samples
    path : PricePath
    label : callable
        Labels of samples by a path.

    Returns
    -------
    list of LookaheadRow
        ``label_end_ms``: labels that change with the path after the instant at which they say they were decided;
        ``label_past``: labels that change with the path behind the sample.
    """
    whole = label(samples, path)
    rng = np.random.default_rng(seed)
    known = np.flatnonzero(whole.direction >= 0)
    cuts = rng.choice(known, min(n_cuts, len(known)), replace=False) if len(known) else known
    ahead, behind = np.zeros(len(samples), bool), np.zeros(len(samples), bool)
    for row in cuts.tolist():
        decided, at = int(whole.end_ms[row]), int(samples.time_ms[row])
        after = label(samples, _noisy_path(path, path.time_ms > decided, rng))
        ahead |= (whole.direction >= 0) & (whole.end_ms <= decided) & _differs(whole, after)
        # A price may be as old as the longest gap: further back a sample has no reason to look.
        before = label(samples, _noisy_path(path, path.time_ms < at - path.max_gap_ms, rng))
        behind |= (samples.time_ms >= at) & _differs(whole, before)
    compared = len(known) * len(cuts)
    return [
        _label_row("label_end_ms", ahead, samples, compared),
        _label_row("label_past", behind, samples, compared),
    ]


def shifted_labels(table: SeriesTable, rows: int) -> SeriesTable:
    """The series with each row given the label of the row `rows` later of its gap-free stretch, or earlier if negative.

    A model that is trained on labels shifted by a horizon and scored on those that are not must not be better than one
    trained on labels in their place: if it is, rows and labels are not joined as they say, or a feature tells of the
    future. Where no such row is, the label is unknown.
    """
    at = np.arange(len(table)) + rows
    inside = (at >= 0) & (at < len(table))
    at = np.clip(at, 0, len(table) - 1)
    inside &= table.segment[at] == table.segment
    return replace(
        table,
        y=np.where(inside, table.y[at], np.int8(-1)),
        movement=np.where(inside, table.movement[at], np.float32(np.nan)),
        label_end_ms=np.where(
            inside, np.maximum(table.label_end_ms[at], table.label_end_ms), table.label_end_ms
        ),
    )


def read_recording(
    root: Path, symbol: str, *, max_ticks: int, start_ms: int | None = None, end_ms: int | None = None
) -> Recording:
    """The last ticks of a range of the raw store, with the candles and trades before them that features need.

    Parameters
    ----------
    root : Path
        ``data/raw`` of a project.
    symbol : str
    max_ticks : int
    start_ms, end_ms : int, optional

    Raises
    ------
    UsageError
        No ticks are stored.
    """
    from earmark.store.raw import RawStore, table_to_rows

    store = RawStore(root)
    rows = store.scan("book_steps", symbol, start_ms, end_ms).tail(max_ticks).collect()
    states: list[BookState] = table_to_rows("book_steps", rows)
    if not states:
        raise UsageError(
            f"`{root}` has no ticks of {symbol} in the range. Run: earmark collect market --symbols {symbol}"
        )
    first, last = states[0].time_ms - HISTORY_MS, states[-1].time_ms + MINUTE_MS
    trades, candles, quotes = (
        store.read_rows(stream, symbol, first, last) for stream in ("trades", "candles", "bbo")
    )
    return Recording(symbol, states, trades, candles, quotes)


class _Findings:
    """What changed against the values of the whole, by column."""

    def __init__(self, whole: Columns) -> None:
        self.whole = whole
        self.compared = 0
        self.changed = np.zeros(len(whole.names), np.int64)
        self.by: list[set[str]] = [set() for _ in whole.names]
        self.first = np.full(len(whole.names), np.iinfo(np.int64).max)

    def compare(self, part: Columns, until_ms: int, by: str) -> None:
        """Note which values up to an instant are not the same bits; a NaN equals a NaN."""
        _, ours, theirs = np.intersect1d(self.whole.time_ms, part.time_ms, return_indices=True)
        ours, theirs = (index[self.whole.time_ms[ours] <= until_ms] for index in (ours, theirs))
        differs = ~_same_bits(self.whole.values[ours], part.values[theirs])
        self.compared += len(ours)
        self.changed += differs.sum(axis=0)
        for column in np.flatnonzero(differs.any(axis=0)).tolist():
            self.by[column].add(by)
            when = int(self.whole.time_ms[ours[np.argmax(differs[:, column])]])
            self.first[column] = min(self.first[column], when)

    def rows(self) -> list[LookaheadRow]:
        """One row per column."""
        return [
            LookaheadRow(name, self.compared, int(n), ", ".join(sorted(by)), int(first) if n else None)
            for name, n, by, first in zip(self.whole.names, self.changed, self.by, self.first, strict=True)
        ]


def _where_settled(stored: Columns, again: Columns, young: Columns) -> Columns:
    """The stored values, but the recomputed ones where those depend on the beginning of the recording."""
    times, at, of = np.intersect1d(again.time_ms, young.time_ms, return_indices=True)
    settled = _same_bits(again.values[at], young.values[of])
    _, rows, where = np.intersect1d(stored.time_ms, times, return_indices=True)
    values = np.where(settled[where], stored.values[rows], again.values[at][where])
    return Columns(stored.names, times[where], np.ascontiguousarray(values))


def _same_bits(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    same: npt.NDArray[np.bool_] = (a.view(np.uint32) == b.view(np.uint32)) | (np.isnan(a) & np.isnan(b))
    return same


def _is_past(row: Trade | Candle | BestQuote, tick: BookState) -> bool:
    at = row.start_ms + MINUTE_MS * row.is_closed if isinstance(row, Candle) else row.time_ms
    return at <= tick.time_ms and row.received_ns <= tick.closed_ns


def _noisy(row: Any, rng: np.random.Generator, *names: str) -> Any:
    return replace(row, **{name: getattr(row, name) * rng.uniform(0.5, 2.0) for name in names})


def _noisy_state(state: BookState, rng: np.random.Generator) -> BookState:
    shift = rng.uniform(0.5, 2.0)
    bids, asks = (side * np.array([shift, rng.uniform(0.5, 2.0)]) for side in (state.bids, state.asks))
    return replace(state, bids=bids, asks=asks, n_updates=int(rng.integers(1, 500)))


def _noisy_candle(candle: Candle, rng: np.random.Generator) -> Candle:
    low, first, last, high = np.sort(candle.close * rng.uniform(0.5, 2.0, 4)).tolist()
    return replace(
        candle, open=first, close=last, low=low, high=high, volume=candle.volume * rng.uniform(0.5, 2)
    )


def _noisy_path(path: PricePath, rows: npt.NDArray[np.bool_], rng: np.random.Generator) -> PricePath:
    """Other prices at `rows`; the record reaches as far as before."""
    factor = np.where(rows, rng.uniform(0.5, 2.0, len(path)), 1.0)
    high, low = (None if side is None else side * factor for side in (path.high, path.low))
    return replace(path, price=path.price * factor, high=high, low=low)


def _differs(a: Outcome, b: Outcome) -> npt.NDArray[np.bool_]:
    both_unknown = np.isnan(a.movement) & np.isnan(b.movement)
    differs: npt.NDArray[np.bool_] = (a.direction != b.direction) | (
        (a.movement != b.movement) & ~both_unknown
    )
    return differs


def _label_row(name: str, changed: npt.NDArray[np.bool_], samples: Samples, compared: int) -> LookaheadRow:
    rows = np.flatnonzero(changed)
    first = int(samples.time_ms[rows[0]]) if len(rows) else None
    return LookaheadRow(name, compared, len(rows), "replacement" if len(rows) else "", first)
