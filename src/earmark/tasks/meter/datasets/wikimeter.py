"""WIKIMETER: songs with the meters that an encyclopedia gives them, in segments of 35 s; the user fetches the audio.

``wikimeter.json`` is a list of songs: ``artist``, ``title``, ``meters`` (meter -> weight), ``sources``, and for some
``trim``, the part of the recording that is the song (``[start, end]`` or an object with these names, seconds). The
audio is either cut already, ``data_wikimeter.tab`` listing the segments (``filename``, ``label``, ``meter`` as ``5`` or
``3:0.7,4:0.8``, ``alt_meter``), or whole songs named ``artist_title``, which are cut here as parts of the file. The
catalogue's weights rule over the list's word: the heaviest meter is the primary one. ``blacklist.json`` names wrong
pairs of song and meter.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from earmark.data.groups import normalise_name
from earmark.data.soft_labels import soft_label_text
from earmark.errors import UsageError
from earmark.tasks.meter.datasets.accounting import BLACKLISTED, MISSING_FILE
from earmark.tasks.meter.datasets.audio_files import AudioFiles, without_audio_suffix
from earmark.tasks.meter.datasets.fixtures import read_catalogue
from earmark.tasks.meter.datasets.normal_form import MeterRow, as_weights, read_rows
from earmark.tasks.meter.schema import WINDOW_S

__all__ = [
    "BLACKLIST_FILE",
    "CATALOGUE_FILE",
    "LIST_FILE",
    "Song",
    "read_songs",
    "read_wikimeter",
    "segment_starts",
    "song_stem",
]

CATALOGUE_FILE = "wikimeter.json"
LIST_FILE = "data_wikimeter.tab"
BLACKLIST_FILE = "blacklist.json"

SEGMENT_S = 35.0
SHORTEST_SEGMENT_S = 15.0
MARGIN_S = 10.0
"""At each end of a song: applause, speech, fades."""
MAX_SEGMENTS = 5

_SOURCE = "WIKIMETER"
_SEGMENT = re.compile(r"_seg\d+$")


@dataclass(frozen=True)
class Song:
    """A song of the catalogue; `weights` by class after the blacklist, `trim_s` the part that is the song."""

    number: int
    stem: str
    artist: str
    title: str
    weights: Mapping[str, float]
    blacklisted: tuple[str, ...]
    sources: tuple[Mapping[str, Any], ...]
    trim_s: tuple[float, float | None] | None


def song_stem(artist: str, title: str) -> str:
    """Name of a song's files: lower case, without accents, anything else a single ``_``.

    Examples
    --------
    >>> song_stem("Fela Kuti", "Water No Get Enemy")
    'fela_kuti_water_no_get_enemy'
    """
    plain = unicodedata.normalize("NFKD", f"{artist} {title}").encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "_", plain).strip("_")


def segment_starts(
    duration_s: float, trim_s: tuple[float, float | None] | None = None, segment_s: float = SEGMENT_S
) -> tuple[float, ...]:
    """Where segments of a song begin: at most 5, evenly spread, 10 s away from its ends.

    Parameters
    ----------
    duration_s : float
        Of the recording.
    trim_s : tuple of float, optional
        Start and end of the song in it; an end of None is the recording's.
    segment_s : float

    Returns
    -------
    tuple of float
        Seconds; a song that is too short for the margins gives one segment in its middle, one under 15 s none.
    """
    begin, end = trim_s or (0.0, None)
    end = min(duration_s, end if end is not None else duration_s)
    if end - begin < SHORTEST_SEGMENT_S:
        return ()
    first, last = begin + MARGIN_S, end - MARGIN_S - segment_s
    if last < first:
        return (max(begin, (begin + end - segment_s) / 2),)
    n_segments = min(MAX_SEGMENTS, 1 + int((last - first) // segment_s))
    return tuple(float(start) for start in np.linspace(first, last, n_segments).round(3))


def read_songs(folder: Path, catalogue: Path | None = None) -> dict[str, Song]:
    """Songs of the catalogue by stem; empty without one.

    Raises
    ------
    UsageError
        The catalogue or the blacklist cannot be read, or holds a song without artist, title or meters.
    """
    path = catalogue or folder / CATALOGUE_FILE
    if not path.is_file():
        return {}
    wrong = _blacklist(folder / BLACKLIST_FILE)
    songs = [_song(path, number, entry, wrong) for number, entry in enumerate(read_catalogue(path), start=1)]
    return {song.stem: song for song in songs}


def read_wikimeter(folder: Path) -> list[MeterRow]:
    """Rows of segments: of the list in `folder`, or one row per song of the catalogue.

    Raises
    ------
    UsageError
        Neither is there, or they cannot be read.
    """
    songs, files = read_songs(folder), AudioFiles(folder)
    listed = folder / LIST_FILE
    if listed.is_file():
        return [
            _segment_row(listed, number, values, songs, files)
            for number, values in enumerate(read_rows(listed), start=1)
        ]
    if not songs:
        raise UsageError(
            f"`{folder}` holds neither {LIST_FILE} nor {CATALOGUE_FILE}; expected one of them. Put the catalogue "
            "there, then see what to fetch: earmark prepare meter --get wikimeter"
        )
    return [_song_row(folder / CATALOGUE_FILE, song, files) for song in songs.values()]


def song_segments(row: MeterRow, segment_s: float = SEGMENT_S) -> list[MeterRow]:
    """The segments of a whole song, each the window in the middle of it; none of a song under 15 s."""
    assert row.duration_s is not None
    starts = segment_starts(row.duration_s, row.span_s, segment_s)
    found = []
    for number, start in enumerate(starts):
        inset = max(0.0, (min(segment_s, row.duration_s - start) - WINDOW_S) / 2)
        span = (start + inset, min(row.duration_s, start + inset + min(segment_s, WINDOW_S)))
        found.append(replace(row, key=f"{row.key}_seg{number:02d}", segment_start_s=start, span_s=span))
    return found


def _segment_row(
    file: Path, number: int, values: Mapping[str, str], songs: Mapping[str, Song], files: AudioFiles
) -> MeterRow:
    name = values.get("filename", "")
    written = PurePosixPath(name).name
    stem = without_audio_suffix(written)
    song = songs.get(_SEGMENT.sub("", stem))
    row = _row(file, number, name, stem, song)
    row = _labelled(row, song, values.get("meter") or values.get("label", ""))
    return row if row.reason else _located(row, files.find([written]))


def _song_row(file: Path, song: Song, files: AudioFiles) -> MeterRow:
    row = _row(file, song.number, f"{song.artist}: {song.title}", song.stem, song)
    # Until the length of the recording is known, the span is that of the song in it.
    row = replace(_labelled(row, song, ""), span_s=_closed(song.trim_s))
    return row if row.reason else _located(row, files.find([song.stem]))


def _row(file: Path, number: int, name: str, stem: str, song: Song | None) -> MeterRow:
    song_id = _SEGMENT.sub("", stem)
    return MeterRow(
        file=str(file),
        number=number,
        name=name,
        dataset="wikimeter",
        source=_SOURCE,
        key=f"{_SOURCE}/{stem}",
        song_id=song_id,
        group=song_id,
        artist=song.artist if song else None,
        title=song.title if song else None,
    )


def _labelled(row: MeterRow, song: Song | None, written: str) -> MeterRow:
    if song is None:
        return row.labelled(written)
    if not song.weights:
        return row.rejected(BLACKLISTED, f"the meter {', '.join(song.blacklisted)} is wrong for this song")
    return row.labelled(soft_label_text(song.weights))


def _located(row: MeterRow, path: Path | None) -> MeterRow:
    return replace(row, path=str(path)) if path else row.rejected(MISSING_FILE, row.name)


def _closed(trim_s: tuple[float, float | None] | None) -> tuple[float, float] | None:
    return None if trim_s is None else (trim_s[0], float("inf") if trim_s[1] is None else trim_s[1])


def _song(path: Path, number: int, entry: Mapping[str, Any], wrong: Mapping[str, set[str]]) -> Song:
    artist, title = (str(entry.get(name) or "").strip() for name in ("artist", "title"))
    meters = entry.get("meters")
    if not artist or not title or not isinstance(meters, dict) or not meters:
        raise UsageError(
            f'song {number} of `{path}` lacks artist, title or meters; expected all three, meters as {{"5": 1.0}}. '
            "Correct the catalogue."
        )
    weights = as_weights(",".join(f"{meter}:{weight}" for meter, weight in meters.items()))
    dropped = wrong.get(_pair(artist, title), set())
    return Song(
        number,
        song_stem(artist, title),
        artist,
        title,
        {name: weight for name, weight in weights.items() if name not in dropped},
        tuple(name for name in weights if name in dropped),
        tuple(entry.get("sources") or ()),
        _trim(path, number, entry.get("trim")),
    )


def _trim(path: Path, number: int, value: Any) -> tuple[float, float | None] | None:
    if value is None:
        return None
    start, end = (value.get("start"), value.get("end")) if isinstance(value, dict) else (*value, None)[:2]
    start = float(start or 0)
    if end is not None and float(end) <= start:
        raise UsageError(
            f"song {number} of `{path}` is trimmed to {start:g}-{end} s; expected an end after the start."
        )
    return start, None if end is None else float(end)


def _blacklist(path: Path) -> dict[str, set[str]]:
    """Song -> classes that are wrong for it; entries have artist, title and meter."""
    wrong: dict[str, set[str]] = {}
    for entry in read_catalogue(path) if path.is_file() else []:
        names = as_weights(str(entry.get("meter", "")))
        wrong.setdefault(_pair(str(entry.get("artist", "")), str(entry.get("title", ""))), set()).update(
            names
        )
    return wrong


def _pair(artist: str, title: str) -> str:
    return f"{normalise_name(artist)}\0{normalise_name(title)}"
