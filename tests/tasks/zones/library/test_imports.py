"""Collections of DJ software as label rows: each kind found by content, hostile files refused, every row counted."""

from __future__ import annotations

import os
import struct
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import MissingExtraError, UsageError
from earmark.inference.prediction import Prediction
from earmark.tasks.zones.exchange import diff_labels
from earmark.tasks.zones.inputs import prepare_tracks
from earmark.tasks.zones.library.anlz import read_beat_grid
from earmark.tasks.zones.library.imports import KINDS, read_collection, read_rows
from earmark.tasks.zones.library.keys import camelot_of_tonality
from earmark.tasks.zones.library.rekordbox import location_url
from earmark.tasks.zones.library.rekordbox_xml import cue_rows, transitions
from earmark.tasks.zones.library.serato import database_rows, parse_database
from earmark.tasks.zones.outputs import PLAYLIST_FORMATS, write_playlists


@pytest.fixture
def tracks(tmp_path):
    """Six short tracks with awkward names."""
    folder = tmp_path / "my müsic"
    folder.mkdir()
    names = ["a.wav", "b & c.wav", "d 50%.wav", "é.wav", "𝄞.wav", "f#1.wav"]
    for seed, name in enumerate(names):
        noise = np.random.default_rng(seed).normal(0, 0.1, 4000)
        soundfile.write(folder / name, noise, 8000)
    return [folder / name for name in names]


def rekordbox(tracks, *, playlists=(), product="rekordbox", cues=""):
    """A library as rekordbox exports it; `tracks` are attributes by name of the file."""
    rows = "".join(
        f'<TRACK TrackID="{number}" {" ".join(f"""{name}="{text}" """ for name, text in attributes.items())}>'
        f"{cues}</TRACK>"
        for number, attributes in enumerate(tracks, start=1)
    )
    lists = "".join(
        f'<NODE Type="1" Name="{name}" KeyType="{kind}" Entries="{len(keys)}">'
        + "".join(f'<TRACK Key="{key}"/>' for key in keys)
        + "</NODE>"
        for name, kind, keys in playlists
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<DJ_PLAYLISTS Version="1.0.0">'
        f'<PRODUCT Name="{product}" Version="6.8.5" Company="AlphaTheta"/>'
        f'<COLLECTION Entries="{len(tracks)}">{rows}</COLLECTION>'
        f'<PLAYLISTS><NODE Type="0" Name="ROOT" Count="1"><NODE Type="0" Name="sets" Count="1">{lists}</NODE></NODE>'
        "</PLAYLISTS></DJ_PLAYLISTS>"
    )


