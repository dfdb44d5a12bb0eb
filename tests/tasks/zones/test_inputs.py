"""From label files and folders to a manifest: counts of known sets, every reason of rejection, nothing unaccounted."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.audio.decode import probe
from earmark.cache.identity import identify_bytes
from earmark.data.manifest import Manifest
from earmark.errors import InputError, UsageError
from earmark.tasks.zones.accounting import REASONS, PrepareReport
from earmark.tasks.zones.exchange import NORMAL_FORM_COLUMNS, diff_labels, write_normal_form
from earmark.tasks.zones.inputs import prepare_tracks
from earmark.tasks.zones.labels import bpm_rule

SHARED_ZONES = Path(__file__).parents[4] / "shared" / "data" / "zones" / "labels.csv"


def identify(uri: str) -> bytes:
    data = Path(uri).read_bytes()
    if data == b"unreadable":
        raise InputError(f"`{uri}` cannot be read.")
    return identify_bytes(data)


def touch(folder: Path, *names: str) -> None:
    """Files whose content is their name."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def write(folder: Path, text: str, name: str = "labels.txt") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def prepare(folder: Path, text: str, **options: object) -> tuple[Manifest, PrepareReport]:
    source = write(folder, text)
    return prepare_tracks([source], root=folder, identify=identify, **options)  # type: ignore[arg-type]


def reasons(report: PrepareReport) -> list[tuple[int, str]]:
    return [(row.row, row.reason) for row in report.rejected]


def layout_b(rows: Sequence[tuple[float, str, str]]) -> str:
    lines = [f"{bpm:.2f}\t8A\t{zone}\tArtist {i}\tTitle\t{path}" for i, (bpm, zone, path) in enumerate(rows)]
    return "BPM\tKey\tZone\tArtist\tTrack Title\tLocation\n" + "\n".join(lines) + "\n"


def layout_d(rows: Sequence[tuple[float, str, str]]) -> str:
    header = "#\tArtwork\tBPM\tKey\tArtist\tTrack Title\tTime\tBitrate\tDate Added\tLocation\tAlbum\tZone"
    lines = [
        f"{i}\t\t{bpm:.2f}\t8A\tA{i}\tT\t\t\t\t{path}\t\t{zone}" for i, (bpm, zone, path) in enumerate(rows)
    ]
    return header + "\n" + "\n".join(lines) + "\n"


