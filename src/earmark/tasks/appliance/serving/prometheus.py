"""Lines of a live program as numbers for Prometheus.

========================================================  =====================================================
metric, each after ``earmark_appliance_``                 meaning
========================================================  =====================================================
``state{state}``                                          1 for the stable public state, 0 for the others
``device_on{device}``                                     1 on, 0 off; absent while it is not known
``probability{device}``                                   as in the line, 0 to 1
``confidence``                                            of the state, 0 to 1
``health{health}``                                        1 for the health of the input, 0 for the others
``windows_total``                                         windows answered
``state_changes_total{state}``                            changes into a stable state
``audio_seconds_total``                                   heard
``overruns_total{kind}``                                  times that audio was lost: ``overflow`` of the device, ``lag``
``lost_seconds_total``                                    lost to lag
``reopened_total``                                        times that the source was gone and opened again
``lag_seconds``                                           audio that waits to be answered
``process_seconds_sum``, ``process_seconds_count``        time spent on windows
``last_line_timestamp_seconds``                           when the last line came, Unix time
========================================================  =====================================================

The four after ``audio_seconds_total`` are of the `Capture` that is listened to, where there is one. Names follow the
conventions of Prometheus: base units in the name, ``_total`` on what only grows, one gauge per value of an enumeration.
Served to this machine alone unless another address is asked for.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from earmark.errors import MissingExtraError, UsageError
from earmark.tasks.appliance.schema import Devices, states
from earmark.tasks.appliance.serving.health import HEALTH_STATES
from earmark.tasks.appliance.serving.home_assistant import certain_facts
from earmark.tasks.appliance.serving.sinks import Line

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from earmark.inference.capture import Capture

__all__ = ["PrometheusSink"]

PREFIX = "earmark_appliance_"
_GAUGES = {
    "confidence": ("confidence", "Confidence of the state, 0 to 1."),
    "timestamp": ("last_line_timestamp_seconds", "When the last line came, Unix time."),
}
_TOTALS = {"audio_s": ("audio_seconds", "Audio heard.")}


class PrometheusSink:
    """Serves the newest line and what has been counted; see `earmark.tasks.appliance.serving.sinks.Sink`.

    Parameters
    ----------
    port : int
        0 takes one that is free; `port` tells which.
    devices : Devices
    address : str
        Of the interface to serve at.
    capture : Capture, optional
        What is listened to: its losses are told as well.

    Raises
    ------
    MissingExtraError
        `prometheus-client` is not installed.
    UsageError
        The port is taken, or the address is none of this machine.
    """

    def __init__(
        self,
        port: int,
        devices: Devices,
        *,
        address: str = "127.0.0.1",
        capture: Capture | None = None,
    ) -> None:
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError as error:
            raise MissingExtraError("prometheus-client", "live", "--prometheus") from error
        self._numbers = _Numbers(devices, capture)
        registry = CollectorRegistry()
        registry.register(self._numbers)
        try:
            self._server, self._thread = start_http_server(port, addr=address, registry=registry)
        except OSError as error:
            raise UsageError(
                f"metrics cannot be served at {address}:{port}: {error.strerror}. Expected a free port of an "
                "address of this machine. Give another by --prometheus, or 0 for any."
            ) from error
        self.port: int = self._server.server_port

    def line(self, line: Line, /) -> None:
        """Take one line."""
        self._numbers.add(line)

    def close(self) -> None:
        """End the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Numbers:
    """Counts lines as they come, and turns them into metrics when these are asked for."""

    def __init__(self, devices: Devices, capture: Capture | None) -> None:
        self._devices, self._states, self._capture = devices, states(devices), capture
        self._lock = threading.Lock()
        self._newest: Line | None = None
        self._n_windows = 0
        self._process_ms = 0.0
        self._changes: Counter[str] = Counter()

    def add(self, line: Line) -> None:
        """Count a line; a heartbeat repeats the window of the line before and is no new one."""
        with self._lock:
            before = self._newest or {}
            if line.get("window_index") is not None and line["window_index"] != before.get("window_index"):
                self._n_windows += 1
                self._process_ms += line.get("process_ms") or 0.0
            state = line.get("stable_status")
            if state is not None and state != before.get("stable_status"):
                self._changes[state] += 1
            self._newest = line

    def collect(self) -> Iterator[Metric]:
        """All metrics, of one moment."""
        with self._lock:
            line, n_windows, process_ms = self._newest, self._n_windows, self._process_ms
            changes = dict(self._changes)
        yield from _counts(n_windows, process_ms, {state: changes.get(state, 0) for state in self._states})
        if self._capture is not None:
            yield from _losses(self._capture)
        if line is None:
            return
        yield _one_of("state", "1 for the stable public state.", self._states, line.get("stable_status"))
        yield _one_of("health", "1 for the health of the input.", HEALTH_STATES, line.get("health"))
        facts = certain_facts(line, self._devices)
        yield _per_device("device_on", "1 where the device runs.", facts.items())
        probabilities = ((name, line.get(f"p_{name}")) for name in self._devices.names)
        yield _per_device("probability", "Probability that the device runs.", probabilities)
        yield from _plain(line)


def _counts(n_windows: int, process_ms: float, changes: dict[str, int]) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, SummaryMetricFamily

    yield CounterMetricFamily(PREFIX + "windows", "Windows answered.", value=n_windows)
    yield SummaryMetricFamily(
        PREFIX + "process_seconds",
        "Time spent on windows.",
        count_value=n_windows,
        sum_value=process_ms / 1000,
    )
    family = CounterMetricFamily(PREFIX + "state_changes", "Changes into a stable state.", labels=["state"])
    for state, count in changes.items():
        family.add_metric([state], count)
    yield family


def _losses(capture: Capture) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    counts = capture.counts
    overruns = CounterMetricFamily(PREFIX + "overruns", "Times that audio was lost.", labels=["kind"])
    overruns.add_metric(["overflow"], counts.overflows)
    overruns.add_metric(["lag"], counts.lags)
    yield overruns
    yield CounterMetricFamily(PREFIX + "lost_seconds", "Audio lost to lag.", value=counts.lost_s)
    yield CounterMetricFamily(
        PREFIX + "reopened", "Times the source was opened again.", value=counts.reopened
    )
    yield GaugeMetricFamily(
        PREFIX + "lag_seconds", "Audio that waits to be answered.", value=capture.waiting_s
    )


def _one_of(name: str, text: str, values: Sequence[str], current: object) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(PREFIX + name, text, labels=[name])
    for value in values:
        family.add_metric([value], value == current)
    return family


def _per_device(name: str, text: str, values: Iterable[tuple[str, float | None]]) -> Metric:
    from prometheus_client.core import GaugeMetricFamily

    family = GaugeMetricFamily(PREFIX + name, text, labels=["device"])
    for device, value in values:
        if value is not None:
            family.add_metric([device], float(value))
    return family


def _plain(line: Line) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for families, kind in ((_GAUGES, GaugeMetricFamily), (_TOTALS, CounterMetricFamily)):
        for field, (name, text) in families.items():
            if line.get(field) is not None:
                yield kind(PREFIX + name, text, value=line[field])
