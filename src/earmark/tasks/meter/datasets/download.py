"""Fetching data sets on request: what their makers publish, verified, unpacked flat and counted.

Nothing is fetched that was not asked for, and songs on video sites never: they are listed with a command that does it.
A second run goes on where the first ended, and fetches nothing that is there.
"""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import InputError, UsageError
from earmark.tasks.meter.datasets.accounting import MISSING_FILE
from earmark.tasks.meter.datasets.audio_files import AudioFiles
from earmark.tasks.meter.datasets.ballroom import DANCES, LIST_FILE, dance_of, read_ballroom
from earmark.tasks.meter.datasets.fixtures import CATALOGUE_FILE, file_name, read_catalogue
from earmark.tasks.meter.datasets.meter2800 import ARCHIVES, read_meter2800
from earmark.tasks.meter.datasets.transfer import FIRST_PAUSE_S, RemoteFile, extract_audio, fetch, read_url
from earmark.tasks.meter.datasets.wikimeter import Song, read_songs

__all__ = ["GETTERS", "FetchOptions", "Fetched", "get"]

DATAVERSE = "https://dataverse.harvard.edu"
METER2800_DOI = "doi:10.7910/DVN/0CLXBQ"
BALLROOM_SITE = "https://mtg.upf.edu"
BALLROOM_ARCHIVE = "/ismir2004/contest/tempoContest/data1.tar.gz"
DOWNLOADS = "downloads"

OnNote = Callable[[str], None]


@dataclass(frozen=True)
class Fetched:
    """What became of a file or song: ``fetched``, ``present``, ``unpacked``, ``missing``, ``failed`` or ``by hand``."""

    name: str
    status: str
    detail: str = ""


@dataclass(frozen=True)
class FetchOptions:
    """How to fetch.

    Parameters
    ----------
    base_url : str or None
        Another server with the same paths, such as a mirror.
    skip_download : bool
        Only unpack and count what is there.
    limit : int or None
        At most so many songs or fixtures.
    meters : tuple of str
        Only songs with one of these classes; empty: all.
    polymetric : bool
        Songs with several meters too.
    source_types : tuple of str
        Only songs with a source of these types; empty: all.
    dry_run : bool
        Only tell what would be fetched.
    skip_existing : bool
        Songs that are there are not fetched again.
    pause_s : float
        Wait before a second attempt.
    """

    base_url: str | None = None
    skip_download: bool = False
    limit: int | None = None
    meters: tuple[str, ...] = ()
    polymetric: bool = True
    source_types: tuple[str, ...] = ()
    dry_run: bool = False
    skip_existing: bool = True
    pause_s: float = FIRST_PAUSE_S


def get(
    name: str, folder: Path, options: FetchOptions | None = None, tell: OnNote | None = None
) -> list[Fetched]:
    """Fetch a data set into its folder.

    Parameters
    ----------
    name : str
        One of `GETTERS`.
    folder : Path
    options : FetchOptions, optional
    tell : callable, optional
        Called with a sentence before each file.

    Raises
    ------
    UsageError
        No such data set, or its catalogue is missing.
    InputError
        The list of its files cannot be had.
    """
    if name not in GETTERS:
        raise UsageError(f"there is nothing to get called {name!r}; expected one of {', '.join(GETTERS)}.")
    return GETTERS[name](folder, options or FetchOptions(), tell or (lambda _: None))


def _get_meter2800(folder: Path, options: FetchOptions, tell: OnNote) -> list[Fetched]:
    """Lists and the four archives of the deposit; each archive is unpacked as ``audio/SOURCE_stem``."""
    found: list[Fetched] = []
    if not options.skip_download:
        for file in _deposit(options):
            found.append(_one(file, folder, options, tell))
    if options.dry_run:
        return found
    for source in ARCHIVES:
        archive = folder / DOWNLOADS / f"{source}.tar.gz"
        if archive.is_file():
            tell(f"unpacking {archive.name}")
            n_files = extract_audio(archive, folder / "audio", partial(_named_by_source, source))
            found.append(Fetched(archive.name, "unpacked", f"{n_files} clips"))
        else:
            found.append(Fetched(archive.name, "missing", "its clips will be missing"))
    return [*found, *_counted(read_meter2800(folder))]