class TestRekordbox:
    def test_zones_come_from_playlists_then_texts_and_rows_add_up(self, tracks, tmp_path):
        url = [location_url(str(path)) for path in tracks]
        rows = [
            {"Location": url[0], "Grouping": "GREEN", "Name": "One", "Artist": "A", "AverageBpm": "128.50"},
            {"Location": url[1], "Grouping": "🟩 Green (Transition)", "Tonality": "F#m"},
            {"Location": url[2], "Comments": "/* peak / PURPLE */ nice", "Colour": "0xFFFF00"},
            {"Location": url[3], "Comments": "yelow"},
            {"Location": url[4], "Comments": "no zone of mine"},
            {"Location": url[5]},
            {"Location": "file://localhost/gone.mp3", "Grouping": "GREEN"},
            {"Name": "without location"},
        ]
        lists = [("Purple", "0", ["1"]), ("yellow", "1", [url[5]]), ("GREEN", "0", ["6"])]
        source = tmp_path / "collection.xml"
        source.write_text(rekordbox(rows, playlists=lists).replace("& c", "&amp; c"), encoding="utf-8")
        found = read_collection(source)
        zones = [row.zone for row in found.rows]
        assert zones == ["PURPLE", "GREEN", "PURPLE", "YELLOW", "", "YELLOW and GREEN", "GREEN", ""]
        manifest, report = prepare_tracks([source], root=tmp_path)
        table = {Path(row["uri"]).name: row for row in manifest.table.to_dicts()}
        assert {name: row["label"] for name, row in table.items()} == {
            "a.wav": "PURPLE",
            "b & c.wav": "GREEN",
            "d 50%.wav": "PURPLE",
            "é.wav": "YELLOW",
        }
        assert (table["a.wav"]["bpm"], table["a.wav"]["artist"], table["a.wav"]["title"]) == (
            128.5,
            "A",
            "One",
        )
        assert table["b & c.wav"]["key"] == "11A"
        assert report.layouts == {str(source): "rekordbox"}
        assert report.rejected_by_reason == {
            "unreadable row": 1,
            "empty zone": 1,
            "unknown zone": 1,
            "missing file": 1,
        }
        assert report.kept + len(report.rejected) == report.rows_read == len(rows)

    def test_colours_count_only_where_nothing_else_names_a_zone(self, tmp_path):
        coloured = [
            {"Location": "/a", "Colour": "0xFFFF00"},
            {"Location": "/b", "Colour": "0x660099"},
            {"Location": "/c", "Colour": "0xFF0000"},
            {"Location": "/d"},
        ]
        source = tmp_path / "c.xml"
        source.write_text(rekordbox(coloured), encoding="utf-8")
        assert [row.zone for row in read_rows(source).rows] == ["YELLOW", "PURPLE", "", ""]
        source.write_text(rekordbox([*coloured, {"Location": "/e", "Grouping": "green"}]), encoding="utf-8")
        assert [row.zone for row in read_rows(source).rows] == ["", "", "", "", "GREEN"]
        source.write_text(rekordbox([{"Location": "/c", "Colour": "blue"}]), encoding="utf-8")
        assert [row.zone for row in read_rows(source).rows] == [None]

    def test_our_own_libraries_hold_predictions(self, tracks, tmp_path):
        source = tmp_path / "ours.xml"
        rows = [{"Location": location_url(str(tracks[0])), "Grouping": "GREEN"}]
        source.write_text(rekordbox(rows, product="earmark"), encoding="utf-8")
        manifest, report = prepare_tracks([source], root=tmp_path)
        assert manifest.table["label_origin"].to_list() == ["pseudo"]
        assert any("1 zones are of a rule or a model" in warning for warning in report.warnings)

    def test_windows_locations_are_found_after_a_relocation(self, tracks, tmp_path):
        source = tmp_path / "pc.xml"
        location = "file://localhost/C:/Users/Me/Music/d%2050%25.wav"
        source.write_text(rekordbox([{"Location": location, "Grouping": "GREEN"}]), encoding="utf-8")
        manifest, _ = prepare_tracks(
            [source], root=tmp_path, relocate=[f"C:/Users/me/music={tracks[0].parent}"]
        )
        assert manifest.table["uri"].to_list() == [str(tracks[2])]

    def test_mix_ins_pair_with_the_next_mix_out_in_time(self, tmp_path):
        def mark(start_s, red, green, blue, num=-1):
            return (
                f'<POSITION_MARK Name="m" Type="0" Start="{start_s}" Num="{num}"'
                f' Red="{red}" Green="{green}" Blue="{blue}"/>'
            )

        green, red = (40, 226, 20), (230, 40, 40)
        cues = "".join(
            [
                mark("30.000", *green),
                mark("30.000", *green, num=0),  # the same place as a hot cue
                mark("35.5", *red),  # too near
                mark("95.250", *red),
                mark("200", *red),
                mark("400", *green),  # no mix-out within 180 s
                mark("581", *red),
                mark("10", 48, 90, 255),
                '<POSITION_MARK Name="" Type="0" Start="1.5" Num="-1"/>',
            ]
        )
        source = tmp_path / "cues.xml"
        source.write_text(rekordbox([{"Location": "/a.mp3", "Name": "A"}], cues=cues), encoding="utf-8")
        rows = cue_rows(source)
        assert [row["start_s"] for row in rows] == [1.5, 10, 30, 30, 35.5, 95.25, 200, 400, 581]
        assert [row["role"] for row in rows] == [
            *(None, None, "mix-in", "mix-in"),
            *("mix-out", "mix-out", "mix-out", "mix-in", "mix-out"),
        ]
        assert (rows[0]["colour"], rows[2]["colour"], rows[3]["kind"]) == (None, "#28E214", "hot")
        head = {"location": "/a.mp3", "title": "A", "artist": ""}
        assert transitions(source) == [head | {"mix_in_s": 30.0, "mix_out_s": 95.25, "duration_s": 65.25}]
        source.write_text(
            rekordbox([{"Location": "/a"}], cues='<POSITION_MARK Start="?"/>'), encoding="utf-8"
        )
        with pytest.raises(UsageError, match="cue that cannot be read"):
            cue_rows(source)

    @pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
    @pytest.mark.parametrize(
        "doctype",
        [
            '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
            '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
            '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>',
            '<!DOCTYPE x [<!ENTITY % p SYSTEM "file:///etc/passwd"> %p;]>',
        ],
    )
    def test_document_types_are_refused(self, doctype, encoding, tmp_path):
        text = rekordbox([{"Location": "/a", "Name": "&b;"}])
        head, body = text.replace("UTF-8", encoding).split("\n", 1)
        source = tmp_path / "bomb.xml"
        source.write_bytes(f"{head}\n{doctype}{body}".encode(encoding))
        with pytest.raises(UsageError, match="declares a document type"):
            read_rows(source)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("<?xml version='1.0'?><DJ_PLAYLISTS><COLLECTION>", "not well-formed XML"),
            ("<?xml version='1.0'?><DJ_PLAYLISTS/>", "no rekordbox library"),
            ("<?xml version='1.0'?><html/>", "root <html>, no rekordbox library"),
            ("<?xml version='1.0' encoding='none-such'?><DJ_PLAYLISTS/>", "not well-formed XML"),
            ("<DJ_PLAYLISTS><COLLECTION/></DJ_PLAYLISTS>", "holds no track"),
        ],
    )
    def test_other_documents_are_named(self, text, message, tmp_path):
        (tmp_path / "x.xml").write_text(text, encoding="utf-8")
        with pytest.raises(UsageError, match=message):
            read_rows(tmp_path / "x.xml")


