"""Breakdown -> drop: find the moments where a track falls back and then hits, from its energy over time.

A *valley* is a low point of the energy curve (the breakdown), a *peak* the high point that follows (the
drop). Three detectors share one idea and differ in what they look at:

===============  =======================================  ==========================================
detector         curve                                    called with
===============  =======================================  ==========================================
full rate        RMS every 23 ms, median over 0.5 s       `find_drops` with `FULL_RATE`
frame level      RMS every 0.5 s                          `find_drops` with `FRAME_LEVEL`
band energy      weighted mel bands and RMS every 0.5 s   `find_band_drops`
===============  =======================================  ==========================================

Conventions
-----------
Curves are one-dimensional, one value per frame; positions are frame indices, ``*_s`` are seconds. All
functions are whole-track: thresholds are relative to the track's own mean and spread, so a value depends on
audio after it. A flat valley counts from its end and a flat peak from its start, so that a silent breakdown
of any length is still near the drop that ends it. The first and last value of a curve are no extrema.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

__all__ = [
    "BAND_DROP_COLUMNS",
    "FRAME_LEVEL",
    "FULL_RATE",
    "BandDrops",
    "DropRule",
    "Drops",
    "band_drop_statistics",
    "band_energy",
    "drops_of_rises",
    "find_band_drops",
    "find_drops",
    "local_maxima",
    "local_minima",
    "median_smooth",
    "rises",
    "smooth_energy",
]

SILENT_RMS = 1e-6  # full scale 1; below this mean a track counts as silent


@dataclass(frozen=True)
class DropRule:
    """How finely a curve is searched, and what counts as a drop.

    Parameters
    ----------
    min_frames : int
        Shorter curves hold no drop.
    smoothing_frames : int
        Length of the running median, odd; 1 for none.
    spacing_frames : int
        Least distance between two peaks, and between two valleys.
    threshold_std : float, default 0.3
        Peaks and valleys lie at least this many standard deviations beyond the mean.
    max_rise_s : float, default 8.0
        Longest way from valley to peak.
    min_contrast : float, default 0.5
        (peak - valley) / mean is above this.
    """

    min_frames: int
    smoothing_frames: int
    spacing_frames: int
    threshold_std: float = 0.3
    max_rise_s: float = 8.0
    min_contrast: float = 0.5


FULL_RATE = DropRule(min_frames=100, smoothing_frames=21, spacing_frames=50)
FRAME_LEVEL = DropRule(min_frames=20, smoothing_frames=1, spacing_frames=8)


@dataclass(frozen=True)
class Drops:
    """Drop events of one curve, in time order; all arrays have shape (n_drops,).

    Parameters
    ----------
    time_s : ndarray
        Where the curve first passes half way from valley to peak: the moment of the hit.
    valley, peak : ndarray
        Energy at the low and at the high point, in the curve's unit.
    mean : float
        Mean of the (smoothed) curve.
    """

    time_s: np.ndarray
    valley: np.ndarray
    peak: np.ndarray
    mean: float

    def __len__(self) -> int:
        return len(self.time_s)

    @property
    def contrast(self) -> np.ndarray:
        """(peak - valley) / mean of the curve, above the rule's least contrast by construction."""
        return (self.peak - self.valley) / self.mean if len(self) else np.zeros(0)

    @property
    def contrast_mean(self) -> float:
        """Mean contrast, 0 without drops."""
        return float(self.contrast.mean()) if len(self) else 0.0

    @property
    def contrast_max(self) -> float:
        """Largest contrast, 0 without drops."""
        return float(self.contrast.max()) if len(self) else 0.0

    @property
    def intensity(self) -> float:
        """Mean peak energy over the mean of the curve, 0 without drops."""
        return float(self.peak.mean()) / self.mean if len(self) else 0.0


def find_drops(energy: np.ndarray, *, frame_s: float, rule: DropRule = FULL_RATE) -> Drops:
    """Find breakdown -> drop events in an energy curve.

    Valleys are local minima below mean - 0.3 std, peaks local maxima above mean + 0.3 std of the smoothed
    curve. Each valley takes the first later peak, at most 8 s away, if (peak - valley) / mean > 0.5; of
    several valleys that lead to one peak the deepest stands for the event. The three numbers are the rule's.

    Parameters
    ----------
    energy : ndarray, shape (n_frames,)
        RMS energy, full scale 1.
    frame_s : float
        Seconds from one frame to the next.
    rule : DropRule
        `FULL_RATE` for RMS at hop 512 and 22 050 Hz, `FRAME_LEVEL` for frames of 0.5 s.

    Returns
    -------
    Drops
        Empty for a curve shorter than ``rule.min_frames`` or with a mean below 1e-6.
    """
    curve = smooth_energy(energy, rule)
    return drops_of_rises(curve, *rises(curve, rule), frame_s=frame_s, rule=rule)


