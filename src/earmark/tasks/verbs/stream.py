"""`stream`: what a model says of a recording while it runs: a line every few seconds, and one of the whole.

A file is decoded as in a batch; standard input gives raw samples, or a file's bytes. The bytes of a file are read to
their end before the first line, since only then is it known whether the file is whole; raw samples are answered as
they come. The last line is the answer of `predict` for the same samples: for a file it comes through the same cache.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from earmark.audio.decode import decode
from earmark.cache.data_files import exempt
from earmark.errors import InputError, UsageError
from earmark.inference.pcm import PcmDecoder, PcmFormat
from earmark.inference.prediction import Failed, Prediction
from earmark.inference.smoothing import Hysteresis, Segment
from earmark.inference.stream import Stream, Tick
from earmark.inference.windows import Windowing
from earmark.tasks.project import Project
from earmark.tasks.task import Task
from earmark.tasks.verbs.predict import predictor_for
from earmark.training.runs import Run

__all__ = ["STDIN", "StreamOptions", "Streaming", "stream"]

STDIN = "<stdin>"
"""What a stream from standard input is called in lines and messages."""

READ_BYTES = 1 << 16
_SAID_ONCE = ("path", "run")  # the same in every line, so only the last one has them


@dataclass(frozen=True)
class StreamOptions:
    """How a stream is answered.

    Parameters
    ----------
    windowing : Windowing
        A line every ``every_s`` seconds about the last ``window_s`` seconds.
    rule : Hysteresis
        When the label changes.
    final : bool
        Give the answer of the whole; without it, and without ``so_far``, raw samples need the memory of one window.
    realtime : bool
        Give each line no earlier than a listener would hear its end.
    """

    windowing: Windowing = field(default_factory=Windowing)
    rule: Hysteresis = field(default_factory=Hysteresis)
    final: bool = True
    realtime: bool = False


def stream(
    project: Project,
    source: str | BinaryIO,
    *,
    pcm: PcmFormat | None = None,
    options: StreamOptions | None = None,
    run: str | None = None,
    method: str = "model",
    threshold: float | None = None,
    use_cache: bool = True,
) -> Streaming:
    """Open a stream; nothing is heard before its lines are asked for.

    Parameters
    ----------
    source : str or binary file
        A path or URI, or an open file such as ``sys.stdin.buffer``.
    pcm : PcmFormat, optional
        What the raw samples of an open file are; None where it holds the bytes of an audio file.
    run, method, threshold
        As for `predict`.
    use_cache : bool
        Ask and fill the cache for the answer of a whole file.

    Raises
    ------
    UsageError
        Raw samples from a path, a method that the task does not have, a window that is too short.
    RunError
        No run yet.
    """
    if pcm is not None and isinstance(source, str):
        raise UsageError(
            f"raw samples are read from standard input, not from `{source}`. Give - and pipe them."
        )
    predictor, chosen = predictor_for(
        project, run=run, method=method, threshold=threshold, workers=0, use_cache=use_cache
    )
    options = options or StreamOptions()
    name = source if isinstance(source, str) else STDIN
    heard = Stream(predictor, name, windowing=options.windowing, rule=options.rule, keep=options.final)
    return Streaming(project.task, heard, source, pcm, options, chosen)


@dataclass(frozen=True)
class Streaming:
    """An open stream: `lines` once, then `timeline`.

    ``run`` is the run that answers, None where only rules do.
    """

    task: Task
    stream: Stream
    source: str | BinaryIO
    pcm: PcmFormat | None
    options: StreamOptions
    run: Run | None

    def lines(self) -> Iterator[dict[str, Any]]:
        """The stream as JSON objects, each as soon as it is known.

        A line has ``t`` (seconds), ``label`` (the state, null before there is one), ``since`` (when it began),
        ``window`` (start, end), ``so_far`` (``t``, ``label``, ``probabilities`` of everything up to there) and the
        task's fields of a prediction for the window, all null where it has none; ``error`` where a feature failed.
        ``confidence`` is that of the class chosen for the window, which need not be the label. The last line has
        ``t``, ``final``, the whole document of a prediction and ``timeline``.

        Raises
        ------
        InputError
            The input is no audio, is cut short, or has no answer as a whole.
        """
        started = time.monotonic()
        for tick in self._ticks():
            self._wait_until(started + tick.t_s)
            yield self._line(tick)
        if self.options.final:
            answer = self._whole()
            self._wait_until(started + self.stream.duration_s)
            yield self._last_line(answer)

    @property
    def classes(self) -> tuple[str, ...]:
        """The keys of ``probabilities``, in order."""
        return self.stream.predictor.method.classes

    def timeline(self) -> tuple[Segment, ...]:
        """The labels of what was heard so far as spans."""
        return self.stream.timeline()

    def _ticks(self) -> Iterator[Tick]:
        if self.pcm is None or isinstance(self.source, str):
            yield from self._ticks_of_file()
        else:
            yield from self._ticks_of_pcm(self.source, self.pcm)
        yield from self.stream.finish()

    def _ticks_of_file(self) -> Iterator[Tick]:
        source = self.source if isinstance(self.source, str) else _Bytes(self.source.read())
        with exempt(self.stream.name):
            clips = {rate: decode(source, sample_rate=rate).samples for rate in self.stream.rates}
        yield from self.stream.hear(clips)

    def _ticks_of_pcm(self, source: BinaryIO, pcm: PcmFormat) -> Iterator[Tick]:
        decoder = PcmDecoder(pcm, self.stream.rates, self.stream.name)
        # Of a pipe `read` waits for the full number of bytes; a line must not wait for those after it.
        read = getattr(source, "read1", source.read)
        while data := read(READ_BYTES):
            yield from self.stream.hear(decoder.push(data))
        yield from self.stream.hear(decoder.finish())

    def _whole(self) -> Prediction:
        predictor = self.stream.predictor
        if not isinstance(self.source, str) or predictor.extractor.cache is None:
            return self.stream.whole()
        [outcome] = predictor.predict([self.source])
        if isinstance(outcome, Failed):
            raise InputError(outcome.error)
        return outcome

    def _line(self, tick: Tick) -> dict[str, Any]:
        head: dict[str, Any] = {"t": tick.t_s, "label": tick.label, "since": tick.since_s}
        head["window"] = list(tick.window_s)
        head["so_far"] = tick.so_far and {
            "t": tick.so_far.t_s,
            "label": tick.so_far.answer.label,
            "probabilities": dict(tick.so_far.answer.probabilities),
        }
        fields = self._document(tick.answer or self._no_answer())
        if tick.answer is None:
            fields = dict.fromkeys(fields)
        body = {name: value for name, value in fields.items() if name not in _SAID_ONCE and name not in head}
        return head | body | ({"error": tick.error} if tick.error else {})

    def _last_line(self, answer: Prediction) -> dict[str, Any]:
        spans = [
            {"start": one.start_s, "end": one.end_s, "label": one.label} for one in self.stream.timeline()
        ]
        head = {"t": self.stream.duration_s, "final": True}
        return head | self._document(answer) | {"timeline": spans}

    def _document(self, answer: Prediction) -> dict[str, Any]:
        return self.task.outputs.document(answer) if self.task.outputs else answer.to_json()

    def _no_answer(self) -> Prediction:
        """Stands for the missing answer, so that a line without one has the same fields as the others."""
        predictor = self.stream.predictor
        names = (*predictor.extras, "method")
        nothing = dict.fromkeys(self.classes, 0.0)
        return Prediction(self.stream.name, predictor.uncertain, 0.0, nothing, dict.fromkeys(names))

    def _wait_until(self, due: float) -> None:
        if self.options.realtime:
            time.sleep(max(0.0, due - time.monotonic()))


class _Bytes(io.BytesIO):
    """The bytes of a file from standard input; the decoder's messages name it so."""

    name = STDIN
