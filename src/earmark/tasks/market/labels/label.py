"""The verb `label`: every sample of a group, symbol by symbol and day by day, into a label set.

Only the price of one symbol and day is in memory at a time. The features are read, never written. Labelling again adds
what has become known since.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from earmark.errors import UsageError
from earmark.features.progress import Progress
from earmark.store.label_sets import LabelSets, LabelsWritten, coverage
from earmark.store.offline import FeatureStore
from earmark.store.raw import RawStore
from earmark.store.times import DAY_MS, Instant, range_ms
from earmark.tasks.market.collect.raw_lob_files import symbols_of
from earmark.tasks.market.labels.movement import Match
from earmark.tasks.market.labels.rules import Fixed, Rule, TripleBarrier, label_samples, parameters_of
from earmark.tasks.market.labels.series import Horizon, PricePath, Samples
from earmark.tasks.market.labels.sources import (
    read_book_steps,
    read_candles,
    read_raw_lob,
    read_samples,
    read_track,
    recorded_until,
)
from earmark.tasks.market.schema import GROUP, SCHEMA

if TYPE_CHECKING:
    import polars as pl

__all__ = ["BOOK_STEPS", "RAW_LOB", "LabelReport", "LabelRequest", "Source", "label_group", "set_id_of"]

Source = Literal["track", "samples", "candles"]

BOOK_STEPS = "book_steps"
"""As a group: the ticks of the raw store in place of a group of the feature store."""

RAW_LOB = "raw_lob"
"""As a group: the states below ``data/raw_lob`` in place of a group of the feature store."""

STREAM_OF: dict[str, str] = {"track": "bbo", "candles": "candles"}


@dataclass(frozen=True)
class LabelRequest:
    """What is labelled, and how.

    Parameters
    ----------
    rule : Rule
    horizons : tuple of Horizon
        In the rule's unit.
    group : str
        Of the feature store; `BOOK_STEPS` for ticks of the raw store, `RAW_LOB` for states of the raw book.
    source : {"track", "samples", "candles"}
        Where the later price is looked up; candles only for barriers.
    match, tolerance_s
        How another sample stands for the price, for the source ``samples``.
    max_staleness_s : float
        How old a row of the track may be; a longer silence is a gap.
    start, end : date, ISO text or ms, optional
        Of the samples, both included.
    symbols : tuple of str
        Default: all.
    drop_flat : float, optional
        Leave out symbols whose share of neutral labels exceeds this at every horizon.
    """

    rule: Rule = field(default_factory=Fixed)
    horizons: tuple[Horizon, ...] = (Horizon(10), Horizon(30), Horizon(60))
    group: str = GROUP
    source: Source = "track"
    match: Match = "nearest"
    tolerance_s: float = 10
    max_staleness_s: float = 1
    start: Instant | None = None
    end: Instant | None = None
    symbols: tuple[str, ...] = ()
    drop_flat: float | None = None

    def __post_init__(self) -> None:
        if not self.horizons or any(horizon.unit != self.rule.unit for horizon in self.horizons):
            raise UsageError(
                f"The horizons are {', '.join(map(str, self.horizons)) or 'none'}; the rule `{self.rule.name}` counts "
                f"in `{self.rule.unit}`. Give some, e.g. --horizons 10,30,60"
            )
        if self.source == "candles" and not isinstance(self.rule, TripleBarrier):
            raise UsageError(
                f"--price-source candles with the rule `{self.rule.name}`: a close comes once a minute. Expected "
                "triple_barrier. Leave the option out."
            )

    @property
    def uses_record(self) -> bool:
        """Whether the price comes from the raw store; rules that count rows look at rows."""
        return self.source != "samples" and self.rule.unit == "s"

    def parameters(self) -> dict[str, Any]:
        """All that decides on a label, beside the code and the data."""
        where = {"group": self.group, "price_source": self.source if self.rule.unit == "s" else "rows"}
        if where["price_source"] == "samples":
            where |= {"match": self.match, "tolerance_s": str(self.tolerance_s)}
        if where["price_source"] == "track":
            where |= {"max_staleness_s": str(self.max_staleness_s)}
        if self.drop_flat is not None:
            where |= {"drop_flat": str(self.drop_flat), "horizons": ",".join(map(str, self.horizons))}
        return {**parameters_of(self.rule), **where}


@dataclass(frozen=True)
class LabelReport:
    """What came of it: `coverage` as `label_sets.coverage` has it, of the rows of this request."""

    set_id: str
    rows: int
    coverage: list[dict[str, Any]]
    dropped: tuple[str, ...]
    without_record: tuple[str, ...]
    written: LabelsWritten | None

    def to_json(self) -> dict[str, Any]:
        """For the command and the page."""
        written = self.written
        return {
            "set": self.set_id,
            "rows": self.rows,
            "version": None if written is None else written.version,
            "added": 0 if written is None else written.added,
            "completed": 0 if written is None else written.completed,
            "unchanged": 0 if written is None else written.unchanged,
            "dropped_flat": list(self.dropped),
            "without_record": list(self.without_record),
            "coverage": self.coverage,
        }


def set_id_of(request: LabelRequest) -> str:
    """Name of the rule and fingerprint of the rule, its parameters and the code that runs."""
    from earmark.cache.fingerprint import fingerprint

    digest = fingerprint(label_samples, type(request.rule), parameters=request.parameters()).digest
    return f"{request.rule.name}-{digest.hex()[:12]}"


def label_group(
    store: str | Path,
    raw: str | Path,
    request: LabelRequest,
    *,
    raw_lob: str | Path = "data/raw_lob",
    dry_run: bool = False,
    tell: Callable[[Progress], None] | None = None,
) -> LabelReport:
    """Label the samples of a group.

    Parameters
    ----------
    store, raw : str or Path
        Folders of the feature store and of the raw store.
    request : LabelRequest
    raw_lob : str or Path
        Folder of the states of the raw book.
    dry_run : bool
        Compute and report, write nothing.
    tell : callable, optional
        Told of each symbol.

    Returns
    -------
    LabelReport

    Raises
    ------
    UsageError
        There is nothing to label, or no record of prices for any symbol.
    """
    import polars as pl

    reader = _Reader(Path(store), RawStore(raw), Path(raw_lob), request)
    symbols = reader.symbols()
    frames, sources, missing = [], {}, []
    for done, symbol in enumerate(symbols, 1):
        frame, digest = reader.label(symbol)
        frames.append(frame)
        sources[symbol] = digest
        if request.uses_record and reader.recorded_ms is None:
            missing.append(symbol)
        if tell is not None:
            tell(Progress("label", done, len(symbols), message=f"{symbol}: {len(frame)} samples"))
    if len(missing) == len(symbols):
        raise UsageError(
            f"There is no {request.source} of {', '.join(missing[:5])} in `{raw}`, so what the price did is not known. "
            "For data without one, as after a migration: earmark label market --price-source samples"
        )
    table = pl.concat(frames)
    dropped = _flat_symbols(coverage(table), request.drop_flat)
    table = table.filter(~pl.col("symbol").is_in(dropped))
    record = {
        "name": request.rule.name,
        "group": request.group,
        "schema": {"id": SCHEMA.id, "sha256": SCHEMA.sha256},
        "parameters": request.parameters(),
        "sources": sources,
        "dropped_flat": dropped,
    }
    set_id = set_id_of(request)
    written = None
    if not dry_run and len(table):
        written = LabelSets(store).write(set_id, table, record, footer=SCHEMA.footer)
    return LabelReport(set_id, len(table), coverage(table), tuple(dropped), tuple(missing), written)


class _Reader:
    """Reads one symbol after another, and labels it."""

    def __init__(self, store: Path, raw: RawStore, raw_lob: Path, request: LabelRequest) -> None:
        self.table = FeatureStore(store).table(request.group)
        self.raw, self.raw_lob, self.request = raw, raw_lob, request
        self.first_ms, self.last_ms = range_ms(request.start, request.end)
        self.recorded_ms: int | None = None

    def symbols(self) -> list[str]:
        """Those that were asked for and are there."""
        if self.request.group == RAW_LOB:
            there = symbols_of(self.raw_lob)
        elif self.request.group == BOOK_STEPS:
            there = [symbol for symbol in self.raw.symbols() if self.raw.dates(BOOK_STEPS, symbol)]
        else:
            there = sorted(set(self.table.files()["min.symbol"]) | set(self.table.files()["max.symbol"]))
        wanted = list(self.request.symbols) or there
        unknown = sorted(set(wanted) - set(there))
        if unknown or not wanted:
            raise UsageError(
                f"There are no samples of {', '.join(unknown) or 'any symbol'} in the group `{self.request.group}`; "
                f"it has {', '.join(there) or 'none'}. Run: earmark collect market, or earmark migrate market legacy"
            )
        return wanted

    def label(self, symbol: str) -> tuple[pl.DataFrame, dict[str, Any]]:
        """Labels of one symbol, and what they were made from."""
        samples = self._samples(symbol)
        is_asked = np.ones(len(samples), bool)
        is_asked &= samples.time_ms >= (-(2**63) if self.first_ms is None else self.first_ms)
        is_asked &= samples.time_ms <= (2**63 - 1 if self.last_ms is None else self.last_ms)
        digest = hashlib.blake2b(digest_size=16)
        digest.update(samples.time_ms[is_asked].tobytes() + samples.price[is_asked].tobytes())
        if not self.request.uses_record:
            frame = self._labelled(samples, None, is_asked)
        else:
            self.recorded_ms = recorded_until(self.raw, STREAM_OF[self.request.source], symbol)
            frame = self._labelled_by_day(samples, is_asked, digest)
        return frame, {"rows": len(frame), "blake2b": digest.hexdigest()}

    def _samples(self, symbol: str) -> Samples:
        """With a day before, for trailing statistics, and what lies ahead, where samples are the price."""
        start = None if self.first_ms is None else self.first_ms - DAY_MS
        end = None if self.last_ms is None else self.last_ms + DAY_MS
        if self.request.group == RAW_LOB:
            return read_raw_lob(self.raw_lob, symbol, start, end)
        if self.request.group == BOOK_STEPS:
            return read_book_steps(self.raw, symbol, start, end)
        return read_samples(self.table, symbol, start, end)

    def _labelled_by_day(
        self, samples: Samples, is_asked: np.ndarray[Any, np.dtype[np.bool_]], digest: Any
    ) -> pl.DataFrame:
        import polars as pl

        reach = 2 * max(horizon.ms for horizon in self.request.horizons) + DAY_MS // 24
        frames = [self._labelled(samples, None, np.zeros(len(samples), bool))]
        for first, rows in _days(samples.time_ms, is_asked):
            near = slice(int(np.searchsorted(samples.time_ms, first - DAY_MS)), int(rows[-1]) + 1)
            path = self._path(samples.symbol, first, int(samples.time_ms[rows[-1]]) + reach)
            digest.update(path.time_ms.tobytes() + path.price.tobytes())
            inside = np.zeros(near.stop - near.start, bool)
            inside[rows - near.start] = True
            frames.append(self._labelled(_sliced(samples, near), path, inside))
        return pl.concat(frames)

    def _path(self, symbol: str, start_ms: int, end_ms: int) -> PricePath:
        if self.request.source == "candles":
            return read_candles(self.raw, symbol, start_ms, end_ms, recorded_ms=self.recorded_ms)
        stale = int(self.request.max_staleness_s * 1000)
        return read_track(
            self.raw, symbol, start_ms - stale, end_ms, max_gap_ms=stale, recorded_ms=self.recorded_ms
        )

    def _labelled(
        self, samples: Samples, path: PricePath | None, is_asked: np.ndarray[Any, np.dtype[np.bool_]]
    ) -> pl.DataFrame:
        import polars as pl

        columns: dict[str, pl.Series] = {
            "symbol": pl.Series([samples.symbol] * len(samples), dtype=pl.String),
            "timestamp": pl.Series(samples.time_ms, dtype=pl.Int64),
        }
        for horizon in self.request.horizons:
            outcome = label_samples(
                self.request.rule,
                samples,
                horizon,
                path,
                tolerance_ms=int(self.request.tolerance_s * 1000),
                match=self.request.match,
            )
            columns |= outcome.columns(horizon)
        return pl.DataFrame(columns).filter(pl.Series(is_asked))


def _days(time_ms: Any, is_asked: Any) -> Iterator[tuple[int, Any]]:
    """Start of each UTC day with asked rows, and the positions of these rows."""
    rows = np.flatnonzero(is_asked)
    days = time_ms[rows] // DAY_MS
    for part in np.split(rows, np.flatnonzero(np.diff(days)) + 1):
        if len(part):
            yield int(time_ms[part[0]] // DAY_MS * DAY_MS), part


def _sliced(samples: Samples, rows: slice) -> Samples:
    optional = {
        name: None if values is None else values[rows]
        for name, values in (("spread", samples.spread), ("atr", samples.atr), ("sigma", samples.sigma))
    }
    return Samples(samples.symbol, samples.time_ms[rows], samples.price[rows], **optional)


def _flat_symbols(rows: Sequence[dict[str, Any]], limit: float | None) -> list[str]:
    """Symbols that hardly move: neutral beyond `limit` at every horizon that has labels."""
    if limit is None:
        return []
    shares: dict[str, list[float]] = {}
    for row in rows:
        if row["neutral_pct"] is not None:
            shares.setdefault(row["symbol"], []).append(row["neutral_pct"] / 100)
    return sorted(symbol for symbol, values in shares.items() if min(values) > limit)
