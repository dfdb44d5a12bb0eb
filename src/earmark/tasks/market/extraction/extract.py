"""`earmark extract market`: features computed again from raw rows, each session once per content and code."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.cache.entries import FeatureCache
from earmark.errors import UsageError
from earmark.features.progress import ProgressCallback
from earmark.orderbook.state import STEP_MS
from earmark.store.raw import RawStore
from earmark.store.times import range_ms, utc_date
from earmark.tasks.market.extraction.caching import Run
from earmark.tasks.market.extraction.comparison import Comparison, meet_store
from earmark.tasks.market.extraction.sessions import GROUPS, Session, groups_of

if TYPE_CHECKING:
    from earmark.cache.upkeep import GroupCheck

__all__ = ["Extracted", "Wanted", "check", "extract"]


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
        run = Run(raw, cache, names, market.collection_interval * STEP_MS, Extracted(sessions), progress)
        run.fill(sessions, force=wanted.force, workers=wanted.workers)
        found = run.features(sessions)
        if wanted.compares or wanted.writes:
            meet_store(run.done, found, settings.path("data"), market.feature_store_group, wanted)
        else:
            run.done.n_rows = sum(len(features.arrays["market.ticks"]) for features in found)
    return run.done


def check(project: str | Path, wanted: Wanted) -> list[GroupCheck]:
    """Per group, how many of the sessions asked for are fresh, stale or missing; nothing is computed."""
    from earmark.tasks.settings import load_settings

    settings = load_settings(project)
    raw = RawStore(settings.path("data") / "raw")
    sessions = _sessions(raw, wanted)
    interval_ms = settings.settings.market.collection_interval * STEP_MS
    with FeatureCache(settings.path("cache")) as cache:
        run = Run(raw, cache, tuple(GROUPS), interval_ms, Extracted(sessions), None)
        return run.check(sessions)


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
