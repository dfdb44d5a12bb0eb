"""`earmark collect market --model`: a model beside a collector, which fills the signal columns of its samples.

The model is told the same rows in the same order as by `earmark live market`, so that its answers are those of
`earmark predict market` for the stored samples. It has a thread of its own, and nothing waits for it but, at most
`PATIENCE_S`, the thread that writes the stores. A sample without an answer keeps nulls and is counted:

=================== ====================================================================================
``warming_up``      and the other reasons of `earmark.tasks.market.serving.answers`: the model abstained
``late``            it was written, or many had come behind it, before the model got to it
``failed``          the model had raised an error, which is told once and ends its part
=================== ====================================================================================

Samples that an earlier collector left in its log are written with nulls: nobody asked about them.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from earmark.errors import UsageError
from earmark.orderbook.state import STEP_MS
from earmark.tasks.market.collect.signals import SampleKey, Signal, key_of
from earmark.tasks.market.serving.answers import Answerer, Record
from earmark.tasks.market.serving.model import ServedModel, named_run, served_model
from earmark.tasks.market.serving.series import Observed
from earmark.tasks.market.serving.stored import newest_rows
from earmark.tasks.market.serving.worker import Worker

if TYPE_CHECKING:
    from earmark.tasks.market.collect.options import CollectOptions
    from earmark.tasks.market.collect.pipeline import Sample
    from earmark.tasks.settings import EffectiveSettings

__all__ = ["FAILED", "LATE", "ModelSignals", "collecting_model", "model_signals"]

LATE, FAILED = "late", "failed"

PATIENCE_S = 1.0
"""How long a flush waits for the answers to the newest of its samples."""

_MOST_WAITING = 4
"""Ticks that may wait for the model; it is not asked about older ones, which are its history all the same."""

_CLOSING_S = 5.0

_log = logging.getLogger(__name__)


class ModelSignals:
    """A `SignalSource` of a model.

    Parameters
    ----------
    answerer : Answerer
    history : callable
        Stored rows before the time (ms) of the first sample, as the model's history; called once, in its thread.
    """

    def __init__(self, answerer: Answerer, history: Callable[[int], Iterable[Observed]]) -> None:
        self.error: Exception | None = None
        self._answerer = answerer
        self._history: Callable[[int], Iterable[Observed]] | None = history
        self._lock = threading.Lock()
        self._asked: set[SampleKey] = set()
        self._signals: dict[SampleKey, Signal] = {}
        self._counts: Counter[str] = Counter()
        self._worker: Worker[tuple[Sample, ...]] = Worker(self._answer)

    def take(self, samples: Sequence[Sample]) -> None:
        """Ask about the samples of a tick."""
        with self._lock:
            if self.error is not None:
                self._counts[FAILED] += len(samples)
                return
            self._asked.update(map(key_of, samples))
        self._worker.give(tuple(samples))

    def of(self, samples: Sequence[Sample]) -> Mapping[SampleKey, Signal]:
        """The answers to these samples; each is given once."""
        self._worker.settle(PATIENCE_S)
        self._pass_over(samples, LATE)
        with self._lock:
            keys = [key for key in map(key_of, samples) if key in self._signals]
            return {key: self._signals.pop(key) for key in keys}

    def statistics(self) -> dict[str, Any]:
        """As of `SignalSource`."""
        with self._lock:
            unanswered, waiting = dict(self._counts), len(self._asked)
        return {
            **_origin(self._answerer.model),
            "answered": unanswered.pop("", 0),
            "unanswered": unanswered,
            "waiting": waiting,
            "error": None if self.error is None else f"{type(self.error).__name__}: {self.error}",
        }

    def close(self) -> None:
        """End the thread; a model that is busy for long is left alone."""
        if not self._worker.close(_CLOSING_S):
            _log.warning("the model of %s is still busy, and is left alone", self._answerer.model.version)

    # In the model's thread

    def _answer(self, samples: tuple[Sample, ...]) -> None:
        if self.error is not None:
            return
        try:
            self._ask(samples)
        except Exception as error:  # noqa: BLE001  whatever a model raises ends its own part alone, and is told
            self._give_up(error)

    def _ask(self, samples: tuple[Sample, ...]) -> None:
        if self._history is not None:
            self._answerer.push(self._history(samples[0].time_ms))
            self._history = None
        if self._worker.n_waiting > _MOST_WAITING:
            self._answerer.push(samples)
            self._pass_over(samples, LATE)
            return
        for record in self._answerer.take(samples):
            self._note(record)

    def _note(self, record: Record) -> None:
        key = record["symbol"], record["timestamp"]
        with self._lock:
            if key not in self._asked:
                return  # its sample was written without it
            self._asked.remove(key)
            self._counts[record["reason"] or ""] += 1
            if not record["abstained"]:
                self._signals[key] = Signal(*(record[name] for name in Signal._fields))

    def _pass_over(self, samples: Iterable[Sample], reason: str) -> None:
        """Ask no more about those that have no answer."""
        with self._lock:
            passed = self._asked.intersection(map(key_of, samples))
            self._asked -= passed
            if passed:
                self._counts[reason] += len(passed)

    def _give_up(self, error: Exception) -> None:
        with self._lock:
            self.error = error
            if self._asked:
                self._counts[FAILED] += len(self._asked)
            self._asked.clear()
        _log.error(
            "the model of %s has failed (%s: %s); samples are collected on, without signals",
            self._answerer.model.version,
            type(error).__name__,
            error,
        )


@contextmanager
def model_signals(
    settings: EffectiveSettings, options: CollectOptions, run_name: str
) -> Iterator[ModelSignals]:
    """The signals of a run for a collector with these options; raises as `collecting_model`."""
    model = collecting_model(settings, options, run_name)
    collected = replace(model, group=options.places.group)
    store = options.places.data / "feature_store"
    signals = ModelSignals(
        Answerer(model), lambda now_ms: newest_rows(collected, store, options.symbols, now_ms)
    )
    try:
        yield signals
    finally:
        signals.close()


def collecting_model(settings: EffectiveSettings, options: CollectOptions, run_name: str) -> ServedModel:
    """The model of a run, where it can answer the samples of a collector with these options.

    Raises
    ------
    RunError
        There is no such run of this task.
    UsageError
        It reads other rows than the samples.
    """
    model = served_model(named_run(settings, run_name))
    if model.reads_levels:
        raise UsageError(
            f"`{model.version}` reads the view {model.view}, states of the raw book; expected a view of samples, whose "
            "signals are filled. Follow this one by: earmark live market"
        )
    interval_ms = STEP_MS * options.collection_interval
    if options.is_adaptive or model.interval_ms != interval_ms:
        taken = "at varying distances" if options.is_adaptive else f"{interval_ms} ms apart"
        raise UsageError(
            f"`{model.version}` reads rows {model.interval_ms} ms apart, and samples are taken {taken}; expected the "
            f"same. Give --cadence clock --collection-interval {model.interval_ms / STEP_MS:g}, or another run."
        )
    return model


def _origin(model: ServedModel) -> dict[str, Any]:
    return {"name": model.name, "run": model.version, "view": model.view, "horizon_s": model.horizon_s}