def smooth_energy(energy: np.ndarray, rule: DropRule) -> np.ndarray:
    """First step of `find_drops`: the smoothed curve, float64; empty if it is too short or silent."""
    energy = np.asarray(energy, dtype=np.float64)
    if len(energy) < rule.min_frames or energy.mean() < SILENT_RMS:
        return np.zeros(0)
    return median_smooth(energy, rule.smoothing_frames)


def rises(curve: np.ndarray, rule: DropRule) -> tuple[np.ndarray, np.ndarray]:
    """Second step of `find_drops`: each valley of a smoothed curve with the first later peak.

    Returns
    -------
    valleys, peaks : ndarray of int, shape (n_rises,)
        Positions; several valleys may lead to one peak. Only ``threshold_std`` and ``spacing_frames`` of the
        rule matter.
    """
    if not len(curve):
        return np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp)
    mean, margin = float(curve.mean()), rule.threshold_std * float(curve.std())
    valleys = local_minima(curve, spacing=rule.spacing_frames, below=mean - margin)
    peaks = local_maxima(curve, spacing=rule.spacing_frames, above=mean + margin)
    return _first_later_peak(valleys, peaks)


def drops_of_rises(
    curve: np.ndarray, valleys: np.ndarray, peaks: np.ndarray, *, frame_s: float, rule: DropRule
) -> Drops:
    """Last step of `find_drops`: the rises that are fast and high enough, one for each peak.

    Only ``max_rise_s`` and ``min_contrast`` of the rule matter.
    """
    if not len(curve):
        return Drops(np.zeros(0), np.zeros(0), np.zeros(0), 0.0)
    mean = float(curve.mean())
    contrast = (curve[peaks] - curve[valleys]) / max(mean, SILENT_RMS)
    kept = ((peaks - valleys) * frame_s <= rule.max_rise_s) & (contrast > rule.min_contrast)
    valleys, peaks = _deepest_per_peak(curve, valleys[kept], peaks[kept])
    return Drops(_half_way(curve, valleys, peaks) * frame_s, curve[valleys], curve[peaks], mean)


def median_smooth(curve: np.ndarray, length: int) -> np.ndarray:
    """Running median of odd ``length``; the curve is extended by its end values.

    Returns
    -------
    ndarray, shape (n_frames,)
        The curve itself for ``length`` 1.
    """
    if length == 1:
        return curve
    half = length // 2
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(curve, half, mode="edge"), length)
    return np.partition(windows, half, axis=1)[:, half]


def local_maxima(curve: np.ndarray, *, spacing: int, above: float = -np.inf) -> np.ndarray:
    """Positions of local maxima above a level, at least ``spacing`` frames apart, the highest first served.

    Parameters
    ----------
    curve : ndarray, shape (n_frames,)
    spacing : int
        Of two maxima closer than this the lower is dropped; of two equal ones the later.
    above : float
        Maxima at or below are ignored before spacing is looked at.

    Returns
    -------
    ndarray of int, shape (n_maxima,)
        Increasing; a flat top is given by its first frame, end points are never maxima.
    """
    first, _ = _flat_tops(curve)
    first = first[curve[first] > above]
    return _spaced(first, curve[first], spacing)


def local_minima(curve: np.ndarray, *, spacing: int, below: float = np.inf) -> np.ndarray:
    """Positions of local minima below a level; as `local_maxima`; a flat bottom counts from its end."""
    _, last = _flat_tops(-curve)
    last = last[curve[last] < below]
    return _spaced(last, -curve[last], spacing)


