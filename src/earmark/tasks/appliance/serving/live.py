"""What a microphone hears, a line per hop: the state of the room, how sure it is, and whether the ear is in order.

`Session` turns what a `Capture` gives into lines; `run` sends them to sinks until the source ends, and to outputs with
``on`` added: what is known of each device, `Engine.on`. Overflow, lag and a
source that vanishes are told in the lines and never end anything; the state of the room is held while nothing is heard.

Audio that was dropped, and the return of a source, begin the windows anew. The few samples that a device overflows by
do not: one that overflows in every block would never be answered otherwise, and a steady machine does not care.

Conventions: ``audio_s`` counts audio that was heard; ages also count the time in which nothing was.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from earmark.inference.capture import Capture, Piece
from earmark.inference.pcm import PcmDecoder, PcmFormat
from earmark.tasks.appliance.schema import none_on
from earmark.tasks.appliance.serving.engine import Answered, Engine
from earmark.tasks.appliance.serving.floor import FloorWatch
from earmark.tasks.appliance.serving.health import Ear
from earmark.tasks.appliance.serving.lines import LiveLine, live_line
from earmark.tasks.appliance.serving.ring import Window
from earmark.tasks.appliance.serving.sinks import Line, Sink

__all__ = ["Announcer", "Session", "listen", "run"]

Samples = NDArray[np.float32]


class Session:
    """Hears a source and tells what it is; state is of this session alone.

    Parameters
    ----------
    engine : Engine
    source_rate : int
        Hz of the samples.
    floor_dbfs : float or None
        Level of the room with everything off.
    source : str, optional
        Told in each line: the file of a dry run.
    clock : callable
        Seconds of the Unix epoch.
    on_answered : callable
        Told of each window and of the time of its line, before that is given.
    """

    def __init__(
        self,
        engine: Engine,
        source_rate: int,
        *,
        floor_dbfs: float | None = None,
        source: str | None = None,
        clock: Callable[[], float] = time.time,
        on_answered: Callable[[Answered, float], None] = lambda _answered, _timestamp: None,
    ) -> None:
        self.engine = engine
        self._on_answered = on_answered
        self.ear = Ear(source_rate)
        self._watch = FloorWatch(floor_dbfs, engine.rule.hop_s)
        self._source, self._clock = source, clock
        self._rate = source_rate
        self._resampler = self._new_resampler()
        self._is_hearing = False  # whether the resampler holds anything
        self._away_s = 0.0  # in which nothing was heard, so far
        self._quiet_s = 0.0
        self._settled_at_s: float | None = None
        self._none_on = none_on(engine.detector.devices)

    @property
    def elapsed_s(self) -> float:
        """Seconds of audio heard, and of waiting for some."""
        return self.ear.heard_s + self._away_s + self._quiet_s

    def hear(self, piece: Piece) -> Iterator[LiveLine]:
        """Take what came, or that nothing came; gives the lines that are due."""
        self.ear.lose(by_lag=piece.lost_s > 0, by_overflow=piece.overflowed)
        if piece.lost_s > 0 or piece.reopened:
            yield from self._begin_anew(piece)
        if len(piece.samples):
            self._away_s, self._quiet_s = self._away_s + (self._quiet_s if piece.reopened else 0.0), 0.0
            yield from self._heard(piece.samples)
            return
        self._quiet_s = piece.quiet_s
        self.ear.wait(piece.quiet_s)
        if self.ear.is_cut_off:
            yield self._line_of_nothing()

    def finish(self) -> Iterator[LiveLine]:
        """The rest of the samples, after the last piece."""
        if self._is_hearing:
            self._is_hearing = False
            yield from self._answered(self._resampler.finish()[self.engine.detector.sample_rate])

    def _heard(self, samples: Samples) -> Iterator[LiveLine]:
        self._is_hearing = True
        self.ear.hear(samples)
        resampled = self._resampler.push(samples.astype("<f4", copy=False).tobytes())
        yield from self._answered(resampled[self.engine.detector.sample_rate])

    def _answered(self, samples: Samples) -> Iterator[LiveLine]:
        for answered in self.engine.hear(samples, holds=self._holds):
            yield self._line(answered)

    def _holds(self, window: Window) -> bool:
        return self.ear.holds(window.start_s, window.end_s)

    def _line(self, answered: Answered) -> LiveLine:
        decided = answered.decided
        now_s = answered.window.end_s + self._away_s
        if decided.changed or (self._settled_at_s is None and decided.stable is not None):
            self._settled_at_s = now_s
        if decided.stable == self._none_on and not answered.is_held:
            self._watch.hear(answered.level_dbfs)
        timestamp = self._clock()
        self._on_answered(answered, timestamp)
        return live_line(
            self.engine.detector.devices,
            decided,
            timestamp=timestamp,
            process_ms=1000 * answered.seconds,
            stable_age_s=None if self._settled_at_s is None else now_s - self._settled_at_s,
            audio_s=answered.window.end_s,
            health=self.ear.state(is_warming_up=decided.stable is None, drifts=self._watch.drifts),
            source=self._source,
        )

    def _line_of_nothing(self) -> LiveLine:
        settled = self._settled_at_s
        return live_line(
            self.engine.detector.devices,
            self.engine.held(),
            timestamp=self._clock(),
            process_ms=0.0,
            stable_age_s=None if settled is None else self.elapsed_s - settled,
            audio_s=self.ear.heard_s,
            health=self.ear.state(),
            source=self._source,
        )

    def _begin_anew(self, piece: Piece) -> Iterator[LiveLine]:
        yield from self.finish()
        self._away_s += piece.lost_s
        self._resampler = self._new_resampler()
        self.engine.restart()

    def _new_resampler(self) -> PcmDecoder:
        rates = [self.engine.detector.sample_rate]
        return PcmDecoder(PcmFormat("f32le", self._rate), rates, self._source or "<live>")


class Announcer:
    """Which lines people are told: all, or changes and a sign of life now and then.

    Parameters
    ----------
    sinks : sequence of Sink
    only_changes : bool
        Lines with ``debounced_status`` alone.
    heartbeat_s : float
        A line is told at the latest so long after the one before; 0: never for that.
    """

    def __init__(
        self, sinks: Sequence[Sink], *, only_changes: bool = False, heartbeat_s: float = 60.0
    ) -> None:
        self._sinks = sinks
        self._only_changes = only_changes
        self._heartbeat_s = heartbeat_s
        self._told_at: float | None = None

    def line(self, line: Line) -> None:
        """Pass a line on if it is to be told."""
        now = line["timestamp"]
        self._told_at = now if self._told_at is None else self._told_at
        is_due = 0 < self._heartbeat_s <= now - self._told_at
        if self._only_changes and "debounced_status" not in line and not is_due:
            return
        self._told_at = now
        for sink in self._sinks:
            sink.line(line)

    def close(self) -> None:
        """Close the sinks."""
        for sink in self._sinks:
            sink.close()


def run(
    session: Session,
    pieces: Iterable[Piece],
    sinks: Sequence[Sink],
    *,
    outputs: Sequence[Sink] = (),
    seconds: float | None = None,
    on_piece: Callable[[Piece], None] = lambda _piece: None,
) -> None:
    """Send the lines of a session to sinks until the source ends, or `seconds` have passed.

    Parameters
    ----------
    outputs : sequence of Sink
        Take each line with ``on``; see the module.
    on_piece : callable
        Told of each piece before it is heard, to complain of what was lost.
    """

    def tell(lines: Iterable[Line]) -> None:
        for line in lines:
            for sink in sinks:
                sink.line(line)
            for output in outputs:
                output.line({**line, "on": session.engine.on})

    for piece in pieces:
        on_piece(piece)
        tell(session.hear(piece))
        if seconds is not None and session.elapsed_s >= seconds:
            return
    tell(session.finish())


def listen(
    session: Session,
    capture: Capture,
    sinks: Sequence[Sink],
    *,
    outputs: Sequence[Sink] = (),
    seconds: float | None = None,
    on_piece: Callable[[Piece], None] = lambda _piece: None,
) -> None:
    """`run` with the pieces of a capture, a sign of which comes at least once per hop."""
    pieces = capture.pieces(tick_s=session.engine.rule.hop_s)
    try:
        run(session, pieces, sinks, outputs=outputs, seconds=seconds, on_piece=on_piece)
    finally:
        pieces.close()  # type: ignore[attr-defined]
