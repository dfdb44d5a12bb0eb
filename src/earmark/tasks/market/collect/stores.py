"""Where rows and samples end: raw store, feature store, npy and json. All of it runs in a worker thread.

The order of a flush of samples is fixed: feature store, then the earlier layout, then the mark in the sample log that
lets its segments go. The feature store takes a key once, so a flush may be repeated after a crash.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from earmark.orderbook.events import Candle
from earmark.store.journal import read_journal
from earmark.store.raw import Message, RawStore
from earmark.tasks.market.collect.buffers import BufferLimits
from earmark.tasks.market.collect.pipeline import Rows, Sample
from earmark.tasks.market.collect.replay import replay_journal
from earmark.tasks.market.collect.samples import (
    SAMPLE,
    V2_GROUP_SUFFIX,
    WRITTEN,
    decode_sample,
    legacy_rows,
    sample_table,
    v2_table,
)
from earmark.tasks.market.collect.signals import SampleKey, Signal, SignalSource
from earmark.tasks.market.schema import GROUP, SCHEMA, V2_SCHEMA

__all__ = ["Places", "Stores"]

_log = logging.getLogger(__name__)

_CANDLES_MS = 6 * 3_600_000
"""Closed candles of so long are read back at the start: more than the features look at."""


@dataclass(frozen=True)
class Places:
    """Folders of a collector.

    Attributes
    ----------
    data : Path
        Of the project; the raw store, the feature store and the journals lie in it.
    legacy : Path
        Of npy and json files.
    group : str
        Of the feature store.
    """

    data: Path
    legacy: Path
    group: str = GROUP

    @property
    def journal(self) -> Path:
        """What the sockets brought and is not in the raw store yet."""
        return self.data / "collector" / "journal"

    @property
    def samples(self) -> Path:
        """Samples that are not in the stores yet."""
        return self.data / "collector" / "samples"

    @property
    def status(self) -> Path:
        """What the collector tells of itself."""
        return self.data / "collector" / "status.json"


class Stores:
    """Writes rows and samples, and reads back what an earlier process left.

    Parameters
    ----------
    places : Places
    limits : BufferLimits
    signals : SignalSource, optional
        Fills the signal columns of samples.

    Attributes
    ----------
    n_files : int
        Written since the start.
    """

    def __init__(self, places: Places, limits: BufferLimits, signals: SignalSource | None = None) -> None:
        self.places = places
        self.limits = limits
        self._signals = signals
        self.raw = RawStore(places.data / "raw")
        self.n_files = 0

    def write_rows(self, rows: Mapping[str, Rows], messages: Mapping[str, Sequence[Message]]) -> int:
        """Append to the raw store; the number of rows."""
        n = 0
        for symbol, of_symbol in rows.items():
            for stream, part in of_symbol.streams().items():
                self.n_files += len(self.raw.append(stream, symbol, part))
                n += len(part)
        for symbol, texts in messages.items():
            self.n_files += len(self.raw.append("messages", symbol, texts))
        return n

    def write_samples(self, samples: Mapping[str, Sequence[Sample]]) -> int:
        """Write to the feature store, then in the earlier layout; the number of samples."""
        every = [sample for of_symbol in samples.values() for sample in of_symbol]
        if not every:
            return 0
        signals = {} if self._signals is None else self._signals.of(every)
        if self.limits.enable_feature_store:
            self._write_features(every, signals)
        if self.limits.use_legacy_format:
            self._write_legacy(samples, signals)
        return len(every)

    def recover_rows(self) -> int:
        """Put what the journal holds into the raw store; the number of rows. Its segments may be cut then."""
        replayed = replay_journal(self.places.journal, with_features=False)
        return self.write_rows(replayed.rows, {})

    def recover_samples(self) -> int:
        """Write the samples of the log that no flush has marked, without signals; the number of them."""
        waiting = unwritten_samples(self.places.samples)
        every = [sample for of_symbol in waiting.values() for sample in of_symbol]
        if every and self.limits.enable_feature_store:
            self._write_features(every, {})
        if every and self.limits.use_legacy_format:
            self._recover_legacy(waiting)
        return len(every)

    def recent_candles(self, symbol: str, now_ms: int) -> list[Candle]:
        """Closed candles of the last hours, as they were received."""
        rows: list[Candle] = self.raw.read_rows("candles", symbol, now_ms - _CANDLES_MS)
        return [candle for candle in rows if candle.is_closed]

    def _write_features(self, samples: Sequence[Sample], signals: Mapping[SampleKey, Signal]) -> None:
        from earmark.store.offline import FeatureStore

        group = self.places.group
        groups = {group: (SCHEMA, sample_table), group + V2_GROUP_SUFFIX: (V2_SCHEMA, v2_table)}
        batch = batch_of(samples)
        store = FeatureStore(
            self.places.data / "feature_store", schemas={name: schema for name, (schema, _) in groups.items()}
        )
        for name, (_, table_of) in groups.items():
            table = table_of(samples, signals)
            written = store.write_offline_features(name, table, batch=batch)
            self.n_files += len(written.files)
            if written.rows and name == group:
                store.registry.update_from(SCHEMA, table, source="collect")

    def _write_legacy(
        self, samples: Mapping[str, Sequence[Sample]], signals: Mapping[SampleKey, Signal]
    ) -> None:
        from earmark.tasks.market.legacy.writer import LegacyWriter

        writer = LegacyWriter(self.places.legacy)
        for symbol, of_symbol in samples.items():
            writer.write(symbol, *legacy_rows(of_symbol, signals))
            self.n_files += 3

    def _recover_legacy(self, waiting: Mapping[str, Sequence[Sample]]) -> None:
        """Leave out of the earlier layout what it holds: a crash may have come between the files and the mark."""
        missing = {}
        for symbol, of_symbol in waiting.items():
            last = newest_legacy_ms(self.places.legacy / symbol)
            missing[symbol] = [sample for sample in of_symbol if sample.book_ms > last]
        self._write_legacy({symbol: rows for symbol, rows in missing.items() if rows}, {})


def batch_of(samples: Sequence[Sample]) -> str:
    """A name for these samples, the same whenever they are written."""
    keys = sorted((sample.symbol, sample.time_ms) for sample in samples)
    digest = hashlib.blake2b(repr(keys).encode(), digest_size=8).hexdigest()
    return f"collect-{min(time_ms for _, time_ms in keys)}-{digest}"


def unwritten_samples(folder: Path) -> dict[str, list[Sample]]:
    """Symbol -> samples of the log behind its newest mark, in order."""
    import json

    found: dict[str, dict[int, Sample]] = {}
    marks: dict[str, int] = {}
    for record in read_journal(folder):
        if record.kind == SAMPLE:
            sample = decode_sample(record.payload)
            found.setdefault(sample.symbol, {})[sample.time_ms] = sample
        elif record.kind == WRITTEN:
            marks.update(json.loads(record.payload))
    waiting = {
        symbol: [sample for time_ms, sample in sorted(rows.items()) if time_ms > marks.get(symbol, -1)]
        for symbol, rows in found.items()
    }
    return {symbol: rows for symbol, rows in waiting.items() if rows}


def newest_legacy_ms(folder: Path) -> int:
    """Time of the newest sample in the earlier layout of a symbol, -1 without one."""
    import json

    files = sorted((folder / "labels").glob("*.json"))
    rows = json.loads(files[-1].read_text("utf-8")) if files else []
    return max((row["timestamp"] for row in rows), default=-1)
