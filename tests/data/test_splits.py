"""Splits: groups whole, proportions kept, order without effect, test items in test for ever, time respected."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from earmark.data.assignment import visiting_order
from earmark.data.balance import balanced_folds, balanced_subset
from earmark.data.manifest import Manifest
from earmark.data.parquet import write_table
from earmark.data.policy import SplitPolicy
from earmark.data.splits import Splits
from earmark.errors import UsageError


def manifest_of(rows: list[dict[str, Any]], **columns: list[Any]) -> Manifest:
    table = pl.DataFrame(rows, infer_schema_length=None)
    return Manifest(table.with_columns(pl.Series(name, of) for name, of in columns.items()), root="/music")


def sides_of_groups(manifest: Manifest, splits: Splits) -> dict[str, set[tuple[str, int]]]:
    rows = splits.rows()
    sides = defaultdict(set)
    for id, group in manifest.table.select("id", "group").iter_rows():
        sides[group or id].add((rows[id]["split"], rows[id]["fold"]))
    return sides


def assert_sound(manifest: Manifest, splits: Splits) -> None:
    """Every item assigned once, no group or content on two sides, folds only and always in training."""
    assert sorted(splits.table["id"]) == sorted(manifest.ids)
    assert all(len(sides) == 1 for sides in sides_of_groups(manifest, splits).values())
    contents = defaultdict(set)
    for row in splits.rows().values():
        assert (row["fold"] >= 0) == (row["split"] == "train")
        assert row["fold"] < splits.policy.n_folds
        if row["content_hash"]:
            contents[row["content_hash"]].add((row["split"], row["fold"]))
    assert all(len(sides) == 1 for sides in contents.values())


_collections = st.lists(
    st.tuples(st.integers(0, 60), st.sampled_from(["Y", "G", "P", None]), st.integers(0, 5000)),
    min_size=40,
    max_size=120,
)


def collection(rows: list[tuple[int, str | None, int]]) -> Manifest:
    return manifest_of(
        [
            {"id": f"t{i:03d}", "uri": f"t{i}", "group": f"g{g}", "label": label, "content_hash": f"c{c}"}
            for i, (g, label, c) in enumerate(rows)
        ]
    )


@given(_collections, st.integers(0, 5), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_any_collection_is_split_soundly_and_independently_of_order(
    rows: list[tuple[int, str | None, int]], seed: int, rng: Any
) -> None:
    manifest = collection(rows)
    policy = SplitPolicy(n_folds=3, seed=seed)
    try:
        splits = Splits.make(manifest, policy)
    except UsageError as error:
        assert "groups of labelled items leave" in str(error)  # joined contents may leave too few groups
        return
    assert_sound(manifest, splits)
    order = list(range(len(rows)))
    rng.shuffle(order)
    shuffled = Manifest(manifest.table[order], root=manifest.root)
    assert Splits.make(shuffled, policy).hash == splits.hash


@given(st.integers(0, 50), st.sampled_from([0.1, 0.2, 0.3]), st.integers(2, 6))
@settings(max_examples=40, deadline=None)
def test_sizes_and_classes_stay_within_a_group_of_their_share(
    seed: int, fraction: float, n_folds: int
) -> None:
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 60, 200)
    manifest = collection([(int(g), str(rng.choice(["Y", "G", "P"])), i) for i, g in enumerate(groups)])
    splits = Splits.make(manifest, SplitPolicy(test_fraction=fraction, n_folds=n_folds))
    largest = max(Counter(groups.tolist()).values())
    assert abs(len(splits.test_ids) - fraction * 200) <= largest / 2
    sizes = Counter(row["fold"] for row in splits.rows().values() if row["split"] == "train")
    assert max(sizes.values()) - min(sizes.values()) <= largest
    labels = dict(manifest.table.select("id", "label").iter_rows())
    in_test = Counter(labels[id] for id in splits.test_ids)
    for label, total in Counter(labels.values()).items():
        assert abs(in_test[label] - fraction * total) <= 3


def test_a_library_of_484_gives_a_test_set_of_97(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(484, n_groups=250)
    splits = Splits.make(manifest)
    assert_sound(manifest, splits)
    assert abs(len(splits.test_ids) - 97) <= 1
    sizes = Counter(splits.table.filter(pl.col("split") == "train")["fold"].to_list())
    assert sorted(sizes) == [0, 1, 2, 3, 4]
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_large_groups_leave_the_folds_level(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(300)
    big = [f"big{i % 4}" if i < 120 else f"g{i}" for i in range(300)]
    manifest = Manifest(manifest.table.with_columns(pl.Series("group", big)), root=manifest.root)
    splits = Splits.make(manifest)
    assert_sound(manifest, splits)
    sizes = Counter(splits.table.filter(pl.col("split") == "train")["fold"].to_list())
    assert max(sizes.values()) - min(sizes.values()) <= 1


def test_seeds_give_different_tests_and_one_seed_the_same(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(100)
    tests = [Splits.make(manifest, SplitPolicy(seed=seed)).test_ids for seed in (1, 1, 2)]
    assert tests[0] == tests[1] != tests[2]


def test_large_groups_can_be_test_groups(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(200)
    group = ["big" if i < 10 else f"g{i}" for i in range(200)]
    manifest = Manifest(manifest.table.with_columns(pl.Series("group", group)), root=manifest.root)
    tests = [set(Splits.make(manifest, SplitPolicy(seed=seed)).test_ids) for seed in range(40)]
    n_chosen = sum(manifest.ids[0] in test for test in tests)
    assert 2 <= n_chosen <= 20  # 8 expected of 40; always or never would make easy test sets


def test_equal_audio_in_two_groups_stays_together(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(60)
    content = ["same" if i % 10 == 0 else f"c{i}" for i in range(60)]
    manifest = Manifest(manifest.table.with_columns(pl.Series("content_hash", content)), root=manifest.root)
    splits = Splits.make(manifest)
    sides = {splits.rows()[id]["split"] for id, of in zip(manifest.ids, content, strict=True) if of == "same"}
    assert len(sides) == 1


def test_unlabelled_items_follow_their_group_and_do_not_count(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(100, n_groups=50)
    label = [None if i < 40 else "Y" for i in range(100)]
    manifest = Manifest(manifest.table.with_columns(pl.Series("label", label)), root=manifest.root)
    splits = Splits.make(manifest)
    assert_sound(manifest, splits)
    labelled = set(manifest.ids[40:])
    assert abs(len(labelled.intersection(splits.test_ids)) - 12) <= 2


def test_a_class_with_one_member_is_not_stratified_and_said_so(
    make_manifest: Callable[..., Manifest],
) -> None:
    manifest = make_manifest(50)
    label = ["rare", *(["Y", "G"] * 25)[:49]]
    manifest = Manifest(manifest.table.with_columns(pl.Series("label", label)), root=manifest.root)
    splits = Splits.make(manifest)
    assert splits.warnings == ("`rare` has 1 item and is not stratified; it needs 2",)
    assert_sound(manifest, splits)


def test_a_class_in_few_groups_is_said_so(make_manifest: Callable[..., Manifest]) -> None:
    label = ["rare"] * 3 + ["Y"] * 47
    manifest = make_manifest(50)
    manifest = Manifest(manifest.table.with_columns(pl.Series("label", label)), root=manifest.root)
    assert Splits.make(manifest).warnings == (
        "`rare` occurs in 3 groups, fewer than the 6 parts: some parts lack it",
    )


def test_splitting_grouped_rows_one_by_one_is_refused(make_manifest: Callable[..., Manifest]) -> None:
    windows = make_manifest(60, n_groups=6)
    with pytest.raises(UsageError, match=r"group_on is None, but 6 values of `group` occur in several rows"):
        Splits.make(windows, SplitPolicy(group_on=None))
    repeated = make_manifest(60)
    repeated = Manifest(
        repeated.table.with_columns(pl.Series("content_hash", ["same"] * 60)), root=repeated.root
    )
    with pytest.raises(UsageError, match="1 values of `content_hash` occur in several rows"):
        Splits.make(repeated, SplitPolicy(group_on=None))


def test_rows_without_repeats_may_be_split_one_by_one(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(60)
    assert_sound(manifest, Splits.make(manifest, SplitPolicy(group_on=None)))


def test_a_misspelt_column_is_named_with_the_likely_one(make_manifest: Callable[..., Manifest]) -> None:
    with pytest.raises(UsageError) as error:
        Splits.make(make_manifest(), SplitPolicy(group_on="grup", stratify_on="zone"))
    message = str(error.value)
    assert "`grup`, which the manifest lacks (did you mean `group`?)" in message
    assert "stratify_on names the column `zone`" in message


def test_too_few_groups_are_refused(make_manifest: Callable[..., Manifest]) -> None:
    with pytest.raises(UsageError, match="4 groups of labelled items leave"):
        Splits.make(make_manifest(60, n_groups=4))


def test_policy_problems_are_reported_together() -> None:
    with pytest.raises(UsageError) as error:
        SplitPolicy(test_fraction=1.0, n_folds=1, purge_s=5)
    message = str(error.value)
    assert "test_fraction is 1.0" in message
    assert "n_folds is 1" in message
    assert "need time_on" in message


def test_read_returns_what_was_written(make_manifest: Callable[..., Manifest], tmp_path: Path) -> None:
    manifest = make_manifest(60)
    splits = replace(Splits.make(manifest, SplitPolicy(seed=3)), sealed_hash="abc")
    splits.write(tmp_path / "splits.parquet")
    read = Splits.read(tmp_path / "splits.parquet")
    assert read.table.equals(splits.table)
    assert (read.policy, read.items_hash, read.test_keys, read.sealed_hash, read.warnings, read.hash) == (
        splits.policy,
        splits.items_hash,
        splits.test_keys,
        splits.sealed_hash,
        splits.warnings,
        splits.hash,
    )
    metadata = pl.read_parquet_metadata(tmp_path / "splits.parquet")
    assert '"seed": 3' in metadata["earmark.policy"]
    with pytest.raises(UsageError, match="holds no splits"):
        manifest.write(tmp_path / "manifest.parquet")
        Splits.read(tmp_path / "manifest.parquet")


@pytest.mark.parametrize(
    "change",
    [{"earmark.policy": '{"folds": 5}'}, {"earmark.policy": "{"}, {"earmark.test_keys": None}],
)
def test_splits_of_another_version_are_a_clear_error(
    change: dict[str, str | None], make_manifest: Callable[..., Manifest], tmp_path: Path
) -> None:
    path = tmp_path / "splits.parquet"
    splits = Splits.make(make_manifest(60))
    splits.write(path)
    metadata = {**pl.read_parquet_metadata(path), **change}
    metadata.pop("ARROW:schema", None)
    write_table(path, splits.table, {name: text for name, text in metadata.items() if text is not None})
    with pytest.raises(UsageError, match="written by another version"):
        Splits.read(path)


def test_splits_of_other_items_are_refused(make_manifest: Callable[..., Manifest]) -> None:
    splits = Splits.make(make_manifest(60))
    splits.require(make_manifest(60))
    with pytest.raises(UsageError, match="prepare"):
        splits.require(make_manifest(61))


class TestPreparedAgain:
    """More tracks come; what was test stays test."""

    def test_earlier_test_items_stay_and_new_ones_fill_the_share(
        self, make_manifest: Callable[..., Manifest]
    ) -> None:
        small, large = make_manifest(100, n_groups=70), make_manifest(200, n_groups=70)
        large = Manifest(
            pl.concat([small.table, large.table[100:].with_columns(pl.col("group") + "new")]), root=small.root
        )
        before = Splits.make(small)
        after = Splits.make(large, previous=before)
        assert_sound(large, after)
        assert set(before.test_ids) <= set(after.test_ids)
        assert not set(before.train_ids) & set(after.test_ids)
        assert abs(len(after.test_ids) - 40) <= 2

    @given(st.integers(0, 1000))
    @settings(max_examples=25, deadline=None)
    def test_no_test_item_ever_trains(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        rows = [(int(rng.integers(0, 40)), str(rng.choice(["Y", "G", "P"])), i) for i in range(150)]
        before = Splits.make(collection(rows[:80]))
        after = Splits.make(collection(rows), previous=before)
        assert_sound(collection(rows), after)
        assert set(before.test_ids) <= set(after.test_ids)

    def test_renamed_test_items_are_known_by_content(self, make_manifest: Callable[..., Manifest]) -> None:
        manifest = make_manifest(80)
        before = Splits.make(manifest)
        renamed = Manifest(manifest.table.with_columns(pl.col("id") + ".moved"), root=manifest.root)
        after = Splits.make(renamed, previous=before)
        assert {f"{id}.moved" for id in before.test_ids} == set(after.test_ids)

    def test_a_test_item_that_left_and_returns_is_test(self, make_manifest: Callable[..., Manifest]) -> None:
        manifest = make_manifest(80)
        first = Splits.make(manifest)
        gone = first.test_ids[0]
        without = manifest.subset(set(manifest.ids) - {gone})
        second = Splits.make(without, previous=first)
        assert gone not in second.rows()
        assert gone in Splits.make(manifest, previous=second).test_ids

    def test_a_new_link_between_test_and_training_makes_all_test(
        self, make_manifest: Callable[..., Manifest]
    ) -> None:
        manifest = make_manifest(80)
        before = Splits.make(manifest)
        tested, trained = before.test_ids[0], before.train_ids[0]
        group = ["joined" if id in (tested, trained) else f"g{id}" for id in manifest.ids]
        joined = Manifest(manifest.table.with_columns(pl.Series("group", group)), root=manifest.root)
        after = Splits.make(joined, previous=before)
        assert {tested, trained} <= set(after.test_ids)

    def test_reseal_draws_anew(self, make_manifest: Callable[..., Manifest]) -> None:
        manifest = make_manifest(80)
        before = Splits.make(manifest, SplitPolicy(seed=1))
        kept = Splits.make(manifest, SplitPolicy(seed=2), previous=before)
        drawn = Splits.make(manifest, SplitPolicy(seed=2), previous=before, reseal=True)
        assert set(kept.test_ids) == set(before.test_ids)
        assert drawn.test_ids == Splits.make(manifest, SplitPolicy(seed=2)).test_ids != before.test_ids


class TestInTime:
    """A series: the test set is the end, folds are spans, labels that look ahead are purged."""

    @staticmethod
    def series(n: int = 200, step_s: float = 1.0) -> Manifest:
        return manifest_of(
            [{"id": f"t{i:04d}", "uri": f"t{i}", "label": "up" if i % 2 else "down"} for i in range(n)],
            time_s=[i * step_s for i in range(n)],
        )

    def test_test_is_last_and_folds_are_consecutive(self) -> None:
        splits = Splits.make(self.series(), SplitPolicy(time_on="time_s", n_folds=4))
        assert splits.test_ids == tuple(f"t{i:04d}" for i in range(160, 200))
        folds = splits.table.sort("id")["fold"].to_list()[:160]
        assert folds == sorted(folds)
        assert Counter(folds) == {0: 40, 1: 40, 2: 40, 3: 40}

    def test_purge_leaves_out_labels_that_reach_into_the_test_set(self) -> None:
        splits = Splits.make(self.series(), SplitPolicy(time_on="time_s", n_folds=4, purge_s=10))
        purged = splits.table.filter(pl.col("split") == "purged").sort("id")["id"].to_list()
        assert purged == [f"t{i:04d}" for i in range(151, 160)]  # t0150 looks ahead to 160 exclusive

    @given(st.integers(0, 30), st.integers(0, 30), st.integers(2, 5))
    @settings(max_examples=30, deadline=None)
    def test_no_training_label_overlaps_validation(self, purge_s: int, embargo_s: int, n_folds: int) -> None:
        policy = SplitPolicy(time_on="time_s", n_folds=n_folds, purge_s=purge_s, embargo_s=embargo_s)
        manifest = self.series(400)
        time_s = dict(manifest.table.select("id", "time_s").iter_rows())
        rows = Splits.make(manifest, policy).rows()
        for fold in range(n_folds):
            inside = [time_s[id] for id, row in rows.items() if row["fold"] == fold]
            first, last = min(inside), max(inside)
            for id, row in rows.items():
                if row["split"] == "train" and row["fold"] != fold:
                    before = time_s[id] + purge_s <= first and time_s[id] < first
                    after = time_s[id] >= last + purge_s + embargo_s and time_s[id] > last
                    assert (fold not in row["gaps"]) == (before or after)

    def test_groups_stay_whole_in_time(self) -> None:
        manifest = self.series(200)
        manifest = Manifest(
            manifest.table.with_columns(pl.Series("group", [f"day{i // 9}" for i in range(200)])), root="/m"
        )
        assert_sound(manifest, Splits.make(manifest, SplitPolicy(time_on="time_s", n_folds=4)))

    def test_later_items_are_test_and_earlier_test_items_stay(self) -> None:
        policy = SplitPolicy(time_on="time_s", n_folds=4)
        before = Splits.make(self.series(200), policy)
        after = Splits.make(self.series(300), policy, previous=before)
        assert set(before.test_ids) <= set(after.test_ids)
        assert set(after.test_ids) == {f"t{i:04d}" for i in range(160, 300)}

    def test_dates_are_times(self) -> None:
        from datetime import UTC, datetime, timedelta

        start = datetime(2026, 1, 1, tzinfo=UTC)
        table = self.series(100).table.with_columns(
            pl.Series("time_s", [start + timedelta(seconds=i) for i in range(100)])
        )
        splits = Splits.make(Manifest(table, root="/m"), SplitPolicy(time_on="time_s", n_folds=2, purge_s=5))
        assert splits.table.filter(pl.col("split") == "purged").height == 4

    @pytest.mark.parametrize("value", [None, float("nan"), "noon"])
    def test_missing_times_are_refused(self, value: Any) -> None:
        manifest = manifest_of(
            [{"id": f"t{i}", "uri": "u", "label": "x"} for i in range(20)],
            time_s=[value, *([1.0] * 19 if value != "noon" else ["noon"] * 19)],
        )
        with pytest.raises(UsageError, match="time_on names `time_s`"):
            Splits.make(manifest, SplitPolicy(time_on="time_s"))

    def test_a_purge_that_eats_a_fold_is_refused(self) -> None:
        with pytest.raises(UsageError, match=r"only \d of 4 spans"):
            Splits.make(self.series(), SplitPolicy(time_on="time_s", n_folds=4, purge_s=60))


class TestBalance:
    """The arithmetic on its own, against exhaustive search."""

    @given(st.integers(0, 500))
    @settings(max_examples=40, deadline=None)
    def test_subset_is_close_to_the_best_possible(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        counts = rng.integers(0, 4, (10, 2)).astype(float)
        counts = np.column_stack([counts, counts.sum(axis=1)])
        target = 0.2 * counts.sum(axis=0)
        weight = 1 / np.maximum(counts.sum(axis=0), 1)
        subsets = (np.arange(1, 2**10)[:, None] >> np.arange(10)) & 1
        best = (((subsets @ counts - target) ** 2) * weight).sum(axis=1).min()
        chosen = balanced_subset(counts, target, visiting_order([str(i) for i in range(10)], seed))
        found = (((counts[chosen].sum(axis=0) - target) ** 2) * weight).sum()
        assert found <= best + 1.0

    def test_folds_of_equal_singles_differ_by_one_at_most(self) -> None:
        counts = np.ones((103, 1))
        sizes = np.bincount(balanced_folds(counts, 5, np.arange(103)))
        assert sorted(sizes) == [20, 20, 21, 21, 21]

    def test_as_many_groups_as_folds_fill_every_fold(self) -> None:
        counts = np.array([[100.0], [1], [1], [1], [1]])
        assert sorted(balanced_folds(counts, 5, np.arange(5))) == [0, 1, 2, 3, 4]

    def test_one_group_too_large_is_still_chosen(self) -> None:
        counts = np.full((3, 1), 30.0)
        assert balanced_subset(counts, np.array([9.0]), np.arange(3)).sum() == 1