def field(letters, body):
    return letters.encode() + struct.pack(">I", len(body)) + body


def text_field(letters, text):
    return field(letters, text.encode("utf-16-be"))


def serato(tracks, version="2.0/Serato Scratch LIVE Database"):
    body = b"".join(
        field(
            "otrk",
            b"".join(
                field(letters, bytes.fromhex(value)) if letters == "ulbl" else text_field(letters, value)
                for letters, value in track.items()
            )
            + field("bbgl", b"\1"),
        )
        for track in tracks
    )
    return text_field("vrsn", version) + body


TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=30)
TRACK = st.fixed_dictionaries(
    {"pfil": TEXTS.filter(bool)},
    optional={
        **dict.fromkeys(["tsng", "tart", "talb", "tgen", "tbpm", "tkey", "tlen", "tbit"], TEXTS),
        "ulbl": st.binary(min_size=4, max_size=4).map(bytes.hex),
    },
)


class TestSerato:
    @settings(deadline=None)
    @given(st.lists(TRACK, max_size=5))
    def test_what_was_written_is_read(self, tracks):
        assert database_rows(serato(tracks), "db") == tracks

    @settings(deadline=None)
    @given(st.lists(TRACK, min_size=1, max_size=3), st.data())
    def test_a_file_that_is_cut_or_changed_is_refused_or_read_but_never_breaks(self, tracks, data):
        whole = serato(tracks)
        cut = data.draw(st.integers(1, len(whole) - 1))
        at = data.draw(st.integers(0, len(whole) - 4))
        other = whole[:at] + data.draw(st.binary(min_size=4, max_size=4)) + whole[at + 4 :]
        for broken in (whole[:cut], other):
            try:
                found = parse_database(broken, Path("/db/database V2"))
            except UsageError as error:
                assert "cut off or no library of Serato" in str(error)
            else:
                assert len(found.rows) <= len(tracks) + 1

    def test_a_length_beyond_the_file_is_refused(self, tmp_path):
        source = tmp_path / "database V2"
        source.write_bytes(serato([]) + b"otrk" + struct.pack(">I", 0xFFFFFFFF) + b"x")
        with pytest.raises(UsageError, match="a field of 4294967295 bytes with 1 left"):
            read_rows(source)

    def test_colours_are_zones_and_paths_start_at_the_drive(self, tracks, tmp_path):
        at = [path.as_posix().removeprefix("/") for path in tracks]
        colours = ["00ffff99", "0099ff99", "00ddff99", "00bbff99", "00ff99ff", "00ffffff"]
        rows = [
            {"pfil": path, "ulbl": colour, "tbpm": "126.00", "tkey": "Am", "tart": "X"}
            for path, colour in zip(at, colours, strict=True)
        ]
        rows += [{"pfil": at[0], "ulbl": "00cc0000"}, {"tsng": "no path"}, {"pfil": "gone.mp3"}]
        source = tmp_path / "_Serato_" / "database V2"
        source.parent.mkdir()
        source.write_bytes(serato(rows))
        manifest, report = prepare_tracks([source], root=tmp_path)
        assert manifest.table["label"].to_list() == ["YELLOW", "GREEN", "GREEN", "GREEN", "PURPLE"]
        assert set(manifest.table["key"]) == {"8A"}
        assert report.rejected_by_reason == {"unreadable row": 1, "empty zone": 2, "unknown zone": 1}
        assert report.kept + len(report.rejected) == report.rows_read == 9
        assert [row.detail for row in report.rejected if row.reason == "unknown zone"] == ["colour #cc0000"]

        # The folder is as good as the library in it.
        assert prepare_tracks([source.parent], root=tmp_path)[1].layouts == {str(source.parent): "serato"}
        assert read_rows(source.parent, "serato").rows == read_rows(source).rows

        # On an external drive paths start at the folder that holds _Serato_.
        inside = tracks[0].relative_to(tmp_path).as_posix()
        source.write_bytes(serato([{"pfil": inside}]))
        assert read_rows(source).rows[0].path == str(tracks[0])
        assert read_rows(source).rows[0].zone is None

    def test_a_crate_lists_its_tracks(self, tmp_path):
        crate = tmp_path / "set.crate"
        crate.write_bytes(serato([{"ptrk": "m/a.mp3"}], "81.0/Serato ScratchLive Crate"))
        assert [(row.path, row.zone) for row in read_rows(crate).rows] == [("/m/a.mp3", None)]


