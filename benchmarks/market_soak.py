"""A long run of the collector against an exchange that misbehaves, and the books balanced at its end.

Two processes: the simulated exchange, and `earmark collect market` on it with the wall's clock. This one lets faults
happen at random, writes down when, watches memory and processor time, and at the end compares what the exchange says it
sent with what lies in the stores. Every difference must be explained by a fault or by what was on its way when a socket
closed. Exit code 1 if one is not.

::

    python benchmarks/market_soak.py --minutes 5 --symbols 50
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import polars as pl

from earmark.store.journal import read_journal
from earmark.store.offline import FeatureStore
from earmark.store.raw import RawStore
from earmark.tasks.market.collect.replay import replay_journal
from earmark.tasks.market.collect.stores import unwritten_samples
from earmark.tasks.market.schema import GROUP, V2_GROUP, market_store_schemas

STEP_MS, SAMPLE_MS, MINUTE_MS = 3_000, 30_000, 60_000

BREAKING = ("drop", "reorder", "restart", "crossed", "close")
"""Faults after which a book is not whole; history begins anew."""

PAUSING = ("stall", "delay")
"""Faults that break a book where they last longer than a book may be stale."""

HARMLESS = ("duplicate", "malformed", "late_candle", "server_ping", "rest_429", "rest_500")
"""Faults that must leave no mark."""

STALE_S = 10.0
RECOVERY_S = 90.0
"""Longest time from a fault to a book that is whole again: back-off of a connection included."""

ON_ITS_WAY = 60
"""Messages of a symbol that may be lost with a socket that closes."""


_projects: dict[int, Path] = {}
"""Process of a collector -> its folder."""


@dataclass(frozen=True)
class Happened:
    """A fault, and the wall's time of it."""

    at_ms: int
    kind: str
    symbol: str
    duration_s: float

    @property
    def may_break(self) -> bool:
        return self.kind in BREAKING or (self.kind in PAUSING and self.duration_s > STALE_S - 1)

    @property
    def must_break(self) -> bool:
        """Between two ticks a book may grow stale and fresh again unseen: longer than a step, it cannot."""
        return self.kind in BREAKING or (self.kind in PAUSING and self.duration_s > STALE_S + STEP_MS / 1_000)

    @property
    def until_ms(self) -> int:
        return self.at_ms + int(1_000 * (self.duration_s if self.kind in PAUSING else 0))


@dataclass
class Watched:
    """What was seen of the collector while it ran."""

    happened: list[Happened] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    cpu_s: float = 0.0
    wall_s: float = 0.0


@dataclass
class Balance:
    """The comparison: rows for the table, and what does not fit."""

    wrong: list[str] = field(default_factory=list)
    totals: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, amount: int) -> None:
        self.totals[name] = self.totals.get(name, 0) + amount

    def check(self, fits: bool, message: str) -> None:
        if not fits:
            self.wrong.append(message)


def main() -> int:
    given = _parser().parse_args()
    symbols = [f"S{number:02d}USDT" for number in range(1, given.symbols)] + ["4USDT"]
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        project = Path(name)
        with exchange(symbols, given.seed, given.trades_per_s) as urls:
            with collector(project, symbols, urls) as child:
                watched = watch(child, urls["rest_url"], symbols, given)
                finished = end(child)
            ledger = json.load(urlopen(urls["rest_url"] + "/simulator/ledger"))
        balance = balanced(project / "data", symbols, ledger, finished, watched)
        report(given, watched, finished, ledger, balance)
    return 1 if balance.wrong else 0


