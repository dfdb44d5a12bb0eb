"""What the market's features cost, in one run: per symbol and step, replayed, and against a naive restatement.

    python benchmarks/market_features.py [--json] [--repeat N] [--steps N]

Times are CPU seconds of one warm process with one thread, the least of N rounds; the sides of the ratio take turns
within a round, so that a busy machine disturbs both.
"""

from __future__ import annotations

import os

# One thread: the libraries read these when they are imported.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import argparse  # noqa: E402
import json  # noqa: E402
import sys  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "orderbook"))

import numpy as np  # noqa: E402
from market_session import SYMBOL, Session, make_session  # noqa: E402
from restated_features import restated_book, restated_candles  # noqa: E402

from earmark.orderbook.engine import FeatureEngine, prepare_kernels  # noqa: E402
from earmark.orderbook.events import Candle  # noqa: E402
from earmark.orderbook.indicators import indicators  # noqa: E402
from earmark.orderbook.lagged import lagged_and_derived  # noqa: E402
from earmark.orderbook.replay import replay  # noqa: E402

LIMIT_US = 300.0
"""Per symbol and step, all 112."""

NAIVE_STEPS = 40
N_SAMPLES = 20_000


def main() -> int:
    """Measure, print; the exit status tells whether the limit was kept."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--repeat", type=int, default=5, help="rounds per figure")
    parser.add_argument("--steps", type=int, default=600, help="ticks of the session")
    arguments = parser.parse_args()
    started = time.perf_counter()
    prepare_kernels()
    result: dict[str, Any] = {"kernels_ready_s": time.perf_counter() - started}
    result |= measure(make_session(0, n_states=arguments.steps), arguments.repeat)
    print(json.dumps(result, indent=2) if arguments.json else as_text(result))
    return 0 if result["step_us"] <= LIMIT_US else 1


def measure(session: Session, repeat: int) -> dict[str, float]:
    """Figures by name."""
    n = len(session.states)
    rows = (session.trades, session.candles, session.quotes)
    samples = np.random.default_rng(0).random((N_SAMPLES, 112)).astype(np.float32)
    zeros, times = np.zeros(N_SAMPLES, np.int64), np.arange(N_SAMPLES) * 30_000
    sides: dict[str, Callable[[], object]] = {
        "v1": lambda: replay(session.states, *rows, with_v2=False),
        "v2": lambda: replay(session.states, *rows),
        "samples": lambda: replay(session.states, *rows, interval_ms=30_000),
        "naive": lambda: naive(session),
        "same": lambda: engine_steps(session, NAIVE_STEPS),
        "candles": lambda: [indicators(WINDOW) for _ in range(100)],
        "lagged": lambda: lagged_and_derived(samples, zeros, times, interval_ms=30_000),
    }
    least = least_cpu_seconds(sides, repeat)
    return {
        "step_us": least["v1"] / n * 1e6,
        "step_with_v2_us": least["v2"] / n * 1e6,
        "replay_steps_per_s": n / least["samples"],
        "indicators_us": least["candles"] / 100 * 1e6,
        "lagged_us_per_sample": least["lagged"] / N_SAMPLES * 1e6,
        "naive_step_us": least["naive"] / NAIVE_STEPS * 1e6,
        "naive / engine": least["naive"] / least["same"],
    }


def closed_window(candles: list[Candle]) -> np.ndarray:
    """The last 200 closed candles, shape (5, 200)."""
    closed = sorted({c.start_ms: c for c in candles if c.is_closed}.items())[-200:]
    return np.array([(c.open, c.high, c.low, c.close, c.volume) for _, c in closed]).T.copy()


WINDOW = closed_window(make_session(1, n_states=1).candles)


def naive(session: Session) -> None:
    """Every feature restated at each of the first steps, over the same rows."""
    window = closed_window(session.candles)
    for k in range(NAIVE_STEPS):
        restated_book(session.states[max(0, k - 50) : k + 1], session.trades[:300])
        restated_candles(window)


def engine_steps(session: Session, n: int) -> None:
    """The same steps by the engine, rows of the whole start given before."""
    engine = FeatureEngine(SYMBOL)
    for candle in session.candles:
        if candle.is_closed:
            engine.add_candle(candle)
    for trade in session.trades[:300]:
        engine.add_trade(trade)
    for state in session.states[:n]:
        engine.step(state)
        engine.features()


def least_cpu_seconds(sides: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """CPU seconds by side, the least of the rounds; a first round that nobody counts warms up."""
    least = dict.fromkeys(sides, float("inf"))
    for round_number in range(repeat + 1):
        for name, function in sides.items():
            started = time.process_time()
            function()
            if round_number:
                least[name] = min(least[name], time.process_time() - started)
    return least


def as_text(result: dict[str, float]) -> str:
    """A line per figure."""
    lines = [f"{name:24} {value:12.2f}" for name, value in result.items()]
    kept = "kept" if result["step_us"] <= LIMIT_US else "exceeded"
    return "\n".join([*lines, f"limit of {LIMIT_US:g} us per symbol and step: {kept}"])


if __name__ == "__main__":
    raise SystemExit(main())
