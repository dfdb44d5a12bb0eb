"""Samples in memory until enough of a symbol have come to be a file.

A buffer is due when it holds the limit of samples, 90 % of its memory, or (with `MIN_AGED` samples) has reached its
age. The limit adapts to memory: every `ADAPT_EVERY` samples it is the base limit, three quarters or half of it. Every
`SWEEP_S`, and where the process has grown large, buffers that are worth a file are due as well.

Times are seconds of any clock that does not go back; memory is MB of 10^6 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from earmark.errors import UsageError
from earmark.tasks.market.collect.pipeline import Sample

__all__ = ["PROFILES", "BufferLimits", "SampleBuffers", "limits_of", "resident_mb"]

FULL = 0.9
ADAPT_EVERY = 100
MIN_AGED = 10
SWEEP_S = 1080
RSS_EVERY_S = 300
RSS_LIMIT_MB = 4000
_BYTES_PER_STUB = 200 + 300  # a label and a metadata entry


@dataclass(frozen=True)
class BufferLimits:
    """When samples are written, and where."""

    max_samples_per_file: int = 2000
    max_buffer_memory_mb: float = 200
    max_buffer_age_s: float | None = None
    enable_feature_store: bool = True
    use_legacy_format: bool = False


PROFILES: Mapping[str, BufferLimits] = {
    "guide": BufferLimits(),
    "bot": BufferLimits(60, 20, 900),
}
"""Profile -> its limits: about 16 hours per file, or half an hour."""


def limits_of(profile: str, **given: Any) -> BufferLimits:
    """The limits of `profile`, with those of `given` that are not None in their place."""
    limits = replace(PROFILES[profile], **{name: value for name, value in given.items() if value is not None})
    if not (limits.enable_feature_store or limits.use_legacy_format):
        raise UsageError(
            "both the feature store and the npy/json files are switched off, so samples would be kept nowhere. "
            "Leave out --no-feature-store, or give --legacy."
        )
    return limits


@dataclass
class _Buffer:
    samples: list[Sample] = field(default_factory=list)
    n_bytes: int = 0
    since_s: float = 0.0


class SampleBuffers:
    """One buffer per symbol.

    Parameters
    ----------
    symbols : iterable of str
    limits : BufferLimits
    now_s : float
        When they begin.
    """

    def __init__(self, symbols: tuple[str, ...], limits: BufferLimits, now_s: float = 0.0) -> None:
        self.limits = limits
        self.limit = limits.max_samples_per_file
        self.total = 0
        self._totals = dict.fromkeys(symbols, 0)
        self._buffers = {symbol: _Buffer() for symbol in symbols}
        self._swept_s = self._measured_s = now_s

    def add(self, sample: Sample, now_s: float) -> bool:
        """Take a sample; whether its buffer is due now."""
        buffer = self._buffers[sample.symbol]
        if not buffer.samples:
            buffer.since_s = now_s
        buffer.samples.append(sample)
        buffer.n_bytes += sample.features.nbytes + sample.features_v2.nbytes + _BYTES_PER_STUB
        self.total += 1
        self._totals[sample.symbol] += 1
        if self.total % ADAPT_EVERY == 0:
            self._adapt()
        return self._is_due(buffer, now_s)

    def due(self, now_s: float, *, rss_mb: float | None = None) -> list[str]:
        """Symbols to write now; `rss_mb` (measured where None) is looked at every `RSS_EVERY_S`."""
        wanted = {symbol for symbol, buffer in self._buffers.items() if self._is_due(buffer, now_s)}
        if now_s - self._swept_s >= SWEEP_S or self._is_large(now_s, rss_mb):
            self._swept_s = now_s
            least = self._worth_a_file()
            wanted |= {symbol for symbol, buffer in self._buffers.items() if len(buffer.samples) >= least}
        return sorted(wanted)

    def take(self, symbols: list[str] | None = None) -> dict[str, list[Sample]]:
        """Remove and return the samples of `symbols` (default: all), where there are any."""
        taken = {}
        for symbol in self._buffers if symbols is None else symbols:
            if self._buffers[symbol].samples:
                taken[symbol] = self._buffers[symbol].samples
                self._buffers[symbol] = _Buffer()
        return taken

    def statistics(self) -> dict[str, Any]:
        """Totals, memory, and per symbol what is held."""
        cap = self.limits.max_buffer_memory_mb
        return {
            "total_samples": self.total,
            "memory": {
                "total_mb": self._memory_mb(),
                "cap_mb": cap * len(self._buffers),
                "current_limit": self.limit,
                "initial_limit": self.limits.max_samples_per_file,
            },
            "symbols": {
                symbol: {
                    "total_samples": self._totals[symbol],
                    "buffer_size": len(buffer.samples),
                    "buffer_memory_mb": buffer.n_bytes / 1e6,
                    "utilisation_percent": 100 * len(buffer.samples) / self.limit,
                }
                for symbol, buffer in self._buffers.items()
            },
        }

    def _is_due(self, buffer: _Buffer, now_s: float) -> bool:
        n, age = len(buffer.samples), self.limits.max_buffer_age_s
        return n > 0 and (
            n >= self.limit
            or buffer.n_bytes >= FULL * self.limits.max_buffer_memory_mb * 1e6
            or (age is not None and n >= MIN_AGED and now_s - buffer.since_s >= age)
        )

    def _is_large(self, now_s: float, rss_mb: float | None) -> bool:
        if now_s - self._measured_s < RSS_EVERY_S:
            return False
        self._measured_s = now_s
        return (resident_mb() if rss_mb is None else rss_mb) > RSS_LIMIT_MB

    def _worth_a_file(self) -> int:
        """More symbols make more files: fewer samples are then worth one."""
        n = len(self._buffers)
        return 5 if n >= 40 else 15 if n >= 20 else 30

    def _memory_mb(self) -> float:
        return sum(buffer.n_bytes for buffer in self._buffers.values()) / 1e6

    def _adapt(self) -> None:
        used = self._memory_mb() / (self.limits.max_buffer_memory_mb * len(self._buffers))
        factor = 0.5 if used > 0.7 else 0.75 if used > 0.5 else 1.0
        self.limit = max(1, int(self.limits.max_samples_per_file * factor))


def resident_mb() -> float:
    """Memory of this process that is in RAM now; 0 where the system does not tell."""
    import os
    from pathlib import Path

    statm = Path("/proc/self/statm")
    if not statm.exists():
        return 0.0
    return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
