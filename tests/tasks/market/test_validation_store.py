"""`earmark store` on sound and unsound stores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result
from market_rows import START_MS, labels_of, market_rows, market_store

from earmark.cli.store import store as store_group
from earmark.errors import EarmarkError
from earmark.store.offline import FeatureStore
from earmark.store.times import RECORDED_SINCE_MS
from earmark.tasks.market.schema import GROUP, SCHEMA
from earmark.tasks.market.validation.checks import check_rows, read_selection
from earmark.tasks.market.validation.quality import feature_quality
from earmark.tasks.market.validation.readiness import readiness

NOW_MS = START_MS + 40 * 86_400_000


def _run(folder: Path, *arguments: str) -> Result:
    return CliRunner().invoke(
        store_group, [arguments[0], "-C", str(folder), *arguments[1:]], standalone_mode=False
    )


def _statuses(folder: Path, rows: pl.DataFrame, labels: pl.DataFrame | None = None) -> dict[str, str]:
    selection = read_selection(market_store(folder, rows, labels))
    return {check.name: check.status for check in check_rows(selection, now_ms=NOW_MS, deep=True)}


def test_sound_rows_pass_every_check(tmp_path: Path) -> None:
    rows = pl.concat([market_rows("A", 100, seed=1), market_rows("B", 100, seed=2)])
    assert set(_statuses(tmp_path, rows, labels_of(rows)).values()) == {"ok"}


def test_unsound_rows_are_told_apart(tmp_path: Path) -> None:
    rows = market_rows("A", 200)
    at = pl.int_range(pl.len())
    rows = rows.filter(~at.is_between(50, 60)).with_columns(
        pl.when(at == 20).then(float("inf")).otherwise(pl.col("obv")).cast(pl.Float32).alias("obv"),
        pl.when(at < 100).then(None).otherwise(pl.col("aroon_up")).alias("aroon_up"),
        pl.lit(1, pl.Float32).alias("num_bid_clusters"),
        (pl.col("recv_ns") + pl.when(at >= 120).then(5_000_000_000).otherwise(0)).alias("recv_ns"),
        pl.lit(500, pl.Float32).alias("rsi_14"),
    )
    found = _statuses(tmp_path, rows)
    assert found["infinite"] == found["coverage"] == "fail"
    assert {name for name, status in found.items() if status == "note"} >= {
        "gaps",
        "nulls",
        "constants",
        "clock_jumps",
        "schema",
    }


def test_an_older_market_is_early_only_where_it_was_not_imported(tmp_path: Path) -> None:
    rows = market_rows("A", 100).with_columns(pl.col("timestamp") - 12 * 365 * 86_400_000)

    def schema_of(folder: Path, origins: list[str]) -> tuple[str, str]:
        made = rows.with_columns(pl.Series("origin", origins))
        store = FeatureStore(folder / "data/feature_store", schemas={GROUP: SCHEMA})
        store.write_offline_features(GROUP, made, earliest_ms=RECORDED_SINCE_MS)
        (found,) = [c for c in check_rows(read_selection(store), now_ms=NOW_MS) if c.name == "schema"]
        return found.status, found.next

    assert schema_of(tmp_path / "a", ["imported"] * 100) == ("ok", "")
    assert schema_of(tmp_path / "b", ["imported"] * 99 + ["live"]) == ("note", ""), "renaming mends no time"


def test_bytes_that_changed_on_the_disk_are_found_and_set_aside(tmp_path: Path) -> None:
    store = market_store(tmp_path, market_rows("A", 50))
    (path,) = (tmp_path / "data/feature_store/offline/training_features").glob("date=*/*.parquet")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    try:
        selection = read_selection(store)
    except pl.exceptions.PolarsError:
        pytest.skip("the flipped bit cannot be decoded")
    checks = {check.name: check for check in check_rows(selection, now_ms=NOW_MS, deep=True)}
    assert checks["files"].status == "fail"


@pytest.mark.parametrize(
    ("n", "symbols", "known", "score", "ready"),
    [
        (4000, 3, 1.0, 100, True),
        (1500, 1, 0.9, 75, True),
        (900, 1, 1.0, 50, False),
        (1500, 1, 0.5, 50, False),
    ],
)
def test_readiness_scores(
    tmp_path: Path, n: int, symbols: int, known: float, score: int, ready: bool
) -> None:
    rows = pl.concat([market_rows(f"S{i}", n, seed=i) for i in range(symbols)])
    selection = read_selection(market_store(tmp_path, rows, labels_of(rows, known=known)))
    judged = readiness(selection, check_rows(selection, now_ms=NOW_MS))
    assert (judged.score, judged.ready) == (score, ready)


def test_readiness_of_too_little_names_the_next_command(tmp_path: Path) -> None:
    market_store(tmp_path, market_rows("A", 100))
    result = _run(tmp_path, "validate", "market", "--ready", "--format", "json")
    assert result.return_value == 3
    document = json.loads(result.stdout)
    assert not document["ready"]
    assert any("Insufficient data: 100 samples, need at least 600" in line for line in document["missing"])
    assert any(
        "Future labels = None" in line and "earmark label market" in line for line in document["missing"]
    )


def test_quality_finds_the_feature_that_tells_of_the_label(tmp_path: Path) -> None:
    rows = market_rows("A", 2000).with_columns(depth_imbalance_ratio=pl.col("imbalance_5"))
    market_store(tmp_path, rows, labels_of(rows))
    report = feature_quality(read_selection(market_store(tmp_path, rows)))
    by_name = {feature.name: feature for feature in report.features}
    assert by_name["imbalance_5"].fisher == max(feature.fisher for feature in report.features) > 1
    expected = np.corrcoef(rows["imbalance_5"], labels_of(rows)["future_direction_60s"])[0, 1]
    assert by_name["imbalance_5"].correlation == pytest.approx(expected, abs=1e-6)
    assert ("imbalance_5", "depth_imbalance_ratio", 1.0) in report.redundant
    result = _run(tmp_path, "validate", "market", "--quality", "--quiet")
    assert result.return_value == 0
    assert {path.suffix for path in (tmp_path / "data/feature_analysis").iterdir()} == {".md", ".json"}


def test_an_empty_project_names_collect(tmp_path: Path) -> None:
    for command in ("list", "show", "validate", "compact"):
        result = _run(tmp_path, command, "market")
        assert isinstance(result.exception, EarmarkError)
        assert "No training data available" in str(result.exception)
        assert "earmark collect market" in str(result.exception)


def test_list_show_compact_and_restore(tmp_path: Path) -> None:
    store = market_store(tmp_path, market_rows("A", 10), labels_of(market_rows("A", 10)))
    store.write_offline_features("training_features", market_rows("A", 30))
    listed = json.loads(_run(tmp_path, "list", "market", "--format", "json").stdout)
    assert [(row["kind"], row["rows"], row["symbols"]) for row in listed] == [
        ("features", 30, 1),
        ("labels", 10, 1),
    ]
    shown = json.loads(_run(tmp_path, "show", "market", "--limit", "3", "--format", "json").stdout)
    assert [row["timestamp"] for row in shown] == [START_MS + 30_000 * i for i in (27, 28, 29)]
    assert json.loads(_run(tmp_path, "compact", "market", "--format", "json").stdout)["replaced"] == 2
    history = json.loads(_run(tmp_path, "show", "market", "--history", "--format", "json").stdout)
    assert history[0]["operation"] == "compact"
    restored = json.loads(_run(tmp_path, "restore", "market", "1", "--format", "json").stdout)
    assert restored[0]["rows"] == 10
    store.registry.update_from(SCHEMA, market_rows("A", 30))
    features = json.loads(_run(tmp_path, "show", "market", "--features", "--format", "json").stdout)
    assert len(features) == 112


def test_schema_and_hash_are_in_the_footer_of_every_file(tmp_path: Path) -> None:
    market_store(tmp_path, market_rows("A", 10))
    (path,) = tmp_path.glob("data/feature_store/offline/*/date=*/*.parquet")
    footer = pq.read_metadata(path)
    assert footer.metadata[b"earmark.schema_sha256"].decode() == SCHEMA.sha256
    assert footer.row_group(0).column(0).compression == "ZSTD"
    assert footer.row_group(0).column(1).statistics.min == START_MS
