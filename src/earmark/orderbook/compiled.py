"""Compilation of the numeric kernels of this room.

Kernels are compiled without fast-math: the same rows give the same bits, live and replayed. numba keeps compiled
code on disk by the file of a kernel alone, so a kernel calls only kernels of its own module, and takes constants of
other modules as arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

import numba

__all__ = ["compiled"]

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """A kernel compiled at its first call; kept on disk where there is a place to write."""
    try:
        return cast("Callable[P, R]", numba.njit(cache=True)(function))
    except RuntimeError:  # neither the package's folder nor the user's is writable
        return cast("Callable[P, R]", numba.njit(function))
