"""Zips of the LEAN engine: quotes and trades of a day as bars of a second or a minute, or as ticks.

The layout is `<security>/<market>/<resolution>/<ticker>/<YYYYMMDD>_<quote|trade>.zip` with one CSV without header.

* A time is milliseconds since midnight on the wall clock of the market's data: New York for US equities with its
  daylight saving, a fixed UTC-5 for FXCM, UTC for OANDA and crypto. A day's offset is that of its noon: clocks
  change at two on a Sunday morning, before any equity trades.
* Prices of equities are multiplied by 10 000.
* A quote bar is open, high, low, close and last size of the bid, then of the ask; a trade bar open, high, low, close
  and volume. It is stamped at its **start**, but its close is known only at its end: books and trades are given the
  end.
* A tick of a currency pair is bid and ask without sizes, at the time that it names.
* A trade bar becomes one trade at its close with the bar's volume; the taker's side is not recorded. Candles are
  made of the bars themselves, so that highs and lows are kept.
* Bid and ask close of one bar need not be of one moment: within a second they may cross. Such books are left out.
"""

from __future__ import annotations

import io
import zipfile
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl

from earmark.errors import InputError
from earmark.tasks.market.importers.recording import (
    NS_PER_MS,
    TRADE_SCHEMA,
    UNKNOWN_QUANTITY,
    BookRows,
    Recording,
    make_recording,
)

__all__ = ["PATTERNS", "read"]

PATTERNS = ("[0-9]*_quote.zip", "[0-9]*_trade.zip")
BAR_MS = {"tick": 0, "second": 1_000, "minute": 60_000}
CLOCKS = {("equity", "usa"): "America/New_York", ("forex", "fxcm"): "Etc/GMT+5", ("forex", "oanda"): "UTC"}
PRICE_SCALES = {"equity": 10_000.0, "forex": 1.0, "crypto": 1.0}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BAR = ("open", "high", "low", "close")
TRADE_COLUMNS = ("time_ms", *BAR, "volume")
QUOTE_COLUMNS = {
    3: ("time_ms", "bid_close", "ask_close"),
    11: ("time_ms", *(f"bid_{name}" for name in (*BAR, "size")), *(f"ask_{name}" for name in (*BAR, "size"))),
}


@dataclass(frozen=True, order=True)
class _Series:
    """A folder of the layout: one ticker at one resolution."""

    ticker: str
    bar_ms: int
    security: str
    market: str
    resolution: str

    @classmethod
    def of(cls, path: Path) -> _Series:
        parts = [part.lower() for part in path.resolve().parts[-5:-1]]
        layout = "<security>/<market>/<resolution>/<ticker>/<YYYYMMDD>_<quote|trade>.zip"
        if len(parts) < 4 or parts[0] not in PRICE_SCALES or parts[2] not in BAR_MS:
            raise InputError(f"{path}: expected the layout {layout} with a resolution of {', '.join(BAR_MS)}")
        security, market, resolution, ticker = parts
        return cls(ticker.upper(), BAR_MS[resolution], security, market, resolution)

    @property
    def clock(self) -> ZoneInfo:
        name = "UTC" if self.security == "crypto" else CLOCKS.get((self.security, self.market))
        if name is None:
            known = ", ".join("/".join(pair) for pair in CLOCKS)
            raise InputError(
                f"the clock of {self.security}/{self.market} is not known; expected {known} or crypto"
            )
        return ZoneInfo(name)

    def __str__(self) -> str:
        return f"lean {self.security} {self.market} {self.resolution}"


