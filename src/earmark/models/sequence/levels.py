"""Columns of book levels, as models of raw order books read them.

Level i has four columns, ``bid_price_i, bid_volume_i, ask_price_i, ask_volume_i``, i from 0 (best); 0 stands for a
level that is missing. Prices and volumes are raw: such models normalise them by the mid price themselves.
"""

from __future__ import annotations

from collections.abc import Sequence

from earmark.errors import SchemaError

__all__ = ["LEVEL_FIELDS", "level_columns", "level_positions"]

LEVEL_FIELDS = ("bid_price", "bid_volume", "ask_price", "ask_volume")


def level_columns(n_levels: int) -> tuple[str, ...]:
    """Names of the columns, level after level."""
    return tuple(f"{field}_{level}" for level in range(n_levels) for field in LEVEL_FIELDS)


def level_positions(columns: Sequence[str], n_levels: int) -> list[int]:
    """Positions of the columns of `level_columns` in `columns`.

    Raises
    ------
    SchemaError
        Naming the first columns that are missing.
    """
    wanted = level_columns(n_levels)
    missing = [name for name in wanted if name not in columns]
    if missing:
        raise SchemaError(
            f"The windows lack {len(missing)} of {len(wanted)} columns of book levels, first {missing[:4]}; a model of "
            f"{n_levels} levels reads them raw. Train it on raw order books, or choose a model of features."
        )
    return [list(columns).index(name) for name in wanted]
