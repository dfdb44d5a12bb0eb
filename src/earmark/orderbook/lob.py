"""Features 1-39 and 43: what the book says at one tick, and against the tick before.

Conventions: a side is an array (n, 2) of price and quantity, best first, n <= 50 and perhaps 0. Prices are in quote
currency, quantities in base coin, clusters and distances as in the catalogue. A division by zero gives 0. Where one
side is empty its best price is taken to be the other's, so that all stays finite; such a book is not ready for use.
Each group is a tuple in the order of the catalogue.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from earmark.orderbook.compiled import compiled
from earmark.orderbook.events import Levels

__all__ = ["best_prices", "book_features", "lives", "matches", "top_quantity"]

Indices = npt.NDArray[np.int64]
Times = npt.NDArray[np.int64]

CLUSTER_WIDTH = 1e-3
"""A level joins a cluster when its price lies within this share of the cluster's first price."""

LARGE_QUANTILE = 0.9
"""Levels from this quantile of quantity up are large."""


@compiled
def ratio(numerator: float, denominator: float) -> float:
    """The quotient, 0 where it is undefined."""
    return numerator / denominator if denominator != 0.0 else 0.0


@compiled
def imbalance(bid: float, ask: float) -> float:
    """Difference over sum, -1..1."""
    return ratio(bid - ask, bid + ask)


@compiled
def top_quantity(levels: Levels, n: int) -> float:
    """Quantity of the best n levels."""
    total = 0.0
    for i in range(min(n, len(levels))):
        total += levels[i, 1]
    return total


@compiled
def top_price(levels: Levels, n: int) -> float:
    """Quantity-weighted price of the best n levels."""
    value = 0.0
    for i in range(min(n, len(levels))):
        value += levels[i, 0] * levels[i, 1]
    return ratio(value, top_quantity(levels, n))


@compiled
def best_prices(bids: Levels, asks: Levels) -> tuple[float, float]:
    """Best bid and ask; the other side's where one is empty, 0 where both are."""
    if len(bids) and len(asks):
        return bids[0, 0], asks[0, 0]
    if len(bids):
        return bids[0, 0], bids[0, 0]
    if len(asks):
        return asks[0, 0], asks[0, 0]
    return 0.0, 0.0


@compiled
def basic(bids: Levels, asks: Levels) -> tuple[float, ...]:
    """Features 1-15."""
    bid, ask = best_prices(bids, asks)
    mid = (bid + ask) / 2
    at_bid, at_ask = top_quantity(bids, 1), top_quantity(asks, 1)
    at_best = at_bid + at_ask
    micro = (bid * at_ask + ask * at_bid) / at_best if at_best > 0 else mid
    all_bid, all_ask = top_quantity(bids, len(bids)), top_quantity(asks, len(asks))
    return (
        ask - bid,
        ratio(ask - bid, mid) * 100,
        mid,
        micro,
        top_price(bids, 5),
        top_price(asks, 5),
        top_price(bids, 10),
        top_price(asks, 10),
        top_quantity(bids, 5),
        top_quantity(asks, 5),
        top_quantity(bids, 10),
        top_quantity(asks, 10),
        all_bid,
        all_ask,
        all_bid / all_ask if all_ask > 0 else 1.0,
    )


@compiled
def intensity(levels: Levels) -> float:
    """Number of the best ten levels over their mean quantity."""
    n = min(10, len(levels))
    if n == 0:
        return 0.0
    return n / max(top_quantity(levels, 10) / n, 0.001)


@compiled
def large_share(bids: Levels, asks: Levels) -> float:
    """Share of the book's quantity in its large levels, both sides pooled."""
    sizes = np.sort(np.concatenate((bids[:, 1], asks[:, 1])))
    if len(sizes) == 0:
        return 0.0
    position = LARGE_QUANTILE * (len(sizes) - 1)
    below = int(position)
    above = min(below + 1, len(sizes) - 1)
    bound = sizes[below] + (position - below) * (sizes[above] - sizes[below])
    large = 0.0
    total = 0.0
    for size in sizes:
        total += size
        if size >= bound:
            large += size
    return ratio(large, total)


@compiled
def matches(previous: Levels, current: Levels, sign: float) -> Indices:
    """Position of each current price in the previous side, -1 where new; `sign` is 1 for asks and -1 for bids."""
    found = np.full(len(current), -1, np.int64)
    j = 0
    for i in range(len(current)):
        while j < len(previous) and sign * previous[j, 0] < sign * current[i, 0]:
            j += 1
        if j < len(previous) and previous[j, 0] == current[i, 0]:
            found[i] = j
    return found


