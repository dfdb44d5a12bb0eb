"""From a location as a label file writes it to a path or URI that can be opened.

Understood are paths relative to the label file, absolute paths, ``~``, ``file://`` URLs with percent escapes
(as Rekordbox writes them, also with a drive letter), Windows paths, and URIs with another scheme, which are
left as they are. A collection that has moved is found with relocations ``OLD=NEW``.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

from earmark.errors import UsageError

__all__ = ["Relocation", "is_remote", "parse_relocations", "resolve"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_DRIVE = re.compile(r"/?([A-Za-z]:)[\\/]")


@dataclass(frozen=True)
class Relocation:
    """Locations below the folder `old`, with forward slashes, are below `new`."""

    old: str
    new: str


def parse_relocations(texts: Sequence[str]) -> list[Relocation]:
    r"""Relocations from ``OLD=NEW``; the longest old folder is tried first.

    >>> parse_relocations([r"C:\Music=/mnt/music"])
    [Relocation(old='C:/Music', new='/mnt/music')]

    Raises
    ------
    UsageError
        No ``=``, or nothing on one side of it: all such texts in one message.
    """
    pairs = [text.partition("=") for text in texts]
    bad = [
        text for text, (old, _, new) in zip(texts, pairs, strict=True) if not old.strip() or not new.strip()
    ]
    if bad:
        raise UsageError(
            f"the relocations {', '.join(repr(text) for text in bad)} cannot be read. "
            "Expected OLD=NEW, for example C:/Music=/mnt/music."
        )
    moves = [Relocation(_slashed(old.strip()).rstrip("/"), new.strip()) for old, _, new in pairs]
    return sorted(moves, key=lambda move: -len(move.old))


def is_remote(uri: str) -> bool:
    """Whether a resolved location is a URI rather than a local path."""
    return bool(_SCHEME.match(uri))


def resolve(location: str, base: Path, relocations: Sequence[Relocation] = ()) -> str:
    """Absolute path, or URI, that a location means.

    Parameters
    ----------
    location : str
    base : Path
        Folder that relative locations start from: that of the label file.
    relocations : sequence of Relocation

    Returns
    -------
    str
        Not necessarily existing. If it does not exist as written, but does in another Unicode normal form
        (file names from macOS are decomposed), that form.
    """
    path = _moved(_local(location.strip()), relocations)
    if is_remote(path):
        return path
    if _DRIVE.match(path):
        return path
    home = os.path.expanduser(path)  # noqa: PTH111  # Path.expanduser raises for a user that does not exist
    return _existing_form(os.path.normpath(base / home))


def _local(location: str) -> str:
    """The location without ``file://`` and its host and escapes; a Windows path with forward slashes."""
    if location[:7].lower() == "file://":
        host, slash, path = location[7:].partition("/")
        del host  # "localhost" or empty
        location = unquote(slash + path)
    drive = _DRIVE.match(location)
    if drive:
        return _slashed(location.removeprefix("/"))
    if "\\" in location and "/" not in location:
        return _slashed(location)
    return location


def _slashed(path: str) -> str:
    return path.replace("\\", "/")


def _moved(path: str, relocations: Sequence[Relocation]) -> str:
    for move in relocations:
        same = _comparable(path[: len(move.old)]) == _comparable(move.old)
        if same and path[len(move.old) : len(move.old) + 1] in ("", "/"):
            return move.new.rstrip("/") + path[len(move.old) :]
    return path


def _comparable(path: str) -> str:
    """Windows does not tell case apart, other systems do."""
    return path.casefold() if _DRIVE.match(path + "/") else path


def _existing_form(path: str) -> str:
    for form in (path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path)):
        if os.path.lexists(form):
            return form
    return path
