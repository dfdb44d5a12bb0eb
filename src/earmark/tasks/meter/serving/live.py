"""Messages about a signal while it is heard: how the warm-up goes, each onset, and an answer every so often.

====================  ==============================================================================================
message               fields besides ``type``
====================  ==============================================================================================
``warmup_progress``   ``seconds`` heard of ``total``, ``onset_count`` so far
``onset``             ``time``, ``strength``
``analysis``          ``t``, ``window`` (start and end), ``data``: the document of a batch about that window, its
                      times from the start of the window; null with ``error`` and ``code`` where there is no answer
====================  ==============================================================================================

The clock is that of the samples, so the messages are the same whatever the pieces in which they come. After the warm-up
an answer is given every 0.5 s for 10 s, then every `MeterSettings.reanalysis_interval` seconds, about the last 30 s at
most; while less than 15 s were heard the first 2 s, in which people adjust, are left out. An answer has converged when
it and the two before it agree on the meter, and each of their tempos lies within 3 % of their mean.

Conventions: seconds from the start of the signal; memory is a ring of the last 60 s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.audio.front_end import front_end
from earmark.audio.onset_events import onset_events
from earmark.features.table import ItemFailure
from earmark.tasks.meter.analysis.document import document
from earmark.tasks.meter.analysis.recording import Analysis
from earmark.tasks.meter.schema import SAMPLE_RATE
from earmark.tasks.meter.serving.answers import SILENT_BELOW
from earmark.tasks.meter.serving.failures import Failure, code_of
from earmark.tasks.meter.serving.heard import Signal
from earmark.tasks.meter.serving.predict import Analyst, Outcome
from earmark.tasks.meter.serving.reading import Reading, read_clips

__all__ = ["LIVE_NAME", "Listener"]

Message = dict[str, Any]
Samples = NDArray[np.float32]

LIVE_NAME = "<live>"
TICK_S = 0.25
"""Onsets are looked for, and answers fall due, at multiples of this."""
EAGER_S, EAGER_INTERVAL_S = 10.0, 0.5
DROP_BELOW_S, DROPPED_S = 15.0, 2.0
RING_S = 60.0
PROGRESS_EVERY_S = 0.5
ONSET_CONTEXT_S = 3.0
ONSET_DELAY_S = 0.15
"""A peak is only known to be one after what follows it was heard."""
N_AGREEING = 3
SAME_TEMPO = 0.03


class Listener:
    """Hears a signal and tells what it is.

    Parameters
    ----------
    analyst : Analyst
    name : str
    catch_up : bool
        Where several answers are due at once give only the last: a listener that is late stays with the present.
    """

    def __init__(self, analyst: Analyst, name: str = LIVE_NAME, *, catch_up: bool = False) -> None:
        self._analyst = analyst
        self._groups = analyst.reader.groups
        self._settings = analyst.project.settings.meter
        self._catch_up = catch_up
        self._n_ticks = 0
        self._told_until_s = 0.0
        self._n_onsets = 0
        self._last: deque[Analysis] = deque(maxlen=N_AGREEING)
        self.signal = Signal(frozenset(group.sample_rate for group in self._groups), name)

    @property
    def rates(self) -> tuple[int, ...]:
        """Rates in Hz at which samples must be given."""
        return self.signal.rates

    def hear(self, samples: Mapping[int, Samples]) -> Iterator[Message]:
        """Take samples in; gives the messages that are due."""
        self.signal.append(samples)
        due = int(self.signal.duration_s / TICK_S + 1e-9)
        answers = [tick for tick in range(self._n_ticks + 1, due + 1) if self._is_due(tick)]
        wanted = set(answers[-1:] if self._catch_up else answers)
        while self._n_ticks < due:
            self._n_ticks += 1
            yield from self._tick(self._n_ticks * TICK_S, self._n_ticks in wanted)
        self.signal.forget(self._n_ticks * TICK_S - RING_S)

    def _is_due(self, tick: int) -> bool:
        after_s = tick * TICK_S - self._settings.warmup_seconds
        if after_s < 0:
            return False
        interval_s = EAGER_INTERVAL_S if after_s <= EAGER_S else self._settings.reanalysis_interval
        return _is_multiple(after_s, interval_s)

    def _tick(self, t_s: float, is_answer_due: bool) -> Iterator[Message]:
        yield from self._onsets(t_s)
        if t_s <= self._settings.warmup_seconds and _is_multiple(t_s, PROGRESS_EVERY_S):
            yield self._progress(t_s)
        if is_answer_due:
            yield self._analysis(t_s)

    def _progress(self, t_s: float) -> Message:
        total_s = self._settings.warmup_seconds
        return {"type": "warmup_progress", "seconds": t_s, "total": total_s, "onset_count": self._n_onsets}

    def _onsets(self, t_s: float) -> Iterator[Message]:
        start_s = max(0.0, t_s - ONSET_CONTEXT_S)
        clip = self.signal.clips(start_s, t_s)[SAMPLE_RATE]
        until_s = t_s - ONSET_DELAY_S
        if np.abs(clip.samples).max(initial=0.0) >= SILENT_BELOW:
            found = onset_events(front_end(clip))
            for time_s, strength in zip(found.times_s + start_s, found.strength, strict=True):
                if self._told_until_s <= time_s < until_s:
                    self._n_onsets += 1
                    yield {
                        "type": "onset",
                        "time": round(float(time_s), 4),
                        "strength": round(float(strength), 4),
                    }
        self._told_until_s = max(self._told_until_s, until_s)

    def _analysis(self, t_s: float) -> Message:
        start_s = max(0.0, t_s - self._settings.sliding_window_seconds)
        if t_s < DROP_BELOW_S:
            start_s = DROPPED_S
        outcome = self._answer(start_s, t_s)
        head: Message = {"type": "analysis", "t": t_s, "window": [start_s, t_s]}
        if isinstance(outcome, Failure):
            return {**head, "data": None, "error": outcome.error, "code": outcome.code}
        return {**head, "data": {**document(outcome), "converged": self._converged(outcome)}}

    def _answer(self, start_s: float, end_s: float) -> Outcome:
        name = self.signal.name
        rows = read_clips(self.signal.clips(start_s, end_s), self._groups, self._analyst.slots, name)
        if isinstance(rows, ItemFailure):
            return Failure(name, code_of(rows.kind), rows.error)
        return self._analyst.of(Reading(name, (0.0,), (rows,)), source_type="live")

    def _converged(self, latest: Analysis) -> bool:
        self._last.append(latest)
        tempos = [one.tempo.bpm for one in self._last]
        if len(tempos) < N_AGREEING or len({one.hypotheses.meter for one in self._last}) > 1:
            return False
        heard = [bpm for bpm in tempos if bpm is not None]
        mean = float(np.mean(heard)) if heard else 0.0
        return len(heard) == N_AGREEING and all(abs(bpm - mean) <= SAME_TEMPO * mean for bpm in heard)


def _is_multiple(value: float, step: float) -> bool:
    return abs(value / step - round(value / step)) < 1e-6
