"""The collector against the simulated exchange: nothing lost, nothing twice, and from what is kept the same bits."""

from __future__ import annotations

import asyncio

import numpy as np
import polars as pl
import pytest

pytest.importorskip("aiohttp")
import aiohttp.web  # noqa: F401  (the simulator takes it from the package)
from collecting import START_MS, all_live, collect, collector_of, options, reached

from earmark.errors import UsageError
from earmark.orderbook.catalog import FEATURE_NAMES, V2_NAMES
from earmark.orderbook.replay import replay
from earmark.store.journal import Journal
from earmark.store.offline import FeatureStore
from earmark.store.raw import STREAMS, RawStore, rows_to_table
from earmark.tasks.market.collect.collector import Collector
from earmark.tasks.market.collect.reconcile import reconcile
from earmark.tasks.market.collect.replay import replay_journal
from earmark.tasks.market.collect.stores import unwritten_samples
from earmark.tasks.market.schema import SCHEMA
from earmark.tasks.market.simulator.server import ExchangeSimulator

SYMBOLS = ("BTCUSDT", "4USDT")
FAULTS = (
    "drop@20:BTCUSDT=2,duplicate@35,restart@47:4USDT,crossed@55:BTCUSDT,close@75,malformed@90,delay@100+3"
)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    """Minutes with faults of every kind that passes by itself."""
    folder = tmp_path_factory.mktemp("session")
    until = reached(150)
    collector, finished, ledger = collect(
        options(folder, SYMBOLS), lambda c: until(c) and all_live(c), speed=20, faults=FAULTS
    )
    return folder / "data", collector, finished, ledger


def test_every_trade_is_kept_once_whatever_happened(session):
    data, _, _, ledger = session
    for symbol in SYMBOLS:
        trades = RawStore(data / "raw").scan("trades", symbol).collect()
        assert trades["trade_id"].is_unique().all()
        n_made = ledger["symbols"][symbol]["made"]["trades"]
        ranges = ledger["symbols"][symbol]["sent"]["trade_numbers"]
        n_sent = sum(last - first + 1 for first, last in ranges)
        assert n_made >= len(trades) >= n_sent - 5  # the last ones may have been on their way at the end


def test_minutes_are_unique_and_without_a_hole(session):
    data, _, _, _ = session
    for symbol in SYMBOLS:
        candles = RawStore(data / "raw").scan("candles", symbol).filter("is_closed").collect()
        starts = candles["start_ms"].to_list()
        assert starts == list(range(starts[0], starts[-1] + 1, 60_000))
        assert starts[-1] >= START_MS + 60_000


def test_samples_lie_on_the_clock_and_are_healthy(session):
    data, _, finished, _ = session
    rows = FeatureStore(data / "feature_store").table("training_features").scan().collect()
    assert len(rows) == finished.n_samples >= 2 * 3
    assert (rows["sample_time_ms"] % 30_000 == 0).all()
    assert rows.select("symbol", "timestamp").is_unique().all()
    assert (rows["spread"] > 0).all()
    assert rows["current_imbalance"].is_between(0, 1).all()
    assert set(rows["origin"]) == {"live"}
    assert (rows["sample_time_ms"] - rows["timestamp"]).is_between(0, 10_000).all()
    SCHEMA.validate_dataframe(rows, strict=False)
    assert len(FeatureStore(data / "feature_store").registry.list_features()) == 112


def test_stored_rows_give_the_stored_features_bit_for_bit(session):
    data, _, _, _ = session
    raw, store = RawStore(data / "raw"), FeatureStore(data / "feature_store")
    for symbol in SYMBOLS:
        streams = [raw.read_rows(stream, symbol) for stream in ("book_steps", "trades", "candles", "bbo")]
        again = replay(*streams, symbol=symbol, interval_ms=30_000)
        for group, names, values in (
            ("training_features", FEATURE_NAMES, again.features),
            ("training_features_v2", V2_NAMES, again.v2),
        ):
            kept = store.table(group).scan(symbols=[symbol]).collect()
            places = np.searchsorted(again.time_ms, kept["sample_time_ms"].to_numpy())
            assert kept.select(names).to_numpy().tobytes() == values[places].tobytes()


def test_gaps_are_marked_and_the_book_is_whole_again(session):
    data, collector, _, _ = session
    steps = RawStore(data / "raw").scan("book_steps", "BTCUSDT").collect()
    assert steps["follows_gap"].sum() >= 3  # the start, what was dropped, the connection that was closed
    assert (steps["bid_price"].list.first() < steps["ask_price"].list.first()).all()
    assert collector.health["BTCUSDT"].n_resyncs >= 1
    assert {health.state for health in collector.health.values()} <= {"live"}


