"""What has to be compiled before a market runs, and a word to whoever waits for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from earmark.orderbook.engine import prepare_kernels
from earmark.orderbook.events import BookUpdate
from earmark.tasks.market.collect.pipeline import SymbolPipeline

__all__ = ["prepare_pipelines"]


def prepare_pipelines(on_compile: Callable[[], None] | None = None) -> None:
    """Compile, or load, all that an update and a tick need: seconds that must not be spent while a market runs.

    Parameters
    ----------
    on_compile : callable, optional
        Called once, in this thread, when something has to be compiled: the first time on a machine, which takes up
        to a minute. Loading what was compiled before takes about a second and calls nothing.
    """
    with _told_of_compiling(on_compile):
        one, two = (np.array([[price, 1.0]]) for price in (1.0, 2.0))
        pipeline = SymbolPipeline("prepared")
        pipeline.push(BookUpdate(pipeline.symbol, True, one, two, 1, 1, 0, 0, 0))
        pipeline.book.top(1)
        prepare_kernels()


@contextmanager
def _told_of_compiling(on_compile: Callable[[], None] | None) -> Iterator[None]:
    """numba tells of the beginning of a compilation, and only of one that its cache on the disk does not spare."""
    if on_compile is None:
        yield
        return
    from numba.core import event

    is_told = False

    def told(_: Any) -> None:
        nonlocal is_told
        if not is_told:
            is_told = True
            on_compile()

    class Listener(event.Listener):
        def on_start(self, event: Any) -> None:
            told(event)

        def on_end(self, event: Any) -> None:
            """It is the beginning that matters."""

    with event.install_listener("numba:compile", Listener()):
        yield