def _named_by_source(source: str, path: PurePosixPath) -> str:
    return f"{source}_{path.name}"


def _deposit(options: FetchOptions) -> list[RemoteFile]:
    """Lists and archives of the deposit, as its server describes them."""
    base = options.base_url or DATAVERSE
    url = f"{base}/api/datasets/:persistentId/?persistentId={METER2800_DOI}"
    try:
        described = json.loads(read_url(url, pause_s=options.pause_s))["data"]["latestVersion"]["files"]
        files = [_of_deposit(base, entry) for entry in described]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{url} answered in another form ({error!r}); expected the files of a deposit. Fetch them by hand."
        ) from error
    wanted = [file for file in files if file is not None]
    absent = {f"{DOWNLOADS}/{source}.tar.gz" for source in ARCHIVES} - {file.name for file in wanted}
    if absent:
        raise InputError(
            f"{url} lacks {', '.join(sorted(absent))}; expected the archives {', '.join(ARCHIVES)}."
        )
    return wanted


def _of_deposit(base: str, entry: dict[str, Any]) -> RemoteFile | None:
    described = entry["dataFile"]
    name, url = str(described["filename"]), f"{base}/api/access/datafile/{described['id']}"
    if name in {f"{source}.tar.gz" for source in ARCHIVES}:
        return RemoteFile(f"{DOWNLOADS}/{name}", url, f"md5:{described['md5']}", described.get("filesize"))
    if name.startswith("data_") and name.endswith((".tab", ".csv")):
        # A table that the server has taken in is sent with a line of names that neither its size nor its MD5 counts.
        is_taken_in = "originalFileFormat" in described or name.endswith(".tab")
        return RemoteFile(name, url) if is_taken_in else RemoteFile(name, url, f"md5:{described['md5']}")
    return None


def _get_ballroom(folder: Path, options: FetchOptions, tell: OnNote) -> list[Fetched]:
    """The archive, unpacked as ``audio/Dance_name``, and the list made of its folders."""
    found: list[Fetched] = []
    archive = folder / DOWNLOADS / "data1.tar.gz"
    if not options.skip_download:
        url = (options.base_url or BALLROOM_SITE) + BALLROOM_ARCHIVE
        found.append(_one(RemoteFile(f"{DOWNLOADS}/{archive.name}", url), folder, options, tell))
    if options.dry_run or not archive.is_file():
        return found
    tell(f"unpacking {archive.name}")
    rows: list[tuple[str, str]] = []

    def name_of(path: PurePosixPath) -> str | None:
        genre = path.parent.name
        if dance_of(genre) is None:
            return None
        rows.append((f"{genre}_{path.name}", genre))
        return rows[-1][0]

    n_files = extract_audio(archive, folder / "audio", name_of)
    lines = [f"{name}\t{genre}\t{DANCES[dance_of(genre) or '']}" for name, genre in sorted(rows)]
    write_bytes_atomic(folder / LIST_FILE, "\n".join(["filename\tgenre\tmeter", *lines, ""]).encode())
    counts = Counter(dance_of(genre) for _, genre in rows)
    told = ", ".join(f"{dance} {counts[dance]}" for dance in DANCES)
    return [
        *found,
        Fetched(archive.name, "unpacked", f"{n_files} clips: {told}"),
        *_counted(read_ballroom(folder)),
    ]


def _counted(rows: Sequence[Any]) -> list[Fetched]:
    """Rows of the lists that have no file."""
    return [Fetched(row.name, "missing", row.detail) for row in rows if row.reason == MISSING_FILE]


