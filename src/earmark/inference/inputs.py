"""From what a user names to single inputs: files, folders, lists, patterns and URIs.

==================================== =======================================================================
source                               becomes
==================================== =======================================================================
``s3://bucket/a.flac`` (any scheme)  itself; it is not looked at before it is read
a folder                             its audio files, at any depth, sorted by path; hidden ones are left out
``set.m3u8``, ``.m3u``, ``.txt``     one source per line, relative to the list; ``#`` starts a comment
``music/**/*.mp3`` (a pattern)       what matches, sorted; ``**`` crosses folders
any other existing file              itself, whatever its suffix
``song.mp3#t=15,45``                 itself: that part of the file, in seconds
==================================== =======================================================================

A source that leads nowhere becomes a `Failed` in its place, so that the run goes on and the caller can
count it. The same file is taken once, where it is first named, also through links. Lists are UTF-8, with or
without a byte-order mark.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from earmark.audio.fragment import split_fragment
from earmark.inference.prediction import Failed

__all__ = ["LIST_SUFFIXES", "Inputs", "expand_inputs"]

LIST_SUFFIXES = frozenset({".m3u8", ".m3u", ".txt"})

# Two letters at least: `C:\music` is a path.
_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True)
class Inputs:
    """Single inputs in the order of their sources: paths and URIs, and a `Failed` where one led nowhere."""

    entries: tuple[str | Failed, ...]

    @property
    def uris(self) -> list[str]:
        """What can be read."""
        return [entry for entry in self.entries if isinstance(entry, str)]

    @property
    def failures(self) -> list[Failed]:
        """What cannot."""
        return [entry for entry in self.entries if isinstance(entry, Failed)]

    def __iter__(self) -> Iterator[str | Failed]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def expand_inputs(sources: Iterable[str | os.PathLike[str]]) -> Inputs:
    """Turn sources into single inputs.

    Parameters
    ----------
    sources : iterable of str or path
        In any mixture of the kinds above.

    Returns
    -------
    Inputs
        In the order of the sources; each file once. Empty without sources.
    """
    taken: set[str] = set()
    entries: list[str | Failed] = []
    for source in sources:
        for found in _expand(os.fspath(source)):
            key = found.path if isinstance(found, Failed) else _same_file(found)
            if key not in taken:
                taken.add(key)
                entries.append(found)
    return Inputs(tuple(entries))


def _expand(source: str, *, inside_list: bool = False) -> Iterator[str | Failed]:
    if _SCHEME.match(source):
        yield source
    elif Path(source).is_dir():
        yield from _in_folder(source)
    elif Path(source).is_file():
        yield from _from_file(source, inside_list=inside_list)
    elif Path(split_fragment(source)[0]).is_file():
        yield source
    elif glob.has_magic(source):
        yield from _matching(source)
    else:
        yield Failed(source, _nothing_there(source))


def _from_file(path: str, *, inside_list: bool) -> Iterator[str | Failed]:
    if Path(path).suffix.lower() not in LIST_SUFFIXES:
        yield path
    elif inside_list:
        yield Failed(
            path, f"`{path}` is a list named in a list; expected audio files or folders. Name it directly."
        )
    else:
        yield from _in_list(path)


def _in_list(path: str) -> Iterator[str | Failed]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        yield Failed(
            path, f"`{path}` cannot be read as a list ({error}); expected UTF-8 text. Save it as UTF-8."
        )
        return
    entries = [line.strip() for line in text.split("\n")]
    entries = [entry for entry in entries if entry and not entry.startswith("#")]
    if not entries:
        yield Failed(path, f"`{path}` names no inputs; expected one path or URI per line. Add some.")
    folder = Path(path).parent
    for entry in entries:
        yield from _expand(entry if _SCHEME.match(entry) else str(folder / entry), inside_list=True)


def _in_folder(folder: str) -> Iterator[str | Failed]:
    from earmark.audio.decode import AUDIO_SUFFIXES

    unreadable: list[OSError] = []
    found: list[str] = []
    visited: set[str] = set()
    for parent, folders, files in os.walk(folder, onerror=unreadable.append, followlinks=True):
        # A link to a parent folder would be walked for ever.
        if (real := os.path.realpath(parent)) in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [
            str(Path(parent, name))
            for name in files
            if not name.startswith(".")
            and Path(name).suffix.lower() in AUDIO_SUFFIXES
            and not _never_ends(Path(parent, name))
        ]
    yield from sorted(found)
    for error in unreadable:
        path = str(error.filename or folder)
        yield Failed(
            path, f"`{path}` cannot be read ({error.strerror}); expected a readable folder. Check its rights."
        )
    if not found and not unreadable:
        some = ", ".join(sorted(AUDIO_SUFFIXES)[:5])
        yield Failed(
            folder, f"`{folder}` holds no audio file; expected files such as {some}. Check the folder."
        )


def _matching(pattern: str) -> Iterator[str | Failed]:
    found = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207 - Path.glob takes no absolute pattern
    # `**` matches the folders on the way too, whose files it also matches.
    files = [path for path in found if Path(path).is_file()]
    if not found:
        yield Failed(
            pattern,
            f"`{pattern}` matches nothing; expected files or folders. Check the pattern, or quote it.",
        )
    elif files:
        for path in files:
            yield from _from_file(path, inside_list=False)
    else:
        for path in found:
            yield from _in_folder(path)


def _never_ends(path: Path) -> bool:
    """Whether it is a pipe, a socket or a device, which would be waited for; a link to nothing is not, and fails."""
    return path.exists() and not path.is_file()


def _nothing_there(path: str) -> str:
    hint = ""
    parent = Path(path).parent
    if _never_ends(Path(path)):
        return (
            f"`{path}` is no file but a pipe, a socket or a device; expected a file. Copy its audio into one."
        )
    if os.path.lexists(path):
        hint = " It is a link to something that is gone."
    elif not parent.is_dir():
        hint = f" The folder `{parent}` does not exist either."
    return (
        f"`{path}` does not exist; expected a file, folder, list, pattern or URI.{hint} Check the spelling."
    )


def _same_file(uri: str) -> str:
    return uri if _SCHEME.match(uri) else os.path.realpath(uri)
