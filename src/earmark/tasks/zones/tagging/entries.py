"""The four fields that earmark writes into a file, among all the other entries of its tags.

An *entry* is one item of a tag as it lies in the file, header and all: an ID3 frame, a Vorbis comment, an MP4 atom.
Entries that are not ours are carried as bytes from file to file and are never decoded and encoded again, which is
what keeps them equal to the byte.

========  ==========================  ===================  =================================  =====================
field     ID3 (mp3, wav, aiff)        Vorbis (flac, ogg)   MP4 (m4a, mp4)                     holds
========  ==========================  ===================  =================================  =====================
zone      TXXX:ENERGYZONE             ENERGYZONE           ----:com.apple.iTunes:ENERGYZONE   name of the zone
grouping  GRP1 where present or TIT1  GROUPING             ©grp                               display name
energy    TXXX:EnergyLevel            ENERGYLEVEL          ----:com.apple.iTunes:ENERGYLEVEL  1 to 10
comment   COMM:earmark:eng            COMMENT, one more    ©cmt, one more value               emoji, zone, confidence
========  ==========================  ===================  =================================  =====================

Mixxx shows and sorts by grouping and comment, Serato likewise, rekordbox shows the comment, and Mixed In Key and
Traktor know EnergyLevel. A comment of ours ends with `COMMENT_MARK`, so that it is known among others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

__all__ = ["COMMENT_MARK", "FIELDS", "Entry", "Tags", "field_of_name", "replaced"]

FIELDS = ("zone", "grouping", "energy", "comment")
COMMENT_MARK = "[earmark]"

_NAMES = {"energyzone": "zone", "energylevel": "energy", "grouping": "grouping"}


@dataclass(frozen=True)
class Entry:
    """One entry: its bytes, and if it is one of ours, the field and its text."""

    raw: bytes
    field: str | None = None
    text: str = ""


@dataclass(frozen=True)
class Tags:
    """What the tags of a file hold.

    Parameters
    ----------
    container : str
        As `earmark.audio.containers.sniff` names it.
    form : str
        How entries are encoded, e.g. ``id3v2.3``; raw bytes fit only into tags of the same form.
    entries : tuple of Entry
        In the order of the file.
    """

    container: str
    form: str
    entries: tuple[Entry, ...]

    def texts(self) -> dict[str, tuple[str, ...]]:
        """The texts of each field, an empty tuple where it is absent."""
        return {name: tuple(entry.text for entry in self.entries if entry.field == name) for name in FIELDS}

    def of_field(self, name: str) -> tuple[Entry, ...]:
        """The entries of one field."""
        return tuple(entry for entry in self.entries if entry.field == name)

    def others(self, names: Sequence[str]) -> tuple[bytes, ...]:
        """The bytes of all entries but those of the fields `names`, in order."""
        return tuple(entry.raw for entry in self.entries if entry.field not in names)


def field_of_name(name: str) -> str | None:
    """The field that a user-defined entry called `name` holds; the case does not matter."""
    return _NAMES.get(name.casefold())


def replaced(entries: Sequence[Entry], changes: Mapping[str, Sequence[Entry]]) -> tuple[Entry, ...]:
    """Give the entries with some fields replaced: in the place of the field's first entry, else at the end."""
    result: list[Entry] = []
    placed: set[str] = set()
    for entry in entries:
        if entry.field is None or entry.field not in changes:
            result.append(entry)
        elif entry.field not in placed:
            placed.add(entry.field)
            result += changes[entry.field]
    for name in FIELDS:
        if name in changes and name not in placed:
            result += changes[name]
    return tuple(result)