def read(files: list[Path]) -> tuple[Recording, ...]:
    """All days of each ticker, at the finest resolution that lies there.

    Raises
    ------
    InputError
        A file is broken or lies outside the layout, or a ticker has no quotes.
    """
    by_ticker: dict[str, dict[_Series, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for path in files:
        series = _Series.of(path)
        by_ticker[series.ticker][series].append(path)
    return tuple(_read_finest(found) for _, found in sorted(by_ticker.items()))


def _read_finest(found: dict[_Series, list[Path]]) -> Recording:
    series, *others = sorted(found)
    notes = [f"files of {other} lie there too; name their folder to read them" for other in others]
    quotes = [_read_day(path, series) for path in found[series] if _is_quote(path)]
    trades = [_read_day(path, series) for path in found[series] if not _is_quote(path)]
    if len({tuple(day.columns) for day in quotes}) > 1:
        raise InputError(f"{series}: days of ticks and days of bars lie together; expected one kind")
    bars = _trade_bars(trades, series) if trades else None
    if bars is not None:
        notes.append(f"a trade is a bar of one {series.resolution} at its close; the taker's side is unknown")
    return make_recording(
        series.ticker,
        str(series),
        _books(quotes, series),
        _as_trades(bars, series),
        bars=bars,
        has_quantities=all("bid_size" in day.columns for day in quotes),
        notes=notes,
    )


def _read_day(path: Path, series: _Series) -> pl.DataFrame:
    """Rows of a file; `time_ms` is that of the row's stamp in milliseconds since 1970 UTC."""
    try:
        with zipfile.ZipFile(path) as archive:
            content = archive.read(archive.namelist()[0])
        table = pl.read_csv(io.BytesIO(content), has_header=False, infer_schema=False)
        names = _columns(path, table.width)
        schema = pl.Schema({name: pl.Int64() if name == "time_ms" else pl.Float64() for name in names})
        table = table.rename(dict(zip(table.columns, names, strict=True))).cast(schema)
    except (zipfile.BadZipFile, IndexError, pl.exceptions.PolarsError) as error:
        raise InputError(f"{path}: {error}; expected a zip of one CSV of numbers") from error
    needed = ["time_ms"] if _is_quote(path) else list(names)  # a side without quote is an empty field
    if table.select(needed).null_count().sum_horizontal().item():
        raise InputError(f"{path}: a field of {', '.join(needed)} is empty; expected a number in each row")
    return table.with_columns(pl.col("time_ms") + _midnight_ms(path, series))


def _is_quote(path: Path) -> bool:
    return path.stem.endswith("_quote")


def _columns(path: Path, width: int) -> tuple[str, ...]:
    names = QUOTE_COLUMNS.get(width, ()) if _is_quote(path) else TRADE_COLUMNS
    if width != len(names):
        raise InputError(f"{path}: rows of {width} fields; expected bars, or ticks of bid and ask")
    return names


def _midnight_ms(path: Path, series: _Series) -> int:
    """What added to the file's wall clock gives milliseconds since 1970 UTC."""
    try:
        midnight = datetime.strptime(path.name[:8], "%Y%m%d").replace(tzinfo=UTC)
    except ValueError as error:
        raise InputError(f"{path}: expected a name that begins with a date, as 20131007_quote.zip") from error
    offset = midnight.replace(hour=12, tzinfo=series.clock).utcoffset() or timedelta()
    return (midnight - offset - EPOCH) // timedelta(milliseconds=1)


def _books(days: list[pl.DataFrame], series: _Series) -> BookRows:
    table = pl.concat(days) if days else pl.DataFrame(schema=dict.fromkeys(QUOTE_COLUMNS[11], pl.Float64))
    scale = PRICE_SCALES[series.security]
    sides = []
    for side in ("bid", "ask"):
        price = table[f"{side}_close"].to_numpy() / scale
        name = f"{side}_size"
        size = table[name].to_numpy() if name in table.columns else np.full(len(price), UNKNOWN_QUANTITY)
        sides.append(np.column_stack([price, size])[:, None, :])
    time_ns = (table["time_ms"].cast(pl.Int64).to_numpy() + series.bar_ms) * NS_PER_MS
    return BookRows.make(time_ns, *sides)


def _trade_bars(days: list[pl.DataFrame], series: _Series) -> pl.DataFrame:
    """Bars stamped at their start, in quote currency."""
    bars = pl.concat(days).sort("time_ms", maintain_order=True)
    bars = bars.with_columns(pl.col(*BAR) / PRICE_SCALES[series.security])
    return bars.with_columns(turnover=pl.col("close") * pl.col("volume"))


def _as_trades(bars: pl.DataFrame | None, series: _Series) -> pl.DataFrame:
    if bars is None:
        return pl.DataFrame(schema=TRADE_SCHEMA)
    return bars.select(
        time_ns=(pl.col("time_ms") + series.bar_ms) * NS_PER_MS,
        price="close",
        quantity="volume",
        is_buy=pl.lit(None, dtype=pl.Boolean),
    )
