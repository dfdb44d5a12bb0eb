"""The order book against two plain ones, on one stream of messages.

    python benchmarks/orderbook.py [--messages 20000] [--depth 200] [--seed 0]

The stream is a book of `--depth` levels per side followed by deltas around a wandering price: levels cluster near
the best price, two in five are deletes. Each book applies the same messages and tells its best prices after each.
Rivals: a dictionary per side sorted at every message, and `sortedcontainers.SortedDict`. All must end at the same
levels. Printed: level updates per second, latency per message, and the ratio to earmark in this run.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from sortedcontainers import SortedDict

from earmark.orderbook.book import OrderBook
from earmark.orderbook.events import BookUpdate, Levels

SYMBOL = "BTCUSDT"
LEVELS_PER_SIDE = 20
"""Mean number of level updates of one side in a delta."""


class Book(Protocol):
    """What is compared: `update` applies a message and gives best bid and best ask."""

    def update(self, message: BookUpdate) -> tuple[float, float]: ...

    def levels(self) -> list[list[list[float]]]: ...


class Earmark:
    """The package's book."""

    def __init__(self, depth: int) -> None:
        self.book = OrderBook(SYMBOL, depth)

    def update(self, message: BookUpdate) -> tuple[float, float]:
        self.book.apply(message)
        best = self.book.best()
        assert best is not None, self.book.problem
        return best.bid, best.ask

    def levels(self) -> list[list[list[float]]]:
        return [side.tolist() for side in self.book.top(self.book.depth)]


class Mapped:
    """Two mappings from a key to a quantity; the key is the negated price for bids, so that the least is best."""

    mapping: Callable[[], Any]

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sides = [self.mapping(), self.mapping()]

    def upsert(self, message: BookUpdate) -> None:
        for side, levels, sign in zip(self.sides, (message.bids, message.asks), (-1, 1), strict=True):
            for price, quantity in levels.tolist():
                if quantity:
                    side[sign * price] = quantity
                else:
                    side.pop(sign * price, None)

    def levels(self) -> list[list[list[float]]]:
        return [
            [[sign * key, side[key]] for key in sorted(side)]
            for side, sign in zip(self.sides, (-1, 1), strict=True)
        ]


class Plain(Mapped):
    """Dictionaries, sorted at every message."""

    mapping = dict

    def update(self, message: BookUpdate) -> tuple[float, float]:
        self.upsert(message)
        self.sides = [dict(sorted(side.items())[: self.depth]) for side in self.sides]
        return -next(iter(self.sides[0])), next(iter(self.sides[1]))


class Sorted(Mapped):
    """`sortedcontainers.SortedDict` per side."""

    mapping = SortedDict

    def update(self, message: BookUpdate) -> tuple[float, float]:
        self.upsert(message)
        for side in self.sides:
            while len(side) > self.depth:
                side.popitem()
        return -self.sides[0].peekitem(0)[0], self.sides[1].peekitem(0)[0]


def make_messages(n_messages: int, depth: int, seed: int) -> list[BookUpdate]:
    """A snapshot and deltas whose sides never cross, in ticks of 1."""
    rng = np.random.default_rng(seed)
    middle, distance = 100_000, 1.0 + np.arange(depth)
    first = [np.column_stack([middle + sign * distance, rng.random(depth) + 0.1]) for sign in (-1, 1)]
    messages = [_message(0, *first)]
    for number in range(1, n_messages + 1):
        step = int(rng.integers(-1, 2))
        passed = np.arange(min(middle, middle + step) - 1.0, max(middle, middle + step) + 2.0)
        middle += step
        messages.append(_message(number, *(_side(rng, middle, sign, passed) for sign in (-1, 1))))
    return messages


def _side(rng: np.random.Generator, middle: int, sign: int, passed: Levels) -> Levels:
    """Deletes where the price went, then levels near the best price; the level beside the middle is always there."""
    n = 1 + int(rng.poisson(LEVELS_PER_SIDE))
    prices = middle + sign * (2 + np.floor(rng.exponential(15, n)))
    quantities = (rng.random(n) + 0.1) * (rng.random(n) > 0.4)
    kept = [[middle + 2.0 * sign, 1.0]]
    return np.concatenate(
        [np.column_stack([passed, np.zeros(len(passed))]), np.column_stack([prices, quantities]), kept]
    )


def _message(number: int, bids: Levels, asks: Levels) -> BookUpdate:
    return BookUpdate(SYMBOL, number == 0, bids, asks, number + 10, number, number, number, number)


@dataclass(frozen=True)
class Timing:
    """Seconds in all, nanoseconds per message, and where the book ended."""

    seconds: float
    latency_ns: np.ndarray[Any, np.dtype[np.int64]]
    best: list[tuple[float, float]]
    levels: list[list[list[float]]]


def measure(book: Book, messages: Sequence[BookUpdate]) -> Timing:
    """Apply all messages; the clock is read around each, so its own 0.1 us are part of the latency."""
    latency = np.empty(len(messages), dtype=np.int64)
    best = []
    gc.collect()
    for i, message in enumerate(messages):
        began = time.perf_counter_ns()
        best.append(book.update(message))
        latency[i] = time.perf_counter_ns() - began
    return Timing(float(latency.sum()) / 1e9, latency, best, book.levels())


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--depth", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    messages = make_messages(options.messages, options.depth, options.seed)
    n_levels = sum(len(message.bids) + len(message.asks) for message in messages)
    measure(Earmark(options.depth), messages[:100])  # compiles
    books: dict[str, Callable[[int], Book]] = {
        "earmark": Earmark,
        "sortedcontainers": Sorted,
        "dict + sorted": Plain,
    }
    timings = {name: measure(book(options.depth), messages) for name, book in books.items()}
    ours = timings["earmark"]
    print(f"{len(messages)} messages, {n_levels} level updates, depth {options.depth}")
    print(f"{'book':<18}{'levels/s':>12}{'p50 us':>9}{'p99 us':>9}{'p99.9 us':>10}{'time / earmark':>16}")
    for name, timing in timings.items():
        assert (timing.best, timing.levels) == (ours.best, ours.levels), f"{name} ends elsewhere"
        p50, p99, p999 = np.percentile(timing.latency_ns, [50, 99, 99.9]) / 1e3
        rate, ratio = n_levels / timing.seconds, timing.seconds / ours.seconds
        print(f"{name:<18}{rate:>12,.0f}{p50:>9.1f}{p99:>9.1f}{p999:>10.1f}{ratio:>15.1f}x")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
