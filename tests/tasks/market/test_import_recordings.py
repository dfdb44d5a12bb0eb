"""Recorded markets in the stores: replayed to the bit, blind to what comes later, once however often."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from recorded_sources import flat_quote, write_lean

from earmark.cli.main import run
from earmark.errors import UsageError
from earmark.orderbook.catalog import FEATURE_NAMES, V2_NAMES
from earmark.orderbook.replay import replay
from earmark.store.offline import FeatureStore
from earmark.store.raw import RawStore
from earmark.tasks.market.importers.sources import read_source
from earmark.tasks.market.importers.to_store import import_recording, import_recordings
from earmark.tasks.market.labels.label import LabelRequest, label_group
from earmark.tasks.market.schema import SCHEMA

REAL = Path("../shared/data/market")
needs_real_data = pytest.mark.skipif(
    not REAL.is_dir(), reason="recorded market data are not beside the checkout"
)
OPEN_MS = 34_200_000  # half past nine
MINUTES = 70
SILENT = range(66 * 60, 66 * 60 + 40)  # seconds without a quote: a gap


def market(seconds: range, seed: int = 0) -> tuple[list[tuple[float, ...]], list[tuple[float, ...]]]:
    """Quotes and trades of every second from eight minutes past nine on, a random walk in cents."""
    generator = np.random.default_rng(seed)
    mids = 1_670_000 + 100 * np.cumsum(generator.integers(-1, 2, MINUTES * 60))
    sizes = generator.integers(1, 50, (MINUTES * 60, 3)) * 100
    start = OPEN_MS - 40 * 60_000
    quotes = [
        flat_quote(start + 1_000 * i, mids[i], sizes[i, 0], mids[i] + 100, sizes[i, 1])
        for i in seconds
        if i not in SILENT
    ]
    trades = [
        (start + 1_000 * i, mids[i], mids[i] + 100, mids[i], mids[i] + 100 * (i % 2), sizes[i, 2])
        for i in seconds
        if i % 3 == 0
    ]
    return quotes, trades


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_market(tmp_path_factory.mktemp("source"), range(MINUTES * 60))


def write_market(root: Path, seconds: range) -> Path:
    folder = root / "equity/usa/second/spy"
    quotes, trades = market(seconds)
    write_lean(folder / "20131007_quote.zip", quotes)
    write_lean(folder / "20131007_trade.zip", trades)
    return root


@pytest.fixture(scope="module")
def data(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project") / "data"
    import_recordings(read_source(source), folder, interval=1)
    return folder


def stored(data: Path, group: str = "training_features") -> pl.DataFrame:
    schemas = {"training_features": SCHEMA}
    table: pl.DataFrame = FeatureStore(data / "feature_store", schemas=schemas).read_offline_features(
        group, labels=None
    )
    return table


def test_what_is_stored_is_replayed_from_the_raw_rows_bit_for_bit(data: Path) -> None:
    raw, samples, v2 = RawStore(data / "raw"), stored(data), stored(data, "training_features_v2")
    streams = (raw.read_rows(stream, "SPY") for stream in ("book_steps", "trades", "candles", "bbo"))
    replayed = replay(*streams, symbol="SPY", interval_ms=3_000)
    where = np.searchsorted(replayed.closed_ns, samples["recv_ns"].to_numpy())
    assert len(samples) > 300
    assert set(samples["origin"]) == {"imported"}
    assert replayed.ready[where].all()
    for table, names, values in ((samples, FEATURE_NAMES, replayed.features), (v2, V2_NAMES, replayed.v2)):
        expected = table.select(names).with_columns(pl.all().fill_null(float("nan"))).to_numpy()
        np.testing.assert_array_equal(expected, values[where])


def test_samples_lie_in_regular_hours_and_silence_is_a_gap(source: Path, data: Path, tmp_path: Path) -> None:
    opens_ms = 1_381_152_600_000  # 7 October 2013, 9:30 in New York
    ticks = stored(data)["recv_ns"].to_numpy() // 10**6 - 1_000
    assert ticks.min() == opens_ms + 600_000  # 50 candles and more: the first minutes were before the opening
    (recording,) = read_source(source)
    report = import_recording(recording, tmp_path, interval=1, all_hours=True, dry_run=True)
    assert report.rows["samples"] == len(ticks), "a dry run counts what an import stores"
    assert report.skipped["same_book"] > 0
    assert (report.gaps, report.skipped["silent_source"]) == (1, 10)
    assert not list(tmp_path.iterdir())


def test_no_sample_knows_what_comes_later(data: Path, tmp_path: Path) -> None:
    seconds = range(65 * 60)
    (recording,) = read_source(write_market(tmp_path / "source", seconds))
    import_recording(recording, tmp_path / "data", interval=1)
    cut = stored(tmp_path / "data")
    whole = stored(data)
    end_ns = int(recording.books.time_ns[-1])
    early = cut.filter(pl.col("recv_ns") <= end_ns)
    assert len(early) > 200
    assert early.equals(whole.filter(pl.col("recv_ns") <= end_ns))


def test_importing_again_changes_nothing(source: Path, data: Path) -> None:
    before = {path: path.read_bytes() for path in data.rglob("*.parquet")}
    (again,) = import_recordings(read_source(source), data, interval=1)
    assert again.rows["samples"] == 0
    assert {path: path.read_bytes() for path in data.rglob("*.parquet")} == before


def test_labels_come_from_the_price_track(data: Path) -> None:
    report = label_group(data / "feature_store", data / "raw", LabelRequest(), dry_run=True)
    covered = {row["horizon"]: row["coverage_pct"] for row in report.coverage}
    assert all(value > 90 for value in covered.values())


def test_a_symbol_that_was_not_recorded_is_named(source: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no recording of QQQ; expected some of SPY"):
        import_recordings(read_source(source), tmp_path, symbols=["QQQ"])


def test_the_command_tells_what_it_brought(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["-C", str(tmp_path), "--format", "json", "migrate", "market", "recording", str(source)]
    assert run([*command, "--symbols", "SPY"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["symbol"], row["gaps"]) == ("SPY", 1)
    assert row["samples"] == len(stored(tmp_path / "data")) > 0


@needs_real_data
@pytest.mark.slow
@pytest.mark.parametrize(
    ("folder", "symbol", "least"),
    [
        ("okcoin_2016", "BTCCNY", 10),
        ("sgx_a50_2014", "A50", 100),
        ("lean/crypto/gdax/second", "BTCUSD", 0),
        ("lean/forex/fxcm/tick/eurusd/20140504_quote.zip", "EURUSD", 1),
    ],
)
def test_real_sources_arrive(folder: str, symbol: str, least: int, tmp_path: Path) -> None:
    (report,) = import_recordings(read_source(REAL / folder), tmp_path)
    assert report.symbol == symbol
    assert report.rows["samples"] >= least
    if least:
        features = stored(tmp_path).drop("trade_arrival_rate").select(pl.col(FEATURE_NAMES[:48])).to_numpy()
        assert np.isfinite(features).all()
