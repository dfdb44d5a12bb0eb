"""Manifests: validation, ids, storage that survives a move, hashes that ignore order."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from earmark.data.manifest import REQUIRED_COLUMNS, Manifest
from earmark.data.parquet import write_table
from earmark.errors import UsageError


def frame(**columns: list[object]) -> pl.DataFrame:
    return pl.DataFrame(columns)


def test_ids_of_paths_are_relative_to_their_shared_folder() -> None:
    manifest = Manifest.from_paths(["/music/a.flac", "/music/techno/a.flac"])
    assert [(item.id, item.uri) for item in manifest] == [
        ("a.flac", "/music/a.flac"),
        ("techno/a.flac", "/music/techno/a.flac"),
    ]


def test_ids_outside_the_root_are_whole_paths_and_uris_stay(tmp_path: Path) -> None:
    manifest = Manifest.from_paths([tmp_path / "in.wav", "/else/out.wav", "s3://b/k.wav"], root=tmp_path)
    assert manifest.ids == ("in.wav", "/else/out.wav", "s3://b/k.wav")
    assert [item.uri for item in manifest] == [str(tmp_path / "in.wav"), "/else/out.wav", "s3://b/k.wav"]


def test_relative_paths_start_from_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert [item.uri for item in Manifest.from_paths(["x.wav"])] == [str(tmp_path / "x.wav")]


def test_required_columns_come_first_and_missing_ones_are_added(tmp_path: Path) -> None:
    manifest = Manifest(frame(bpm=[120.0], uri=["a.wav"], id=["a"]), root=tmp_path)
    assert tuple(manifest.table.columns) == (*REQUIRED_COLUMNS, "bpm")
    assert manifest.table["label"].to_list() == [None]
    assert len(manifest) == 1


def test_numeric_groups_and_labels_become_text(tmp_path: Path) -> None:
    manifest = Manifest(frame(id=["a"], uri=["a"], group=[7], label=[4]), root=tmp_path)
    assert manifest.table.row(0) == ("a", str(tmp_path / "a"), "7", "4")


def test_all_problems_are_reported_together(tmp_path: Path) -> None:
    table = frame(id=["a", "a", "b", "b", "", None], uri=["1", "2", "", "4", "5", "6"])
    with pytest.raises(UsageError) as error:
        Manifest(table, root=tmp_path)
    message = str(error.value)
    assert "2 ids occur more than once: `a`, `b`" in message
    assert "2 rows have an empty `id`" in message
    assert "1 rows have an empty `uri`" in message
    assert "Expected" in message


def test_many_duplicates_are_counted_and_a_few_quoted(tmp_path: Path) -> None:
    ids = [f"t{i}" for i in range(9)] * 2
    with pytest.raises(UsageError, match=r"9 ids occur more than once: .*and 4 more"):
        Manifest(frame(id=ids, uri=ids), root=tmp_path)


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        (frame(uri=["a"]), "column `id` is missing"),
        (frame(label=["a"]), "column `id` is missing; column `uri` is missing"),
        (frame(id=[], uri=[]), "no rows"),
    ],
)
def test_unusable_tables_are_refused(table: pl.DataFrame, expected: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=expected):
        Manifest(table, root=tmp_path)


def test_the_same_path_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="more than once"):
        Manifest.from_paths(["/music/a.wav", "/music/./a.wav"])


def test_no_paths_are_refused() -> None:
    with pytest.raises(UsageError, match="no rows"):
        Manifest.from_paths([])


def test_read_returns_what_was_written(make_manifest: Callable[..., Manifest], tmp_path: Path) -> None:
    manifest = make_manifest(20)
    manifest.write(tmp_path / "data" / "manifest.parquet")
    read = Manifest.read(tmp_path / "data" / "manifest.parquet")
    assert read.table.equals(manifest.table)
    assert read.hash == manifest.hash
    assert read.root == manifest.root


def test_a_moved_project_finds_its_files(tmp_path: Path) -> None:
    old = tmp_path / "old"
    manifest = Manifest(frame(id=["a", "b"], uri=["music/a.wav", "/else/b.wav"]), root=old)
    manifest.write(old / "data" / "manifest.parquet")
    shutil.move(old, tmp_path / "new")
    moved = Manifest.read(tmp_path / "new" / "data" / "manifest.parquet")
    assert [item.uri for item in moved] == [str(tmp_path / "new" / "music" / "a.wav"), "/else/b.wav"]
    assert moved.hash == manifest.hash


def test_writing_leaves_no_temporary_file_and_replaces_whole(
    make_manifest: Callable[..., Manifest], tmp_path: Path
) -> None:
    path = tmp_path / "manifest.parquet"
    make_manifest(5).write(path)
    make_manifest(7).write(path)
    assert len(Manifest.read(path)) == 7
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.parquet"]


def test_broken_absent_and_foreign_files_are_clear_errors(
    make_manifest: Callable[..., Manifest], tmp_path: Path
) -> None:
    path = tmp_path / "manifest.parquet"
    with pytest.raises(UsageError, match="there is no manifest"):
        Manifest.read(path)
    make_manifest(5).write(path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UsageError, match="not a readable manifest"):
        Manifest.read(path)
    write_table(path, frame(id=["a"], uri=["b"]), {"earmark.format": "other"})
    with pytest.raises(UsageError, match="is marked 'other'"):
        Manifest.read(path)


def test_hashes_ignore_row_and_column_order_and_place(tmp_path: Path) -> None:
    table = frame(id=["a", "b"], uri=["1", "2"], label=["x", "y"], bpm=[1.0, None])
    shuffled = table[::-1].select("bpm", "label", "uri", "id")
    first, second = Manifest(table, root=tmp_path), Manifest(shuffled, root=tmp_path / "other")
    assert (first.hash, first.items_hash) == (second.hash, second.items_hash)


def test_hash_sees_labels_and_items_hash_does_not(tmp_path: Path) -> None:
    one = Manifest(frame(id=["a", "b"], uri=["1", "2"], label=["x", "y"]), root=tmp_path)
    two = Manifest(frame(id=["a", "b"], uri=["1", "2"], label=["x", None]), root=tmp_path)
    assert one.hash != two.hash
    assert one.items_hash == two.items_hash


@pytest.mark.parametrize("column", ["id", "group", "content_hash"])
def test_items_hash_sees_what_splits_depend_on(column: str, tmp_path: Path) -> None:
    columns = {"id": ["a"], "uri": ["1"], "group": ["g"], "content_hash": ["h"]}
    changed = {**columns, column: ["other"]}
    assert (
        Manifest(frame(**columns), root=tmp_path).items_hash
        != Manifest(frame(**changed), root=tmp_path).items_hash
    )


def test_subset_keeps_order_and_names_unknown_ids(make_manifest: Callable[..., Manifest]) -> None:
    manifest = make_manifest(5)
    assert manifest.subset([manifest.ids[3], manifest.ids[1]]).ids == (manifest.ids[1], manifest.ids[3])
    with pytest.raises(UsageError, match="1 ids are not in the manifest: `nobody`"):
        manifest.subset(["nobody", manifest.ids[0]])
