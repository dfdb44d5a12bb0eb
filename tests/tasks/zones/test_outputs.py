"""Files for DJs, read back by independent parsers: csv, json, configparser, ElementTree."""

from __future__ import annotations

import configparser
import csv
import io
import json
import resource
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import UsageError
from earmark.inference.inputs import expand_inputs
from earmark.inference.prediction import Failed, Prediction
from earmark.tasks.zones import outputs
from earmark.tasks.zones.outputs import (
    CSV_COLUMNS,
    PLAYLIST_FORMATS,
    to_csv,
    to_json,
    to_json_lines,
    write_playlists,
    zone_document,
)

XSPF = "{http://xspf.org/ns/0/}"


def prediction(path, zone="PURPLE", confidence=0.8123, **extras):
    rest = (1 - confidence) / 2
    probabilities = {name: confidence if name == zone else rest for name in ("YELLOW", "GREEN", "PURPLE")}
    return Prediction(path, zone, confidence, probabilities, extras)


OUTCOMES = (
    prediction("/music/b, \"c\".mp3", "PURPLE", tempo_bpm=128.04, method="model", title="B", artist="Ä & <Ö>",
               duration_s=181.6),
    prediction("/music/a.flac", "YELLOW", tempo_bpm=None),
    Failed("/music/broken.ogg", "`broken.ogg` is empty; expected audio. Remove it."),
    prediction("/music/#1 hit.wav", "PURPLE", 0.5),
    prediction("s3://bucket/x y.mp3", "GREEN"),
    prediction("/music/maybe.mp3", "UNCERTAIN", 0.34),
)  # fmt: skip


