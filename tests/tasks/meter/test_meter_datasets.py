"""Loaders of the data sets: formats as published, keys SOURCE/stem, both label sets, every row accounted for."""

from __future__ import annotations

import json
import shutil
from itertools import pairwise
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from meter_sets import (
    by_id,
    identify,
    imported,
    meter2800,
    sha256,
    wikimeter_catalogue,
    write_clip,
    write_list,
)

from earmark.data.seal import SealedLabels, seal
from earmark.data.splits import Splits
from earmark.errors import UsageError
from earmark.tasks.meter.datasets.normal_form import (
    NORMAL_COLUMNS,
    SEALED_COLUMNS,
    as_weights,
    class_of,
    read_rows,
    write_normal_form,
)
from earmark.tasks.meter.datasets.splits import METER_SPLIT, part_of
from earmark.tasks.meter.datasets.wikimeter import segment_starts, song_stem

SHARED = Path(__file__).parents[4] / "shared/data/meter"


@pytest.fixture(scope="module")
def set2800(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return meter2800(tmp_path_factory.mktemp("m2800"))


@pytest.mark.parametrize(
    ("written", "expected"),
    [("three", "3"), ("6/8", "3"), ("12/8", "4"), ("2/4", "4"), ("12", "4"), ("6", "3"), ("11.0", "11")],
)
def test_meters_become_classes_by_the_rule_of_meter2800(written: str, expected: str) -> None:
    assert class_of(written) == expected


def test_soft_labels_keep_weights_and_merge_meters_of_one_class() -> None:
    assert as_weights("4:0.8,3:0.7") == {"3": 0.7, "4": 0.8}
    assert as_weights("6/8:0.4,3:0.9") == {"3": 0.9}
    with pytest.raises(UsageError, match="13"):
        as_weights("13:1")


@pytest.mark.parametrize(("suffix", "n_classes"), [(".tab", 4), (".csv", 4), (".csv", 2)])
def test_lists_of_the_deposit_and_of_the_mirror_say_the_same(
    tmp_path: Path, suffix: str, n_classes: int
) -> None:
    manifest, report = imported(tmp_path, f"meter2800={meter2800(tmp_path / 'set', suffix, n_classes)}")
    rows = by_id(manifest)
    assert report.kept == len(rows) == 32
    assert rows["FMA/00000"]["label"] == rows["FMA/00000"]["meters"] == "3"
    assert rows["FMA/00000"]["alt_meter"] == "6"
    assert rows["GTZAN/blues.00003"]["genre"] == "blues"
    assert {row["part"] for row in rows.values()} == {"train", "val", "test"}
    assert set(report.by_source) == {"FMA", "MAG", "OWN", "GTZAN"}


def test_counts_that_are_not_those_published_are_said_and_missing_files_are_listed(
    set2800: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "set"
    shutil.copytree(set2800, copy)
    gone = copy / "audio" / "MAG_00001.wav"
    gone.unlink()
    _, report = imported(tmp_path, f"meter2800={copy}")
    assert [(row.reason, row.path) for row in report.rejected] == [("missing file", "/MAG/00001.wav")]
    assert any(
        "train lists 6/6/4/4 rows of 3/4/5/7; published are 720/720/120/120" in w for w in report.warnings
    )
    assert "1 files of meter2800 are missing" in report.warnings


def test_the_same_stem_in_two_sources_is_two_items(tmp_path: Path) -> None:
    write_list(
        tmp_path / "data_train_4_classes.tab",
        [["/MAG/00001.wav", "three", 3, 6], ["/FMA/00001.wav", "four", 4, 2]],
    )
    mag = write_clip(tmp_path / "audio" / "MAG_00001.wav", 1)
    flat = write_clip(tmp_path / "audio" / "00001.mp3", 2)
    rows = by_id(imported(tmp_path, f"meter2800={tmp_path}")[0])
    assert rows["MAG/00001"]["uri"] == str(mag)
    assert rows["FMA/00001"]["uri"] == str(flat)  # the flat file is of the source without one of its own
    mag.unlink()
    with pytest.raises(UsageError, match="ambiguous file 2"):
        imported(tmp_path, f"meter2800={tmp_path}")


def test_alternative_meters_enter_the_soft_label_only_on_request(set2800: Path, tmp_path: Path) -> None:
    rows = by_id(imported(tmp_path, f"meter2800={set2800}", alt_weight=0.3)[0])
    fives = [row["meters"] for row in rows.values() if row["label"] == "5"]
    assert set(fives) == {"5"}  # 10 beats are two bars of 5
    sevens = [row["meters"] for row in rows.values() if row["label"] == "7"]
    assert set(sevens) == {"7"}  # 14 is no class
    other = tmp_path / "other"
    write_list(other / "data_train_4_classes.tab", [["/FMA/1.wav", "four", 4, 3]])
    write_clip(other / "FMA" / "1.wav", 5)
    assert (
        by_id(imported(tmp_path, f"meter2800={other}", alt_weight=0.3)[0])["FMA/1"]["meters"] == "3:0.3,4:1"
    )


def corrections(path: Path, *rows: tuple[str, str, str]) -> Path:
    lines = ["key,label,content_hash,reason", *(",".join([*row, ""]) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_both_label_sets_are_counted_side_by_side_and_the_original_one_is_the_default(
    set2800: Path, tmp_path: Path
) -> None:
    manifest, _ = imported(tmp_path, f"meter2800={set2800}")
    known = by_id(manifest)
    five = next(id for id, row in known.items() if row["part"] == "test" and row["label"] == "5")
    speech = next(id for id, row in known.items() if row["part"] == "train" and row["label"] == "4")
    three = next(id for id, row in known.items() if row["part"] == "test" and row["label"] == "3")
    file = corrections(
        tmp_path / "corrections.csv",
        (five, "4", known[five]["content_hash"]),
        (speech, "", known[speech]["content_hash"]),
        (three, "7", "0" * 32),  # of other audio: another file has come under this name
        ("FMA/no_such", "3", ""),
    )
    manifest, report = imported(tmp_path, f"meter2800={set2800}", corrections=file)
    rows = by_id(manifest)
    assert rows[five]["label"] == rows[five]["meters"] == "5"
    assert (rows[five]["label_original"], rows[five]["label_corrected"]) == ("5", "4")
    assert rows[three]["label_corrected"] == "3"
    assert report.label_sets["original"]["test"] == {"3": 2, "4": 2, "5": 1, "7": 1, "9": 0, "11": 0}
    assert report.label_sets["corrected"]["test"] == {"3": 2, "4": 3, "5": 0, "7": 1, "9": 0, "11": 0}
    assert (report.n_corrections, report.n_blacklisted) == (2, 1)
    assert any(w.startswith("1 corrections are of other audio") and three in w for w in report.warnings)
    assert any("name no item: FMA/no_such" in w for w in report.warnings)

    manifest, report = imported(tmp_path, f"meter2800={set2800}", corrections=file, label_set="corrected")
    rows = by_id(manifest)
    assert rows[five]["label"] == rows[five]["meters"] == "4"
    assert speech not in rows
    assert [row.reason for row in report.rejected] == ["blacklisted"]


def test_corrections_by_a_bare_stem_are_refused(set2800: Path, tmp_path: Path) -> None:
    file = corrections(tmp_path / "corrections.csv", ("00001", "4", ""), ("MAG/00001", "13", ""))
    with pytest.raises(UsageError, match=r"row 1: '00001' is a bare stem.*row 2: '13'"):
        imported(tmp_path, f"meter2800={set2800}", corrections=file)


def test_the_published_division_reaches_the_seal_and_nothing_tells_a_test_label(
    set2800: Path, tmp_path: Path
) -> None:
    manifest, _ = imported(tmp_path, f"meter2800={set2800}")
    splits = Splits.make(manifest, METER_SPLIT)
    sealed, splits = seal(tmp_path / "data", manifest, splits)
    test = sealed.table.filter(pl.col("split") == "test")
    assert test.height == 6
    for column in ("label", *SEALED_COLUMNS):
        assert test[column].null_count() == 6, column
    val = sealed.table.filter(pl.col("part") == "val")
    assert {splits.rows()[id]["fold"] for id in val["id"]} == {0}
    opening = SealedLabels(tmp_path / "data").open(run="r", reason="shown")
    assert sorted(row["label_corrected"] for row in opening.rows) == ["3", "3", "4", "4", "5", "7"]


def test_ballroom_is_tested_on_only_and_its_dances_are_its_labels(tmp_path: Path) -> None:
    dances = ("Waltz", "VienneseWaltz", "ChaChaCha", "Rumba-American", "Samba")
    for seed, dance in enumerate(dances):
        write_clip(tmp_path / "raw" / "BallroomData" / dance / f"Media-{seed}.wav", 100 + seed)
    rows = by_id(imported(tmp_path, f"ballroom={tmp_path / 'raw'}")[0])
    assert [row["label"] for row in rows.values()].count("3") == 2
    assert {row["part"] for row in rows.values()} == {"test"}

    flat = tmp_path / "flat"
    lines = ["filename\tgenre\tmeter"]
    for seed, dance in enumerate((*dances, "Polka")):
        write_clip(flat / "audio" / f"{dance}_Media-{seed}.wav", 100 + seed)
        lines.append(f"{dance}_Media-{seed}.wav\t{dance}\t{3 if 'Waltz' in dance else 4}")
    (flat / "data_ballroom.tab").write_text("\n".join(lines) + "\n")
    manifest, report = imported(tmp_path, f"ballroom={flat}")
    assert sorted(manifest.table["label"]) == ["3", "3", "4", "4", "4"]
    assert [row.detail.split(";")[0] for row in report.rejected] == ["'Polka' is no dance"]
    assert any("published are 175/523" in warning for warning in report.warnings)


def test_gtzan_meters_come_from_the_beats_or_from_the_table_without_names(tmp_path: Path) -> None:
    beats = tmp_path / "rhythm"
    for clip in ("00000", "00001"):
        write_clip(beats / "genres" / "blues" / f"blues.{clip}.wav", 200 + int(clip))
    times = "".join(f"{0.5 * i:.3f}\t{i % 3 + 1}\n" for i in range(12))
    (beats / "gtzan_blues_00000.beats").write_text(times)
    (beats / "gtzan_blues_00001.beats").write_text("0.5\t1\n")
    manifest, report = imported(tmp_path, f"gtzan={beats}")
    (row,) = by_id(manifest).values()
    assert (row["id"], row["label"], row["downbeats"]) == ("GTZAN_RHYTHM/blues.00000", "3", "0 1.5 3 4.5")
    assert [r.detail for r in report.rejected] == ["no whole bar is annotated"]

    for file in beats.glob("*.beats"):
        file.unlink()
    (beats / "genres_tempos.csv").write_text(
        "/blues/blues.00000.wav,120.5,4,2\n/blues/blues.00001.wav,90,,\n/jazz/jazz.00007.wav,90,3,\n"
    )
    manifest, report = imported(tmp_path, f"gtzan={beats}")
    (row,) = by_id(manifest).values()
    assert (row["label"], row["alt_meter"], row["tempo_bpm"]) == ("4", "2", "120.5")
    assert [r.reason for r in report.rejected] == ["no class", "missing file"]


def test_fixtures_are_verified_by_their_content(tmp_path: Path) -> None:
    waltz = write_clip(tmp_path / "audio" / "a waltz.wav", 300)
    write_clip(tmp_path / "audio" / "jig.wav", 301)
    entries = [
        {
            "url": "http://x/files/a%20waltz.wav",
            "sha256": sha256(waltz),
            "category": "waltz",
            "meters": [3],
            "bpm_range": [80, 200],
        },
        {"url": "http://x/jig.wav", "sha256": "0" * 64, "category": "jig", "meters": ["6/8"]},
        {"url": "http://x/gone.wav", "sha256": "0" * 64, "category": "tango", "meters": [4, 2]},
    ]
    (tmp_path / "fixtures.json").write_text(json.dumps(entries))
    manifest, report = imported(tmp_path, f"fixtures={tmp_path}")
    (row,) = by_id(manifest).values()
    assert (row["id"], row["label"], row["part"], row["bpm_range"]) == (
        "FIXTURES/a waltz",
        "3",
        "test",
        "80-200",
    )
    assert [r.reason for r in report.rejected] == ["other content", "missing file"]


SONGS = [
    {"artist": "Dave Brubeck", "title": "Take Five", "meters": {"5": 1.0}, "sources": []},
    {"artist": "Fela Kuti", "title": "Water No Get Enemy", "meters": {"3": 0.6, "4": 1.0}, "sources": []},
    {"artist": "Fela Kuti", "title": "Zombie", "meters": {"4": 1.0, "7": 0.9}, "trim": [20, 150]},
    {"artist": "Nobody", "title": "Wrong", "meters": {"11": 1.0}},
]


def test_wikimeter_segments_bear_the_songs_soft_label_and_the_heaviest_meter_is_primary(
    tmp_path: Path,
) -> None:
    folder = wikimeter_catalogue(tmp_path / "wiki", SONGS)
    (folder / "blacklist.json").write_text(
        json.dumps(
            [
                {"artist": "NOBODY", "title": "wrong", "meter": 11},
                {"artist": "Fela Kuti", "title": "Zombie", "meter": 7},
            ]
        )
    )
    rows = [
        ["/WIKIMETER/dave_brubeck_take_five_seg00.mp3", "five", "5", "5"],
        ["/WIKIMETER/fela_kuti_water_no_get_enemy_seg00.mp3", "three", "3:0.6,4:1", "3:0.6,4:1"],
        ["/WIKIMETER/fela_kuti_zombie_seg00.mp3", "four", "4:1,7:0.9", "4"],
        ["/WIKIMETER/nobody_wrong_seg00.mp3", "eleven", "11", "11"],
        ["/WIKIMETER/not_in_the_catalogue_seg00.mp3", "nine", "9", "9"],
    ]
    for seed, row in enumerate(rows):
        write_clip(folder / "audio" / Path(row[0]).name, 400 + seed, seconds=35.0 if seed == 0 else 4.0)
    write_list(folder / "data_wikimeter.tab", rows)
    manifest, report = imported(tmp_path, f"wikimeter={folder}")
    found = by_id(manifest)
    water = found["WIKIMETER/fela_kuti_water_no_get_enemy_seg00"]
    assert (water["label"], water["meters"], water["artist"]) == ("4", "3:0.6,4:1", "Fela Kuti")
    assert found["WIKIMETER/fela_kuti_zombie_seg00"]["meters"] == "4"
    assert found["WIKIMETER/not_in_the_catalogue_seg00"]["label"] == "9"
    assert [row.reason for row in report.rejected] == ["blacklisted"]
    assert found["WIKIMETER/dave_brubeck_take_five_seg00"]["uri"].endswith("_seg00.mp3#t=2.5,32.5")
    assert water["group"] == found["WIKIMETER/fela_kuti_zombie_seg00"]["group"]
    assert water["part"] == part_of("fela kuti")


def test_whole_songs_become_segments_inside_their_trim(tmp_path: Path) -> None:
    folder = wikimeter_catalogue(tmp_path / "wiki", [SONGS[2], SONGS[0]])
    write_clip(folder / "audio" / "fela_kuti_zombie.wav", 500, seconds=170.0)
    write_clip(folder / "audio" / "dave_brubeck_take_five.wav", 501, seconds=12.0)
    manifest, report = imported(tmp_path, f"wikimeter={folder}")
    rows = sorted(by_id(manifest).values(), key=lambda row: row["id"])
    assert [row["segment_start_s"] for row in rows] == [
        30.0,
        67.5,
        105.0,
    ]  # 110 s between the margins hold three
    assert [row["uri"].partition("#")[2] for row in rows] == ["t=32.5,62.5", "t=70,100", "t=107.5,137.5"]
    assert {row["id"] for row in rows} == {f"WIKIMETER/fela_kuti_zombie_seg0{n}" for n in range(3)}
    assert [(row.path, row.reason) for row in report.rejected] == [("Dave Brubeck: Take Five", "too short")]


@given(st.floats(1, 4000), st.floats(0, 500), st.one_of(st.none(), st.floats(1, 4500)))
def test_segments_lie_inside_the_song_and_do_not_overlap(
    duration: float, begin: float, end: float | None
) -> None:
    starts = segment_starts(duration, (begin, end))
    stop = min(duration, end if end is not None else duration)
    assert len(starts) <= 5
    assert bool(starts) == (stop - begin >= 15)
    assert all(second - first >= 35 - 1e-6 for first, second in pairwise(starts))
    if len(starts) > 1:
        assert starts[0] >= begin + 10 - 1e-3
        assert starts[-1] + 35 <= stop - 10 + 1e-3


def test_the_song_rule_is_kept_for_comparison_and_says_that_artists_straddle(tmp_path: Path) -> None:
    songs = [{"artist": "One Artist", "title": f"song {n}", "meters": {"7": 1}} for n in range(60)]
    folder = wikimeter_catalogue(tmp_path / "wiki", songs)
    for n in range(60):
        write_clip(folder / "audio" / f"one_artist_song_{n}.wav", 600 + n, seconds=15.0)
    by_artist = by_id(imported(tmp_path, f"wikimeter={folder}")[0])
    assert (
        len({row["part"] for row in by_artist.values()})
        == len({row["group"] for row in by_artist.values()})
        == 1
    )
    manifest, report = imported(tmp_path, f"wikimeter={folder}", wikimeter_split="song")
    rows = by_id(manifest)
    assert {row["part"] for row in rows.values()} == {"train", "val", "test"}
    assert all(row["part"] == part_of(row["song_id"]) for row in rows.values())
    assert len({row["group"] for row in rows.values()}) == 60
    assert any("its test part is not that of earlier figures" in warning for warning in report.warnings)


def test_song_stems_are_those_of_the_published_segments() -> None:
    assert song_stem("Ólafur Arnalds", "Near Light (Live)") == "olafur_arnalds_near_light_live"


def test_equal_audio_with_two_labels_is_reported_and_never_straddles(set2800: Path, tmp_path: Path) -> None:
    copy = tmp_path / "set"
    shutil.copytree(set2800, copy)
    known = by_id(imported(tmp_path, f"meter2800={set2800}")[0])
    test = next(row for row in known.values() if row["part"] == "test" and row["label"] == "3")
    train = next(row for row in known.values() if row["part"] == "train" and row["label"] == "4")
    twin = copy / "audio" / Path(train["uri"]).name
    shutil.copy(test["uri"], twin)
    manifest, report = imported(tmp_path, f"meter2800={copy}")
    (pair,) = report.equal_audio
    assert set(pair.ids) == {test["id"], train["id"]}
    assert pair.contradicts
    assert pair.same_bytes
    splits = Splits.make(manifest, METER_SPLIT).rows()
    assert splits[test["id"]]["split"] == "test"
    assert splits[train["id"]]["split"] == "purged"


def test_a_source_may_be_a_plain_file_with_style_downbeats_and_soft_labels(tmp_path: Path) -> None:
    for seed, name in enumerate("abcd"):
        write_clip(tmp_path / "audio" / f"{name}.wav", 700 + seed)
    (tmp_path / "labels.csv").write_text(
        "file,label,style,group,source,downbeats,guess\n"
        'a.wav,"3:0.7,4:0.8",folk,tune1,score1,0.0 1.5,3\n'
        "b.wav,6/8,folk,tune1,score2,,3\nc.wav,,folk,tune2,score3,,3\nd.wav,13,folk,tune2,score4,,3\n"
    )
    manifest, report = imported(tmp_path, tmp_path / "labels.csv")
    rows = by_id(manifest)
    assert (rows["a"]["label"], rows["a"]["meters"], rows["a"]["downbeats"]) == (
        "4",
        "3:0.7,4:0.8",
        "0.0 1.5",
    )
    assert (rows["b"]["label"], rows["b"]["source"], rows["b"]["origin"]) == ("3", "folk", "score2")
    assert rows["a"]["group"] == rows["b"]["group"]
    assert [row.reason for row in report.rejected] == ["no label", "unreadable label"]
    assert report.warnings[0] == "columns of `labels.csv` that are left out: guess"
    assert "guess" not in manifest.table.columns


def test_the_normal_form_is_read_back_as_it_was(set2800: Path, tmp_path: Path) -> None:
    manifest, _ = imported(tmp_path, f"meter2800={set2800}")
    write_normal_form(tmp_path / "normal.csv", manifest)
    written = read_rows(tmp_path / "normal.csv")
    assert tuple(written[0]) == NORMAL_COLUMNS
    again, report = imported(tmp_path, tmp_path / "normal.csv")
    kept = ["label", "meters", "source", "genre", "alt_meter", "part", "content_hash"]
    assert again.table.sort("uri").select(kept).equals(manifest.table.sort("uri").select(kept))
    assert not report.rejected


@pytest.mark.parametrize(
    "source",
    ["meter2800=nowhere", "labels_that_are_not.csv", "wikimeter=.", "ballroom=.", "gtzan=.", "fixtures=."],
)
def test_a_source_that_is_not_there_says_what_was_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match=r"[Ee]xpected|neither|cannot be read"):
        imported(tmp_path, source)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared clips are not beside the checkout")
def test_the_shared_clips_are_read_as_they_are() -> None:
    manifest, report = imported(SHARED, SHARED / "labels.csv")
    rows = by_id(manifest)
    assert report.kept == report.rows_read == 202
    assert set(report.by_source) == {"symbtr", "asap_piano", "nottingham", "groove_drums"}
    assert sum(bool(row["downbeats"]) for row in rows.values()) > 100
    assert all(row["content_hash"] == identify(row["uri"].partition("#")[0]).hex() for row in rows.values())
    assert any(row["style"] == "symbtr" and row["label"] == "7" for row in rows.values())
