"""From what a request names to single files that may be opened.

A path of a request is inside the project folder or an allowed one. What it leads to is looked at again: a list in the
project may name other files, and a folder may hold links out of it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from earmark.audio.fragment import split_fragment
from earmark.errors import UsageError
from earmark.inference.inputs import expand_inputs
from earmark.inference.prediction import Failed
from earmark.web.errors import RefusedPathError
from earmark.web.paths import AllowList, is_uri

_UPLOAD = re.compile(r"\.earmark/web/uploads/[0-9a-f]{16}/")

__all__ = ["Source", "sources_of", "told"]


@dataclass(frozen=True)
class Source:
    """One input.

    Parameters
    ----------
    uri : str
        What is opened.
    path : str
        How requests name it: relative to the project folder where it lies inside.
    name : str
        What answers call it: the same, or the name that an upload had where it came from.
    is_upload : bool
        Whether it is a copy that a browser sent.
    """

    uri: str
    path: str
    name: str
    is_upload: bool = False


def sources_of(
    allowed: AllowList, paths: Sequence[str], names: Mapping[str, str] | None = None, *, limit: int
) -> list[Source | Failed]:
    """Single inputs of paths, in order; each file once.

    Parameters
    ----------
    allowed : AllowList
    paths : sequence of str
        Files, folders, lists and patterns; addresses where the server lets pages name them.
    names : mapping of str to str, optional
        What to call uploads, by path.
    limit : int
        Inputs at most.

    Returns
    -------
    list of Source or Failed
        A `Failed` where a path leads nowhere, or a list or folder leads out of what is allowed.

    Raises
    ------
    RefusedPathError
        A path itself leads out of what is allowed.
    UsageError
        More than `limit`.
    """
    asked = [_opened(allowed, path) for path in paths]
    found = [_source(allowed, entry, names or {}) for entry in expand_inputs(asked)]
    if len(found) > limit:
        raise UsageError(
            f"{len(found)} files were named; expected {limit} at most in one request. Name a part of them, or start a "
            "job: earmark predict zones FOLDER"
        )
    return found


def _opened(allowed: AllowList, path: str) -> str:
    """A path as it is opened: spelled as it was, links and all, for the answer bears that name."""
    if is_uri(path):
        return allowed.require_source(path)
    resolved = allowed.require(split_fragment(path)[0])
    if allowed.is_upload(resolved) and resolved.is_dir():
        raise RefusedPathError(f"`{path}` is a folder of the server. Name a file in it.")
    return str(allowed.folders[0] / path)


def _source(allowed: AllowList, entry: str | Failed, names: Mapping[str, str]) -> Source | Failed:
    if isinstance(entry, Failed):
        path = _relative(allowed, entry.path)
        if not is_uri(entry.path) and allowed.is_upload(Path(entry.path)):
            return Failed(
                names.get(path, Path(path).name), "The upload is no longer here. Add the file again."
            )
        return Failed(path, told(allowed.folders[0], entry.error))
    path = _relative(allowed, entry)
    if is_uri(entry):
        return Source(allowed.require_source(entry), path, path)
    try:
        resolved = allowed.require(split_fragment(entry)[0])
    except RefusedPathError as error:
        return Failed(path, str(error))
    if allowed.is_upload(resolved):
        return Source(entry, path, names.get(path, resolved.name), is_upload=True)
    return Source(entry, path, path)


def _relative(allowed: AllowList, path: str) -> str:
    return path.removeprefix(f"{allowed.folders[0]}{os.sep}")


def told(folder: Path, sentence: str) -> str:
    """A sentence with the files of a folder named as from inside it, and uploads by their names alone.

    The cache remembers a failure with the path where its content was first met, maybe that of another upload.
    """
    return _UPLOAD.sub("", sentence.replace(f"{folder}{os.sep}", ""))
