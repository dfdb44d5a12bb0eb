"""The newest vector of each entity, for a program that predicts: small files, a time to live, a bounded number.

A file is a header (magic, expiry, name of the entity) and an array in NumPy's own format, read without pickle. The
file's time of modification is when it was last used: with more than `MAX_ENTRIES`, the least recently used leave.
"""

from __future__ import annotations

import hashlib
import io
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.store.atomic import write_atomic

__all__ = ["MAX_ENTRIES", "TTL_S", "OnlineStore"]

TTL_S = 3600.0
MAX_ENTRIES = 1000

_HEADER = struct.Struct("<8sdI")
_MAGIC = b"earmark1"
_SUFFIX = ".vector"


class OnlineStore:
    """Vectors by entity, below one folder.

    Parameters
    ----------
    folder : str or Path
    max_entries : int
    clock : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        max_entries: int = MAX_ENTRIES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = Path(folder)
        self.max_entries = max_entries
        self.clock = clock

    def write(self, entity: str, array: npt.NDArray[Any], ttl: float = TTL_S) -> None:
        """Keep `array` for `ttl` seconds; what is expired or one too many goes.

        Raises
        ------
        UsageError
            The time to live is not positive, or the array holds objects.
        """
        array = np.asarray(array)
        if not ttl > 0 or array.dtype.hasobject:
            raise UsageError(
                f"`{entity}` cannot be kept for {ttl} s as {array.dtype}. Expected a time above 0 and an array of "
                "numbers."
            )
        buffer = io.BytesIO()
        name = entity.encode()
        buffer.write(_HEADER.pack(_MAGIC, self.clock() + ttl, len(name)) + name)
        np.save(buffer, array, allow_pickle=False)
        path = self._path(entity)
        # What comes and goes within an hour is not worth a flush of the folder.
        write_atomic(path, buffer.getvalue(), sync=False)
        self._touch(path)
        self._make_room()

    def read(self, entity: str) -> npt.NDArray[Any] | None:
        """The array, or None where there is none, it is expired, or its file is damaged (which removes it)."""
        path = self._path(entity)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        array = self._decoded(data, entity)
        if array is None:
            path.unlink(missing_ok=True)
        else:
            self._touch(path)
        return array

    def clear(self, entity: str | None = None) -> int:
        """Remove one entity, or all; how many there were."""
        paths = self._paths() if entity is None else [self._path(entity)]
        return sum(_removed(path) for path in paths)

    def entities(self) -> list[str]:
        """Names of what is not expired, sorted."""
        found = []
        for path in self._paths():
            header = _header(path)
            if header is not None and header[0] > self.clock():
                found.append(header[1])
        return sorted(found)

    def remove_expired(self) -> int:
        """Remove what is expired or damaged; how many there were."""
        count = 0
        for path in self._paths():
            header = _header(path)
            if header is None or header[0] <= self.clock():
                count += _removed(path)
        return count

    def _path(self, entity: str) -> Path:
        return self.folder / (hashlib.sha256(entity.encode()).hexdigest()[:32] + _SUFFIX)

    def _paths(self) -> list[Path]:
        return list(self.folder.glob(f"*{_SUFFIX}"))

    def _touch(self, path: Path) -> None:
        now = int(self.clock() * 1e9)
        try:
            os.utime(path, ns=(now, now))
        except FileNotFoundError:
            return  # another process cleared it in between

    def _decoded(self, data: bytes, entity: str) -> npt.NDArray[Any] | None:
        try:
            magic, expires, length = _HEADER.unpack_from(data)
            name = data[_HEADER.size : _HEADER.size + length]
            if magic != _MAGIC or name != entity.encode() or expires <= self.clock():
                return None
            array: npt.NDArray[Any] = np.load(io.BytesIO(data[_HEADER.size + length :]), allow_pickle=False)
        except (struct.error, ValueError, EOFError):
            return None
        return array

    def _make_room(self) -> None:
        """Expired first, then the least recently used."""
        if len(self._paths()) <= self.max_entries:
            return
        self.remove_expired()
        by_use = sorted((path.stat().st_mtime_ns, path) for path in self._paths() if path.exists())
        for _, path in by_use[: max(0, len(by_use) - self.max_entries)]:
            path.unlink(missing_ok=True)


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _header(path: Path) -> tuple[float, str] | None:
    try:
        with path.open("rb") as file:
            magic, expires, length = _HEADER.unpack(file.read(_HEADER.size))
            name = file.read(length).decode()
    except (OSError, struct.error, ValueError):
        return None
    return (expires, name) if magic == _MAGIC else None