def analysis(beats, path="/Contents/ä/a.mp3"):
    name = path.encode("utf-16-be") + b"\0\0"
    tags = struct.pack(">4sIII", b"PPTH", 16, 16 + len(name), len(name)) + name
    tags += struct.pack(">4sIIIII", b"PQTZ", 24, 24 + 8 * len(beats), 0, 0x80000, len(beats))
    tags += b"".join(struct.pack(">HHI", *beat) for beat in beats)
    return struct.pack(">4sII", b"PMAI", 28, 28 + len(tags)) + bytes(16) + tags


class TestAnalysisFiles:
    beats = tuple((k % 4 + 1, 12_850 + k, 25 + 467 * k) for k in range(9))

    def test_an_independent_reader_sees_the_same_grid(self, tmp_path):
        source = tmp_path / "ANLZ0000.DAT"
        source.write_bytes(analysis(self.beats))
        rows = read_beat_grid(source)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            anlz = pytest.importorskip("pyrekordbox.anlz")
            beats, bpms, times_s = anlz.AnlzFile.parse_file(source).get("beat_grid")
        assert [row["beat"] for row in rows] == list(beats)
        assert [row["bpm"] for row in rows] == pytest.approx(list(bpms))
        assert [row["time_s"] for row in rows] == pytest.approx(list(times_s))
        assert rows[1] == {"beat": 2, "bpm": 128.51, "time_s": 0.492}
        (row,) = read_collection(source).rows
        assert (row.path, row.zone, row.values) == ("/Contents/ä/a.mp3", None, {"bpm": "128.54"})

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda data: data[:-3], "cut off"),
            (lambda data: data[:28], "holds no beat grid"),
            (
                lambda data: data.replace(struct.pack(">I", 9) + b"\0\1", b"\x7f\xff\xff\xff\0\1"),
                "2147483647 beats",
            ),
            (lambda data: data[:28] + b"PQ", "2 bytes after the last tag"),
            (lambda data: data[:28] + b"PPTH" + bytes(12), "a tag b'PPTH' of 0 bytes"),
        ],
    )
    def test_broken_files_are_refused(self, change, message, tmp_path):
        source = tmp_path / "ANLZ0000.DAT"
        source.write_bytes(change(analysis(self.beats)))
        with pytest.raises(UsageError, match=message):
            read_beat_grid(source)


