"""A collector and a simulated exchange in one event loop, both faster than the wall's clock."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

from earmark.tasks.market.collect.clock import AcceleratedClock
from earmark.tasks.market.collect.collector import CollectOptions, Collector, Finished
from earmark.tasks.market.collect.connection import Timing
from earmark.tasks.market.collect.stores import Places
from earmark.tasks.market.simulator.server import ExchangeSimulator

START_MS = 1_700_000_000_000 // 60_000 * 60_000
QUICK = Timing(acknowledge_s=2.0, backoff_s=0.05, backoff_max_s=0.4, resync_s=0.5)


def options(folder: Path, symbols: tuple[str, ...], **changes: Any) -> CollectOptions:
    """Options of a collector whose project is `folder`."""
    made = CollectOptions(
        symbols, Places(folder / "data", folder / "data" / "ml_training"), timing=QUICK, flush_raw_s=45
    )
    return replace(made, **changes)


async def collect_from(exchange: ExchangeSimulator, chosen: CollectOptions) -> tuple[Collector, Finished]:
    clock = exchange.clock
    collector = Collector(
        exchange.venue(),
        chosen,
        clock=AcceleratedClock(clock.speed, clock.exchange_origin_ns, clock.wall_origin_ns),
    )
    return collector, await collector.run()


def collect(
    chosen: CollectOptions, *, speed: float = 30, faults: str = "", start_ms: int = START_MS, **simulated: Any
) -> tuple[Collector, Finished, dict[str, Any]]:
    """Run both until the collector's duration has passed; collector, what it did, the exchange's ledger."""

    async def run() -> tuple[Collector, Finished, dict[str, Any]]:
        exchange = ExchangeSimulator(
            chosen.symbols, speed=speed, faults=faults, start_ms=start_ms, **simulated
        )
        async with exchange:
            collector, finished = await collect_from(exchange, chosen)
            return collector, finished, exchange.ledger.to_dict()

    return asyncio.run(run())
