"""Parquet files that say what they hold and whether they still hold it.

A file of one symbol and one UTC day is called ``features_{SYM}-{first_ms}-{last_ms}-{uuid}.parquet``. The UUID is
version 8 (RFC 9562, free use) and made of the SHA-256 of the bytes, so that a name stands for one content: writing
the same rows again after a crash makes the same file, two writers never make different files of one name, and
`is_intact` needs nothing but the file.
"""

from __future__ import annotations

import hashlib
import io
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from earmark.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Encoded", "PartName", "check_symbol", "encode", "has_parquet_ends", "is_intact", "parse_name"]

COMPRESSION = "zstd"
_MAGIC = b"PAR1"
_SYMBOL = re.compile(r"[A-Za-z0-9_.]+")
_NAME = re.compile(
    r"[a-z0-9_]+_[A-Za-z0-9_.]+-(?P<first>\d+)-(?P<last>\d+)"
    r"-(?P<uuid>[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12})\.parquet"
)


@dataclass(frozen=True)
class PartName:
    """What the name of a file says."""

    first_ms: int
    last_ms: int
    uuid: str


@dataclass(frozen=True)
class Encoded:
    """A file that is not written yet: its name, its bytes and their SHA-256."""

    name: str
    data: bytes
    sha256: str


def encode(
    table: pl.DataFrame,
    *,
    prefix: str,
    symbol: str,
    first_ms: int,
    last_ms: int,
    metadata: Mapping[str, str],
    compression: str = COMPRESSION,
) -> Encoded:
    """The file of `table`, whose rows are all of `symbol` and of one day."""
    buffer = io.BytesIO()
    table.write_parquet(buffer, compression=compression, statistics=True, metadata=dict(metadata))  # type: ignore[arg-type]
    data = buffer.getvalue()
    digest = hashlib.sha256(data).digest()
    name = f"{prefix}_{symbol}-{first_ms}-{last_ms}-{_content_uuid(digest)}.parquet"
    return Encoded(name, data, digest.hex())


def parse_name(name: str) -> PartName | None:
    """The parts of a name made by `encode`; None for every other name."""
    found = _NAME.fullmatch(name)
    return found and PartName(int(found["first"]), int(found["last"]), found["uuid"])


def is_intact(name: str, data: bytes) -> bool:
    """Whether `data` are the bytes that `name` was made for; for another's name: whether they end like Parquet."""
    found = parse_name(name)
    if found is None:
        return has_parquet_ends(data[:4], data[-4:])
    return found.uuid == _content_uuid(hashlib.sha256(data).digest())


def has_parquet_ends(head: bytes, tail: bytes) -> bool:
    """Whether a file begins and ends as Parquet does; one that was cut off does not."""
    return head == _MAGIC and tail == _MAGIC


def check_symbol(symbol: str) -> str:
    """`symbol`, if it may stand in the name of a file.

    Raises
    ------
    UsageError
    """
    if not _SYMBOL.fullmatch(symbol) or symbol.startswith("."):
        raise UsageError(
            f"`{symbol}` cannot be a symbol in a store: expected letters, digits, `_` and `.`, e.g. BTCUSDT or 4USDT. "
            "Rename it."
        )
    return symbol


def _content_uuid(digest: bytes) -> str:
    """The first 16 bytes of a SHA-256 with the version and variant of RFC 9562, section 5.8."""
    number = int.from_bytes(digest[:16], "big")
    number = number & ~(0xF << 76) | (0x8 << 76)
    number = number & ~(0x3 << 62) | (0x2 << 62)
    return str(uuid.UUID(int=number))
