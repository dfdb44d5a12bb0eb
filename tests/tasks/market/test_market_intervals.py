"""Rows lie as far apart as they were collected, whatever the settings say today; books balance or are told not to."""

from __future__ import annotations

import polars as pl
import pytest
from series_store import START_MS, label_rows, sample_rows, write_store

from earmark.orderbook.events import Trade
from earmark.store.raw import RawStore
from earmark.tasks.market.collect.reconcile import reconcile
from earmark.tasks.market.prepare import PrepareOptions, prepare


@pytest.mark.parametrize("every_ms", [3_000, 24_000])
def test_the_interval_is_that_of_the_stored_rows(tmp_path, every_ms):
    at = (START_MS + pl.int_range(1500) * every_ms).alias("timestamp")
    rows = pl.concat([sample_rows(symbol, 1500).with_columns(at) for symbol in ("BTCUSDT", "ETHUSDT")])
    labels = pl.concat([label_rows(part) for part in rows.partition_by("symbol", maintain_order=True)])
    write_store(tmp_path, rows, labels=labels)
    prepared = prepare(tmp_path, PrepareOptions())
    assert prepared.train.table.interval_ms == every_ms
    assert prepared.record["split"]["embargo_ms"] == 60 * every_ms
    assert len(prepared.train) > 1000


def _trades(*numbers):
    return [
        Trade("BTCUSDT", START_MS + number, 100.0, 1.0, True, f"BTCUSDT-{number}", number)
        for number in numbers
    ]


@pytest.mark.parametrize(
    ("kept", "lost", "on_the_way"), [((5, 6, 7, 8), 0, 2), ((5, 6, 8), 1, 2), ((3, 5, 6, 7, 8, 9, 10), 0, 0)]
)
def test_a_lost_trade_shows_and_one_on_its_way_is_none(tmp_path, kept, lost, on_the_way):
    raw = RawStore(tmp_path / "raw")
    raw.append("trades", "BTCUSDT", _trades(*kept))
    ledger = {"symbols": {"BTCUSDT": {"sent": {"trade_numbers": [[5, 10]]}}}}
    (balance,) = reconcile(ledger, raw, ["BTCUSDT"])
    assert (balance.trades_lost, balance.on_the_way) == (lost, on_the_way)
    assert balance.is_whole == (lost == 0)
    assert balance.steps_due == 0
