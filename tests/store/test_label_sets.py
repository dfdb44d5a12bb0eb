"""Label sets: known labels stay, unknown ones are completed, versions can be read again, hostile tables are refused."""

from __future__ import annotations

import hashlib
import multiprocessing
from pathlib import Path

import polars as pl
import pytest

from earmark.errors import UsageError
from earmark.store.label_sets import LabelSets, coverage

DAY = 86_400_000
MIDNIGHT = 1_735_689_600_000  # 2025-01-01T00:00:00Z


def table(times, statuses, symbol="BTCUSDT", directions=None):
    known = [status == "ok" for status in statuses]
    return pl.DataFrame(
        {
            "symbol": [symbol] * len(times),
            "timestamp": times,
            "future_direction_10s": pl.Series(
                [d if k else None for d, k in zip(directions or [2] * len(times), known, strict=True)],
                dtype=pl.Int8,
            ),
            "label_status_10s": statuses,
        }
    )


def test_written_rows_are_read_by_an_independent_reader(tmp_path):
    rows = table([MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + DAY], ["ok", "gap", "ok"])
    written = LabelSets(tmp_path).write("fixed-1", rows, {"name": "fixed"})
    assert (written.version, written.added, written.completed) == (1, 3, 0)
    days = sorted(path.name for path in (tmp_path / "labels/fixed-1").glob("date=*"))
    assert days == ["date=2024-12-31", "date=2025-01-01", "date=2025-01-02"]
    plain = pl.concat(
        pl.read_parquet(p, hive_partitioning=False) for p in sorted(tmp_path.rglob("*.parquet"))
    )
    assert plain.sort("timestamp").equals(rows)


def test_known_labels_stay_and_unknown_ones_are_completed(tmp_path):
    sets = LabelSets(tmp_path)
    early = table([1, 2, 3], ["ok", "horizon_not_reached", "gap"], directions=[0, 0, 0])
    sets.write("fixed-1", early, {"sources": {"A": 1, "B": 1}})
    later = table([1, 2, 3, 4], ["ok", "ok", "gap", "ok"], directions=[2, 2, 2, 2])
    written = sets.write("fixed-1", later, {"sources": {"B": 2}})
    assert (written.version, written.added, written.completed, written.unchanged) == (2, 1, 1, 2)
    assert sets.record("fixed-1")["sources"] == {"A": 1, "B": 2}
    assert sets.scan("fixed-1").collect()["future_direction_10s"].to_list() == [0, 2, None, 2]
    assert sets.scan("fixed-1", version=1).collect()["future_direction_10s"].to_list() == [0, None, None]


def test_the_same_again_changes_no_byte(tmp_path):
    sets, rows = LabelSets(tmp_path), table([MIDNIGHT, MIDNIGHT + 1], ["ok", "gap"])
    sets.write("fixed-1", rows, {})
    before = {p: hashlib.sha256(p.read_bytes()).digest() for p in tmp_path.rglob("*") if p.is_file()}
    assert sets.write("fixed-1", rows, {}).files == ()
    assert before == {p: hashlib.sha256(p.read_bytes()).digest() for p in tmp_path.rglob("*") if p.is_file()}


def test_only_days_that_change_are_written(tmp_path):
    sets = LabelSets(tmp_path)
    sets.write("fixed-1", table([MIDNIGHT, MIDNIGHT + DAY], ["ok", "gap"]), {})
    written = sets.write("fixed-1", table([MIDNIGHT, MIDNIGHT + DAY], ["ok", "ok"]), {})
    assert [path.parent.name for path in written.files] == ["date=2025-01-02"]


def test_a_new_horizon_of_a_set_is_added_beside_the_old(tmp_path):
    sets, rows = LabelSets(tmp_path), table([1, 2], ["ok", "gap"])
    sets.write("fixed-1", pl.concat([rows, table([DAY + 1], ["ok"])]), {})
    renamed = {name: name.replace("10s", "60s") for name in rows.columns}
    sets.write("fixed-1", rows.join(rows.rename(renamed), on=["symbol", "timestamp"]), {})
    read = sets.scan("fixed-1").collect()
    assert read["label_status_60s"].to_list() == ["ok", "gap", None]
    assert [row["horizon"] for row in sets.record("fixed-1")["coverage"]] == ["10s", "60s"]


def test_scan_by_date_symbol_and_column(tmp_path):
    sets = LabelSets(tmp_path)
    both = [
        table([MIDNIGHT - 1, MIDNIGHT, MIDNIGHT + DAY], ["ok"] * 3, symbol) for symbol in ("4USDT", "BTCUSDT")
    ]
    sets.write("fixed-1", pl.concat(both), {})
    found = sets.scan(
        "fixed-1", start="2025-01-01", end="2025-01-01", symbols=["4USDT"], columns=["label_status_10s"]
    )
    assert found.collect().rows() == [("4USDT", MIDNIGHT, "ok")]
    assert sets.scan("fixed-1", start="2026-01-01").collect().is_empty()


def test_coverage_counts_per_symbol_and_horizon():
    rows = pl.concat(
        [
            table([1, 2, 3, 4], ["ok", "ok", "ok", "gap"], "A", [0, 1, 2, 2]),
            table([1, 2], ["bad_price", "bad_price"], "B"),
        ]
    )
    first, second = coverage(rows)
    assert (first["coverage_pct"], first["gap"], first["down_pct"], first["up_pct"]) == (
        75.0,
        1,
        33.33,
        33.33,
    )
    assert (second["coverage_pct"], second["bad_price"], second["neutral_pct"]) == (0.0, 2, None)


@pytest.mark.parametrize("name", ["../other", "", ".hidden", "a/b", "a:b"])
def test_a_name_that_is_a_path_is_refused(tmp_path, name):
    with pytest.raises(UsageError, match="no name of a label set"):
        LabelSets(tmp_path).write(name, table([1], ["ok"]), {})


def test_a_table_with_a_key_twice_or_without_status_is_refused(tmp_path):
    with pytest.raises(UsageError, match="key of another"):
        LabelSets(tmp_path).write("x", table([1, 1], ["ok", "ok"]), {})
    with pytest.raises(UsageError, match="status per horizon"):
        LabelSets(tmp_path).write("x", table([1], ["ok"]).drop("label_status_10s"), {})


def test_a_missing_set_names_the_next_command(tmp_path):
    with pytest.raises(UsageError, match="earmark label market"):
        LabelSets(tmp_path).scan("fixed-1")


def test_find_takes_a_name_or_an_id(tmp_path):
    sets = LabelSets(tmp_path)
    sets.write("fixed-1", table([1], ["ok"]), {"name": "fixed"})
    assert sets.find("fixed") == sets.find("fixed-1") == "fixed-1"
    assert [record["id"] for record in sets.list()] == ["fixed-1"]


def _write(root: Path, symbol: str) -> None:
    for i in range(5):
        LabelSets(root).write("fixed-1", table([i], ["ok"], symbol), {})


def test_writers_at_the_same_time_lose_nothing(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write, args=(tmp_path, name)) for name in ("A", "B")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(LabelSets(tmp_path).scan("fixed-1").collect()) == 10
