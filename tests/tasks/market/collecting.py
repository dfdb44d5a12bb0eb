"""A collector and a simulated exchange in one event loop, both faster than the wall's clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from earmark.tasks.market.collect.clock import StreamClock
from earmark.tasks.market.collect.collector import Collector
from earmark.tasks.market.collect.connection import Timing
from earmark.tasks.market.collect.options import CollectOptions, Finished
from earmark.tasks.market.collect.signals import SignalSource
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


Condition = Callable[[Collector], bool]
LONGEST_S = 90  # of the wall, for a machine that is busy with other things


def reached(seconds: float) -> Condition:
    """Whether every book has come so far, in seconds of exchange time since the start."""
    return lambda collector: all(
        pipeline.book.event_ms >= START_MS + 1000 * seconds for pipeline in collector.pipelines.values()
    )


def all_live(collector: Collector) -> bool:
    """Whether every symbol is whole."""
    return all(health.state == "live" for health in collector.health.values())


def collect(
    chosen: CollectOptions,
    until: Condition,
    *,
    speed: float = 30,
    start_ms: int = START_MS,
    signals: SignalSource | None = None,
    **simulated: Any,
) -> tuple[Collector, Finished, dict[str, Any]]:
    """Collect until a condition holds; the collector, what it did, the exchange's ledger."""

    async def run() -> tuple[Collector, Finished, dict[str, Any]]:
        exchange = ExchangeSimulator(
            chosen.symbols, speed=speed, start_ms=start_ms, follow_readers=True, **simulated
        )
        async with exchange:
            collector = collector_of(exchange, chosen, signals)
            watcher = asyncio.create_task(stop_when(collector, until))
            finished = await collector.run()
            await watcher
            return collector, finished, exchange.ledger.to_dict()

    return asyncio.run(run())


def collector_of(
    exchange: ExchangeSimulator, chosen: CollectOptions, signals: SignalSource | None = None
) -> Collector:
    """A collector that keeps the exchange's time."""
    return Collector(
        exchange.venue(),
        chosen,
        clock=StreamClock(exchange.now_ns(), exchange.clock.speed),
        signals=signals,
    )


async def stop_when(collector: Collector, until: Condition) -> None:
    """Stop the collector once the condition holds, or after `LONGEST_S`, which the test will notice."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + LONGEST_S
    while not until(collector) and loop.time() < deadline:
        await asyncio.sleep(0.02)
    collector.stop()
