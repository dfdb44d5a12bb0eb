"""Fetching against a real HTTP server: resumed, verified, unpacked without leaving the folder, counted."""

from __future__ import annotations

import hashlib
import http.server
import io
import json
import shlex
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile
from meter_sets import music, wikimeter_catalogue, write_list

from earmark.errors import InputError, UsageError
from earmark.tasks.meter.datasets.ballroom import LIST_FILE
from earmark.tasks.meter.datasets.download import BALLROOM_ARCHIVE, FetchOptions, get
from earmark.tasks.meter.datasets.meter2800 import ARCHIVES
from earmark.tasks.meter.datasets.transfer import RemoteFile, checksum, extract_audio, fetch


class Site(http.server.ThreadingHTTPServer):
    """Files by path; `log` holds (path, first byte asked for). Paths in `breaks` end early once, `fails` refuse."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, bytes] = {}
        self.log: list[tuple[str, int]] = []
        self.breaks: set[str] = set()
        self.fails: dict[str, list[int]] = {}
        self.ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answer(http.server.BaseHTTPRequestHandler):
    server: Site

    def do_GET(self) -> None:
        path, site = self.path, self.server
        asked = self.headers.get("Range")
        start = int(asked[6:].rstrip("-")) if asked and site.ranges else 0
        site.log.append((path, start))
        content = site.files.get(path)
        code = site.fails[path].pop(0) if site.fails.get(path) else 404 if content is None else 0
        if content is not None and not code and start >= len(content) and start:
            code = 416
        if code:
            self.send_error(code)
            return
        assert content is not None
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        rest = content[start:]
        if path in site.breaks:
            site.breaks.discard(path)
            rest = rest[: len(rest) // 3]
        self.wfile.write(rest)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing to the test's output."""


@pytest.fixture
def site() -> Iterator[Site]:
    server = Site()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


CONTENT = bytes(range(256)) * 4000
MD5 = "md5:" + hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()


def test_a_download_that_breaks_off_goes_on_where_it_ended(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT
    site.breaks.add("/a.bin")
    file = RemoteFile("a.bin", f"{site.url}/a.bin", MD5, len(CONTENT))
    assert fetch(file, tmp_path, pause_s=0.01)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [start for _, start in site.log] == [0, len(CONTENT) // 3]
    assert not fetch(file, tmp_path)
    assert len(site.log) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["a.bin"]


def test_a_part_of_an_earlier_run_is_used_and_one_of_another_file_is_not_believed(
    site: Site, tmp_path: Path
) -> None:
    site.files["/a.bin"] = CONTENT
    file = RemoteFile("a.bin", f"{site.url}/a.bin", MD5)
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:1000])
    assert fetch(file, tmp_path)
    assert site.log == [("/a.bin", 1000)]

    (tmp_path / "a.bin").unlink()
    (tmp_path / "a.bin.part").write_bytes(b"?" * 1000)
    assert fetch(file, tmp_path)
    assert site.log[1:] == [("/a.bin", 1000), ("/a.bin", 0)]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_server_without_ranges_and_one_that_is_busy_are_borne(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT
    site.ranges = False
    site.breaks.add("/a.bin")
    site.fails["/a.bin"] = [503, 429]
    assert fetch(RemoteFile("a.bin", f"{site.url}/a.bin", MD5), tmp_path, pause_s=0.01)
    assert [start for _, start in site.log] == [0, 0, 0, 0]


def test_other_content_is_refused_and_nothing_is_left(site: Site, tmp_path: Path) -> None:
    site.files["/a.bin"] = CONTENT[:-1] + b"!"
    with pytest.raises(InputError, match=r"sent content with md5:.*published is md5:"):
        fetch(RemoteFile("a.bin", f"{site.url}/a.bin", MD5), tmp_path)
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="HTTP 404"):
        fetch(RemoteFile("b.bin", f"{site.url}/b.bin"), tmp_path)
    assert len([path for path, _ in site.log if path == "/b.bin"]) == 1  # what is not there is asked for once
    with pytest.raises(UsageError, match="no address of the web"):
        fetch(RemoteFile("c", "file:///etc/passwd"), tmp_path)


def wav(seed: int) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, music(seed), 8000, format="WAV")
    return buffer.getvalue()


def archive_of(*members: tuple[str, bytes], links: tuple[tuple[str, str], ...] = ()) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for name, target in links:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return buffer.getvalue()


