"""OKCoin spot, an hour per pair of SQLite files: whole books of 20 levels, and trades.

Below `<exchange>/<coin>/<year-month>/<date>/` lie `<date>-<hour>.depth.db` and `.trade.db`. In each, a table `config`
of one row tells the start (milliseconds since 1970 UTC), that times are offsets from it, the scale of prices and
amounts, and the levels; the table `data` holds the rows, levels in the order bid price, bid amount, ask price, ask
amount.

The recorder polled: books about every 310 ms, and trades in batches that carry the time of the poll, buys first. After
each batch comes a row with `isBid` 2 and no price, an end mark. `isBid` 1 is a buying taker: such trades lie above the
mid of the book before them. Rows that repeat are separate trades of equal size, as far as a file without identities
can tell.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from earmark.errors import InputError
from earmark.tasks.market.importers.recording import (
    NS_PER_MS,
    TRADE_SCHEMA,
    BookRows,
    Recording,
    make_recording,
)

__all__ = ["PATTERNS", "read"]

PATTERNS = ("*.depth.db", "*.trade.db")
QUOTE_CURRENCIES = {"okcoin_cn": "CNY", "okcoin_com": "USD"}


def read(files: list[Path]) -> tuple[Recording, ...]:
    """Books and trades of all hours of each coin.

    Raises
    ------
    InputError
        A file is no such database, lies outside the layout, or a coin has no books.
    """
    by_symbol: dict[str, list[Path]] = {}
    for path in files:
        by_symbol.setdefault(_symbol(path), []).append(path)
    return tuple(_read_symbol(symbol, paths) for symbol, paths in sorted(by_symbol.items()))


def _symbol(path: Path) -> str:
    exchange, coin = path.resolve().parts[-5:-3] if len(path.resolve().parts) > 5 else ("", "")
    if exchange not in QUOTE_CURRENCIES:
        known = " or ".join(QUOTE_CURRENCIES)
        raise InputError(
            f"{path}: expected below <exchange>/<coin>/<year-month>/<date>/ with the exchange {known}"
        )
    return coin.upper() + QUOTE_CURRENCIES[exchange]


def _read_symbol(symbol: str, paths: list[Path]) -> Recording:
    books = [_read_books(path) for path in paths if path.name.endswith(".depth.db")]
    trades = [_read_trades(path) for path in paths if path.name.endswith(".trade.db")]
    if not books:
        raise InputError(f"{paths[0]}: no .depth.db of {symbol} lies beside it; books are needed")
    table = pl.concat([*trades, pl.DataFrame(schema=TRADE_SCHEMA)]).sort("time_ns", maintain_order=True)
    note = "trades carry the time of the poll that brought them"
    return make_recording(
        symbol, "okcoin", BookRows.joined(books), table, notes=[note] if table.height else []
    )


def _read_books(path: Path) -> BookRows:
    config, rows = _read_tables(path)
    levels = np.array(rows, dtype=np.float64)
    if levels.ndim != 2 or levels.shape[1] != 1 + 4 * config["Size"]:
        raise InputError(
            f"{path}: rows of shape {levels.shape}; expected a time and 4 numbers for each of {config['Size']} levels"
        )
    scale = np.array([config["PriceScale"], config["AmountScale"]], dtype=np.float64)
    sides = levels[:, 1:].reshape(len(levels), config["Size"], 2, 2) / scale
    times = (config["start_ms"] + levels[:, 0].astype(np.int64)) * NS_PER_MS
    return BookRows(times, sides[:, :, 0], sides[:, :, 1])


def _read_trades(path: Path) -> pl.DataFrame:
    config, rows = _read_tables(path)
    names = ("offset_ms", "is_bid", "price", "amount")
    table = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.Int64), orient="row")
    return table.filter(pl.col("is_bid") < 2).select(
        time_ns=(config["start_ms"] + pl.col("offset_ms")) * NS_PER_MS,
        price=pl.col("price") / float(config["PriceScale"]),
        quantity=pl.col("amount") / float(config["AmountScale"]),
        is_buy=pl.col("is_bid") == 1,
    )


def _read_tables(path: Path) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """The one row of `config`, with the start of the file's clock, and the rows of `data` in order of time."""
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)) as database:
            found = database.execute("SELECT * FROM config")
            config = dict(
                zip([column[0] for column in found.description], found.fetchone() or (), strict=True)
            )
            rows = database.execute("SELECT * FROM data ORDER BY Timestamp, rowid").fetchall()
    except (sqlite3.Error, ValueError) as error:
        raise InputError(
            f"{path}: {error}; expected an SQLite file with one row in `config`, and `data`"
        ) from error
    if config["Unit"] != "ms":
        raise InputError(f"{path}: times are in {config['Unit']!r}; expected ms")
    config["start_ms"] = config["Timestamp"] if config["Offset"] else 0
    return config, rows
