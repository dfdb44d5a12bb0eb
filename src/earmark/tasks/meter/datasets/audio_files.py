"""Which file a label means: data sets name ``SOURCE/stem``, and lie on disks flat, by source, with any suffix."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from earmark.audio.decode import AUDIO_SUFFIXES

__all__ = ["AudioFiles", "without_audio_suffix"]


class AudioFiles:
    """The audio files below a folder, by their place in it without the suffix.

    ``audio/`` in between does not count: ``audio/MAG/00553.mp3`` is found as ``MAG/00553``.

    Parameters
    ----------
    folder : Path
        May be absent; then nothing is found.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._paths: dict[str, list[Path]] = {}
        for path in sorted(_audio_below(self.folder)):
            inside = path.relative_to(self.folder).as_posix()
            self._paths.setdefault(_key(inside.removeprefix("audio/")), []).append(path)

    def find(self, names: Iterable[str]) -> Path | None:
        """The file of the first of `names` that there is; of several suffixes the written one, else the first."""
        for name in names:
            paths = self._paths.get(_key(name.strip("/").removeprefix("audio/")), [])
            if paths:
                return next((path for path in paths if path.name == PurePosixPath(name).name), paths[0])
        return None

    def __len__(self) -> int:
        return sum(map(len, self._paths.values()))


def without_audio_suffix(name: str) -> str:
    """``blues.00000.wav`` without ``.wav``; a name that merely has dots stays as it is."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122  # names in lists, not paths here
    return stem if suffix.lower() in AUDIO_SUFFIXES else name


def _key(name: str) -> str:
    return without_audio_suffix(name).lower()


def _audio_below(folder: Path) -> list[Path]:
    return [
        Path(parent, name)
        for parent, _, names in os.walk(folder)
        for name in names
        if os.path.splitext(name)[1].lower() in AUDIO_SUFFIXES  # noqa: PTH122
    ]
