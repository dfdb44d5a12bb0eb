"""Parquet files that are whole or absent, with text metadata in the footer.

A table is written to a temporary name in the same folder, flushed to the disk and renamed, so that a reader
sees the old table or the new one and a crash leaves at most a stray ``.tmp`` file. Metadata keys and values
are text; structured values are JSON.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.errors import UsageError
from earmark.store.atomic import write_atomic

if TYPE_CHECKING:
    import polars as pl

__all__ = ["file_hash", "read_table", "write_bytes_atomic", "write_table"]


def write_table(path: str | Path, table: pl.DataFrame, metadata: Mapping[str, str]) -> None:
    """Write `table` and its metadata to `path` in one step; the folder is made if it does not exist."""
    import io

    buffer = io.BytesIO()
    table.write_parquet(buffer, metadata=dict(metadata))
    write_bytes_atomic(path, buffer.getvalue())


def read_table(path: str | Path, kind: str, *, remedy: str) -> tuple[pl.DataFrame, dict[str, str]]:
    """Read a table and its metadata.

    Parameters
    ----------
    path : str or Path
    kind : str
        What the table is called in error messages, e.g. ``"manifest"``.
    remedy : str
        What the user should do when it is absent or broken, as a sentence.

    Returns
    -------
    (polars.DataFrame, dict)

    Raises
    ------
    UsageError
        No such file, or not a Parquet table.
    """
    import polars as pl

    path = Path(path)
    if not path.is_file():
        raise UsageError(f"there is no {kind} at `{path}`. {remedy}")
    try:
        metadata = pl.read_parquet_metadata(path)
        return pl.read_parquet(path), metadata
    except (pl.exceptions.PolarsError, OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"`{path}` is not a readable {kind} ({error}). Expected a Parquet table. {remedy}"
        ) from error


def write_bytes_atomic(path: str | Path, data: bytes) -> None:
    """Replace the file at `path` by `data`: temporary file, fsync, rename, fsync of the folder."""
    write_atomic(path, data)


def file_hash(path: str | Path) -> str:
    """BLAKE2b-128 of a file's bytes, as 32 hexadecimal digits."""
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()
