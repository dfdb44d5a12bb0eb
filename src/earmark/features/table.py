"""The result of an extraction: rows in manifest order, keyed by item id, never shifted by a failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from earmark.errors import SchemaError

__all__ = ["FeatureTable", "ItemFailure", "joined"]


@dataclass(frozen=True, slots=True)
class ItemFailure:
    """Why an item was set aside: ``error`` is the sentence shown to the user, ``group`` None when decoding failed."""

    id: str
    uri: str
    error: str
    kind: str
    group: str | None = None
    remembered: bool = False


@dataclass(frozen=True)
class FeatureTable:
    """Features of the items that succeeded.

    Parameters
    ----------
    ids : tuple of str
        Items in manifest order; a failed item is in `failures` only.
    columns : tuple of str
        ``group.column`` of all vector groups.
    values : ndarray, float32, shape (n_items, n_columns)
    failures : tuple of ItemFailure
    computed : mapping of group name to int
        Items really computed in this run; all zero when warm.
    seconds : mapping of group name to float
        Time spent in each group's function in this run, decoding under ``decode``.
    arrays : mapping of group name to list of ndarray
        Results of groups of all other kinds, aligned with `ids`.
    """

    ids: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray
    failures: tuple[ItemFailure, ...] = ()
    computed: Mapping[str, int] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    arrays: Mapping[str, Sequence[np.ndarray]] = field(default_factory=dict)
    fingerprints: Mapping[str, bytes] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.ids)

    def column(self, name: str) -> np.ndarray:
        """Values of one column, shape (n_items,)."""
        return np.ascontiguousarray(self.select([name]).values[:, 0])

    def select(self, columns: Sequence[str]) -> FeatureTable:
        """The table with these columns in this order; a missing one is a `SchemaError` that names it."""
        index = {name: position for position, name in enumerate(self.columns)}
        missing = [name for name in columns if name not in index]
        if missing:
            raise SchemaError(
                f"{len(missing)} columns are not in the table: {', '.join(missing[:8])}"
                f"{' ...' if len(missing) > 8 else ''}. Extract the groups that make them."
            )
        values = self.values[:, [index[name] for name in columns]]
        return FeatureTable(
            self.ids,
            tuple(columns),
            values,
            self.failures,
            self.computed,
            self.seconds,
            self.arrays,
            self.fingerprints,
        )

    def frames(self, group: str) -> Sequence[np.ndarray]:
        """Arrays of a group that gives several rows per item, one per item, aligned with `ids`."""
        if group not in self.arrays:
            raise SchemaError(
                f"no frames of `{group}` in the table; it has {', '.join(self.arrays) or 'none'}."
            )
        return self.arrays[group]


def joined(tables: Sequence[FeatureTable]) -> FeatureTable:
    """Rows of several tables with the same columns, one below the other; rows per item are left out."""
    first = tables[0]
    differing = [table.columns for table in tables if table.columns != first.columns]
    if differing:
        raise SchemaError(
            f"tables with {len(first.columns)} and {len(differing[0])} columns, or columns in another order, cannot "
            "be joined; expected the same columns. Select them first."
        )
    return FeatureTable(
        tuple(id for table in tables for id in table.ids),
        first.columns,
        np.concatenate([table.values for table in tables]),
        tuple(failure for table in tables for failure in table.failures),
    )
