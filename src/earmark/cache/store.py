"""The LMDB environment under the feature cache: one per folder and process, growing, safe across processes
and forks.

Conventions: all tables share LMDB's unnamed database, the first byte of a key tells which (opening named
databases would take the writers' lock). A transaction never leaves this package and never spans a call to the
user's code, so each is short.

* Readers never wait for writers: LMDB gives each its snapshot. Writers of all processes take turns at LMDB's
  own lock, which survives a holder that was killed.
* The memory map starts modest and doubles when it is full (`lmdb.MapFullError`); a growth made by another
  process is adopted (`lmdb.MapResizedError`). LMDB forbids resizing under a live transaction of the same
  process, hence `_Gate`.
* LMDB forbids one file to be open twice in a process, hence the registry; and to use an environment across
  ``fork``, hence the hooks: a fork waits for the transactions of this process, and the child closes what it
  inherited and opens its own. Spare reader slots are off (``max_spare_txns=0``): closing in the child would
  free the parent's slots under it.

* A commit flushes to disk once (``metasync=False``): it survives the death of the process at once, and a power cut
  undoes at most the last one, whole. `Store.sync` makes that one safe too.

References: lmdb.h, sections "Caveats" and "mdb_env_set_mapsize"; py-lmdb documentation, "Environment class".
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import lmdb

from earmark.cache.filesystem import refuse_network
from earmark.errors import CacheError

__all__ = ["Store", "delete_prefix", "is_busy", "iterate_prefix", "open_store"]

Result = TypeVar("Result")

META: Final = b"m"
ENTRIES: Final = b"e"
RECORDS: Final = b"r"
USAGE: Final = b"u"
FAILURES: Final = b"f"
IDENTITIES: Final = b"i"
READS: Final = b"d"
"""First byte of a key: which table it belongs to."""

LAYOUT_VERSION: Final = b"1"
INITIAL_MAP_BYTES: Final = 64 << 20
MAP_ROUNDING_BYTES: Final = 1 << 20
MAX_READERS: Final = 510
"""Concurrent read transactions over all processes; LMDB's 126 is few for a large machine. 64 bytes each."""
DATA_FILE: Final = "data.mdb"
LOCK_FILE: Final = "lock.mdb"
LOCK_BYTES: Final = 64 * (MAX_READERS + 4)


class _Depth(threading.local):
    """How many gates this thread is in, or is about to enter or close."""

    value = 0


_depth = _Depth()


def is_busy() -> bool:
    """Whether this thread is in a transaction: then what the garbage collector runs must not begin another."""
    return _depth.value > 0


class _Gate:
    """Counts the transactions of this process and lets one thread wait until there are none."""

    def __init__(self) -> None:
        self._condition = threading.Condition(threading.Lock())
        self._active = 0
        self._closed = False

    def enter(self) -> None:
        _depth.value += 1
        with self._condition:
            while self._closed:
                self._condition.wait()
            self._active += 1

    def leave(self) -> None:
        with self._condition:
            self._active -= 1
            if self._active == 0:
                self._condition.notify_all()
        _depth.value -= 1

    def close(self) -> None:
        """Hold new transactions back until `open`, and wait until none is under way."""
        _depth.value += 1
        with self._condition:
            while self._closed:
                self._condition.wait()
            self._closed = True
            try:
                while self._active:
                    self._condition.wait()
            except BaseException:  # Ctrl-C while waiting
                self._closed = False
                self._condition.notify_all()
                _depth.value -= 1
                raise

    def open(self) -> None:
        with self._condition:
            self._closed = False
            self._condition.notify_all()
        _depth.value -= 1

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        self.close()
        try:
            yield
        finally:
            self.open()


