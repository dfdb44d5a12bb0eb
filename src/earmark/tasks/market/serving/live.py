"""`earmark live market`: the collector's pipeline with a model at its end.

Ticks are answered in a thread of their own, in order, so that a slow model delays no socket. What is collected goes
to a folder that is removed at the end, unless it is to be kept: `earmark collect market` may run beside.

With a challenger, each row is answered by the variant to which its key belongs (`serving.challenge`). A challenger that
is rolled back leaves all rows to the champion.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from earmark.errors import EarmarkError, UsageError
from earmark.orderbook.state import STEP_MS
from earmark.tasks.market.serving.answers import Answerer
from earmark.tasks.market.serving.challenge import CHALLENGER, CHAMPION, Answered, Challenge, variant_of
from earmark.tasks.market.serving.model import ServedModel
from earmark.tasks.market.serving.stored import newest_rows
from earmark.tasks.market.serving.ticks import Ticks
from earmark.tasks.market.serving.worker import Worker

if TYPE_CHECKING:
    from earmark.orderbook.state import BookState
    from earmark.tasks.market.collect.options import CollectOptions, Finished
    from earmark.tasks.market.collect.pipeline import Sample
    from earmark.tasks.market.collect.verb import Simulation
    from earmark.tasks.settings import EffectiveSettings

__all__ = ["CHALLENGE_FILE", "Duel", "LiveOptions", "live"]

CHALLENGE_FILE = "market/challenge.sqlite"
"""Below the project's data folder."""
_JUDGED_EVERY = 20
"""Ticks between two looks at an experiment."""

_Tick: TypeAlias = "tuple[Sequence[Sample], Sequence[tuple[str, BookState]]]"

Record = dict[str, Any]
Emit = Callable[[Record], None]


@dataclass(frozen=True)
class LiveOptions:
    """How a model is asked live.

    Attributes
    ----------
    duration_s : float or None
        Seconds of the market; None: until it is stopped.
    simulation : Simulation or None
    keep : bool
        Keep what is collected in the project's stores.
    """

    duration_s: float | None = None
    simulation: Simulation | None = None
    keep: bool = False


def live(
    settings: EffectiveSettings,
    answerer: Answerer | Duel,
    emit: Emit,
    options: LiveOptions | None = None,
    *,
    on_compile: Callable[[], None] | None = None,
) -> Finished:
    """Answer every sample, or state of the book at a model's ticks, until SIGINT, SIGTERM or the end of the duration.

    Parameters
    ----------
    settings : EffectiveSettings
        The table ``market`` names symbols and venue.
    answerer : Answerer or Duel
    emit : callable
        Given each record, from one thread, in order.
    options : LiveOptions, optional
    on_compile : callable, optional
        As of `earmark.tasks.market.collect.verb.collect`.

    Raises
    ------
    UsageError
        The rows of the model do not lie at ticks of the feature clock.
    EarmarkError
        What the collector or the model raised.
    """
    from earmark.tasks.market.collect.verb import collect

    options = options or LiveOptions()
    with ExitStack() as stack:
        data = (
            None
            if options.keep
            else Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="earmark-")))
        )
        if options.simulation is None:
            _warm_up(settings, answerer)
        worker = stack.enter_context(Worker(_answering(answerer, emit)))
        return collect(
            settings,
            duration_s=options.duration_s,
            simulation=options.simulation,
            on_samples=None if answerer.model.reads_levels else lambda samples: worker.give((samples, ())),
            on_states=(lambda states: worker.give(((), states))) if answerer.model.reads_levels else None,
            on_compile=on_compile,
            adjust=lambda found: _adjusted(found, answerer.model, data),
        )


