"""Group ``meter.sync``: curves read at the beats, so that tempo does not blur the bars.

Folding 30 s by one tempo drifts by more than a beat, since a lag of one frame is 4.6 % of 120 BPM; here the curves are
averaged over an eighth of a beat on either side of each beat, and lags are whole beats.

Conventions: seconds; curves at `FRAMES_PER_S`, frames centred on multiples of the hop; a correlation at lag l is the
mean of the n - l products by the variance (unbiased), so long bars are not punished.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from earmark.audio.autocorrelation import autocorrelation
from earmark.audio.clip import Clip
from earmark.audio.curves import curves
from earmark.audio.front_end import front_end
from earmark.audio.onset import ONSET_DELAY_FRAMES
from earmark.features.group import FeatureGroup, feature_group
from earmark.tasks.meter.groups.slots import DEFAULT_TRACKERS, Trackers, present, primary_beats
from earmark.tasks.meter.schema import CURVES, FRAMES_PER_S, MIN_DURATION_S, SAMPLE_RATE

__all__ = ["SYNC", "at_beats", "phase_contrast", "synchronous_columns", "within_beats"]

Float64 = NDArray[np.float64]
Array = NDArray[np.floating]

HALF_WIDTH = 1 / 8
"""Of a beat."""
LAGS = range(2, 17)
BAR_LENGTHS = (2, 3, 4, 5, 6, 7, 9, 11, 12)
PHASE_CURVES = ("onset", "rms", "chroma")
DIVIDED_CURVES = ("onset", "rms")
STEPS_PER_BEAT = 12
DIVISIONS = (2, 3, 4)
COLUMNS = (
    *(f"ac_{curve}_{lag}" for curve in CURVES for lag in LAGS),
    *(f"phase_{curve}_{n_beats}" for curve in PHASE_CURVES for n_beats in BAR_LENGTHS),
    *(f"sub_{curve}_{parts}" for curve in DIVIDED_CURVES for parts in DIVISIONS),
)


def at_beats(curve: Array, times_s: Float64, half_width_s: Float64 | float) -> Float64:
    """Mean of a curve within `half_width_s` of each time, shape (n_times,); beyond the ends the curve is 0.

    The curve counts as constant over each frame, so times between frames are exact.
    """
    total = np.concatenate([[0.0], np.cumsum(curve, dtype=np.float64)])
    edges = np.arange(len(total))
    upper, lower = (
        np.interp((times_s + sign * half_width_s) * FRAMES_PER_S + 0.5, edges, total) for sign in (1, -1)
    )
    return np.asarray((upper - lower) / (2 * half_width_s * FRAMES_PER_S))


def within_beats(curve: Array, times_s: Float64) -> Float64:
    """A curve read `STEPS_PER_BEAT` times per beat, shape ((n_beats - 1) * STEPS_PER_BEAT,)."""
    steps = np.arange((len(times_s) - 1) * STEPS_PER_BEAT) / STEPS_PER_BEAT
    places = np.interp(steps, np.arange(len(times_s)), times_s) * FRAMES_PER_S
    return np.interp(places, np.arange(len(curve)), curve)


def phase_contrast(values: Float64, n_positions: int) -> float:
    """How far the position j mod n explains the values: F / (1 + F), 0 to 1, about 0.5 by chance for every n.

    F is the variance between positions by that within them, each by its degrees of freedom; 0 for constant values or
    fewer than two bars.
    """
    n = len(values)
    if n < 2 * n_positions:
        return 0.0
    position = np.arange(n) % n_positions
    counts = np.bincount(position, minlength=n_positions)
    means = np.bincount(position, weights=values, minlength=n_positions) / counts
    between = float((counts * (means - values.mean()) ** 2).sum()) / (n_positions - 1)
    within = float(((values - means[position]) ** 2).sum()) / (n - n_positions)
    return between / (between + within) if between + within > 1e-12 else 0.0


def synchronous_columns(named: Mapping[str, Array], times_s: Float64) -> Float64:
    """The 93 columns.

    Parameters
    ----------
    named : mapping of str to np.ndarray, shape (n_frames,)
        The curves of `CURVES`.
    times_s : np.ndarray, shape (n_beats,)
        Fewer than three beats give zeros.
    """
    if len(times_s) < 3:
        return np.zeros(len(COLUMNS))
    half_widths_s = HALF_WIDTH * np.gradient(times_s)
    read = {name: at_beats(curve, times_s, half_widths_s) for name, curve in named.items()}
    whole = [_correlations(read[name], LAGS) for name in CURVES]
    phases = [phase_contrast(read[name], n) for name in PHASE_CURVES for n in BAR_LENGTHS]
    parts = [STEPS_PER_BEAT // part for part in DIVISIONS]
    divided = [_correlations(within_beats(named[name], times_s), parts) for name in DIVIDED_CURVES]
    return np.concatenate([*whole, phases, *divided])


def _correlations(values: Float64, lags: range | list[int]) -> Float64:
    """Unbiased autocorrelation at some lags; 0 where fewer than two products are left."""
    found = np.zeros(max(lags) + 1)
    n_lags = min(len(found), len(values) - 1)
    found[:n_lags] = autocorrelation(values, n_lags, unbiased=True)
    return found[list(lags)]


def sync(clip: Clip, *, trackers: Trackers) -> Float64:
    """The columns of a clip, at the beats of its primary tracker."""
    read = clip.memo(front_end).memo(curves)
    named = {name: getattr(read, name) for name in CURVES}
    named["onset"] = np.append(
        named["onset"][ONSET_DELAY_FRAMES:], np.zeros(ONSET_DELAY_FRAMES)
    )  # beats are attacks
    return synchronous_columns(named, primary_beats(clip, trackers).times_s)


SYNC: FeatureGroup = feature_group(
    "meter.sync",
    columns=COLUMNS,
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
    parameters={"trackers": DEFAULT_TRACKERS},
    reuses=present(DEFAULT_TRACKERS),
)(sync)
