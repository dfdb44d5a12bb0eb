"""Blocks of columns that belong together: the tokens of a transformer, and what CutMix swaps as a whole.

A plan says how the columns of a table fall into blocks:

* a number n: n runs of neighbouring columns, as equal as they can be (fewer columns than n: one each);
* a list of blocks, each a list of beginnings of column names: a column belongs to the block with the longest beginning
  that fits. Columns that no block names fall together by their group, the part of the name before the last dot.

Names rather than positions: a column that is dropped as constant takes nothing else along. A block that keeps no
column is not there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from earmark.models.constraints import Interval
from earmark.models.estimator import Ints

__all__ = ["BlockPlan", "block_of_columns"]

Plan = int | Sequence[Sequence[str]]


@dataclass(frozen=True)
class BlockPlan:
    """A number of blocks, or lists of beginnings of names."""

    def accepts(self, value: Any) -> bool:
        """Whether it is one of the two."""
        if isinstance(value, (list, tuple)):
            return all(_is_block(block) for block in value)
        return Interval(int, 1, 4096).accepts(value)

    def describe(self) -> str:
        """The words of the error message."""
        return "an int in [1, 4096], or a list of lists of beginnings of column names"

    def invalid_examples(self) -> list[Any]:
        """Zero, text, empty and nested too little."""
        return [0, 2.5, "groups", None, ("audio",), ((),), ((1,),)]


def _is_block(block: Any) -> bool:
    is_list = isinstance(block, (list, tuple)) and len(block) > 0
    return is_list and all(isinstance(start, str) and start for start in block)


def block_of_columns(plan: Plan, n_columns: int, columns: Sequence[str] | None = None) -> Ints:
    """The number of each column's block, shape (n_columns,); blocks are numbered by their first column.

    Parameters
    ----------
    plan : int or sequence of sequences of str
    n_columns : int
    columns : sequence of str, optional
        Their names. Without names a list of beginnings makes one block.
    """
    if isinstance(plan, int):
        return np.arange(n_columns) * min(plan, n_columns) // n_columns
    names = ["" for _ in range(n_columns)] if columns is None else list(columns)
    starts = {start: number for number, block in enumerate(plan) for start in block}
    numbers: dict[object, int] = {}
    return np.array([numbers.setdefault(_key(name, starts), len(numbers)) for name in names], dtype=np.int64)


def _key(name: str, starts: dict[str, int]) -> object:
    """What columns of one block share."""
    fitting = max((start for start in starts if name.startswith(start)), key=len, default=None)
    return name.rpartition(".")[0] if fitting is None else starts[fitting]
