"""Where a DJ's cues belong in a track: its beat grid, and its drops moved onto it.

Two feature groups of kind ``events`` hold what has to be heard: `beat_events`, one row per tracked beat, and
`drop_events`, one row per breakdown -> drop. The engine keeps both, so a second export opens no audio. All else
here is arithmetic on those rows.

Conventions
-----------
Times are seconds from the start of the decoded file. A beat time is the attack that is heard: the tracker reads
spectral flux, whose maximum lies about 30 ms behind it, so one lag per track is measured on the waveform and
taken off. Beats of a bar are counted 1 to 4. **Which beat is the first of a bar is an estimate**: the phase at
which the spectrum changes most from the four beats before to the four after, since parts, chords and drops
begin with a bar. All functions look at the whole track.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from earmark.audio.clip import Clip
from earmark.audio.mel import log_mel
from earmark.audio.spectrum import rms
from earmark.audio.tempo import beat_frames, beat_times_s
from earmark.features.group import feature_group
from earmark.features.item import Item
from earmark.features.sets import FeatureSet
from earmark.tasks.zones.drops import FULL_RATE, median_smooth
from earmark.tasks.zones.features import HOP_S, full_rate_drops
from earmark.tasks.zones.frames import MIN_DURATION_S, SAMPLE_RATE

if TYPE_CHECKING:
    from earmark.tasks.project import Project

__all__ = [
    "CUES",
    "MAX_HOT_CUES",
    "BeatGrid",
    "Cue",
    "Cues",
    "Segment",
    "beat_events",
    "cues_of_events",
    "drop_events",
    "fit_grid",
    "track_cues",
]

MAX_HOT_CUES = 8
"""Pads of the usual controller, A to H."""

BEATS_PER_BAR = 4
BLOCK = 64  # samples, 2.9 ms: resolution of the attack
EARLIEST_S = 0.06  # how far before the tracked beat the attack may lie; it is never after it
SPAN_BEATS = 16  # a tempo over four bars is not disturbed by the 23 ms of a frame
STEADY_TOLERANCE = 0.12  # of a beat; a tracked beat this near to the straight grid agrees with it
LOUD_BEFORE_S = 2.0  # what is loud for less has nothing to break down
STEADY_SHARE = 0.85  # so many beats must agree for one tempo to stand for the track


@feature_group(
    "zones.beat_events",
    columns=("time_s", "novelty_db"),
    kind="events",
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def beat_events(clip: Clip) -> np.ndarray:
    """Tracked beats: time of the attack, and how much the spectrum changes there from one bar to the next.

    The change is the mean absolute difference in dB, over mel bands, of the four beats after and before; 0 where
    there are fewer than four on a side.
    """
    times_s = clip.memo(beat_times_s)
    if not len(times_s):
        return np.zeros((0, 2))
    lag_s = attack_lag_s(clip.samples, times_s)
    return np.column_stack([np.maximum(times_s - lag_s, 0), _novelty(clip)])


@feature_group(
    "zones.drop_events",
    columns=("time_s", "breakdown_s", "contrast", "intensity"),
    kind="events",
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
)
def drop_events(clip: Clip) -> np.ndarray:
    """Breakdown -> drop of the full-rate detector: the hit, where the level fell before it, how strong it is.

    `breakdown_s` is the last moment before the valley at which the level was half way between valley and peak, 0
    if it never was; `contrast` is (peak - valley) / mean and `intensity` peak / mean of the track's level.
    """
    found = clip.memo(full_rate_drops)
    if not len(found):
        return np.zeros((0, 4))
    curve = median_smooth(np.asarray(clip.memo(rms), dtype=np.float64), FULL_RATE.smoothing_frames)
    half = (found.valley + found.peak) / 2
    hits = np.rint(found.time_s / HOP_S).astype(int)
    fell_s = [_fell_before(curve, hit, level) * HOP_S for hit, level in zip(hits, half, strict=True)]
    return np.column_stack([found.time_s, fell_s, found.contrast, found.peak / found.mean])


CUES = FeatureSet("cues", (beat_events, drop_events))
"""What `track_cues` asks the engine for."""


def attack_lag_s(samples: np.ndarray, times_s: np.ndarray, sample_rate: int = SAMPLE_RATE) -> float:
    """By how much tracked beats lie behind the attacks, seconds: one number for a track, 0 without an attack.

    The steepest rise of the energy, in blocks of 2.9 ms, summed over all beats, in the 60 ms before the tracked beat.
    """
    n_blocks = len(samples) // BLOCK
    energy = np.square(samples[: n_blocks * BLOCK].reshape(n_blocks, BLOCK), dtype=np.float32).mean(axis=1)
    # The square root keeps one loud beat from speaking for all.
    rise = np.maximum(np.diff(np.sqrt(energy), prepend=0), 0)
    offsets = np.arange(-round(EARLIEST_S * sample_rate / BLOCK), 1)
    at = np.rint(times_s * sample_rate / BLOCK).astype(int)[:, None] + offsets
    inside = (at >= 0) & (at < n_blocks)
    profile = np.where(inside, rise[np.clip(at, 0, max(n_blocks - 1, 0))], 0).sum(axis=0)
    return float(-offsets[np.argmax(profile)] * BLOCK / sample_rate) if profile.any() else 0.0


def _novelty(clip: Clip) -> np.ndarray:
    """Change of the spectrum from the four beats before each beat to the four after, dB, shape (n_beats,)."""
    beats, level_db = clip.memo(beat_frames), clip.memo(log_mel)
    ends = np.append(beats[1:], len(level_db))
    total = np.vstack([np.zeros((1, level_db.shape[1])), np.cumsum(level_db, axis=0, dtype=np.float64)])
    novelty = np.zeros(len(beats))
    for index in range(BEATS_PER_BAR, len(beats) - BEATS_PER_BAR + 1):
        start, here, end = (
            beats[index - BEATS_PER_BAR],
            beats[index],
            ends[index + BEATS_PER_BAR - 1],
        )
        before = (total[here] - total[start]) / max(here - start, 1)
        after = (total[end] - total[here]) / max(end - here, 1)
        novelty[index] = np.abs(after - before).mean()
    return novelty


def _fell_before(curve: np.ndarray, hit: int, level: float) -> int:
    """Frame at which the curve was last above a level before it fell to what precedes the hit; 0 if never."""
    low = hit - 1
    while low > 0 and curve[low] >= level:
        low -= 1
    above = np.flatnonzero(curve[:low] >= level)
    return int(above[-1]) + 1 if len(above) else 0


@dataclass(frozen=True)
class Segment:
    """A stretch of steady tempo: time of its first beat, tempo, and that beat's place in the bar, 1 to 4."""

    start_s: float
    bpm: float
    beat_in_bar: int


