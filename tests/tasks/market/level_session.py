"""A raw store with ticks of a book and its price track, for tests of series of levels."""

import numpy as np
import polars as pl

from earmark.orderbook.state import STEP_MS
from earmark.store.raw import RawStore

MIDNIGHT_MS = 1_750_032_000_000
N_TICKS = 1000
START_MS = MIDNIGHT_MS - N_TICKS // 2 * STEP_MS
TICK = 0.5


def mids(n, seed=0):
    """A random walk on a grid of half ticks, so that prices are exact."""
    rng = np.random.default_rng(seed)
    return 1000 + TICK * np.cumsum(rng.integers(-2, 3, n))


def book_steps(symbol, n=N_TICKS, *, seed=0, n_levels=25, gaps=(), start_ms=START_MS):
    """Ticks of a healthy book; those in `gaps` follow a gap."""
    rng = np.random.default_rng(seed + 1)
    mid, depth = mids(n, seed), TICK * (0.5 + np.arange(n_levels))
    time_ms = start_ms + STEP_MS * np.arange(n)
    return pl.DataFrame(
        {
            "symbol": [symbol] * n,
            "time_ms": time_ms,
            "closed_ns": (time_ms + 1000) * 1_000_000,
            "bid_price": (mid[:, None] - depth).tolist(),
            "bid_quantity": rng.exponential(size=(n, n_levels)).tolist(),
            "ask_price": (mid[:, None] + depth).tolist(),
            "ask_quantity": rng.exponential(size=(n, n_levels)).tolist(),
            "event_ms": time_ms - 20,
            "n_updates": np.full(n, 5),
            "follows_gap": np.isin(np.arange(n), gaps),
            "n_late": np.zeros(n, np.int64),
        }
    )


def track(steps):
    """Best prices of the ticks, repeated each half second until the next one."""
    times = steps["time_ms"].to_numpy()
    at = (times[:, None] + np.arange(0, STEP_MS, 500)).ravel()
    repeats = STEP_MS // 500

    def best(name):
        return np.repeat(steps[name].list.first().to_numpy(), repeats)

    return pl.DataFrame(
        {
            "symbol": [steps["symbol"][0]] * len(at),
            "time_ms": at,
            "bid": best("bid_price"),
            "bid_quantity": best("bid_quantity"),
            "ask": best("ask_price"),
            "ask_quantity": best("ask_quantity"),
            "received_ns": at * 1_000_000,
        }
    )


def write_session(project, *all_steps):
    """Write ticks and tracks as a collector has them in a project."""
    raw = RawStore(project / "data/raw")
    for steps in all_steps:
        raw.append("book_steps", steps["symbol"][0], steps)
        raw.append("bbo", steps["symbol"][0], track(steps))
    return raw
