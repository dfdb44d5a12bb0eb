"""Groups ``meter.signals`` and ``meter.signal_record``: the five signals on a clip, all given the same beat.

The record holds every signature that a signal can say, the signals the twelve of `schema.SIGNATURES`.

Conventions: a column is ``signal_signature``, the ``/`` written as ``_``; values 0 to 1, 0 without evidence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.cqt import cqt_chroma
from earmark.audio.downbeats import downbeat_activation
from earmark.audio.front_end import front_end
from earmark.audio.onset_rate import onset_envelope_at
from earmark.features.group import FeatureGroup, feature_group
from earmark.tasks.meter.groups.slots import (
    DEFAULT_TRACKERS,
    Trackers,
    present,
    primary_beats,
    slot_beats,
)
from earmark.tasks.meter.intervals import beat_interval_s
from earmark.tasks.meter.schema import FRAMES_PER_S, MIN_DURATION_S, SAMPLE_RATE, SIGNATURES
from earmark.tasks.meter.signals import (
    SIGNALS,
    Scores,
    autocorrelation_scores,
    bar_tracking_scores,
    harmonic_change_scores,
    spacing_scores,
)
from earmark.tasks.meter.signatures import RECORDED_SIGNATURES

__all__ = ["MIN_HARMONY_S", "SIGNAL_GROUP", "SIGNAL_RECORD", "is_sparse", "signal_columns"]

ENVELOPE_HOP = 441
ENVELOPE_FRAMES_PER_S = SAMPLE_RATE / ENVELOPE_HOP
MIN_HARMONY_S = 4.0
SPARSE_WINDOW_S = 5.0
SPARSE_LEVEL = 0.10
SPARSE_SHARE = 0.15


def signal_columns(signatures: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns, signal by signal."""
    return tuple(f"{signal}_{name.replace('/', '_')}" for signal in SIGNALS for name in signatures)


def is_sparse(clip: Clip) -> bool:
    """Whether fewer than 15 % of the samples exceed a tenth of the RMS of the first 5 s: hardly anything sounds."""
    opening = clip.samples[: int(SPARSE_WINDOW_S * clip.sample_rate)]
    level = float(np.sqrt(np.mean(np.square(opening, dtype=np.float64)))) if len(opening) else 0.0
    return not level or float(np.mean(np.abs(clip.samples) > SPARSE_LEVEL * level)) < SPARSE_SHARE


def signal_scores(clip: Clip, trackers: Trackers) -> dict[str, Scores]:
    """What each signal says of a clip; the beat of the primary tracker goes to every one of them."""
    ready = clip.memo(front_end)
    first, second, *_ = slot_beats(clip, trackers)
    beats = primary_beats(clip, trackers)
    beat_s = beat_interval_s(beats)
    envelope = ready.memo(onset_envelope_at, hop_length=ENVELOPE_HOP)
    harmony = (
        harmonic_change_scores(ready.memo(cqt_chroma), FRAMES_PER_S, beat_s)
        if clip.duration_s >= MIN_HARMONY_S
        else {}
    )
    bars = {} if is_sparse(ready) else bar_tracking_scores(downbeat_activation(ready, beats.times_s))
    return {
        "spacing_1": spacing_scores(first),
        "spacing_2": spacing_scores(second),
        "autocorr": autocorrelation_scores(envelope, ENVELOPE_FRAMES_PER_S, beat_s),
        "bar_tracking": bars,
        "hcdf": harmony,
    }


def score_row(scores: Mapping[str, Scores], signatures: Sequence[str]) -> NDArray[np.float64]:
    """Scores in the order of `signal_columns`; 0 where a signal does not speak of a signature."""
    return np.array([scores[signal].get(name, 0.0) for signal in SIGNALS for name in signatures])


def signals(clip: Clip, *, trackers: Trackers) -> NDArray[np.float64]:
    """The 60 columns of a clip."""
    return score_row(clip.memo(signal_scores, trackers=trackers), SIGNATURES)


def signal_record(clip: Clip, *, trackers: Trackers) -> NDArray[np.float64]:
    """All that the signals say of a clip."""
    return score_row(clip.memo(signal_scores, trackers=trackers), RECORDED_SIGNATURES)


SIGNAL_GROUP: FeatureGroup = feature_group(
    "meter.signals",
    columns=signal_columns(SIGNATURES),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
    parameters={"trackers": DEFAULT_TRACKERS},
    reuses=present(DEFAULT_TRACKERS),
)(signals)

SIGNAL_RECORD: FeatureGroup = feature_group(
    "meter.signal_record",
    columns=signal_columns(RECORDED_SIGNATURES),
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
    parameters={"trackers": DEFAULT_TRACKERS},
    reuses=present(DEFAULT_TRACKERS),
)(signal_record)
