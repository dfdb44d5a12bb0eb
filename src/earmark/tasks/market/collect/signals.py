"""What a model says of samples while they are collected: the contract of whoever asks one.

The collector hands over the samples of each tick and goes on; whoever writes samples asks for the answers. An answer is
known by the key under which its sample is stored. `earmark.tasks.market.serving.signals` keeps the contract.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    from earmark.tasks.market.collect.pipeline import Sample

__all__ = ["SampleKey", "Signal", "SignalSource", "key_of"]


class Signal(NamedTuple):
    """The signal columns of a sample; None where nothing was said."""

    signal_type: str | None = None
    signal_confidence: float | None = None
    signal_strength: float | None = None


SampleKey: TypeAlias = tuple[str, int]
"""Symbol and `book_ms`."""


def key_of(sample: Sample) -> SampleKey:
    """Under which the sample is stored."""
    return sample.symbol, sample.book_ms


class SignalSource(Protocol):
    """Asks a model, and never delays or ends the collector."""

    def take(self, samples: Sequence[Sample]) -> None:
        """Ask about the samples of a tick; called in the event loop, in order of the ticks."""

    def of(self, samples: Sequence[Sample]) -> Mapping[SampleKey, Signal]:
        """The answers to samples that are written now, where there are any; called in the thread of the stores."""

    def statistics(self) -> dict[str, Any]:
        """The model's ``name``, ``run``, ``view`` and ``horizon_s``, and what became of the samples.

        ``answered``, ``unanswered`` (reason -> count) and ``waiting`` add up to the samples that were taken; ``error``
        is what ended the model, or None.
        """
