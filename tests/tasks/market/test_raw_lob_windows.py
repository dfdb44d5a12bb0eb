"""States of the raw book wait within bounds, reach the disk in order, and are kept as long as asked."""

import numpy as np
import polars as pl
import pytest

from earmark.orderbook.book import OrderBook
from earmark.orderbook.events import BookUpdate
from earmark.store.times import DAY_MS, utc_date
from earmark.tasks.market.collect import raw_lob
from earmark.tasks.market.collect.raw_lob import RawLobOptions, RawLobWindows
from earmark.tasks.market.collect.raw_lob_files import remove_expired, window_files, write_windows
from earmark.tasks.market.settings import MarketSettings

START_MS = 1_750_032_000_000


def book_at(symbol, time_ms, bid=100.0):
    book = OrderBook(symbol)
    levels = np.array([[bid, 1.0]]), np.array([[bid + 1, 2.0]])
    book.apply(BookUpdate(symbol, True, *levels, 1, 1, time_ms, time_ms, time_ms * 1_000_000))
    assert book.is_healthy
    return book


def filled(options, n=3, symbols=("A", "B")):
    windows = RawLobWindows(symbols, options)
    for i in range(n):
        for symbol in symbols:
            windows.take(book_at(symbol, START_MS + 5000 * i, 100.0 + i), 0.1)
    return windows


def test_a_state_is_taken_at_its_distance_and_a_full_ring_asks_for_the_disk():
    windows = RawLobWindows(("A",), RawLobOptions(levels=2, ring=2))
    asked = [windows.take(book_at("A", START_MS + ms), 0.1) for ms in (0, 4999, 5000, 5000)]
    assert asked == [False, False, True, False]
    assert not windows.take(book_at("A", START_MS + 60_000), 21.0)
    assert windows.counts == {"collected": 2, "interval": 1, "duplicate": 1, "adaptive": 1}


def test_few_states_wait_until_memory_is_short_or_the_end():
    assert not filled(RawLobOptions(min_states=10)).due()
    assert len(filled(RawLobOptions(min_states=10)).due(at_end=True)["A"]) == 3
    short = filled(RawLobOptions(min_states=10, max_memory_mb=0.003))
    assert set(short.due()) == {"A", "B"} and short.counts["emergency_saves"] == 1


def test_what_could_not_be_written_comes_back_before_what_came_since(tmp_path, monkeypatch):
    windows = filled(RawLobOptions(levels=2))
    states = windows.due(at_end=True)
    windows.take(book_at("B", START_MS + 15_000), 0.1)

    def full_disk(root, of_symbols, levels):
        if "B" in of_symbols:
            raise OSError("No space left on device")
        return write_windows(root, of_symbols, levels)

    monkeypatch.setattr(raw_lob, "write_windows", full_disk)
    with pytest.raises(OSError, match="No space"):
        windows.save(tmp_path, states, START_MS)
    assert windows.counts["saved"] == 3 and windows.counts["put_back"] == 3
    monkeypatch.undo()
    windows.save(tmp_path, windows.due(at_end=True), START_MS)
    for symbol, n in (("A", 3), ("B", 4)):
        (path,) = window_files(tmp_path, symbol)
        rows = pl.read_parquet(path, hive_partitioning=False)
        assert rows["timestamp"].to_list() == [START_MS + 5000 * i for i in range(n)]
        assert rows.columns == [
            *("symbol", "timestamp", "mid_price", "spread"),
            *(f"{s}_{i}" for i in range(2) for s in ("bid_price", "bid_volume", "ask_price", "ask_volume")),
        ]
    assert windows.counts["files"] == 2 and windows.counts["saved"] == 7


def test_days_are_removed_when_they_have_been_kept_long_enough(tmp_path):
    row = np.concatenate([[0.0, 100.5, 1.0], np.ones(4)])
    for age in range(33):
        row[0] = START_MS - age * DAY_MS
        write_windows(tmp_path, {"A": [row.copy()]}, 1)
    windows = RawLobWindows(("A",), RawLobOptions(levels=1))
    windows.save(tmp_path, {}, START_MS)
    assert len(window_files(tmp_path, "A")) == 33  # kept unless asked otherwise
    windows = RawLobWindows(("A",), RawLobOptions(levels=1, keep_days=30))
    windows.save(tmp_path, {}, START_MS)
    days = [path.parent.name.removeprefix("date=") for path in window_files(tmp_path, "A")]
    assert days[0] == utc_date(START_MS - 30 * DAY_MS) and len(days) == 31
    assert windows.counts["expired_files"] == 2 and remove_expired(tmp_path, 30, START_MS) == 0


def test_every_setting_reaches_the_options():
    market = MarketSettings(
        levels=7, min_interval_ms=100, raw_lob_ring=2000, raw_lob_memory_mb=9, raw_lob_keep_days=30
    )
    assert RawLobOptions.of(market) == RawLobOptions(7, 100, 2000, 9, keep_days=30)
    assert RawLobOptions.of(MarketSettings()) == RawLobOptions()
