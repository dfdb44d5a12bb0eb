"""What is in the cache, what it cost, and what of it is current.

A *version* is one fingerprint of a feature group. Sizes in bytes, times in seconds (Unix time where it is a
moment). Reports are plain data: digests are hexadecimal, so that each can be printed as a table or as JSON as
it is.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from earmark.cache import records
from earmark.cache.entry_format import stored_shape
from earmark.cache.store import ENTRIES, FAILURES, Store, iterate_prefix

if TYPE_CHECKING:
    from earmark.cache.entries import FeatureCache

__all__ = ["GroupCheck", "GroupStats", "Stats", "VersionStats", "check", "stats", "versions_of"]

UNRECORDED: Final = "(unrecorded)"
"""Group of entries whose fingerprint has no record, as after a kill between two transactions."""


@dataclasses.dataclass(frozen=True)
class VersionStats:
    """One fingerprint of a group: how much is stored, what it cost, when it was last used."""

    group: str
    fingerprint: str
    entries: int
    bytes: int
    failures: int
    columns: int
    shape: tuple[int, ...] | None
    seconds: float
    computed: int
    first_used_s: float
    last_used_s: float

    @property
    def seconds_per_item(self) -> float | None:
        """Mean computing time of an item, ``None`` when none was computed here."""
        return self.seconds / self.computed if self.computed else None


@dataclasses.dataclass(frozen=True)
class GroupStats:
    """All versions of one group.

    Attributes
    ----------
    group : str
    versions, entries, bytes, failures : int
        Over all versions.
    columns : int
        Of the newest version.
    shape : tuple of int or None
        Of the newest version's first entry.
    seconds : float
        Computing time spent, over all versions.
    recompute_seconds : float or None
        What computing the entries of the newest version again would take; ``None`` when no time is known.
    """

    group: str
    versions: int
    entries: int
    bytes: int
    failures: int
    columns: int
    shape: tuple[int, ...] | None
    seconds: float
    recompute_seconds: float | None


@dataclasses.dataclass(frozen=True)
class Stats:
    """The cache as a whole: its file, its groups, its versions (newest first within a group)."""

    path: str
    file_bytes: int
    entries: int
    bytes: int
    groups: tuple[GroupStats, ...]
    versions: tuple[VersionStats, ...]


@dataclasses.dataclass(frozen=True)
class GroupCheck:
    """Items of one group: ``fresh`` have an entry of the current code, ``stale`` only of earlier code,
    ``failed`` a recorded failure of the current code, ``missing`` none of these. The four add up to the
    number of items."""

    group: str
    fresh: int
    stale: int
    missing: int
    failed: int
    columns: int


def stats(cache: FeatureCache) -> Stats:
    """Entries, sizes and costs, per version and per group."""
    versions = versions_of(cache.store)
    groups: dict[str, list[VersionStats]] = {}
    for version in versions:
        groups.setdefault(version.group, []).append(version)
    return Stats(
        path=str(cache.path),
        file_bytes=cache.store.file_bytes(),
        entries=sum(version.entries for version in versions),
        bytes=sum(version.bytes for version in versions),
        groups=tuple(_group_stats(group, members) for group, members in groups.items()),
        versions=versions,
    )


def check(
    cache: FeatureCache, current: Mapping[str, bytes], identities: Sequence[bytes]
) -> tuple[GroupCheck, ...]:
    """Per group of ``current`` (name -> digest), how many inputs are fresh, stale, missing, failed."""
    return tuple(_check_group(cache, group, digest, identities) for group, digest in current.items())


def versions_of(store: Store) -> tuple[VersionStats, ...]:
    """Every fingerprint with entries, failures or a record; by group, the newest first."""
    with store.read() as transaction:
        known = {record.digest: record for record in records.iterate_records(transaction)}
        sizes = _sizes(transaction)
        failures: dict[bytes, int] = {}
        for key, _ in iterate_prefix(transaction, FAILURES):
            failures[key[:16]] = failures.get(key[:16], 0) + 1
        found = [
            _version(digest, known.get(digest), sizes.get(digest, (0, 0, None)), failures.get(digest, 0))
            for digest in known.keys() | sizes.keys() | failures.keys()
        ]
    return tuple(
        sorted(found, key=lambda version: (version.group, -version.first_used_s, version.fingerprint))
    )


def _version(
    digest: bytes,
    record: records.FingerprintRecord | None,
    size: tuple[int, int, tuple[int, ...] | None],
    failures: int,
) -> VersionStats:
    usage = record.usage if record else records.Usage()
    return VersionStats(
        group=record.group if record else UNRECORDED,
        fingerprint=digest.hex(),
        entries=size[0],
        bytes=size[1],
        failures=failures,
        columns=len(record.columns) if record else 0,
        shape=size[2],
        seconds=usage.seconds,
        computed=usage.computed,
        first_used_s=record.first_used_s if record else 0.0,
        last_used_s=usage.last_used_s,
    )


def _sizes(transaction: Any) -> dict[bytes, tuple[int, int, tuple[int, ...] | None]]:
    """Fingerprint -> number of entries, their bytes, shape of the first; samples are not read."""
    found: dict[bytes, tuple[int, int, tuple[int, ...] | None]] = {}
    for key, value in iterate_prefix(transaction, ENTRIES):
        digest = key[:16]
        if digest in found:
            count, size, shape = found[digest]
            found[digest] = (count + 1, size + len(value), shape)
        else:
            found[digest] = (1, len(value), stored_shape(value))
    return found


def _group_stats(group: str, versions: Sequence[VersionStats]) -> GroupStats:
    newest = versions[0]
    per_item = newest.seconds_per_item
    return GroupStats(
        group=group,
        versions=len(versions),
        entries=sum(version.entries for version in versions),
        bytes=sum(version.bytes for version in versions),
        failures=sum(version.failures for version in versions),
        columns=newest.columns,
        shape=newest.shape,
        seconds=sum(version.seconds for version in versions),
        recompute_seconds=None if per_item is None else per_item * newest.entries,
    )


def _check_group(cache: FeatureCache, group: str, digest: bytes, identities: Sequence[bytes]) -> GroupCheck:
    known = cache.records(group)
    fresh = cache.has_many(digest, identities)
    absent = [identity for identity, found in zip(identities, fresh, strict=True) if not found]
    n_fresh = len(identities) - len(absent)
    failed = [failure is not None for failure in cache.failures(digest, absent)]
    absent = [identity for identity, found in zip(absent, failed, strict=True) if not found]
    n_unsettled = len(absent)
    for record in known:
        if record.digest != digest:
            older = cache.has_many(record.digest, absent)
            absent = [identity for identity, found in zip(absent, older, strict=True) if not found]
    current = next((record for record in known if record.digest == digest), known[0] if known else None)
    return GroupCheck(
        group=group,
        fresh=n_fresh,
        stale=n_unsettled - len(absent),
        missing=len(absent),
        failed=sum(failed),
        columns=len(current.columns) if current else 0,
    )
