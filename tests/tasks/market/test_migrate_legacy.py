"""Migration: twice is once, kill -9 loses and doubles nothing, sources stay, columns get their names."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from legacy_samples import START, features, old_batch, samples, stub

from earmark.cli.main import run
from earmark.errors import InputError, UsageError
from earmark.orderbook.catalog import FEATURE_NAMES
from earmark.orderbook.views import VIEWS
from earmark.store.offline import FeatureStore
from earmark.tasks.market.legacy.columns import new_names
from earmark.tasks.market.legacy.migrate import migrate_legacy
from earmark.tasks.market.legacy.writer import LegacyWriter
from earmark.tasks.market.schema import SCHEMA


def store_of(folder):
    return FeatureStore(folder / "data/feature_store", schemas={"training_features": SCHEMA})


def hashes(folder):
    return {p: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.fixture
def project(tmp_path):
    """Two symbols: wide batches over midnight that overlap by a row, and an old batch with labels."""
    source = tmp_path / "data/ml_training"
    LegacyWriter(source).write("4USDT", features(4), samples(4))
    LegacyWriter(source).write("4USDT", features(4, seed=1), samples(4, START + 90_000))
    stubs = [stub(START, -1, -0.01), stub(START + 30_000), stub(START + 60_000, 1, 0.02)]
    old_batch(source, "BTCUSDT", "2025-01-01_batch_0001", stubs, [{"mid_price": 100.0}] * 3, features(3, 110))
    return tmp_path


def test_rows_and_labels_arrive_and_the_source_stays(project):
    source, store = project / "data/ml_training", store_of(project)
    before = hashes(source)
    lines = []
    report = migrate_legacy(source, store, tell=lambda event: lines.append(event.message))
    assert hashes(source) == before
    rows = store.read_offline_features("training_features", labels=None)
    assert rows.group_by("symbol").len().sort("symbol").rows() == [("4USDT", 7), ("BTCUSDT", 3)]
    assert np.array_equal(rows.filter(symbol="4USDT").select(FEATURE_NAMES).to_numpy()[:4], features(4))
    assert set(rows["origin"]) == {"migrated"}
    assert rows.filter(symbol="BTCUSDT")["aroon_up"].null_count() == 3
    days = {path.parent.name for path in (store.root / "offline").rglob("*.parquet")}
    assert days == {"date=2024-12-31", "date=2025-01-01"}
    labels = store.label_sets.scan("legacy").collect()
    assert labels["future_direction_60s"].to_list() == [0, 2]
    assert labels["label_end_ms_60s"].to_list() == [START + 60_000, START + 120_000]
    assert (report.totals["migrated"], report.totals["duplicates"], report.totals["labelled"]) == (10, 1, 2)
    assert lines[0] == f"4USDT/{lines[0].split('/')[1].split(':')[0]}: ✓ 4 samples"
    written = json.loads((store.root / "metadata/migrations/legacy-training_features.json").read_text())
    assert (written["read"], written["migrated"], written["symbols"][1]["batches"]) == (11, 10, 1)


def test_the_second_run_changes_nothing(project):
    store = store_of(project)
    migrate_legacy(project / "data/ml_training", store)
    report_file = store.root / "metadata/migrations/legacy-training_features.json"
    before = hashes(store.root)
    report = migrate_legacy(project / "data/ml_training", store)
    after = hashes(store.root)
    assert {p for p in after if after[p] != before.get(p)} <= {report_file}
    assert (report.totals["already"], report.totals["read"]) == (3, 0)


def test_a_dry_run_writes_nothing(project):
    report = migrate_legacy(project / "data/ml_training", store_of(project), dry_run=True)
    assert report.totals["read"] == 11
    assert not (project / "data/feature_store").exists()


def test_a_torn_journal_line_is_done_again(project):
    store = store_of(project)
    migrate_legacy(project / "data/ml_training", store)
    journal = store.root / "metadata/migrations/legacy-training_features.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])
    report = migrate_legacy(project / "data/ml_training", store)
    assert (report.totals["already"], report.totals["migrated"]) == (2, 0)
    assert len(store.read_offline_features("training_features", labels=None)) == 10
    assert len(journal.read_text().splitlines()) == 3


def test_a_broken_batch_is_reported_and_the_rest_migrated(project, capsys):
    source = project / "data/ml_training"
    next((source / "4USDT/features").glob("*0001.npy")).write_bytes(b"\x93NUMPY")
    stubs = [stub(0), stub(START + 300_000)]
    old_batch(source, "ETHUSDT", "2025-01-01_batch_0001", stubs, [{}, {}], features(2))
    assert run(["-C", str(project), "--format", "json", "migrate", "market", "legacy"]) == 1
    told = capsys.readouterr()
    found = json.loads(told.out)
    assert (found["migrated"], found["rejected"]) == (8, 1)
    assert ["not a readable npy" in found["reasons"][0]["reason"], found["reasons"][1]["reason"][:6]] == [
        True,
        "row 0:",
    ]
    assert "✗" in told.err and "✓ 1 samples" in told.err


def test_a_declared_coding_is_not_overruled(project):
    source = project / "data/ml_training"
    with pytest.raises(UsageError, match="declares the coding -1/0/1"):
        migrate_legacy(source, store_of(project), coding="0/1/2")
    only = [
        "-C",
        str(project),
        "migrate",
        "market",
        "legacy",
        "--coding",
        "-1/0/1",
        "--symbols",
        "BTCUSDT",
        "--dry-run",
    ]
    assert run(only) == 0


KILLED = """
import sys, time
from earmark.store.offline import FeatureStore
from earmark.tasks.market.legacy.migrate import migrate_legacy
from earmark.tasks.market.schema import SCHEMA
def tell(event):
    print(event.done, flush=True)
