"""Removing what is no longer wanted from the cache, by version, and giving the room back to the disk.

Last use is kept by version (see `earmark.cache.records`), so versions are what goes or stays. LMDB reuses the
pages of deleted entries but never shrinks its file; `compact` does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import os
import shutil
import time
from collections.abc import Collection, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import lmdb

from earmark.cache.records import IMPORTED_GROUP
from earmark.cache.store import (
    DATA_FILE,
    ENTRIES,
    FAILURES,
    LOCK_FILE,
    RECORDS,
    USAGE,
    Store,
    delete_prefix,
    translated,
)
from earmark.cache.upkeep import VersionStats, versions_of
from earmark.errors import CacheError, UsageError

if TYPE_CHECKING:
    from earmark.cache.entries import FeatureCache

__all__ = ["Cleaning", "compact", "gc"]

CHUNK: Final = 10_000
"""Entries deleted per transaction, so that other processes' writes are not held up."""
COPY_MARGIN_BYTES: Final = 1 << 20
COMPACTED: Final = "compacted"
"""Folder beside the data file in which its successor is made."""


@dataclasses.dataclass(frozen=True)
class Cleaning:
    """What `gc` removed, or would remove when ``dry_run``.

    ``compacted`` is false when the freed pages stay in the file, for later entries, because another process
    has it open or the disk has no room for the copy.
    """

    dry_run: bool
    removed: tuple[VersionStats, ...]
    entries: int
    bytes: int
    kept_bytes: int
    file_bytes_before: int
    file_bytes_after: int
    compacted: bool


def gc(
    cache: FeatureCache,
    *,
    max_age_s: float | None = None,
    max_bytes: int | None = None,
    stale_only: bool = False,
    current: Collection[bytes] | None = None,
    dry_run: bool = True,
) -> Cleaning:
    """Remove versions that are no longer wanted, and give their room back to the disk.

    Parameters
    ----------
    max_age_s : float, optional
        Remove what was not used for longer than this.
    max_bytes : int, optional
        Remove what was not used for the longest, stale versions first, until the rest is at most this.
    stale_only : bool
        Never remove a version of ``current``, nor imported rows. Without the two limits, remove all other
        versions.
    current : collection of bytes, optional
        Fingerprint digests of the code as it is now; needed by ``stale_only``.
    dry_run : bool
        Only report.

    Raises
    ------
    UsageError
        Nothing says what to remove, or ``stale_only`` is given without ``current``.
    """
    if max_age_s is None and max_bytes is None and not stale_only:
        raise UsageError(
            "gc was given no limit. Expected an age, a size or stale_only. Say what may be removed."
        )
    if stale_only and current is None:
        raise UsageError(
            "gc of stale entries needs the current fingerprints. Pass current=, or give an age or a size."
        )
    versions = versions_of(cache.store)
    fresh = {digest.hex() for digest in current or ()}
    removed = _unwanted(versions, fresh, max_age_s, max_bytes, stale_only)
    before = cache.store.file_bytes()
    compacted = False
    if not dry_run:
        for version in removed:
            _remove_version(cache, bytes.fromhex(version.fingerprint))
        compacted = bool(removed) and compact(cache.store)
    freed = sum(version.bytes for version in removed)
    return Cleaning(
        dry_run=dry_run,
        removed=removed,
        entries=sum(version.entries for version in removed),
        bytes=freed,
        kept_bytes=sum(version.bytes for version in versions) - freed,
        file_bytes_before=before,
        file_bytes_after=cache.store.file_bytes(),
        compacted=compacted,
    )


def compact(store: Store) -> bool:
    """Rewrite the data file without free pages; false when nothing was done, see `Cleaning`.

    LMDB holds a shared lock on its lock file while an environment is open. Getting it exclusively proves that
    no other process has the file open, and holds back those that want to open it until the new file is in
    place.
    """
    if not store.writable or not _has_room_for_copy(store):
        return False
    with translated(store.folder), store.closed(), _locked_out(store.folder / LOCK_FILE) as alone:
        if not alone:
            return False
        copy = store.folder / COMPACTED
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        try:
            source = lmdb.open(str(store.folder), readonly=True, lock=False, create=False)
            try:
                source.copy(str(copy), compact=True)
            finally:
                source.close()
            _flush_to_disk(copy / DATA_FILE)
            (copy / DATA_FILE).replace(store.folder / DATA_FILE)
            _flush_to_disk(store.folder)
        finally:
            shutil.rmtree(copy)
    return True


def _unwanted(
    versions: Sequence[VersionStats],
    fresh: Collection[str],
    max_age_s: float | None,
    max_bytes: int | None,
    stale_only: bool,
) -> tuple[VersionStats, ...]:
    kept = {
        version for version in versions if version.fingerprint in fresh or version.group == IMPORTED_GROUP
    }
    allowed = [version for version in versions if not (stale_only and version in kept)]
    if max_age_s is None and max_bytes is None:
        return tuple(allowed)
    oldest_s = -1.0 if max_age_s is None else time.time() - max_age_s
    removed = [version for version in allowed if version.last_used_s < oldest_s]
    if max_bytes is not None:
        rest = sum(version.bytes for version in versions) - sum(version.bytes for version in removed)
        gone = set(removed)
        candidates = [version for version in allowed if version not in gone]
        for version in sorted(candidates, key=lambda one: (one.fingerprint in fresh, one.last_used_s)):
            if rest <= max_bytes:
                break
            removed.append(version)
            rest -= version.bytes
    return tuple(removed)


def _remove_version(cache: FeatureCache, digest: bytes) -> None:
    chunk = CHUNK
    while True:
        try:
            if not cache.write(partial(delete_prefix, prefix=ENTRIES + digest, limit=chunk)):
                break
            chunk = min(CHUNK, 2 * chunk)
        except CacheError:
            # LMDB writes a changed page to a new place first. On a full disk a small step can find that place
            # among pages that are free already, and frees more.
            if chunk == 1:
                raise
            chunk = max(1, chunk // 10)

    def remove(transaction: Any) -> None:
        delete_prefix(transaction, FAILURES + digest)
        transaction.delete(RECORDS + digest)
        transaction.delete(USAGE + digest)

    cache.write(remove)


def _has_room_for_copy(store: Store) -> bool:
    with store.read() as transaction:
        status = transaction.stat()
    pages = status["branch_pages"] + status["leaf_pages"] + status["overflow_pages"]
    return bool(shutil.disk_usage(store.folder).free > pages * status["psize"] + COPY_MARGIN_BYTES)


@contextlib.contextmanager
def _locked_out(path: Path) -> Iterator[bool]:
    """Hold the lock file exclusively for the span of the block; yields whether that succeeded."""
    with path.open("r+b") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            yield False
            return
        yield True


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