def test_the_price_track_breathes(session):
    data, _, _, _ = session
    track = RawStore(data / "raw").scan("bbo", "4USDT").collect()
    assert track["time_ms"].is_sorted()
    gaps = track["time_ms"].diff().drop_nulls()
    assert gaps.quantile(0.9) <= 1000


def test_both_logs_are_empty_at_the_end(session):
    data, _, _, _ = session
    assert replay_journal(data / "collector" / "journal", with_features=False).rows["BTCUSDT"].streams() == {}
    assert unwritten_samples(data / "collector" / "samples") == {}


def test_a_venue_of_two_sockets_and_a_snapshot_by_rest(tmp_path):
    """Binance: books and trades come by sockets of their own, and a book starts with a request."""
    chosen, until = options(tmp_path, SYMBOLS), reached(100)
    collector, finished, ledger = collect(
        chosen, lambda c: until(c) and all_live(c), speed=20, venue="binance"
    )
    assert ledger["sockets"]["opened"] == 2
    assert ledger["requests"]["received"] >= 5  # instruments, two snapshots, candles of two symbols
    raw = RawStore(tmp_path / "data" / "raw")
    balances = reconcile(ledger, raw, SYMBOLS)
    assert all(balance.is_whole and balance.trades_kept >= 100 for balance in balances), balances
    stored = FeatureStore(tmp_path / "data" / "feature_store").table("training_features").scan().collect()
    assert len(stored) == finished.n_samples >= 2 * 2
    for symbol, pipeline in collector.pipelines.items():
        assert pipeline.book.depth == 1000 and not pipeline.counts["gaps"]
        starts = raw.scan("candles", symbol).filter("is_closed").collect()["start_ms"].to_list()
        assert starts == list(range(starts[0], starts[-1] + 1, 60_000)) and starts[-1] >= START_MS


def test_the_sockets_of_such_a_venue_come_back_one_by_one(tmp_path):
    """A book that lost a message or its socket starts again; a trade is neither lost nor doubled."""
    chosen, until = options(tmp_path, SYMBOLS), reached(120)
    collector, _, ledger = collect(
        chosen, lambda c: until(c) and all_live(c), speed=20, venue="binance", faults=FAULTS
    )
    assert ledger["sockets"]["opened"] == 4
    raw = RawStore(tmp_path / "data" / "raw")
    for balance in reconcile(ledger, raw, SYMBOLS):
        assert balance.trades_lost == 0 and balance.steps_lost <= balance.steps_due // 4
        trades = raw.scan("trades", balance.symbol).collect()
        assert trades["trade_id"].is_unique().all()
        steps = raw.scan("book_steps", balance.symbol).collect()
        assert steps["follows_gap"].sum() == collector.pipelines[balance.symbol].counts["gaps"] + 1
        assert (steps["bid_price"].list.first() < steps["ask_price"].list.first()).all()
    assert collector.health["BTCUSDT"].n_resyncs == 2


async def _cut_off(exchange, chosen, until):
    """Run a collector and cancel it: what its logs hold is what a crash leaves."""
    async with exchange:
        collector = collector_of(exchange, chosen)
        running = asyncio.create_task(collector.run())
        deadline = asyncio.get_running_loop().time() + 60
        while not until(collector) and asyncio.get_running_loop().time() < deadline:
            await asyncio.sleep(0.02)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    return collector


def test_a_journal_gives_what_live_gave_and_the_next_start_recovers_it(tmp_path):
    chosen = options(tmp_path, SYMBOLS, flush_raw_s=1e9)
    exchange = ExchangeSimulator(
        SYMBOLS, speed=30, start_ms=START_MS, faults="drop@15:BTCUSDT,close@40:4USDT", follow_readers=True
    )
    collector = asyncio.run(_cut_off(exchange, chosen, lambda c: c.buffers.total >= 6))
    live = collector.buffers.take()
    again = replay_journal(chosen.places.journal)
    assert len(again.samples) == sum(map(len, live.values())) > 0
    for sample in again.samples:
        of_live = next(s for s in live[sample.symbol] if s.time_ms == sample.time_ms)
        assert sample.features.tobytes() == of_live.features.tobytes()
        assert sample.features_v2.tobytes() == of_live.features_v2.tobytes()
    for symbol, pipeline in collector.pipelines.items():
        tables = {
            stream: rows_to_table(stream, symbol, rows) for stream, rows in pipeline.rows.streams().items()
        }
        for stream, table in tables.items():
            assert rows_to_table(stream, symbol, getattr(again.rows[symbol], stream)).equals(table)

    after, finished, _ = collect(options(tmp_path, SYMBOLS), reached(230), start_ms=START_MS + 200_000)
    assert finished.recovered_samples == len(again.samples)
    assert finished.recovered_rows == sum(map(len, again.rows.values()))
    assert after.pipelines["4USDT"].counts["duplicate_trades"] == 0
    raw = RawStore(tmp_path / "data" / "raw")
    for symbol, rows in again.rows.items():
        for stream, of_stream in rows.streams().items():
            key = list(STREAMS[stream].key)
            kept = raw.scan(stream, symbol).select(key).collect()
            expected = rows_to_table(stream, symbol, of_stream).select(key).unique()
            assert expected.join(kept, on=key, how="anti", nulls_equal=True).is_empty()
    stored = FeatureStore(tmp_path / "data" / "feature_store").table("training_features").scan().collect()
    assert len(stored) == finished.recovered_samples + finished.n_samples