class TestKnownSets:
    """Generated files with the shape of collections that are in use, and the counts that they must give."""

    def test_435_rows_of_a_table_with_20_empty_zones(self, tmp_path: Path) -> None:
        zones = ["YELOW"] * 120 + ["GREEN"] * 164 + ["PURPLE"] * 131 + [""] * 20
        rng = np.random.default_rng(0)
        names = [f"music/{i:03d}.flac" for i in range(435)]
        touch(tmp_path, *names)
        rows = list(zip(rng.uniform(80.97, 180, 435), rng.permutation(zones), names, strict=True))
        _, report = prepare(tmp_path, layout_b(rows))
        assert (report.rows_read, report.kept) == (435, 415)
        assert report.class_counts == {"YELLOW": 120, "GREEN": 164, "PURPLE": 131}
        assert report.rejected_by_reason == {"empty zone": 20}
        assert report.warnings == ("120 zones spelt YELOW were read as YELLOW",)
        assert (report.n_pseudo, report.n_unlabelled) == (0, 0)

    def test_2289_rows_of_a_playlist_with_484_labels_in_utf_16(self, tmp_path: Path) -> None:
        zones = ["Yellow"] * 133 + ["Green"] * 182 + ["Purple"] * 169 + [""] * (2289 - 484)
        header = (
            "#\tMy Tag\tArtwork\tBPM\tKey\tArtist\tTrack Title\tTime\tBitrate\tDate Added\tLocation\tAlbum"
        )
        names = [f"{i:04d}.mp3" for i in range(2289)]
        touch(tmp_path, *names[:484])  # unlabelled tracks may be anywhere
        lines = [
            f"{i}\t{zone}\t\t125.00\t8A\tA{i}\tT\t\t\t\t{name}\t"
            for i, (zone, name) in enumerate(zip(zones, names, strict=True))
        ]
        source = tmp_path / "playlist.txt"
        source.write_bytes("\r\n".join([header, *lines]).encode("utf-16"))
        _, report = prepare_tracks([source], root=tmp_path, identify=identify)
        assert (report.rows_read, report.kept) == (2289, 484)
        assert report.class_counts == {"YELLOW": 133, "GREEN": 182, "PURPLE": 169}
        assert report.rejected_by_reason == {"empty zone": 1805}

    def test_2299_zones_made_from_tempo(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(1)
        bpms = [*rng.uniform(80, 109.9, 69), *rng.uniform(110, 128, 1165), *rng.uniform(128.1, 175, 1065)]
        names = [f"{i:04d}.mp3" for i in range(2299)]
        touch(tmp_path, *names)
        rows = [(bpm, bpm_rule(bpm) or "", name) for bpm, name in zip(bpms, names, strict=True)]
        manifest, report = prepare(tmp_path, layout_d(rows))
        assert report.class_counts == {"YELLOW": 69, "GREEN": 1165, "PURPLE": 1065}
        assert report.n_pseudo == report.kept == 2299
        assert set(manifest.table["label_origin"]) == {"pseudo"}
        assert "2299 zones were made from tempo alone; training needs --allow-pseudo" in report.warnings

    def test_the_difference_of_two_versions(self, tmp_path: Path) -> None:
        old = [
            (f"/m/{i:03d}.mp3", z) for i, z in enumerate(["YELOW"] * 120 + ["GREEN"] * 164 + ["PURPLE"] * 131)
        ]
        moved = {0: "GREEN", 130: "PURPLE", 140: "YELLOW", **dict.fromkeys(range(300, 308), "GREEN")}
        new = [(path, moved.get(i, zone.replace("YELOW", "YELLOW"))) for i, (path, zone) in enumerate(old)]
        added = ["YELLOW"] * 10 + ["GREEN"] * 17 + ["PURPLE"] * 42
        new += [(f"/m/new{i}.mp3", zone) for i, zone in enumerate(added)]
        before = write(tmp_path, layout_b([(120, zone, path) for path, zone in old]), "v1.txt")
        after = write(
            tmp_path, json.dumps({"labels": {path: {"zone": zone} for path, zone in new[1:]}}), "v2.json"
        )
        diff = diff_labels(before, after)
        assert Counter(zone for _, zone in diff.new) == {"YELLOW": 10, "GREEN": 17, "PURPLE": 42}
        assert diff.removed == (("/m/000.mp3", "YELLOW"),)
        assert len(diff.relabelled) == 10
        assert ("/m/130.mp3", "GREEN", "PURPLE") in diff.relabelled


def test_each_reason_is_listed_with_its_row(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3", "b.mp3", "c.mp3")
    write(tmp_path, "unreadable", "broken.mp3")
    (tmp_path / "copy of c.mp3").write_text("c.mp3")
    text = (
        "a.mp3\tyellow\n"  # 1 kept
        "\tgreen\n"  # 2
        "a.mp3\t\n"  # 3
        "a.mp3\tblue\n"  # 4
        "none.mp3\tgreen\n"  # 5
        "broken.mp3\tgreen\n"  # 6
        "./a.mp3\tYELLOW\n"  # 7
        "c.mp3\tgreen\n"  # 8
        "copy of c.mp3\tpurple\n"  # 9
        "b.mp3\n"  # 10 kept, unlabelled
    )
    manifest, report = prepare(tmp_path, text)
    assert reasons(report) == [
        (2, "unreadable row"),
        (3, "empty zone"),
        (4, "unknown zone"),
        (5, "missing file"),
        (6, "undecodable"),
        (7, "duplicate path"),
        (8, "same audio with two zones"),
        (9, "same audio with two zones"),
    ]
    assert {row.reason for row in report.rejected} == set(REASONS)
    assert manifest.ids == ("a.mp3", "b.mp3")
    assert (report.rows_read, report.kept, report.n_unlabelled) == (10, 2, 1)
    details = {row.row: row.detail for row in report.rejected}
    assert details[4] == "blue"
    assert details[5] == str(tmp_path / "none.mp3")
    assert "cannot be read" in details[6]
    assert details[9] == "GREEN and PURPLE"


def test_one_path_with_two_zones_is_rejected_whole(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3", "b.mp3")
    _, report = prepare(tmp_path, "a.mp3\tgreen\na.mp3\tpurple\nb.mp3\tgreen\n")
    assert reasons(report) == [(1, "same audio with two zones"), (2, "same audio with two zones")]


def test_equal_audio_with_one_zone_is_kept_in_one_group(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3")
    (tmp_path / "b.mp3").write_text("a.mp3")
    manifest, report = prepare(tmp_path, "a.mp3\tgreen\nb.mp3\tgreen\n")
    assert manifest.table["group"].n_unique() == report.n_groups == 1
    assert "1 tracks repeat the audio of another; they share its group" in report.warnings


def test_columns_of_the_manifest(tmp_path: Path) -> None:
    touch(tmp_path, "m/a.mp3", "m/b.mp3")
    text = (
        "path,zone,artist,album,title,bpm,key,genre,source,sample_weight\n"
        "m/a.mp3,green,Bicep,Isles,Glue,128.50,8a,House,user,3\n"
        "m/b.mp3,yellow,,,,0.00,H-moll,,,\n"
    )
    manifest, report = prepare(tmp_path, text)
    first, second = manifest.table.iter_rows(named=True)
    assert first == {
        "id": "m/a.mp3",
        "uri": str(tmp_path / "m/a.mp3"),
        "group": "artist:bicep",
        "label": "GREEN",
        "artist": "Bicep",
        "album": "Isles",
        "album_artist": None,
        "title": "Glue",
        "genre": "House",
        "bpm": 128.5,
        "key": "8A",
        "source": "user",
        "sample_weight": 3.0,
        "label_origin": "listener",
        "content_hash": identify_bytes(b"m/a.mp3").hex(),
        "duration_s": None,
    }
    assert (second["group"], second["bpm"], second["key"], second["sample_weight"]) == (
        "track:m/b.mp3",
        None,
        None,
        1.0,
    )
    assert report.warnings == (
        "1 keys are not Camelot (1A to 12B) and are missing",
        "no track is PURPLE; a model cannot learn it",
    )


def test_ids_outside_the_label_files_folder_are_whole_paths(tmp_path: Path) -> None:
    touch(tmp_path, "music/a.mp3", "labels/b.mp3")
    manifest, _ = prepare(tmp_path / "labels", f"{tmp_path}/music/a.mp3\tgreen\nb.mp3\tyellow\n")
    assert manifest.ids == (str(tmp_path / "music/a.mp3"), "b.mp3")


def test_several_sources_with_equal_names_stay_apart(tmp_path: Path) -> None:
    touch(tmp_path / "one", "a.mp3")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "a.mp3").write_text("other audio")
    sources = [write(tmp_path / name, "a.mp3\tgreen\n") for name in ("one", "two")]
    manifest, report = prepare_tracks(sources, root=tmp_path, identify=identify)
    assert manifest.ids == ("a.mp3", str(tmp_path / "two" / "a.mp3"))
    assert report.rows_read == report.kept == 2


def test_rekordbox_locations_and_moved_collections(tmp_path: Path) -> None:
    touch(tmp_path, "x/a b.mp3")
    text = "path,zone\nfile://localhost/D:/Music/x/a%20b.mp3,green\n"
    with pytest.raises(UsageError, match="missing file 1.*--relocate OLD=NEW"):
        prepare(tmp_path, text)
    manifest, _ = prepare(tmp_path, text, relocate=[f"D:\\Music={tmp_path}"])
    assert [item.uri for item in manifest] == [str(tmp_path / "x/a b.mp3")]


def test_a_pseudo_column_is_honoured_row_by_row(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3", "b.mp3")
    manifest, report = prepare(tmp_path, "path,zone,label_origin\na.mp3,green,pseudo\nb.mp3,green,listener\n")
    assert report.n_pseudo == 1
    assert manifest.table["label_origin"].to_list() == ["pseudo", "listener"]


def test_heard_labels_in_a_pseudo_layout_are_labels(tmp_path: Path) -> None:
    names = [f"{i}.mp3" for i in range(30)]
    touch(tmp_path, *names)
    rows = [(100.0 + i, ["GREEN", "PURPLE", "YELLOW"][i % 3], name) for i, name in enumerate(names)]
    assert prepare(tmp_path, layout_d(rows))[1].n_pseudo == 0


class TestFolders:
    """A folder as source."""

    def test_subfolders_named_for_zones_are_labels(self, tmp_path: Path) -> None:
        touch(
            tmp_path,
            "Yellow/a.wav",
            "GREEN/deep/b.flac",
            "yelow/c.ogg",
            "other/d.mp3",
            "e.mp3",
            "GREEN/cover.jpg",
        )
        manifest, report = prepare_tracks([tmp_path], root=tmp_path, identify=identify)
        assert dict(manifest.table.select("id", "label").iter_rows()) == {
            "GREEN/deep/b.flac": "GREEN",
            "Yellow/a.wav": "YELLOW",
            "e.mp3": None,
            "other/d.mp3": None,
            "yelow/c.ogg": "YELLOW",
        }
        assert (report.rows_read, report.kept, report.n_unlabelled) == (5, 5, 2)

    def test_a_label_file_inside_is_used(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.mp3", "b.mp3")
        write(tmp_path, "file,zone\na.mp3,green\n", "labels.csv")
        manifest, _ = prepare_tracks([tmp_path], root=tmp_path, identify=identify)
        assert manifest.ids == ("a.mp3",)

    def test_a_file_name_that_is_no_unicode_is_set_aside(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.mp3")
        try:
            (tmp_path / os.fsdecode(b"\xff.mp3")).touch()
        except OSError:
            pytest.skip("this file system takes Unicode names only")
        manifest, report = prepare_tracks([tmp_path], root=tmp_path, identify=identify)
        assert manifest.ids == ("a.mp3",)
        assert [(row.reason, row.path) for row in report.rejected] == [("unreadable row", "\\udcff.mp3")]

    def test_two_label_files_are_a_question(self, tmp_path: Path) -> None:
        write(tmp_path, "a\tgreen\n", "one.txt")
        write(tmp_path, "a\tgreen\n", "two.txt")
        with pytest.raises(UsageError, match=r"2 label files: one\.txt, two\.txt"):
            prepare_tracks([tmp_path], root=tmp_path)

    def test_a_single_track_is_an_item(self, tmp_path: Path) -> None:
        touch(tmp_path, "a.mp3")
        manifest, report = prepare_tracks([tmp_path / "a.mp3"], root=tmp_path, identify=identify)
        assert (manifest.ids, report.n_unlabelled) == (("a.mp3",), 1)

    @pytest.mark.parametrize("name", ["", "nowhere"])
    def test_nothing_to_read_is_a_clear_error(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="Expected"):
            prepare_tracks([tmp_path / name], root=tmp_path)

    def test_no_source_is_a_clear_error(self, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="no source"):
            prepare_tracks([], root=tmp_path)


def test_files_are_probed_where_asked(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(8000, dtype=np.float32), 8000)
    write(tmp_path, "no audio at all", "b.wav")
    (tmp_path / "c.wav").touch()
    manifest, report = prepare(tmp_path, "a.wav\tgreen\nb.wav\tgreen\nc.wav\tgreen\n", probe=probe)
    assert manifest.table["duration_s"].to_list() == [1.0]
    assert reasons(report) == [(2, "undecodable"), (3, "undecodable")]


def test_the_normal_form_is_read_back(tmp_path: Path) -> None:
    touch(tmp_path, "m/a.mp3", "m/b, c.mp3")
    text = 'path,zone,artist,bpm,key\nm/a.mp3,green,Bicep,128.5,8A\n"m/b, c.mp3",YELOW,,,\n'
    manifest, _ = prepare(tmp_path, text)
    normal = tmp_path / "normal.csv"
    write_normal_form(normal, manifest)
    assert normal.read_text("utf-8").splitlines()[0] == ",".join(NORMAL_FORM_COLUMNS)
    again, report = prepare_tracks([normal], root=tmp_path, identify=identify)
    assert again.table.equals(manifest.table.sort("id"))
    assert report.kept == 2


def test_hashes_are_taken_from_the_file_where_none_can_be_computed(tmp_path: Path) -> None:
    touch(tmp_path, "a.mp3")
    source = write(tmp_path, "path,zone,content_hash\na.mp3,green,abc\n")
    manifest, _ = prepare_tracks([source], root=tmp_path)
    assert manifest.table["content_hash"].to_list() == ["abc"]


_names = st.sampled_from(
    ["a.mp3", "b.mp3", "./a.mp3", "copy.mp3", "none.mp3", "broken.mp3", "", " ", "\0", "~x/y"]
)
_zones = st.sampled_from(["yellow", "YELOW", "Green", "purple", "blue", "", " "])


@given(
    rows=st.lists(st.tuples(_names, _zones), min_size=1, max_size=30), kind=st.sampled_from(["json", "csv"])
)
@settings(max_examples=80, deadline=None)
def test_rows_kept_and_rejected_always_add_up(
    rows: list[tuple[str, str]], kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("tracks")
    touch(folder, "a.mp3", "b.mp3")
    (folder / "copy.mp3").write_text("a.mp3")
    write(folder, "unreadable", "broken.mp3")
    if kind == "json":
        entries = ", ".join(f"{json.dumps(path)}: {json.dumps(zone)}" for path, zone in rows)
        text, n_rows = f'{{"labels": {{{entries}}}}}', len(rows)
    else:
        rows = [(path.replace("\0", ""), zone) for path, zone in rows]
        text = "path,zone,x\n" + "".join(f"{path},{zone},1\n" for path, zone in rows)
        n_rows = len(rows)
    try:
        manifest, report = prepare(folder, text)
    except UsageError as error:
        assert f"none of {n_rows} rows" in str(error)
        return
    assert report.rows_read == n_rows
    assert report.kept + len(report.rejected) == report.rows_read
    assert report.kept == len(manifest) == sum(report.class_counts.values()) + report.n_unlabelled
    assert sum(report.rejected_by_reason.values()) == len(report.rejected)
    assert len({row.row for row in report.rejected}) == len(report.rejected)


@pytest.mark.skipif(
    not SHARED_ZONES.is_file(), reason="the real zones collection is not beside the repository"
)
def test_a_real_collection_is_read_whole() -> None:
    manifest, report = prepare_tracks([SHARED_ZONES], root=SHARED_ZONES.parent, probe=probe)
    assert (report.rows_read, report.kept, report.rejected) == (118, 118, ())
    assert report.class_counts == {"YELLOW": 41, "GREEN": 38, "PURPLE": 39}
    assert manifest.table["genre"].n_unique() == 4
    assert manifest.table.filter(pl.col("duration_s").is_between(10, 65)).height == 118
    assert "energy" not in manifest.table.columns  # what the zones were made from must not come along


def test_rows_without_a_zone_to_keep_are_never_opened(tmp_path: Path) -> None:
    def fail(uri: str) -> bytes:
        raise AssertionError(f"{uri} was opened")

    touch(tmp_path, "a.mp3", "b.mp3")
    source = write(tmp_path, "a.mp3\tblue\nb.mp3\t\n")
    with pytest.raises(UsageError, match="none of 2 rows can be used: unknown zone 1, empty zone 1"):
        prepare_tracks([source], root=tmp_path, identify=fail)
