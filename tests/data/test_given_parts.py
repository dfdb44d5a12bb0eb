"""A given division: its test set is sealed as it is, val is fold 0, nothing straddles, no column tells a test label."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.data.manifest import Manifest
from earmark.data.policy import SplitPolicy
from earmark.data.seal import SealedLabels, seal
from earmark.data.splits import Splits
from earmark.errors import UsageError

POLICY = SplitPolicy(n_folds=5, given_on="part", sealed_columns=("meters",))


def manifest_of(rows: list[tuple[str | None, str, str | None]], prefix: str = "i") -> Manifest:
    """Items of (part, label, group)."""
    return Manifest(
        pl.DataFrame(
            {
                "id": [f"{prefix}{n:03d}" for n in range(len(rows))],
                "uri": [f"{prefix}{n:03d}.wav" for n in range(len(rows))],
                "group": pl.Series([row[2] for row in rows], dtype=pl.String),
                "label": [row[1] for row in rows],
                "part": pl.Series([row[0] for row in rows], dtype=pl.String),
                "meters": [f"{row[1]}:1" for row in rows],
            }
        ),
        root="/music",
    )


def published(n: int = 60) -> list[tuple[str | None, str, str | None]]:
    return [(("train", "train", "train", "val", "test")[i % 5], "34"[i // 5 % 2], None) for i in range(n)]


def test_the_published_division_is_taken_word_for_word() -> None:
    manifest = manifest_of(published())
    rows = Splits.make(manifest, POLICY).rows()
    for id, part in manifest.table.select("id", "part").iter_rows():
        assert rows[id]["split"] == ("test" if part == "test" else "train")
        assert (rows[id]["fold"] == 0) == (part == "val")
    assert Counter(row["fold"] for row in rows.values()) == {-1: 12, 0: 12, 1: 9, 2: 9, 3: 9, 4: 9}


def test_what_touches_a_given_test_item_is_left_out_and_the_test_set_stays_as_it_was() -> None:
    rows = published()
    rows[4] = ("test", "3", "twins")
    rows[0] = ("train", "3", "twins")
    rows[3] = ("val", "3", "pair")
    rows[1] = ("train", "3", "pair")
    splits = Splits.make(manifest_of(rows), POLICY)
    of = splits.rows()
    assert of["i000"]["split"] == "purged"
    assert of["i004"]["split"] == "test"
    assert of["i001"]["fold"] == 0
    assert len(splits.test_ids) == 12
    assert [text.split()[0] for text in splits.warnings] == ["1", "1"]


def test_items_without_a_given_part_are_divided_by_proportion_beside_the_others() -> None:
    manifest = manifest_of(published() + [(None, "34"[i % 2], f"song{i // 2}") for i in range(100)])
    rows = Splits.make(manifest, POLICY).rows()
    free = [rows[f"i{n:03d}"] for n in range(60, 160)]
    counts = Counter(row["split"] for row in free)
    assert counts["test"] == 20
    assert all(row["fold"] > 0 for row in free if row["split"] == "train")


def test_without_any_given_part_the_division_is_the_usual_one() -> None:
    manifest = manifest_of([(None, "34"[i % 2], None) for i in range(50)])
    usual = Splits.make(manifest, SplitPolicy(n_folds=5))
    assert Splits.make(manifest, POLICY).table.equals(usual.table)


def test_two_folds_are_the_given_validation_and_the_rest() -> None:
    splits = Splits.make(manifest_of(published()), SplitPolicy(n_folds=2, given_on="part"))
    assert Counter(splits.table["fold"]) == {-1: 12, 0: 12, 1: 36}


def test_an_earlier_test_item_stays_sealed_whatever_is_given_now() -> None:
    before = manifest_of([(None, "34"[i % 2], None) for i in range(60)])
    first = Splits.make(before, POLICY)
    again = Splits.make(manifest_of(published()), POLICY, previous=first)
    assert set(first.test_ids) <= set(again.test_ids)


def test_an_unknown_part_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="'dev'.*train, val, test"):
        Splits.make(manifest_of([*published(), ("dev", "3", None)]), POLICY)


def test_no_column_of_the_manifest_tells_a_test_label_and_the_opening_has_them(tmp_path: Path) -> None:
    manifest = manifest_of(published())
    sealed, splits = seal(tmp_path, manifest, Splits.make(manifest, POLICY))
    hidden = sealed.table.filter(pl.col("split") == "test")
    assert hidden["label"].null_count() == hidden["meters"].null_count() == hidden.height == 12
    opening = SealedLabels(tmp_path).open(run="r", reason="shown")
    assert {row["meters"] for row in opening.rows} == {"3:1", "4:1"}
    assert Splits.read(tmp_path / "splits.parquet").policy == splits.policy == POLICY


def test_hashes_of_splits_without_given_parts_do_not_know_of_them() -> None:
    assert "given_on" not in SplitPolicy().to_dict()
    assert SplitPolicy(**POLICY.to_dict()) == POLICY


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([None, "train", "val", "test"]), st.sampled_from("347"), st.integers(0, 40)
        ),
        max_size=80,
    )
)
def test_no_group_is_on_two_sides(rows: list[tuple[str | None, str, int]]) -> None:
    manifest = manifest_of([*published(), *((part, label, f"g{group}") for part, label, group in rows)])
    splits = Splits.make(manifest, POLICY).rows()
    sides: dict[str, set[tuple[str, int]]] = {}
    for id, group, part in manifest.table.select("id", "group", "part").iter_rows():
        if splits[id]["split"] != "purged":
            sides.setdefault(group or id, set()).add((splits[id]["split"], splits[id]["fold"]))
        assert part != "test" or splits[id]["split"] == "test"
    assert all(len(of) == 1 for of in sides.values())


def test_what_is_given_as_purged_is_in_no_part_and_leaves_its_neighbours_alone() -> None:
    rows = published()
    rows[0], rows[1] = ("purged", "3", "tape"), ("train", "3", "tape")
    rows[7] = ("purged", "4", None)
    splits = Splits.make(manifest_of(rows), POLICY)
    of = splits.rows()
    assert [of[id]["split"] for id in ("i000", "i001", "i007")] == ["purged", "train", "purged"]
    assert [of[id]["fold"] for id in ("i000", "i007")] == [-1, -1]
    assert not splits.warnings
    plain = Splits.make(manifest_of([row for row in rows if row[0] != "purged"]), POLICY)
    assert len(plain.train_ids) == len(splits.train_ids)


def test_an_item_that_was_sealed_stays_so_though_it_is_given_as_purged() -> None:
    rows = published()
    first = Splits.make(manifest_of(rows), POLICY)
    rows[4] = ("purged", "3", None)
    assert "i004" in Splits.make(manifest_of(rows), POLICY, previous=first).test_ids
