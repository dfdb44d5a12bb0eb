"""Tables by date: rows once, files whole, whatever happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import polars as pl
import pytest
from feature_rows import START_MS, STEP_MS, feature_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from earmark.errors import SchemaError, UsageError
from earmark.store.keyed import KeyedTable
from earmark.store.part_files import is_intact
from earmark.store.times import RECORDED_SINCE_MS

DAY_MS = 86_400_000


def test_rows_come_back_by_symbol_and_time_whatever_the_order_of_writing(tmp_path: Path) -> None:
    rows = pl.concat([feature_rows("ETHUSDT", 40), feature_rows("4USDT", 40)])
    table = KeyedTable(tmp_path / "t")
    for part in rows.sample(fraction=1, shuffle=True, seed=1).iter_slices(13):
        table.append(part)
    assert_frame_equal(table.scan().collect(), rows.sort("symbol", "timestamp"))


def test_fifty_symbols_flushed_in_one_second_keep_every_row(tmp_path: Path) -> None:
    symbols = [f"S{i:02d}USDT" for i in range(50)]
    table = KeyedTable(tmp_path / "t")
    table.append(feature_rows("AUSDT", 1))
    threads = [threading.Thread(target=table.append, args=(feature_rows(s, 20),)) for s in symbols]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counts = table.scan().group_by("symbol").len().collect()
    assert dict(counts.iter_rows()) == {**dict.fromkeys(symbols, 20), "AUSDT": 1}


def test_what_is_missing_is_null_from_the_first_rows_on(tmp_path: Path) -> None:
    table = KeyedTable(tmp_path / "t")
    for start_ms in (START_MS, START_MS + 10):
        rows = feature_rows("BTCUSDT", 2, start_ms=start_ms, step_ms=1).with_columns(
            missing=pl.lit(float("nan"))
        )
        table.append(rows)
    assert table.scan().collect()["missing"].null_count() == 4


def test_rows_of_a_recorded_market_may_be_old_where_that_is_said(tmp_path: Path) -> None:
    table, rows = KeyedTable(tmp_path / "t"), feature_rows("SPY", 2, start_ms=1_381_152_600_000, step_ms=1)
    with pytest.raises(UsageError, match="no time since 2020-01-01"):
        table.append(rows)
    assert table.append(rows, earliest_ms=RECORDED_SINCE_MS).rows == 2
    with pytest.raises(UsageError, match="no time since 1980-01-01"):
        table.append(rows.with_columns(timestamp=pl.lit(0)), earliest_ms=RECORDED_SINCE_MS)


def test_each_row_lies_under_the_utc_day_of_its_own_time(tmp_path: Path) -> None:
    table = KeyedTable(tmp_path / "t")
    table.append(feature_rows("BTCUSDT", 4, start_ms=START_MS - 1, step_ms=1))
    found = {
        path.parent.name: pl.read_parquet(path, hive_partitioning=False)["timestamp"].to_list()
        for path in (tmp_path / "t").glob("date=*/*.parquet")
    }
    assert found == {
        "date=2024-12-31": [START_MS - 1],
        "date=2025-01-01": [START_MS, START_MS + 1, START_MS + 2],
    }


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batches=st.lists(
        st.lists(
            st.tuples(st.sampled_from(["A", "B"]), st.integers(0, 12), st.integers(0, 99)),
            min_size=1,
            max_size=8,
        ),
        max_size=6,
    ),
    compacted=st.booleans(),
)
def test_a_key_is_written_once_and_the_first_call_wins(
    tmp_path_factory: pytest.TempPathFactory, batches: list[list[tuple[str, int, int]]], compacted: bool
) -> None:
    table = KeyedTable(tmp_path_factory.mktemp("t"))
    expected: dict[tuple[str, int], int] = {}
    for batch in batches:
        rows = [(symbol, START_MS + hour * 3_600_000 * 3, value) for symbol, hour, value in batch]
        new = {(s, t): v for s, t, v in rows if (s, t) not in expected}
        written = table.append(pl.DataFrame(rows, schema=["symbol", "timestamp", "x"], orient="row"))
        assert (written.rows, written.duplicates) == (len(new), len(rows) - len(new))
        expected |= new
        if compacted:
            table.compact()
    found = {(s, t): v for s, t, v in table.scan().collect().iter_rows()} if batches else {}
    assert found == expected


def test_a_batch_of_a_known_name_is_not_written_again(tmp_path: Path) -> None:
    table = KeyedTable(tmp_path / "t")
    assert table.append(feature_rows("BTCUSDT", 5), batch="flush-7").rows == 5
    again = KeyedTable(tmp_path / "t").append(feature_rows("BTCUSDT", 9), batch="flush-7")
    assert (again.rows, again.duplicates, again.files) == (0, 9, ())
    assert table.scan().collect().height == 5


def test_two_processes_write_the_same_keys_once(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import sys
        sys.path.insert(0, sys.argv[2])
        from feature_rows import feature_rows, START_MS
        from earmark.store.keyed import KeyedTable
        table = KeyedTable(sys.argv[1])
        print(sum(table.append(feature_rows("BTCUSDT", 20, start_ms=START_MS + 300_000 * i)).rows for i in range(20)))
        """
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "t"), str(Path(__file__).parent)]
    writers = [subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    written = [int(writer.communicate(timeout=120)[0]) for writer in writers]
    rows = KeyedTable(tmp_path / "t").scan().collect()
    assert rows.height == rows.n_unique(["symbol", "timestamp"]) == 20 + 19 * 10 == sum(written)


def test_a_writer_killed_between_file_and_commit_leaves_nothing_and_may_repeat(tmp_path: Path) -> None:
    script = textwrap.dedent(
        """
        import os, signal, sys
        sys.path.insert(0, sys.argv[2])
        from feature_rows import feature_rows
        from earmark.store import delta_log, keyed
        table = keyed.KeyedTable(sys.argv[1])
        table.append(feature_rows("BTCUSDT", 10))
        delta_log.commit = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
        table.append(feature_rows("BTCUSDT", 20), batch="second")
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "t"), str(Path(__file__).parent)], check=False
    )
    assert done.returncode == -signal.SIGKILL
    table = KeyedTable(tmp_path / "t")
    assert len(list((tmp_path / "t").glob("date=*/*.parquet"))) == 2
    assert table.scan().collect().height == 10
    assert table.append(feature_rows("BTCUSDT", 20), batch="second").rows == 10
    assert len(list((tmp_path / "t").glob("date=*/*.parquet"))) == 2, "the same rows make the same file"
    assert_frame_equal(table.scan().collect(), feature_rows("BTCUSDT", 20))


@pytest.mark.parametrize("damage", ["cut", "gone", "empty", "zeroed"])
def test_a_bad_file_is_set_aside_and_the_rest_is_read(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    table = KeyedTable(tmp_path / "t")
    table.append(pl.concat([feature_rows("BTCUSDT", 10), feature_rows("ETHUSDT", 10)]))
    path = next((tmp_path / "t").glob("date=*/features_BTC*"))
    size = path.stat().st_size
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": path.read_bytes()[: size // 2], "empty": b"", "zeroed": bytes(size)}[damage])
    assert table.scan().collect()["symbol"].unique().to_list() == ["ETHUSDT"]
    assert "is set aside" in caplog.text
    (record,) = table.set_aside()
    assert record.rows == 10
    assert (tmp_path / "t" / "_quarantine" / record.path).exists() == (damage != "gone")
    assert table.append(feature_rows("BTCUSDT", 10)).rows == 10, "what was lost can be written again"


def test_names_of_files_tell_whether_their_bytes_changed(tmp_path: Path) -> None:
    table = KeyedTable(tmp_path / "t")
    (name,) = table.append(feature_rows("BTCUSDT", 10)).files
    data = bytearray((tmp_path / "t" / name).read_bytes())
    assert is_intact(Path(name).name, bytes(data))
    data[len(data) // 2] ^= 1
    assert not is_intact(Path(name).name, bytes(data))


def test_files_of_an_earlier_program_are_taken_in_once(tmp_path: Path) -> None:
    table = KeyedTable(tmp_path / "t")
    table.append(feature_rows("BTCUSDT", 10))
    folder = tmp_path / "t" / "date=2025-01-01"
    # Filed by its first row, with rows of the next day, times in seconds, and labels.
    earlier = feature_rows("BTCUSDT", 5000).with_columns(
        pl.col("timestamp") / 1000, future_direction_10s=pl.lit(1)
    )
    earlier.write_parquet(folder / "features_120000.parquet")
    assert_frame_equal(
        table.scan("2025-01-02").collect(),
        feature_rows("BTCUSDT", 5000).filter(pl.col("timestamp") >= START_MS + DAY_MS),
    )
    assert table.scan().collect().height == 5000
    assert (tmp_path / "t" / "_adopted" / "date=2025-01-01" / "features_120000.parquet").is_file()
    assert not (folder / "features_120000.parquet").exists()


def test_files_that_do_not_fit_stay_and_are_reported(tmp_path: Path) -> None:
    table = KeyedTable(tmp_path / "t")
    table.append(feature_rows("BTCUSDT", 10))
    folder = tmp_path / "t" / "date=2025-01-01"
    feature_rows("BTCUSDT", 3).rename({"x0": "feature_000"}).write_parquet(folder / "features_120001.parquet")
    (folder / "features_120002.parquet").write_bytes(b"PAR1 nothing")
    refused = table.adopt()
    assert list(refused) == ["date=2025-01-01/features_120001.parquet"]
    assert "`feature_000`" in refused["date=2025-01-01/features_120001.parquet"]
    assert [Path(record.path).name for record in table.set_aside()] == ["features_120002.parquet"]
    assert table.scan().collect().height == 10


def test_a_read_opens_only_files_of_its_days_and_symbols(tmp_path: Path) -> None:
    table = KeyedTable(tmp_path / "t")
    for day in range(5):
        start = START_MS + day * DAY_MS
        table.append(pl.concat([feature_rows(s, 10, start_ms=start) for s in ("A", "B", "C")]))
    files = table.select_files(START_MS + DAY_MS, START_MS + 2 * DAY_MS - 1, ["B"])
    assert files["path"].str.contains("date=2025-01-02/features_B-").to_list() == [True]
    for path in (tmp_path / "t").glob("date=*/*.parquet"):
        if path.name != Path(files["path"][0]).name:
            os.truncate(path, 10)
    assert table.scan("2025-01-02", "2025-01-02", "B", ["timestamp"]).collect().height == 10
    assert not table.set_aside()


def test_ends_of_a_range_are_included(tmp_path: Path) -> None:
    table = KeyedTable(tmp_path / "t")
    table.append(feature_rows("A", 2881, start_ms=START_MS))
    assert table.scan("2025-01-01", "2025-01-01").collect().height == 2880
    assert table.scan(START_MS + STEP_MS, START_MS + 2 * STEP_MS).collect().height == 2
    assert table.scan("2025-01-01T00:00:30Z", "2025-01-01T00:00:30+00:00").collect().height == 1
    with pytest.raises(UsageError, match="starts at"):
        table.scan("2025-01-02", "2025-01-01")


def test_earlier_versions_can_be_read_and_restored(tmp_path: Path) -> None:
    table = KeyedTable(tmp_path / "t")
    table.append(feature_rows("A", 10))
    first = table.version
    assert first is not None
    table.append(feature_rows("A", 30))
    table.compact()
    assert table.at(first).scan().collect().height == 10
    assert [row["operation"] for row in table.versions()] == ["compact", "append", "append", "create table"]
    table.restore(first)
    assert KeyedTable(tmp_path / "t").scan().collect().height == 10
    assert table.append(feature_rows("A", 30)).rows == 20


def test_upkeep_keeps_files_few_and_changes_no_row(tmp_path: Path) -> None:
    table = KeyedTable(tmp_path / "t")
    for number in range(140):
        table.append(feature_rows("A", 1, start_ms=START_MS + number * STEP_MS))
    assert table.files().height < 30
    assert_frame_equal(table.scan().collect(), feature_rows("A", 140))
    before = table.scan().collect()
    assert table.vacuum(retention_hours=0, dry_run=False)
    assert_frame_equal(KeyedTable(tmp_path / "t").scan().collect(), before)


def test_vacuum_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    table = KeyedTable(tmp_path / "t")
    folder = tmp_path / "t" / "date=2025-01-01"
    for number in range(3):
        table.append(feature_rows("A", 10 * (number + 1)))
    feature_rows("B", 3).write_parquet(folder / "features_120000.parquet")
    feature_rows("A", 3).rename({"x0": "feature_000"}).write_parquet(folder / "features_120001.parquet")
    bad = next(folder.glob("features_A*"))
    bad.write_bytes(b"")
    table.compact()
    aside = {
        path for name in ("_quarantine", "_adopted") for path in (tmp_path / "t" / name).rglob("*.parquet")
    }
    assert table.vacuum(retention_hours=0, dry_run=False)
    assert table.scan(symbols="B").collect().height == 3
    assert (folder / "features_120001.parquet").is_file()
    assert len(aside) == 1 and all(path.is_file() for path in aside)
    assert (tmp_path / "t" / "_adopted" / "date=2025-01-01" / "features_120000.parquet").is_file()


def test_an_independent_reader_sees_the_same_rows(tmp_path: Path) -> None:
    from deltalake import DeltaTable

    rows = pl.concat([feature_rows("A", 50), feature_rows("B", 50)])
    KeyedTable(tmp_path / "t").append(rows)
    found = (
        pl.DataFrame(DeltaTable(tmp_path / "t").to_pyarrow_table()).drop("date").sort("symbol", "timestamp")
    )
    assert_frame_equal(found, rows)


@pytest.mark.parametrize("bad", [0, -5, 12_345, float("nan"), None, 1_577_836_799, 1_500_000_000_000])
def test_impossible_times_are_refused(tmp_path: Path, bad: float | None) -> None:
    rows = pl.DataFrame({"symbol": ["A", "A"], "timestamp": [1_735_689_600.0, bad], "x": [1.0, 2.0]})
    with pytest.raises(UsageError, match="Row 1 of `timestamp`"):
        KeyedTable(tmp_path / "t").append(rows)
    assert not KeyedTable(tmp_path / "t").exists


def test_seconds_and_milliseconds_are_told_apart(tmp_path: Path) -> None:
    table = KeyedTable(tmp_path / "t")
    table.append(pl.DataFrame({"symbol": ["A"], "timestamp": [1_735_689_600.5], "x": [1.0]}))
    table.append(pl.DataFrame({"symbol": ["A"], "timestamp": [1_735_689_601_000], "x": [1.0]}))
    assert table.scan().collect()["timestamp"].to_list() == [START_MS + 500, START_MS + 1000]


@pytest.mark.parametrize("symbol", ["../etc", "A/B", "", ".hidden", "A B", "A-B"])
def test_symbols_that_are_paths_are_refused(tmp_path: Path, symbol: str) -> None:
    with pytest.raises(UsageError, match="cannot be a symbol"):
        KeyedTable(tmp_path / "t").append(feature_rows(symbol, 1))


def test_columns_that_do_not_fit_are_named(tmp_path: Path) -> None:
    table = KeyedTable(tmp_path / "t")
    table.append(feature_rows("A", 3))
    with pytest.raises(SchemaError, match="lack `x1` and have `y`"):
        table.append(feature_rows("A", 9).rename({"x1": "y"}))
    with pytest.raises(SchemaError, match="no column 'y'"):
        table.scan(columns=["y"])
    assert table.scan().collect().height == 3
