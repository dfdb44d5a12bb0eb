"""A recorded market into the raw store and the feature store, by the pipeline that a collector runs.

The events of a recording pass the order book, the feature clock and the feature engine in the order of their times, as
if they came from a socket: the same rows in the raw store, and features that can be replayed from them bit for bit.
Samples carry the origin ``imported``.

Conventions
-----------
* A recording has one clock, which is that of the exchange and of receipt. A tick is closed a grace after its time, so
  what the source stamps later than the tick is no part of it. A bar of a second is stamped at its end by its reader:
  nothing of a second is seen before it is over.
* While the source is silent for `MAX_BOOK_AGE_MS` or more no tick is stepped: the night and a halt are gaps, behind
  which history begins anew. Up to then the price track repeats the best prices twice a second.
* Samples are taken in the market's regular hours where it has such (`REGULAR_HOURS`); the raw store has all hours, and
  candles of the early morning are known when the market opens.
* Rows are written when a UTC day is over, one file a day and stream, named by its content: importing again writes the
  same files, and the feature store takes a key once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from earmark.errors import UsageError
from earmark.features.progress import Progress
from earmark.orderbook.engine import FeatureEngine
from earmark.orderbook.events import Event
from earmark.orderbook.state import GRACE_MS, MAX_BOOK_AGE_MS, STEP_MS
from earmark.store.offline import FeatureStore
from earmark.store.raw import RawStore
from earmark.store.times import DAY_MS, RECORDED_SINCE_MS
from earmark.tasks.market.collect.pipeline import HEARTBEAT_MS, Rows, Sample, SymbolPipeline
from earmark.tasks.market.collect.samples import V2_GROUP_SUFFIX, sample_table, v2_table
from earmark.tasks.market.importers.recording import NS_PER_MS, Recording
from earmark.tasks.market.schema import GROUP, SCHEMA

__all__ = ["ORIGIN", "REGULAR_HOURS", "Hours", "Imported", "import_recording", "import_recordings"]

ORIGIN = "imported"


@dataclass(frozen=True)
class Hours:
    """When a market trades: from `opens` (included) to `closes` (included) on the clock of `zone`."""

    zone: str
    opens: time
    closes: time

    def has(self, time_ms: int) -> bool:
        """Whether an instant lies within them."""
        local = datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(ZoneInfo(self.zone))
        return self.opens <= local.time() <= self.closes


REGULAR_HOURS = {"lean equity usa": Hours("America/New_York", time(9, 30), time(16, 0))}
"""Beginning of a recording's source -> its market's hours; other sources trade whenever they are recorded."""


@dataclass
class Imported:
    """What became of one recording.

    Attributes
    ----------
    symbol, source : str
    rows : Counter
        Stream of the raw store -> rows; ``samples`` -> rows of the feature store; ``duplicates`` -> samples that were
        there already.
    gaps : int
        Breaks after which history began anew, the start not counted.
    skipped : Counter
        Reason, as of `SymbolPipeline`, or ``silent_source`` -> samples that were due and not taken.
    first_ms, last_ms : int
    notes : tuple of str
        Of the recording.
    """

    symbol: str
    source: str
    first_ms: int
    last_ms: int
    notes: tuple[str, ...]
    rows: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    gaps: int = 0

    def to_row(self) -> dict[str, Any]:
        """For a table."""
        names = ("book_steps", "trades", "candles", "bbo", "samples", "duplicates")
        return {
            "symbol": self.symbol,
            "source": self.source,
            **{name: self.rows[name] for name in names},
            "gaps": self.gaps,
            "skipped": self.skipped.total(),
        }

    def to_json(self) -> dict[str, Any]:
        """The row, with reasons, times and notes."""
        span = {"first_ms": self.first_ms, "last_ms": self.last_ms}
        return {**self.to_row(), "skipped": dict(self.skipped), **span, "notes": list(self.notes)}


def import_recordings(
    recordings: Sequence[Recording],
    data: str | Path,
    *,
    symbols: Sequence[str] = (),
    group: str = GROUP,
    interval: int = 10,
    all_hours: bool = False,
    dry_run: bool = False,
    tell: Callable[[Progress], None] | None = None,
) -> list[Imported]:
    """Import the recordings of some symbols.

    Parameters
    ----------
    recordings : sequence of Recording
    data : str or Path
        Of a project: ``raw`` and ``feature_store`` lie in it.
    symbols : sequence of str
        Default: all.
    group : str
        Of the feature store; the dimensionless features go to ``<group>_v2``.
    interval : int
        A sample every so many steps of 3 s.
    all_hours : bool
        Take samples outside the market's regular hours too.
    dry_run : bool
        Do all but write.
    tell : callable, optional
        Told of each symbol.

    Raises
    ------
    UsageError
        A symbol is not among the recordings.
    """
    known = {recording.symbol: recording for recording in recordings}
    missing = sorted(set(symbols) - set(known))
    if missing:
        raise UsageError(
            f"There is no recording of {', '.join(missing)}; expected some of {', '.join(known)}. Name those, or none "
            "for all."
        )
    chosen = [known[symbol] for symbol in symbols] if symbols else list(recordings)
    reports = []
    for done, recording in enumerate(chosen, 1):
        reports.append(
            import_recording(
                recording, data, group=group, interval=interval, all_hours=all_hours, dry_run=dry_run
            )
        )
        if tell is not None:
            message = f"{recording.symbol}: {reports[-1].rows['samples']} samples"
            tell(Progress("import", done, len(chosen), message=message))
    return reports


def import_recording(
    recording: Recording,
    data: str | Path,
    *,
    group: str = GROUP,
    interval: int = 10,
    all_hours: bool = False,
    dry_run: bool = False,
) -> Imported:
    """Import one symbol; parameters as of `import_recordings`.

    Raises
    ------
    UsageError
        The interval is less than a step.
    """
    if interval < 1:
        raise UsageError(f"The interval of samples is {interval} steps; expected 1 or more.")
    sink = None if dry_run else _Sink(Path(data), group)
    run = _Import(recording, interval * STEP_MS, None if all_hours else _hours(recording.source), sink)
    return run.push(recording.events())


def _hours(source: str) -> Hours | None:
    return next((hours for name, hours in REGULAR_HOURS.items() if source.startswith(name)), None)


class _Sink:
    """Where rows and samples go."""

    def __init__(self, data: Path, group: str) -> None:
        self._raw = RawStore(data / "raw")
        self._features = FeatureStore(data / "feature_store", schemas={group: SCHEMA})
        self._group = group

    def write(self, symbol: str, rows: Rows, samples: Sequence[Sample]) -> int:
        """Write what a day gave; how many samples were there already."""
        import polars as pl

        for stream, part in rows.streams().items():
            self._raw.append(stream, symbol, part)
        if not samples:
            return 0
        origin = pl.lit(ORIGIN).alias("origin")
        tables = {
            self._group + V2_GROUP_SUFFIX: v2_table(samples),
            self._group: sample_table(samples),
        }
        for group, table in tables.items():
            written = self._features.write_offline_features(
                group, table.with_columns(origin), earliest_ms=RECORDED_SINCE_MS
            )
        return written.duplicates


class _Import:
    """The pipeline of one recording, and the clock that ticks with its events."""

    def __init__(self, recording: Recording, sample_ms: int, hours: Hours | None, sink: _Sink | None) -> None:
        first, last = (int(recording.books.time_ns[i]) // NS_PER_MS for i in (0, -1))
        self.report = Imported(recording.symbol, recording.source, first, last, recording.notes)
        self._pipeline = SymbolPipeline(
            recording.symbol, depth=recording.n_levels, engine=FeatureEngine(recording.symbol)
        )
        self._sample_ms = sample_ms
        self._hours = hours
        self._sink = sink
        self._tick_ms = self._beat_ms = 0
        self._closed_ms: int | None = None
        self._samples: list[Sample] = []

    def push(self, events: Iterable[Event]) -> Imported:
        """Take all events, and write at the end of each UTC day."""
        day = None
        for event in events:
            now_ms = event.received_ns // NS_PER_MS
            self._advance(now_ms)
            if day is not None and now_ms // DAY_MS != day:
                self._write()
            day = now_ms // DAY_MS
            self._pipeline.push(event)
        self._advance(self.report.last_ms + GRACE_MS + 1)
        self._write()
        self.report.skipped.update(self._pipeline.skipped)
        return self.report

    def _advance(self, now_ms: int) -> None:
        """Beat and close the ticks that were due before `now_ms`."""
        book_ms = self._pipeline.book.event_ms
        if book_ms < 0:
            return
        self._beat(book_ms, min(now_ms, book_ms + MAX_BOOK_AGE_MS))
        self._tick_ms = self._tick_ms or _multiple_from(book_ms, STEP_MS)
        while self._tick_ms + GRACE_MS < now_ms:
            self._close(self._tick_ms, is_silent=self._tick_ms > book_ms + MAX_BOOK_AGE_MS)
            self._tick_ms += STEP_MS

    def _beat(self, book_ms: int, until_ms: int) -> None:
        self._beat_ms = max(self._beat_ms, _multiple_from(book_ms, HEARTBEAT_MS))
        while self._beat_ms < until_ms:
            self._pipeline.beat(self._beat_ms, self._beat_ms * NS_PER_MS)
            self._beat_ms += HEARTBEAT_MS

    def _close(self, tick_ms: int, *, is_silent: bool) -> None:
        due = tick_ms % self._sample_ms == 0 and (self._hours is None or self._hours.has(tick_ms))
        if is_silent:
            self.report.skipped["silent_source"] += due
            return
        sample = self._pipeline.close_tick(tick_ms, (tick_ms + GRACE_MS) * NS_PER_MS, is_sample=due)
        if sample is not None:
            self._samples.append(sample)

    def _write(self) -> None:
        rows, samples = self._pipeline.drain(), self._samples
        self._samples = []
        self._count_gaps(rows)
        self.report.rows.update({name: len(part) for name, part in rows.streams().items()})
        duplicates = 0 if self._sink is None else self._sink.write(self.report.symbol, rows, samples)
        self.report.rows.update(samples=len(samples) - duplicates, duplicates=duplicates)

    def _count_gaps(self, rows: Rows) -> None:
        for state in rows.book_steps:
            follows = self._closed_ms is None or state.time_ms == self._closed_ms + STEP_MS
            self.report.gaps += self._closed_ms is not None and (state.follows_gap or not follows)
            self._closed_ms = state.time_ms


def _multiple_from(time_ms: int, step_ms: int) -> int:
    """The first multiple of a step that is not before a time."""
    return -(-time_ms // step_ms) * step_ms
