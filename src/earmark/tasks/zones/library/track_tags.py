"""What the tags of an audio file say about a track: ID3 (MP3, WAV, AIFF), MP4 atoms, Vorbis comments.

Reading needs mutagen, which the extra ``dj`` brings; nothing here writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from earmark.errors import InputError, MissingExtraError
from earmark.tasks.zones.labels import parse_zone
from earmark.tasks.zones.library.keys import camelot_of_tonality
from earmark.tasks.zones.tagging.entries import COMMENT_MARK, Tags
from earmark.tasks.zones.tagging.formats import read_tags
from earmark.tasks.zones.tagging.plan import tagged_zone
from earmark.tasks.zones.text import positive_number

__all__ = ["BPM_RANGE", "TrackTags", "can_read_tags", "read_track_tags"]

BPM_RANGE = (40.0, 250.0)
"""Tempos outside are mistakes of the program that wrote them, and left out."""

_NAMES = {
    "title": ("TIT2", "©nam", "title"),
    "artist": ("TPE1", "©ART", "artist"),
    "album": ("TALB", "©alb", "album"),
    "album_artist": ("TPE2", "aART", "albumartist", "album artist"),
    "genre": ("TCON", "©gen", "genre"),
    "bpm": ("TBPM", "tmpo", "bpm", "tempo"),
    "key": ("TKEY", "----:com.apple.iTunes:initialkey", "initialkey", "key"),
}
_COMMENT = ("COMM", "©cmt", "comment", "description")


@dataclass(frozen=True)
class TrackTags:
    """Tags of one file as text.

    Parameters
    ----------
    values : dict of str to str
        What is known of title, artist, album, album_artist, genre, bpm (40 to 250) and key (Camelot).
    zone : str or None
        Zone that the field for it names, else the grouping, else a comment.
    comment : str
        The first comment that earmark did not write, or empty.
    is_predicted : bool
        Whether the zone is still what earmark wrote, and so no listener's.
    bit_rate_kbps : int or None
    grouping : str
        What somebody wrote into the grouping that names no zone, or empty.
    """

    values: dict[str, str] = field(default_factory=dict)
    zone: str | None = None
    comment: str = ""
    is_predicted: bool = False
    bit_rate_kbps: int | None = None
    grouping: str = ""


def can_read_tags() -> bool:
    """Whether the package that reads tags is installed."""
    return find_spec("mutagen") is not None


def read_track_tags(path: str | Path) -> TrackTags:
    """Read the tags of an audio file; empty ones where it has none.

    Raises
    ------
    MissingExtraError
        Without mutagen.
    InputError
        The file cannot be read, or is of no kind that bears tags.
    """
    if not can_read_tags():
        raise MissingExtraError("mutagen", "dj", "Reading the tags of tracks")
    import mutagen

    try:
        opened, fields = mutagen.File(path), read_tags(Path(path))
    except (mutagen.MutagenError, OSError) as error:
        raise InputError(
            f"the tags of `{path}` cannot be read ({error}). Expected whole ID3, MP4 or Vorbis tags. "
            "Write them again, or leave the file out."
        ) from error
    if opened is None:
        raise InputError(
            f"`{path}` is of no kind whose tags are known. Expected MP3, WAV, FLAC, OGG, M4A or MP4. Leave it out."
        )
    return _tags_of(opened, fields)


def _tags_of(opened: Any, fields: Tags) -> TrackTags:
    tags = opened.tags if opened.tags is not None else {}
    values = {column: next(_texts(tags, names), "") for column, names in _NAMES.items()}
    bpm = positive_number(values["bpm"])
    values["bpm"] = values["bpm"] if bpm is not None and BPM_RANGE[0] <= bpm <= BPM_RANGE[1] else ""
    values["key"] = camelot_of_tonality(values["key"]) or ""
    comments = list(_texts(tags, _COMMENT))
    theirs = [comment for comment in comments if not comment.endswith(COMMENT_MARK)]
    zone = tagged_zone(fields.texts()) or next(
        (found[0] for text in theirs if (found := parse_zone(text))), None
    )
    rate = getattr(opened.info, "bitrate", None)
    return TrackTags(
        {column: text for column, text in values.items() if text},
        zone,
        next(iter(theirs), ""),
        any(zone in answer.text.split() for answer in fields.of_field("comment")),
        round(rate / 1000) if rate else None,
        next((text for text in fields.texts()["grouping"] if text.strip() and not parse_zone(text)), ""),
    )


def _texts(tags: Any, names: tuple[str, ...]) -> Iterator[str]:
    """Every value under some names, of whatever kind of tags, that is not blank."""
    for name in names:
        for value in _values(tags, name):
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            if text := text.strip("\0 \t\r\n"):
                yield text


def _values(tags: Any, name: str) -> list[Any]:
    if hasattr(tags, "getall"):  # ID3, where several comments differ by language and description
        return [part for frame in tags.getall(name) for part in getattr(frame, "text", [])]
    found = tags.get(name) if _is_key(tags, name) else None
    return found if isinstance(found, list) else [] if found is None else [found]


def _is_key(tags: Any, name: str) -> bool:
    """Vorbis comments refuse to be asked for names outside ASCII."""
    return name.isascii() or type(tags).__name__ == "MP4Tags"
