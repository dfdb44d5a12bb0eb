"""Answers about a signal while it is heard: one every few seconds, and one of the whole at the end.

`Stream` takes samples at the rates of the feature groups in pieces of any size, and gives a `Tick` per window; the
results are the same bits whatever the pieces. Each tick says three things:

``answer``
    what the method says of the window alone: its probabilities are not averaged over time, since windows that overlap
    by much are an average already.
``label``
    the state after `Hysteresis` over the windows: it changes only when another class leads for long enough.
``so_far``
    what the method says of everything heard up to ``so_far.t_s``. A feature is a function of the whole signal, so each
    such answer costs a pass over all of it. It is therefore asked again only when the signal has grown by a tenth,
    which bounds the cost of all of them by eleven passes over the whole; the ticks between repeat the last one. While
    the signal is shorter than a window the two answers are one, and nothing is saved.

Memory: float32 samples of the whole signal at each rate (a set of two hours at 22 050 Hz: 0.6 GB), because the answers
of the whole need them; with ``keep=False`` one window, and no such answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.cache.data_files import watch
from earmark.errors import InputError, TooShortError, UsageError
from earmark.inference.ladder import Predictor
from earmark.inference.prediction import Prediction
from earmark.inference.smoothing import Held, Hysteresis, Segment, segments
from earmark.inference.windows import Heard, Windowing, clip_table

__all__ = ["SoFar", "Stream", "Tick"]

GROWTH = 1.1
TOLERANCE_S = 1e-6


@dataclass(frozen=True)
class SoFar:
    """What the method says of the signal from its start to ``t_s``."""

    t_s: float
    answer: Prediction


@dataclass(frozen=True)
class Tick:
    """One window of a stream.

    Parameters
    ----------
    t_s : float
        End of the window.
    window_s : (float, float)
        Start and end.
    label : str or None
        The state: a class, or the word for no decision; None before the first window with an answer.
    since_s : float or None
        When the state began: the middle of the first window that spoke for it.
    answer : Prediction or None
        Of the window; None where there is none, which is an `error` or a window shorter than the features need.
    so_far : SoFar or None
    error : str or None
        Why this window has no answer, unless it is too short.
    """

    t_s: float
    window_s: tuple[float, float]
    label: str | None
    since_s: float | None
    answer: Prediction | None
    so_far: SoFar | None
    error: str | None = None


class Stream:
    """Hears samples and answers.

    Parameters
    ----------
    predictor : Predictor
        As for files; its cache is not asked.
    name : str
        What is heard, for predictions and messages.
    windowing : Windowing
    rule : Hysteresis
    keep : bool
        Keep all samples for answers of the whole; else only those of a window.

    Raises
    ------
    UsageError
        The window is shorter than a feature group needs.
    """

    def __init__(
        self,
        predictor: Predictor,
        name: str,
        *,
        windowing: Windowing | None = None,
        rule: Hysteresis | None = None,
        keep: bool = True,
    ) -> None:
        self.predictor = predictor
        self.groups = predictor.extractor.groups
        self.name = name
        self.windowing = windowing or Windowing()
        self.rule = rule or Hysteresis()
        self.keep = keep
        self.heard = {rate: Heard() for rate in sorted({group.sample_rate for group in self.groups})}
        self._require_long_windows()
        watch()  # a data file that a feature function loads now and remembers must be known to the cache later
        self._n_ticks = 0
        self._held: Held[str | None] | None = None
        self._asked_s = 0.0
        self._so_far: SoFar | None = None
        self._starts: list[tuple[float, str]] = []

    @property
    def rates(self) -> tuple[int, ...]:
        """Rates in Hz at which samples must be given."""
        return tuple(self.heard)

    @property
    def duration_s(self) -> float:
        """Seconds heard, at all rates."""
        return min(heard.length / rate for rate, heard in self.heard.items())

    def hear(self, samples: Mapping[int, NDArray[np.float32]]) -> Iterator[Tick]:
        """Take the next samples in, mono at each rate; gives the ticks that are due.

        The samples are taken at the call; the ticks are computed as they are asked for, and those left over come with
        the next call.
        """
        for rate, piece in samples.items():
            self.heard[rate].append(piece)
        return self._due(missing=0)

    def finish(self) -> Iterator[Tick]:
        """The ticks left at the end: at a rate that does not divide that of the source, a sample may be missing."""
        return self._due(missing=1)

    def whole(self) -> Prediction:
        """What the method says of all that was heard: the answer of a batch for the same samples.

        Raises
        ------
        InputError
            The signal is too short or a feature fails, as in a batch.
        UsageError
            The samples were not kept.
        """
        if not self.keep:
            raise UsageError("the samples were not kept, so there is no answer of the whole.")
        clips = {
            rate: Clip(heard.span(0, heard.length), rate, self.name) for rate, heard in self.heard.items()
        }
        return self._answer(clips)

    def timeline(self) -> tuple[Segment, ...]:
        """The states as spans; a change is dated at the middle of the first window that spoke for it."""
        return segments(self._starts, self.duration_s)

    def _due(self, missing: int) -> Iterator[Tick]:
        while self._is_complete(end_s := self.windowing.end_s(self._n_ticks), missing):
            self._n_ticks += 1
            yield self._tick(end_s)
            if not self.keep:
                self._forget()

    def _is_complete(self, end_s: float, missing: int) -> bool:
        return all(heard.length >= round(end_s * rate) - missing > 0 for rate, heard in self.heard.items())

    def _tick(self, end_s: float) -> Tick:
        bounds_s = self.windowing.bounds_s(end_s)
        answer, error = self._try_answer(*bounds_s)
        if answer is not None:
            self._observe(end_s, answer)
        error = self._look_back(bounds_s, answer) or error
        label = self._starts[-1][1] if self._starts else None
        since_s = self._starts[-1][0] if self._starts else None
        if answer is not None and label is not None:
            answer = replace(answer, label=label)
        return Tick(end_s, bounds_s, label, since_s, answer, self._so_far, error)

    def _observe(self, end_s: float, answer: Prediction) -> None:
        """Let the rule see a window, and note where its state began."""
        seen = (answer.probabilities, answer.label) if answer.label in answer.probabilities else (None, None)
        self._held = self.rule.step(self._held, end_s, *seen)
        state = None if self._held is None else self._held.value
        label = self.predictor.uncertain if state is None else state
        if not self._starts:
            self._starts.append((0.0, label))
        elif label != self._starts[-1][1]:
            first_seen_s = end_s if self._held is None else self._held.since_s
            self._starts.append((self.windowing.middle_s(first_seen_s), label))

    def _look_back(self, bounds_s: tuple[float, float], answer: Prediction | None) -> str | None:
        """Ask about everything heard if it has grown by enough, or take the window's answer while that is all there is.

        Returns why there is no answer, if a feature failed; the last one then stays, with its time.
        """
        start_s, end_s = bounds_s
        if not self.keep or (start_s > 0 and end_s < GROWTH * self._asked_s - TOLERANCE_S):
            return None
        self._asked_s = end_s
        error = None
        if start_s > 0:
            answer, error = self._try_answer(0.0, end_s)
        if answer is not None:
            self._so_far = SoFar(end_s, answer)
        return error

    def _try_answer(self, start_s: float, end_s: float) -> tuple[Prediction | None, str | None]:
        """The answer of a span, or why there is none; a span that is only too short needs no reason."""
        try:
            return self._answer(self._clips(start_s, end_s)), None
        except TooShortError:
            return None, None
        except InputError as problem:
            return None, str(problem)

    def _clips(self, start_s: float, end_s: float) -> dict[int, Clip]:
        name = f"{self.name} ({start_s:g} s to {end_s:g} s)"
        return {
            rate: Clip(heard.span(round(start_s * rate), round(end_s * rate)), rate, name)
            for rate, heard in self.heard.items()
        }

    def _answer(self, clips: Mapping[int, Clip]) -> Prediction:
        table = clip_table(clips, self.groups, self.name)
        [prediction] = self.predictor.predict_table(table)
        return prediction

    def _forget(self) -> None:
        start_s, _ = self.windowing.bounds_s(self.windowing.end_s(self._n_ticks))
        for rate, heard in self.heard.items():
            heard.forget(round(start_s * rate))

    def _require_long_windows(self) -> None:
        for group in self.groups:
            if group.min_duration_s > self.windowing.window_s:
                raise UsageError(
                    f"--window is {self.windowing.window_s:g} s; `{group.name}` needs at least "
                    f"{group.min_duration_s:g} s of audio. Give a longer window."
                )