@dataclass(frozen=True)
class BeatGrid:
    """Beats of a track and the tempo segments that say the same.

    Parameters
    ----------
    times_s : ndarray, shape (n_beats,)
        Ascending.
    beat_in_bar : ndarray of int, shape (n_beats,)
        1 to 4; the place of the first beat is estimated.
    segments : tuple of Segment
        One for a steady track; one per bar where the tempo moves; none without beats.
    """

    times_s: np.ndarray
    beat_in_bar: np.ndarray
    segments: tuple[Segment, ...]

    @property
    def bpm(self) -> float:
        """Average tempo; 0 without beats."""
        if len(self.segments) == 1:
            return self.segments[0].bpm
        span_s = self.times_s[-1] - self.times_s[0] if len(self.times_s) > 1 else 0.0
        return float(60 * (len(self.times_s) - 1) / span_s) if span_s > 0 else 0.0

    @property
    def first_beat_s(self) -> float | None:
        """Time of the first beat; None without beats."""
        return float(self.times_s[0]) if len(self.times_s) else None

    def snap(self, time_s: float) -> float:
        """The start of a bar within one beat of a time, else the nearest beat; the time itself without beats.

        A hit is found to a few hundredths of a second, so it is never moved by more than a beat, even if the
        estimate of the bar is wrong.
        """
        if not len(self.times_s):
            return time_s
        distance_s = np.abs(self.times_s - time_s)
        nearest = int(np.argmin(distance_s))
        bars = np.flatnonzero(self.beat_in_bar == 1)
        if len(bars):
            bar = int(bars[np.argmin(distance_s[bars])])
            if abs(bar - nearest) <= 1 and distance_s[bar] <= self._beat_s(nearest):
                return float(self.times_s[bar])
        return float(self.times_s[nearest]) if distance_s[nearest] <= self._beat_s(nearest) else time_s

    def _beat_s(self, index: int) -> float:
        around = self.times_s[max(index - 1, 0) : index + 2]
        return float(np.diff(around).mean()) if len(around) > 1 else 0.0


@dataclass(frozen=True)
class Cue:
    """A drop: the time of its cue, on the grid, the hit that was heard, the breakdown before it, its strength.

    There is no breakdown where the track has not been loud for two seconds before: then this is how it begins.
    """

    time_s: float
    hit_s: float
    breakdown_s: float | None
    contrast: float
    intensity: float


@dataclass(frozen=True)
class Cues:
    """What a track's cue points are made of.

    Parameters
    ----------
    grid : BeatGrid
    drops : tuple of Cue
        At most eight, those of the highest contrast, in time order.
    """

    grid: BeatGrid = field(repr=False)
    drops: tuple[Cue, ...]


