"""Columns of earlier Parquet files get schema names: ``feature_000`` by its number, ``ob_...`` without the prefix.

Earlier writers named columns by index or put ``ob_``, ``candle_`` or ``ind_`` before them. Only names that the schema
knows come out; a file in which that is not clear is left as it is and reported.
"""

from __future__ import annotations

import io
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import InputError, UsageError
from earmark.features.progress import Progress
from earmark.orderbook.views import VIEWS

__all__ = ["Renamed", "new_names", "rename_columns"]

PREFIXES = ("ob_", "candle_", "ind_")
BACKUP = ".backup"

_INDEXED = re.compile(r"feature_(\d+)")
_BY_WIDTH = {len(VIEWS[view]): VIEWS[view] for view in ("v1_110", "v1_112", "v1_187")}


@dataclass(frozen=True)
class Renamed:
    """What became of a file: how many columns got another name, or why none did."""

    path: Path
    columns: int
    reason: str = ""


def new_names(columns: Sequence[str]) -> dict[str, str]:
    """Old name -> new name, for the columns that change.

    Raises
    ------
    InputError
        Indexed columns of a width that no view has, or two columns that would get one name.
    """
    indexed = {name: int(match[1]) for name in columns if (match := _INDEXED.fullmatch(name))}
    view = _BY_WIDTH.get(len(indexed), ())
    if indexed and sorted(indexed.values()) != list(range(len(view))):
        widths = ", ".join(map(str, _BY_WIDTH))
        raise InputError(
            f"{len(indexed)} columns are named by index, {min(indexed.values())} to {max(indexed.values())}; expected "
            f"0 .. n - 1 with n one of {widths}. Rename them by hand."
        )
    known = set(VIEWS["v1_187"])
    names = {name: view[place] for name, place in indexed.items()}
    for name in columns:
        bare = next((name.removeprefix(prefix) for prefix in PREFIXES if name.startswith(prefix)), name)
        if bare != name and bare in known and name not in known:
            names[name] = bare
    result = [names.get(name, name) for name in columns]
    twice = sorted({name for name in result if result.count(name) > 1})
    if twice:
        raise InputError(
            f"Two columns would be called {', '.join(twice)}; expected each once. Drop one of them."
        )
    return names


def rename_columns(
    path: Path, *, backup: bool = False, dry_run: bool = False, tell: Callable[[Progress], None] | None = None
) -> list[Renamed]:
    """Rename the columns of a Parquet file, or of all below a folder; each file whole or not at all.

    Parameters
    ----------
    path : Path
    backup : bool
        Keep the file as it was beside it, as ``.parquet.backup``.
    dry_run : bool
        Only say what would change.
    tell : callable, optional
        Told of each file.

    Returns
    -------
    list of Renamed
        Files that have their names already are in it with 0 columns: running again changes nothing.

    Raises
    ------
    UsageError
        There is no Parquet file.
    """
    files = list(_parquet_files(path))
    if not files:
        raise UsageError(
            f"There is no Parquet file in `{path}`. Name one by --file, or a folder by --storage-path"
        )
    results = []
    for done, file in enumerate(files, 1):
        results.append(_rename(file, backup=backup, dry_run=dry_run))
        if tell is not None:
            tell(Progress("columns", done, len(files), sum(bool(one.reason) for one in results), str(file)))
    return results


def _rename(path: Path, *, backup: bool, dry_run: bool) -> Renamed:
    import polars as pl

    try:
        names = new_names(list(pl.read_parquet_schema(path)))
        if names and _is_versioned(path):
            raise InputError(
                "It belongs to a versioned table, whose log names it. Write its rows anew instead."
            )
        if names and not dry_run:
            if backup:
                _keep(path)
            buffer = io.BytesIO()
            table = pl.read_parquet(path, hive_partitioning=False).rename(names)
            table.write_parquet(buffer, compression="zstd", metadata=_own_metadata(path))
            write_bytes_atomic(path, buffer.getvalue())
    except (InputError, pl.exceptions.PolarsError, OSError) as error:
        return Renamed(path, 0, str(error))
    return Renamed(path, len(names))


def _keep(path: Path) -> None:
    """The first copy is the original: a later run leaves it."""
    backup = path.with_name(path.name + BACKUP)
    if not backup.exists():
        temporary = path.with_name(f".{path.name}{BACKUP}.tmp")
        shutil.copy2(path, temporary)
        temporary.replace(backup)


def _own_metadata(path: Path) -> dict[str, str]:
    import polars as pl

    return {name: value for name, value in pl.read_parquet_metadata(path).items() if name != "ARROW:schema"}


def _is_versioned(path: Path) -> bool:
    return any((folder / "_delta_log").is_dir() for folder in path.parents)


def _parquet_files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from sorted(found for found in path.rglob("*.parquet") if not found.name.startswith("."))
