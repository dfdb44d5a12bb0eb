"""Auxiliary items: in no test set, apart from every fold that they could give away, even in source and class."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.data.dataset import Dataset
from earmark.data.manifest import Manifest
from earmark.data.policy import SplitPolicy
from earmark.data.seal import seal
from earmark.data.splits import Splits
from earmark.errors import UsageError

CLASSES = ("Y", "G", "P")


@dataclass(frozen=True)
class Values:
    """Features of some items, as a dataset needs them."""

    ids: tuple[str, ...]
    values: np.ndarray
    columns: tuple[str, ...] = ("a",)


def row(
    name: str, label: str, *, group: str | None = None, source: str = "user", **more: Any
) -> dict[str, Any]:
    auxiliary = source != "user"
    found = {"id": name, "uri": f"/music/{name}", "group": group or name, "label": label, "source": source}
    return found | {"auxiliary": auxiliary, "content_hash": None} | more


def manifest_of(rows: list[dict[str, Any]]) -> Manifest:
    return Manifest(pl.DataFrame(rows, infer_schema_length=None), root="/music")


def own_rows(n: int) -> list[dict[str, Any]]:
    return [row(f"u{i}", CLASSES[i % 3]) for i in range(n)]


_others = st.lists(
    st.tuples(st.integers(0, 49), st.sampled_from(CLASSES), st.sampled_from(["deam", "more"]), st.booleans()),
    min_size=1,
    max_size=80,
)


@given(_others, st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_the_scored_items_are_divided_as_if_the_others_were_not_there(
    others: list[tuple[int, str, str, bool]], seed: int
) -> None:
    own = own_rows(40)
    # Some of them carry the group of a scored item: the same artist is in both collections.
    more = [
        row(f"d{i}", label, group=f"u{number}" if shared else f"d{number}", source=source)
        for i, (number, label, source, shared) in enumerate(others)
    ]
    policy = SplitPolicy(seed=seed)
    alone, both = Splits.make(manifest_of(own), policy), Splits.make(manifest_of(own + more), policy)
    rows = both.rows()
    assert {id: rows[id] for id in alone.rows()} == alone.rows()
    of_group = {id: (found["split"], found["fold"]) for id, found in alone.rows().items()}
    for found in more:
        place = rows[found["id"]]
        assert place["split"] in ("auxiliary", "purged")
        assert (place["fold"] >= 0) == (place["split"] == "auxiliary")
        split, fold = of_group.get(found["group"], ("train", place["fold"]))
        assert place["split"] == ("purged" if split == "test" else "auxiliary")
        assert split == "test" or place["fold"] == fold
    groups = {found["group"]: set() for found in more}
    for found in more:
        groups[found["group"]].add((rows[found["id"]]["split"], rows[found["id"]]["fold"]))
    assert all(len(places) == 1 for places in groups.values())


def test_content_counts_as_a_group_does_and_two_folds_purge() -> None:
    own = own_rows(30)
    for number, found in enumerate(own):
        found["content_hash"] = f"c{number}"
    splits = Splits.make(manifest_of(own), SplitPolicy())
    test = splits.test_ids[0]
    folds = splits.table.filter(pl.col("split") == "train").select("id", "fold").rows()
    first = next(id for id, fold in folds if fold == 0)
    second = next(id for id, fold in folds if fold == 1)
    content = {found["id"]: found["content_hash"] for found in own}
    more = [
        row("copy of a test item", "Y", source="deam", content_hash=content[test]),
        row("copy of a training item", "Y", source="deam", content_hash=content[first]),
        row("between two folds", "G", group=first, source="deam", content_hash=content[second]),
        row("linked to it", "G", group=first, source="deam"),
        row("free", "P", source="deam"),
    ]
    made = Splits.make(manifest_of(own + more), SplitPolicy())
    rows = made.rows()
    assert rows["copy of a test item"]["split"] == "purged"
    assert rows["between two folds"]["split"] == rows["linked to it"]["split"] == "purged"
    # It shares its content with `first`, which is also the group of a track between two folds.
    assert rows["copy of a training item"]["split"] == "auxiliary"
    assert rows["copy of a training item"]["fold"] == 0
    assert rows["free"]["split"] == "auxiliary"
    assert any("3 auxiliary items" in warning for warning in made.warnings)


def test_free_items_are_spread_by_source_and_class() -> None:
    more = [row(f"d{i}", CLASSES[i % 3], source=("deam", "more")[i % 2]) for i in range(120)]
    splits = Splits.make(manifest_of(own_rows(30) + more), SplitPolicy(n_folds=4))
    place = splits.rows()
    counts = Counter((found["source"], found["label"], place[found["id"]]["fold"]) for found in more)
    assert set(counts.values()) == {5}


def test_a_dataset_holds_one_part_or_the_other(tmp_path: Path) -> None:
    own, more = own_rows(30), [row(f"d{i}", CLASSES[i % 3], source="deam") for i in range(9)]
    manifest = manifest_of(own + more)
    manifest, splits = seal(tmp_path, manifest, Splits.make(manifest, SplitPolicy()))
    table = Values(tuple(manifest.ids), np.arange(39, dtype=np.float32)[:, None])
    scored = Dataset.build(manifest, splits, table, CLASSES)
    auxiliary = Dataset.build(manifest, splits, table, CLASSES, split="auxiliary")
    assert set(scored.ids) == set(splits.train_ids) and set(auxiliary.ids) == set(splits.auxiliary_ids)
    assert set(auxiliary.sources) == {"deam"} and set(scored.sources) == {"user"}
    assert auxiliary.split == "auxiliary" and auxiliary.n_folds == scored.n_folds == 5


def test_once_trained_on_never_tested_on() -> None:
    own, more = own_rows(30), [row(f"d{i}", CLASSES[i % 3], source="deam") for i in range(30)]
    before = Splits.make(manifest_of(own + more), SplitPolicy())
    # The same tracks come back as scored ones: models have seen them, so they cannot be a test.
    now_own = [found | {"source": "user", "auxiliary": False} for found in more]
    after = Splits.make(manifest_of(own + now_own), SplitPolicy(), previous=before)
    assert not set(after.test_ids) & {found["id"] for found in more}


def test_time_splits_refuse_them() -> None:
    rows = [found | {"t": float(i)} for i, found in enumerate([*own_rows(30), row("d", "Y", source="deam")])]
    with pytest.raises(UsageError, match="1 are auxiliary"):
        Splits.make(manifest_of(rows), SplitPolicy(time_on="t"))
