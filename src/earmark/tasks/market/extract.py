"""`earmark extract market`: features computed again from raw rows, each session once per content and code.

A session is a UTC day of a symbol. One pass of `earmark.orderbook.replay` gives all groups of its samples, so they
share the code that they depend on; what they read differs (`GROUPS`), and a session is computed again for the groups
whose raw files or code have changed. A key is made of the contents of the files alone: a warm run opens no table.

What a tick remembers begins at the last gap before it, so a session is replayed from the last gap before its midnight,
which is looked for in the `WARM_UP_DAYS` before. Times are int64 ms since 1970 UTC, receipts ns.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.cache.entries import FeatureCache
from earmark.cache.fingerprint import Fingerprint, Request, fingerprint_many
from earmark.cache.identity import identify_bytes
from earmark.errors import EarmarkError, InputError, UsageError
from earmark.features.progress import Progress, ProgressCallback
from earmark.orderbook.catalog import FEATURE_GROUPS, FEATURE_NAMES, V2_NAMES
from earmark.orderbook.engine import book_problem
from earmark.orderbook.events import BestQuote, Candle, Trade
from earmark.orderbook.replay import replay
from earmark.orderbook.state import STEP_MS, BookState
from earmark.orderbook.views import VIEWS
from earmark.store.raw import RawStore
from earmark.store.times import range_ms, utc_date
from earmark.tasks.market.collect.pipeline import Sample, price_facts

if TYPE_CHECKING:
    import polars as pl

    from earmark.cache.upkeep import GroupCheck

__all__ = [
    "GROUPS",
    "Comparison",
    "Extracted",
    "Features",
    "Session",
    "Wanted",
    "check",
    "extract",
    "fingerprints",
    "groups_now",
]

DAY_MS = 86_400_000
CANDLES_MS = 6 * 3_600_000
"""Closed candles of so long before the first tick are given: more than the features look at."""

WARM_UP_DAYS = 7

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Group:
    """A cached group: its columns, the streams that it reads, and where its columns lie in a pass."""

    columns: tuple[str, ...]
    streams: tuple[str, ...]


def _of(prefix: str) -> tuple[str, ...]:
    return tuple(n for group, names in FEATURE_GROUPS.items() if group.split("_")[0] == prefix for n in names)


_TICKS = ("time_ms", "closed_ns", "event_ms", "follows_gap", "n_late")
_FACTS = ("mid", "spread", "imbalance")

GROUPS: dict[str, Group] = {
    "market.ticks": Group(_TICKS, ("book_steps", "candles")),
    "market.facts": Group(_FACTS, ("book_steps", "candles")),
    "market.lob": Group(_of("lob"), ("book_steps", "candles", "trades")),
    "market.candle": Group(_of("candle"), ("book_steps", "candles")),
    "market.indicator": Group(_of("indicator"), ("book_steps", "candles")),
    "market.v2": Group(V2_NAMES, ("book_steps", "candles", "trades", "bbo")),
}
"""Group -> what it holds. Rows are ticks on which a sample may be taken, which candles decide, too."""

_V1 = ("market.lob", "market.candle", "market.indicator")


def groups_of(view: str) -> tuple[str, ...]:
    """The cached groups that a view is made of."""
    if view not in VIEWS:
        raise UsageError(f"There is no view {view!r}; choose one of {', '.join(VIEWS)}.")
    return ("market.ticks", "market.facts", *(("market.v2",) if view == "v2" else _V1))


@dataclass(frozen=True, order=True)
class Session:
    """A UTC day of a symbol."""

    symbol: str
    date: str

    @property
    def id(self) -> str:
        """``SYMBOL/YYYY-MM-DD``."""
        return f"{self.symbol}/{self.date}"

    @property
    def start_ms(self) -> int:
        """Midnight at its beginning."""
        return range_ms(self.date, None)[0] or 0

    @property
    def end_ms(self) -> int:
        """Its last millisecond."""
        return self.start_ms + DAY_MS - 1

    def day(self, before: int) -> str:
        """The date so many days before."""
        return (date.fromisoformat(self.date) - timedelta(days=before)).isoformat()


@dataclass(frozen=True, eq=False)
class Features:
    """Samples of a session, group -> array with a row per sample."""

    session: Session
    arrays: Arrays

    def samples(self) -> list[Sample]:
        """As live makes them; needs all groups."""
        ticks, facts = self.arrays["market.ticks"], self.arrays["market.facts"]
        v1 = np.concatenate([self.arrays[name] for name in _V1], axis=1)
        v2 = self.arrays["market.v2"]
        return [
            Sample(
                symbol=self.session.symbol,
                time_ms=time_ms,
                closed_ns=closed_ns,
                book_ms=event_ms,
                features=v1[row],
                features_v2=v2[row],
                mid=mid,
                spread=spread,
                imbalance=imbalance,
                n_late=n_late,
                follows_gap=bool(follows_gap),
            )
            for row, (
                (time_ms, closed_ns, event_ms, follows_gap, n_late),
                (mid, spread, imbalance),
            ) in enumerate(zip(ticks.tolist(), facts.tolist(), strict=True))
        ]


@dataclass(frozen=True)
class Wanted:
    """What is extracted."""

    symbols: tuple[str, ...] = ()
    start: str | None = None
    end: str | None = None
    view: str = "v1_112"
    limit: int | None = None
    force: bool = False
    workers: int | None = None
    compares: bool = False
    writes: bool = False


@dataclass
class Comparison:
    """Computed rows against those of the feature store.

    ``differing`` is column -> rows whose bits differ; ``missing`` are computed rows that the store lacks, ``extra``
    rows of the store (live or replayed) at whose tick nothing was computed.
    """

    compared: int = 0
    missing: int = 0
    extra: int = 0
    differing: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every row that both have is the same, and the store has none of unknown source."""
        return not self.differing and not self.extra


