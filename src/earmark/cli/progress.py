"""Progress on standard error: a bar with rate, time to go and failures on a terminal, nothing elsewhere.

A long job calls ``report(event)`` with a `earmark.features.progress.Progress`; this module draws it, and tells it to
whoever watches this process (`earmark.cli.events`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from earmark.cli.events import telling
from earmark.cli.options import Invocation

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

    from earmark.features.progress import Progress, ProgressCallback

__all__ = ["progress"]


@contextmanager
def progress(invocation: Invocation) -> Iterator[ProgressCallback]:
    """Give a callback that draws the progress events it receives.

    Nothing is drawn with ``--quiet`` or where standard error is no terminal; with ``-v`` the messages of the
    events are then still written, one line each.
    """
    with _drawing(invocation) as draw, telling(draw) as report:
        yield report


@contextmanager
def _drawing(invocation: Invocation) -> Iterator[ProgressCallback]:
    if invocation.quiet:
        yield _ignore
    elif sys.stderr.isatty():
        with _bars() as bars:
            yield _Drawing(bars, messages=invocation.verbose)
    else:
        yield _log if invocation.verbose else _ignore


def _ignore(event: Progress) -> None:
    """Draw nothing."""


def _log(event: Progress) -> None:
    if event.message is not None:
        print(f"{event.stage} {event.done}/{event.total}: {event.message}", file=sys.stderr, flush=True)


def _bars() -> Bars:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}", style="red"),
        console=Console(stderr=True),
    )


class _Drawing:
    """One bar per stage; the rate is of this run, so that a resumed job does not boast."""

    def __init__(self, bars: Bars, *, messages: bool) -> None:
        self._bars = bars
        self._messages = messages
        self._stages: dict[str, TaskID] = {}

    def __call__(self, event: Progress) -> None:
        if event.stage not in self._stages:
            self._stages[event.stage] = self._bars.add_task(
                event.stage, total=event.total, rate="", failed=""
            )
        stage = self._stages[event.stage]
        speed = next(task.speed for task in self._bars.tasks if task.id == stage)
        self._bars.update(
            stage,
            completed=event.done,
            total=event.total,
            rate=f"{speed:.1f}/s" if speed else "",
            failed=f"{event.failed} failed" if event.failed else "",
        )
        if self._messages and event.message is not None:
            self._bars.console.print(event.message, markup=False, highlight=False)
