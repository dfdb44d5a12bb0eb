"""Datasets: no test row by any path, fixed class order, float32, hashes that see what matters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from earmark.data.dataset import Dataset, test_dataset
from earmark.data.manifest import Manifest
from earmark.data.policy import SplitPolicy
from earmark.data.seal import SealedLabels, seal
from earmark.data.splits import Splits
from earmark.errors import SchemaError, SealError, UsageError

CLASSES = ("YELLOW", "GREEN", "PURPLE")
Prepared = tuple[Manifest, Splits, Path]


@pytest.fixture
def prepared(make_manifest: Callable[..., Manifest], tmp_path: Path) -> Prepared:
    manifest = make_manifest(100, n_groups=60)
    manifest, splits = seal(tmp_path / "data", manifest, Splits.make(manifest))
    return manifest, splits, tmp_path / "data"


@pytest.fixture
def dataset(prepared: Prepared, make_table: Callable[..., Any]) -> Dataset:
    manifest, splits, _ = prepared
    return Dataset.build(manifest, splits, make_table(manifest.ids), CLASSES)


def test_rows_are_the_training_items_with_their_labels_groups_and_folds(
    prepared: Prepared, dataset: Dataset, make_manifest: Callable[..., Manifest]
) -> None:
    manifest, splits, _ = prepared
    rows = {row["id"]: row for row in make_manifest(100, n_groups=60).table.iter_rows(named=True)}
    assert dataset.ids == tuple(sorted(splits.train_ids))
    assert [dataset.classes[code] for code in dataset.y] == [rows[id]["label"] for id in dataset.ids]
    assert dataset.groups.tolist() == [rows[id]["group"] for id in dataset.ids]
    assert dataset.folds.tolist() == [splits.rows()[id]["fold"] for id in dataset.ids]
    assert dataset.X[:, 0].tolist() == [2.0 * manifest.ids.index(id) for id in dataset.ids]
    assert (dataset.X.dtype, dataset.y.dtype) == (np.float32, np.int64)
    assert dataset.weights.tolist() == [1.0] * len(dataset)
    assert (dataset.n_folds, dataset.split, dataset.absent) == (5, "train", ())


def test_poisoned_test_rows_do_not_reach_a_dataset(
    prepared: Prepared, make_table: Callable[..., Any], dataset: Dataset
) -> None:
    """Absurd features of every test item change nothing that training can see, and no test id is in it."""
    manifest, splits, _ = prepared
    table = make_table(manifest.ids)
    poisoned = table.values.copy()
    tested = np.isin(manifest.ids, splits.test_ids)
    poisoned[tested] = np.array([np.inf, 1e30], dtype=np.float32)
    built = Dataset.build(manifest, splits, replace(table, values=poisoned), CLASSES)
    assert built.hash == dataset.hash
    assert not set(built.ids) & set(splits.test_ids)
    for fold in range(built.n_folds):
        train, validation = built.train_validation(fold)
        assert not {built.ids[row] for row in (*train, *validation)} & set(splits.test_ids)


def test_a_manifest_with_a_test_label_is_refused(prepared: Prepared, make_table: Callable[..., Any]) -> None:
    manifest, splits, _ = prepared
    poison = pl.when(pl.col("id") == splits.test_ids[0]).then(pl.lit("PURPLE")).otherwise(pl.col("label"))
    planted = Manifest(manifest.table.with_columns(poison.alias("label")), root=manifest.root)
    with pytest.raises(SealError, match=f"labels of 1 test items: `{splits.test_ids[0]}`"):
        Dataset.build(planted, splits, make_table(manifest.ids), CLASSES)


def test_a_preparation_that_stopped_halfway_is_noticed(
    prepared: Prepared, make_table: Callable[..., Any], make_manifest: Callable[..., Manifest]
) -> None:
    """New labels are sealed and the new manifest is not written yet: the old labels must not train."""
    manifest, splits, folder = prepared
    corrected = make_manifest(100, n_groups=60)
    corrected = Manifest(corrected.table.with_columns(label=pl.lit("GREEN")), root=manifest.root)
    before = (folder / "manifest.parquet").read_bytes()
    seal(folder, corrected, Splits.make(corrected, previous=splits))
    (folder / "manifest.parquet").write_bytes(before)
    with pytest.raises(UsageError, match="a preparation was interrupted"):
        Dataset.build(
            Manifest.read(folder / "manifest.parquet"),
            Splits.read(folder / "splits.parquet"),
            make_table(manifest.ids),
            CLASSES,
        )


def test_splits_of_another_manifest_are_refused(
    prepared: Prepared, make_table: Callable[..., Any], make_manifest: Callable[..., Manifest]
) -> None:
    manifest, _, _ = prepared
    other = Splits.make(make_manifest(99, n_groups=60))
    with pytest.raises(UsageError, match="prepare"):
        Dataset.build(manifest, other, make_table(manifest.ids), CLASSES)


def test_the_test_set_needs_an_opening(prepared: Prepared, make_table: Callable[..., Any]) -> None:
    manifest, splits, folder = prepared
    table = make_table(manifest.ids)
    for key in (None, {}, splits):
        with pytest.raises(SealError, match="expected an opening of the seal"):
            test_dataset(key, table, CLASSES)  # type: ignore[arg-type]
    opening = SealedLabels(folder).open(run="r", reason="test")
    test = test_dataset(opening, table, CLASSES)
    assert test.ids == tuple(sorted(splits.test_ids))
    assert {id: CLASSES[code] for id, code in zip(test.ids, test.y, strict=True)} == opening.labels
    assert (test.split, test.n_folds, set(test.folds.tolist())) == ("test", 0, {-1})
    groups = dict(manifest.table.select("id", "group").iter_rows())
    assert test.groups.tolist() == [groups[id] for id in test.ids]


def test_order_of_manifest_and_table_has_no_effect(
    prepared: Prepared, dataset: Dataset, make_table: Callable[..., Any]
) -> None:
    manifest, splits, _ = prepared
    table = make_table(manifest.ids)
    backwards = replace(table, ids=table.ids[::-1], values=table.values[::-1])
    shuffled = Manifest(manifest.table[::-1], root=manifest.root)
    assert Dataset.build(shuffled, splits, backwards, CLASSES).hash == dataset.hash


def test_items_without_features_are_named(prepared: Prepared, make_table: Callable[..., Any]) -> None:
    manifest, splits, _ = prepared
    failed = sorted(splits.train_ids)[0]
    built = Dataset.build(
        manifest, splits, make_table(tuple(id for id in manifest.ids if id != failed)), CLASSES
    )
    assert built.absent == (failed,)
    assert failed not in built.ids


def test_a_table_with_unknown_items_or_none_of_ours_is_refused(
    prepared: Prepared, make_table: Callable[..., Any]
) -> None:
    manifest, splits, _ = prepared
    with pytest.raises(UsageError, match="1 items that the manifest lacks: `stranger`"):
        Dataset.build(manifest, splits, make_table((*manifest.ids, "stranger")), CLASSES)
    with pytest.raises(UsageError, match="none of the 80 labelled train items"):
        Dataset.build(manifest, splits, make_table(splits.test_ids), CLASSES)


def test_labels_that_are_no_class_are_refused(prepared: Prepared, make_table: Callable[..., Any]) -> None:
    manifest, splits, _ = prepared
    with pytest.raises(UsageError, match="1 labels are no class of the task: `PURPLE`"):
        Dataset.build(manifest, splits, make_table(manifest.ids), ("GREEN", "YELLOW"))


def test_class_order_is_the_tasks_and_missing_classes_are_seen(
    prepared: Prepared, make_table: Callable[..., Any]
) -> None:
    manifest, splits, _ = prepared
    built = Dataset.build(manifest, splits, make_table(manifest.ids), ("PURPLE", "BLUE", "GREEN", "YELLOW"))
    assert tuple(built.class_counts) == ("PURPLE", "BLUE", "GREEN", "YELLOW")
    assert built.missing_classes == ("BLUE",)
    assert sum(built.class_counts.values()) == len(built)


def test_weights_and_sources_come_from_the_manifest(
    make_manifest: Callable[..., Manifest], make_table: Callable[..., Any], tmp_path: Path
) -> None:
    manifest = make_manifest(60)
    table = manifest.table.with_columns(
        pl.Series("sample_weight", [3.0 if i % 2 else None for i in range(60)]),
        pl.Series("source", ["user" if i % 2 else "other" for i in range(60)]),
    )
    manifest = Manifest(table, root=manifest.root)
    manifest, splits = seal(tmp_path, manifest, Splits.make(manifest))
    built = Dataset.build(manifest, splits, make_table(manifest.ids), CLASSES)
    odd = [int(id[5:8]) % 2 for id in built.ids]
    assert built.weights.tolist() == [3.0 if o else 1.0 for o in odd]
    assert built.sources.tolist() == ["user" if o else "other" for o in odd]
    opening = SealedLabels(tmp_path).open(run="r", reason="t")
    test = test_dataset(opening, make_table(manifest.ids), CLASSES)
    assert test.sources.tolist() == ["user" if int(id[5:8]) % 2 else "other" for id in test.ids]


def test_groups_are_those_of_the_policy(
    make_manifest: Callable[..., Manifest], make_table: Callable[..., Any], tmp_path: Path
) -> None:
    manifest = make_manifest(60)
    table = manifest.table.with_columns(pl.Series("album", [f"album{i // 2}" for i in range(60)]))
    manifest = Manifest(table, root=manifest.root)
    manifest, splits = seal(tmp_path, manifest, Splits.make(manifest, SplitPolicy(group_on="album")))
    built = Dataset.build(manifest, splits, make_table(manifest.ids), CLASSES)
    assert all(group.startswith("album") for group in built.groups)
    opening = SealedLabels(tmp_path).open(run="r", reason="t")
    test = test_dataset(opening, make_table(manifest.ids), CLASSES)
    assert not set(test.groups) & set(built.groups)


def test_purged_items_and_gaps_are_kept_from_training(make_table: Callable[..., Any], tmp_path: Path) -> None:
    table = pl.DataFrame(
        {
            "id": [f"t{i:03d}" for i in range(100)],
            "uri": ["u"] * 100,
            "label": ["a", "b"] * 50,
            "time_s": [float(i) for i in range(100)],
        }
    )
    manifest = Manifest(table, root=tmp_path)
    policy = SplitPolicy(time_on="time_s", n_folds=4, purge_s=3, embargo_s=2)
    manifest, splits = seal(tmp_path, manifest, Splits.make(manifest, policy))
    built = Dataset.build(manifest, splits, make_table(manifest.ids), ("a", "b"))
    assert built.ids[-1] == "t077"
    train, validation = built.train_validation(1)
    assert (validation.min(), validation.max()) == (20, 39)
    assert train.tolist() == [*range(18), *range(44, 78)]


def test_missing_values_stay_and_infinite_ones_are_refused() -> None:
    small = dataset_of(X=np.array([[np.nan], [1.0]]))
    assert np.isnan(small.X[0, 0])
    with pytest.raises(SchemaError, match=r"X is infinite in column `c` of item `b`"):
        dataset_of(X=np.array([[0.0], [np.inf]]))
    with pytest.raises(SchemaError, match="X is infinite"):
        dataset_of(X=np.array([[0.0], [1e300]]))  # finite, but not as float32


def dataset_of(**changes: Any) -> Dataset:
    values: dict[str, Any] = {
        "ids": ("a", "b"),
        "columns": ("c",),
        "X": np.zeros((2, 1)),
        "y": [0, 1],
        "classes": ("x", "y"),
        "groups": ["g", "h"],
        "folds": [0, 1],
    }
    return Dataset(**{**values, **changes})


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"X": np.zeros((2, 2))}, r"X has shape \(2, 2\), expected \(2, 1\)"),
        ({"y": [0]}, "y has 1 values, expected 2"),
        ({"groups": ["g"], "folds": [0, 1, 2]}, "groups has 1 .* folds has 3"),
        ({"ids": ("a", "a")}, "ids holds a value twice"),
        ({"y": [0, 2]}, r"y lies in 0..2, expected 0..1"),
        ({"weights": [1.0, 0.0]}, "weights are not all positive"),
        ({"weights": [1.0, np.nan]}, "weights are not all positive"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], expected: str) -> None:
    with pytest.raises(SchemaError, match=expected):
        dataset_of(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"ids": ("a", "c")},
        {"columns": ("d",)},
        {"X": np.array([[0.0], [1e-7]])},
        {"y": [0, 0]},
        {"classes": ("x", "z")},
        {"groups": ["g", "i"]},
        {"folds": [1, 0]},
        {"weights": [1.0, 2.0]},
        {"sources": ["user", "other"]},
        {"gaps": (frozenset({1}), frozenset())},
        {"split": "test"},
    ],
)
def test_hash_sees_every_part(changes: dict[str, Any]) -> None:
    assert dataset_of(**changes).hash != dataset_of().hash
    assert dataset_of().hash == dataset_of().hash


def test_select_takes_columns_in_order(dataset: Dataset) -> None:
    selected = dataset.select(["a.y", "a.x"])
    assert selected.columns == ("a.y", "a.x")
    np.testing.assert_array_equal(selected.X, dataset.X[:, ::-1])
    assert selected.X.flags.c_contiguous
    with pytest.raises(SchemaError, match=r"1 columns are not in the dataset: `a\.z`; it has `a\.x`, `a\.y`"):
        dataset.select(["a.x", "a.z"])


def test_take_keeps_rows_aligned(dataset: Dataset) -> None:
    mask = dataset.folds == 2
    taken = dataset.take(mask)
    assert taken.ids == tuple(id for id, chosen in zip(dataset.ids, mask, strict=True) if chosen)
    np.testing.assert_array_equal(taken.X, dataset.X[mask])
    assert dataset.take(np.array([3, 1])).ids == (dataset.ids[3], dataset.ids[1])


def test_folds_partition_the_rows(dataset: Dataset) -> None:
    validated = []
    for fold in range(dataset.n_folds):
        train, validation = dataset.train_validation(fold)
        assert sorted([*train, *validation]) == list(range(len(dataset)))
        assert not set(dataset.groups[train]) & set(dataset.groups[validation])
        validated += validation.tolist()
    assert sorted(validated) == list(range(len(dataset)))
    with pytest.raises(UsageError, match="fold 5 does not exist"):
        dataset.train_validation(5)