@dataclass
class Extracted:
    """What a run did; `to_json` is the form of ``--format json``."""

    sessions: list[Session]
    n_rows: int = 0
    failures: dict[str, str] = field(default_factory=dict)
    computed: dict[str, int] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    comparison: Comparison | None = None
    n_written: int | None = None

    def to_json(self) -> dict[str, Any]:
        """``items``, ``rows``, ``failures``, ``computed`` and ``seconds`` per group; what was compared and written."""
        found: dict[str, Any] = {
            "items": len(self.sessions),
            "rows": self.n_rows,
            "failures": [{"id": name, "error": error} for name, error in self.failures.items()],
            "computed": self.computed,
            "seconds": {name: round(seconds, 3) for name, seconds in self.seconds.items()},
        }
        if self.comparison is not None:
            found["comparison"] = {**vars(self.comparison), "ok": self.comparison.ok}
        if self.n_written is not None:
            found["written"] = self.n_written
        return found


def extract(
    project: str | Path,
    wanted: Wanted = Wanted(),
    *,
    progress: ProgressCallback | None = None,
) -> Extracted:
    """Features of the sessions that the raw store holds, from the cache where it has them.

    Raises
    ------
    UsageError
        The raw store has no session of what was asked for, or there is no such view.
    """
    from earmark.tasks.settings import load_settings

    settings = load_settings(project)
    market = settings.settings.market
    raw = RawStore(settings.path("data") / "raw")
    sessions = _sessions(raw, wanted)
    names = tuple(GROUPS) if wanted.compares or wanted.writes else groups_of(wanted.view)
    with FeatureCache(settings.path("cache")) as cache:
        run = _Run(raw, cache, names, market.collection_interval * STEP_MS, Extracted(sessions), progress)
        run.fill(sessions, force=wanted.force, workers=wanted.workers)
        found = run.features(sessions)
        if wanted.compares or wanted.writes:
            _meet_store(run.done, found, settings.path("data"), market.feature_store_group, wanted)
        else:
            run.done.n_rows = sum(len(features.arrays["market.ticks"]) for features in found)
    return run.done


def fingerprints(interval_ms: int) -> dict[str, Fingerprint]:
    """Group -> fingerprint of the code that computes it."""
    requests = [
        Request((replayed, _begins_anew), {"interval_ms": interval_ms, "group": name}) for name in GROUPS
    ]
    return dict(zip(GROUPS, fingerprint_many(requests), strict=True))


def groups_now(project: str | Path) -> dict[str, Fingerprint]:
    """The same, for the samples of a project."""
    from earmark.tasks.settings import load_settings

    return fingerprints(load_settings(project).settings.market.collection_interval * STEP_MS)


