"""Where something holds without a break."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["stretches"]


def stretches(holds: npt.NDArray[np.bool_]) -> list[tuple[int, int]]:
    """First and last position of each run of True.

    Examples
    --------
    >>> stretches(np.array([True, False, True, True]))
    [(0, 0), (2, 3)]
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], holds, [False]]).astype(np.int8)))
    return [(int(first), int(end) - 1) for first, end in zip(edges[::2], edges[1::2], strict=True)]
