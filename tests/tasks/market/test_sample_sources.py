"""Files of earlier programs and tables of others become datasets by the same way as recorded rows."""

import json

import numpy as np
import polars as pl
import pytest
from legacy_samples import features, old_batch, stub
from series_store import label_rows, sample_rows

from earmark.cli.main import run
from earmark.errors import InputError, SchemaError, UsageError
from earmark.orderbook.catalog import FEATURE_NAMES
from earmark.orderbook.views import VIEWS
from earmark.store.label_sets import LabelSets
from earmark.store.offline import FeatureStore
from earmark.tasks.market.prepare import PrepareOptions, load_prepared, prepare

N = 700
START_S = 1_750_000_000
SMALL = PrepareOptions(sequence_length=10, embargo_share=0.0)


def legacy_files(root, *, width=112, directions=(-1, 0, 1), symbol="BTCUSDT"):
    """Two batches of labelled rows, half a minute apart."""
    for number, start in enumerate((0, N // 2), 1):
        rows = range(start, start + N // 2)
        stubs = [stub(START_S + 30 * i, directions[i % 3], (i % 3 - 1) / 100) for i in rows]
        meta = [{"timestamp": START_S + 30 * i, "mid_price": 100.0 + i % 7} for i in rows]
        array = features(N // 2, width, seed=number)
        old_batch(root, symbol, f"2025-06-15_batch_{number:04d}", stubs, meta, array)


@pytest.mark.parametrize(("width", "view"), [(112, "v1_112"), (110, "v1_110")])
def test_legacy_files_are_rows_with_their_own_labels(tmp_path, width, view):
    legacy_files(tmp_path / "data/ml_training", width=width)
    options = PrepareOptions(data_source="legacy", sequence_length=10, embargo_share=0.0)
    prepared = prepare(tmp_path, options)
    table = prepared.train.table
    assert table.columns == VIEWS[view]
    expected = np.concatenate([features(N // 2, width, seed=1), features(N // 2, width, seed=2)])
    assert np.array_equal(table.X, expected[: len(table)])
    known = table.y >= 0
    assert known.sum() > 500 and (table.y[known] == (np.arange(len(table)) % 3)[known]).all()
    assert prepared.record["source"]["group"] == "legacy" and "700 samples migrated" in prepared.notes[0]
    again = prepare(tmp_path, options)
    assert again.hash == prepared.hash == load_prepared(tmp_path).hash
    assert "0 samples migrated" in again.notes[0]


def test_labels_may_come_from_the_samples_instead(tmp_path):
    legacy_files(tmp_path / "data/ml_training")
    options = PrepareOptions(
        data_source="legacy", price_source="samples", sequence_length=10, embargo_share=0.0
    )
    table = prepare(tmp_path, options).train.table
    assert table.price[:7].tolist() == [100.0] * 7  # the stub's price goes before the metadata's
    assert set(table.y[table.y >= 0]) == {1}
    (newest, *_) = LabelSets(tmp_path / "data/feature_store").list()
    assert newest["name"] == "fixed" and newest["parameters"]["price_source"] == "samples"


def test_one_group_has_one_coding(tmp_path):
    files = tmp_path / "data/ml_training"
    legacy_files(files, directions=(0, 1, 2))
    zero_to_two = PrepareOptions(data_source="legacy", coding="0/1/2", sequence_length=10, embargo_share=0.0)
    table = prepare(tmp_path, zero_to_two).train.table
    assert set(table.y) == {-1, 0, 1, 2}
    with pytest.raises(UsageError, match=r"by the coding 0/1/2.*--coding=0/1/2"):
        prepare(tmp_path, PrepareOptions(data_source="legacy"))
    (files / "BTCUSDT/_manifest.json").write_text(json.dumps({"coding": "-1/0/1"}))
    with pytest.raises(UsageError, match="declares the coding -1/0/1"):
        prepare(tmp_path, zero_to_two)


def test_a_source_that_is_not_there_or_named_twice_is_said(tmp_path):
    for wrong, said in (
        ({"data_source": "legacy"}, "no folder .*ml_training.*earmark collect market --legacy"),
        ({"data_source": "legacy", "parquet": "x"}, "both say where rows are"),
        ({"data_path": "x"}, "--data-source legacy"),
        ({"coding": "0/1/2"}, "--parquet"),
    ):
        with pytest.raises(UsageError, match=said):
            prepare(tmp_path, PrepareOptions(**wrong))
    with pytest.raises(InputError, match="no readable Parquet"):
        prepare(tmp_path, PrepareOptions(parquet=str(tmp_path / "none.parquet")))


def test_a_foreign_table_with_indexed_columns_and_labels_is_a_dataset(tmp_path, capsys):
    rows = sample_rows("BTCUSDT", N)
    names = {name: f"feature_{place:03d}" for place, name in enumerate(FEATURE_NAMES)}
    labels = label_rows(rows).select("future_direction_60s", "future_movement_60s")
    foreign = pl.concat([rows.drop("origin").rename(names), labels], how="horizontal")
    path = tmp_path / "theirs.parquet"
    foreign.with_columns(pl.col("timestamp") / 1000, extra=1).write_parquet(path)
    asked = ["prepare", "market", "--sequence-length", "10", "--no-embargo", "--parquet", str(path)]
    assert run(["-C", str(tmp_path), *asked, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    table = load_prepared(tmp_path).train.table
    assert np.array_equal(table.X, rows.select(FEATURE_NAMES).to_numpy()[: len(table)])
    known = table.y >= 0
    assert table.y[known].tolist() == labels["future_direction_60s"][: len(table)].to_numpy()[known].tolist()
    group = document["source"]["group"]
    stored = FeatureStore(tmp_path / "data/feature_store").table(group).scan().collect()
    assert group.startswith("parquet_") and set(stored["origin"]) == {"imported"} and len(stored) == N
    assert run(["-C", str(tmp_path), *asked]) == 0 and "0 of them new" in capsys.readouterr().err


def test_a_foreign_table_that_does_not_fit_is_refused(tmp_path):
    rows = sample_rows("BTCUSDT", 20)
    path = tmp_path / "theirs.parquet"
    rows.drop("mid_price").write_parquet(path)
    with pytest.raises(SchemaError, match="mid_price"):
        prepare(tmp_path, PrepareOptions(parquet=str(path)))
    rows.with_columns(future_direction_60s=pl.lit(-1)).write_parquet(path)
    with pytest.raises(InputError, match=r"direction -1 at 60s.*--coding"):
        prepare(tmp_path, PrepareOptions(parquet=str(path)))
