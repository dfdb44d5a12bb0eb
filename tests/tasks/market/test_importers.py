from __future__ import annotations

import csv
import io
import zipfile
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_sources import flat_quote, write_lean, write_okcoin, write_sgx

from earmark.errors import InputError
from earmark.orderbook.book import Applied, OrderBook
from earmark.orderbook.events import BookUpdate, Candle, Levels, Trade
from earmark.tasks.market.importers.candles import MAX_FILL_MINUTES, MINUTE_MS, minute_candles, price_bars
from earmark.tasks.market.importers.recording import Recording
from earmark.tasks.market.importers.sources import read_source

REAL = Path("../shared/data/market")
needs_real_data = pytest.mark.skipif(
    not REAL.is_dir(), reason="recorded market data are not beside the checkout"
)


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


def only(path: Path) -> Recording:
    (recording,) = read_source(path)
    return recording


def events_of(recording: Recording, kind: type) -> list[object]:
    return [event for event in recording.events() if isinstance(event, kind)]


def last_book(recording: Recording) -> tuple[Levels, Levels]:
    """What a book holds after all updates."""
    book = OrderBook(recording.symbol, recording.n_levels)
    for event in recording.events():
        if isinstance(event, BookUpdate):
            assert book.apply(event) in (Applied.SNAPSHOT, Applied.APPLIED)
    return book.top(recording.n_levels)


OPEN_MS = 34_200_000  # half past nine


@pytest.mark.parametrize(
    ("date", "utc"), [("20131007", "2013-10-07T13:30:00"), ("20131104", "2013-11-04T14:30:00")]
)
def test_lean_equities_are_on_new_yorks_clock_and_known_at_the_end_of_their_bar(
    tmp_path: Path, date: str, utc: str
) -> None:
    folder = tmp_path / "equity" / "usa" / "second" / "spy"
    write_lean(folder / f"{date}_quote.zip", [flat_quote(OPEN_MS, 1_672_700, 300, 1_672_800, 200)])
    write_lean(
        folder / f"{date}_trade.zip", [(OPEN_MS + 5_000, 1_670_000, 1_680_000, 1_660_000, 1_675_000, 12)]
    )
    spy = only(tmp_path)
    assert (spy.symbol, spy.source, spy.n_levels, spy.has_quantities) == (
        "SPY",
        "lean equity usa second",
        1,
        True,
    )
    (book,) = events_of(spy, BookUpdate)
    assert isinstance(book, BookUpdate)
    assert book.event_ms == book.sent_ms == ms(utc) + 1_000
    assert book.received_ns == book.event_ms * 1_000_000
    assert (book.bids.tolist(), book.asks.tolist()) == ([[167.27, 300]], [[167.28, 200]])
    (trade,) = events_of(spy, Trade)
    assert trade == Trade(
        "SPY", ms(utc) + 6_000, 167.5, 12, None, f"{(ms(utc) + 6_000) * 10**6}-0", (ms(utc) + 6_000) * 10**6
    )


def test_candles_of_bars_keep_highs_and_lows_and_come_after_their_minute(tmp_path: Path) -> None:
    folder = tmp_path / "equity" / "usa" / "second" / "spy"
    quotes = [flat_quote(OPEN_MS + second * 1_000, 10_000, 1, 10_100, 1) for second in (0, 125)]
    write_lean(folder / "20131007_quote.zip", quotes)
    # The second bar is known when the next minute begins, yet of its own; the minute of the third is not over.
    bars = [
        (OPEN_MS, 20_000, 30_000, 10_000, 20_000, 5),
        (OPEN_MS + 59_000, 20_000, 20_000, 20_000, 25_000, 7),
        (OPEN_MS + 121_000, 40_000, 40_000, 40_000, 40_000, 1),
    ]
    write_lean(folder / "20131007_trade.zip", bars)
    start = ms("2013-10-07T13:30:00")
    spy = only(tmp_path)
    assert spy.candles.rows() == [
        (start, 2.0, 3.0, 1.0, 2.5, 12.0, 2.0 * 5 + 2.5 * 7),
        (start + 60_000, 2.5, 2.5, 2.5, 2.5, 0.0, 0.0),
    ]
    candles = [event for event in spy.events() if isinstance(event, Candle)]
    assert [(candle.received_ns, candle.is_closed) for candle in candles] == [
        ((start + 60_000) * 10**6, True),
        ((start + 120_000) * 10**6, True),
    ]


