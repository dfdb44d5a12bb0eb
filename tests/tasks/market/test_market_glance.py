"""A store by its statistics alone, against what reading every row says."""

import time
from itertools import pairwise

import polars as pl
import pytest
from series_store import INTERVAL_MS, label_rows, sample_rows, write_store

from earmark.orderbook.state import MAX_GAP
from earmark.store.label_sets import LabelSets
from earmark.store.offline import FeatureStore
from earmark.tasks.market.schema import market_store_schemas
from earmark.tasks.market.validation.checks import check_rows, read_selection
from earmark.tasks.market.validation.glance import coverage_strip, gap_rows, glance, symbol_rows
from earmark.tasks.market.validation.readiness import readiness

GROUP = "training_features"


def store_with(folder, *parts):
    """A store to which each table was written by itself, as collectors do."""
    write_store(folder, parts[0], labels=pl.concat([label_rows(one) for one in parts]))
    store = FeatureStore(folder / "data" / "feature_store", schemas=market_store_schemas())
    for part in parts[1:]:
        store.write_offline_features(GROUP, part)
    return store


def brute_gaps(rows):
    """Gaps of a table by its rows."""
    found = []
    for (symbol,), part in rows.group_by("symbol"):
        times = sorted(part["timestamp"])
        for a, b in pairwise(times):
            if b - a > MAX_GAP * INTERVAL_MS:
                found.append((symbol, a, b))
    return sorted(found, key=lambda gap: (-gap[2], gap[0]))


def test_what_statistics_say_is_what_the_rows_say(tmp_path):
    """The requirements and messages are those of a check that reads everything."""
    store = store_with(tmp_path, sample_rows("ETHUSDT", 700), sample_rows("4USDT", 650, seed=1))
    seen = glance(store, GROUP)
    selection = read_selection(store)
    judged = readiness(selection, check_rows(selection, now_ms=time.time_ns() // 1_000_000))
    assert [one.item for one in seen.requirements] == [one.item for one in judged.requirements]
    for ours, theirs in zip(seen.requirements, judged.requirements, strict=True):
        assert (ours.value, ours.status) == (pytest.approx(theirs.value, abs=1e-3), theirs.status)
    assert seen.symbols == ("4USDT", "ETHUSDT")
    assert seen.rows == selection.rows.height == 1350
    assert (seen.first_ms, seen.last_ms) == (
        selection.rows["timestamp"].min(),
        selection.rows["timestamp"].max(),
    )
    assert not seen.schema_message


def test_gaps_inside_files_and_between_them_are_found(tmp_path):
    """The rows around each gap, the newest first, as by brute force."""
    rows = sample_rows("ETHUSDT", 400)
    inside = pl.concat([rows[:50], rows[60:100], rows[101:150]])
    later, other = rows[200:400], sample_rows("4USDT", 120, seed=2)
    store = store_with(tmp_path, inside, later, pl.concat([other[:30], other[33:]]))
    expected = brute_gaps(store.table(GROUP).scan().collect())
    assert len(expected) == 4
    found = gap_rows(store, GROUP)
    assert [(one["symbol"], one["first_ms"], one["last_ms"]) for one in found] == expected
    assert gap_rows(store, GROUP, limit=1) == found[:1]
    complete = {one["symbol"]: one["complete"] for one in symbol_rows(store, GROUP)}
    assert complete["ETHUSDT"] == pytest.approx((400 - 10 - 1 - 50) / 400, abs=1e-3)


def test_coverage_per_day_is_what_the_labels_say(tmp_path):
    """The strip has the share of known labels of each day, by count."""
    store = store_with(tmp_path, sample_rows("ETHUSDT", 5000))
    labels = LabelSets(store.root)
    rows = labels.scan(labels.find("default")).collect()
    day = pl.from_epoch("timestamp", "ms").dt.strftime("%Y-%m-%d").alias("day")
    known = rows.group_by(day).agg(pl.col("future_direction_60s").is_not_null().mean()).sort("day")
    strip = coverage_strip(store)
    assert strip.days == tuple(known["day"])
    assert strip.shares == {60: pytest.approx(tuple(known["future_direction_60s"]))}


def test_a_version_that_is_written_later_is_seen(tmp_path):
    """A store that is kept open tells of rows that came after."""
    store = store_with(tmp_path, sample_rows("ETHUSDT", 100))
    before = glance(store, GROUP)
    FeatureStore(store.root).write_offline_features(GROUP, sample_rows("4USDT", 50, seed=1))
    after = glance(store, GROUP)
    assert (before.rows, after.rows) == (100, 150)
    assert after.version > before.version


def test_what_is_missing_is_told_with_the_next_command(tmp_path):
    """Each message of the earlier program, with the command that helps."""
    root = tmp_path / "data" / "feature_store"
    absent = FeatureStore(root, schemas=market_store_schemas())
    assert "does not exist. Run: earmark collect market" in glance(absent, GROUP).messages[0]
    absent.write_offline_features(GROUP, sample_rows("ETHUSDT", 100))
    told = " ".join(glance(absent, GROUP).messages)
    assert "Insufficient data: 100 samples, need at least 600" in told
    assert "Future labels = None at 60 s" in told
    assert "earmark label market" in told
    assert glance(absent, "other").messages[0].startswith("No training data available")


def test_columns_of_another_program_are_named(tmp_path):
    """The schema is compared by the table's columns, without a row being read."""
    renamed = sample_rows("ETHUSDT", 10).rename({"current_mid_price": "price_of_mine"})
    root = tmp_path / "data" / "feature_store"
    FeatureStore(root).write_offline_features(GROUP, renamed)
    told = glance(FeatureStore(root, schemas=market_store_schemas()), GROUP).schema_message
    assert told.startswith("Schema validation failed")
    assert "price_of_mine" in told
    assert told.endswith("earmark migrate market columns")
