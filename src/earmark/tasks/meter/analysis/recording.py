"""The whole answer about a recording: windows that spoke of the meter, and beats that run through all of it.

The class probabilities of the recording are the mean over its windows. Where the windows change their mind for good,
and where the tempo jumps, one *movement* ends and the next begins: signatures, sections and downbeats are found for
each by itself.

Conventions: seconds from the start of the recording; BPM; probabilities by class, in class order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from earmark.inference.smoothing import Hysteresis
from earmark.tasks.meter.analysis.bars import Bars, counted_in
from earmark.tasks.meter.analysis.curve import TempoCurve, jumps_s, tempo_curve
from earmark.tasks.meter.analysis.hypotheses import MAX_HYPOTHESES, Hypotheses, hypotheses
from earmark.tasks.meter.analysis.sections import Section, edges_s
from earmark.tasks.meter.analysis.tempo import Candidate, Tempo, beat_candidate, consensus
from earmark.tasks.meter.trackers.rows import Beats

__all__ = ["Analysis", "Speaker", "Window", "analyse"]

SURE = 0.5
"""Class probability from which downbeats follow the class where a tracker counted other bars."""
CHANGE = Hysteresis(margin=0.1, dwell_s=15.0)
"""A meter has changed when two windows in a row say so."""

Probabilities = Mapping[str, float]


@dataclass(frozen=True)
class Window:
    """What was said of one window: a probability per class; None where nothing could be, as in silence."""

    start_s: float
    end_s: float
    probabilities: Probabilities | None

    @property
    def middle_s(self) -> float:
        """Centre of the window."""
        return (self.start_s + self.end_s) / 2

    @property
    def chosen(self) -> str | None:
        """The most probable class."""
        return None if self.probabilities is None else _best(self.probabilities)


@dataclass(frozen=True)
class Speaker:
    """Who answers: ``model`` or ``rule``, the run, the view of its features, and when it does not decide.

    Parameters
    ----------
    threshold : float
        Probability of the best class below which it abstains.
    """

    source: str
    run: str | None = None
    view: str | None = None
    threshold: float = 0.0


@dataclass(frozen=True)
class Analysis:
    """An answer; `earmark.tasks.meter.analysis.document` gives it as JSON."""

    path: str
    duration_s: float
    speaker: Speaker
    tempo: Tempo
    curve: TempoCurve
    probabilities: Probabilities
    hypotheses: Hypotheses
    stability: float
    beats: Beats
    sections: tuple[Section, ...]
    meter_map: tuple[tuple[Window, Hypotheses], ...]
    abstained: bool
    warnings: tuple[str, ...] = ()
    source_type: str = "recorded"
    converged: bool = True


@dataclass(frozen=True)
class _Movement:
    """A span without a change: its windows and bars."""

    start_s: float
    end_s: float
    windows: Sequence[Window]
    bars: Bars = field(repr=False)

    def probabilities(self, start_s: float, end_s: float) -> Probabilities | None:
        """Of a part: of the windows centred in it, else of the one centred nearest to it."""
        middle_s = (start_s + end_s) / 2
        inside = [one for one in self.windows if start_s <= one.middle_s < end_s]
        nearest = sorted(self.windows, key=lambda one: abs(one.middle_s - middle_s))[:1]
        return mean_probabilities(inside or nearest)


def analyse(
    path: str,
    duration_s: float,
    windows: Sequence[Window],
    bars: Bars,
    estimates: Sequence[Candidate],
    speaker: Speaker,
    *,
    limit: int = MAX_HYPOTHESES,
    warnings: Sequence[str] = (),
) -> Analysis:
    """Put an answer together.

    Parameters
    ----------
    path : str
    duration_s : float
    windows : sequence of Window
        Ascending by start.
    bars : Bars
        Of the whole recording.
    estimates : sequence of Candidate
        Tempo estimates besides that of the beats.
    speaker : Speaker
    limit : int
        Most hypotheses to give.
    warnings : sequence of str
        What the reader should know.
    """
    tempo = consensus([beat_candidate(bars.beats.intervals_s), *estimates])
    curve = tempo_curve(bars.beats.times_s).in_octave_of(tempo.bpm)
    answered = [one for one in windows if one.probabilities is not None]
    probabilities = mean_probabilities(answered) or {}
    best = _best(probabilities) if probabilities else None
    movements = [_counted(one) for one in _movements(duration_s, answered, bars)]
    counted = Bars.joined([one.bars for one in movements])
    return Analysis(
        path=path,
        duration_s=duration_s,
        speaker=speaker,
        tempo=tempo,
        curve=curve,
        probabilities=probabilities,
        hypotheses=hypotheses(probabilities, counted, limit=limit),
        stability=_agreement(answered, best),
        beats=counted.beats,
        sections=_sections(duration_s, movements, curve),
        meter_map=tuple(
            (one, hypotheses(one.probabilities or {}, counted.between(one.start_s, one.end_s), limit=limit))
            for one in windows
        ),
        abstained=best is None or probabilities[best] < speaker.threshold,
        warnings=tuple(warnings),
    )


def mean_probabilities(windows: Sequence[Window]) -> Probabilities | None:
    """Mean over windows that answered; None without any."""
    rows = [one.probabilities for one in windows if one.probabilities is not None]
    if not rows:
        return None
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}


def _best(probabilities: Probabilities) -> str:
    return max(probabilities, key=lambda name: probabilities[name])


def _agreement(windows: Sequence[Window], best: str | None) -> float:
    """Share of the windows that choose what the recording does; 0 without any."""
    return float(np.mean([one.chosen == best for one in windows])) if windows else 0.0


def _movements(duration_s: float, windows: Sequence[Window], bars: Bars) -> list[_Movement]:
    changes = [*_meter_changes_s(windows, bars), *jumps_s(bars.beats.times_s)]
    edges = [0.0, duration_s]
    for change_s in changes:
        if all(abs(change_s - edge) > 1.0 for edge in edges):
            edges.append(change_s)
    spans = pairwise(sorted(edges))
    return [
        _Movement(
            start_s,
            end_s,
            [one for one in windows if start_s <= one.middle_s < end_s] or _nearest(windows, start_s, end_s),
            bars.between(start_s, end_s if end_s < duration_s else np.inf),
        )
        for start_s, end_s in spans
    ]


def _nearest(windows: Sequence[Window], start_s: float, end_s: float) -> list[Window]:
    return sorted(windows, key=lambda one: abs(one.middle_s - (start_s + end_s) / 2))[:1]


def _meter_changes_s(windows: Sequence[Window], bars: Bars) -> list[float]:
    """Downbeats nearest to where one class of the windows gives way to another."""
    middles_s = [one.middle_s for one in windows]
    states = list(CHANGE.follow(middles_s, [one.probabilities for one in windows]))
    changes = []
    for before, after in pairwise(states):
        if before is not None and after is not None and before.value != after.value:
            first = middles_s.index(after.since_s)
            changes.append(_on_downbeat((middles_s[first - 1] + middles_s[first]) / 2, bars.beats))
    return changes


def _on_downbeat(time_s: float, beats: Beats) -> float:
    places = beats.downbeat_times_s if len(beats.downbeat_times_s) else beats.times_s
    return float(places[np.argmin(np.abs(places - time_s))]) if len(places) else time_s


def _counted(movement: _Movement) -> _Movement:
    """With downbeats that agree with its class, where that is sure."""
    p = mean_probabilities(movement.windows)
    if p is None or p[_best(p)] < SURE:
        return movement
    bars = counted_in(movement.bars, _best(p))
    return _Movement(movement.start_s, movement.end_s, movement.windows, bars)


def _sections(duration_s: float, movements: Sequence[_Movement], curve: TempoCurve) -> tuple[Section, ...]:
    beat_times_s = np.concatenate([one.bars.beats.times_s for one in movements])
    edges = edges_s(duration_s, beat_times_s, [one.start_s for one in movements[1:]])
    return tuple(_section(start_s, end_s, movements, curve) for start_s, end_s in pairwise(edges))


def _section(start_s: float, end_s: float, movements: Sequence[_Movement], curve: TempoCurve) -> Section:
    middle_s = (start_s + end_s) / 2
    own = next((one for one in movements if one.start_s <= middle_s < one.end_s), movements[-1])
    found = hypotheses(own.probabilities(start_s, end_s) or {}, own.bars)
    local = curve.between(start_s, end_s).bpm
    return Section(start_s, end_s, found.meter, float(np.median(local)) if len(local) else None)