def test_no_member_of_an_archive_leaves_the_folder(tmp_path: Path) -> None:
    hostile = tmp_path / "hostile.tar.gz"
    hostile.write_bytes(
        archive_of(
            ("../../escape.wav", b"1"),
            ("/tmp/absolute.wav", b"2"),
            ("FMA/._00001.wav", b"3"),
            ("FMA/readme.txt", b"4"),
            ("FMA/00001.wav", b"5"),
            links=(("FMA/link.wav", "/etc/passwd"),),
        )
    )
    audio = tmp_path / "in" / "audio"
    assert extract_audio(hostile, audio, lambda path: f"../FMA_{path.name}") == 3
    assert sorted(path.name for path in audio.iterdir()) == [
        "FMA_00001.wav",
        "FMA_absolute.wav",
        "FMA_escape.wav",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hostile.tar.gz", "in"]

    hostile.write_bytes(archive_of(("a/x.wav", b"1"), ("b/x.wav", b"2")))
    with pytest.raises(InputError, match="two files that would be `x.wav`"):
        extract_audio(hostile, tmp_path / "twice", lambda path: path.name)
    hostile.write_bytes(archive_of(("a/x.wav", wav(1)))[:-200])
    with pytest.raises(InputError, match="cannot be unpacked"):
        extract_audio(hostile, tmp_path / "cut", lambda path: path.name)


def deposit(site: Site, folder: Path, *, without: str = "") -> None:
    """METER2800 in small: lists, the four archives, and the description of the deposit."""
    files = []
    rows = [
        [f"/{source}/{'blues.' if source == 'GTZAN' else ''}00001.wav", "three", 3, 6] for source in ARCHIVES
    ]
    lists = {part: write_list(folder / f"data_{part}_4_classes.tab", rows if part == "train" else rows[:1])
             for part in ("train", "val", "test")}  # fmt: skip
    contents = {path.name: path.read_bytes() for path in lists.values()}
    for seed, source in enumerate(ARCHIVES):
        name = f"{source}/{'blues/blues.' if source == 'GTZAN' else ''}00001.wav"
        contents[f"{source}.tar.gz"] = archive_of((name, wav(seed)))
    contents["readme.md"] = b"not asked for"
    for number, (name, content) in enumerate(contents.items()):
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        # The size and MD5 of a table are those without its line of names, as such servers state them.
        known = {"md5": digest, "filesize": len(content)}
        stated = {"md5": "0" * 32, "filesize": 1} if name.endswith(".tab") else known
        site.files[f"/api/access/datafile/{number}"] = content
        if not without or not name.startswith(without):
            files.append({"dataFile": {"id": number, "filename": name, **stated}})
    described = {"status": "OK", "data": {"latestVersion": {"files": files}}}
    site.files["/api/datasets/:persistentId/?persistentId=doi:10.7910/DVN/0CLXBQ"] = json.dumps(
        described
    ).encode()


def test_meter2800_comes_with_all_four_archives_and_a_second_run_fetches_nothing(
    site: Site, tmp_path: Path
) -> None:
    deposit(site, tmp_path / "made")
    options = FetchOptions(base_url=site.url, pause_s=0.01)
    done = get("meter2800", tmp_path / "set", options)
    assert {each.status for each in done} == {"fetched", "unpacked"}
    audio = sorted(path.name for path in (tmp_path / "set" / "audio").iterdir())
    assert audio == ["FMA_00001.wav", "GTZAN_blues.00001.wav", "MAG_00001.wav", "OWN_00001.wav"]
    asked = len(site.log)
    again = get("meter2800", tmp_path / "set", options)
    assert {each.status for each in again} == {"present", "unpacked"}
    assert len(site.log) == asked + 1  # the description alone
    (tmp_path / "set" / "downloads" / "GTZAN.tar.gz").unlink()
    (tmp_path / "set" / "audio" / "GTZAN_blues.00001.wav").unlink()
    offline = get(
        "meter2800", tmp_path / "set", FetchOptions(base_url="http://127.0.0.1:1", skip_download=True)
    )
    assert [(each.name, each.status) for each in offline if each.status == "missing"] == [
        ("GTZAN.tar.gz", "missing"),
        ("/GTZAN/blues.00001.wav", "missing"),
    ]


def test_a_deposit_without_one_of_its_archives_is_refused(site: Site, tmp_path: Path) -> None:
    deposit(site, tmp_path / "made", without="GTZAN")
    with pytest.raises(InputError, match=r"lacks downloads/GTZAN.tar.gz"):
        get("meter2800", tmp_path / "set", FetchOptions(base_url=site.url))
    site.files = dict.fromkeys(site.files, b'{"data": 3}')
    with pytest.raises(InputError, match="another form"):
        get("meter2800", tmp_path / "set", FetchOptions(base_url=site.url))


def test_ballroom_is_unpacked_flat_with_its_list(site: Site, tmp_path: Path) -> None:
    site.files[BALLROOM_ARCHIVE] = archive_of(
        ("BallroomData/Waltz/Media-1.wav", wav(1)),
        ("BallroomData/Rumba-Misc/Media-1.wav", wav(2)),
        ("BallroomData/nada/x.wav", wav(3)),
    )
    done = get("ballroom", tmp_path, FetchOptions(base_url=site.url))
    assert [each.status for each in done] == ["fetched", "unpacked"]
    assert "Waltz 1" in done[1].detail
    assert (tmp_path / LIST_FILE).read_text().splitlines()[1:] == [
        "Rumba-Misc_Media-1.wav\tRumba-Misc\t4",
        "Waltz_Media-1.wav\tWaltz\t3",
    ]


def test_songs_on_video_sites_are_listed_with_a_command_and_never_fetched(site: Site, tmp_path: Path) -> None:
    songs = [
        {"artist": "A b", "title": "one", "meters": {"5": 1}, "sources": [{"type": "youtube", "video_id": "x&y"}]},
        {"artist": "C", "title": "two", "meters": {"7": 1},
         "sources": [{"type": "wikimedia", "url": "https://upload.example/path/two%20x.ogg"}]},
        {"artist": "D", "title": "three", "meters": {"3": 1, "4": 0.5}, "sources": []},
    ]  # fmt: skip
    site.files["/path/two%20x.ogg"] = b"sound"
    folder = wikimeter_catalogue(tmp_path / "wiki", songs)
    done = {each.name: each for each in get("wikimeter", folder, FetchOptions(base_url=site.url))}
    assert {name: each.status for name, each in done.items()} == {
        "a_b_one": "by hand",
        "c_two": "fetched",
        "d_three": "missing",
    }
    command = shlex.split(done["a_b_one"].detail)
    assert (command[0], command[-1]) == ("yt-dlp", "https://www.youtube.com/watch?v=x&y")
    assert [path for path, _ in site.log] == ["/path/two%20x.ogg"]
    assert (folder / "audio" / "c_two.ogg").read_bytes() == b"sound"
    only = get("wikimeter", folder, FetchOptions(meters=("5", "3"), polymetric=False, dry_run=True))
    assert [each.name for each in only] == ["a_b_one"]
    assert [each.status for each in get("wikimeter", folder, FetchOptions(meters=("7",)))] == ["present"]
    with pytest.raises(UsageError, match="songs that are asked for"):
        get("wikimeter", folder, FetchOptions(meters=("11",)))


def test_fixtures_are_verified_one_by_one_and_a_bad_one_stops_no_other(site: Site, tmp_path: Path) -> None:
    site.files |= {"/w.ogg": b"waltz", "/j.ogg": b"replaced"}
    entries = [
        {
            "url": f"{site.url}/{name}.ogg",
            "sha256": hashlib.sha256(content).hexdigest(),
            "category": "x",
            "meters": [3],
        }
        for name, content in (("j", b"jig"), ("w", b"waltz"))
    ]
    (tmp_path / "fixtures.json").write_text(json.dumps(entries))
    done = get("fixtures", tmp_path)
    assert [each.status for each in done] == ["failed", "fetched"]
    assert checksum(tmp_path / "audio" / "w.ogg", "sha256") == f"sha256:{entries[1]['sha256']}"


def test_a_dry_run_asks_for_no_file(site: Site, tmp_path: Path) -> None:
    deposit(site, tmp_path / "made")
    done = get("meter2800", tmp_path / "set", FetchOptions(base_url=site.url, dry_run=True))
    assert {each.status for each in done} == {"to fetch"}
    assert len(site.log) == 1
    assert not (tmp_path / "set").exists()


def test_an_unknown_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'musicnet'"):
        get("musicnet", tmp_path)