def test_lean_ticks_without_sizes_say_so_and_have_candles_of_mids(tmp_path: Path) -> None:
    ticks = [(61_195_000, 1.3800, 1.3802), (61_196_000, 1.3804, 1.3804), (61_205_000, 1.38, 1.39)]
    write_lean(tmp_path / "forex" / "fxcm" / "tick" / "eurusd" / "20140504_quote.zip", ticks)
    eurusd = only(tmp_path)
    assert (eurusd.has_quantities, eurusd.candle_source) == (False, "mids")
    quotes = eurusd.quotes()
    assert quotes["time_ms"][0] == ms("2014-05-04T21:59:55")  # just before the week opens in New York
    assert quotes.select(pl.col("bid_quantity", "ask_quantity").is_nan().all()).row(0) == (True, True)
    assert eurusd.candles.rows() == [(ms("2014-05-04T21:59:00"), 1.3801, 1.3801, 1.3801, 1.3801, 0.0, 0.0)]
    assert any("1 of 3 books were crossed or locked" in note for note in eurusd.notes)
    snapshot, delta = (event for event in eurusd.events() if isinstance(event, BookUpdate))
    assert snapshot.is_snapshot and snapshot.bids.tolist() == [[1.38, 1]]
    assert not delta.is_snapshot and delta.update_id == snapshot.update_id + 1
    assert (delta.bids.tolist(), delta.asks.tolist()) == ([], [[1.3802, 0], [1.39, 1]])


def test_the_finest_resolution_is_read_and_the_other_named(tmp_path: Path) -> None:
    for resolution, size in (("second", 1.5), ("minute", 2.5)):
        folder = tmp_path / "crypto" / "gdax" / resolution / "btcusd"
        write_lean(folder / "20161007_quote.zip", [flat_quote(3_000, 611.76, size, 611.78, 1)])
    finest = only(tmp_path)
    assert finest.quotes().row(0, named=True)["time_ms"] == ms("2016-10-07T00:00:04")
    assert any("lean crypto gdax minute" in note for note in finest.notes)
    minute = only(tmp_path / "crypto" / "gdax" / "minute")
    assert minute.quotes()["bid_quantity"].to_list() == [2.5]
    assert minute.quotes()["time_ms"][0] == ms("2016-10-07T00:01:03")


def test_a_side_without_quote_is_an_empty_side(tmp_path: Path) -> None:
    row = (3_000, "", "", "", "", "", 1, 1, 1, 611.78, 1)
    write_lean(tmp_path / "crypto" / "gdax" / "second" / "btcusd" / "20161007_quote.zip", [row])
    recording = only(tmp_path)
    (book,) = events_of(recording, BookUpdate)
    assert isinstance(book, BookUpdate)
    assert book.bids.shape == (0, 2) and book.asks.tolist() == [[611.78, 1]]
    assert recording.quotes().height == 0 and recording.candles.height == 0


def test_okcoin_scales_prices_and_skips_end_marks(tmp_path: Path) -> None:
    start = 1_457_002_800_000
    books = [(484, 280_949, 280, 280_952, 4_450, 280_933, 0, 280_953, 10), (172, 1, 1, 2, 1, 1, 0, 3, 1)]
    trades = [
        (171, 1, 280_948, 1_820),
        (171, 1, 280_948, 1_820),
        (171, 0, 280_940, 500),
        (171, 2, None, None),
    ]
    btc = only(write_okcoin(tmp_path, start, books, trades))
    assert (btc.symbol, btc.n_levels) == ("BTCCNY", 2)
    assert btc.books.time_ns.tolist() == [(start + 172) * 10**6, (start + 484) * 10**6]
    bids, asks = last_book(btc)
    assert bids.tolist() == [[2809.49, 0.028]]  # the second level has no amount
    assert asks.tolist() == [[2809.52, 0.445], [2809.53, 0.001]]
    told = [
        (t.price, t.quantity, t.is_buy, t.trade_id) for t in events_of(btc, Trade) if isinstance(t, Trade)
    ]
    time_ns = (start + 171) * 10**6
    assert told == [
        (2809.48, 0.182, True, f"{time_ns}-0"),
        (2809.48, 0.182, True, f"{time_ns}-1"),
        (2809.40, 0.05, False, f"{time_ns}-2"),
    ]


SGX_LINES = (
    "Bid,Bid_Quantity,Ask,Ask_Quantity",
    "TimeStamp,2014-01-09D08:45:00.130972200",
    "672500.0,20.0,683000.0,2.0",
    "667500.0,1.0,684500.0,2.0",
    "TimeStamp,2014-01-09D08:45:00.386972200",
    "672500.0,20.0,683000.0,2.0",
    "0.0,0.0,684500.0,5.0",
    "TimeStamp,2014-01-09D08:45:00.999972200",
    "672500.0,20.0,683000.0,2.0",
)