migrate_legacy(sys.argv[1], FeatureStore(sys.argv[2], schemas={"training_features": SCHEMA}), tell=tell)
"""


def test_a_killed_run_goes_on_and_doubles_nothing(tmp_path):
    source, root = tmp_path / "in", tmp_path / "store"
    for i in range(18):
        rows = samples(5, START + i * 150_000)
        for row in rows:
            row["future_direction_10s"] = i % 3
        LegacyWriter(source).write("A" if i % 2 else "B", features(5, seed=i), rows)
    for until in (3, 12):
        run = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(source), str(root)], stdout=subprocess.PIPE, text=True
        )
        assert run.stdout is not None
        for line in run.stdout:
            if int(line) >= until:
                time.sleep(0.01)
                os.kill(run.pid, signal.SIGKILL)
                break
        run.stdout.close()
        assert run.wait() == -signal.SIGKILL
    store = FeatureStore(root, schemas={"training_features": SCHEMA})
    migrate_legacy(source, store)
    rows = store.read_offline_features("training_features", labels=None)
    assert len(rows) == rows.select("symbol", "timestamp").n_unique() == 90
    assert len(store.label_sets.scan("legacy").collect()) == 90
    migrated = sum(map(len, (pl.read_parquet(p, columns=["symbol"]) for p in _live_files(store))))
    assert migrated == 90


def _live_files(store) -> list[Path]:
    folder = store.root / "offline/training_features"
    return [folder / path for path in store.table("training_features").files()["path"]]


@pytest.mark.parametrize("width", [110, 112, 187])
def test_indexed_columns_get_the_names_of_their_view(tmp_path, width):
    view = {110: "v1_110", 112: "v1_112", 187: "v1_187"}[width]
    path = tmp_path / "old.parquet"
    array = features(2, width)
    table = pl.from_numpy(array, schema=[f"feature_{i:03d}" for i in range(width)]).with_columns(
        timestamp=pl.lit(1)
    )
    table.write_parquet(path)
    original = path.read_bytes()
    arguments = ["-C", str(tmp_path), "migrate", "market", "columns", "--file", str(path), "--backup"]
    assert (run([*arguments, "--dry-run"]), path.read_bytes() == original) == (0, True)
    for _ in range(2):
        assert run(arguments) == 0
    read = pl.read_parquet(path)
    assert read.columns == [*VIEWS[view], "timestamp"]
    assert np.array_equal(read.select(VIEWS[view]).to_numpy(), array)
    assert (tmp_path / "old.parquet.backup").read_bytes() == original


def test_prefixes_go_only_where_the_schema_knows_the_name():
    names = new_names(["ob_imbalance_5", "candle_close", "ind_rsi_14", "ob_unknown", "symbol"])
    assert names == {"ob_imbalance_5": "imbalance_5", "candle_close": "close", "ind_rsi_14": "rsi_14"}
    with pytest.raises(InputError, match="Two columns"):
        new_names(["close", "candle_close"])
    with pytest.raises(InputError, match="expected"):
        new_names([f"feature_{i}" for i in range(100)])


def test_files_of_a_versioned_table_stay(project, capsys):
    store = store_of(project)
    migrate_legacy(project / "data/ml_training", store)
    path = _live_files(store)[0]
    pl.DataFrame({"candle_close": [1.0]}).write_parquet(path.with_name("other.parquet"))
    assert run(["-C", str(project), "migrate", "market", "columns"]) == 1
    assert "versioned table" in capsys.readouterr().err
