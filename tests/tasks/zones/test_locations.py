"""Locations as label files write them."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import UsageError
from earmark.tasks.zones.locations import is_remote, parse_relocations, resolve

BASE = Path("/labels")


@pytest.mark.parametrize(
    ("location", "expected"),
    [
        ("audio/a.ogg", "/labels/audio/a.ogg"),
        ("../a.ogg", "/a.ogg"),
        ("audio\\a.ogg", "/labels/audio/a.ogg"),
        (" /m/a b.mp3 ", "/m/a b.mp3"),
        ("/m//x/./a.mp3", "/m/x/a.mp3"),
        ("file://localhost/m/a%20b%26c.mp3", "/m/a b&c.mp3"),
        ("file:///m/%C3%A9.mp3", "/m/é.mp3"),
        ("FILE://localhost/m/100%25.mp3", "/m/100%.mp3"),
        ("file://localhost/C:/Music/a%20b.mp3", "C:/Music/a b.mp3"),
        ("C:\\Music\\a.mp3", "C:/Music/a.mp3"),
        ("s3://bucket/a b.wav", "s3://bucket/a b.wav"),
        ("/m/100%25.mp3", "/m/100%25.mp3"),
        ("~nobody-of-this-name/a.mp3", "/labels/~nobody-of-this-name/a.mp3"),
    ],
)
def test_locations_become_paths(location: str, expected: str) -> None:
    assert resolve(location, BASE) == expected


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/dj")
    assert resolve("~/Music/a.mp3", BASE) == "/home/dj/Music/a.mp3"


@pytest.mark.parametrize(
    ("relocate", "location", "expected"),
    [
        ("C:/Music=/mnt/music", "C:\\Music\\x\\a.mp3", "/mnt/music/x/a.mp3"),
        ("C:\\Music\\=/mnt/music/", "file://localhost/c:/music/a.mp3", "/mnt/music/a.mp3"),
        ("/Volumes/DJ=/mnt/dj", "/Volumes/DJ/a.mp3", "/mnt/dj/a.mp3"),
        ("/Volumes/DJ=/mnt/dj", "/Volumes/DJ2/a.mp3", "/Volumes/DJ2/a.mp3"),
        ("/Volumes/DJ=/mnt/dj", "/volumes/dj/a.mp3", "/volumes/dj/a.mp3"),
        ("C:/=/mnt/c", "C:/a.mp3", "/mnt/c/a.mp3"),
        ("/m=s3://bucket", "/m/a.mp3", "s3://bucket/a.mp3"),
    ],
)
def test_moved_collections_are_found(relocate: str, location: str, expected: str) -> None:
    assert resolve(location, BASE, parse_relocations([relocate])) == expected


def test_the_longest_relocation_wins() -> None:
    moves = parse_relocations(["/m=/a", "/m/techno=/b"])
    assert resolve("/m/techno/x.mp3", BASE, moves) == "/b/x.mp3"
    assert resolve("/m/house/x.mp3", BASE, moves) == "/a/house/x.mp3"


def test_bad_relocations_are_named_together() -> None:
    with pytest.raises(UsageError, match="'C:/Music', '=/x'"):
        parse_relocations(["C:/Music", "/a=/b", "=/x"])


def test_a_decomposed_file_name_is_found(tmp_path: Path) -> None:
    composed = unicodedata.normalize("NFC", "é.mp3")
    decomposed = unicodedata.normalize("NFD", "é.mp3")
    (tmp_path / decomposed).touch()
    assert resolve(composed, tmp_path) == str(tmp_path / decomposed)


def test_remote_uris() -> None:
    assert is_remote("s3://b/k")
    assert not is_remote("/m/a.mp3")
    assert not is_remote("C:/Music/a.mp3")


@given(st.text(st.characters(blacklist_characters="\0", blacklist_categories=("Cs",)), min_size=1))
def test_any_text_resolves(location: str) -> None:
    assert resolve(location, BASE)