class Store:
    """One open LMDB environment. Get it from `open_store`, which keeps one per folder.

    Parameters
    ----------
    folder : Path
        Absolute, resolved; created with its parents unless ``read_only``.
    read_only : bool
        Open for reading only. A folder that cannot be written is opened so in any case, see `writable`.

    Raises
    ------
    CacheError
        On a network file system, a broken, truncated or newer store, no store to read, no room.
    """

    def __init__(self, folder: Path, read_only: bool) -> None:
        refuse_network(folder)
        self.folder = folder
        self._gate = _Gate()
        self._environment: Any = None
        self.writable = False
        self._wants_write = not read_only
        self._open()

    # Transactions

    @contextlib.contextmanager
    def read(self) -> Iterator[Any]:
        """A read transaction; values are memory views, valid inside it only."""
        self._ensure_open()
        with translated(self.folder), self._transaction(write=False) as transaction:
            yield transaction

    def write(self, action: Callable[[Any], Result]) -> Result:
        """Run ``action(transaction)`` in one write transaction and return its result: all is stored or
        nothing.

        ``action`` is run again after the map has grown, so it must have no effect but on the transaction.
        """
        while True:
            if not self.writable:
                raise CacheError(
                    f"The cache {self.folder} is open for reading only. Writing needs a folder and files "
                    "that this user can write. Change the permissions, or set EARMARK_CACHE."
                )
            with translated(self.folder):
                self._ensure_open()
                try:
                    with self._transaction(write=True) as transaction:
                        size = self._environment.info()["map_size"]
                        return action(transaction)
                except lmdb.MapFullError:
                    self._grow(size)

    def sync(self) -> None:
        """Make the last commit safe from a power cut."""
        self._ensure_open()
        with translated(self.folder), self._transaction(write=False):
            self._environment.sync(True)

    def map_bytes(self) -> int:
        """Size of this process's memory map; the file is no larger."""
        self._ensure_open()
        return int(self._environment.info()["map_size"])

    def file_bytes(self) -> int:
        """Size of the data file on disk."""
        return (self.folder / DATA_FILE).stat().st_size

    @contextlib.contextmanager
    def _transaction(self, *, write: bool) -> Iterator[Any]:
        self._gate.enter()
        try:
            with self._begin(write) as transaction:
                yield transaction
        finally:
            self._gate.leave()

    def _begin(self, write: bool) -> Any:
        tried = False
        while True:
            try:
                return self._environment.begin(write=write, buffers=not write)
            except lmdb.MapResizedError:
                self._outside_gate(lambda: self._environment.set_mapsize(0))
            except (lmdb.ReadersFullError, lmdb.PanicError) as error:
                if tried:
                    raise
                tried = True
                if isinstance(error, lmdb.ReadersFullError):
                    self._environment.reader_check()
                else:  # a failed commit makes LMDB refuse the environment; the file holds the commit before
                    self._outside_gate(self._open_again)

    def _outside_gate(self, action: Callable[[], object]) -> None:
        self._gate.leave()
        try:
            with self._gate.alone():
                action()
        finally:
            self._gate.enter()

    def _grow(self, full_at: int) -> None:
        """Double the map, unless another thread has done so since it was ``full_at`` bytes."""
        with self._gate.alone():
            if self._environment.info()["map_size"] <= full_at:
                self._environment.set_mapsize(_rounded(2 * full_at))

    # Opening and closing

    def allow_writing(self) -> None:
        """Reopen for writing what was first opened for reading only."""
        if not self._wants_write:
            with self._gate.alone():
                self._wants_write = True
                self._open_again()

    @contextlib.contextmanager
    def closed(self) -> Iterator[None]:
        """Close the environment for the span of the block, with this process's transactions held back."""
        with self._gate.alone():
            self._shut()
            try:
                yield
            finally:
                self._open()

    def _ensure_open(self) -> None:
        if self._environment is None:
            with self._gate.alone():
                if self._environment is None:
                    self._open()

    def _open_again(self) -> None:
        self._shut()
        self._open()

    def _shut(self) -> None:
        if self._environment is not None:
            self._environment.close()
            self._environment = None

    def _open(self) -> None:
        with translated(self.folder):
            self.writable = self._wants_write and self._make_folder()
            self._environment = self._environment_at_folder()
            try:
                self._refuse_truncated()
                self._environment.reader_check()
                self._check_layout()
            except BaseException:
                self._shut()
                raise

    def _make_folder(self) -> bool:
        """Create the folder if needed and say whether it can be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM) and (self.folder / DATA_FILE).exists():
                return False
            raise
        files = [self.folder, self.folder / DATA_FILE, self.folder / LOCK_FILE]
        return all(os.access(path, os.W_OK) for path in files if path.exists())

    def _environment_at_folder(self) -> Any:
        data = self.folder / DATA_FILE
        if not self.writable and not data.exists():
            if self._wants_write:
                raise CacheError(
                    f"The folder {self.folder} cannot be written, so no cache can be made in it. "
                    "Expected a folder this user can write. Change the permissions, or set EARMARK_CACHE."
                )
            raise CacheError(
                f"There is no cache at {self.folder}. Reading needs one that exists. "
                "Run `earmark extract` first, or name the right folder with EARMARK_CACHE."
            )
        size = data.stat().st_size if data.exists() else 0
        options: dict[str, Any] = {
            "map_size": _rounded(max(INITIAL_MAP_BYTES, 2 * size)),
            "max_readers": MAX_READERS,
            "max_spare_txns": 0,
            "metasync": False,
        }
        if self.writable:
            self._require_room()
            return lmdb.open(str(self.folder), **options)
        lockable = os.access(self.folder / LOCK_FILE, os.W_OK)
        # Without a lock file nobody can be writing here, or only another user: checksums guard what is read
        # then.
        return lmdb.open(str(self.folder), readonly=True, create=False, lock=lockable, **options)

    def _require_room(self) -> None:
        """A new lock file is written through memory, where a full disk ends the program with SIGBUS: try before."""
        lock = self.folder / LOCK_FILE
        if lock.exists() and lock.stat().st_blocks:
            return
        with tempfile.TemporaryFile(dir=self.folder) as trial:
            trial.write(bytes(LOCK_BYTES))
            trial.flush()

    def _refuse_truncated(self) -> None:
        """A file shorter than its page table says would end a later read with SIGBUS, so look first."""
        needed = (self._environment.info()["last_pgno"] + 1) * self._environment.stat()["psize"]
        found = self.file_bytes()
        if found < needed:
            raise CacheError(
                f"The cache {self.folder} is truncated: {found} bytes, expected at least {needed}. "
                f"Restore {DATA_FILE} from a copy, or delete the folder; features will be computed again."
            )

    def _check_layout(self) -> None:
        """Write the version of the layout into a new store, refuse a store of another version."""
        key = META + b"layout"
        with self._environment.begin() as transaction:
            version = transaction.get(key)
        if version is None and self.writable:
            with self._environment.begin(write=True) as transaction:
                transaction.put(key, LAYOUT_VERSION, overwrite=False)
                version = transaction.get(key)
        if version != LAYOUT_VERSION:
            raise CacheError(
                f"The cache {self.folder} has layout {version!r}; this earmark reads {LAYOUT_VERSION!r}. "
                "Use the earmark that wrote it, or set EARMARK_CACHE to a new folder."
            )

    # Fork hooks

    def before_fork(self) -> None:
        self._gate.close()

    def after_fork_in_parent(self) -> None:
        self._gate.open()

    def after_fork_in_child(self) -> None:
        """Let go of the parent's environment; the first transaction opens one of this process."""
        self._gate = _Gate()
        self._shut()