class Duel:
    """A champion and a challenger that are told the same samples.

    Parameters
    ----------
    champion, challenger : Answerer
    challenge : Challenge
    """

    def __init__(self, champion: Answerer, challenger: Answerer, challenge: Challenge) -> None:
        if champion.model.interval_ms != challenger.model.interval_ms:
            raise UsageError(
                f"`{challenger.model.version}` reads rows {challenger.model.interval_ms} ms apart, "
                f"`{champion.model.version}` {champion.model.interval_ms} ms; expected the same. Choose another run."
            )
        if champion.model.reads_levels != challenger.model.reads_levels:
            raise UsageError(
                f"`{challenger.model.version}` reads the view {challenger.model.view}, `{champion.model.version}` "
                f"{champion.model.view}; expected both of samples, or both of states of the book. Choose another run."
            )
        self.answerers = {CHAMPION: champion, CHALLENGER: challenger}
        self.challenge = challenge
        self.is_over = False
        self._ticks = 0

    @property
    def model(self) -> ServedModel:
        """The champion's."""
        return self.answerers[CHAMPION].model

    def push(self, samples: Iterable[Any]) -> None:
        """Tell both what has happened."""
        samples = list(samples)
        for answerer in self.answerers.values():
            answerer.push(samples)

    def take(self, samples: Iterable[Any]) -> list[Record]:
        """Tell the samples of one tick to both, and ask the variant to which each belongs."""
        samples = list(samples)
        self.push(samples)
        records: list[Record] = []
        for variant in self.answerers:
            chosen = [s.symbol for s in samples if self._variant(s) == variant]
            if chosen:
                records += self._asked(variant, chosen, samples)
        self._judge()
        return sorted(records, key=lambda record: str(record["symbol"]))

    def _variant(self, sample: Any) -> str:
        return CHAMPION if self.is_over else variant_of(sample.symbol, sample.book_ms)

    def _asked(self, variant: str, symbols: list[str], samples: list[Any]) -> list[Record]:
        """Records of a variant; where the challenger fails, the champion answers and the failure is kept."""
        begun = time.perf_counter()
        try:
            records, failed = self.answerers[variant].newest(symbols), False
        except EarmarkError:
            if variant == CHAMPION:
                raise
            records, failed = self.answerers[CHAMPION].newest(symbols), True
        took_ms = 1000 * (time.perf_counter() - begun) / len(symbols)
        if not self.is_over:
            self.challenge.add(
                [
                    Answered(
                        r["symbol"],
                        r["timestamp"],
                        variant,
                        None if failed else r["direction"],
                        took_ms,
                        failed,
                    )
                    for r in records
                    if failed or not r["abstained"]
                ]
            )
        return records

    def _judge(self) -> None:
        """From time to time, end an experiment that has to be rolled back."""
        self._ticks += 1
        if self.is_over or self._ticks % _JUDGED_EVERY:
            return
        found = self.challenge.state()
        if found.outcome == "roll_back":
            self.challenge.end(found.outcome, found.reason, time.time_ns() // 1_000_000)
            self.is_over = True


def _answering(answerer: Answerer | Duel, emit: Emit) -> Callable[[_Tick], None]:
    """What the model's thread does with the samples, or the books, of a tick."""
    ticks = Ticks(answerer.model)

    def answer(tick: _Tick) -> None:
        for record in answerer.take(ticks.observed(*tick)):
            emit(record)

    return answer


def _adjusted(found: CollectOptions, model: ServedModel, data: Path | None) -> CollectOptions:
    """The collector's options: ticks of the model's rows, and where rows go."""
    steps, rest = divmod(model.interval_ms, STEP_MS)
    if rest or not steps:
        raise UsageError(
            f"`{model.version}` reads rows {model.interval_ms} ms apart; expected a multiple of {STEP_MS} ms, at which "
            "samples are taken live. Train on such rows."
        )
    chosen = found if model.reads_levels else replace(found, collection_interval=steps, is_adaptive=False)
    if data is None:
        return chosen
    limits = replace(found.limits, enable_feature_store=False, use_legacy_format=False)
    places = replace(found.places, data=data, legacy=data / "legacy")
    return replace(chosen, limits=limits, places=places, raw_lob=None)


def _warm_up(settings: EffectiveSettings, answerer: Answerer | Duel) -> None:
    """Tell the newest stored rows, so that a model need not wait for its first window."""
    models = answerer.answerers.values() if isinstance(answerer, Duel) else (answerer,)
    now_ms = time.time_ns() // 1_000_000
    for one in models:
        symbols = settings.settings.market.symbols
        one.push(newest_rows(one.model, settings.path("data") / "feature_store", symbols, now_ms))
