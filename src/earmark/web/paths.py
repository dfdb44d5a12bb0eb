"""Which paths a page may name: those inside the project folder, and inside the folders that `--allow` gave.

A browser's user is not always the owner of the machine, so that what a form names is looked at before any command
does: relative paths are of the project folder, symlinks are followed first, and what the server keeps for itself
(its secret, its jobs) is not named at all; uploads are.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from earmark.web.errors import RefusedPathError

__all__ = ["AllowList", "is_uri"]

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:/{1,2}")
_STATE = Path(".earmark", "web")
_UPLOADS = "uploads"
LONGEST_NAME = 255
LONGEST_PATH = 4096
"""Bytes of one name and of a whole path, as on Linux and macOS."""


@dataclass(frozen=True)
class AllowList:
    """Folders whose files pages may name.

    Parameters
    ----------
    folders : tuple of Path
        The project folder first: relative paths are inside it.
    allows_uris : bool
        Whether addresses (``https://...``) may stand for files; the server would open them.
    """

    folders: tuple[Path, ...]
    allows_uris: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "folders", tuple(folder.expanduser().resolve() for folder in self.folders))

    def require(self, path: str | Path) -> Path:
        """The path, absolute and without symlinks; it need not exist.

        Raises
        ------
        RefusedPathError
            It leads out of the allowed folders, into what the server keeps for itself, or is none.
        """
        if is_uri(str(path)):
            raise RefusedPathError(
                f"`{path}` is an address, and a path was expected. Name a file of the project."
            )
        project = self.folders[0]
        try:
            found = (project / Path(path).expanduser()).resolve()
            _require_short(found)
        except (
            OSError,
            RuntimeError,
            ValueError,
        ) as error:  # a loop of links, a NUL, an unknown user, a name that no file can have
            raise RefusedPathError(
                f"`{str(path)!r:.200}` is not a path ({error}). Name a file of the project."
            ) from None
        if not any(found.is_relative_to(folder) for folder in self.folders):
            raise RefusedPathError(
                f"`{path}` lies outside the project folder and the allowed ones. Move it there, or start the server "
                "with --allow FOLDER."
            )
        if self._is_state(found):
            raise RefusedPathError(
                f"`{path}` belongs to the server itself. Name another file of the project."
            )
        return found

    def require_source(self, text: str) -> str:
        """A path, or an address where the server lets pages name them, as a command is given it."""
        if not is_uri(text):
            return str(self.require(text))
        if not self.allows_uris:
            raise RefusedPathError(
                f"`{text}` is an address, which pages may not name. Name a file, or start the server with --allow-uris."
            )
        return text

    def is_upload(self, path: Path) -> bool:
        """Whether a resolved path is something that a browser sent: data, never code."""
        return path.is_relative_to(self.folders[0] / _STATE / _UPLOADS)

    def _is_state(self, path: Path) -> bool:
        return path.is_relative_to(self.folders[0] / _STATE) and not self.is_upload(path)


def _require_short(path: Path) -> None:
    """Refuse what a file system would fail at, wherever it is looked for first."""
    longest = max((len(os.fsencode(part)) for part in path.parts), default=0)
    if longest > LONGEST_NAME:
        raise ValueError(f"a name of {longest} bytes; a file's has {LONGEST_NAME} at most")
    if len(os.fsencode(path)) >= LONGEST_PATH:
        raise ValueError(f"{len(os.fsencode(path))} bytes; a path has less than {LONGEST_PATH}")


def is_uri(text: str) -> bool:
    """Whether a text begins with a scheme, as ``https://`` or ``file:/`` does."""
    return _SCHEME.match(text.strip()) is not None