def _get_fixtures(folder: Path, options: FetchOptions, tell: OnNote) -> list[Fetched]:
    """The files of the catalogue in `folder`, each with its SHA-256."""
    entries = read_catalogue(folder / CATALOGUE_FILE)[: options.limit]
    files = [
        RemoteFile(
            f"audio/{file_name(entry)}",
            _moved(str(entry.get("url")), options),
            f"sha256:{entry.get('sha256')}",
        )
        for entry in entries
    ]
    return [_one(file, folder, options, tell) for file in files]


def _get_wikimeter(folder: Path, options: FetchOptions, tell: OnNote) -> list[Fetched]:
    """Songs of the catalogue in `folder`: free files are fetched, those on video sites listed with a command."""
    songs = [song for song in read_songs(folder).values() if _is_wanted(song, options)]
    if not songs:
        raise UsageError(
            f"`{folder}` holds no wikimeter.json with songs that are asked for. Put the catalogue there, or ask for "
            "others."
        )
    files = AudioFiles(folder)
    return [_song(song, folder, files, options, tell) for song in songs[: options.limit]]


def _is_wanted(song: Song, options: FetchOptions) -> bool:
    kinds = {str(source.get("type", "youtube")) for source in song.sources}
    return (
        bool(song.weights)
        and (not options.meters or bool(set(options.meters) & set(song.weights)))
        and (options.polymetric or len(song.weights) == 1)
        and (not options.source_types or bool(kinds & set(options.source_types)))
    )


def _song(song: Song, folder: Path, files: AudioFiles, options: FetchOptions, tell: OnNote) -> Fetched:
    if options.skip_existing and files.find([song.stem]) is not None:
        return Fetched(song.stem, "present")
    if options.skip_existing and files.find([f"{song.stem}_seg00"]) is not None:
        return Fetched(song.stem, "present", "in segments")
    sources = sorted(song.sources, key=lambda source: source.get("priority", 0))
    free = next((s for s in sources if s.get("type") not in (None, "youtube") and s.get("url")), None)
    if free is not None and (not options.source_types or free["type"] in options.source_types):
        suffix = PurePosixPath(urlsplit(free["url"]).path).suffix or ".ogg"
        file = RemoteFile(f"audio/{song.stem}{suffix}", _moved(free["url"], options))
        return replace(_one(file, folder, options, tell), name=song.stem)
    if not sources:
        return Fetched(song.stem, "missing", "the catalogue knows no source")
    address = str(sources[0].get("url") or sources[0].get("video_id"))
    return Fetched(song.stem, "by hand", _command(song, folder, address))


def _command(song: Song, folder: Path, url: str) -> str:
    """What fetches a song from a video site, for the user to decide on and run."""
    address = url if "://" in url else f"https://www.youtube.com/watch?v={url}"
    target = folder / "audio" / f"{song.stem}.%(ext)s"
    return shlex.join(["yt-dlp", "-x", "--audio-format", "mp3", "-o", str(target), address])


def _moved(url: str, options: FetchOptions) -> str:
    """The URL on another server, where one was named."""
    return url if options.base_url is None else options.base_url + urlsplit(url).path


def _one(file: RemoteFile, folder: Path, options: FetchOptions, tell: OnNote) -> Fetched:
    """Fetch a file; one that fails is told, and the others go on."""
    if options.dry_run:
        return Fetched(file.name, "present" if (folder / file.name).is_file() else "to fetch", file.url)
    tell(f"fetching {file.name}")
    try:
        return Fetched(file.name, "fetched" if fetch(file, folder, pause_s=options.pause_s) else "present")
    except InputError as error:
        return Fetched(file.name, "failed", str(error))


GETTERS: dict[str, Callable[[Path, FetchOptions, OnNote], list[Fetched]]] = {
    "meter2800": _get_meter2800,
    "ballroom": _get_ballroom,
    "wikimeter": _get_wikimeter,
    "fixtures": _get_fixtures,
}
"""Data sets that can be fetched."""
