"""The feature store: joined views, ranges, point-in-time joins, fall-backs, online vectors, the registry."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from feature_rows import START_MS, STEP_MS, feature_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import InputError, SchemaError, UsageError
from earmark.store.feature_registry import FeatureRecord, FeatureRegistry
from earmark.store.label_sets import LabelSets
from earmark.store.offline import FeatureStore, get_feature_store
from earmark.store.online import OnlineStore

GROUP = "training_features"


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    found = FeatureStore(tmp_path / "data/feature_store")
    rows = pl.concat([feature_rows("ETHUSDT", 20), feature_rows("BTCUSDT", 20)])
    found.write_offline_features(
        GROUP, rows.with_columns(current_mid_price=pl.col("x0") + 1.0, origin=pl.lit("live"))
    )
    return found


def _label(store: FeatureStore, rows: pl.DataFrame) -> None:
    labels = rows.select(
        "symbol",
        "timestamp",
        pl.lit("ok").alias("label_status_60s"),
        pl.lit(2, pl.Int8).alias("future_direction_60s"),
        (pl.col("timestamp") % 1000 / 1000.0).alias("future_movement_60s"),
    )
    LabelSets(store.root).write("fixed-1", labels, {"name": "fixed"})


def test_without_labels_the_joined_view_has_them_empty(store: FeatureStore) -> None:
    view = store.read_offline_features(GROUP)
    directions = [f"future_direction_{h}s" for h in (10, 30, 60)]
    movements = [f"future_movement_{h}s" for h in (10, 30, 60)]
    assert view.columns == ["symbol", "timestamp", "x0", "x1", *directions, *movements, "current_mid_price"]
    assert view.select(directions + movements).null_count().row(0) == (40,) * 6


def test_labels_join_by_key_and_rows_without_one_stay(store: FeatureStore) -> None:
    _label(store, feature_rows("BTCUSDT", 5))
    view = store.read_offline_features(GROUP)
    assert view["symbol"].to_list() == ["BTCUSDT"] * 20 + ["ETHUSDT"] * 20
    assert view["future_direction_60s"].to_list() == [2] * 5 + [None] * 35
    assert view.height == store.read_offline_features(GROUP, labels=None).height
    assert "origin" in store.read_offline_features(GROUP, labels=None).columns


@pytest.mark.parametrize("form", ["lazy", "pandas", "arrow"])
def test_tables_come_in_other_forms(store: FeatureStore, form: str) -> None:
    found = store.read_offline_features(GROUP, as_=form)
    assert pl.DataFrame(found.collect() if form == "lazy" else found).shape == (40, 11)


def test_labels_are_refused_in_files_of_features(store: FeatureStore) -> None:
    with pytest.raises(UsageError, match="earmark label market"):
        store.write_offline_features(
            "other", feature_rows("A", 3).with_columns(future_direction_60s=pl.lit(1))
        )
    empty = feature_rows("A", 3).with_columns(future_direction_60s=pl.lit(None, pl.Int8))
    assert store.write_offline_features("other", empty).rows == 3


def test_training_data_fall_back_to_groups_of_earlier_stores(store: FeatureStore) -> None:
    assert store.get_training_data(["BTCUSDT"]).height == 20
    store.write_offline_features("orderbook_features", feature_rows("XRPUSDT", 7))
    assert store.get_training_data("XRPUSDT").height == 7
    with pytest.raises(InputError, match="No training data available.*earmark collect market"):
        store.get_training_data("DOGEUSDT")
    with pytest.raises(SchemaError, match="'nothing'"):
        store.read_offline_features(GROUP, columns=["nothing"])


@settings(max_examples=25, deadline=None)
@given(
    offsets=st.lists(st.integers(-200_000, 900_000), min_size=1, max_size=20),
    tolerance_s=st.sampled_from([0, 1, 30, 61]),
)
def test_a_point_in_time_join_sees_no_later_row(
    tmp_path_factory: pytest.TempPathFactory, offsets: list[int], tolerance_s: int
) -> None:
    store = FeatureStore(tmp_path_factory.getbasetemp() / "as_of")
    right = feature_rows("A", 20)
    store.write_offline_features(GROUP, pl.concat([right, feature_rows("B", 20, start_ms=START_MS + 7)]))
    left = pl.DataFrame({"symbol": ["A"] * len(offsets), "timestamp": [START_MS + o for o in offsets]})
    joined = store.as_of(left, GROUP, ["x0"], tolerance_s)
    assert joined["timestamp"].to_list() == left["timestamp"].to_list()
    times, values = right["timestamp"].to_numpy(), right["x0"].to_list()
    for at, value, used in joined.select("timestamp", "x0", f"{GROUP}_timestamp").iter_rows():
        near = np.flatnonzero((times <= at) & (times >= at - tolerance_s * 1000))
        assert (value, used) == ((values[near[-1]], times[near[-1]]) if len(near) else (None, None))


def test_a_relative_root_starts_at_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "earmark.toml").write_text('task = "market"\n')
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert get_feature_store().root == tmp_path / "data" / "feature_store"


def test_online_vectors_expire_and_the_least_recently_used_leave(tmp_path: Path) -> None:
    now = [1_000_000.0]
    online = OnlineStore(tmp_path, max_entries=3, clock=lambda: now[0])
    for number in range(3):
        online.write(f"S{number}", np.full(4, number, np.float32), ttl=100)
        now[0] += 1
    assert online.read("S0") is not None
    now[0] += 1
    online.write("S3", np.arange(3))
    assert online.entities() == ["S0", "S2", "S3"], "S1 was used least recently"
    np.testing.assert_array_equal(online.read("S0"), np.zeros(4, np.float32))
    now[0] += 200
    assert online.read("S0") is None
    assert online.remove_expired() == 1
    assert len(list(tmp_path.iterdir())) == 1
    assert online.clear() == 1


def test_online_vectors_are_never_pickles_and_damage_is_no_answer(tmp_path: Path) -> None:
    online = OnlineStore(tmp_path)
    with pytest.raises(UsageError, match="array of numbers"):
        online.write("A", np.array([object()], dtype=object))
    online.write("../../A:B", np.arange(10))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    assert online.read("../../A:B") is None
    assert not list(tmp_path.iterdir())


def test_versions_of_features_are_compared_as_numbers(tmp_path: Path) -> None:
    registry = FeatureRegistry(tmp_path)
    for version in ("1", "10", "9", "1.2"):
        registry.register_feature(FeatureRecord("mid_price", version, type="orderbook"))
    registry.register_feature(FeatureRecord("rsi_14", type="indicator", active=False))
    assert registry.get_feature_metadata("mid_price").version == "10"
    assert (tmp_path / "mid_price__10.json").is_file()
    assert [record.name for record in registry.list_features()] == ["mid_price"]
    assert [record.name for record in registry.list_features("indicator", active_only=False)] == ["rsi_14"]
    with pytest.raises(UsageError, match="not registered"):
        registry.get_feature_metadata("nothing")
    with pytest.raises(UsageError, match="cannot be registered"):
        registry.register_feature(FeatureRecord("../a"))


@settings(max_examples=20, deadline=None)
@given(parts=st.lists(st.lists(st.floats(-1e6, 1e6), max_size=10), min_size=1, max_size=5))
def test_statistics_of_batches_are_those_of_all_values(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[float]]
) -> None:
    registry = FeatureRegistry(tmp_path_factory.mktemp("r"))
    registry.register_feature(FeatureRecord("x"))
    for part in parts:
        registry.update_feature_stats("x", pl.Series([*part, None, float("nan")], dtype=pl.Float64))
    values = np.concatenate([np.asarray(part, dtype=float) for part in parts])
    record = registry.get_feature_metadata("x")
    assert record.count == len(values)
    if len(values):
        found = np.array([record.min, record.max, record.mean, record.std], dtype=float)
        expected = [values.min(), values.max(), values.mean(), values.std()]
        np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-6)
    registry.register_feature(FeatureRecord("x", description="again"))
    assert registry.get_feature_metadata("x").count == len(values)


def test_the_step_of_the_rows_is_thirty_seconds(store: FeatureStore) -> None:
    times = store.read_offline_features(GROUP, "2025-01-01", "2025-01-01", ["timestamp"], "BTCUSDT")[
        "timestamp"
    ]
    assert times.diff().drop_nulls().unique().to_list() == [STEP_MS]