@compiled
def weighted_flow(previous: Levels, current: Levels, found: Indices, mid: float) -> float:
    """Change of quantity at the best ten prices, weighted by nearness to the mid."""
    flow = 0.0
    for i in range(min(10, len(current))):
        before = previous[found[i], 1] if found[i] >= 0 else 0.0
        weight = 1.0 / (1.0 + ratio(abs(current[i, 0] - mid), mid))
        flow += (current[i, 1] - before) * weight
    return flow


@compiled
def pressure(bids: Levels, asks: Levels, volume_delta: float, flow: float) -> tuple[float, ...]:
    """Features 16-25."""
    bid, ask = best_prices(bids, asks)
    bid_5, ask_5 = top_quantity(bids, 5), top_quantity(asks, 5)
    total = imbalance(top_quantity(bids, len(bids)), top_quantity(asks, len(asks)))
    return (
        imbalance(bid_5, ask_5),
        imbalance(top_quantity(bids, 10), top_quantity(asks, 10)),
        total,
        ratio(bid_5 * ask - ask_5 * bid, bid_5 + ask_5),
        volume_delta,
        flow,
        intensity(bids),
        intensity(asks),
        (1 + total) / max(1 - total, 0.01),
        large_share(bids, asks),
    )


@compiled
def largest_cluster(levels: Levels) -> tuple[float, float, float]:
    """First price and quantity of the biggest cluster, and how many there are; the nearer of two equal ones."""
    price = first = largest = held = 0.0
    count = 0
    for i in range(len(levels)):
        if count == 0 or abs(levels[i, 0] - first) > CLUSTER_WIDTH * first:
            first, held = levels[i, 0], 0.0
            count += 1
        held += levels[i, 1]
        if held > largest or i == 0:
            price, largest = first, held
    return price, largest, float(count)


@compiled
def clusters(bids: Levels, asks: Levels) -> tuple[float, ...]:
    """Features 26-35."""
    bid, ask = best_prices(bids, asks)
    mid = (bid + ask) / 2
    bid_price, bid_volume, n_bid = largest_cluster(bids)
    ask_price, ask_volume, n_ask = largest_cluster(asks)
    support = bid_price if n_bid > 0 else bid
    resistance = ask_price if n_ask > 0 else ask
    return (
        bid_price,
        bid_volume,
        ask_price,
        ask_volume,
        n_bid,
        n_ask,
        support,
        resistance,
        ratio(mid - support, mid) * 100,
        ratio(resistance - mid, mid) * 100,
    )


@compiled
def book_features(bids: Levels, asks: Levels, old_bids: Levels, old_asks: Levels, has_old: bool) -> Levels:
    """Features 1-35 of a book, against the state before where there is one.

    Parameters
    ----------
    bids, asks, old_bids, old_asks : ndarray, shape (n, 2)
        Best first.
    has_old : bool
        Without it, the changes 20 and 21 are 0.

    Returns
    -------
    ndarray of float64, shape (35,)
    """
    delta = flow = 0.0
    if has_old:
        bid, ask = best_prices(bids, asks)
        mid = (bid + ask) / 2
        now = top_quantity(bids, 5) - top_quantity(asks, 5)
        delta = now - (top_quantity(old_bids, 5) - top_quantity(old_asks, 5))
        flow = weighted_flow(old_bids, bids, matches(old_bids, bids, -1.0), mid)
        flow -= weighted_flow(old_asks, asks, matches(old_asks, asks, 1.0), mid)
    return np.array(basic(bids, asks) + pressure(bids, asks, delta, flow) + clusters(bids, asks))


@compiled
def lives(
    old: Levels, first_seen: Times, current: Levels, sign: float, now_ms: int
) -> tuple[Times, npt.NDArray[np.float64]]:
    """When each level of a side was first seen, and how long those lived that vanished.

    A level of the state before has vanished when it is absent although today's levels reach as far as its price: one
    beyond the last level may still be there, out of sight.

    Returns
    -------
    first_seen : ndarray of int64, shape (len(current),)
    lives : ndarray of float64, shape (n_vanished,)
        Seconds, best price first.
    """
    found = matches(old, current, sign)
    seen = np.full(len(current), now_ms, np.int64)
    stays = np.zeros(len(old), np.bool_)
    for i in range(len(current)):
        if found[i] >= 0:
            seen[i] = first_seen[found[i]]
            stays[found[i]] = True
    gone = np.empty(len(old))
    n_gone = 0
    for j in range(len(old)):
        if not stays[j] and len(current) and sign * old[j, 0] <= sign * current[-1, 0]:
            gone[n_gone] = (now_ms - first_seen[j]) / 1000
            n_gone += 1
    return seen, gone[:n_gone]
