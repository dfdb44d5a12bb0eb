"""The manifest: one row per item: its name, where its bytes are, and what it must not be split from.

Columns every manifest has, in this order:

``id``
    Unique and stable; a path relative to the manifest's root where the input lies inside it.
``uri``
    Where the bytes are. In memory always usable as it stands (absolute path, or URI); in the file relative to
    the root where it lies inside it, so that a moved project folder still works.
``group``
    What must not straddle a split. Missing means that the item is its own group.
``label``
    Class name; missing for unlabelled items and, in a prepared manifest, for sealed test items.

``auxiliary``, where present, marks items that only train: of another source than the one that is scored.

Any further column is free (``artist``, ``album``, ``title``, ``bpm``, ``key``, ``genre``, ``source``,
``sample_weight``, ``label_origin``, ``content_hash``, ``duration_s``, ...). Row order carries no meaning:
hashes are taken over rows sorted by id.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.data.parquet import read_table, write_table
from earmark.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

    from earmark.features.item import Item

__all__ = ["REQUIRED_COLUMNS", "Manifest", "item_ids"]

REQUIRED_COLUMNS = ("id", "uri", "group", "label")
"""Columns that every manifest has, first and in this order."""

_FORMAT = "earmark-manifest-1"
_REMEDY = "Run `earmark prepare` to write it."
_SHOWN = 5  # examples quoted per problem; the count is always exact


class Manifest:
    """A validated table of items.

    Parameters
    ----------
    table : polars.DataFrame
        At least ``id`` and ``uri``; ``group`` and ``label`` are added as missing if absent.
    root : str or Path, optional
        Folder that relative URIs start from and that `write` makes URIs relative to. Default: current folder.

    Raises
    ------
    UsageError
        No rows, missing columns, empty or repeated ids, empty URIs: all problems in one message.

    Examples
    --------
    >>> manifest = Manifest.from_paths(["/music/a.flac", "/music/techno/b.flac"])
    >>> [item.id for item in manifest]
    ['a.flac', 'techno/b.flac']
    """

    def __init__(self, table: pl.DataFrame, *, root: str | Path | None = None) -> None:
        self._root = Path(root if root is not None else Path.cwd()).absolute()
        self._table = _resolved(_completed(table), self._root)

    @classmethod
    def from_paths(cls, paths: Iterable[str | Path], *, root: str | Path | None = None) -> Manifest:
        """A manifest of local paths and URIs, without groups or labels; whether they exist is not asked here.

        Parameters
        ----------
        paths : iterable of str or Path
        root : str or Path, optional
            Ids are relative to it. Default: the deepest folder that holds all local paths.
        """
        import polars as pl

        here = str(Path.cwd())
        uris = [_absolute(str(path), here) for path in paths]
        base = Path(root).absolute() if root is not None else _shared_folder(uris)
        text = {"id": pl.String, "uri": pl.String}
        return cls(pl.DataFrame({"id": item_ids(uris, base), "uri": uris}, schema=text), root=base)

    @classmethod
    def read(cls, path: str | Path) -> Manifest:
        """Read a manifest; URIs stored as relative are resolved from where the file lies now."""
        table, metadata = read_table(path, "manifest", remedy=_REMEDY)
        if metadata.get("earmark.format") != _FORMAT:
            raise UsageError(
                f"`{path}` is marked {metadata.get('earmark.format')!r}, expected {_FORMAT!r}: "
                f"it is not a manifest of this version of earmark. {_REMEDY}"
            )
        folder = Path(path).absolute().parent
        return cls(table, root=os.path.normpath(folder / metadata.get("earmark.root", ".")))

    def write(self, path: str | Path) -> None:
        """Write the manifest in one step; URIs inside the root are stored relative to it."""
        import polars as pl

        path = Path(path).absolute()
        stored = [_relative(uri, self._root) for uri in self._table["uri"]]
        root = os.path.relpath(self._root, path.parent)
        metadata = {
            "earmark.format": _FORMAT,
            "earmark.root": Path(root).as_posix(),
            "earmark.hash": self.hash,
        }
        write_table(path, self._table.with_columns(pl.Series("uri", stored, dtype=pl.String)), metadata)

    def subset(self, ids: Iterable[str]) -> Manifest:
        """The rows with these ids, in manifest order; an unknown id is a `UsageError`."""
        import polars as pl

        wanted = set(ids)
        unknown = sorted(wanted.difference(self._table["id"]))
        if unknown:
            raise UsageError(
                f"{len(unknown)} ids are not in the manifest: {_some(unknown)}. "
                "Expected ids of its `id` column; see `earmark data show`."
            )
        return Manifest(self._table.filter(pl.col("id").is_in(list(wanted))), root=self._root)

    @property
    def table(self) -> pl.DataFrame:
        """The rows; a polars data frame is immutable in use, so this is no copy."""
        return self._table

    @property
    def root(self) -> Path:
        """Absolute folder that relative URIs start from."""
        return self._root

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids in row order."""
        return tuple(self._table["id"])

    @property
    def hash(self) -> str:
        """32 hexadecimal digits over every column but ``uri``, independent of row and column order."""
        return _rows_hash(self._table, sorted(set(self._table.columns) - {"uri"}))

    @property
    def items_hash(self) -> str:
        """32 hexadecimal digits over ids, groups and content hashes: the same before and after sealing."""
        return _rows_hash(
            self._table, [c for c in ("content_hash", "group", "id") if c in self._table.columns]
        )

    def __iter__(self) -> Iterator[Item]:
        from earmark.features.item import Item

        return (Item(id, uri) for id, uri in self._table.select("id", "uri").iter_rows())

    def __len__(self) -> int:
        return self._table.height

    def __repr__(self) -> str:
        return f"Manifest({len(self)} items, columns {', '.join(self._table.columns)})"


