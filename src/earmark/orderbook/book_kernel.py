"""The loop of the order book: a message applied to two sorted sides.

A side is a row of keys in ascending order with a row of quantities. The key is the price for bids and the negated
price for asks, so that the best level of either side comes last: levels change mostly near the best price, and an
insertion there moves few neighbours. `sides` has shape (2 sides, 2 rows, capacity) and `lengths` counts the levels
of each side; side 0 are bids.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from earmark.orderbook.compiled import compiled

Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

BIDS, ASKS = 0, 1
KEYS, QUANTITIES = 0, 1


@compiled
def apply_levels(
    sides: Float64, lengths: Int64, bids: Float64, asks: Float64, depth: int, is_snapshot: bool
) -> int:
    """Set, add and delete levels, then keep the best `depth` of each side.

    Only the end of a message counts: within it a price may come twice, and the sides may cross. `sides` must have
    room for the levels that are there and those of the message.

    Returns
    -------
    int
        Levels dropped because they lay deeper than `depth`; -1 if a price is not positive and finite or a quantity
        not finite or negative. Then nothing was changed.
    """
    if not (_is_valid(bids) and _is_valid(asks)):
        return -1
    if is_snapshot:
        lengths[:] = 0
    dropped = 0
    for side, levels, sign in ((BIDS, bids, 1.0), (ASKS, asks, -1.0)):
        keys, quantities = sides[side, KEYS], sides[side, QUANTITIES]
        n = _upsert(keys, quantities, lengths[side], levels, sign)
        if n > depth:
            _drop_worst(keys, quantities, n, n - depth)
            dropped += n - depth
            n = depth
        lengths[side] = n
    return dropped


@compiled
def best_first(sides: Float64, lengths: Int64, side: int, n: int) -> Float64:
    """Price and quantity of the best `n` levels of a side, or of as many as there are: a new array (k, 2)."""
    sign = 1.0 if side == BIDS else -1.0
    length = lengths[side]
    count = min(max(n, 0), length)
    levels = np.empty((count, 2))
    for i in range(count):
        levels[i, 0] = sign * sides[side, KEYS, length - 1 - i]
        levels[i, 1] = sides[side, QUANTITIES, length - 1 - i]
    return levels


@compiled
def copy_best(sides: Float64, lengths: Int64, best: Float64) -> bool:
    """Write bid, its quantity, ask, its quantity to `best`, NaN for an empty side; whether anything changed."""
    changed = False
    for side, sign in ((BIDS, 1.0), (ASKS, -1.0)):
        last = lengths[side] - 1
        price = sign * sides[side, KEYS, last] if last >= 0 else np.nan
        quantity = sides[side, QUANTITIES, last] if last >= 0 else np.nan
        old_price, old_quantity = best[2 * side], best[2 * side + 1]
        both_empty = last < 0 and np.isnan(old_price)
        changed = changed or not (both_empty or (price == old_price and quantity == old_quantity))
        best[2 * side], best[2 * side + 1] = price, quantity
    return changed


@compiled
def _is_valid(levels: Float64) -> bool:
    for i in range(levels.shape[0]):  # noqa: SIM110 (numba compiles no generator)
        if not (0.0 < levels[i, 0] < np.inf and 0.0 <= levels[i, 1] < np.inf):
            return False
    return True


@compiled
def _upsert(keys: Float64, quantities: Float64, n: int, levels: Float64, sign: float) -> int:
    """Quantity 0 deletes a level, another one sets or adds it; the new number of levels."""
    for i in range(levels.shape[0]):
        key, quantity = sign * levels[i, 0], levels[i, 1]
        place = _first_at_least(keys, n, key)
        if place < n and keys[place] == key:
            if quantity != 0.0:
                quantities[place] = quantity
                continue
            for k in range(place, n - 1):
                keys[k], quantities[k] = keys[k + 1], quantities[k + 1]
            n -= 1
        elif quantity != 0.0:
            for k in range(n, place, -1):
                keys[k], quantities[k] = keys[k - 1], quantities[k - 1]
            keys[place], quantities[place] = key, quantity
            n += 1
    return n


@compiled
def _first_at_least(keys: Float64, n: int, key: float) -> int:
    low, high = 0, n
    while low < high:
        middle = (low + high) >> 1
        if keys[middle] < key:
            low = middle + 1
        else:
            high = middle
    return low


@compiled
def _drop_worst(keys: Float64, quantities: Float64, n: int, n_dropped: int) -> None:
    for k in range(n_dropped, n):
        keys[k - n_dropped], quantities[k - n_dropped] = keys[k], quantities[k]
