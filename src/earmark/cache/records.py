"""What is stored beside the entries: fingerprints with their parts and cost, failures, data files that
functions read.

Tables: ``records`` fingerprint digest -> zlib JSON (group, columns, parts, when first seen); ``usage`` digest
-> small struct that changes often; ``failures`` digest + identity -> JSON; ``reads`` function key -> JSON
list of paths. Times are Unix seconds. The functions here take a transaction of `earmark.cache.store`;
`FeatureCache` is what others call.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from earmark.cache.store import RECORDS, USAGE, iterate_prefix

__all__ = ["IMPORTED_GROUP", "Digested", "Failure", "FingerprintRecord", "Usage"]

DIGEST_BYTES: Final = 16
IMPORTED_GROUP: Final = "imported"
"""Group of rows that came from an earlier program: no code here can compute them again."""
TOUCH_INTERVAL_S: Final = 6 * 3600.0
"""Last use is kept this coarse, so that reading does not write."""

logger = logging.getLogger(__name__)

_USAGE: Final = struct.Struct("<ddQQ")


class Digested(Protocol):
    """What is recorded of a version: `earmark.cache.fingerprint.Fingerprint`, or what stands for it."""

    @property
    def digest(self) -> bytes:
        """16 bytes."""

    @property
    def parts(self) -> Sequence[object]:
        """Data classes or JSON values."""


@dataclasses.dataclass(frozen=True)
class Usage:
    """Running totals of one fingerprint.

    Attributes
    ----------
    last_used_s : float
        Unix time, coarse (`TOUCH_INTERVAL_S`).
    seconds : float
        Computing time spent, summed over items.
    bytes : int
        Bytes of samples computed.
    computed : int
        Items computed.
    """

    last_used_s: float = 0.0
    seconds: float = 0.0
    bytes: int = 0
    computed: int = 0


@dataclasses.dataclass(frozen=True)
class FingerprintRecord:
    """A version of a feature group's code that the cache has seen.

    Attributes
    ----------
    group : str
    digest : bytes
        16 bytes.
    columns : tuple of str
    parts : tuple of mapping
        The fingerprint's parts as plain JSON objects, bytes in hexadecimal.
    first_used_s : float
        Unix time.
    usage : Usage
    """

    group: str
    digest: bytes
    columns: tuple[str, ...]
    parts: tuple[Any, ...]
    first_used_s: float
    usage: Usage


@dataclasses.dataclass(frozen=True)
class Failure:
    """An item whose computation failed under one fingerprint: the message, the Unix time, the class of the error."""

    error: str
    time_s: float
    kind: str = "InputError"  # of failures that were stored before their class was


def describe(group: str, columns: Sequence[str], parts: Iterable[object], now_s: float) -> bytes:
    """The stored form of a record without its usage."""
    content = {
        "group": group,
        "columns": list(columns),
        "parts": [_plain(part) for part in parts],
        "first_used_s": now_s,
    }
    return zlib.compress(json.dumps(content, ensure_ascii=False, separators=(",", ":")).encode(), 6)


def add_usage(transaction: Any, digest: bytes, usage: Usage) -> None:
    """Add the cost in ``usage`` to what is stored for ``digest`` and move its last use forward."""
    known = read_usage(transaction, digest)
    total = Usage(
        max(known.last_used_s, usage.last_used_s),
        known.seconds + usage.seconds,
        known.bytes + usage.bytes,
        known.computed + usage.computed,
    )
    transaction.put(USAGE + digest, _USAGE.pack(*dataclasses.astuple(total)))


def touch(transaction: Any, digest: bytes, now_s: float) -> None:
    """Move a recorded fingerprint's last use to ``now_s`` if it is more than `TOUCH_INTERVAL_S` behind."""
    known = read_usage(transaction, digest)
    if known != Usage() and now_s - known.last_used_s > TOUCH_INTERVAL_S:
        add_usage(transaction, digest, Usage(last_used_s=now_s))


def read_usage(transaction: Any, digest: bytes) -> Usage:
    stored = transaction.get(USAGE + digest)
    return Usage(*_USAGE.unpack(stored)) if stored is not None else Usage()


def iterate_records(transaction: Any) -> Iterator[FingerprintRecord]:
    """All sound records, in order of their digest; a damaged one is logged and left out."""
    for digest, value in iterate_prefix(transaction, RECORDS):
        try:
            yield parse_record(digest, value, read_usage(transaction, digest))
        except BadRecordError as error:
            logger.warning("version %s: %s; run `earmark cache verify --delete`", digest.hex(), error)


class BadRecordError(Exception):
    """Stored bytes that are not a record of a fingerprint. Stays inside the package."""


def parse_record(digest: bytes, stored: Any, usage: Usage) -> FingerprintRecord:
    """The record in ``stored``; raises `BadRecordError`."""
    try:
        content = json.loads(zlib.decompress(stored))
        return FingerprintRecord(
            content["group"],
            digest,
            tuple(content["columns"]),
            tuple(content["parts"]),
            content["first_used_s"],
            usage,
        )
    except (zlib.error, ValueError, KeyError, TypeError) as error:
        raise BadRecordError(f"unreadable record: {error}") from error


def pack_failure(failure: Failure) -> bytes:
    return json.dumps(dataclasses.asdict(failure), ensure_ascii=False).encode()


def parse_failure(stored: Any) -> Failure:
    return Failure(**json.loads(bytes(stored)))


def pack_reads(paths: Iterable[str]) -> bytes:
    return json.dumps(list(paths)).encode()


def parse_reads(stored: Any) -> tuple[str, ...]:
    return tuple(json.loads(bytes(stored)))


def _plain(value: object) -> object:
    """``value`` as JSON can hold it: data classes become objects, bytes hexadecimal."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: _plain(getattr(value, field.name))
            for field in dataclasses.fields(value)
            if field.init
        }
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
