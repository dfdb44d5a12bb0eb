"""The rekordbox library that earmark writes, as an independent reader sees it."""

from __future__ import annotations

import shutil
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from earmark.errors import UsageError
from earmark.inference.prediction import Failed, Prediction
from earmark.tasks.project import Project
from earmark.tasks.verbs.predict import predict
from earmark.tasks.zones.cues import track_cues
from earmark.tasks.zones.demo import generate_demo
from earmark.tasks.zones.labels import ZONES
from earmark.tasks.zones.library.rekordbox import MAX_MEMORY_CUES, location_url, write_library
from earmark.tasks.zones.library.rekordbox_xml import cue_rows, transitions

NAMES = ["plain.flac", "50 % & ümläut #1?.flac", '𝄞 e\u0301 (a+b)\'s "mix".flac', "tab\there.flac"]


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Project, outcomes and tracks: demo tracks under awkward names, one with tags, and an input that failed."""
    pytest.importorskip("mutagen")
    from mutagen.flac import FLAC

    folder = tmp_path_factory.mktemp("müsic lib")
    demo = generate_demo(folder / "demo", len(NAMES), duration_s=45)
    paths = []
    for name, track in zip(NAMES, demo.tracks, strict=True):
        shutil.copy(track, folder / name)
        paths.append(folder / name)
    tagged = FLAC(paths[1])
    tagged.update(
        title="Title <1> & \x07 \U0001f39b",
        artist="Ä \ud83d".encode("utf-8", "replace").decode(),
        album="A\nB",
    )
    tagged.update(genre="House", initialkey="F#m", comment="opener", grouping="Friday, second hour")
    tagged.save()
    project = Project.open("zones", tmp_path_factory.mktemp("project"))
    outcomes = predict(project, [str(path) for path in paths], method="rules").outcomes
    return project, [*outcomes, Failed("gone.mp3", "it is gone")], paths


@pytest.fixture
def reader():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = pytest.importorskip("pyrekordbox.rbxml")
    return module.RekordboxXml


def test_an_independent_reader_finds_tracks_grids_cues_and_playlists(library, reader, tmp_path):
    project, outcomes, paths = library
    path = write_library(project, outcomes, tmp_path / "new" / "library.xml")
    found = reader(path)
    cues = track_cues(project, [str(one) for one in paths])
    assert found.num_tracks == len(paths)
    for number, (one, outcome) in enumerate(zip(paths, outcomes, strict=False), start=1):
        track = found.get_track(TrackID=number)
        assert f"/{track.Location}" == str(one)
        assert track.Size == one.stat().st_size
        assert track.TotalTime in range(43, 48)
        assert (track.Kind, track.SampleRate) == ("FLAC File", 22_050)
        assert outcome.label in track.Comments
        of = cues[str(one)]
        assert track.AverageBpm == pytest.approx(of.grid.bpm, abs=0.005)
        assert [tempo.Inizio for tempo in track.tempos] == pytest.approx(
            [segment.start_s for segment in of.grid.segments], abs=5e-4
        )
        hot = {mark.Num: mark for mark in track.marks if mark.Num >= 0}
        assert [hot[num].Start for num in range(len(of.drops))] == pytest.approx(
            [drop.time_s for drop in of.drops], abs=5e-4
        )
        memory = [mark for mark in track.marks if mark.Num == -1]
        assert {mark.Name for mark in memory} >= {f"Drop {n}" for n in range(1, len(of.drops) + 1)}
        assert len(memory) <= MAX_MEMORY_CUES
    assert sum(len(found.get_track(TrackID=n).marks) for n in range(1, 5)) > 4

    folder = found.get_playlist("earmark")
    lists = {node.name: node.get_tracks() for node in folder.get_playlists()}
    zones = [one.label for one in outcomes if isinstance(one, Prediction)]
    assert set(lists) >= {"YELLOW", "GREEN", "PURPLE"}
    assert lists == {name: [i for i, zone in enumerate(zones, 1) if zone == name] for name in lists}
    assert all(node.entries == len(node.get_tracks()) for node in folder.get_playlists())
    assert folder.count == len(lists)


def test_tags_become_attributes_on_one_line_without_control_characters(library, reader, tmp_path):
    project, outcomes, _ = library
    tracks = reader(write_library(project, outcomes, tmp_path / "library.xml"))
    track, plain = tracks.get_track(TrackID=2), tracks.get_track(TrackID=1)
    assert (track.Name, track.Artist) == ("Title <1> & \U0001f39b", "Ä ?")
    assert (track.Album, track.Genre, track.Tonality) == ("A B", "House", "11A")
    assert track.Comments.startswith("opener | ")
    assert plain.Name == "plain"
    # An import replaces the grouping: the DJ's own is kept, and the zone stands where there is none.
    assert track.Grouping == "Friday, second hour"
    assert plain.Grouping in {zone.display_name for zone in ZONES}


def test_without_mutagen_the_file_name_is_the_title(library, reader, tmp_path, monkeypatch):
    project, outcomes, _ = library
    monkeypatch.setitem(sys.modules, "mutagen", None)
    track = reader(write_library(project, outcomes, tmp_path / "library.xml")).get_track(TrackID=2)
    assert (track.Name, track.get("Artist")) == ("50 % & ümläut #1?", None)


def test_same_predictions_give_the_same_bytes_and_no_foreign_file_is_replaced(library, tmp_path):
    project, outcomes, _ = library
    path = write_library(project, outcomes, tmp_path / "library.xml")
    before = path.read_bytes()
    urls = [replace(one, path=Path(one.path).as_uri()) for one in outcomes if isinstance(one, Prediction)]
    assert write_library(project, [*outcomes, *outcomes, *urls], path).read_bytes() == before
    foreign = before.replace(b'<PRODUCT Name="earmark"', b'<PRODUCT Name="rekordbox"')
    path.write_bytes(foreign)
    with pytest.raises(UsageError, match="not written by earmark.*--force"):
        write_library(project, outcomes, path)
    assert path.read_bytes() == foreign
    assert write_library(project, outcomes, path, force=True).read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["library.xml"]


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        ([Failed("a.mp3", "gone")], "none of 1 inputs has a prediction"),
        ([Prediction("s3://bucket/a.mp3", "GREEN", 0.9, {})], "no files on this machine: s3://bucket/a.mp3"),
    ],
)
def test_what_rekordbox_cannot_play_is_refused_before_anything_is_written(outcomes, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        write_library(Project.open("zones", tmp_path), outcomes, tmp_path / "library.xml")
    assert not (tmp_path / "library.xml").exists()


def test_our_cues_are_orange_and_so_no_transition(library, tmp_path):
    project, outcomes, paths = library
    path = write_library(project, outcomes, tmp_path / "library.xml")
    cues = cue_rows(path)
    assert {cue["colour"] for cue in cues} == {"#E0641B"}
    assert {cue["location"] for cue in cues} <= {location_url(str(one)) for one in paths}
    assert transitions(path) == []


def test_locations_are_whole_urls(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert location_url("a b.mp3") == f"file://localhost{Path.cwd().as_posix()}/a%20b.mp3"
    assert location_url("/m/\udcff.mp3") == "file://localhost/m/%FF.mp3"


def test_what_a_track_lacks_is_told_and_an_undecided_one_has_no_confidence(library, tmp_path, caplog):
    import soundfile

    project, outcomes, paths = library
    short, bad = tmp_path / "short.wav", tmp_path / "tags.wav"
    soundfile.write(short, [0.1] * 22_050, 22_050)
    soundfile.write(bad, soundfile.read(paths[0])[0], 22_050)
    data = (
        bad.read_bytes() + b"id3 " + (20).to_bytes(4, "little") + b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(10)
    )
    bad.write_bytes(data[:4] + (len(data) - 8).to_bytes(4, "little") + data[8:])
    uncertain = replace(outcomes[0], path=str(short), label="UNCERTAIN")
    write_library(project, [replace(outcomes[1], path=str(bad)), uncertain], tmp_path / "x.xml")
    assert "1 of the collection's tracks have no cues" in caplog.text and "short.wav" in caplog.text
    assert (
        "1 of the collection's tracks are named by their files" in caplog.text and "tags.wav" in caplog.text
    )
    assert "Uncertain" not in (tmp_path / "x.xml").read_text("utf-8").partition("<PLAYLISTS>")[0]
    assert 'Comments="UNCERTAIN (' in (tmp_path / "x.xml").read_text("utf-8")