def item_ids(uris: Sequence[str], root: Path) -> list[str]:
    """Ids of inputs: the path relative to `root` with forward slashes where inside it, else full path or URI.

    Distinct URIs get distinct ids, and the id of an item does not depend on which other items there are.
    """
    return [_relative(uri, root) for uri in uris]


def _completed(table: pl.DataFrame) -> pl.DataFrame:
    """`table` with the required columns first, as text; raises with all problems of the table together."""
    import polars as pl

    _raise_all([f"column `{name}` is missing" for name in ("id", "uri") if name not in table.columns])
    for name in REQUIRED_COLUMNS:
        column = pl.col(name).cast(pl.String) if name in table.columns else pl.lit(None, dtype=pl.String)
        table = table.with_columns(column.alias(name))
    _raise_all(_problems(table))
    return table.select(*REQUIRED_COLUMNS, *(c for c in table.columns if c not in REQUIRED_COLUMNS))


def _problems(table: pl.DataFrame) -> list[str]:
    if not table.height:
        return ["it has no rows; at least one item is needed"]
    problems = []
    for name in ("id", "uri"):
        empty = sum(not (value or "").strip() for value in table[name])
        if empty:
            problems.append(f"{empty} rows have an empty `{name}`")
    repeated = sorted(id for id, count in Counter(filter(None, table["id"])).items() if count > 1)
    if repeated:
        problems.append(f"{len(repeated)} ids occur more than once: {_some(repeated)}")
    return problems


def _raise_all(problems: list[str]) -> None:
    if problems:
        raise UsageError(
            f"the manifest cannot be used: {'; '.join(problems)}. "
            "Expected one row per item, with a unique `id` and a `uri`. "
            "Correct the source and run `earmark prepare` again."
        )


def _resolved(table: pl.DataFrame, root: Path) -> pl.DataFrame:
    import polars as pl

    folder = str(root)
    return table.with_columns(
        pl.Series("uri", [_absolute(uri, folder) for uri in table["uri"]], dtype=pl.String)
    )


def _rows_hash(table: pl.DataFrame, columns: list[str]) -> str:
    digest = hashlib.blake2b(json.dumps(columns).encode(), digest_size=16)
    for row in table.sort("id").select(columns).iter_rows():
        digest.update(json.dumps(row, default=str, ensure_ascii=False).encode())
        digest.update(b"\n")
    return digest.hexdigest()


def _is_uri(uri: str) -> bool:
    return "://" in uri


def _absolute(uri: str, folder: str) -> str:
    return uri if _is_uri(uri) else os.path.normpath(os.path.join(folder, uri))  # noqa: PTH118 (a tenth of the time)


def _relative(uri: str, root: Path) -> str:
    if not _is_uri(uri) and Path(uri).is_relative_to(root):
        return Path(uri).relative_to(root).as_posix()
    return uri


def _shared_folder(uris: Sequence[str]) -> Path:
    local = [str(Path(uri).parent) for uri in uris if not _is_uri(uri)]
    return Path(os.path.commonpath(local)) if local else Path.cwd()


def _some(values: Sequence[str]) -> str:
    quoted = ", ".join(f"`{value}`" for value in values[:_SHOWN])
    return quoted + (f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else "")
