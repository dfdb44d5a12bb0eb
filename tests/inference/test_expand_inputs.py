"""Sources of every kind become inputs, once each, in order; what leads nowhere is said and skipped."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from earmark.inference.inputs import expand_inputs
from earmark.inference.prediction import Failed


@pytest.fixture
def music(tmp_path, monkeypatch):
    """A folder of files that look like audio by their names."""
    for name in [
        "b.mp3",
        "a.FLAC",
        "cover.jpg",
        "._a.FLAC",
        "deep/c.ogg",
        "deep/er/d.m4a",
        ".trash/e.mp3",
        "über 'q'.wav",
    ]:
        path = tmp_path / "music" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    monkeypatch.chdir(tmp_path)
    return Path("music")


def names(inputs):
    assert not any(isinstance(one, Failed) for one in inputs), inputs
    return [str(Path(one).relative_to("music")) for one in inputs]


def test_a_folder_gives_its_audio_files_at_any_depth_sorted(music):
    assert names(expand_inputs([music])) == [
        "a.FLAC",
        "b.mp3",
        "deep/c.ogg",
        "deep/er/d.m4a",
        "über 'q'.wav",
    ]


def test_a_named_file_is_taken_whatever_its_suffix(music):
    assert names(expand_inputs(["music/cover.jpg"])) == ["cover.jpg"]


def test_a_pattern_gives_what_matches_sorted(music):
    assert names(expand_inputs(["music/*.[mF]*"])) == ["a.FLAC", "b.mp3"]
    assert names(expand_inputs(["music/**/*.m4a"])) == ["deep/er/d.m4a"]
    assert names(expand_inputs([f"{music}/dee*"])) == ["deep/c.ogg", "deep/er/d.m4a"]


def test_a_file_whose_name_looks_like_a_pattern_is_a_file(music):
    (music / "live [2019].mp3").write_bytes(b"x")
    assert names(expand_inputs(["music/live [2019].mp3"])) == ["live [2019].mp3"]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("suffix", [".m3u8", ".txt", ".M3U"])
def test_a_list_names_sources_relative_to_itself(music, encoding, suffix):
    path = music / f"set{suffix}"
    absolute = (music / "b.mp3").resolve()
    path.write_text(
        f"#EXTM3U\n#EXTINF:12,x\nüber 'q'.wav\r\n\n{absolute}\ndeep\ns3://bucket/z.wav\n", encoding=encoding
    )
    assert list(expand_inputs([path])) == [
        "music/über 'q'.wav",
        str(absolute),
        "music/deep/c.ogg",
        "music/deep/er/d.m4a",
        "s3://bucket/z.wav",
    ]


def test_the_same_file_is_taken_once_where_it_is_first_named(music):
    (music / "link.mp3").symlink_to((music / "b.mp3").resolve())
    found = expand_inputs(
        ["music/b.mp3", "./music/b.mp3", "music/link.mp3", (music / "b.mp3").resolve(), music]
    )
    assert names(found) == ["b.mp3", "a.FLAC", "deep/c.ogg", "deep/er/d.m4a", "über 'q'.wav"]


def test_uris_are_passed_on_without_a_look(music):
    assert expand_inputs(["s3://b/[x].wav", "memory://y", "s3://b/[x].wav"]).uris == [
        "s3://b/[x].wav",
        "memory://y",
    ]


def test_what_leads_nowhere_fails_in_its_place_and_the_rest_goes_on(music):
    (music / "empty.txt").write_text("# nothing\n")
    (music / "list.txt").write_text("empty.txt\ngone.mp3\nb.mp3\n")
    (music / "broken.m3u8").write_bytes(b"\xff\xfe\x00")
    (music / "dangling.mp3").symlink_to("nowhere.mp3")
    (music / "void").mkdir()
    sources = [
        "nope.mp3",
        "no/such/x.mp3",
        "music/b.mp3",
        "music/*.nothing",
        "music/empty.txt",
        "music/broken.m3u8",
        "music/dangling.mp3",
        "music/void",
        "music/list.txt",
    ]
    found = expand_inputs(sources).entries
    words = [
        "`nope.mp3` does not exist",
        "The folder `no/such` does not exist either",
        None,
        "matches nothing",
        "names no inputs",
        "cannot be read as a list",
        "a link to something that is gone",
        "holds no audio file",
    ]
    for one, word in zip(found, words, strict=False):
        assert (one == "music/b.mp3") if word is None else (isinstance(one, Failed) and word in one.error), (
            one
        )
    assert len(expand_inputs(sources).failures) == len(found) - 1
    # The list in the list was named before and failed there, b.mp3 was taken before: only gone.mp3 is new.
    assert [one.path for one in found[8:]] == ["music/gone.mp3"]


def test_a_list_within_a_list_is_refused(music):
    (music / "inner.txt").write_text("b.mp3\n")
    (music / "outer.txt").write_text("inner.txt\n")
    [only] = expand_inputs(["music/outer.txt"])
    assert "a list named in a list" in only.error


def test_links_to_a_parent_folder_end(music):
    (music / "deep" / "loop").symlink_to(music.resolve(), target_is_directory=True)
    assert len(expand_inputs([music])) == 5


def test_a_pipe_with_the_name_of_audio_is_never_waited_for(music):
    before = list(expand_inputs([music]))
    os.mkfifo(music / "pipe.wav")
    assert list(expand_inputs([music])) == before
    [only] = expand_inputs(["music/pipe.wav"])
    assert "no file but a pipe" in only.error


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_an_unreadable_folder_is_named(music):
    (music / "deep").chmod(0)
    try:
        found = expand_inputs([music])
    finally:
        (music / "deep").chmod(0o755)
    assert any(isinstance(one, Failed) and "cannot be read" in one.error for one in found)
    assert len(found) == 4


def test_no_sources_are_no_inputs():
    assert len(expand_inputs([])) == 0
