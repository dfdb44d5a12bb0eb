"""Where a table's files are: a local folder, or an object store by URI.

Files and log of a remote table go through the same client, Delta Lake's, and so take the same options. On S3 a commit
is a conditional put (``aws_conditional_put = "etag"``), which S3 and the servers compatible with it support; two
writers can therefore not make the same version.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from earmark.errors import UsageError
from earmark.store.atomic import sync_folder, write_atomic
from earmark.store.part_files import has_parquet_ends

__all__ = ["Storage", "storage_of"]


@dataclass(frozen=True)
class Storage:
    """Access to the files of one table.

    Parameters
    ----------
    uri : str
        Without a slash at the end.
    folder : Path or None
        The same for a local table.
    options : mapping or None
        As Delta Lake takes them.
    """

    uri: str
    folder: Path | None
    options: Mapping[str, str] | None

    def make(self) -> None:
        """Make a local folder; an object store needs none."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)

    def write(self, path: str, data: bytes) -> None:
        """Write a file whole or not at all; its name is safe after `sync`."""
        if self.folder is not None:
            write_atomic(self.folder / path, data, sync=False)
            return
        stream = self._files.open_output_stream(path, None)
        stream.write(data)
        stream.close()

    def sync(self, folders: Iterable[str]) -> None:
        """Flush the names of files in `folders` of this table to the disk."""
        if self.folder is None:
            return
        for folder in folders:
            sync_folder(self.folder / folder)
        sync_folder(self.folder)

    def read(self, path: str) -> bytes:
        """The bytes of a file."""
        if self.folder is not None:
            return (self.folder / path).read_bytes()
        file = self._files.open_input_file(path)
        return bytes(file.read(file.size()))

    def source(self, path: str) -> str:
        """What polars opens."""
        return f"{self.uri}/{path}" if self.folder is None else str(self.folder / path)

    @property
    def reading_options(self) -> dict[str, str] | None:
        """What polars takes for `source`."""
        if self.folder is not None or not self.options:
            return None
        return {name.lower(): value for name, value in self.options.items() if name != "aws_conditional_put"}

    def fault(self, path: str, size: int) -> str | None:
        """What is visibly wrong with a local file of which `size` bytes are expected; None if nothing is.

        A remote file is not asked for: an object appears whole, and asking costs a round trip per file.
        """
        if self.folder is None:
            return None
        try:
            with (self.folder / path).open("rb") as file:
                head = file.read(4)
                found = file.seek(0, 2)
                file.seek(max(0, found - 4))
                tail = file.read(4)
        except FileNotFoundError:
            return "it is gone"
        except OSError as error:
            return f"it cannot be opened ({error.strerror})"
        if found != size:
            return f"it has {found} bytes, expected {size}"
        return None if has_parquet_ends(head, tail) else "it does not begin and end like Parquet"

    @cached_property
    def _files(self) -> Any:
        """Delta Lake's own client; its wrapper for pyarrow hands on buffers that the client does not take."""
        from deltalake._internal import DeltaFileSystemHandler

        return DeltaFileSystemHandler(self.uri, dict(self.options) if self.options else None)


def storage_of(uri: str | Path, options: Mapping[str, str] | None) -> Storage:
    """The storage at a path or URI."""
    text = str(uri)
    scheme, separator, rest = text.partition("://")
    if not separator or isinstance(uri, Path):
        folder = Path(uri).absolute()
        return Storage(str(folder), folder, None)
    if scheme == "file":
        return Storage(rest, Path(rest), None)
    if scheme == "memory":
        raise UsageError(
            f"`{text}` would be gone with the process that wrote it. Expected a folder or an object store such as "
            "s3://bucket/store. For a passing table use a temporary folder."
        )
    safe = {"aws_conditional_put": "etag"} if scheme in ("s3", "s3a") else {}
    return Storage(text.rstrip("/"), None, {**safe, **(options or {})})
