"""`FeatureCache`: computed features by content x code, in LMDB.

Conventions: a *fingerprint* (16 bytes) says which code, an *identity* (16 bytes) says which input; their
concatenation is the key, so the entries of one version of a group lie side by side. Values are arrays,
checked on every read: what does not check out is a miss, logged once, never a result. Returned arrays are the
caller's own copies.

What is cheap to lose (remembered identities, times of last use) is gathered in memory and written along with
the next batch of entries, on `flush`, on `close`, or at the end of the process.
"""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from earmark.cache import cleaning, records, upkeep, verification
from earmark.cache.adopt import Adoption, adopt, rekey
from earmark.cache.cleaning import Cleaning
from earmark.cache.entry_format import BadEntryError, decode, encode, samples
from earmark.cache.identity import Identifier
from earmark.cache.records import Digested, Failure, FingerprintRecord, Usage
from earmark.cache.same_input import same_input
from earmark.cache.store import (
    ENTRIES,
    FAILURES,
    IDENTITIES,
    READS,
    RECORDS,
    Store,
    delete_prefix,
    is_busy,
    iterate_prefix,
    open_store,
)
from earmark.cache.upkeep import GroupCheck, Stats
from earmark.cache.verification import Verification
from earmark.errors import CacheError, InputError

__all__ = ["CACHE_VARIABLE", "FeatureCache", "default_cache_path"]

logger = logging.getLogger(__name__)

Array = np.ndarray[Any, Any]
Result = TypeVar("Result")

CACHE_VARIABLE: Final = "EARMARK_CACHE"
DIGEST_BYTES: Final = records.DIGEST_BYTES
PENDING_LIMIT: Final = 1024
"""Remembered identities held in memory before they are written by themselves."""


