"""What was received, as it was received: ``data/raw/{SYM}/{stream}/date=YYYY-MM-DD/*.parquet``.

Every derived number can be computed again from here. Columns are named as the fields of `earmark.orderbook.events`
and `earmark.orderbook.state`; the day of a row is the UTC day of its exchange time. A call of `append` makes one file
a day, under a name made of its content, so that a writer may repeat after a crash what it is not sure of: the same
rows make the same file, and rows in two files count once.

Streams
-------
``book_steps``
    The feature book at each tick, with the number of updates and the marks of gaps.
``trades``
    All public trades.
``candles``
    Candles as they came, the forming ones too; a key is a minute and a time of receipt.
``bbo``
    The price track: best prices and quantities after each change, and heartbeats.
``messages``
    Optional: texts from the socket, with the name of the connection.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from earmark.errors import SchemaError, UsageError
from earmark.orderbook.events import BestQuote, Candle, Trade
from earmark.orderbook.state import BookState
from earmark.store.atomic import sync_folder, write_atomic
from earmark.store.part_files import check_symbol, encode, has_parquet_ends, parse_name
from earmark.store.quarantine import SetAside, set_aside, set_aside_files
from earmark.store.times import range_ms, utc_date

if TYPE_CHECKING:
    import polars as pl
    import pyarrow as pa

__all__ = ["STREAMS", "Message", "RawRow", "RawStore", "rows_to_table", "table_to_rows"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Message:
    """A text as it came from a socket; its time is that of receipt."""

    symbol: str
    time_ms: int
    received_ns: int
    connection: str
    text: str


RawRow: TypeAlias = BookState | Trade | Candle | BestQuote | Message


@dataclass(frozen=True)
class Stream:
    """What a stream holds: rows of `row`, columns with arrow types, time, key and order."""

    name: str
    row: type[Any]
    columns: tuple[tuple[str, str], ...]
    time: str
    key: tuple[str, ...]
    order: tuple[str, ...]

    def arrow_schema(self) -> pa.Schema:
        """The declared schema; nothing but `is_buy` of a trade may be missing."""
        import pyarrow as pa

        types = {"list": pa.list_(pa.float64())}
        return pa.schema(
            [
                pa.field(name, types.get(dtype) or pa.type_for_alias(dtype), nullable=name == "is_buy")
                for name, dtype in self.columns
            ]
        )


_BEST = ("bid", "bid_quantity", "ask", "ask_quantity")

STREAMS: dict[str, Stream] = {
    stream.name: stream
    for stream in (
        Stream(
            "book_steps",
            BookState,
            (
                ("symbol", "string"),
                ("time_ms", "int64"),
                ("closed_ns", "int64"),
                ("bid_price", "list"),
                ("bid_quantity", "list"),
                ("ask_price", "list"),
                ("ask_quantity", "list"),
                ("event_ms", "int64"),
                ("n_updates", "int64"),
                ("follows_gap", "bool"),
                ("n_late", "int64"),
            ),
            "time_ms",
            ("time_ms",),
            ("time_ms",),
        ),
        Stream(
            "trades",
            Trade,
            (
                ("symbol", "string"),
                ("time_ms", "int64"),
                ("price", "float64"),
                ("quantity", "float64"),
                ("is_buy", "bool"),
                ("trade_id", "string"),
                ("received_ns", "int64"),
                ("tick_direction", "string"),
                ("is_block", "bool"),
            ),
            "time_ms",
            ("time_ms", "trade_id"),
            ("time_ms", "received_ns"),
        ),
        Stream(
            "candles",
            Candle,
            (
                ("symbol", "string"),
                ("start_ms", "int64"),
                ("open", "float64"),
                ("high", "float64"),
                ("low", "float64"),
                ("close", "float64"),
                ("volume", "float64"),
                ("turnover", "float64"),
                ("is_closed", "bool"),
                ("received_ns", "int64"),
            ),
            "start_ms",
            ("start_ms", "received_ns", "is_closed"),
            ("start_ms", "received_ns"),
        ),
        Stream(
            "bbo",
            BestQuote,
            (
                ("symbol", "string"),
                ("time_ms", "int64"),
                *((name, "float64") for name in _BEST),
                ("received_ns", "int64"),
            ),
            "time_ms",
            ("time_ms", "received_ns", *_BEST),
            ("time_ms", "received_ns"),
        ),
        Stream(
            "messages",
            Message,
            (
                ("symbol", "string"),
                ("time_ms", "int64"),
                ("received_ns", "int64"),
                ("connection", "string"),
                ("text", "string"),
            ),
            "time_ms",
            ("received_ns", "connection", "text"),
            ("received_ns",),
        ),
    )
}
"""Stream by name."""


class RawStore:
    """The raw rows below one folder.

    Parameters
    ----------
    root : str or Path
        ``data/raw`` of a project.
    """

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)

    def append(self, stream: str, symbol: str, rows: Iterable[RawRow] | pl.DataFrame) -> tuple[Path, ...]:
        """Write rows of one symbol, in one file for each UTC day; the files, empty without rows.

        Raises
        ------
        SchemaError
            A table has other columns than the stream.
        """
        import polars as pl

        declared = _stream(stream)
        check_symbol(symbol)
        table = (
            _fitted(rows, declared) if isinstance(rows, pl.DataFrame) else rows_to_table(stream, symbol, rows)
        )
        table = table.sort(declared.order, maintain_order=True)
        day = pl.from_epoch(declared.time, "ms").dt.strftime("%Y-%m-%d")
        return tuple(
            self._write(declared, symbol, str(date), part)
            for (date,), part in table.group_by(day.alias("_day"), maintain_order=True)
        )

    def scan(
        self, stream: str, symbol: str, start_ms: int | None = None, end_ms: int | None = None
    ) -> pl.LazyFrame:
        """Rows of one symbol with a time in ``start_ms .. end_ms``, both included, in order, each once."""
        import polars as pl

        declared = _stream(stream)
        sources = self.files(stream, symbol, start_ms, end_ms)
        schema = _polars_schema(declared)
        if not sources:
            return pl.LazyFrame(schema=schema)
        at = pl.col(declared.time)
        rows = pl.scan_parquet(sources, schema=schema, hive_partitioning=False, glob=False)
        rows = rows if start_ms is None else rows.filter(at >= start_ms)
        rows = rows if end_ms is None else rows.filter(at <= end_ms)
        if len(sources) > 1:
            rows = rows.unique(declared.key, keep="last", maintain_order=True)
        return rows.sort(declared.order, maintain_order=True)

    def read_rows(
        self, stream: str, symbol: str, start_ms: int | None = None, end_ms: int | None = None
    ) -> list[Any]:
        """The rows of `scan` as `BookState`, `Trade`, `Candle`, `BestQuote` or `Message`."""
        return table_to_rows(stream, self.scan(stream, symbol, start_ms, end_ms).collect())

    def files(
        self, stream: str, symbol: str, start_ms: int | None = None, end_ms: int | None = None
    ) -> list[Path]:
        """Files that can hold rows of a range, by time; one that was cut off is set aside and reported."""
        folder = self.root / check_symbol(symbol) / _stream(stream).name
        first = "" if start_ms is None else utc_date(start_ms)
        last = "9999" if end_ms is None else utc_date(end_ms)
        found = []
        for path in sorted(folder.glob("date=*/*.parquet"), key=_by_time):
            if first <= path.parent.name.removeprefix("date=") <= last and self._is_whole(path):
                found.append(path)
        return found

    def newest_ms(self, stream: str, symbol: str) -> int | None:
        """Time of the newest row of a stream, as the names of its files say; None where there is none."""
        for day in reversed(self.dates(stream, symbol)):
            names = [parse_name(path.name) for path in self.files(stream, symbol, *range_ms(day, day))]
            if named := [name.last_ms for name in names if name is not None]:
                return max(named)
        return None

    def symbols(self) -> list[str]:
        """Symbols of which anything is stored."""
        return sorted(p.name for p in self.root.glob("*") if p.is_dir() and p.name[0] not in "._")

    def dates(self, stream: str, symbol: str) -> list[str]:
        """UTC days on which a stream of a symbol has rows."""
        folder = self.root / check_symbol(symbol) / _stream(stream).name
        days = {path.parent.name.removeprefix("date=") for path in folder.glob("date=*/*.parquet")}
        return sorted(days)

    def compact(self, stream: str, symbol: str, date: str) -> int:
        """Put the files of one day together; how many were replaced.

        The new file is whole before an old one goes, and rows in both count once: a crash in between loses and
        doubles nothing.
        """
        import polars as pl

        declared = _stream(stream)
        old = [p for p in self.files(stream, symbol) if p.parent.name == f"date={date}"]
        if len(old) < 2:
            return 0
        rows = pl.scan_parquet(old, schema=_polars_schema(declared), hive_partitioning=False, glob=False)
        rows = rows.unique(declared.key, keep="last", maintain_order=True)
        kept = self._write(declared, symbol, date, rows.sort(declared.order, maintain_order=True).collect())
        for path in old:
            if path != kept:
                path.unlink()
        sync_folder(kept.parent)
        return len(old)

    def set_aside(self) -> list[SetAside]:
        """Files that could not be read, oldest first."""
        return set_aside_files(self.root)

    def _write(self, stream: Stream, symbol: str, date: str, part: pl.DataFrame) -> Path:
        first, last = int(part[stream.time].min()), int(part[stream.time].max())  # type: ignore[arg-type]
        file = encode(
            part,
            prefix=stream.name,
            symbol=symbol,
            first_ms=first,
            last_ms=last,
            metadata={"earmark.raw": "1"},
        )
        path = self.root / symbol / stream.name / f"date={date}" / file.name
        write_atomic(path, file.data)
        return path

    def _is_whole(self, path: Path) -> bool:
        with path.open("rb") as file:
            head = file.read(4)
            file.seek(max(0, file.seek(0, 2) - 4))
            tail = file.read(4)
        if has_parquet_ends(head, tail):
            return True
        relative = str(path.relative_to(self.root))
        reason = "it does not begin and end like Parquet"
        log.warning("`%s` of `%s` is set aside: %s", relative, self.root, reason)
        set_aside(self.root, relative, rows=0, reason=reason)
        return False


def rows_to_table(stream: str, symbol: str, rows: Iterable[RawRow]) -> pl.DataFrame:
    """The table of rows of one symbol; a `BookState` does not name its symbol, the others must be of `symbol`."""
    import polars as pl

    declared = _stream(stream)
    rows = list(rows)
    wrong = next((row for row in rows if not isinstance(row, declared.row)), None)
    stranger = next((row for row in rows if getattr(row, "symbol", symbol) != symbol), None)
    if wrong is not None or stranger is not None:
        raise UsageError(
            f"A row for {stream} of {symbol} is {(wrong or stranger)!r}; expected a {declared.row.__name__} of that "
            "symbol. Append each to its own stream."
        )
    columns = {
        name: [symbol] * len(rows) if name == "symbol" else [_value(row, name) for row in rows]
        for name, _ in declared.columns
    }
    return pl.DataFrame(columns, schema=_polars_schema(declared))


def table_to_rows(stream: str, table: pl.DataFrame) -> list[Any]:
    """The rows of a table of a stream, in its order; the inverse of `rows_to_table`."""
    declared = _stream(stream)
    if declared.row is BookState:
        return [_book_state(row) for row in table.iter_rows(named=True)]
    names = [name for name, _ in declared.columns]
    return [declared.row(**dict(zip(names, row, strict=True))) for row in table.select(names).iter_rows()]


def _stream(name: str) -> Stream:
    if name not in STREAMS:
        raise UsageError(f"`{name}` is no stream of a raw store. Expected one of {', '.join(STREAMS)}.")
    return STREAMS[name]


def _polars_schema(stream: Stream) -> pl.Schema:
    import polars as pl

    return pl.DataFrame(stream.arrow_schema().empty_table()).schema


_LEVELS = {
    "bid_price": ("bids", 0),
    "bid_quantity": ("bids", 1),
    "ask_price": ("asks", 0),
    "ask_quantity": ("asks", 1),
}


def _value(row: RawRow, name: str) -> Any:
    if isinstance(row, BookState) and name in _LEVELS:
        side, column = _LEVELS[name]
        return getattr(row, side)[:, column]
    return getattr(row, name)


def _book_state(row: dict[str, Any]) -> BookState:
    import numpy as np

    def side(name: str) -> Any:
        levels = [row[f"{name}_price"], row[f"{name}_quantity"]]
        return np.ascontiguousarray(np.array(levels, dtype=np.float64).reshape(2, -1).T)

    plain = {name: value for name, value in row.items() if name not in _LEVELS and name != "symbol"}
    return BookState(bids=side("bid"), asks=side("ask"), **plain)


def _fitted(table: pl.DataFrame, stream: Stream) -> pl.DataFrame:
    schema = _polars_schema(stream)
    if set(table.columns) != set(schema):
        raise SchemaError(
            f"A table for {stream.name} has the columns {table.columns}; expected {list(schema)}. Rename them."
        )
    return table.select(schema.names()).cast(schema)


def _by_time(path: Path) -> tuple[str, Sequence[int], str]:
    name = parse_name(path.name)
    return path.parent.name, (0, 0) if name is None else (name.first_ms, name.last_ms), path.name
