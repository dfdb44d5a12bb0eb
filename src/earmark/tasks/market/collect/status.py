"""What a collector tells of itself: statistics, a status file, a line in the log, numbers for Prometheus."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import InputError, UsageError
from earmark.store.atomic import write_atomic
from earmark.tasks.market.collect.buffers import resident_mb

if TYPE_CHECKING:
    from earmark.tasks.market.collect.collector import Collector

__all__ = ["Status", "read_status", "signal_counts"]

_log = logging.getLogger(__name__)


class Status:
    """Statistics of a collector.

    Attributes
    ----------
    worst_lag_s : float
        Longest time for which the event loop was held since the start, by itself or by others on the machine.
    worst_busy_s : float
        Longest time that its thread computed from one wake-up to the next: what is its own doing.
    latest : dict or None
        What was published last; other threads read this.
    """

    def __init__(
        self, collector: Collector, on_status: Callable[[dict[str, Any]], None] | None = None
    ) -> None:
        self._collector = collector
        self._on_status = on_status
        self._started = datetime.now(UTC)
        self._jitter_ms: list[float] = []
        self._last: tuple[int, dict[str, int]] = (collector.clock.now_ns(), {})
        self._rates: dict[str, float] = {}
        self.lag_s = self.worst_lag_s = self.worst_busy_s = 0.0
        self.latest: dict[str, Any] | None = None

    def note_lag(self, lag_s: float, busy_s: float) -> None:
        """A sleep of the event loop was late by so much, and its thread computed for so long meanwhile."""
        self.lag_s = lag_s
        self.worst_lag_s = max(self.worst_lag_s, lag_s)
        self.worst_busy_s = max(self.worst_busy_s, busy_s)

    def note_jitter(self, late_ms: float) -> None:
        """A sample was taken so long after its tick; the grace is part of it."""
        self._jitter_ms = [*self._jitter_ms[-999:], late_ms]

    def statistics(self, *, is_running: bool = True) -> dict[str, Any]:
        """Everything, as JSON has it."""
        collector = self._collector
        buffers = collector.buffers.statistics()
        symbols = {name: {**row, **self._symbol(name)} for name, row in buffers.pop("symbols").items()}
        return {
            "is_running": is_running,
            "pid": os.getpid(),
            "venue": collector.venue.name,
            "started": self._started.isoformat(timespec="seconds"),
            "updated": datetime.now(UTC).isoformat(timespec="seconds"),
            **buffers,
            "files_written": collector.persistence.stores.n_files,
            "iterations": collector.counts["iterations"],
            "interval": collector.options.collection_interval,
            "clock_offset_ms": collector.feature_clock.offset_ms,
            "missed_ticks": collector.feature_clock.n_missed,
            "jitter_ms": max(self._jitter_ms, default=None),
            "loop_lag_ms": 1000 * self.lag_s,
            "worst_loop_lag_ms": 1000 * self.worst_lag_s,
            "worst_loop_busy_ms": 1000 * self.worst_busy_s,
            "backlog_bytes": collector.persistence.backlog,
            "rss_mb": resident_mb(),
            "counts": dict(collector.counts),
            "raw_lob": collector.raw_lob_counts,
            "samples": _accounted(symbols.values()),
            "model": None if collector.signals is None else collector.signals.statistics(),
            "symbols": symbols,
        }

    async def publish(self, *, is_running: bool = True) -> None:
        """Write the status file and tell who listens."""
        self._measure_rates()
        self.latest = found = self.statistics(is_running=is_running)
        if self._on_status is not None:
            self._on_status(found)
        data = json.dumps(found, indent=2).encode()
        path = self._collector.options.places.status
        try:
            await asyncio.get_running_loop().run_in_executor(None, lambda: write_atomic(path, data))
        except (
            OSError
        ) as error:  # it is of use to people alone, and the journals tell of a full disk themselves
            _log.warning("`%s` could not be written: %s", path, error)

    async def log(self) -> None:
        """One line."""
        found = self.statistics()
        live = sum(row["state"] == "live" for row in found["symbols"].values())
        _log.info(
            "collector stats: collected=%d due=%d skipped=%s files=%d live=%d/%d memory=%.1fMB limit=%d rss=%.0fMB "
            "lag=%.0fms signals=%s",
            found["total_samples"],
            found["samples"]["expected"],
            _counted(found["samples"]["skipped"]) or "none",
            found["files_written"],
            live,
            len(found["symbols"]),
            found["memory"]["total_mb"],
            found["memory"]["current_limit"],
            found["rss_mb"],
            found["worst_loop_lag_ms"],
            "off" if found["model"] is None else _counted(signal_counts(found["model"])),
        )

    def _symbol(self, symbol: str) -> dict[str, Any]:
        pipeline, health = self._collector.pipelines[symbol], self._collector.health[symbol]
        clock = self._collector.feature_clock
        missed = {"paused": clock.n_samples_missed} if clock.n_samples_missed else {}
        best = pipeline.book.best()
        age_ns = self._collector.clock.now_ns() - health.updated_ns
        return {
            "state": health.state,
            "reason": health.reason,
            "mid": None if best is None else (best.bid + best.ask) / 2,
            "spread": None if best is None else best.ask - best.bid,
            "updates_per_s": self._rates.get(symbol, 0.0),
            "age_s": round(age_ns / 1e9, 3) if health.updated_ns else None,
            "resyncs": health.n_resyncs,
            "reconnects": health.n_reconnects,
            "counts": dict(pipeline.counts),
            "updates": {outcome.value: n for outcome, n in pipeline.book.counts.items()},
            "expected": clock.n_samples_due,
            "skipped": {**pipeline.skipped, **missed},
            "last_skip": None if pipeline.last_skip is None else pipeline.last_skip.detail,
        }

    def _measure_rates(self) -> None:
        now_ns = self._collector.clock.now_ns()
        then_ns, before = self._last
        counts = {name: pipeline.counts["updates"] for name, pipeline in self._collector.pipelines.items()}
        seconds = max((now_ns - then_ns) / 1e9, 1e-9)
        self._rates = {name: (count - before.get(name, 0)) / seconds for name, count in counts.items()}
        self._last = (now_ns, counts)


def signal_counts(model: dict[str, Any]) -> dict[str, int]:
    """What became of the samples that a model was asked about, of its statistics."""
    return {"answered": model["answered"], **model["unanswered"], "waiting": model["waiting"]}


def _counted(counts: dict[str, int]) -> str:
    return ",".join(f"{code}:{n}" for code, n in counts.items())


def _accounted(symbols: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Of all symbols together: samples that were due, that were taken, and why the others were not."""
    rows = list(symbols)
    skipped = sum((Counter(row["skipped"]) for row in rows), Counter())
    return {
        "expected": sum(row["expected"] for row in rows),
        "taken": sum(row["total_samples"] for row in rows),
        "skipped": dict(skipped),
    }


def read_status(path: str | Path) -> dict[str, Any]:
    """The status file of the running or last collector; `is_running` is false where its process is gone.

    Raises
    ------
    UsageError
        No collector has run in this project.
    InputError
        The file cannot be read.
    """
    try:
        found: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError as error:
        raise UsageError(
            f"there is no `{path}`: no collector has run in this project. Start one: earmark collect market"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"`{path}` cannot be read ({error}). Delete it; a collector writes it anew."
        ) from error
    if found["is_running"] and not _is_alive(found["pid"]):
        found["is_running"] = False
    return found


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