def test_sgx_is_on_singapores_clock_in_hundredths_and_leaves_out_a_cut_block(tmp_path: Path) -> None:
    write_sgx(tmp_path / "order_book_2_2014_1_9.csv", SGX_LINES)
    a50 = only(tmp_path)
    start_ns = ms("2014-01-09T00:45:00") * 10**6
    assert a50.books.time_ns.tolist() == [start_ns + part for part in (130_972_200, 386_972_200)]
    assert (a50.symbol, a50.n_levels, a50.candle_source) == ("A50", 2, "mids")
    bids, asks = last_book(a50)
    assert bids.tolist() == [[6725, 20]] and asks.tolist() == [[6830, 2], [6845, 5]]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (["Bid,Ask", *SGX_LINES[1:]], "expected the header"),
        ([], "expected the header"),
        (SGX_LINES[:1], "holds no block"),
        ((*SGX_LINES[:3], *SGX_LINES[1:]), "blocks differ in length"),
        ((*SGX_LINES[:3], "x,1,2,3"), "expected a time or"),
        ((SGX_LINES[0], "TimeStamp,today", *SGX_LINES[2:4]), "expected a time or"),
    ],
)
def test_broken_sgx_files_say_what_was_expected(tmp_path: Path, lines: list[str], said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_source(write_sgx(tmp_path / "order_book_2_2014_1_9.csv", lines))


def test_broken_zips_and_databases_say_what_was_expected(tmp_path: Path) -> None:
    path = tmp_path / "equity" / "usa" / "second" / "spy" / "20131007_quote.zip"
    for rows in ([(1, 2)], [("x", *range(10))], [("", *range(10))], []):
        with pytest.raises(InputError, match="expected"):
            read_source(write_lean(path, rows))
    path.write_bytes(b"PK no zip")
    with pytest.raises(InputError, match="expected a zip"):
        read_source(path)
    database = tmp_path / "okcoin_cn" / "btc" / "2016-03" / "2016-03-03" / "2016-03-03-19.depth.db"
    database.parent.mkdir(parents=True)
    database.write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match="expected an SQLite file"):
        read_source(database)


def test_a_wrong_folder_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_source(tmp_path / "nowhere")
    with pytest.raises(
        InputError, match="nothing that is known; expected a file or folder of one kind: LEAN zips"
    ):
        read_source(tmp_path)
    write_lean(tmp_path / "spy" / "20131007_quote.zip", [])
    with pytest.raises(InputError, match="expected the layout"):
        read_source(tmp_path)
    write_sgx(tmp_path / "order_book_2_2014_1_9.csv", SGX_LINES)
    with pytest.raises(InputError, match="LEAN zips and SGX A50 tables"):
        read_source(tmp_path)


def test_trades_without_books_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "equity" / "usa" / "second" / "spy" / "20131007_trade.zip"
    with pytest.raises(InputError, match="no uncrossed book of SPY"):
        read_source(write_lean(path, [(OPEN_MS, 1, 1, 1, 1, 1)]))


TICKS = st.lists(
    st.tuples(st.integers(0, 200 * MINUTE_MS), st.integers(1, 99).map(float), st.integers(1, 9).map(float)),
    min_size=1,
    max_size=40,
)


def candles_of(ticks: list[tuple[int, float, float]], end_ms: int) -> list[tuple[float, ...]]:
    time, price, quantity = (pl.Series(column) for column in zip(*ticks, strict=True))
    return minute_candles(price_bars(time, price, quantity), end_ms).rows()