def check(project: str | Path, wanted: Wanted) -> list[GroupCheck]:
    """Per group, how many of the sessions asked for are fresh, stale or missing; nothing is computed."""
    from earmark.tasks.settings import load_settings

    settings = load_settings(project)
    raw = RawStore(settings.path("data") / "raw")
    sessions = _sessions(raw, wanted)
    interval_ms = settings.settings.market.collection_interval * STEP_MS
    with FeatureCache(settings.path("cache")) as cache:
        run = _Run(raw, cache, tuple(GROUPS), interval_ms, Extracted(sessions), None)
        return run.check(sessions)


def compute(root: Path, session: Session, interval_ms: int) -> Arrays:
    """All groups of a session, from its raw rows; group -> array with a row per sample."""
    raw = RawStore(root)
    states = _states(raw, session)
    if not states:
        raise InputError(
            f"{session.id} has no book states on the feature clock. Collect that day, or leave it out."
        )
    first_ms = states[0].time_ms
    rest = [
        raw.read_rows(stream, session.symbol, first_ms - before, session.end_ms)
        for stream, before in (("trades", STEP_MS), ("candles", CANDLES_MS), ("bbo", STEP_MS))
    ]
    return replayed(states, *rest, start_ms=session.start_ms, interval_ms=interval_ms)


def replayed(
    states: Sequence[BookState],
    trades: Sequence[Trade],
    candles: Sequence[Candle],
    quotes: Sequence[BestQuote],
    *,
    start_ms: int,
    interval_ms: int,
) -> Arrays:
    """All groups of the samples from `start_ms` on; the code that keys are made of starts here."""
    found = replay(states, trades, candles, quotes, interval_ms=interval_ms)
    kept = found.ready & (found.time_ms >= start_ms)
    of_tick = {state.time_ms: state for state in states if state.time_ms % interval_ms == 0}
    chosen = [of_tick[time_ms] for time_ms in found.time_ms[kept].tolist()]
    ticks = [(s.time_ms, s.closed_ns, s.event_ms, int(s.follows_gap), s.n_late) for s in chosen]
    facts = [price_facts(state) for state in chosen]
    return {
        "market.ticks": np.array(ticks, np.int64).reshape(-1, len(_TICKS)),
        "market.facts": np.array(facts, np.float64).reshape(-1, len(_FACTS)),
        **{name: found.features[kept][:, _places(name)] for name in _V1},
        "market.v2": found.v2[kept],
    }


def _places(group: str) -> npt.NDArray[np.intp]:
    return np.array([FEATURE_NAMES.index(name) for name in GROUPS[group].columns], np.intp)


def _states(raw: RawStore, session: Session) -> list[BookState]:
    """The session's states, and those before it back to the last gap."""
    own: list[BookState] = raw.read_rows("book_steps", session.symbol, session.start_ms, session.end_ms)
    days: list[list[BookState]] = [own]
    for before in range(WARM_UP_DAYS):
        start_ms = session.start_ms - DAY_MS * (before + 1)
        earlier = raw.read_rows("book_steps", session.symbol, start_ms, start_ms + DAY_MS - 1)
        if not (earlier and days[0]) or _begins_anew(earlier[-1], days[0][0]):
            break
        anchor = next((i for i in range(len(earlier) - 1, 0, -1) if _begins_anew(*earlier[i - 1 : i + 1])), 0)
        days.insert(0, earlier[anchor:])
        if anchor:
            break
    return [state for day in days for state in day]


def _begins_anew(before: BookState, state: BookState) -> bool:
    is_next = state.time_ms == before.time_ms + STEP_MS
    return state.follows_gap or not is_next or book_problem(before) is not None


def _sessions(raw: RawStore, wanted: Wanted) -> list[Session]:
    first, last = range_ms(wanted.start, wanted.end)
    low, high = "" if first is None else utc_date(first), "9999" if last is None else utc_date(last)
    symbols = wanted.symbols or tuple(raw.symbols())
    found = [
        Session(symbol, day)
        for symbol in symbols
        for day in raw.dates("book_steps", symbol)
        if low <= day <= high
    ][: wanted.limit]
    if not found:
        asked = ", ".join(wanted.symbols) or "any symbol"
        raise UsageError(
            f"`{raw.root}` holds no book of {asked} in {low or 'the beginning'} .. {'now' if last is None else high}. "
            "Collect first: earmark collect market"
        )
    return found


