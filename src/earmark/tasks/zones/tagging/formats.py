"""Tags of any container through one door: read the entries, write a copy with others, prove that nothing else changed.

The content of a file decides, never its suffix. mp3, wav, aiff and flac need no extra package; ogg, opus, m4a and
mp4 need mutagen (the extra ``dj``) to be written, not to be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from earmark.audio.containers import HEAD_BYTES, sniff
from earmark.errors import InputError
from earmark.tasks.zones.tagging import chunks, id3, mp4, ogg
from earmark.tasks.zones.tagging.entries import Entry, Tags
from earmark.tasks.zones.tagging.vorbis_comment import FORM as VORBIS
from earmark.tasks.zones.tagging.vorbis_comment import encode_comment

__all__ = ["encode", "read_tags", "rest_digest", "write_copy"]


@dataclass(frozen=True)
class _Format:
    read: Callable[[Path], Tags]
    write: Callable[[Path, Path, Sequence[Entry]], None]
    rest: Callable[[Path], bytes]


_CHUNKS = _Format(chunks.read_chunks, chunks.write_chunks, chunks.rest_chunks)
_OGG = _Format(ogg.read_ogg, ogg.write_ogg, ogg.rest_ogg)
_FORMATS: Mapping[str, _Format] = {
    "mp3": _Format(chunks.read_mp3, chunks.write_mp3, chunks.rest_mp3),
    "wav": _CHUNKS,
    "aiff": _CHUNKS,
    "flac": _Format(chunks.read_flac, chunks.write_flac, chunks.rest_flac),
    "ogg": _OGG,
    "opus": _OGG,
    "mp4": _Format(mp4.read_mp4, mp4.write_mp4, mp4.rest_mp4),
}


def read_tags(path: Path) -> Tags:
    """Read the tags of a file.

    Raises
    ------
    InputError
        Not a file that can be tagged, or its tags are damaged.
    OSError
        It cannot be read.
    """
    return _format(path).read(path)


def write_copy(source: Path, target: Path, entries: Sequence[Entry]) -> None:
    """Write a copy of `source` whose tags hold `entries`; `source` is only read.

    Raises
    ------
    InputError
        The tags do not fit, or the file is not sound.
    MissingExtraError
        An Ogg or mp4 file, and mutagen is not installed.
    OSError
        No room, no right.
    """
    _format(source).write(source, target, entries)


def rest_digest(path: Path) -> bytes:
    """Digest of everything in a file but its tags: equal digests mean the same audio, packet by packet."""
    return _format(path).rest(path)


def encode(tags: Tags, field: str, text: str) -> Entry:
    """Make an entry of a field in the form of `tags`."""
    if tags.form == VORBIS:
        return encode_comment(field, text)
    if tags.form == mp4.FORM:
        return mp4.encode_atom(field, text)
    return id3.encode_frame(tags.form, field, text, tags.entries)


def _format(path: Path) -> _Format:
    with path.open("rb") as file:
        start = chunks.leading_tag_bytes(file)
        file.seek(start)
        behind = sniff(file.read(HEAD_BYTES))
        file.seek(0)
        kind = "flac" if start and behind == "flac" else sniff(file.read(HEAD_BYTES))
    if kind not in _FORMATS:
        raise InputError(
            f"`{path}` cannot be tagged: its content is unknown. Expected one of {', '.join(_FORMATS)}. Convert it."
        )
    return _FORMATS[kind]