def read_m3u8(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert lines[0] == "#EXTM3U"
    info, tracks = None, []
    for line in lines[1:]:
        if line.startswith("#EXTINF:"):
            info = line[8:].partition(",")
        elif not line.startswith("#"):
            tracks.append((line, info[2], int(info[0])))
    return tracks


def read_pls(path):
    parser = configparser.ConfigParser(interpolation=None, comment_prefixes=(";",), delimiters=("=",))
    parser.read_string(path.read_text(encoding="utf-8"))
    section = parser["playlist"]
    assert section["Version"] == "2"
    numbers = range(1, int(section["NumberOfEntries"]) + 1)
    return [(section[f"File{n}"], section[f"Title{n}"], int(section[f"Length{n}"])) for n in numbers]


def read_xspf(path):
    root = ElementTree.parse(path).getroot()
    assert root.tag == f"{XSPF}playlist" and root.attrib["version"] == "1"
    tracks = []
    for track in root.iter(f"{XSPF}track"):
        get = {child.tag.removeprefix(XSPF): child.text for child in track}
        tracks.append((get["location"], get["title"], get.get("creator"), get.get("duration")))
    return tracks


def local(uri):
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme in ("file", "") else uri


def test_csv_has_the_promised_header_and_a_row_per_input():
    rows = list(csv.DictReader(io.StringIO(to_csv(OUTCOMES))))
    assert list(rows[0]) == [*CSV_COLUMNS, "Error"]
    assert CSV_COLUMNS == ("File", "Path", "Zone", "Confidence", "Tempo (BPM)")
    assert rows[0] == {
        "File": 'b, "c".mp3', "Path": '/music/b, "c".mp3', "Zone": "PURPLE", "Confidence": "0.812",
        "Tempo (BPM)": "128.0", "Error": "",
    }  # fmt: skip
    assert rows[1]["Tempo (BPM)"] == "" and rows[5]["Zone"] == "UNCERTAIN"
    assert rows[2]["Zone"] == "" and rows[2]["Error"].startswith("`broken.ogg` is empty")
    assert [row["Path"] for row in rows] == [one.path for one in OUTCOMES]


def test_csv_without_failures_has_just_the_promised_columns():
    text = to_csv([one for one in OUTCOMES if isinstance(one, Prediction)])
    assert text.splitlines()[0] == "File,Path,Zone,Confidence,Tempo (BPM)"
    assert to_csv([]).splitlines() == ["File,Path,Zone,Confidence,Tempo (BPM)"]


def test_json_is_an_array_with_the_promised_keys():
    documents = json.loads(to_json(OUTCOMES), parse_constant=pytest.fail)
    assert len(documents) == len(OUTCOMES)
    first = documents[0]
    assert list(first)[:6] == ["path", "label", "confidence", "probabilities", "zone", "zone_id"]
    assert (first["zone"], first["zone_id"], first["tempo_bpm"]) == ("PURPLE", 2, 128.04)
    assert list(first["probabilities"]) == ["YELLOW", "GREEN", "PURPLE"]
    assert documents[2] == {"path": "/music/broken.ogg", "error": OUTCOMES[2].error}
    assert (documents[5]["zone"], documents[5]["zone_id"]) == ("UNCERTAIN", None)
    assert json.loads(to_json([])) == []


def test_json_lines_hold_one_object_each():
    lines = to_json_lines(OUTCOMES).splitlines()
    assert [json.loads(line) for line in lines] == [zone_document(one) for one in OUTCOMES]
    assert to_json_lines([]) == ""


def test_a_playlist_per_zone_and_format_in_class_order(tmp_path):
    written = write_playlists(OUTCOMES, tmp_path / "lists", formats=PLAYLIST_FORMATS)
    assert [path.name for path in written] == [
        f"{zone}.{form}" for zone in ("YELLOW", "GREEN", "PURPLE", "UNCERTAIN") for form in PLAYLIST_FORMATS
    ]
    assert sorted(path.name for path in (tmp_path / "lists").iterdir()) == sorted(
        path.name for path in written
    )


def test_playlists_read_back_with_titles_and_durations(tmp_path):
    write_playlists(OUTCOMES, tmp_path, formats=PLAYLIST_FORMATS)
    expected = [('/music/b, "c".mp3', "Ä & <Ö> - B", 182), ("/music/#1 hit.wav", "#1 hit", -1)]
    assert read_m3u8(tmp_path / "PURPLE.m3u8") == expected
    assert read_pls(tmp_path / "PURPLE.pls") == expected
    found = read_xspf(tmp_path / "PURPLE.xspf")
    assert [local(track[0]) for track in found] == [one[0] for one in expected]
    assert found[0][1:] == ("B", "Ä & <Ö>", "181600") and found[1][1:] == ("#1 hit", None, None)


def test_uris_stay_as_they_are(tmp_path):
    write_playlists(OUTCOMES, tmp_path, formats=PLAYLIST_FORMATS, relative=True)
    assert read_m3u8(tmp_path / "GREEN.m3u8")[0][0] == "s3://bucket/x y.mp3"
    assert read_pls(tmp_path / "GREEN.pls")[0][0] == "s3://bucket/x y.mp3"
    assert read_xspf(tmp_path / "GREEN.xspf")[0][0] == "s3://bucket/x y.mp3"


def test_relative_paths_lead_from_the_list_to_the_file(tmp_path, monkeypatch):
    music = tmp_path / "music"
    music.mkdir()
    (music / "#ä.mp3").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    for folder, formats in (("music", ("m3u8",)), ("lists/deep", PLAYLIST_FORMATS)):
        paths = write_playlists([prediction("music/#ä.mp3")], folder, formats=formats, relative=True)
        [track] = read_m3u8(paths[0])
        assert not Path(track[0]).is_absolute()
        assert (paths[0].parent / track[0]).resolve() == (music / "#ä.mp3").resolve()
    assert (Path("lists/deep") / local(read_xspf(paths[2])[0][0])).exists()


def test_a_written_list_can_be_predicted_again(tmp_path):
    track = tmp_path / "ö #1.mp3"
    track.write_bytes(b"x")
    [path] = write_playlists([prediction(str(track))], tmp_path)
    assert expand_inputs([path]).uris == [str(track)]


def test_a_list_of_an_earlier_run_is_replaced_and_emptied_when_its_zone_is_empty(tmp_path):
    write_playlists([prediction("/a.mp3", "PURPLE")], tmp_path)
    written = write_playlists([prediction("/a.mp3", "GREEN")], tmp_path)
    assert [path.name for path in written] == ["GREEN.m3u8", "PURPLE.m3u8"]
    assert read_m3u8(tmp_path / "PURPLE.m3u8") == []
    assert read_m3u8(tmp_path / "GREEN.m3u8")[0][0] == "/a.mp3"


def test_a_foreign_file_is_never_overwritten_without_force(tmp_path):
    foreign = tmp_path / "PURPLE.m3u8"
    foreign.write_text("#EXTM3U\n/my/own.mp3\n")
    with pytest.raises(UsageError, match=r"PURPLE\.m3u8.*not written by earmark.*--force"):
        write_playlists(OUTCOMES, tmp_path)
    assert foreign.read_text() == "#EXTM3U\n/my/own.mp3\n"
    assert [path.name for path in tmp_path.iterdir()] == ["PURPLE.m3u8"]
    write_playlists(OUTCOMES, tmp_path, force=True)
    assert len(read_m3u8(foreign)) == 2


@contextmanager
def full_disk():
    """Files of this process may hold 64 bytes; only as long as needed, since the test run may write a file as well."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_nothing_is_left_half_written(tmp_path):
    write_playlists([prediction("/a.mp3")], tmp_path)
    before = (tmp_path / "PURPLE.m3u8").read_bytes()
    with full_disk(), pytest.raises(OSError, match="File too large"):
        write_playlists([prediction(f"/{i}.mp3") for i in range(9)], tmp_path)
    assert (tmp_path / "PURPLE.m3u8").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["PURPLE.m3u8"]


def test_an_unknown_format_is_named(tmp_path):
    with pytest.raises(UsageError, match="no playlist format wpl; expected some of m3u8, pls, xspf"):
        write_playlists(OUTCOMES, tmp_path, formats=("m3u8", "wpl"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["m3u8", "pls"])
def test_a_path_with_a_line_break_is_refused_where_it_would_be_split(tmp_path, form):
    with pytest.raises(UsageError, match="holds a line break"):
        write_playlists([prediction("/a\nb.mp3")], tmp_path, formats=(form,))
    [path] = write_playlists([prediction("/a\nb.mp3")], tmp_path, formats=("xspf",))
    assert local(read_xspf(path)[0][0]) == "/a\nb.mp3"


def test_a_title_with_line_breaks_stays_one_line(tmp_path):
    write_playlists([prediction("/a.mp3", title="one\ntwo\r\nFile2=x")], tmp_path, formats=("m3u8", "pls"))
    assert read_m3u8(tmp_path / "PURPLE.m3u8") == [("/a.mp3", "one two File2=x", -1)]
    assert read_pls(tmp_path / "PURPLE.pls") == [("/a.mp3", "one two File2=x", -1)]


def test_no_predictions_make_no_lists(tmp_path):
    assert write_playlists([OUTCOMES[2]], tmp_path / "lists") == ()


NAMES = st.text(
    st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp"), blacklist_characters="/\x85"),
    min_size=1,
    max_size=12,
).filter(lambda name: name.strip() == name and name not in (".", ".."))


@settings(max_examples=60, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=4))
def test_any_file_name_survives_every_format(tmp_path_factory, names):
    folder = tmp_path_factory.mktemp("any")
    outcomes = [prediction(f"/m/{name}.mp3") for name in names]
    write_playlists(outcomes, folder, formats=PLAYLIST_FORMATS)
    paths = [one.path for one in outcomes]
    assert [track[0] for track in read_m3u8(folder / "PURPLE.m3u8")] == paths
    assert [track[0] for track in read_pls(folder / "PURPLE.pls")] == paths
    assert [local(track[0]) for track in read_xspf(folder / "PURPLE.xspf")] == paths
    assert [row["Path"] for row in csv.DictReader(io.StringIO(to_csv(outcomes)))] == paths


def test_every_format_has_a_writer():
    assert set(outputs._WRITERS) == set(PLAYLIST_FORMATS)


def test_a_document_warns_of_a_track_without_a_beat_and_leaves_the_sub_zone_open():
    probabilities = {"YELLOW": 0.7, "GREEN": 0.2, "PURPLE": 0.1}
    silent = zone_document(Prediction("a.wav", "YELLOW", 0.7, probabilities, {"tempo_bpm": 0.0}))
    steady = zone_document(Prediction("b.wav", "YELLOW", 0.7, probabilities, {"tempo_bpm": 128.0}))
    assert silent["warnings"] == ["no beat was found: the track has no pulse"]
    assert steady["warnings"] == []
    assert silent["sub_zone"] is None
