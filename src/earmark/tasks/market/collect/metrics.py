"""Numbers of a collector for Prometheus, on a port of this machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from earmark.errors import MissingExtraError, UsageError

if TYPE_CHECKING:
    from prometheus_client.core import Metric

__all__ = ["serve_metrics"]

_STATES = ("connecting", "live", "stale", "resyncing", "paused")

_TOTALS = {
    "loop_lag_ms": "How late the event loop last woke.",
    "worst_loop_lag_ms": "Longest time for which the event loop was held.",
    "worst_loop_busy_ms": "Longest time that the event loop computed between two wake-ups.",
    "backlog_bytes": "Bytes of the journal that are not on the disk yet.",
    "rss_mb": "Memory in RAM.",
    "clock_offset_ms": "Clock of the exchange minus ours.",
    "files_written": "Files of the stores since the start.",
    "total_samples": "Samples since the start.",
}
_OF_SYMBOL = {
    "mid": "Mean of the best prices.",
    "spread": "Best ask minus best bid.",
    "age_s": "Seconds since the newest update.",
    "updates_per_s": "Updates of the book per second.",
    "buffer_size": "Samples that wait for their file.",
    "buffer_memory_mb": "Memory of these.",
}


class _Numbers:
    """Turns the newest statistics into metrics when they are asked for."""

    def __init__(self, statistics: Callable[[], dict[str, Any] | None]) -> None:
        self._statistics = statistics

    def collect(self) -> Iterator[Metric]:
        found = self._statistics()
        if found is None:
            return
        yield from _totals(found)
        yield from _symbols(found["symbols"])


def _totals(found: dict[str, Any]) -> Iterable[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for name, text in _TOTALS.items():
        yield GaugeMetricFamily(f"earmark_{name}", text, value=found[name])
    events = CounterMetricFamily("earmark_events", "What happened, by kind.", labels=["kind"])
    for kind, count in found["counts"].items():
        events.add_metric([kind], count)
    yield events
    if found["model"] is not None:
        signals = CounterMetricFamily("earmark_signals", "Samples by the model's answer.", labels=["outcome"])
        for outcome, count in {
            "answered": found["model"]["answered"],
            **found["model"]["unanswered"],
        }.items():
            signals.add_metric([outcome], count)
        yield signals


def _symbols(symbols: dict[str, Any]) -> Iterable[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for name, text in _OF_SYMBOL.items():
        gauge = GaugeMetricFamily(f"earmark_{name}", text, labels=["symbol"])
        for symbol, row in symbols.items():
            if row[name] is not None:
                gauge.add_metric([symbol], row[name])
        yield gauge
    state = GaugeMetricFamily("earmark_state", "1 for the state of the symbol.", labels=["symbol", "state"])
    counts = CounterMetricFamily("earmark_rows", "Rows and faults by kind.", labels=["symbol", "kind"])
    skipped = CounterMetricFamily("earmark_skipped", "Samples not taken.", labels=["symbol", "reason"])
    for symbol, row in symbols.items():
        for name in _STATES:
            state.add_metric([symbol, name], row["state"] == name)
        for kind in ("counts", "skipped"):
            for name, count in row[kind].items():
                (counts if kind == "counts" else skipped).add_metric([symbol, name], count)
        for kind in ("total_samples", "resyncs", "reconnects"):
            counts.add_metric([symbol, kind], row[kind])
    yield from (state, counts, skipped)


@contextmanager
def serve_metrics(port: int, statistics: Callable[[], dict[str, Any] | None]) -> Iterator[int]:
    """Serve while the context lasts, to this machine alone; gives the port (0 takes one that is free).

    Raises
    ------
    MissingExtraError
        `prometheus_client` is not installed.
    UsageError
        The port is taken.
    """
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ImportError as error:
        raise MissingExtraError("prometheus_client", "live", "--metrics-port") from error
    registry = CollectorRegistry()
    registry.register(_Numbers(statistics))
    try:
        server, thread = start_http_server(port, addr="127.0.0.1", registry=registry)
    except OSError as error:
        raise UsageError(
            f"metrics cannot be served at port {port} of this machine: {error.strerror}. Expected a free port. Give "
            "another by --metrics-port, or 0 for any."
        ) from error
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
