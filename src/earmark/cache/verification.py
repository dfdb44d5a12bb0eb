"""Reading every stored value and checking it against its checksum."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from earmark.cache import records
from earmark.cache.entry_format import BadEntryError, samples
from earmark.cache.store import ENTRIES, RECORDS, Store
from earmark.cache.upkeep import UNRECORDED

if TYPE_CHECKING:
    from earmark.cache.entries import FeatureCache

__all__ = ["BadEntry", "Verification", "verify"]

CHUNK: Final = 10_000
"""Values read per transaction, so that the pages which other processes free are not held back."""


@dataclasses.dataclass(frozen=True)
class BadEntry:
    """A stored value that does not check out; ``identity`` is empty for a record of a fingerprint."""

    group: str
    fingerprint: str
    identity: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Verification:
    """Result of `verify`: values looked at, those that are damaged, and how many of them were deleted."""

    checked: int
    bytes: int
    bad: tuple[BadEntry, ...]
    deleted: int


def verify(cache: FeatureCache, *, delete: bool = False) -> Verification:
    """Read every entry and record and check it; with ``delete``, remove those that are damaged."""
    groups = {record.digest: record.group for record in cache.records()}
    checked = size = 0
    bad: list[tuple[bytes, str]] = []
    for prefix, fault_of in ((ENTRIES, _entry_fault), (RECORDS, _record_fault)):
        for chunk in _chunks(cache.store, prefix, fault_of):
            checked += len(chunk)
            size += sum(found[1] for found in chunk)
            bad += [(key, fault) for key, _, fault in chunk if fault is not None]
    deleted = _delete_bad(cache, [key for key, _ in bad]) if delete and bad else 0
    return Verification(checked, size, tuple(_bad_entry(key, fault, groups) for key, fault in bad), deleted)


def _chunks(
    store: Store, prefix: bytes, fault_of: Callable[[memoryview], str | None]
) -> Iterator[list[tuple[bytes, int, str | None]]]:
    """Key, size and fault of every value under ``prefix``, one list per read transaction."""
    last = prefix
    while True:
        with store.read() as transaction:
            cursor = transaction.cursor()
            chunk = []
            if cursor.set_range(last):
                for key, value in islice(cursor.iternext(), CHUNK + 1):
                    if bytes(key[:1]) != prefix:
                        break
                    if key != last:
                        chunk.append((bytes(key), len(value), fault_of(value)))
        if not chunk:
            return
        last = chunk[-1][0]
        yield chunk


def _entry_fault(value: memoryview) -> str | None:
    try:
        samples(value)
    except BadEntryError as error:
        return str(error)
    return None


def _record_fault(value: memoryview) -> str | None:
    try:
        records.parse_record(b"", value, records.Usage())
    except records.BadRecordError as error:
        return str(error)
    return None


def _delete_bad(cache: FeatureCache, keys: Sequence[bytes]) -> int:
    """Delete those of ``keys`` that are still damaged: another process may have written them anew since."""

    def delete(transaction: Any) -> int:
        count = 0
        for key in keys:
            value = transaction.get(key)
            fault_of = _entry_fault if key[:1] == ENTRIES else _record_fault
            if value is not None and fault_of(memoryview(value)) is not None:
                transaction.delete(key)
                count += 1
        return count

    return cache.write(delete)


def _bad_entry(key: bytes, fault: str, groups: Mapping[bytes, str]) -> BadEntry:
    return BadEntry(groups.get(key[1:17], UNRECORDED), key[1:17].hex(), key[17:].hex(), fault)
