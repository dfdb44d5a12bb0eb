"""Features as files for other tools: a row per item, a row per frame, or arrays.

==============  ===========================  =====================================================================
rows            suffix                       what a file holds
==============  ===========================  =====================================================================
`track`         ``.csv``, ``.parquet``       ``id`` and a column per feature
`frames`        ``.csv``, ``.parquet``       ``id``, ``path``, what the manifest says of the item (label, source,
                                             sample weight), ``frameTime`` in seconds, a column per feature
`spectrogram`   ``.npz``                     ``ids`` and an array per group, its first axis the items
==============  ===========================  =====================================================================

A target without a suffix is a folder, which gets one file per feature set. Columns bear their full names. Files are
written whole or not at all, and what cannot be written is refused before anything is computed.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import UsageError
from earmark.features.group import FeatureGroup
from earmark.features.sets import FeatureSet
from earmark.features.table import FeatureTable

if TYPE_CHECKING:
    import polars as pl

    from earmark.data.manifest import Manifest

__all__ = ["ROWS", "Export", "chosen_rows", "rows_of", "without_groups", "write_table"]

ROWS: Mapping[str, str] = {"track": "vector", "frames": "frames", "spectrogram": "embedding"}
"""What a row of a table is about -> kind of the groups that give it."""
SUFFIXES = (".csv", ".parquet")
_ARRAYS = ".npz"
_TOLD = ("label", "source", "sample_weight")


def rows_of(features: FeatureSet) -> str:
    """What a row of this set is about: a key of `ROWS`, or the kind of its groups where no table can hold them."""
    if features.columns:
        return "track"
    kinds = {group.kind for group in features.groups}
    return next((rows for rows, kind in ROWS.items() if kinds == {kind}), "/".join(sorted(kinds)))


def chosen_rows(
    known: Sequence[FeatureSet], named: Sequence[FeatureSet] | None, default: FeatureSet, rows: str
) -> list[FeatureSet]:
    """Of the sets that were named, those with such rows; where none was named, the first that the task has.

    Parameters
    ----------
    known : sequence of FeatureSet
        All of the task.
    named : sequence of FeatureSet or None
    default : FeatureSet
        Stands before `known`.
    rows : str
        A key of `ROWS`, or ``all``.

    Raises
    ------
    UsageError
        None of the sets has such rows.
    """
    wanted = tuple(ROWS) if rows == "all" else (rows,)
    if named is not None:
        found = [features for features in named if rows_of(features) in wanted]
    else:
        candidates = {kind: [one for one in (default, *known) if rows_of(one) == kind] for kind in wanted}
        found = [each[0] for each in candidates.values() if each]
    if not found:
        have = ", ".join(f"{features.name} ({rows_of(features)})" for features in named or known)
        raise UsageError(
            f"no feature set gives rows of the kind `{rows}`; there are {have}. Name another with --features."
        )
    return found


def without_groups(sets: Sequence[FeatureSet], names: Sequence[str]) -> list[FeatureSet]:
    """The sets without the groups that a name fits: the group's own, the last part of it, or a word of that part.

    Raises
    ------
    UsageError
        A name fits no group, or every group of a set.
    """
    if not names:
        return list(sets)
    groups = {group.name: group for features in sets for group in features.groups}
    for name in names:
        if not any(_fits(group, name) for group in groups.values()):
            raise UsageError(
                f"nothing to skip: {name!r} is no group of its own in {', '.join(one.name for one in sets)}. "
                f"Groups: {', '.join(groups)}."
            )
    return [_without(features, names) for features in sets]


def _fits(group: FeatureGroup, name: str) -> bool:
    last = group.name.rpartition(".")[2]
    return name in (group.name, last, *last.split("_"))


def _without(features: FeatureSet, names: Sequence[str]) -> FeatureSet:
    kept = tuple(g for g in features.groups if not any(_fits(g, name) for name in names))
    if kept == features.groups:
        return features
    if not kept:
        raise UsageError(f"without {', '.join(names)} nothing is left of `{features.name}`. Skip less.")
    offered = {column for group in kept for column in group.column_names}
    selection = None
    if features.selection is not None:
        selection = tuple(column for column in features.selection if column in offered)
    name = f"{features.name}_without_{'_'.join(names)}"  # its file must not take the place of the whole set's
    return FeatureSet(name, kept, selection, features.description)


@dataclass(frozen=True)
class Export:
    """Where the tables of some feature sets go; `check` refuses what cannot be.

    Parameters
    ----------
    target : Path
        A file, or without a suffix a folder.
    table_format : {"csv", "parquet"} or None
        Of the files in a folder, default ``parquet``.
    """

    target: Path
    table_format: str | None = None

    @property
    def is_folder(self) -> bool:
        """Whether `target` gets a file per set."""
        return self.target.is_dir() or not self.target.suffix

    def check(self, sets: Sequence[FeatureSet]) -> None:
        """Raise UsageError where the sets cannot be written to the target."""
        kinds = {rows_of(features) for features in sets}
        unwritable = sorted(kinds - ROWS.keys())
        if unwritable:
            raise UsageError(
                f"rows of the kind {', '.join(unwritable)} cannot be written as a table. Leave --output out."
            )
        if self.is_folder:
            return
        suffix, arrays = self.target.suffix, "spectrogram" in kinds
        if suffix not in (*SUFFIXES, _ARRAYS):
            raise UsageError(
                f"`{self.target}`: expected a name that ends in .csv or .parquet, .npz for arrays, or a folder."
            )
        if len(kinds) > 1 or (len(sets) > 1 and kinds != {"track"}):
            raise UsageError(
                f"`{self.target}` cannot hold {', '.join(one.name for one in sets)} in one table. "
                "Give a folder: each gets a file of its own."
            )
        if (suffix == _ARRAYS) != arrays:
            expected = _ARRAYS if arrays else ".csv or .parquet"
            raise UsageError(
                f"`{self.target}`: {', '.join(sorted(kinds))} is written as {expected}. Rename the file."
            )
        if self.table_format not in (None, suffix[1:]):
            raise UsageError(f"`{self.target}` is not {self.table_format}. Leave one of the two out.")

    def write(
        self, sets: Sequence[FeatureSet], table: FeatureTable, keep: Sequence[int], manifest: Manifest
    ) -> list[Path]:
        """Write the rows `keep` of a table; gives the paths."""
        if not self.is_folder and rows_of(sets[0]) == "track":
            names = dict.fromkeys(column for features in sets for column in features.columns)
            return [write_table(self.target, *_item_columns(table, tuple(names), keep))]
        suffix = f".{self.table_format or 'parquet'}"
        return [self._write_set(features, table, keep, manifest, suffix) for features in sets]

    def _write_set(
        self, features: FeatureSet, table: FeatureTable, keep: Sequence[int], manifest: Manifest, suffix: str
    ) -> Path:
        rows = rows_of(features)
        ending = _ARRAYS if rows == "spectrogram" else suffix
        path = self.target / f"{features.name}{ending}" if self.is_folder else self.target
        if rows == "track":
            return write_table(path, *_item_columns(table, features.columns, keep))
        write: Callable[..., Path] = _write_arrays if rows == "spectrogram" else _write_frames
        return write(path, features, table, keep, manifest)


def write_table(path: Path, ids: Sequence[str], columns: Mapping[str, Any]) -> Path:
    """Write id and columns to ``.csv`` or ``.parquet``, whole or not at all."""
    import polars as pl

    return _write_polars(path, pl.DataFrame({"id": list(ids), **columns}))


def _item_columns(
    table: FeatureTable, names: Sequence[str], keep: Sequence[int]
) -> tuple[list[str], dict[str, np.ndarray]]:
    values = table.select(names).values[list(keep)]
    return [table.ids[row] for row in keep], dict(zip(names, values.T, strict=True))


def _write_frames(
    path: Path, features: FeatureSet, table: FeatureTable, keep: Sequence[int], manifest: Manifest
) -> Path:
    import polars as pl

    names = [name for group in features.groups for name in group.column_names]
    (frame_s,) = {float(group.frame_s or 0) for group in features.groups}
    told = manifest.table.select("id", "uri", *(name for name in _TOLD if name in manifest.table.columns))
    about = {row["id"]: row for row in told.iter_rows(named=True)}
    parts = []
    for row in keep:
        values = np.column_stack([table.frames(group.name)[row] for group in features.groups])
        item = {"path" if key == "uri" else key: value for key, value in about[table.ids[row]].items()}
        parts.append(
            pl.DataFrame(
                {"frameTime": np.arange(len(values)) * frame_s, **dict(zip(names, values.T, strict=True))}
            ).select(
                *(
                    pl.lit(value, pl.Float64 if key == "sample_weight" else pl.String).alias(key)
                    for key, value in item.items()
                ),
                pl.all(),
            )
        )
    if not parts:
        raise UsageError(
            f"there is no item whose frames `{path}` could hold. Extract at least one that does not fail."
        )
    return _write_polars(path, pl.concat(parts))


def _write_arrays(
    path: Path, features: FeatureSet, table: FeatureTable, keep: Sequence[int], _manifest: Manifest
) -> Path:
    content = io.BytesIO()
    arrays = {
        group.name: np.stack([table.frames(group.name)[row] for row in keep]) for group in features.groups
    }
    np.savez(
        content, allow_pickle=False, ids=np.array([table.ids[row] for row in keep], dtype=np.str_), **arrays
    )
    write_bytes_atomic(path, content.getvalue())
    return path


def _write_polars(path: Path, table: pl.DataFrame) -> Path:
    content = io.BytesIO()
    if path.suffix == ".csv":
        table.write_csv(content)
    elif path.suffix == ".parquet":
        table.write_parquet(content)
    else:
        raise UsageError(f"`{path}`: expected a name that ends in .csv or .parquet.")
    write_bytes_atomic(path, content.getvalue())
    return path
