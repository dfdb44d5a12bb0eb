"""What a command tells a program that watches it: lines of JSON in the file that ``EARMARK_EVENTS`` names.

Without that variable nothing is told and nothing is written. Each event is one line, appended by one write, so that a
reader never sees parts of two. ``type`` says what it is, ``time`` when, in seconds since 1970:

============= ==================================================================================================
``progress``  ``stage``, ``done``, ``total``, ``failed``, ``message``; some five a second of each stage
``epoch``     ``epoch`` (from 1), ``total_epochs`` where it is known, ``stage``, ``training_loss``, other metrics
``trial``     of a search: ``done``, ``total``, ``values``, ``status``, ``score``, ``error``
``fold``      a fold was trained; ``run`` a run was written or found: ``name``, ``path``, ``reused``
``step``      ``step``, ``number``, ``of``
``listening`` of `live`: what is listened to; ``state`` what is on since when; ``switch`` one that was told
``note``      ``text``
============= ==================================================================================================

A disk that is full must not end a training: it is complained of once, and the events are lost.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from time import monotonic, time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from earmark.features.progress import Progress, ProgressCallback

__all__ = ["VARIABLE", "is_watched", "tell", "tell_training", "telling"]

VARIABLE = "EARMARK_EVENTS"
BETWEEN_S = 0.2
"""Seconds between two events of progress in one stage."""

_SAME = {"train_loss": "training_loss", "val_loss": "validation_loss", "event": "type"}
"""Names in the events of trainings -> names here."""


def is_watched() -> bool:
    """Whether anybody asked for events."""
    return bool(os.environ.get(VARIABLE))


def tell(event: Mapping[str, Any]) -> None:
    """Append one event, a mapping with ``type``; nan becomes null."""
    path = os.environ.get(VARIABLE)
    if path:
        _file(path).append({**event, "time": round(time(), 3)})


def tell_training(event: Mapping[str, Any]) -> None:
    """Append an event as trainings and searches give it to ``on_event``.

    Their ``point`` is a ``trial`` here, and their epochs, which count from zero, count from one.
    """
    told = {_SAME.get(name, name): value for name, value in event.items()}
    if told["type"] == "epoch":
        told["epoch"] = int(told["epoch"]) + 1
    tell(told | {"type": "trial"} if told["type"] == "point" else told)


@contextmanager
def telling(draw: ProgressCallback) -> Iterator[ProgressCallback]:
    """The callback itself, or, where somebody asked for events, one that tells them as well."""
    if not is_watched():
        yield draw
        return
    both = _Telling(draw)
    try:
        yield both
    finally:
        both.flush()


class _Telling:
    """Tells progress, per stage the first event, the last, and some in between."""

    def __init__(self, draw: ProgressCallback) -> None:
        self._draw = draw
        self._told_at: dict[str, float] = {}
        self._untold: dict[str, Progress] = {}

    def __call__(self, event: Progress) -> None:
        self._draw(event)
        is_due = monotonic() - self._told_at.get(event.stage, -BETWEEN_S) >= BETWEEN_S
        if is_due or event.done >= event.total:
            self._tell(event)
        else:
            self._untold[event.stage] = event

    def flush(self) -> None:
        """Tell what was held back: where a stage stands that ended early."""
        for event in list(self._untold.values()):
            self._tell(event)

    def _tell(self, event: Progress) -> None:
        self._untold.pop(event.stage, None)
        self._told_at[event.stage] = monotonic()
        names = ("stage", "done", "total", "failed", "message")
        tell({"type": "progress"} | {name: getattr(event, name) for name in names})


class _File:
    """A file of events that others read while it grows."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._is_torn = False
        self._has_complained = False

    def append(self, event: Mapping[str, Any]) -> None:
        """One line; what a full disk left of an earlier one is closed first, and is then no event."""
        from earmark.cli.output import to_json

        line = b"\n" * self._is_torn + to_json(event, indent=None).encode()
        try:
            written = self._write(line)
        except OSError as error:
            self._complain(error.strerror or str(error))
            return
        self._is_torn = written < len(line)
        if self._is_torn:
            self._complain("the disk took a part of a line")

    def _write(self, line: bytes) -> int:
        handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            return os.write(handle, line)
        finally:
            os.close(handle)

    def _complain(self, reason: str) -> None:
        if self._has_complained:
            return
        self._has_complained = True
        sentence = f"`{self._path}`: progress cannot be told ({reason}). The work goes on; free some space."
        with suppress(OSError):  # the log lies on the same disk, mostly
            print(sentence, file=sys.stderr, flush=True)


@cache
def _file(path: str) -> _File:
    return _File(path)
