"""`earmark collect market`: from settings to a running collector, and its end."""

from __future__ import annotations

import asyncio
import re
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from earmark.errors import UsageError
from earmark.store.raw import RawStore
from earmark.tasks.market.collect.buffers import limits_of
from earmark.tasks.market.collect.collector import Collector
from earmark.tasks.market.collect.connection import Timing
from earmark.tasks.market.collect.metrics import serve_metrics
from earmark.tasks.market.collect.options import CollectOptions, Finished
from earmark.tasks.market.collect.pipeline import Sample
from earmark.tasks.market.collect.raw_lob import RawLobOptions
from earmark.tasks.market.collect.simulated import simulated_exchange
from earmark.tasks.market.collect.stores import Places
from earmark.tasks.market.venues import venue
from earmark.tasks.market.venues.base import Venue, check_symbol

if TYPE_CHECKING:
    from earmark.orderbook.state import BookState
    from earmark.tasks.market.collect.signals import SignalSource
    from earmark.tasks.market.settings import MarketSettings
    from earmark.tasks.settings import EffectiveSettings

__all__ = ["Simulation", "collect", "options_of", "parse_duration", "places_of", "plan"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|)")
_SECONDS = {"ms": 0.001, "s": 1, "": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}

_PAUSE_MS = 900_000
"""A simulated market begins so long behind what is stored: more than can wait in a journal for the raw store."""


@dataclass(frozen=True)
class Simulation:
    """Collect from the shipped exchange instead of a real one."""

    speed: float = 1.0
    faults: str = ""


def parse_duration(text: str) -> float:
    """Seconds of ``90``, ``90s``, ``15m``, ``1h``, ``2d``, ``1h30m``.

    Examples
    --------
    >>> parse_duration("1h30m")
    5400.0
    """
    parts = _DURATION.findall(text)
    if not parts or "".join(f"{number}{unit}" for number, unit in parts) != text.replace(" ", ""):
        raise UsageError(
            f"`{text}` is no duration. Expected a number with s, m, h or d, such as 90s, 15m or 1h."
        )
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts)
    if not seconds > 0:
        raise UsageError(f"a duration of `{text}` collects nothing. Expected more than 0 s.")
    return seconds


def places_of(settings: EffectiveSettings) -> Places:
    """Folders of the project's collector."""
    market = settings.settings.market
    return Places(
        settings.path("data"), (settings.root / market.storage_path).absolute(), market.feature_store_group
    )


def options_of(settings: EffectiveSettings, *, duration_s: float | None = None) -> CollectOptions:
    """Options of a collector as the settings say.

    Raises
    ------
    UsageError
        No symbols, or settings that contradict each other.
    """
    market = settings.settings.market
    symbols = tuple(dict.fromkeys(check_symbol(symbol) for symbol in market.symbols))
    if not symbols:
        raise UsageError(
            "no symbols are named. Expected at least one, as the venue writes it: --symbols BTCUSDT,ETHUSDT, or "
            '[market] symbols = ["BTCUSDT"] in earmark.toml.'
        )
    return CollectOptions(
        symbols=symbols,
        places=places_of(settings),
        limits=limits_of(
            market.profile,
            max_samples_per_file=market.max_samples_per_file,
            max_buffer_memory_mb=market.max_buffer_memory_mb,
            max_buffer_age_s=market.max_buffer_age_s,
            enable_feature_store=market.enable_feature_store,
            use_legacy_format=market.use_legacy_format,
        ),
        depth=market.depth,
        collection_interval=market.collection_interval,
        is_adaptive=market.cadence == "adaptive",
        track_ms=market.track_ms,
        book_stale_s=market.book_stale_s,
        keep_messages=market.keep_messages,
        flush_raw_s=market.flush_raw_s,
        duration_s=duration_s,
        raw_lob=RawLobOptions.of(market) if market.raw_lob else None,
    )


def plan(settings: EffectiveSettings, *, model: str | None = None) -> dict[str, Any]:
    """What would be collected and where, without a connection; `model` as of `collect`."""
    options, market = options_of(settings), settings.settings.market
    chosen = _venue_of(market)
    chosen.check_depth(options.depth)
    return {
        "venue": chosen.name,
        "symbols": list(options.symbols),
        "connections": len(chosen.connections(options.symbols, options.depth)),
        "websocket_url": chosen.websocket_url,
        "rest_url": chosen.rest_url,
        "depth": options.depth,
        "sample_every_s": "about 25" if options.is_adaptive else 3 * options.collection_interval,
        "profile": market.profile,
        "limits": vars(options.limits),
        "raw_store": options.places.data / "raw",
        "feature_store": options.places.data / "feature_store"
        if options.limits.enable_feature_store
        else None,
        "group": options.places.group,
        "legacy": options.places.legacy if options.limits.use_legacy_format else None,
        "raw_lob": options.places.data / "raw_lob" if options.raw_lob else None,
        "model": None if model is None else _model_named(settings, options, model),
        "metrics_port": market.metrics_port,
    }


