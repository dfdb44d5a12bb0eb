"""`earmark extract market`: what was collected, computed again from raw rows, is the same to the bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest

pytest.importorskip("aiohttp")
from collecting import START_MS as COLLECTED_FROM_MS
from collecting import collect, options, reached

from earmark.cli.main import run
from earmark.store.offline import FeatureStore
from earmark.store.raw import RawStore
from earmark.tasks.market.extraction.sessions import GROUPS
from earmark.tasks.market.schema import GROUP, market_store_schemas

SYMBOLS = ("BTCUSDT", "4USDT")
START_MS = 1_700_000_000_000 // 86_400_000 * 86_400_000 + 86_400_000 - 100_000  # the market passes midnight


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project whose market was collected over a midnight, with gaps on both sides of it."""
    folder = tmp_path_factory.mktemp("extract")
    chosen = options(folder, SYMBOLS)
    since = reached((START_MS - COLLECTED_FROM_MS) / 1000 + 200)
    collect(chosen, since, speed=20, start_ms=START_MS, faults="drop@40:BTCUSDT,drop@150:4USDT")
    return folder


@pytest.fixture
def earmark(capsys: pytest.CaptureFixture[str], project: Path):
    def call(*args: str):
        code = run(["-C", str(project), "extract", "market", "--workers", "0", *args])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return call


def document(answer):
    code, out, err = answer
    assert code == 0, err
    return json.loads(out)


def test_offline_equals_online_to_the_bit_over_midnight(earmark, project):
    found = document(earmark("--compare", "--format", "json"))
    assert found["items"] == 4 and not found["failures"]
    stored = FeatureStore(project / "data/feature_store").table(GROUP).scan().collect()
    assert found["comparison"] == {
        "compared": 2 * stored.height,
        "missing": 0,
        "extra": 0,
        "differing": {},
        "ok": True,
    }
    assert stored["timestamp"].max() // 86_400_000 > stored["timestamp"].min() // 86_400_000


def test_a_warm_run_computes_nothing_and_opens_no_table(earmark, monkeypatch):
    document(earmark("--format", "json"))

    def opened(*_: object) -> None:
        raise AssertionError("a table was opened")

    monkeypatch.setattr(RawStore, "scan", opened)
    again = document(earmark("--format", "json"))
    assert set(again["computed"].values()) == {0} and again["rows"] > 0
    v2 = document(earmark("--view", "v2", "--format", "json"))
    assert set(v2["computed"]) == {"market.ticks", "market.facts", "market.v2"}


def test_only_what_read_a_changed_file_is_computed_again(earmark, project):
    document(earmark("--compare", "--format", "json"))
    raw = RawStore(project / "data/raw")
    (path, *_) = raw.files("bbo", "4USDT")
    quotes = pl.read_parquet(path)
    kept = path.read_bytes()
    try:
        quotes.write_parquet(path, compression="snappy")  # the same rows in other bytes
        found = document(earmark("--compare", "--symbols", "4USDT", "--limit", "1", "--format", "json"))
        assert {name for name, n in found["computed"].items() if n} == {"market.v2"}
    finally:
        path.write_bytes(kept)


@pytest.fixture
def other_store(project, tmp_path):
    """The project with a feature store that is empty at first; gives the rows of its own."""
    own, aside = project / "data/feature_store", tmp_path / "feature_store"
    rows = FeatureStore(own).table(GROUP).scan().collect()
    own.rename(aside)
    yield rows
    shutil.rmtree(own, ignore_errors=True)
    aside.rename(own)


def test_a_difference_ends_with_3_and_names_the_column(earmark, project, other_store):
    store = FeatureStore(project / "data/feature_store", schemas=market_store_schemas())
    store.write_offline_features(GROUP, other_store.with_columns(pl.col("mid_price") + 1))
    code, out, err = earmark("--compare", "--format", "json")
    assert code == 3 and "1 columns differ (mid_price)" in err
    assert json.loads(out)["comparison"]["differing"] == {"mid_price": other_store.height}


def test_rows_that_the_store_lacks_are_written_once_as_replayed(earmark, project, other_store):
    found = document(earmark("--write", "--format", "json"))
    assert found["written"] == 2 * found["rows"] > 0
    store = FeatureStore(project / "data/feature_store", schemas=market_store_schemas())
    rows = store.table(GROUP).scan().collect()
    assert set(rows["origin"]) == {"replayed"} and rows.height == found["rows"]
    assert document(earmark("--write", "--compare", "--format", "json"))["written"] == 0
    assert rows.drop("origin").equals(other_store.drop("origin"))


def test_each_group_has_a_record_in_the_cache(project, capsys):
    assert run(["-C", str(project), "cache", "stats", "market", "--format", "json"]) == 0
    groups = {row["group"]: row for row in json.loads(capsys.readouterr().out)["groups"]}
    assert set(groups) == set(GROUPS)
    assert all(row["entries"] for row in groups.values())


def test_cache_check_and_why_know_the_groups(project, capsys):
    def call(*args: str):
        assert run(["-C", str(project), *args, "--format", "json"]) == 0
        return json.loads(capsys.readouterr().out)

    call("extract", "market", "--workers", "0", "--compare")
    rows = {row["group"]: row for row in call("cache", "check", "market")}
    assert set(rows) == set(GROUPS)
    assert all((row["fresh"], row["stale"], row["missing"]) == (4, 0, 0) for row in rows.values())
    assert call("cache", "why", "market.lob")["entries"] >= 4


def test_a_range_without_sessions_says_what_to_do(earmark):
    code, _, err = earmark("--start-date", "2031-01-01")
    assert code == 2 and "earmark collect market" in err