def _flat_tops(curve: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    steps = np.flatnonzero(np.diff(curve))
    first, last = np.append(0, steps + 1), np.append(steps, len(curve) - 1)
    height = curve[first]
    tops = 1 + np.flatnonzero((height[1:-1] > height[:-2]) & (height[1:-1] > height[2:]))
    return first[tops], last[tops]


def _spaced(positions: np.ndarray, heights: np.ndarray, spacing: int) -> np.ndarray:
    start = np.searchsorted(positions, positions - spacing, side="right").tolist()
    stop = np.searchsorted(positions, positions + spacing, side="left").tolist()
    alive = np.ones(len(positions), dtype=bool)
    for index in np.argsort(-heights, kind="stable").tolist():
        if alive[index]:
            alive[start[index] : stop[index]] = False
            alive[index] = True
    return positions[alive]


def _first_later_peak(valleys: np.ndarray, peaks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    following = np.searchsorted(peaks, valleys, side="right")
    found = following < len(peaks)
    return valleys[found], peaks[following[found]]


def _deepest_per_peak(
    curve: np.ndarray, valleys: np.ndarray, peaks: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    order = np.lexsort((curve[valleys], peaks))
    peaks, first = np.unique(peaks[order], return_index=True)
    return valleys[order][first], peaks


def _steep_part(curve: np.ndarray, valleys: np.ndarray, peaks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each rise from the last frame near its valley to the first frame after that near its peak."""
    starts, ends = [], []
    for valley, peak in zip(valleys, peaks, strict=True):
        rise = curve[valley : peak + 1]
        slack = NEARLY_FLAT * (rise[-1] - rise[0])
        start = len(rise) - 1 - int(np.argmax(rise[::-1] <= rise[0] + slack))
        starts.append(valley + start)
        ends.append(valley + start + int(np.argmax(rise[start:] >= rise[-1] - slack)))
    return np.asarray(starts, dtype=np.intp), np.asarray(ends, dtype=np.intp)


def _half_way(curve: np.ndarray, valleys: np.ndarray, peaks: np.ndarray) -> np.ndarray:
    half = (curve[valleys] + curve[peaks]) / 2
    crossings = [
        valley + int(np.argmax(curve[valley : peak + 1] >= level))
        for valley, peak, level in zip(valleys, peaks, half, strict=True)
    ]
    return np.asarray(crossings, dtype=np.float64)


# Band energy: slices of the 128 Slaney mel bands and their weights in the energy E, with RMS.
BANDS = {"bass": slice(0, 12), "kick": slice(12, 20), "mid": slice(20, 50), "high": slice(50, 90)}
BAND_WEIGHTS = {"bass": 0.35, "kick": 0.25, "mid": 0.20, "high": 0.10, "rms": 0.10}
MIN_BAND_RANGE_DB = (
    10.0  # a steadier band is not stretched to full range: noise wanders by 2-4 dB and has no drops
)
MIN_RMS_RANGE = 0.5  # the same for RMS, as a share of its maximum
BAND_SPACING_S = 2.0
BEFORE_S, AFTER_S, LEAST_FRAMES = (
    4.0,
    2.0,
    3,
)  # a valley needs 3 frames in the 4 s before and in the 2 s after it
BAND_RISE_S = 4.0
MIN_RISE = 0.15
FULL_RISE = 0.5  # a rise of E that counts as intensity 1
NEARLY_FLAT = 0.05  # share of the rise
BUILDUP_S = 16.0
MIN_RISE_S = 0.1

BAND_DROP_COLUMNS = (
    "drop_count",
    "drop_avg_intensity",
    "drop_max_intensity",
    "drop_avg_buildup_duration",
    "drop_avg_recovery_rate",
    "drop_avg_bass_prominence",
    "drop_in_first_half",
    "drop_in_second_half",
    "drop_temporal_distribution",
    "drop_energy_variance",
    "drop_energy_range",
    "bass_energy_mean",
    "bass_energy_var",
)


@dataclass(frozen=True)
class BandDrops:
    """Drop events of a band energy curve, in time order; all arrays have shape (n_drops,).

    Parameters
    ----------
    time_s : ndarray
        Time of the maximum.
    intensity : ndarray
        min(1, rise / 0.5), rise in units of E.
    recovery_rate : ndarray
        Rise per second.
    bass_prominence : ndarray
        Scaled bass at the maximum.
    buildup_s : ndarray
        Time since the lowest E in the 16 s before the maximum.
    """

    time_s: np.ndarray
    intensity: np.ndarray
    recovery_rate: np.ndarray
    bass_prominence: np.ndarray
    buildup_s: np.ndarray

    def __len__(self) -> int:
        return len(self.time_s)


def band_energy(mel_db: np.ndarray, rms: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Energy E of a track from its mel bands, and the bass alone, each from 0 to 1.

    E = .35 bass + .25 kick + .20 mid + .10 high + .10 RMS, each min-max scaled over the track. The range
    that is stretched to 1 is at least 10 dB (RMS: half its maximum); a constant part is 0.

    Parameters
    ----------
    mel_db : ndarray, shape (n_frames, 128)
        Mel spectrogram in dB; bands by mel index: bass 0-11, kick 12-19, mid 20-49, high 50-89.
    rms : ndarray, shape (n_frames,)

    Returns
    -------
    energy, bass : ndarray, float64, shape (n_frames,)
    """
    parts = {
        name: _min_max(mel_db[:, band].mean(axis=1, dtype=np.float64), MIN_BAND_RANGE_DB)
        for name, band in BANDS.items()
    }
    level = np.asarray(rms, dtype=np.float64)
    parts["rms"] = _min_max(level, MIN_RMS_RANGE * float(level.max()))
    energy = sum((weight * parts[name] for name, weight in BAND_WEIGHTS.items()), np.zeros(len(level)))
    return energy, parts["bass"]


def find_band_drops(energy: np.ndarray, bass: np.ndarray, *, frame_s: float) -> BandDrops:
    """Find drops in a band energy curve of 0.5 s frames.

    Minima and maxima are at least 2 s apart. A minimum counts if at least 3 frames exist in the 4 s before
    it and in the 2 s after it, the first later maximum is less than 4 s away and lies at least 0.15 higher.
    One event per maximum: the lowest minimum. A minimum or maximum that is nearly flat,
    within 5 % of the rise, counts from its end or start: a steady breakdown or drop is no slow rise.

    Parameters
    ----------
    energy, bass : ndarray, shape (n_frames,)
        As `band_energy` gives them.
    frame_s : float
        Seconds from one frame to the next.

    Returns
    -------
    BandDrops
        Times are those of frame starts.
    """
    spacing = max(1, round(BAND_SPACING_S / frame_s))
    position = np.arange(len(energy))
    before = np.minimum(position, round(BEFORE_S / frame_s))
    after = np.minimum(len(energy) - 1 - position, round(AFTER_S / frame_s))
    valleys = local_minima(energy, spacing=spacing)
    valleys = valleys[(before[valleys] >= LEAST_FRAMES) & (after[valleys] >= LEAST_FRAMES)]
    valleys, peaks = _first_later_peak(valleys, local_maxima(energy, spacing=spacing))
    valleys, peaks = _steep_part(energy, valleys, peaks)
    rise = energy[peaks] - energy[valleys]
    kept = ((peaks - valleys) * frame_s < BAND_RISE_S) & (rise >= MIN_RISE)
    valleys, peaks = _deepest_per_peak(energy, valleys[kept], peaks[kept])
    rise = energy[peaks] - energy[valleys]
    return BandDrops(
        time_s=peaks * frame_s,
        intensity=np.minimum(1.0, rise / FULL_RISE),
        recovery_rate=rise / np.maximum((peaks - valleys) * frame_s, MIN_RISE_S),
        bass_prominence=bass[peaks],
        buildup_s=np.asarray([_buildup_frames(energy, int(peak), frame_s) * frame_s for peak in peaks]),
    )


def band_drop_statistics(
    drops: BandDrops, energy: np.ndarray, bass: np.ndarray, *, duration_s: float
) -> list[float]:
    """The 13 numbers of `BAND_DROP_COLUMNS`; without drops averages are 0, the second-half share 0.5."""
    count = len(drops)
    second_half = int((drops.time_s >= duration_s / 2).sum())
    return [
        float(count),
        _mean(drops.intensity),
        float(drops.intensity.max()) if count else 0.0,
        _mean(drops.buildup_s),
        _mean(drops.recovery_rate),
        _mean(drops.bass_prominence),
        float(count - second_half),
        float(second_half),
        second_half / count if count else 0.5,
        float(energy.var()),
        float(np.ptp(energy)),
        float(bass.mean()),
        float(bass.var()),
    ]


def _buildup_frames(energy: np.ndarray, peak: int, frame_s: float) -> int:
    start = max(0, peak - round(BUILDUP_S / frame_s))
    # Of equal lowest points the latest counts: silence before a build-up is no build-up.
    return 1 + int(np.argmin(energy[start:peak][::-1]))


def _min_max(values: np.ndarray, min_range: float) -> np.ndarray:
    low, span = float(values.min()), max(float(np.ptp(values)), min_range)
    return (values - low) / span if span > 0 else np.zeros_like(values)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else 0.0