class _Run:
    """One run over sessions: what is there, what is computed, what it cost."""

    def __init__(
        self,
        raw: RawStore,
        cache: FeatureCache,
        names: Sequence[str],
        interval_ms: int,
        done: Extracted,
        progress: ProgressCallback | None,
    ) -> None:
        self.raw, self.cache, self.names, self.done = raw, cache, tuple(names), done
        self._interval_ms = interval_ms
        self._progress = progress
        self._codes = fingerprints(interval_ms)
        self._days: dict[tuple[str, str], dict[str, bytes]] = {}

    def fill(self, sessions: Sequence[Session], *, force: bool, workers: int | None) -> None:
        """Compute what the cache lacks, and keep each session as it is done."""
        self.done.computed = dict.fromkeys(self.names, 0)
        self.done.seconds = dict.fromkeys(self.names, 0.0)
        missing = {session: lacking for session in sessions if (lacking := self._lacking(session, force))}
        self._tell(0, len(missing), None)
        results = _computed(list(missing), self.raw.root, self._interval_ms, workers)
        for n, (session, arrays, seconds) in enumerate(results, 1):
            if isinstance(arrays, str):
                self.done.failures[session.id] = arrays
            else:
                self._keep(session, missing[session], arrays, seconds)
            self._tell(n, len(missing), session.id)

    def features(self, sessions: Sequence[Session]) -> list[Features]:
        """Of those that did not fail."""
        found = []
        for session in sessions:
            if session.id in self.done.failures:
                continue
            arrays = {
                name: self.cache.get_many(self._codes[name].digest, [self._identity(session, name)])[0]
                for name in self.names
            }
            found.append(Features(session, {k: v for k, v in arrays.items() if v is not None}))
        return found

    def check(self, sessions: Sequence[Session]) -> list[GroupCheck]:
        """How the cache stands to these sessions."""
        rows: list[GroupCheck] = []
        for name in self.names:
            identities = [self._identity(session, name) for session in sessions]
            rows += self.cache.check({name: self._codes[name].digest}, identities)
        return rows

    def _lacking(self, session: Session, force: bool) -> list[str]:
        return [
            name
            for name in self.names
            if force or not self.cache.has_many(self._codes[name].digest, [self._identity(session, name)])[0]
        ]

    def _keep(self, session: Session, names: Sequence[str], arrays: Arrays, seconds: float) -> None:
        """Store the groups that were missing; the time of the pass is shared among them by their width."""
        self.cache.put_many(
            [(self._codes[name].digest, self._identity(session, name), arrays[name]) for name in names]
        )
        width = sum(len(GROUPS[name].columns) for name in names)
        for name in names:
            share = seconds * len(GROUPS[name].columns) / width
            self.done.computed[name] += 1
            self.done.seconds[name] += share
            self.cache.record(
                name,
                self._codes[name],
                columns=GROUPS[name].columns,
                seconds=share,
                bytes=arrays[name].nbytes,
                computed=1,
            )

    def _identity(self, session: Session, name: str) -> bytes:
        """Of all that the group reads of the session and of the days in which its warm-up may lie."""
        days = [self._day(session.symbol, session.day(before)) for before in range(WARM_UP_DAYS + 1)]
        parts = [day.get(stream, b"") for stream in GROUPS[name].streams for day in days]
        return identify_bytes(session.id.encode() + b"".join(len(p).to_bytes(4, "little") + p for p in parts))

    def _day(self, symbol: str, day: str) -> dict[str, bytes]:
        """Stream -> identities of its files of a day."""
        if (symbol, day) not in self._days:
            folder = self.raw.root / symbol
            streams = {stream for group in GROUPS.values() for stream in group.streams}
            self._days[symbol, day] = {s: self._files(folder / s / f"date={day}") for s in streams}
        return self._days[symbol, day]

    def _files(self, folder: Path) -> bytes:
        found = self.cache.identify_many(sorted(folder.glob("*.parquet")))
        unreadable = next((identity for identity in found if isinstance(identity, InputError)), None)
        if unreadable is not None:
            raise unreadable
        return b"".join(sorted(identity for identity in found if isinstance(identity, bytes)))

    def _tell(self, done: int, total: int, message: str | None) -> None:
        if self._progress is not None:
            self._progress(Progress("extract", done, total, len(self.done.failures), message))


Result = tuple[Session, "Arrays | str", float]