def collect(
    settings: EffectiveSettings,
    *,
    duration_s: float | None = None,
    simulation: Simulation | None = None,
    model: str | None = None,
    on_status: Callable[[dict[str, Any]], None] | None = None,
    on_samples: Callable[[Sequence[Sample]], None] | None = None,
    on_states: Callable[[Sequence[tuple[str, BookState]]], None] | None = None,
    on_compile: Callable[[], None] | None = None,
    on_ledger: Callable[[dict[str, Any]], None] | None = None,
    adjust: Callable[[CollectOptions], CollectOptions] = lambda options: options,
) -> Finished:
    """Collect until SIGINT, SIGTERM or the end of `duration_s`.

    Parameters
    ----------
    settings : EffectiveSettings
        The table ``market``.
    duration_s : float, optional
        Seconds of the market; without it there is no end.
    simulation : Simulation, optional
        Start the shipped exchange and collect from it.
    model : str, optional
        A run whose model fills the signals of the samples; without one they are null.
    on_status : callable, optional
        Told the statistics once a second.
    on_samples, on_states, on_compile : callable, optional
        As of `Collector`.
    on_ledger : callable, optional
        Told, when a simulation is over, what its exchange has sent.
    adjust : callable, optional
        Options in place of those of the settings.

    Raises
    ------
    RunError, UsageError
        Before anything is connected: settings that contradict each other, no such run, or one that reads other rows.
    EarmarkError
        What ended the collector.
    """
    options, market = adjust(options_of(settings, duration_s=duration_s)), settings.settings.market
    with ExitStack() as stack:
        chosen, clock = _venue_of(market), None
        chosen.check_depth(options.depth)
        signals = None if model is None else stack.enter_context(_signals_of(settings, options, model))
        if simulation is not None:
            exchange = stack.enter_context(
                simulated_exchange(
                    options.symbols,
                    venue=market.venue,
                    speed=simulation.speed,
                    faults=simulation.faults,
                    seed=settings.settings.seed,
                    start_ms=_beginning_ms(options, simulation.speed, duration_s),
                )
            )
            clock = exchange.clock
            chosen = venue(market.venue, websocket_url=exchange.websocket_url, rest_url=exchange.rest_url)
            options = replace(options, timing=_faster(options.timing, simulation.speed))
        collector = Collector(
            chosen,
            options,
            clock=clock,
            signals=signals,
            on_status=on_status,
            on_samples=on_samples,
            on_states=on_states,
            on_compile=on_compile,
        )
        finished = asyncio.run(_run(collector, market.metrics_port))
        if simulation is not None and on_ledger is not None:
            on_ledger(exchange.ledger())
        return finished


def _signals_of(
    settings: EffectiveSettings, options: CollectOptions, run_name: str
) -> AbstractContextManager[SignalSource]:
    from earmark.tasks.market.serving.signals import model_signals

    return model_signals(settings, options, run_name)


def _model_named(settings: EffectiveSettings, options: CollectOptions, run_name: str) -> str:
    from earmark.tasks.market.serving.signals import collecting_model

    found = collecting_model(settings, options, run_name)
    return f"{found.name}, run {found.version} ({found.view}, {found.horizon_s} s ahead)"


def _beginning_ms(options: CollectOptions, speed: float, duration_s: float | None) -> int:
    """When a simulated market begins: so that a fast one ends now, and behind what is stored of an earlier one."""
    ahead_s = duration_s if duration_s is not None and speed > 1 else 0.0
    begins = int((time.time() - ahead_s) * 1000)
    raw = RawStore(options.places.data / "raw")
    stored = [raw.newest_ms("book_steps", symbol) for symbol in options.symbols]
    return max(begins, *(newest + _PAUSE_MS for newest in stored if newest is not None), 0)


async def _run(collector: Collector, metrics_port: int | None) -> Finished:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, collector.stop)
    with ExitStack() as stack:
        if metrics_port is not None:
            stack.enter_context(serve_metrics(metrics_port, lambda: collector.status.latest))
        return await collector.run()


def _venue_of(market: MarketSettings) -> Venue:
    return venue(market.venue, testnet=market.testnet, websocket_url=market.url, rest_url=market.rest_url)


def _faster(timing: Timing, speed: float) -> Timing:
    """The same pauses in seconds of the market."""
    return replace(
        timing,
        backoff_s=timing.backoff_s / speed,
        backoff_max_s=timing.backoff_max_s / speed,
        resync_s=timing.resync_s / speed,
    )
