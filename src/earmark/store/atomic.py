"""Files that are whole or absent: temporary file in the same folder, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["sync_folder", "write_atomic"]


def write_atomic(path: str | Path, data: bytes, *, sync: bool = True) -> None:
    """Replace the file at `path` by `data`; a reader sees the old file or the new one.

    Parameters
    ----------
    path : str or Path
        Its folder is made if it does not exist.
    data : bytes
    sync : bool
        Whether the folder is flushed to the disk as well. A caller that writes many files into one folder
        passes False and calls `sync_folder` once, before it tells anybody of them.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # of a write, which names no file
            error.filename = str(path)
        raise
    if sync:
        sync_folder(path.parent)


def sync_folder(folder: str | Path) -> None:
    """Make the names in `folder` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
