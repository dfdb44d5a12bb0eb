"""The thread that writes the collector's journals, so that the event loop touches no file.

The loop hands over bytes and goes on; the thread writes and syncs them together, at most `commit_s` later. Where the
disk cannot keep up, bytes pile up to `max_backlog`; readers of sockets then wait (`has_room`), which the exchange sees
as a slow client. Nothing is dropped here. What the disk refuses ends the collector: `on_error` is called once, in this
thread, and every later call raises.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TypeVar

from earmark.errors import EarmarkError
from earmark.store.journal import Journal, JournalError, frame

__all__ = ["JournalWriter"]

MAX_BACKLOG = 32 << 20

T = TypeVar("T")


class JournalWriter:
    """Writes one journal in a thread of its own.

    Parameters
    ----------
    journal : Journal
        Closed by `close`.
    commit_s : float
        How much time of records a crash may cost.
    on_error : callable, optional
        Told of the error that ended the writing.
    """

    def __init__(
        self,
        journal: Journal,
        *,
        commit_s: float = 0.1,
        max_backlog: int = MAX_BACKLOG,
        on_error: Callable[[EarmarkError], None] | None = None,
    ) -> None:
        self.journal = journal
        self.error: EarmarkError | None = None
        self._commit_s = commit_s
        self._max_backlog = max_backlog
        self._on_error = on_error
        self._wake = threading.Condition()
        self._work: list[bytearray | tuple[Callable[[], object], Future[object]]] = []
        self._backlog = 0
        self._is_closing = False
        self._thread = threading.Thread(target=self._run, name=f"journal {journal.folder.name}", daemon=True)
        self._thread.start()

    @property
    def backlog(self) -> int:
        """Bytes that are not on the disk yet."""
        return self._backlog

    @property
    def has_room(self) -> bool:
        """Whether readers may go on."""
        return self._backlog < self._max_backlog

    def append(self, kind: int, received_ns: int, payload: bytes) -> None:
        """Hand a record over; it is safe within `commit_s`."""
        if self.error is not None:
            raise self.error
        data = frame(kind, received_ns, payload)
        with self._wake:
            if self._work and isinstance(self._work[-1], bytearray):
                self._work[-1] += data
            else:
                self._work.append(bytearray(data))
            self._backlog += len(data)

    def commit(self, records: Iterable[tuple[int, int, bytes]] = ()) -> Future[None]:
        """Hand records over; the future is done when they, and all before them, are on the disk."""
        for record in records:
            self.append(*record)
        return self._call(lambda: None)

    def rotate(self, records: Iterable[tuple[int, int, bytes]]) -> Future[int]:
        """Begin a segment with these records, behind all that was appended before; the future gives its number."""
        data = b"".join(frame(*record) for record in records)
        return self._call(lambda: self._rotate(data))

    def cut(self, before: int) -> Future[int]:
        """Delete the segments before that number."""
        return self._call(lambda: self.journal.cut(before))

    def close(self) -> None:
        """Write what is left, end the thread and close the journal; raises what ended the writing, if anything."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        self._thread.join()
        self.journal.close()
        if self.error is not None:
            raise self.error

    def _call(self, function: Callable[[], T]) -> Future[T]:
        if self.error is not None:
            raise self.error
        future: Future[T] = Future()
        with self._wake:
            self._work.append((function, future))  # type: ignore[arg-type]  # a future of whatever it returns
            self._wake.notify()
        return future

    def _run(self) -> None:
        while True:
            with self._wake:
                if not self._is_closing and not any(isinstance(item, tuple) for item in self._work):
                    self._wake.wait(self._commit_s)
                work, self._work = self._work, []
                is_last = self._is_closing
            try:
                self._do(work)
            except (EarmarkError, OSError) as error:
                self._fail(_told(error, self.journal), work)
                return
            if is_last:
                return

    def _do(self, work: list[bytearray | tuple[Callable[[], object], Future[object]]]) -> None:
        calls = [item for item in work if isinstance(item, tuple)]
        done: list[tuple[Future[object], object]] = []
        size = 0
        for item in work:
            if isinstance(item, tuple):
                done.append((item[1], item[0]()))
            else:
                size += len(item)
                self.journal.append_frames(item)
        self.journal.commit()
        with self._wake:
            self._backlog -= size
        assert len(done) == len(calls)
        for future, result in done:
            future.set_result(result)

    def _rotate(self, data: bytes) -> int:
        number = self.journal.rotate()
        self.journal.append_frames(data)
        return number

    def _fail(
        self, error: EarmarkError, work: list[bytearray | tuple[Callable[[], object], Future[object]]]
    ) -> None:
        self.error = error
        with self._wake:
            waiting = [item[1] for item in [*work, *self._work] if isinstance(item, tuple)]
        for future in waiting:
            if not future.done():
                future.set_exception(error)
        if self._on_error is not None:
            self._on_error(error)


def _told(error: EarmarkError | OSError, journal: Journal) -> EarmarkError:
    return error if isinstance(error, EarmarkError) else JournalError(f"`{journal.folder}`: {error}")
