"""The rows and samples that a journal gives: those of the process that wrote it, bit for bit.

A journal that begins with a segment of its own start is replayed with features. One whose older segments have been cut
begins with the state of each pipeline; its rows are complete, while features need the history that lies in the raw
store by then (`earmark.orderbook.replay`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.store.journal import Record, read_journal
from earmark.tasks.market.collect.pipeline import Rows, Sample, SymbolPipeline
from earmark.tasks.market.collect.records import BEAT, CONFIG, GAP, STATE, TICK, decode_event, decode_tick

if TYPE_CHECKING:
    from earmark.orderbook.engine import FeatureEngine

__all__ = ["Replayed", "new_engine", "replay_journal", "replay_records"]


@dataclass
class Replayed:
    """What a journal gave.

    Attributes
    ----------
    rows : dict
        Symbol -> `Rows`.
    samples : list of Sample
        In order of their ticks.
    pipelines : dict
        Symbol -> the pipeline as it was at the end.
    n_records : int
    """

    rows: dict[str, Rows] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    pipelines: dict[str, SymbolPipeline] = field(default_factory=dict)
    n_records: int = 0


def replay_journal(folder: str | Path, *, with_features: bool = True) -> Replayed:
    """Replay the journal in `folder`; its writer may be alive.

    Raises
    ------
    InputError
        The journal is damaged before its end.
    """
    return replay_records(read_journal(folder), new_engine if with_features else None)


def new_engine(symbol: str) -> FeatureEngine:
    """The features of one symbol, from nothing."""
    from earmark.orderbook.engine import FeatureEngine

    return FeatureEngine(symbol)


def replay_records(
    records: Iterable[Record], make_engine: Callable[[str], FeatureEngine] | None = None
) -> Replayed:
    """Tell new pipelines what the records say."""
    replaying = _Replaying(make_engine)
    for record in records:
        replaying.take(record)
    return replaying.finish()


class _Replaying:
    def __init__(self, make_engine: Callable[[str], FeatureEngine] | None) -> None:
        self._make_engine = make_engine
        self._replayed = Replayed()
        self._config: dict[str, Any] = {"depth": 200, "track_ms": 0}

    def take(self, record: Record) -> None:
        self._replayed.n_records += 1
        if record.kind in (TICK, BEAT):
            self._take_time(record)
        elif record.kind in (CONFIG, STATE, GAP):
            self._take_decision(record.kind, json.loads(record.payload))
        else:
            event = decode_event(record.kind, record.received_ns, record.payload)
            self._pipeline(event.symbol).push(event)

    def finish(self) -> Replayed:
        for symbol, pipeline in self._replayed.pipelines.items():
            self._replayed.rows[symbol] = pipeline.drain()
        return self._replayed

    def _take_time(self, record: Record) -> None:
        time_ms, symbol, is_sample = decode_tick(record.payload)
        if record.kind == BEAT:
            for pipeline in self._replayed.pipelines.values():
                pipeline.beat(time_ms, record.received_ns)
            return
        sample = self._pipeline(symbol).close_tick(time_ms, record.received_ns, is_sample=is_sample)
        if sample is not None:
            self._replayed.samples.append(sample)

    def _take_decision(self, kind: int, value: dict[str, Any]) -> None:
        if kind == CONFIG:
            self._config = value
            for symbol in value.get("symbols", ()):
                self._pipeline(symbol)
            return
        known = value["symbol"] in self._replayed.pipelines
        pipeline = self._pipeline(value["symbol"])
        if kind == GAP:
            pipeline.mark_gap()
        elif not known or pipeline.counts.total() == 0:
            pipeline.restore(value)  # later ones repeat what this pipeline knows

    def _pipeline(self, symbol: str) -> SymbolPipeline:
        found = self._replayed.pipelines.get(symbol)
        if found is None:
            found = SymbolPipeline(
                symbol,
                depth=self._config["depth"],
                track_ms=self._config["track_ms"],
                engine=None if self._make_engine is None else self._make_engine(symbol),
            )
            self._replayed.pipelines[symbol] = found
        return found
