"""Two second-order sections in a row over a signal, state and sums in double precision.

Both sections advance in one loop: the second works on a sample while the first takes the next, and their two chains
of dependent operations overlap in the processor. What does not depend on the newest output is summed first.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray


@njit(cache=True, fastmath={"contract"})
def filter_sections(
    samples: NDArray[np.float32], gain: float, sections: NDArray[np.float64]
) -> NDArray[np.float32]:
    """The signal times ``gain``, filtered, float32, shape (n_samples,).

    ``sections`` is (2, 6), rows b0 b1 b2 1 a1 a2; transposed direct form II.
    """
    b00, b01, b02, a01, a02 = sections[0, 0], sections[0, 1], sections[0, 2], sections[0, 4], sections[0, 5]
    b10, b11, b12, a11, a12 = sections[1, 0], sections[1, 1], sections[1, 2], sections[1, 4], sections[1, 5]
    s0, t0, s1, t1 = 0.0, 0.0, 0.0, 0.0
    filtered = np.empty(len(samples), dtype=np.float32)
    for i in range(len(samples)):
        x = np.float64(samples[i]) * gain
        middle = b00 * x + s0
        s0 = (b01 * x + t0) - a01 * middle
        t0 = b02 * x - a02 * middle
        y = b10 * middle + s1
        s1 = (b11 * middle + t1) - a11 * y
        t1 = b12 * middle - a12 * y
        filtered[i] = y
    return filtered
