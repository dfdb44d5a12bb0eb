"""A collector that is killed, or whose disk is full: what was on the disk comes into the stores, once."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp")

from earmark.store.journal import read_journal
from earmark.store.offline import FeatureStore
from earmark.store.raw import RawStore
from earmark.tasks.market.collect.replay import replay_journal
from earmark.tasks.market.collect.simulated import SimulatedExchange, clock_of, simulated_exchange
from earmark.tasks.market.collect.stores import unwritten_samples

SYMBOLS = ("BTCUSDT", "ETHUSDT", "4USDT")
SPEED = 10.0
PROCESS = Path(__file__).with_name("collector_process.py")

Key = tuple[str, int]


@pytest.fixture
def exchange() -> Iterator[SimulatedExchange]:
    with simulated_exchange(SYMBOLS, venue="bybit", speed=SPEED) as running:
        yield running


@contextmanager
def collector(folder: Path, exchange: SimulatedExchange, **changes: Any) -> Iterator[subprocess.Popen[str]]:
    wanted = {
        "symbols": SYMBOLS,
        "websocket_url": exchange.websocket_url,
        "rest_url": exchange.rest_url,
        "max_samples_per_file": 2000,
        "collection_interval": 1,
        "flush_raw_s": 1e9,
        **changes,
    }
    command = [sys.executable, str(PROCESS), str(folder), json.dumps(wanted)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
        try:
            yield child
        finally:
            child.kill()


def wait_for_samples(child: subprocess.Popen[str], least: int) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if int(line) >= least:
            return
    raise AssertionError(f"ended: {child.stderr.read() if child.stderr else ''}")


def ended(child: subprocess.Popen[str]) -> dict[str, Any]:
    child.send_signal(signal.SIGTERM)
    assert child.stdout is not None and child.stderr is not None
    *_, last = child.stdout.read().splitlines()
    assert child.wait(30) == 0, child.stderr.read()
    return json.loads(last)


def stored_samples(folder: Path) -> list[Key]:
    table = FeatureStore(folder / "data" / "feature_store").table("training_features")
    return table.scan().select("symbol", "sample_time_ms").collect().rows() if table.exists else []


def logged_samples(folder: Path) -> set[Key]:
    waiting = unwritten_samples(folder / "data" / "collector" / "samples")
    return {(symbol, sample.time_ms) for symbol, samples in waiting.items() for sample in samples}


def journalled(folder: Path) -> dict[str, set[Any]]:
    """Keys of what the journal holds; without features, for which history may have been cut off."""
    rows = replay_journal(folder / "data" / "collector" / "journal", with_features=False).rows
    return {
        "trades": {(s, row.trade_id) for s, of_symbol in rows.items() for row in of_symbol.trades},
        "book_steps": {(s, row.time_ms) for s, of_symbol in rows.items() for row in of_symbol.book_steps},
    }


def stored_rows(folder: Path) -> dict[str, list[Any]]:
    raw = RawStore(folder / "data" / "raw")
    columns = {"trades": "trade_id", "book_steps": "time_ms"}
    return {
        stream: [
            row for s in SYMBOLS for row in raw.scan(stream, s).select("symbol", column).collect().rows()
        ]
        for stream, column in columns.items()
    }


def test_a_collector_killed_loses_a_tenth_of_a_second_and_no_sample(tmp_path, exchange):
    with collector(tmp_path, exchange) as child:
        wait_for_samples(child, 12)
        killed_ns = clock_of(exchange.rest_url).now_ns()
        child.kill()
        child.wait()
    samples, rows = logged_samples(tmp_path), journalled(tmp_path)
    newest_ns = max(record.received_ns for record in read_journal(tmp_path / "data/collector/journal"))
    assert (killed_ns - newest_ns) / 1e9 / SPEED < 0.5  # 0.1 s to a commit; the rest is for a busy machine
    assert len(samples) >= 12
    last_tick = max(time_ms for _, time_ms in samples)
    closed = {(s, t) for s, t in rows["book_steps"] if t <= last_tick}
    assert len(closed - samples) <= len(SYMBOLS)  # at most the tick on its way

    with collector(tmp_path, exchange) as child:
        wait_for_samples(child, 3)
        done = ended(child)
    assert done["recovered"] == len(samples)
    stored = stored_samples(tmp_path)
    assert len(stored) == len(set(stored)) == len(samples) + done["samples"]
    assert samples <= set(stored)
    kept = stored_rows(tmp_path)
    for stream, keys in rows.items():
        assert keys <= set(kept[stream])
        assert len(kept[stream]) == len(set(kept[stream]))


@pytest.mark.slow
def test_a_full_disk_stops_it_and_the_next_start_finds_everything(tmp_path, exchange):
    with collector(tmp_path, exchange, largest_file=600_000) as child:
        assert child.wait(60) == 2
        assert child.stderr is not None
        said = child.stderr.read()
    assert "cannot be written" in said and "committed before is safe" in said
    samples, rows = logged_samples(tmp_path), journalled(tmp_path)
    assert rows["trades"]
    with collector(tmp_path, exchange) as child:
        wait_for_samples(child, 3)
        ended(child)
    assert samples <= set(stored_samples(tmp_path))
    kept = stored_rows(tmp_path)
    assert all(keys <= set(kept[stream]) for stream, keys in rows.items())


@pytest.mark.slow
def test_a_collector_killed_at_random_instants(tmp_path, exchange):
    """Also in the middle of flushes: files are small and the raw store is written every second."""
    seed = 7
    instants = random.Random(seed)
    samples: set[Key] = set()
    rows: dict[str, set[Any]] = {"trades": set(), "book_steps": set()}
    small = {"max_samples_per_file": 2, "flush_raw_s": 10}
    for _ in range(20):
        with collector(tmp_path, exchange, **small) as child:
            wait_for_samples(child, 1)
            time.sleep(instants.uniform(0, 2))
            child.kill()
            child.wait()
        samples |= logged_samples(tmp_path) | set(stored_samples(tmp_path))
        for stream, keys in journalled(tmp_path).items():
            rows[stream] |= keys
    with collector(tmp_path, exchange, **small) as child:
        wait_for_samples(child, 1)
        ended(child)
    stored = stored_samples(tmp_path)
    assert len(stored) == len(set(stored))
    assert samples <= set(stored)
    kept = stored_rows(tmp_path)
    for stream, keys in rows.items():
        assert keys <= set(kept[stream])
        assert len(kept[stream]) == len(set(kept[stream]))