def default_cache_path(root: Path) -> Path:
    """The cache folder of the project at ``root``: ``$EARMARK_CACHE``, else ``.earmark/cache``."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named) if named else root / ".earmark" / "cache"


class FeatureCache:
    """Features of inputs, computed once per content and code.

    One object may be shared by threads; it may be pickled and survives ``fork``: each process opens its own
    environment.

    Parameters
    ----------
    path : str or Path
        Folder of the LMDB environment, created when missing.
    read_only : bool
        Never write. A folder that this user cannot write is opened so by itself; writing then raises.

    Raises
    ------
    CacheError
        On a network file system, a broken or newer store, or a read-only one that does not exist.

    Examples
    --------
    >>> import tempfile
    >>> cache = FeatureCache(tempfile.mkdtemp())
    >>> code, content = bytes(16), bytes(range(16))
    >>> cache.put_many([(code, content, np.arange(3.0))])
    >>> cache.get_many(code, [content, bytes(16)])
    [array([0., 1., 2.]), None]
    """

    def __init__(self, path: str | Path, *, read_only: bool = False) -> None:
        self.store: Store = open_store(Path(path), read_only=read_only)
        self._read_only = read_only
        self._notes = _Notes()
        weakref.finalize(self, _flush_at_end, os.getpid(), self.store, self._notes, read_only)

    def __reduce__(self) -> tuple[Callable[..., FeatureCache], tuple[str, bool]]:
        return _reopened, (str(self.path), self._read_only)

    def __repr__(self) -> str:
        return f"FeatureCache({str(self.path)!r}, read_only={self.read_only})"

    @property
    def path(self) -> Path:
        """The cache folder, absolute."""
        return self.store.folder

    @property
    def read_only(self) -> bool:
        """Whether writing raises, by request or because the folder cannot be written."""
        return self._read_only or not self.store.writable

    # Entries

    def get_many(self, fingerprint: bytes, identities: Sequence[bytes]) -> list[Array | None]:
        """The stored array of each input, ``None`` where there is none. Arrays are writable copies."""
        prefix = ENTRIES + _check_digest(fingerprint)
        found: list[Array | None] = []
        with self.store.read() as transaction:
            get = transaction.get
            for identity in identities:
                stored = get(prefix + identity)
                if stored is None:
                    found.append(None)
                    continue
                try:
                    found.append(decode(stored))
                except BadEntryError as error:
                    self._log_bad(fingerprint + identity, error)
                    found.append(None)
        self._notes.use(fingerprint)
        return found

    def stack(
        self, fingerprint: bytes, identities: Sequence[bytes], n_columns: int
    ) -> tuple[np.ndarray[Any, np.dtype[np.float32]], np.ndarray[Any, np.dtype[np.bool_]]]:
        """The stored vectors of many inputs as one array.

        Returns
        -------
        values : float32, shape (n_identities, n_columns)
            NaN in the rows that were not found.
        found : bool, shape (n_identities,)
            False too for a stored array that is not a vector of ``n_columns``.
        """
        prefix = ENTRIES + _check_digest(fingerprint)
        values = np.empty((len(identities), n_columns), np.float32)
        found = np.zeros(len(identities), np.bool_)
        with self.store.read() as transaction:
            for row, identity in enumerate(identities):
                stored = transaction.get(prefix + identity)
                if stored is None:
                    continue
                try:
                    vector = samples(stored)
                    if vector.shape != (n_columns,):
                        raise BadEntryError(f"shape {vector.shape}, expected ({n_columns},)")
                    values[row] = vector
                    found[row] = True
                except BadEntryError as error:
                    self._log_bad(fingerprint + identity, error)
        values[~found] = np.nan
        self._notes.use(fingerprint)
        return values, found

    def has_many(self, fingerprint: bytes, identities: Sequence[bytes]) -> list[bool]:
        """Whether an entry exists for each input; a damaged one shows only when it is read."""
        prefix = ENTRIES + _check_digest(fingerprint)
        with self.store.read() as transaction:
            get = transaction.get
            found = [get(prefix + identity) is not None for identity in identities]
        self._notes.use(fingerprint)
        return found

    def put_many(self, entries: Iterable[tuple[bytes, bytes, Array]]) -> None:
        """Store ``(fingerprint, identity, array)`` triples: all of them or, on an error, none.

        One transaction and one flush to disk per call, so call it with batches. An earlier entry under the
        same key is replaced and a failure recorded there is forgotten.

        Raises
        ------
        CacheError
            The cache is read-only, the disk is full, or an array is not of plain numbers.
        """
        pairs = [(ENTRIES + _key(code, content), encode(array)) for code, content, array in entries]
        if not pairs:
            return
        pairs.sort(key=itemgetter(0))

        def put(transaction: Any) -> None:
            any_failure = next(iterate_prefix(transaction, FAILURES), None) is not None
            transaction.cursor().putmulti(pairs)
            for key, _ in pairs if any_failure else ():
                transaction.delete(FAILURES + key[1:])

        self.write(put)

    def same_input(self, pairs: Iterable[tuple[bytes, bytes]]) -> int:
        """Let entries of one identity stand for another that has the same samples (`earmark.cache.same_input`)."""
        return same_input(self, pairs)

    # Identities

    def identify(self, uri: str | os.PathLike[str]) -> bytes:
        """Identity of the content behind a path or URI, 16 bytes; or `InputError` when it cannot be read."""
        return Identifier(self).identify(uri)

    def identify_many(self, uris: Sequence[str | os.PathLike[str]]) -> list[bytes | InputError]:
        """Identity of each of ``uris``, the error in place of one that cannot be read.

        What had to be hashed is remembered in one transaction.
        """
        identities = Identifier(self).identify_many(uris)
        if self._notes.identities:
            self.flush()
        return identities

    def recall(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """What was remembered under each key (`earmark.cache.identity.Memory`)."""
        with self.store.read() as transaction:
            stored = [self._notes.identities.get(key) or transaction.get(IDENTITIES + key) for key in keys]
            return [bytes(value) if value is not None else None for value in stored]

    def remember(self, key: bytes, value: bytes) -> None:
        """Remember an identity (`earmark.cache.identity.Memory`); written with the next batch."""
        self._notes.identities[key] = value
        if len(self._notes.identities) >= PENDING_LIMIT:
            self.flush()

    # Fingerprints, failures, data files

    def record(
        self,
        group: str,
        fingerprint: Digested,
        *,
        columns: Sequence[str],
        seconds: float,
        bytes: int,
        computed: int = 0,
    ) -> None:
        """Store what a fingerprint is made of; add to its totals of computing time, bytes and items."""
        digest = _check_digest(fingerprint.digest)
        now_s = time.time()
        content = records.describe(group, columns, fingerprint.parts, now_s)
        usage = Usage(now_s, seconds, bytes, computed)

        def write(transaction: Any) -> None:
            transaction.put(RECORDS + digest, content, overwrite=False)
            records.add_usage(transaction, digest, usage)

        self.write(write)

    def records(self, group: str | None = None) -> list[FingerprintRecord]:
        """The versions known of ``group`` (of all groups when ``None``), the newest first."""
        with self.store.read() as transaction:
            known = list(records.iterate_records(transaction))
        chosen = [record for record in known if group is None or record.group == group]
        return sorted(chosen, key=lambda record: record.first_used_s, reverse=True)

    def fail(self, fingerprint: bytes, identity: bytes, error: str, kind: str = "InputError") -> None:
        """Record that computing failed with an error of class `kind`, so that it is not tried again until the code
        or the input changes.
        """
        self.fail_many([(fingerprint, identity, error, kind)])

    def fail_many(self, failures: Iterable[tuple[bytes, bytes, str, str]]) -> None:
        """Record ``(fingerprint, identity, error, kind)`` tuples in one transaction."""
        now_s = time.time()
        pairs = [
            (FAILURES + _key(code, content), records.pack_failure(Failure(error, now_s, kind)))
            for code, content, error, kind in failures
        ]
        if not pairs:
            return
        self.write(lambda transaction: transaction.cursor().putmulti(sorted(pairs)))

    def failure(self, fingerprint: bytes, identity: bytes) -> Failure | None:
        """The recorded failure of one input, ``None`` if there is none."""
        return self.failures(fingerprint, [identity])[0]

    def failures(self, fingerprint: bytes, identities: Sequence[bytes]) -> list[Failure | None]:
        """The recorded failure of each input, ``None`` where there is none."""
        with self.store.read() as transaction:
            stored = [transaction.get(FAILURES + _key(fingerprint, identity)) for identity in identities]
            return [records.parse_failure(value) if value is not None else None for value in stored]

    def clear_failures(self, fingerprint: bytes | None = None) -> int:
        """Forget the failures under ``fingerprint`` (all when ``None``) and return how many there were."""
        prefix = b"" if fingerprint is None else _check_digest(fingerprint)
        return self.write(lambda transaction: delete_prefix(transaction, FAILURES + prefix))

    def remember_reads(self, reads: Mapping[bytes, Iterable[str]]) -> None:
        """Store, per function key (1 to 500 bytes), the data files that the function was seen to read."""
        packed = {READS + key: records.pack_reads(paths) for key, paths in reads.items()}
        self.write(lambda transaction: transaction.cursor().putmulti(sorted(packed.items())))

    def reads(self) -> dict[str, tuple[str, ...]]:
        """All that is known of data files: function key -> paths, as `earmark.cache.fingerprint` takes it."""
        with self.store.read() as transaction:
            return {
                key.decode(): records.parse_reads(stored)
                for key, stored in iterate_prefix(transaction, READS)
            }

    # Upkeep: see the modules named for what each means

    def stats(self) -> Stats:
        """Entries, sizes and costs per group and version (`earmark.cache.upkeep.stats`)."""
        return upkeep.stats(self)

    def check(self, current: Mapping[str, bytes], identities: Sequence[bytes]) -> tuple[GroupCheck, ...]:
        """Fresh, stale, missing and failed items per group (`earmark.cache.upkeep.check`)."""
        return upkeep.check(self, current, identities)

    def gc(self, **limits: Any) -> Cleaning:
        """Remove versions no longer wanted; a dry run by default (`earmark.cache.cleaning.gc`)."""
        return cleaning.gc(self, **limits)

    def verify(self, *, delete: bool = False) -> Verification:
        """Check every checksum (`earmark.cache.verification.verify`)."""
        return verification.verify(self, delete=delete)

    def adopt(self, group: str, old: bytes, new: Digested, **options: Any) -> Adoption:
        """Keep the entries of earlier code if a recomputed sample agrees (`earmark.cache.adopt.adopt`)."""
        return adopt(self, group, old, new, **options)

    def rekey(self, group: str, old: bytes, new: Digested, columns: Sequence[str]) -> int:
        """Move entries to another fingerprint that is known to give the same values; returns how many moved."""
        return rekey(self, group, old, new, columns)

    # Life

    def write(self, action: Callable[[Any], Result]) -> Result:
        """Run ``action(transaction)`` in one write transaction; for the modules of this package."""
        if self._read_only:
            raise CacheError(
                f"The cache {self.path} was opened with read_only=True, which forbids this. Open it without."
            )
        return self._notes.write_with(self.store, action)

    def flush(self) -> None:
        """Write remembered identities and times of last use now. Does nothing in a read-only cache."""
        if not self.read_only:
            self._notes.flush(self.store)

    def close(self) -> None:
        """Flush, to the disk too. The environment closes when no object of this process uses the folder any more."""
        self.flush()
        if not self.read_only:
            self.store.sync()

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _log_bad(self, key: bytes, error: BadEntryError) -> None:
        if key not in self._notes.logged:
            self._notes.logged.add(key)
            logger.warning(
                "cache %s: entry %s is damaged and counts as missing: %s", self.path, key.hex(), error
            )


class _Notes:
    """What waits in memory to be written: identities, and fingerprints that were used."""

    def __init__(self) -> None:
        self.identities: dict[bytes, bytes] = {}
        self.used: dict[bytes, float] = {}
        self.logged: set[bytes] = set()
        self._noted: dict[bytes, float] = {}

    def use(self, fingerprint: bytes) -> None:
        now_s = time.time()
        if now_s - self._noted.get(fingerprint, 0.0) > records.TOUCH_INTERVAL_S:
            self._noted[fingerprint] = self.used[fingerprint] = now_s

    def write_with(self, store: Store, action: Callable[[Any], Result]) -> Result:
        """Run ``action`` in a write transaction that also stores what waits here, then forget what waited."""
        identities, used = dict(self.identities), dict(self.used)

        def write(transaction: Any) -> Result:
            result = action(transaction)
            transaction.cursor().putmulti(
                [(IDENTITIES + key, value) for key, value in sorted(identities.items())]
            )
            for digest, now_s in used.items():
                records.touch(transaction, digest, now_s)
            return result

        result = store.write(write)
        _discard(self.identities, identities)
        _discard(self.used, used)
        return result

    def flush(self, store: Store) -> None:
        if self.identities or self.used:
            self.write_with(store, lambda transaction: None)


def _discard(pending: dict[bytes, Result], written: Mapping[bytes, Result]) -> None:
    """Remove from ``pending`` what was written, unless it changed meanwhile."""
    for key, value in written.items():
        if pending.get(key) == value:
            del pending[key]


def _flush_at_end(pid: int, store: Store, notes: _Notes, read_only: bool) -> None:
    """At the end of a cache object's life; a forked child leaves the parent's notes to the parent.

    If the collector ends it in the middle of a transaction, the notes are given up: they are cheap to lose.
    """
    if pid == os.getpid() and not read_only and store.writable and not is_busy():
        notes.flush(store)


def _reopened(path: str, read_only: bool) -> FeatureCache:
    return FeatureCache(path, read_only=read_only)


def _check_digest(digest: bytes) -> bytes:
    if len(digest) != DIGEST_BYTES:
        raise CacheError(
            f"A fingerprint or identity of {len(digest)} bytes was given; expected {DIGEST_BYTES}. "
            "Pass Fingerprint.digest and what identify() returns."
        )
    return digest


def _key(fingerprint: bytes, identity: bytes) -> bytes:
    return _check_digest(fingerprint) + _check_digest(identity)
