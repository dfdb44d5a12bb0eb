"""Window probabilities of spliced recordings, by models that had not heard them.

A fold of a run left recordings out: its own model answers splices of these. Sealed audio takes no part: a recording is
read only where the windows that the fold scored lie without a break, and only while no device switches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from earmark.audio.clip import Clip
from earmark.audio.decode import decode
from earmark.audio.fragment import Span, cut, split_fragment
from earmark.errors import UsageError
from earmark.tasks.appliance.detector import Detector
from earmark.tasks.appliance.evaluation.changes import Trace
from earmark.tasks.appliance.evaluation.splice import Piece, Spliced, random_pieces, splice
from earmark.tasks.appliance.references import SoFar
from earmark.tasks.appliance.schema import Devices
from earmark.tasks.appliance.windows import Windowing

if TYPE_CHECKING:
    import polars as pl

    from earmark.training.runs import Run

__all__ = ["Stretch", "fold_detector", "spliced_trace", "spliced_traces", "steady_stretches", "trace_of"]

_GAP_S = 1e-3
"""Windows this much further apart than a hop do not follow each other."""

_BATCH = 32
"""Windows that a detector is asked of at a time: memory stays flat."""


@dataclass(frozen=True)
class Stretch:
    """Part of a recording, in seconds, with known facts that hold throughout."""

    uri: str
    start_s: float
    end_s: float
    facts: Mapping[str, bool]


def trace_of(spliced: Spliced, detector: Detector) -> Trace:
    """What a detector says of every window of a splice."""
    clip = spliced.clip
    windowing = Windowing(detector.window_s, detector.hop_s, detector.sample_rate)
    starts_s = windowing.starts_s(len(clip.samples))
    firsts = windowing.first_samples(starts_s)
    batches = np.split(firsts, range(_BATCH, len(firsts), _BATCH))
    reference = SoFar()  # as a stream hears it
    said = [
        detector.probabilities([_window(clip, first, windowing) for first in batch], reference)
        for batch in batches
    ]
    return Trace(
        p=np.concatenate(said).astype(np.float64),
        ends_s=starts_s + detector.window_s,
        starts_s=spliced.starts_s,
        facts=spliced.facts,
        duration_s=clip.duration_s,
    )


def steady_stretches(table: pl.DataFrame, uris: Mapping[str, str], devices: Devices) -> list[Stretch]:
    """Where windows of known and equal truth overlap without a break.

    Parameters
    ----------
    table : polars.DataFrame
        Rows of one fold: ``id``, ``recording_id``, ``start_sec``, ``end_sec`` and ``y_<device>``, as in
        ``out_of_fold.parquet``.
    uris : mapping of window id to uri
        As of the manifest.
    devices : Devices
    """
    truths = [f"y_{name}" for name in devices.names]
    known = table.drop_nulls(truths).sort("recording_id", "start_sec")
    found: list[Stretch] = []
    last: tuple[str, tuple[int, ...]] | None = None
    for id, recording, start_s, end_s, *y in known.select(
        "id", "recording_id", "start_sec", "end_sec", *truths
    ).iter_rows():
        key = (recording, tuple(y))
        if key == last and start_s <= found[-1].end_s + _GAP_S:
            found[-1] = replace(found[-1], end_s=end_s)
        else:
            facts = {name: bool(value) for name, value in zip(devices.names, y, strict=True)}
            found.append(Stretch(split_fragment(uris[id])[0], start_s, end_s, facts))
        last = key
    return found


def spliced_traces(
    run: Run,
    uris: Mapping[str, str],
    *,
    n_pieces: int = 24,
    stay_s: tuple[float, float] = (20.0, 40.0),
    seed: int = 0,
    hop_s: float | None = None,
) -> Iterator[Trace]:
    """A splice per fold of a run, answered every `hop_s` by the fold's model, calibrated as the final one is.

    Folds that left out recordings of a single state are passed over: nothing switches in them.

    Raises
    ------
    UsageError
        No fold left out two states.
    """
    detector, n_given = Detector.load(run), 0
    if hop_s is not None:
        detector = replace(detector, hop_s=hop_s)
    for number, table in run.out_of_fold().partition_by("fold", as_dict=True, maintain_order=True).items():
        stretches = steady_stretches(table, uris, detector.devices)
        if len({tuple(one.facts.items()) for one in stretches}) < 2:
            continue
        asked = fold_detector(run, detector, int(number[0])).calibrated_as(detector)
        yield spliced_trace(stretches, asked, n_pieces=n_pieces, seed=seed + n_given, stay_s=stay_s)
        n_given += 1
    if not n_given:
        raise UsageError(
            f"no fold of `{run.name}` left out recordings of two states; expected one, to splice them. "
            "Train with --protocol swap."
        )


def spliced_trace(
    stretches: Sequence[Stretch],
    detector: Detector,
    *,
    n_pieces: int = 24,
    stay_s: tuple[float, float] = (20.0, 40.0),
    seed: int = 0,
) -> Trace:
    """One splice of pieces of stretches, answered by a detector."""
    pieces = random_pieces(
        _read(stretches, detector.sample_rate), n_pieces=n_pieces, seed=seed, stay_s=stay_s
    )
    return trace_of(splice(list(pieces)), detector)


def fold_detector(run: Run, detector: Detector, fold: int) -> Detector:
    """The detector of a run with the model of one of its folds."""
    from earmark.tasks.appliance.layers import load_layer

    return replace(detector, layer=load_layer(run.path / "folds" / str(fold)), hash="")


def _read(stretches: Sequence[Stretch], sample_rate: int) -> list[Piece]:
    """Each recording is decoded once."""
    pieces = []
    for uri in dict.fromkeys(one.uri for one in stretches):
        clip = decode(uri, sample_rate=sample_rate)
        pieces += [
            Piece(cut(clip, Span(one.start_s, one.end_s)), one.facts) for one in stretches if one.uri == uri
        ]
    return pieces


def _window(clip: Clip, first: int, windowing: Windowing) -> Clip:
    return Clip(clip.samples[first : first + windowing.window_samples], clip.sample_rate)
