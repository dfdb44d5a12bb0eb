"""From the rows of a recording's windows to the answer about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from earmark.errors import SilentError
from earmark.features.table import ItemFailure
from earmark.tasks.meter.analysis.recording import Analysis, Window, analyse
from earmark.tasks.meter.analysis.tempo import DP_CONFIDENCE, Candidate
from earmark.tasks.meter.groups.evidence import Length
from earmark.tasks.meter.schema import SAMPLE_RATE
from earmark.tasks.meter.serving.model import Answerer
from earmark.tasks.meter.serving.reading import Reading, WindowRows
from earmark.tasks.meter.serving.stitching import Piece, stitched, window_bars
from earmark.tasks.meter.settings import MeterSettings
from earmark.tasks.meter.trackers.alignment import alignment, trust
from earmark.tasks.meter.trackers.registry import Slot
from earmark.tasks.meter.trackers.rows import Beats

__all__ = ["answer"]

SILENT_BELOW = 1e-4
"""Peak of full scale, -80 dB: nothing is heard, and no model is asked."""


def answer(
    reading: Reading, answerer: Answerer, slots: Sequence[Slot], settings: MeterSettings, **how: object
) -> Analysis:
    """The answer about a recording.

    Parameters
    ----------
    reading : Reading
    answerer : Answerer
    slots : sequence of Slot
        The trackers; those that are absent are named in the warnings.
    settings : MeterSettings
    **how
        Fields of `Analysis` that differ from those of a file, such as ``source_type``.

    Raises
    ------
    SilentError
        Nothing is heard in any window.
    """
    heard = {
        i: one for i, one in enumerate(reading.windows) if isinstance(one, WindowRows) and not _is_silent(one)
    }
    if not heard:
        raise SilentError(
            f"`{reading.path}` is silent: its peak is below -80 dB of full scale. Expected music. Check the recording."
        )
    tracker, aligned = _primary(list(heard.values()))
    spoken = [_said_of(i, reading, heard, answerer) for i in range(len(reading.windows))]
    pieces = [_piece(reading.starts_s[i], one, tracker) for i, one in heard.items()]
    analysis = analyse(
        reading.path,
        _end_s(len(reading.windows) - 1, reading),
        spoken,
        stitched(pieces),
        _estimates([one.length for one in heard.values()], settings),
        answerer.speaker,
        limit=settings.max_meter_hypotheses,
        warnings=_warnings(reading, slots, len(heard), aligned),
    )
    return _replaced(analysis, how)


def _replaced(analysis: Analysis, how: Mapping[str, object]) -> Analysis:
    from dataclasses import replace

    return replace(analysis, **how) if how else analysis  # type: ignore[arg-type]


def _is_silent(window: WindowRows) -> bool:
    return window.length.peak < SILENT_BELOW


def _end_s(i: int, reading: Reading) -> float:
    """Where a window ends; one that failed is taken to reach to the next, or is the shortest there is."""
    one = reading.windows[i]
    if isinstance(one, WindowRows):
        return reading.starts_s[i] + one.length.n_samples / SAMPLE_RATE
    return reading.starts_s[i + 1] if i + 1 < len(reading.starts_s) else _end_s(i - 1, reading)


def _said_of(i: int, reading: Reading, heard: Mapping[int, WindowRows], answerer: Answerer) -> Window:
    said = answerer.probabilities(heard[i].features)[0] if i in heard else None
    return Window(reading.starts_s[i], _end_s(i, reading), said)


def _piece(start_s: float, window: WindowRows, tracker: str | None) -> Piece:
    beats = window.beats[tracker] if tracker is not None else Beats.none()
    bars = window_bars(start_s, beats, window.onsets, window.accents, window.length.peak)
    return Piece(start_s, start_s + window.length.n_samples / SAMPLE_RATE, bars)


def _primary(windows: Sequence[WindowRows]) -> tuple[str | None, float]:
    """The tracker that sits best on the onsets in the mean over the windows, among those that know bars if any does.

    One tracker speaks for the whole recording: its beats run on across the windows.
    """
    names = list(windows[0].beats)
    if not names:
        return None, 0.0
    with_bars = [name for name in names if any((one.beats[name].positions > 0).any() for one in windows)]
    aligned = {
        name: float(
            np.mean([alignment(one.beats[name].times_s, one.onsets[:, 0].astype(float)) for one in windows])
        )
        for name in with_bars or names
    }
    best = max(aligned, key=lambda name: aligned[name])
    return best, aligned[best]


def _estimates(lengths: Sequence[Length], settings: MeterSettings) -> list[Candidate]:
    """Tempo estimates besides that of the beats, medians over the windows, as far as they are believed."""
    dp = [one.dp_bpm for one in lengths if one.dp_bpm > 0]
    tempograms = [one for one in lengths if one.tempogram_bpm > 0]
    found = [Candidate("dp", float(np.median(dp)), DP_CONFIDENCE)] if dp else []
    if tempograms:
        bpm = float(np.median([one.tempogram_bpm for one in tempograms]))
        confidence = float(np.median([one.tempogram_confidence for one in tempograms]))
        found.append(Candidate("tempogram", bpm, confidence))
    return [one for one in found if settings.min_bpm <= one.bpm <= settings.max_bpm]


def _warnings(reading: Reading, slots: Sequence[Slot], n_heard: int, aligned: float) -> list[str]:
    failures = [one for one in reading.windows if isinstance(one, ItemFailure)]
    n_silent = len(reading.windows) - n_heard - len(failures)
    found = [slot.reason for slot in slots if slot.group is None]
    if n_silent:
        found.append(f"{n_silent} of {len(reading.windows)} windows are silent.")
    if failures:
        found.append(f"{len(failures)} of {len(reading.windows)} windows have no answer: {failures[0].error}")
    if not trust(aligned):
        found.append("The beats do not sit on the onsets; tempo, beats and sections may be wrong.")
    return found
