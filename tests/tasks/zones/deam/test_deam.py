"""Reading a DEAM tree: what is found, what is missing, what is set aside, and the tables for other tools."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import polars as pl
import pytest

from earmark.errors import SchemaError, UsageError
from earmark.tasks.zones.deam.annotations import (
    ANNOTATION_FILES,
    ANNOTATION_FOLDER,
    DENIED_COLUMNS,
    read_deam,
    refuse_annotations,
)
from earmark.tasks.zones.deam.mapping import ZoneMapping
from earmark.tasks.zones.deam.rows import add_deam
from earmark.tasks.zones.deam.tables import write_deam_tables
from earmark.tasks.zones.deam.tree import TABLE_COLUMNS, write_deam_tree

N_TRACKS = 9


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_deam_tree(tmp_path_factory.mktemp("deam"), N_TRACKS, seed=3, duration_s=10)


@pytest.fixture
def tree(whole, tmp_path):
    """A copy to be damaged; its audio stays behind where a test does not ask for it."""
    return Path(shutil.copytree(whole, tmp_path / "DEAM"))


def annotations(tree, which=0):
    return tree / ANNOTATION_FOLDER / ANNOTATION_FILES[which]


def edit(path, change):
    path.write_text(change(path.read_text()))


def test_all_that_a_tree_holds(whole):
    deam = read_deam(whole)
    assert len(deam.tracks) == N_TRACKS
    assert deam.rejected == ()
    assert {track.file for track in deam.tracks} == set(ANNOTATION_FILES)
    assert all(deam.zone_counts.values())
    for track in deam.tracks:
        assert track.zone == ZoneMapping.default().zone(track.arousal, track.valence)
        assert track.audio.stem == track.features.stem == track.id
        assert track.path == track.audio
        assert track.artist.startswith("Singer ")
        assert track.title == f"Song {track.id}"
    assert {track.audio.suffix for track in deam.tracks} == {".flac", ".wav"}


def test_values_are_those_of_an_independent_reader(whole):
    tables = [
        pl.read_csv(path).rename(str.strip)
        for path in (whole / ANNOTATION_FOLDER).iterdir()  # as text: the separator is a comma and a space
    ]
    expected = {
        str(row["song_id"]): (float(str(row["arousal_mean"])), float(str(row["valence_mean"])))
        for table in tables
        for row in table.iter_rows(named=True)
    }
    assert {track.id: (track.arousal, track.valence) for track in read_deam(whole).tracks} == expected


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    one, two = (write_deam_tree(tmp_path / name, 2, seed=3, duration_s=10) for name in "ab")
    files = sorted(path.relative_to(one) for path in one.rglob("*") if path.is_file())
    assert files == sorted(path.relative_to(two) for path in two.rglob("*") if path.is_file())
    assert all((one / name).read_bytes() == (two / name).read_bytes() for name in files)


def test_tables_have_the_header_of_opensmile(whole):
    header = next((whole / "features").iterdir()).read_text().split("\n")[0].split(";")
    assert header == ["frameTime", *TABLE_COLUMNS]
    assert len(set(header)) == 261


def test_the_mapping_decides_the_zones(whole):
    strict = ZoneMapping.default().with_thresholds(yellow_max=2.0)
    assert read_deam(whole, strict).zone_counts != read_deam(whole).zone_counts


def test_missing_files_and_columns_are_named_all_at_once(tree):
    annotations(tree, 1).unlink()
    edit(annotations(tree), lambda text: text.replace("arousal_mean", "arousal").replace("valence_std", "x"))
    shutil.rmtree(tree / "MEMD_audio")
    shutil.rmtree(tree / "features")
    with pytest.raises(UsageError) as error:
        read_deam(tree)
    for part in (ANNOTATION_FILES[1], "`valence_std`, `arousal_mean`", "`MEMD_audio` and `features`"):
        assert part in str(error.value)
    with pytest.raises(UsageError, match="no folder"):
        read_deam(tree / "nowhere")


def test_rows_add_up_and_each_rejection_has_its_reason(tree):
    lines = annotations(tree).read_text().splitlines()
    number = [line.split(",")[0] for line in lines[1:]]
    lines[1] = f"{number[0]}, 5.0, 1.0, nan, 1.0"
    lines[2] = f"{number[1]}, , 1.0, 5.0, 1.0"
    lines[3] = f"{number[2]}, 5.0, 1.0, 9.5, 1.0"
    lines += ["77, 5.0", "x7, 5.0, 1.0, 5.0, 1.0", "999, 5.0, 1.0, 5.0, 1.0", lines[4], "", "   "]
    annotations(tree).write_text("\n".join(lines))
    deam = read_deam(tree)
    found = [(row.row, row.id, row.reason, row.detail) for row in deam.rejected]
    last = len(number) + 1
    assert [row[:3] for row in found] == [
        (2, number[0], "no arousal or valence on the scale"),
        (3, number[1], "no arousal or valence on the scale"),
        (4, number[2], "no arousal or valence on the scale"),
        (last + 1, "77", "unreadable annotation"),
        (last + 2, "x7", "unreadable annotation"),
        (last + 3, "999", "neither audio nor features"),
        (last + 4, number[3], "song annotated twice"),
    ]
    assert [row[3] for row in found[:3]] == [
        "arousal is missing",
        "valence is missing",
        "arousal 9.5 is off the scale 1 to 9",
    ]
    assert len(deam.tracks) + len(deam.rejected) == N_TRACKS + 4
    assert not {"NaN"} & {track.zone for track in deam.tracks}


def test_no_usable_song_is_an_error(tree):
    shutil.rmtree(tree / "MEMD_audio")
    for path in (tree / "features").iterdir():
        path.unlink()
    with pytest.raises(UsageError, match=f"none of the {N_TRACKS} annotated songs"):
        read_deam(tree)


def test_without_audio_the_table_of_features_is_the_item(tree):
    shutil.rmtree(tree / "MEMD_audio")
    deam = read_deam(tree)
    assert all(track.audio is None and track.path == track.features for track in deam.tracks)
    assert f"{N_TRACKS} songs have no audio" in " ".join(deam.warnings)
    manifest, report = add_deam(None, deam, root=tree)
    assert set(manifest.ids) == {f"deam/{track.id}" for track in deam.tracks}
    assert all(uri.endswith(".csv") for uri in manifest.table["uri"])
    assert (report.rows_read, report.kept) == (N_TRACKS, N_TRACKS)


def test_extremes_of_the_annotations_are_never_read(tree):
    before = read_deam(tree)

    def poisoned(text):
        header, *rows = text.splitlines()
        names = [name.strip() for name in header.split(",")]
        cells = [row.split(", ") for row in rows]
        for row in cells:
            for name in DENIED_COLUMNS:
                row[names.index(name)] = "1e9"
        return "\n".join([header, *(", ".join(row) for row in cells)])

    edit(annotations(tree, 1), poisoned)
    assert read_deam(tree).tracks == before.tracks
    for name in (*DENIED_COLUMNS, "zones.common.arousal_max_mean", "ann.arousal", "x.valence_mean"):
        with pytest.raises(SchemaError, match=re.escape(name)):
            refuse_annotations(["zones.common.tempo", name])
    refuse_annotations(["zones.common.tempo", "est.arousal", "zones.full.valence"])


def test_metadata_in_other_shapes(tree):
    folder = tree / "metadata"
    first = min(read_deam(tree).tracks, key=lambda track: int(track.id))
    (folder / "metadata_2013.csv").write_bytes(
        f'Song_ID;ARTIST;Track\n{first.id}.0;"  Bj\xf6rk\t";"A;B"\n'.encode("latin-1")
    )
    (folder / "metadata_2014.csv").write_text("name,artist\nx,y\n")
    (folder / "metadata_2015.csv").unlink()
    deam = read_deam(tree)
    track = deam.tracks[0]
    assert (track.artist, track.title, track.album) == ("Björk", "A;B", None)
    assert "`metadata_2014.csv` has no column for the song's number" in " ".join(deam.warnings)
    assert "metadata_2015.csv not found" in " ".join(deam.warnings)


def test_a_large_class_is_warned_of(whole):
    lopsided = ZoneMapping.default().with_thresholds(yellow_max=1.0, purple_min=9.0)
    deam = read_deam(whole, lopsided)
    assert deam.zone_counts["GREEN"] == N_TRACKS
    assert "more than 2 times as many" in " ".join(deam.warnings)


def test_archives_in_folders_of_their_own(tree):
    (tree / "DEAM_audio").mkdir()
    (tree / "DEAM_Annotations").mkdir()
    (tree / "MEMD_audio").rename(tree / "DEAM_audio/MEMD_audio")
    (tree / "annotations").rename(tree / "DEAM_Annotations/annotations")
    (tree / "features").rename(tree / "inner")
    (tree / "features").mkdir()
    (tree / "inner").rename(tree / "features/features")
    deam = read_deam(tree)
    assert len(deam.tracks) == N_TRACKS
    assert all(track.audio and track.features for track in deam.tracks)


def read_rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_tables_for_other_tools(whole, tmp_path):
    deam = read_deam(whole)
    manifest, _ = add_deam(None, deam, root=tmp_path)
    files = write_deam_tables(deam, manifest, folder=tmp_path / "tables", val_size=0.2, test_size=0.2)
    assert {path.name for path in files} == {path.name for path in (tmp_path / "tables").iterdir()}
    complete, *parts = (read_rows(path) for path in files[:4])
    of = [row["track_id"] for part in parts for row in part]
    assert (
        sorted(of)
        == sorted(row["track_id"] for row in complete)
        == sorted({track.id for track in deam.tracks})
    )
    groups = [{row["group"] for row in part} for part in parts]
    assert not (groups[0] & groups[1] or groups[0] & groups[2] or groups[1] & groups[2])
    assert [len(part) for part in parts[1:]] == [2, 2]
    assert not set(complete[0]) & set(DENIED_COLUMNS)
    about = json.loads(files[4].read_text())
    assert about["mapping"]["digest"] == deam.mapping.digest()
    assert about["parts"]["train"] == {
        **dict.fromkeys(about["parts"]["train"], 0),
        **Counter(r["zone"] for r in parts[0]),
    }
    again = write_deam_tables(deam, manifest, folder=tmp_path / "again", val_size=0.2, test_size=0.2)
    assert [path.read_bytes() for path in files] == [path.read_bytes() for path in again]
    for sizes in ({"val_size": 0.5, "test_size": 0.5}, {"val_size": 0}, {"test_size": -0.1}):
        with pytest.raises(UsageError, match="leave songs to train on"):
            write_deam_tables(deam, manifest, folder=tmp_path, **sizes)


@pytest.mark.parametrize("options", [{"n_tracks": 0}, {"duration_s": 5}, {"audio": False, "csv": False}])
def test_a_tree_that_cannot_be_generated(tmp_path, options):
    with pytest.raises(UsageError, match="was asked for"):
        write_deam_tree(tmp_path, **options)
