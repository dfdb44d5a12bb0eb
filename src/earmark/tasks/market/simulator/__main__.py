"""The simulated exchange as a process.

It prints one JSON line with its addresses and runs until SIGTERM or SIGINT::

    python -m earmark.tasks.market.simulator --symbols BTCUSDT,ETHUSDT --port 8765 --speed 60 --faults random:7
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from earmark.errors import EarmarkError
from earmark.tasks.market.simulator.faults import KINDS
from earmark.tasks.market.simulator.market import MarketParameters
from earmark.tasks.market.simulator.server import ExchangeSimulator


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until a signal; the exit code."""
    given = _parser().parse_args(arguments)
    try:
        asyncio.run(_serve(given))
    except EarmarkError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


async def _serve(given: Namespace) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    parameters = MarketParameters(
        volatility=given.volatility,
        signal_strength=given.signal_strength,
        trades_per_s=given.trades_per_s,
        levels=given.levels,
    )
    exchange = ExchangeSimulator(
        given.symbols.split(","),
        venue=given.venue,
        seed=given.seed,
        speed=given.speed,
        start_ms=given.start_ms,
        clock_offset_ms=given.clock_offset_ms,
        parameters=parameters,
        faults=given.faults,
        recording=given.recording,
        port=given.port,
        follow_readers=given.follow_readers,
    )
    async with exchange:
        print(
            json.dumps({"websocket_url": exchange.websocket_url, "rest_url": exchange.rest_url}), flush=True
        )
        await stop.wait()


def _parser() -> ArgumentParser:
    default = MarketParameters()
    parser = ArgumentParser("python -m earmark.tasks.market.simulator", description="A simulated exchange.")
    add = parser.add_argument
    add("--symbols", default="BTCUSDT,ETHUSDT", help="comma-separated")
    add("--venue", default="bybit", help="whose protocol is spoken")
    add("--port", type=int, default=0, help="0: one that is free")
    add("--speed", type=float, default=1.0, help="exchange seconds per second")
    add("--seed", type=int, default=0, help="of the markets")
    add("--start-ms", type=int, help="exchange time at the start; the wall's by default")
    add("--clock-offset-ms", type=int, default=0, help="how far the exchange's clock is ahead")
    add(
        "--faults",
        default="",
        help=f"kind@seconds[+duration][:SYMBOL][=value] or random:SEED; {', '.join(KINDS)}",
    )
    add(
        "--follow-readers",
        action="store_true",
        help="the market starts with its first reader, and its time waits for what was sent to be read",
    )
    add("--recording", help="replay this file in place of synthetic markets")
    add(
        "--volatility", type=float, default=default.volatility, help="standard deviation of 10-second returns"
    )
    add("--signal-strength", type=float, default=default.signal_strength, help="0: nothing to learn")
    add("--trades-per-s", type=float, default=default.trades_per_s, help="per symbol")
    add("--levels", type=int, default=default.levels, help="per side")
    return parser


if __name__ == "__main__":
    sys.exit(main())
