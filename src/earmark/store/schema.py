"""What a table of features holds: columns with type, unit and range, and one check that names every problem.

A `TableSchema` is declared once and is the only source of names, order and width. Its version and SHA-256 go into
every file made under it. The hash covers what data depend on (names, order, types, units, nullability); ranges and
descriptions may be refined without a new one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from earmark.errors import SchemaError, UsageError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Column", "Problem", "TableSchema"]

_DTYPES = {
    "float32": "Float32",
    "float64": "Float64",
    "int8": "Int8",
    "int32": "Int32",
    "int64": "Int64",
    "bool": "Boolean",
    "string": "String",
}


@dataclass(frozen=True)
class Column:
    """One column.

    Parameters
    ----------
    name, dtype : str
        `dtype` is one of float32, float64, int8, int32, int64, bool, string.
    unit : str
        ``px``, ``qty``, ``%``, ``s``, ``1`` where it has none.
    low, high : float or None
        Range, both ends included; None is unbounded.
    nullable : bool
        Whether values may be missing.
    group : str
        ``meta``, a feature group, ``optional``, ``label`` or ``record``.
    description : str
    required : bool
        Whether a table without the column is wrong.
    """

    name: str
    dtype: str
    unit: str = "1"
    low: float | None = None
    high: float | None = None
    nullable: bool = False
    group: str = ""
    description: str = ""
    required: bool = True

    @property
    def polars_dtype(self) -> Any:
        """The polars type of `dtype`."""
        import polars as pl

        return getattr(pl, _DTYPES[self.dtype])


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a table: `kind` is presence, dtype, range, null, order, duplicate or unknown."""

    kind: str
    column: str
    message: str


@dataclass(frozen=True)
class TableSchema:
    """Columns of a table, in order.

    Parameters
    ----------
    name : str
    version : int
    columns : tuple of Column
    key : tuple of str
        Unique together; the last one is the time, in which the rows of each value of the others ascend.
    inputs : tuple of str
        The allow-list: columns that a model may be given.
    """

    name: str
    version: int
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ("symbol", "timestamp")
    inputs: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        names = [column.name for column in self.columns]
        twice = sorted({name for name in names if names.count(name) > 1})
        unknown = [name for name in (*self.key, *self.inputs) if name not in names]
        if twice or unknown:
            raise UsageError(
                f"The schema {self.name} declares {twice} twice and names {unknown} without declaring them. Expected "
                "each column once."
            )

    @property
    def id(self) -> str:
        """``market/1``."""
        return f"{self.name}/{self.version}"

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """Column by name, in order."""
        return {column.name: column for column in self.columns}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """All names, in order."""
        return tuple(self.by_name)

    @cached_property
    def stored(self) -> tuple[Column, ...]:
        """Columns that the files of a table have: all but the labels, which lie in files of their own."""
        return tuple(column for column in self.columns if column.group != "label")

    @cached_property
    def sha256(self) -> str:
        """Of names, order, types, units and nullability, 64 hexadecimal digits."""
        facts = [(column.name, column.dtype, column.unit, column.nullable) for column in self.columns]
        return hashlib.sha256(json.dumps([self.id, self.key, self.inputs, facts]).encode()).hexdigest()

    @property
    def footer(self) -> dict[str, str]:
        """What every file made under this schema says of it."""
        return {"earmark.schema": self.id, "earmark.schema_sha256": self.sha256}

    def groups(self) -> dict[str, tuple[str, ...]]:
        """Group -> names, in order."""
        found: dict[str, tuple[str, ...]] = {}
        for column in self.columns:
            found[column.group] = (*found.get(column.group, ()), column.name)
        return found

    def get_feature_groups(self) -> dict[str, tuple[str, ...]]:
        """Group -> names of the features alone."""
        wanted = set(self.inputs)
        found = {group: tuple(n for n in names if n in wanted) for group, names in self.groups().items()}
        return {group: names for group, names in found.items() if names}

    def filter_columns(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of `names` that a model may be given, in the order of the schema."""
        given = set(names)
        return tuple(name for name in self.inputs if name in given)

    def summary(self) -> dict[str, Any]:
        """Version, hash, width and groups, for people and JSON."""
        return {
            "schema": self.id,
            "sha256": self.sha256,
            "columns": len(self.columns),
            "features": len(self.inputs),
            "groups": {group: len(names) for group, names in self.get_feature_groups().items()},
            "nullable": [name for name in self.inputs if self.by_name[name].nullable],
            "key": list(self.key),
        }

    def problems(self, table: pl.DataFrame, *, strict: bool = True) -> list[Problem]:
        """Everything that is wrong with `table`; see `validate_dataframe`."""
        from earmark.store.schema_check import problems

        return problems(self, table, strict=strict)

    def validate_dataframe(self, table: pl.DataFrame, strict: bool = True) -> None:
        """Raise one error that names every problem.

        Parameters
        ----------
        table : polars.DataFrame
        strict : bool
            Also refuse columns that the schema does not know, columns in another order, and ranges that are
            exceeded; otherwise presence, types, nulls, the order of rows and the key are checked.

        Raises
        ------
        SchemaError
        """
        found = self.problems(table, strict=strict)
        if found:
            raise SchemaError(schema_message(self, found))


def schema_message(schema: TableSchema, found: Sequence[Problem]) -> str:
    """One message for all problems, with the next command."""
    lines = "; ".join(problem.message for problem in found)
    return (
        f"Schema validation failed against {schema.id}: {lines}. Correct these columns; tables with columns named by "
        "index or prefix are renamed by: earmark migrate market columns"
    )