def _computed(
    sessions: Sequence[Session], root: Path, interval_ms: int, workers: int | None
) -> Iterator[Result]:
    """Sessions as they are done; an error is its text."""
    n = min(_default_workers() if workers is None else workers, len(sessions))
    if n < 2:
        yield from (_timed(root, session, interval_ms) for session in sessions)
        return
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from multiprocessing import get_context

    with ProcessPoolExecutor(n, mp_context=get_context("spawn")) as pool:
        jobs = [pool.submit(_timed, root, session, interval_ms) for session in sessions]
        try:
            yield from (job.result() for job in as_completed(jobs))
        finally:
            pool.shutdown(cancel_futures=True)


def _timed(root: Path, session: Session, interval_ms: int) -> Result:
    begun = time.perf_counter()
    try:
        return session, compute(root, session, interval_ms), time.perf_counter() - begun
    except EarmarkError as error:
        return session, str(error), time.perf_counter() - begun


def _default_workers() -> int:
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _meet_store(done: Extracted, found: Sequence[Features], data: Path, group: str, wanted: Wanted) -> None:
    """Compare with the feature store, or write what it lacks, or both: first the comparison."""
    from earmark.store.offline import FeatureStore
    from earmark.tasks.market.collect.samples import V2_GROUP_SUFFIX, sample_table, v2_table
    from earmark.tasks.market.schema import SCHEMA, V2_SCHEMA

    tables: dict[str, tuple[Any, Callable[[Sequence[Sample]], pl.DataFrame]]] = {
        group: (SCHEMA, sample_table),
        group + V2_GROUP_SUFFIX: (V2_SCHEMA, v2_table),
    }
    store = FeatureStore(
        data / "feature_store", schemas={name: schema for name, (schema, _) in tables.items()}
    )
    comparison, n_written = Comparison(), 0
    for features in found:
        samples = features.samples()
        done.n_rows += len(samples)
        for name, (_, table_of) in tables.items():
            columns = FEATURE_NAMES if name == group else V2_NAMES
            rows = table_of(samples) if samples else None
            if wanted.compares:
                _compare(comparison, store, name, features.session, rows, columns)
            if wanted.writes and rows is not None:
                n_written += _write(store, name, rows)
    done.comparison = comparison if wanted.compares else None
    done.n_written = n_written if wanted.writes else None


def _write(store: Any, group: str, rows: pl.DataFrame) -> int:
    import polars as pl

    written: int = store.write_offline_features(group, rows.with_columns(origin=pl.lit("replayed"))).rows
    return written


def _compare(
    comparison: Comparison,
    store: Any,
    group: str,
    session: Session,
    rows: pl.DataFrame | None,
    columns: Sequence[str],
) -> None:
    """Bits of the rows whose tick both have."""
    import polars as pl

    table = store.table(group)
    n_rows = 0 if rows is None else rows.height
    if not table.exists:
        comparison.missing += n_rows
        return
    # A row's own time, that of its book, lies up to some seconds before its tick.
    stored = table.scan(session.start_ms - 60_000, session.end_ms, [session.symbol]).collect()
    on_day = pl.col("sample_time_ms").is_between(session.start_ms, session.end_ms)
    stored = stored.filter(on_day & pl.col("origin").is_in(["live", "replayed"])).sort("sample_time_ms")
    if rows is None:
        comparison.extra += stored.height
        return
    rows = rows.sort("sample_time_ms")
    both = stored.select("sample_time_ms").join(rows.select("sample_time_ms"), on="sample_time_ms")
    ours = rows.join(both, on="sample_time_ms", how="semi").select(columns)
    theirs = stored.join(both, on="sample_time_ms", how="semi").select(columns)
    comparison.compared += both.height
    comparison.missing += n_rows - both.height
    comparison.extra += stored.height - both.height
    differs = _bits(ours) != _bits(theirs)
    for place in np.flatnonzero(differs.any(axis=0)).tolist():
        name = columns[place]
        comparison.differing[name] = comparison.differing.get(name, 0) + int(differs[:, place].sum())


def _bits(table: pl.DataFrame) -> npt.NDArray[np.uint32]:
    values = np.ascontiguousarray(table.to_numpy(), np.float32)
    values[np.isnan(values)] = np.nan  # a missing value has one pattern
    return values.view(np.uint32)
