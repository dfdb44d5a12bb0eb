"""A recording that was sent, answered in a worker step by step: decoded, its windows read one by one, answered.

Each step is a question of its own to the worker (`earmark.web.answers`), so that what is told of the progress has
happened, other questions are answered between the windows of a long recording, and one whose sender left is given up.
The answer is that of a batch to the last bit, whatever the cache holds. The cache is left alone: it keeps sentences
about files by their content, and would tell the name under which somebody else knew the file.

Conventions: seconds from the start of the recording; samples at 22 050 Hz.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import DecodeError, EarmarkError, InputError, SilentError, TooShortError, WorkerError
from earmark.web.meter.opened import analyst_of

if TYPE_CHECKING:
    from earmark.audio.clip import Clip
    from earmark.audio.spool import Spool
    from earmark.features.table import ItemFailure
    from earmark.tasks.meter.serving.failures import Failure
    from earmark.tasks.meter.serving.predict import Analyst
    from earmark.tasks.meter.serving.reading import Reading, WindowRows
    from earmark.tasks.meter.serving.windows import Layout

__all__ = ["LONGEST_S", "Decoded", "answer", "decode", "forget", "track"]

LONGEST_S = 4 * 3600.0
"""A small file may hold days of silence; on the disk four hours take 1.3 GB."""

_UNUSABLE = {"undecodable": DecodeError, "too_short": TooShortError, "silent": SilentError}
"""Codes of failures that are of the recording, not of the program."""


@dataclass(frozen=True)
class Decoded:
    """A recording as far as it is known before its windows are read."""

    duration_s: float
    n_windows: int


@dataclass
class _Sent:
    """A recording between its steps: decoded at every rate, and the windows read so far."""

    name: str
    analyst: Analyst
    spools: dict[int, Spool]
    rows: list[WindowRows | ItemFailure] = field(default_factory=list)

    @property
    def whole(self) -> Spool:
        from earmark.tasks.meter.schema import SAMPLE_RATE

        return self.spools[SAMPLE_RATE]

    @property
    def layout(self) -> Layout:
        from earmark.tasks.meter.serving.windows import planned

        return planned(self.name, self.whole.n_samples / self.whole.sample_rate)

    def close(self) -> None:
        """Give the decoded samples up now: an error that is being told still holds the recording."""
        for spooled in self.spools.values():
            spooled.file.close()


_sent: dict[str, _Sent] = {}
"""Of this worker, by key."""


def decode(key: str, folder: Path, path: Path, name: str) -> Decoded:
    """Take a recording up, and decode it.

    Parameters
    ----------
    key : str
        What the next steps name it by, until `forget`.
    folder : Path
        The project that answers.
    path : Path
        Where the file lies.
    name : str
        What its sender calls it: messages and the answer do, too.

    Raises
    ------
    DecodeError
        It is no audio, or broken.
    InputError
        It is longer than `LONGEST_S`.
    """
    from earmark.audio.decode import probe
    from earmark.audio.spool import spool
    from earmark.tasks.meter.schema import SAMPLE_RATE

    analyst = analyst_of(folder)
    rates = {SAMPLE_RATE, *(group.sample_rate for group in analyst.reader.groups)}
    try:
        _require_length(name, probe(path).duration_s)
        sent = _Sent(name, analyst, {rate: spool(str(path), sample_rate=rate) for rate in sorted(rates)})
    except DecodeError as problem:
        raise DecodeError(str(problem).replace(str(path), name)) from None
    _sent[key] = sent
    duration_s = sent.whole.n_samples / SAMPLE_RATE
    _require_length(name, duration_s)  # what a header says may be a guess
    return Decoded(duration_s, len(sent.layout.starts_s))


def track(key: str, number: int) -> None:
    """Read a window: its beats and features; they are read in order."""
    from earmark.tasks.meter.serving.reading import read_clips

    sent = _of(key)
    clips = {rate: _window(sent, spooled, number) for rate, spooled in sent.spools.items()}
    sent.rows.append(read_clips(clips, sent.analyst.reader.groups, sent.analyst.slots, sent.name))


def answer(key: str, n_peaks: int | None = None) -> dict[str, Any]:
    """The document about a recording whose windows have been read, with the key ``peaks`` where they are wanted.

    Raises
    ------
    InputError
        The recording is too short or silent.
    EarmarkError
        Its features could not be computed.
    """
    from earmark.tasks.meter.analysis.document import document
    from earmark.tasks.meter.serving.failures import Failure

    sent = _of(key)
    outcome = sent.analyst.of(_reading(sent))
    if isinstance(outcome, Failure):
        raise _UNUSABLE.get(outcome.code, EarmarkError)(outcome.error)
    peaks = {} if n_peaks is None else {"peaks": _peaks(sent.whole, n_peaks)}
    return {**document(outcome), **peaks}


def forget(key: str) -> None:
    """Give a recording up, whatever step it was at."""
    sent = _sent.pop(key, None)
    if sent is not None:
        sent.close()


def _of(key: str) -> _Sent:
    try:
        return _sent[key]
    except KeyError:
        raise WorkerError(
            "The process that computes answers was started anew while this recording was analysed. Send it again."
        ) from None


def _require_length(name: str, duration_s: float) -> None:
    if duration_s > LONGEST_S:
        raise InputError(
            f"`{name}` is {duration_s / 3600:.1f} h long; expected {LONGEST_S / 3600:g} h or less. "
            "Cut it, or run: earmark predict meter FILE"
        )


def _window(sent: _Sent, spooled: Spool, number: int) -> Clip:
    from earmark.audio.clip import Clip
    from earmark.audio.fragment import Span
    from earmark.tasks.meter.schema import WHOLE_S, WINDOW_S

    layout = sent.layout
    start_s = layout.starts_s[number]
    window = spooled.cut(Span(start_s, start_s + (WINDOW_S if layout.n_windows else WHOLE_S)))
    return Clip(window.samples, window.sample_rate, layout.uris[number])


def _reading(sent: _Sent) -> Reading | Failure:
    from earmark.features.table import ItemFailure
    from earmark.tasks.meter.serving.failures import Failure, code_of
    from earmark.tasks.meter.serving.reading import Reading

    failures = [one for one in sent.rows if isinstance(one, ItemFailure)]
    if len(failures) == len(sent.rows):
        return Failure(sent.name, code_of(failures[0].kind), failures[0].error)
    return Reading(sent.name, sent.layout.starts_s, tuple(sent.rows))


def _peaks(spooled: Spool, n_parts: int) -> dict[str, list[float]]:
    """Lowest and highest sample of equal parts; no more parts than samples."""
    samples: NDArray[np.float32] = np.memmap(spooled.file, dtype=np.float32, mode="r")
    n = min(n_parts, len(samples))
    starts = np.arange(n) * len(samples) // n
    edges = {"min": np.minimum.reduceat(samples, starts), "max": np.maximum.reduceat(samples, starts)}
    return {name: values.astype(np.float64).round(4).tolist() for name, values in edges.items()}