def test_a_forced_limit_writes_files_while_it_runs(tmp_path):
    from dataclasses import replace

    from earmark.tasks.market.collect.buffers import PROFILES

    limits = replace(PROFILES["guide"], max_samples_per_file=2, use_legacy_format=True)
    chosen = options(tmp_path, ("BTCUSDT",), limits=limits, collection_interval=1)
    collector, finished, _ = collect(chosen, lambda c: c.buffers.total >= 10, speed=20)
    assert collector.counts["written_samples"] == finished.n_samples >= 10
    batches = sorted((tmp_path / "data/ml_training/BTCUSDT/features").glob("*.npy"))
    assert sum(len(np.load(path, allow_pickle=False)) for path in batches) == finished.n_samples
    assert len(batches) >= 2
    stored = FeatureStore(tmp_path / "data" / "feature_store").table("training_features").scan().collect()
    assert len(stored) == finished.n_samples


def test_windows_of_the_raw_book(tmp_path):
    from earmark.tasks.market.collect.raw_lob import RawLobOptions

    chosen = options(tmp_path, ("BTCUSDT",), raw_lob=RawLobOptions(20, 1000))
    collector, _, _ = collect(chosen, lambda c: c.raw_lob_counts.get("collected", 0) > 20, speed=20)
    (path,) = (tmp_path / "data/raw_lob/BTCUSDT").glob("date=*/BTCUSDT_*.parquet")
    rows = pl.read_parquet(path)
    assert rows.columns[:5] == ["symbol", "timestamp", "mid_price", "spread", "bid_price_0"]
    assert rows.width == 4 + 4 * 20
    assert (rows["timestamp"].diff().drop_nulls() >= 1000).all()
    assert len(rows) == collector.raw_lob_counts["saved"] == collector.raw_lob_counts["collected"] > 20
    assert (rows["bid_price_0"] < rows["ask_price_0"]).all()


def test_states_of_the_raw_book_outlast_another_error_of_the_disk(tmp_path):
    """They are in no log, so they are written at the end whatever ended the collector, or counted as lost."""
    from earmark.store.journal import JournalError
    from earmark.tasks.market.collect.raw_lob import RawLobOptions

    def refuse(*_: object) -> int:
        raise OSError(28, "No space left on device")

    def interrupted(folder, *, is_full):
        found = []

        def until(collector):
            if collector.raw_lob_counts.get("collected", 0) < 15:
                return False
            found.append(collector)
            collector.persistence.stores.write_samples = collector.persistence.stores.write_rows = refuse
            if is_full:
                (folder / "data" / "raw_lob").parent.mkdir(exist_ok=True)
                (folder / "data" / "raw_lob").write_text("a file where a folder should be")
            return True

        chosen = options(folder, ("BTCUSDT",), raw_lob=RawLobOptions(5, 1000), flush_raw_s=1e9)
        with pytest.raises(JournalError, match="No space left"):
            collect(chosen, until, speed=20)
        return found[0].raw_lob_counts

    kept = interrupted(tmp_path / "kept", is_full=False)
    assert kept["saved"] == kept["collected"] >= 15 and not kept.get("lost")
    lost = interrupted(tmp_path / "lost", is_full=True)
    assert lost["lost"] == lost["collected"] >= 15 and not lost.get("saved")


def test_a_second_collector_is_refused(tmp_path):
    chosen = options(tmp_path, ("BTCUSDT",))

    async def run():
        async with ExchangeSimulator(("BTCUSDT",), start_ms=START_MS) as exchange:
            await Collector(exchange.venue(), chosen).run()

    with Journal(chosen.places.journal), pytest.raises(UsageError, match="being written by process"):
        asyncio.run(run())


def test_an_unknown_symbol_is_named(tmp_path):
    async def run():
        async with ExchangeSimulator(("BTCUSDT",), start_ms=START_MS) as exchange:
            await Collector(exchange.venue(), options(tmp_path, ("NOPEUSDT",))).run()

    with pytest.raises(UsageError, match="does not list NOPEUSDT"):
        asyncio.run(run())