def track_cues(project: Project, uris: Sequence[str]) -> dict[str, Cues]:
    """Beat grid and drops of tracks, through the project's cache.

    Parameters
    ----------
    project : Project
    uris : sequence of str
        Paths or URIs; repeats count once.

    Returns
    -------
    dict
        By URI, in the order given; a track that cannot be read has no entry.
    """
    items = [Item(uri, uri) for uri in dict.fromkeys(uris)]
    if not items:
        return {}
    table = project.extract(CUES.groups, items)
    rows = zip(table.ids, table.frames(beat_events.name), table.frames(drop_events.name), strict=True)
    return {uri: cues_of_events(beats, drops) for uri, beats, drops in rows}


def cues_of_events(beats: np.ndarray, drops: np.ndarray) -> Cues:
    """Cues from the rows of `beat_events` and `drop_events`."""
    beats, drops = np.asarray(beats, dtype=np.float64), np.asarray(drops, dtype=np.float64)
    grid = fit_grid(beats[:, 0], beats[:, 1])
    strongest = np.sort(np.argsort(-drops[:, 2], kind="stable")[:MAX_HOT_CUES])
    cues = [
        Cue(
            grid.snap(hit_s),
            float(hit_s),
            grid.snap(fell_s) if fell_s >= LOUD_BEFORE_S else None,
            float(contrast),
            float(intensity),
        )
        for hit_s, fell_s, contrast, intensity in drops[strongest]
    ]
    return Cues(grid, tuple({cue.time_s: cue for cue in cues}.values()))


def fit_grid(times_s: np.ndarray, novelty: np.ndarray) -> BeatGrid:
    """A beat grid from tracked beats: straight where the tempo holds, else the beats themselves.

    Parameters
    ----------
    times_s, novelty : ndarray, shape (n_beats,)
        Ascending times, and how much begins at each of them.

    Returns
    -------
    BeatGrid
        Straight if at least 85 % of the beats lie within 0.12 beats of one line; its beats then run from the
        first one after 0 s to the last tracked one. Without two beats there is none.
    """
    if len(times_s) < 2:
        return BeatGrid(np.zeros(0), np.zeros(0, dtype=int), ())
    start_s, period_s, agree = _line(times_s)
    if agree < STEADY_SHARE:
        place = _places(np.arange(len(times_s)), novelty, np.arange(len(times_s)))
        return BeatGrid(times_s, place, _segments_per_bar(times_s, place))
    first = start_s % period_s
    count = 1 + round((times_s[-1] - first) / period_s)
    grid_s = first + period_s * np.arange(count)
    heard = np.rint((times_s - first) / period_s).astype(int)
    place = _places(heard, novelty, np.arange(count))
    return BeatGrid(grid_s, place, (Segment(float(first), 60 / period_s, int(place[0])),))


def _line(times_s: np.ndarray) -> tuple[float, float, float]:
    """Start and period of the straight grid through most beats, and the share of beats that agree with it."""
    interval_s = np.diff(times_s)
    count = np.append(0, np.cumsum(np.maximum(np.rint(interval_s / np.median(interval_s)), 1)))
    span = min(SPAN_BEATS, len(times_s) - 1)
    period_s = float(np.median((times_s[span:] - times_s[:-span]) / (count[span:] - count[:-span])))
    start_s = float(np.median(times_s - count * period_s))
    near = np.ones(len(times_s), dtype=bool)
    for _ in range(8):
        if near.sum() > 1 and np.ptp(count[near]) > 0:
            period_s, start_s = np.polyfit(count[near], times_s[near], 1)
        count = np.rint((times_s - start_s) / period_s)
        near = np.abs(times_s - start_s - count * period_s) <= STEADY_TOLERANCE * period_s
    return float(start_s), float(period_s), float(near.mean())


def _places(heard: np.ndarray, novelty: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Place in the bar, 1 to 4, of beats by their count, from the phase at which most begins."""
    begins = np.bincount(heard % BEATS_PER_BAR, weights=np.square(novelty), minlength=BEATS_PER_BAR)
    place: np.ndarray = (count - int(np.argmax(begins))) % BEATS_PER_BAR + 1
    return place


def _segments_per_bar(times_s: np.ndarray, place: np.ndarray) -> tuple[Segment, ...]:
    """A segment at the first beat and at each start of a bar, as long as its beats on average."""
    starts = np.unique(np.append(0, np.flatnonzero(place == 1)))
    starts = starts[starts < len(times_s) - 1]
    ends = np.append(starts[1:], len(times_s) - 1)
    return tuple(
        Segment(
            float(times_s[start]),
            float(60 * (end - start) / (times_s[end] - times_s[start])),
            int(place[start]),
        )
        for start, end in zip(starts, ends, strict=True)
    )