@given(TICKS, st.integers(0, 210 * MINUTE_MS))
@settings(max_examples=150, deadline=None)
def test_candles_equal_a_plain_loop(ticks: list[tuple[int, float, float]], end_ms: int) -> None:
    ticks.sort(key=lambda tick: tick[0])
    by_minute: dict[int, list[tuple[int, float, float]]] = defaultdict(list)
    for tick in ticks:
        by_minute[tick[0] // MINUTE_MS].append(tick)
    expected: list[tuple[float, ...]] = []
    last, close = -(10**9), 0.0
    for minute in range(end_ms // MINUTE_MS):
        if inside := by_minute.get(minute):
            prices = [tick[1] for tick in inside]
            volume, turnover = sum(tick[2] for tick in inside), sum(tick[1] * tick[2] for tick in inside)
            ohlc = (prices[0], max(prices), min(prices), prices[-1])
            expected.append((minute * MINUTE_MS, *ohlc, volume, turnover))
            last, close = minute, prices[-1]
        elif minute - last <= MAX_FILL_MINUTES:
            expected.append((minute * MINUTE_MS, *[close] * 4, 0.0, 0.0))
    assert candles_of(ticks, end_ms) == expected


@given(TICKS, st.data())
@settings(max_examples=100, deadline=None)
def test_the_future_changes_no_candle(ticks: list[tuple[int, float, float]], data: st.DataObject) -> None:
    ticks.sort(key=lambda tick: tick[0])
    whole = candles_of(ticks, 210 * MINUTE_MS)
    n_known = data.draw(st.integers(1, len(ticks)))
    cut_ms = ticks[n_known - 1][0]
    assert candles_of(ticks[:n_known], cut_ms) == [row for row in whole if row[0] + MINUTE_MS <= cut_ms]


def assert_streams_in_order(recording: Recording) -> None:
    book = OrderBook(recording.symbol, recording.n_levels)
    last_ns, n_books, trade_ids = 0, 0, []
    for event in recording.events():
        assert event.received_ns >= last_ns
        last_ns = event.received_ns
        if isinstance(event, Candle):
            assert event.low <= min(event.open, event.close) <= max(event.open, event.close) <= event.high
            assert event.received_ns == (event.start_ms + MINUTE_MS) * 10**6
        elif isinstance(event, Trade):
            trade_ids.append(event.trade_id)
        else:
            assert book.apply(event) in (Applied.SNAPSHOT, Applied.APPLIED)
            if n_books % 50 == 0:
                bids, asks = book.top(99)
                assert np.array_equal(bids, recording.books.bids[n_books])
                assert np.array_equal(asks, recording.books.asks[n_books])
            n_books += 1
    assert (n_books, len(trade_ids)) == (len(recording.books), recording.trades.height)
    assert len(set(trade_ids)) == len(trade_ids)
    breaks = np.diff(recording.books.time_ns) > MAX_FILL_MINUTES * MINUTE_MS * 10**6
    assert book.counts[Applied.SNAPSHOT] == 1 + breaks.sum()


@needs_real_data
@pytest.mark.parametrize(
    ("folder", "symbols"),
    [
        ("lean/equity/usa/second/aig", {"AIG": 1}),
        ("lean/crypto", {"BTCUSD": 1}),
        ("okcoin_2016", {"BTCCNY": 20}),
        ("sgx_a50_2014", {"A50": 3}),
        pytest.param("lean", {"AIG": 1, "BTCUSD": 1, "EURUSD": 1, "SPY": 1}, marks=pytest.mark.slow),
    ],
)
def test_recorded_sources_stream_in_order_through_the_book(folder: str, symbols: dict[str, int]) -> None:
    recordings = read_source(REAL / folder)
    assert {recording.symbol: recording.n_levels for recording in recordings} == symbols
    for recording in recordings:
        assert_streams_in_order(recording)


@needs_real_data
def test_recorded_equity_equals_a_plain_reader() -> None:
    folder = REAL / "lean" / "equity" / "usa" / "second" / "spy"
    rows = []
    for path in sorted(folder.glob("*_quote.zip")):
        midnight = ms(f"{path.name[:4]}-{path.name[4:6]}-{path.name[6:8]}T04:00:00")  # New York in October
        with zipfile.ZipFile(path) as archive:
            text = archive.read(archive.namelist()[0]).decode()
        for row in csv.reader(io.StringIO(text)):
            bid, ask = float(row[4]) / 10_000, float(row[9]) / 10_000
            if bid < ask:
                rows.append((midnight + int(row[0]) + 1_000, bid, float(row[5]), ask, float(row[10])))
    spy = only(folder)
    columns = ("time_ms", "bid", "bid_quantity", "ask", "ask_quantity")
    assert spy.quotes().select(columns).rows() == rows
    busiest = spy.candles.sort("volume")["start_ms"][-1]
    assert 13.5 <= (busiest / 3_600_000) % 24 < 20  # the regular session in UTC


@needs_real_data
def test_recorded_takers_buy_above_the_mid_before_them() -> None:
    btc = only(REAL / "okcoin_2016")
    mid = btc.books.bids[:, 0, 0] / 2 + btc.books.asks[:, 0, 0] / 2
    before = np.searchsorted(btc.books.time_ns, btc.trades["time_ns"].to_numpy()) - 3
    known = before >= 0
    above = btc.trades["price"].to_numpy()[known] > mid[before[known]]
    is_buy = btc.trades["is_buy"].to_numpy()[known]
    assert above[is_buy].mean() > 0.7 > 0.45 > above[~is_buy].mean()


@needs_real_data
def test_trades_are_named_alike_however_much_is_read() -> None:
    day = [REAL / "okcoin_2016", REAL / "okcoin_2016" / "db_sample" / "okcoin_cn"]
    whole, part = ([e.trade_id for e in only(path).events() if isinstance(e, Trade)] for path in day)
    assert whole == part and whole
