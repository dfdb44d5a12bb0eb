"""Sessions, UTC days of a symbol, and the groups of features that a pass over one gives.

One pass of `earmark.orderbook.replay` gives all groups of a session's samples, so they share the code that they depend
on; what they read differs (`GROUPS`). What a tick remembers begins at the last gap before it, so a session is replayed
from the last gap before its midnight, which is looked for in the `WARM_UP_DAYS` before.

Times are int64 ms since 1970 UTC, receipts ns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.errors import InputError, UsageError
from earmark.orderbook.catalog import FEATURE_GROUPS, FEATURE_NAMES, V2_NAMES
from earmark.orderbook.engine import book_problem
from earmark.orderbook.events import BestQuote, Candle, Trade
from earmark.orderbook.replay import replay
from earmark.orderbook.state import STEP_MS, BookState
from earmark.orderbook.views import VIEWS
from earmark.store.raw import RawStore
from earmark.store.times import range_ms
from earmark.tasks.market.collect.pipeline import Sample, price_facts

__all__ = [
    "GROUPS",
    "WARM_UP_DAYS",
    "Arrays",
    "Features",
    "Group",
    "Session",
    "begins_anew",
    "compute",
    "groups_of",
    "replayed",
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
        if not (earlier and days[0]) or begins_anew(earlier[-1], days[0][0]):
            break
        anchor = next((i for i in range(len(earlier) - 1, 0, -1) if begins_anew(*earlier[i - 1 : i + 1])), 0)
        days.insert(0, earlier[anchor:])
        if anchor:
            break
    return [state for day in days for state in day]


def begins_anew(before: BookState, state: BookState) -> bool:
    """Whether what ticks remember begins at `state`, which comes next after `before`."""
    is_next = state.time_ms == before.time_ms + STEP_MS
    return state.follows_gap or not is_next or book_problem(before) is not None