class TestPlaylists:
    @pytest.mark.parametrize("form", PLAYLIST_FORMATS)
    def test_our_playlists_come_back_as_predictions_and_others_as_labels(self, form, tracks, tmp_path):
        labels = ["YELLOW", "YELLOW", "PURPLE", "GREEN", "UNCERTAIN", "GREEN"]
        outcomes = [
            Prediction(str(path), label, 0.9, {}, {"artist": "A", "title": f"T {label}"})
            for path, label in zip(tracks, labels, strict=True)
        ]
        lists = write_playlists(outcomes, tmp_path / "lists", formats=[form], relative=True)
        manifest, report = prepare_tracks(lists, root=tmp_path)
        found = {row["uri"]: row for row in manifest.table.to_dicts()}
        assert {uri: row["label"] or "UNCERTAIN" for uri, row in found.items()} == {
            one.path: one.label for one in outcomes
        }
        assert {row["label_origin"] for row in found.values()} == {"pseudo", None}
        assert {row["artist"] for row in found.values()} == {"A"}
        assert report.rows_read == 6

        theirs = tmp_path / "lists" / f"Purple.{form}"
        theirs.write_text(
            lists[2].read_text(encoding="utf-8").replace("made by earmark", ""), encoding="utf-8"
        )
        (row,) = read_collection(theirs).rows
        assert (row.zone, row.values) == ("PURPLE", {"artist": "A", "title": "T PURPLE"})

    @pytest.mark.parametrize("form", ["m3u8", "pls"])
    def test_a_name_that_is_not_utf8_costs_our_playlist_one_row_only(self, form, tracks, tmp_path):
        names = [str(tracks[0]), os.fsdecode(b"/m/caf\xe9.mp3")]
        outcomes = [Prediction(name, "GREEN", 0.9, {}, {}) for name in names]
        (written,) = write_playlists(outcomes, tmp_path, formats=[form])
        manifest, report = prepare_tracks([written], root=tmp_path)
        assert (len(manifest), report.rejected_by_reason) == (1, {"unreadable row": 1})

    def test_one_track_in_two_zones_is_rejected_both_times(self, tracks, tmp_path):
        for name in ("PURPLE", "GREEN"):
            (tmp_path / f"{name}.m3u8").write_text(
                f"{tracks[0]}\n# gone\n\n{tracks[1].name}\n", encoding="utf-8"
            )
        with pytest.raises(UsageError, match="same audio with two zones 2, missing file 2"):
            prepare_tracks([tmp_path / "PURPLE.m3u8", tmp_path / "GREEN.m3u8"], root=tmp_path)

    def test_an_old_m3u_in_the_encoding_of_windows(self, tmp_path):
        data = "#EXTM3U\r\n#EXTINF:123,Bj\xf6rk - Hyper\r\nC:\\Music\\Bj\xf6rk.mp3\r\n".encode("cp1252")
        (tmp_path / "set.m3u").write_bytes(data)
        (row,) = read_rows(tmp_path / "set.m3u").rows
        assert (row.number, row.path, row.zone) == (3, "C:\\Music\\Björk.mp3", None)
        assert row.values == {"artist": "Björk", "title": "Hyper"}
        (tmp_path / "set.m3u8").write_bytes(data)
        with pytest.raises(UsageError, match="is not utf-8 text"):
            read_rows(tmp_path / "set.m3u8")


