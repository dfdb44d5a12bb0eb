"""What a network reads of windows: arrays of frames or tokens, fixed or drawn anew for each epoch.

Conventions: one window's input is (n, width) float, n frames of a filter bank or n tokens. Windows may differ in n.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt
import xxhash

__all__ = ["Fixed", "Inputs", "Source", "source_of"]

Ints = npt.NDArray[np.int64]
Array = npt.NDArray[Any]


class Inputs(Protocol):
    """Windows by position, read when they are asked for: a list, an array, or a view of the cache."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int, /) -> Array: ...


@runtime_checkable
class Source(Protocol):
    """Windows by position and epoch."""

    def __len__(self) -> int: ...

    @property
    def identity(self) -> str:
        """All that decides what `batch` gives; a fit is continued only with the same."""
        ...

    def batch(self, rows: Ints, epoch: int) -> list[Array]:
        """The inputs of these windows in an epoch, each (n, width)."""
        ...


class Fixed:
    """The same inputs in every epoch.

    Parameters
    ----------
    inputs : Inputs
    identity : str
        What decides the inputs, as their cache keys do; by default the hash of all of them, for which each is read
        once.
    """

    def __init__(self, inputs: Inputs, identity: str = "") -> None:
        self.inputs = inputs
        self._identity = identity

    def __len__(self) -> int:
        return len(self.inputs)

    @property
    def identity(self) -> str:
        """What decides the inputs."""
        if not self._identity:
            digest = xxhash.xxh3_128()
            for position in range(len(self.inputs)):
                window = np.ascontiguousarray(self.inputs[position])
                digest.update(f"{window.dtype}{window.shape}".encode())
                digest.update(window.data)
            self._identity = digest.hexdigest()
        return self._identity

    def batch(self, rows: Ints, epoch: int) -> list[Array]:
        """The inputs of these windows."""
        return [self.inputs[int(row)] for row in rows]


def source_of(inputs: Inputs | Source) -> Source:
    """A source as it is; anything else as a fixed one."""
    return inputs if isinstance(inputs, Source) else Fixed(inputs)