@contextmanager
def exchange(symbols: list[str], seed: int, trades_per_s: float) -> Iterator[dict[str, str]]:
    """The simulated exchange as a process."""
    command = [sys.executable, "-m", "earmark.tasks.market.simulator", "--symbols", ",".join(symbols)]
    command += ["--seed", str(seed), "--trades-per-s", str(trades_per_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield json.loads(child.stdout.readline())
        finally:
            child.terminate()


@contextmanager
def collector(project: Path, symbols: list[str], urls: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """`earmark collect market` as a process; its log is in the project."""
    command = [sys.executable, "-m", "earmark", "collect", "market", "--symbols", ",".join(symbols)]
    command += ["--url", urls["websocket_url"], "--rest-url", urls["rest_url"], "--format", "json"]
    command += ["--profile", "bot", "--flush-raw-s", "60"]
    with (
        (project / "log.txt").open("w") as log,
        subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=log, text=True) as child,
    ):
        _projects[child.pid] = project
        try:
            yield child
        finally:
            child.kill()


def watch(
    child: subprocess.Popen[str], rest_url: str, symbols: list[str], given: argparse.Namespace
) -> Watched:
    """Let faults happen until the time is over, and leave the last two minutes for recovery."""
    draw = random.Random(given.seed)
    watched = Watched()
    _wait_until_live(child, _projects[child.pid] / "data/collector/status.json")
    begun, used = time.monotonic(), _cpu_s(child.pid)
    quiet_s = min(120.0, 20 * given.minutes)
    next_fault = begun + draw.expovariate(1 / given.mean_s)
    while (now := time.monotonic()) - begun < 60 * given.minutes:
        if child.poll() is not None:
            raise SystemExit(f"the collector ended by itself with {child.returncode}: {_said(child)}")
        if now >= next_fault and now - begun < 60 * given.minutes - quiet_s:
            next_fault = now + draw.expovariate(1 / given.mean_s)
            watched.happened.append(_let_happen(draw, rest_url, symbols))
        if len(watched.rss_mb) <= (now - begun) / 5:
            watched.rss_mb.append(_rss_mb(child.pid))
        time.sleep(0.05)
    watched.cpu_s, watched.wall_s = _cpu_s(child.pid) - used, time.monotonic() - begun
    return watched


def _let_happen(draw: random.Random, rest_url: str, symbols: list[str]) -> Happened:
    kind = draw.choice((*BREAKING, *PAUSING, *HARMLESS))
    symbol, duration_s, value = draw.choice(symbols), round(draw.uniform(1, 15), 1), draw.randint(1, 3)
    happened = Happened(time.time_ns() // 1_000_000, kind, symbol, duration_s)
    text = f"{kind}@0+{duration_s}:{symbol}={value}"
    urlopen(Request(rest_url + "/simulator/faults", text.encode(), method="POST")).close()
    return happened


def _said(child: subprocess.Popen[str]) -> str:
    """The end of its log."""
    return "\n".join((_projects[child.pid] / "log.txt").read_text().splitlines()[-12:])


def _wait_until_live(child: subprocess.Popen[str], status: Path, longest_s: float = 600.0) -> None:
    deadline = time.monotonic() + longest_s
    while time.monotonic() < deadline and child.poll() is None:
        if status.exists():
            rows = json.loads(status.read_text())["symbols"].values()
            if all(row["state"] == "live" for row in rows):
                return
        time.sleep(0.5)
    raise SystemExit(f"the collector did not become live: {_said(child)}")


def end(child: subprocess.Popen[str]) -> dict[str, Any]:
    """Stop it in order; its statistics."""
    child.send_signal(signal.SIGTERM)
    said, _ = child.communicate(timeout=300)
    if child.returncode:
        raise SystemExit(f"the collector ended with {child.returncode}: {_said(child)}")
    return json.loads(said)


def balanced(
    data: Path, symbols: list[str], ledger: dict[str, Any], finished: dict[str, Any], watched: Watched
) -> Balance:
    """Compare everything."""
    balance, raw = Balance(), RawStore(data / "raw")
    store = FeatureStore(data / "feature_store", schemas=market_store_schemas())
    samples = store.table(GROUP).scan().collect()
    groups = [symbols[start : start + 10] for start in range(0, len(symbols), 10)]
    for symbol in symbols:
        account, row = ledger["symbols"][symbol], finished["symbols"][symbol]
        group = next(group for group in groups if symbol in group)
        faults = [
            one
            for one in watched.happened
            if one.symbol == symbol or (one.kind == "close" and one.symbol in group)
        ]
        check_trades(balance, raw, symbol, account)
        check_updates(balance, raw, symbol, account, row, faults)
        check_gaps(balance, raw, symbol, faults)
        check_candles(balance, raw, symbol)
        check_track(balance, raw, symbol)
        check_samples(balance, symbol, samples.filter(pl.col("symbol") == symbol), row)
    v2 = store.table(V2_GROUP).scan().select("symbol", "timestamp").collect()
    balance.check(
        v2.equals(samples.select("symbol", "timestamp")), "the two groups of features differ in rows"
    )
    left = replay_journal(data / "collector" / "journal", with_features=False).rows.values()
    balance.check(not any(map(len, left)), "the journal holds rows after an orderly end")
    balance.check(not unwritten_samples(data / "collector" / "samples"), "the sample log holds samples")
    balance.add("journal_records", sum(1 for _ in read_journal(data / "collector" / "journal")))
    return balance


def check_trades(balance: Balance, raw: RawStore, symbol: str, account: dict[str, Any]) -> None:
    """Each trade once; of those sent, all up to the newest that was kept."""
    kept = raw.scan("trades", symbol).collect()
    numbers = kept["trade_id"].str.extract(r"(\d+)$").cast(pl.Int64)
    newest = int(numbers.max() or 0)  # type: ignore[arg-type]
    sent = {n for first, last in account["sent"]["trade_numbers"] for n in range(first, last + 1)}
    known = set(numbers.to_list())
    missing = {n for n in sent - known if n <= newest}
    balance.check(len(known) == len(kept), f"{symbol}: {len(kept) - len(known)} trades twice")
    balance.check(
        not missing, f"{symbol}: {len(missing)} trades were sent and not kept, {sorted(missing)[:5]}"
    )
    balance.check(
        len(sent - known) <= ON_ITS_WAY, f"{symbol}: {len(sent - known)} trades on their way at the end"
    )
    balance.check(len(known) <= account["made"]["trades"] + 1_000, f"{symbol}: more trades kept than made")
    for name, amount in (
        ("trades made", account["made"]["trades"]),
        ("trades sent", len(sent)),
        ("trades kept", len(kept)),
        ("trades by REST alone", len(known - sent)),
        ("trades on their way at the end", len(sent - known)),
    ):
        balance.add(name, amount)


def check_updates(
    balance: Balance,
    raw: RawStore,
    symbol: str,
    account: dict[str, Any],
    row: dict[str, Any],
    faults: list[Happened],
) -> None:
    """Every message of the book that was sent is counted, and every one that was applied is in a row."""
    sent = account["sent"].get("book_snapshots", 0) + account["sent"].get("book_deltas", 0)
    received = sum(row["updates"].values())
    n_closed = sum(one.kind == "close" for one in faults)
    lost = sent - received
    balance.check(row["counts"]["updates"] == received, f"{symbol}: updates are counted in two ways")
    balance.check(
        0 <= lost <= ON_ITS_WAY * (n_closed + 1), f"{symbol}: {sent} book messages sent, {received} received"
    )
    steps = raw.scan("book_steps", symbol).collect()
    applied = row["updates"].get("applied", 0) + row["updates"].get("snapshot", 0)
    open_end = applied - int(steps["n_updates"].sum())
    balance.check(0 <= open_end <= ON_ITS_WAY, f"{symbol}: {applied} updates applied, {open_end} in no row")
    for name, amount in (
        ("book messages sent", sent),
        ("book messages received", received),
        ("book messages lost with a socket", lost),
        (
            "book messages withheld by faults",
            sum(v for k, v in account["withheld"].items() if k.startswith("book")),
        ),
        ("book_steps kept", len(steps)),
        *((f"updates {outcome}", n) for outcome, n in row["updates"].items()),
    ):
        balance.add(name, amount)


def check_gaps(balance: Balance, raw: RawStore, symbol: str, faults: list[Happened]) -> None:
    """A mark or a missing tick has a fault before it; a fault that breaks a book has a mark or a hole behind it."""
    steps = raw.scan("book_steps", symbol).select("time_ms", "follows_gap").collect()
    times = steps["time_ms"].to_list()
    marks = steps.filter("follows_gap")["time_ms"].to_list()[1:]  # the first is the start
    holes = [(a, b) for a, b in pairwise(times) if b - a != STEP_MS]
    balance.check(steps["time_ms"].is_unique().all(), f"{symbol}: a tick twice")
    balance.check(all(time_ms % STEP_MS == 0 for time_ms in times), f"{symbol}: a row off the clock")
    breaking = [one for one in faults if one.may_break]
    reach = int(1_000 * RECOVERY_S)
    for mark in marks:
        explained = any(one.at_ms - 1_000 <= mark <= one.until_ms + reach for one in breaking)
        balance.check(explained, f"{symbol}: the gap marked at {mark} has no cause")
    for first, last in holes:
        explained = any(one.at_ms - STEP_MS <= last and one.until_ms + reach >= first for one in breaking)
        balance.check(explained, f"{symbol}: no rows from {first} to {last} without a cause")
    for one in (one for one in breaking if one.must_break):
        marked = any(one.at_ms <= mark <= one.until_ms + reach for mark in marks)
        balance.check(marked, f"{symbol}: {one.kind} at {one.at_ms} left no mark")
    balance.add("faults that break a book", len(breaking))
    balance.add("gaps marked", len(marks))
    balance.add("ticks without a book", sum((last - first) // STEP_MS - 1 for first, last in holes))


def check_candles(balance: Balance, raw: RawStore, symbol: str) -> None:
    """Every minute has one closed candle."""
    rows = raw.scan("candles", symbol).collect()
    starts = rows.filter("is_closed")["start_ms"].to_list()
    whole = list(range(starts[0], starts[-1] + 1, MINUTE_MS))
    balance.check(starts == whole, f"{symbol}: {len(starts)} closed candles in {len(whole)} minutes")
    balance.add("candles closed", len(starts))
    balance.add("candles forming", len(rows) - len(starts))


def check_track(balance: Balance, raw: RawStore, symbol: str) -> None:
    """The price track is in order, each row once."""
    rows = raw.scan("bbo", symbol).collect()
    balance.check(rows["time_ms"].is_sorted(), f"{symbol}: the price track goes back")
    balance.check(rows.is_unique().all(), f"{symbol}: a row of the price track twice")
    balance.add("bbo kept", len(rows))


def check_samples(balance: Balance, symbol: str, rows: pl.DataFrame, row: dict[str, Any]) -> None:
    """What was due was taken or has a reason, and what was taken is in the store once, on the clock."""
    n_skipped = sum(row["skipped"].values())
    balance.check(
        row["expected"] == row["total_samples"] + n_skipped,
        f"{symbol}: {row['expected']} samples due, {row['total_samples']} taken, {n_skipped} skipped",
    )
    balance.check(
        len(rows) == row["total_samples"], f"{symbol}: {len(rows)} rows of {row['total_samples']} samples"
    )
    balance.check((rows["sample_time_ms"] % SAMPLE_MS == 0).all(), f"{symbol}: a sample off the clock")
    balance.check(rows["sample_time_ms"].is_unique().all(), f"{symbol}: a sample twice")
    balance.check(rows.select("symbol", "timestamp").is_unique().all(), f"{symbol}: a key twice")
    for name, amount in (
        ("samples due", row["expected"]),
        ("samples kept", len(rows)),
        *((f"samples skipped: {code}", n) for code, n in row["skipped"].items()),
    ):
        balance.add(name, amount)


def report(
    given: argparse.Namespace,
    watched: Watched,
    finished: dict[str, Any],
    ledger: dict[str, Any],
    balance: Balance,
) -> None:
    """Print the table."""
    kinds: dict[str, int] = {}
    for one in watched.happened:
        kinds[one.kind] = kinds.get(one.kind, 0) + 1
    early = watched.rss_mb[min(12, len(watched.rss_mb) - 1)]
    print(f"{given.symbols} symbols, {watched.wall_s / 60:.1f} minutes, seed {given.seed}")
    print("faults: " + ", ".join(f"{kind} {n}" for kind, n in sorted(kinds.items())))
    print(f"sockets: {ledger['sockets']}; requests: {ledger['requests']}")
    for name, amount in balance.totals.items():
        print(f"  {name:40} {amount:>12,}")
    print(
        f"memory {early:.0f} MB after a minute, {watched.rss_mb[-1]:.0f} MB at the end, {max(watched.rss_mb):.0f} most"
    )
    print(f"processor {watched.cpu_s / watched.wall_s:.1%} of one core")
    print(
        f"event loop held {finished['worst_loop_lag_ms']:.0f} ms at most, busy {finished['worst_loop_busy_ms']:.0f} ms "
        f"at most; samples at most {finished['jitter_ms']:.0f} "
        f"ms after their tick; clock offset {finished['clock_offset_ms']:.1f} ms; "
        f"{finished['missed_ticks']} ticks missed"
    )
    print(f"counts: {finished['counts']}")
    print("\n".join(f"MISMATCH {message}" for message in balance.wrong) or "everything fits")


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _rss_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--symbols", type=int, default=50)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--mean-s", type=float, default=10, help="seconds from fault to fault in the mean")
    parser.add_argument("--trades-per-s", type=float, default=2, help="of each symbol")
    parser.add_argument("--folder", help="where the project is made and removed again")
    return parser


if __name__ == "__main__":
    sys.exit(main())