class TestTags:
    @pytest.fixture
    def tagged(self, tracks):
        pytest.importorskip("mutagen")
        from mutagen.id3 import COMM, TBPM, TCON, TIT1, TKEY, TPE1, TXXX
        from mutagen.wave import WAVE

        frames = [
            [TXXX(desc="ENERGYZONE", text="2"), TBPM(text="128"), TPE1(text="A"), TCON(text="House")],
            [TIT1(text="🟨 Yellow (Rest)"), TBPM(text="20"), TKEY(text="Dbm")],
            [COMM(lang="eng", desc="", text="green")],
            [
                TXXX(desc="ENERGYZONE", text="GREEN"),
                COMM(desc="earmark", text="🟩 GREEN 80% model [earmark]"),
            ],
            [
                TXXX(desc="ENERGYZONE", text="PURPLE"),
                COMM(desc="earmark", text="🟩 GREEN 80% model [earmark]"),
            ],
        ]
        for path, of in zip(tracks, frames, strict=False):
            file = WAVE(path)
            file.add_tags()
            for frame in of:
                file.tags.add(frame)
            file.save()
        return tracks

    def test_a_folder_by_its_tags(self, tagged, tmp_path):
        (tagged[0].parent / "broken.wav").write_bytes(b"RIFF")
        manifest, report = prepare_tracks([tagged[0].parent], root=tmp_path, kind="tags")
        rows = {Path(row["uri"]).name: row for row in manifest.table.to_dicts()}
        assert {name: (row["label"], row["label_origin"]) for name, row in rows.items()} == {
            "a.wav": ("PURPLE", "listener"),
            "b & c.wav": ("YELLOW", "listener"),
            "d 50%.wav": ("GREEN", "listener"),
            "é.wav": ("GREEN", "pseudo"),
            "𝄞.wav": ("PURPLE", "listener"),  # corrected by hand since
        }
        first, second = rows["a.wav"], rows["b & c.wav"]
        assert (first["bpm"], first["artist"], first["genre"]) == (128.0, "A", "House")
        assert (second["bpm"], second["key"]) == (None, "12A")
        assert report.rejected_by_reason == {"unreadable row": 1, "empty zone": 1}
        assert report.rows_read == 7

    def test_without_mutagen_the_error_says_what_to_install(self, tracks, monkeypatch):
        monkeypatch.setitem(sys.modules, "mutagen", None)
        with pytest.raises(MissingExtraError, match=r"earmark\[dj\]"):
            read_rows(tracks[0].parent, "tags")


def test_the_user_may_say_what_a_file_is_but_the_content_must_agree(tracks, tmp_path):
    source = tmp_path / "labels.txt"
    source.write_text(f"{tracks[0]}\tGREEN\n", encoding="utf-8")
    assert read_collection(source) is None
    assert read_rows(source).layout == "A"
    with pytest.raises(UsageError, match="no known collection; expected serato"):
        read_rows(source, "serato")
    with pytest.raises(UsageError, match=f"'traktor'; expected one of {', '.join(KINDS)}"):
        read_rows(source, "traktor")
    with pytest.raises(UsageError, match="is no folder with tracks"):
        prepare_tracks([source], root=tmp_path, kind="tags")
    with pytest.raises(UsageError, match="cannot be read"):
        prepare_tracks([tmp_path], root=tmp_path, kind="serato")


def test_differences_between_a_table_and_a_collection(tmp_path):
    (tmp_path / "old.txt").write_text("/m/a b.mp3\tGREEN\n/m/c.mp3\tYELLOW\n", encoding="utf-8")
    (tmp_path / "new.xml").write_text(
        rekordbox([{"Location": "file://localhost/m/a%20b.mp3", "Grouping": "PURPLE"}]), encoding="utf-8"
    )
    found = diff_labels(tmp_path / "old.txt", tmp_path / "new.xml")
    assert found.relabelled == (("/m/a b.mp3", "GREEN", "PURPLE"),)
    assert found.removed == (("/m/c.mp3", "YELLOW"),)


def test_all_keys_lie_on_the_wheel_once():
    notes = ["C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"]
    minor, major = ({camelot_of_tonality(note + mode) for note in notes} for mode in ("m", ""))
    assert minor == {f"{n}A" for n in range(1, 13)}
    assert major == {f"{n}B" for n in range(1, 13)}
    # A fifth up is one step on; the relative minor has the same number.
    assert [camelot_of_tonality(key) for key in ("C", "G", "D", "Am", "Em")] == [
        "8B",
        "9B",
        "10B",
        "8A",
        "9A",
    ]
