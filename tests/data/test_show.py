"""Rows for printing: sorted, without sealed labels, the same on every machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from earmark.data.manifest import Manifest
from earmark.data.seal import SealedLabels, seal
from earmark.data.show import LEDGER_COLUMNS, SEALED, count_rows, item_rows, item_table, ledger_rows
from earmark.data.splits import Splits


def test_test_labels_are_shown_as_sealed_even_if_known(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(60)
    splits = Splits.make(manifest)
    rows = item_rows(manifest, splits)
    assert [row["id"] for row in rows] == sorted(manifest.ids)
    assert {row["id"] for row in rows if row["label"] == SEALED} == set(splits.test_ids)
    assert list(rows[0]) == ["id", "label", "group", "split", "fold", "content_hash"]


def test_rows_do_not_depend_on_order_or_place(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(60)
    splits = Splits.make(manifest)
    moved = Manifest(manifest.table[::-1], root="/elsewhere")
    assert item_rows(moved, splits) == item_rows(manifest, splits)


def test_counts_add_up(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(100, n_groups=60)
    splits = Splits.make(manifest)
    rows = count_rows(item_table(manifest, splits))
    assert sum(row["items"] for row in rows) == 100
    assert all(0 < row["groups"] <= row["items"] for row in rows)
    (sealed,) = [row for row in rows if row["split"] == "test"]
    assert (sealed["label"], sealed["items"], sealed["fold"]) == (SEALED, len(splits.test_ids), -1)


def test_the_ledger_as_rows(make_manifest: Callable[..., Manifest], tmp_path: Path) -> None:
    manifest = make_manifest(60)
    seal(tmp_path, manifest, Splits.make(manifest))
    assert ledger_rows(tmp_path) == []
    SealedLabels(tmp_path).open(run="r", reason="final", commit="abc")
    (row,) = ledger_rows(tmp_path)
    assert tuple(row) == LEDGER_COLUMNS
    assert (row["run"], row["reason"], row["commit"], row["event"]) == ("r", "final", "abc", "open")
