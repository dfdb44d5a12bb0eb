"""A venue's stream on disk, as its text arrived.

The file is JSON lines under zstd. The first line is the header: format, venue, symbols, depth, closed candles before
the start and instruments; then one line ``{"ns": received_ns, "text": message}`` per message of the market, in order
of receipt; the last line ``{"end": number of messages}`` tells that the file is whole. A recording is written under
another name and renamed when it ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import InputError
from earmark.orderbook.events import Candle
from earmark.tasks.market.venues.base import Connection, Control, Instrument, MessageError, Venue, VenueError
from earmark.tasks.market.venues.rest import require_aiohttp

if TYPE_CHECKING:
    import aiohttp

__all__ = ["FORMAT", "Header", "Recorder", "read_recording", "record_session"]

FORMAT = "earmark-recording/1"


@dataclass(frozen=True)
class Header:
    """What was recorded, and what REST told at its start."""

    venue: str
    symbols: tuple[str, ...]
    depth: int
    candles: dict[str, list[Candle]]
    instruments: list[Instrument]

    def to_json(self) -> str:
        """One line."""
        candles = {symbol: [astuple(candle) for candle in rows] for symbol, rows in self.candles.items()}
        instruments = [asdict(row) for row in self.instruments]
        fields = {"venue": self.venue, "symbols": self.symbols, "depth": self.depth}
        return json.dumps({"format": FORMAT, **fields, "candles": candles, "instruments": instruments})

    @classmethod
    def from_json(cls, line: str) -> Header:
        """The opposite."""
        raw = json.loads(line)
        if raw["format"] != FORMAT:
            raise ValueError(f"format {raw['format']}")
        candles = {symbol: [Candle(*row) for row in rows] for symbol, rows in raw["candles"].items()}
        instruments = [Instrument(**row) for row in raw["instruments"]]
        return cls(raw["venue"], tuple(raw["symbols"]), raw["depth"], candles, instruments)


class Recorder:
    """Writes a recording; a context manager. An exception leaves ``PATH.partial`` behind and no recording."""

    def __init__(self, path: str | Path, header: Header) -> None:
        self.n_messages = 0
        self._path = Path(path)
        self._partial = self._path.with_name(self._path.name + ".partial")
        self._header = header

    def __enter__(self) -> Recorder:
        import pyarrow as pa

        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._stream = pa.CompressedOutputStream(str(self._partial), "zstd")
        self._line(self._header.to_json())
        return self

    def add(self, received_ns: int, text: str) -> None:
        """One message."""
        self._line(json.dumps({"ns": received_ns, "text": text}))
        self.n_messages += 1

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._line(json.dumps({"end": self.n_messages}))
        self._stream.close()
        if kind is None:
            with self._partial.open("rb") as file:
                os.fsync(file.fileno())
            self._partial.replace(self._path)

    def _line(self, text: str) -> None:
        self._stream.write(text.encode() + b"\n")


def read_recording(path: str | Path) -> tuple[Header, Iterator[tuple[int, str]]]:
    """The header, and receipt time (ns) and text of each message, read as they are asked for.

    Raises
    ------
    InputError
        Not a recording, or cut off; the latter when the messages are read to the end.
    """
    lines = _lines(Path(path))
    try:
        header = Header.from_json(next(lines))
    except (StopIteration, KeyError, TypeError, ValueError) as error:
        raise InputError(f"`{path}` is not a recording of {FORMAT} ({error}). Record one anew.") from error
    return header, _messages(lines, path)


def _lines(path: Path) -> Iterator[str]:
    import io

    import pyarrow as pa

    try:
        with pa.CompressedInputStream(str(path), "zstd") as stream:
            yield from io.TextIOWrapper(stream, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the recording `{path}` cannot be read: {error}. Is it there, and whole?"
        ) from error


def _messages(lines: Iterator[str], path: str | Path) -> Iterator[tuple[int, str]]:
    count = 0
    for line in lines:
        try:
            raw: dict[str, Any] = json.loads(line)
        except ValueError:
            break
        if "end" in raw:
            if raw["end"] != count:
                break
            return
        count += 1
        yield int(raw["ns"]), raw["text"]
    raise InputError(f"the recording `{path}` is cut off after {count} messages. Record it anew.")


async def record_session(
    path: str | Path,
    venue: Venue,
    symbols: Sequence[str],
    *,
    duration_s: float,
    depth: int = 200,
    now_ns: Callable[[], int] = time.time_ns,
) -> int:
    """Record what `venue` sends of `symbols` for `duration_s` seconds of the wall; the number of messages.

    Messages that cannot be read are recorded too; answers to requests are not.

    Raises
    ------
    VenueError
        A subscription was refused, or a socket ended before the time.
    """
    aiohttp = require_aiohttp("recording a market")
    async with aiohttp.ClientSession() as session:
        header = await _header(session, venue, symbols, depth, now_ns)
        with Recorder(path, header) as recorder:
            connections = venue.connections(symbols, depth)
            tasks = [
                asyncio.create_task(_record(session, venue, connection, recorder, now_ns))
                for connection in connections
            ]
            done, rest = await asyncio.wait(tasks, timeout=duration_s, return_when=asyncio.FIRST_EXCEPTION)
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)
            for task in done:
                task.result()
    return recorder.n_messages


async def _header(
    session: aiohttp.ClientSession,
    venue: Venue,
    symbols: Sequence[str],
    depth: int,
    now_ns: Callable[[], int],
) -> Header:
    rest = venue.rest(session, now_ns)
    known = await rest.instruments()
    candles = {symbol: await rest.candles(symbol, 200) for symbol in symbols}
    closed = {symbol: [candle for candle in rows if candle.is_closed] for symbol, rows in candles.items()}
    return Header(venue.name, tuple(symbols), depth, closed, [known[symbol] for symbol in symbols])


async def _record(
    session: aiohttp.ClientSession,
    venue: Venue,
    connection: Connection,
    recorder: Recorder,
    now_ns: Callable[[], int],
) -> None:
    """Record one socket until it ends, which is an error."""
    async with session.ws_connect(connection.url) as socket:
        await socket.send_str(venue.subscribe_message(connection.topics, "1"))
        pinging = asyncio.create_task(_ping(socket, venue))
        try:
            async for message in socket:
                await _take(socket, venue, connection, recorder, message.data, now_ns())
        finally:
            pinging.cancel()
    raise VenueError(f"{connection.url} closed the socket before the recording ended. Record it anew.")


async def _take(
    socket: aiohttp.ClientWebSocketResponse,
    venue: Venue,
    connection: Connection,
    recorder: Recorder,
    text: str,
    received_ns: int,
) -> None:
    control = _control(venue, text, received_ns)
    if control is None:
        recorder.add(received_ns, text)
    elif control.kind == "refused":
        raise VenueError(f"{connection.url} refused {list(connection.symbols)}: {control.message}")
    elif control.reply is not None:
        await socket.send_str(control.reply)


async def _ping(socket: aiohttp.ClientWebSocketResponse, venue: Venue) -> None:
    """Keep the socket alive, where that is the client's part."""
    while venue.ping_interval_s is not None:
        await asyncio.sleep(venue.ping_interval_s)
        await socket.send_str(venue.ping_message() or "")


def _control(venue: Venue, text: str, received_ns: int) -> Control | None:
    """`text` as a control; None if it is of the market, or cannot be read."""
    try:
        parsed = venue.parse(text, received_ns)
    except MessageError:
        return None
    return parsed if isinstance(parsed, Control) else None