def iterate_prefix(transaction: Any, prefix: bytes) -> Iterator[tuple[bytes, Any]]:
    """Keys, less ``prefix``, and values of all keys that start with it, in order."""
    cursor = transaction.cursor()
    size = len(prefix)
    found = cursor.set_range(prefix)
    while found:
        key = bytes(cursor.key())
        if not key.startswith(prefix):
            return
        yield key[size:], cursor.value()
        found = cursor.next()


def delete_prefix(transaction: Any, prefix: bytes, limit: int | None = None) -> int:
    """Delete the keys that start with ``prefix``, at most ``limit``, and return how many were deleted."""
    cursor = transaction.cursor()
    count = 0
    found = cursor.set_range(prefix)
    while found and count != limit and bytes(cursor.key()).startswith(prefix):
        found = cursor.delete()
        count += 1
    return count


_stores: weakref.WeakValueDictionary[str, Store] = weakref.WeakValueDictionary()
_stores_lock = threading.RLock()
_hooks: list[Callable[[], None]] = []


def open_store(folder: Path, *, read_only: bool) -> Store:
    """The store of this process at ``folder``, opened on first use, closed when nobody holds it any more."""
    path = folder.expanduser().resolve()
    with _stores_lock:
        _hook_forks()
        store = _stores.get(str(path))
        if store is None:
            store = _stores[str(path)] = Store(path, read_only)
        elif not read_only:
            store.allow_writing()
        return store


def _hook_forks() -> None:
    """Register the fork hooks, once and only in a process that uses a cache."""
    if not _hooks:
        _hooks.append(_before_fork)
        os.register_at_fork(
            before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
        )


_held: list[Store] = []


def _before_fork() -> None:
    _stores_lock.acquire()
    _held[:] = list(_stores.values())
    for store in _held:
        store.before_fork()


def _after_fork_in_parent() -> None:
    for store in _held:
        store.after_fork_in_parent()
    _held.clear()
    _stores_lock.release()


def _after_fork_in_child() -> None:
    _depth.value = 0
    for store in _held:
        store.after_fork_in_child()
    _held.clear()
    _stores_lock.release()


@contextlib.contextmanager
def translated(folder: Path) -> Iterator[None]:
    """Turn errors of LMDB and of the operating system into `CacheError` with what to do."""
    try:
        yield
    except lmdb.Error as error:
        raise CacheError(_sentence(folder, error)) from error
    except OSError as error:
        raise CacheError(_sentence(folder, error)) from error


def _sentence(folder: Path, error: Exception) -> str:
    text = str(error)
    # LMDB reports a write cut short by a full disk, a quota or a file size limit as an input/output error.
    no_room = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
    if any(os.strerror(code) in text for code in no_room):
        free_mib = shutil.disk_usage(folder if folder.exists() else folder.parent).free / 2**20
        return (
            f"The cache {folder} could not be written: {text}; its disk has {free_mib:.1f} MiB free. "
            "What was stored before is intact. Expected room and a sound disk: free space, raise the quota "
            "or the file size limit, run `earmark cache gc`, or set EARMARK_CACHE to a larger disk."
        )
    if isinstance(
        error, (lmdb.CorruptedError, lmdb.InvalidError, lmdb.PageNotFoundError, lmdb.VersionMismatchError)
    ):
        return (
            f"The cache {folder} is not a sound LMDB store: {text}. "
            "Restore it from a copy, or delete the folder; features will be computed again."
        )
    if isinstance(error, lmdb.ReadersFullError):
        return f"More than {MAX_READERS} reads of the cache {folder} at once: {text}. Use fewer workers."
    return f"The cache {folder} cannot be used: {text}. It needs a local folder this user can read and write."


def _rounded(size: int) -> int:
    return -(-size // MAP_ROUNDING_BYTES) * MAP_ROUNDING_BYTES
