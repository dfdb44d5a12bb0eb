"""Running autocorrelation of an envelope under a Hann window, updated from frame to frame.

The product of two Hann windows ``lag`` apart is a sum of cosines of the window's own frequency and its
double. So the windowed lag products of a frame follow from those of the frame before by turning five sums and
exchanging one product at either end: about 25 operations for each lag and frame, no transform. Sums are in
double precision.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
SILENT_SHARE = 1e-10  # of the largest window energy: below this a frame has no onsets, only rounding


@njit(cache=True)
def windowed_autocorrelation(envelope: Float64, window_frames: int, n_lags: int) -> tuple[Float64, Float64]:
    """Mean over the frames of the autocorrelation at lags 0 .. n_lags - 1, scaled to 1 at lag 0; and the
    window energies.

    Parameters
    ----------
    envelope : float64, shape (n_frames + window_frames,)
        With half a window of padding at either end.
    window_frames, n_lags : int
        ``n_lags <= window_frames``.
    """
    n_frames = len(envelope) - window_frames
    state, turn = _start(window_frames, n_lags)
    padded = np.concatenate((np.zeros(window_frames), envelope))
    backward = padded[::-1].copy()
    values = np.empty(n_lags)
    energies = np.empty(n_frames)
    mean = np.zeros(n_lags)
    limit = SILENT_SHARE * _largest_energy(envelope, window_frames)
    for t in range(n_frames + window_frames):
        if t >= window_frames:
            _evaluate(state, turn, values)
            energies[t - window_frames] = values[0] if values[0] > limit else 0.0
            if values[0] > limit:
                scale = 1.0 / values[0]
                for lag in range(n_lags):
                    mean[lag] += values[lag] * scale
        _advance(padded, backward, t, window_frames, state, turn)
    return mean / n_frames, energies


@njit(cache=True)
def best_lags(envelope: Float64, window_frames: int, first: int, end: int) -> NDArray[np.int64]:
    """Lag, ``first`` to ``end - 1``, of the largest windowed autocorrelation of each frame; 0 where there is none."""
    n_frames = len(envelope) - window_frames
    state, turn = _start(window_frames, end)
    padded = np.concatenate((np.zeros(window_frames), envelope))
    backward = padded[::-1].copy()
    values = np.empty(end)
    result = np.zeros(n_frames, dtype=np.int64)
    limit = SILENT_SHARE * _largest_energy(envelope, window_frames)
    for t in range(n_frames + window_frames):
        if t >= window_frames:
            _evaluate(state, turn, values)
            if values[0] > limit:
                best = first
                for lag in range(first + 1, end):
                    if values[lag] > values[best]:
                        best = lag
                if values[best] > SILENT_SHARE * values[0]:
                    result[t - window_frames] = best
        _advance(padded, backward, t, window_frames, state, turn)
    return result


@njit(cache=True)
def _start(window_frames: int, n_lags: int) -> tuple[Float64, Float64]:
    """Sums (5, n_lags), all zero, and by lag the factors of the newest product and of the evaluation (6, n_lags)."""
    theta = 2.0 * np.pi / window_frames
    turn = np.empty((6, n_lags))
    for lag in range(n_lags):
        newest = theta * (window_frames - lag - 1)
        turn[0, lag], turn[1, lag] = np.cos(newest), np.sin(newest)
        turn[2, lag], turn[3, lag] = np.cos(2.0 * newest), np.sin(2.0 * newest)
        turn[4, lag], turn[5, lag] = np.cos(theta * lag), np.sin(theta * lag)
    return np.zeros((5, n_lags)), turn


@njit(cache=True)
def _largest_energy(envelope: Float64, window_frames: int) -> float:
    """Upper bound of a window's energy."""
    total, largest = 0.0, 0.0
    for t in range(len(envelope)):
        total += envelope[t] ** 2
        if t >= window_frames:
            total -= envelope[t - window_frames] ** 2
        largest = max(largest, total)
    return largest


@njit(cache=True, fastmath=True)
def _advance(
    padded: Float64, backward: Float64, t: int, window_frames: int, state: Float64, turn: Float64
) -> None:
    """Move the window that starts at t by one frame."""
    n_lags = state.shape[1]
    theta = 2.0 * np.pi / window_frames
    c1, s1 = np.cos(theta), -np.sin(theta)
    c2, s2 = np.cos(2.0 * theta), -np.sin(2.0 * theta)
    end = t + window_frames
    if end >= len(padded):
        return
    oldest, newest = padded[t], padded[end]
    ahead = padded[t : t + n_lags]
    behind = backward[len(padded) - 1 - end : len(padded) - 1 - end + n_lags]
    s_0, s_1r, s_1i, s_2r, s_2i = state[0], state[1], state[2], state[3], state[4]
    e_1r, e_1i, e_2r, e_2i = turn[0], turn[1], turn[2], turn[3]
    for lag in range(n_lags):
        gone, come = oldest * ahead[lag], newest * behind[lag]
        s_0[lag] += come - gone
        real, imaginary = s_1r[lag] - gone, s_1i[lag]
        s_1r[lag] = c1 * real - s1 * imaginary + come * e_1r[lag]
        s_1i[lag] = c1 * imaginary + s1 * real + come * e_1i[lag]
        real, imaginary = s_2r[lag] - gone, s_2i[lag]
        s_2r[lag] = c2 * real - s2 * imaginary + come * e_2r[lag]
        s_2i[lag] = c2 * imaginary + s2 * real + come * e_2i[lag]


@njit(cache=True, fastmath=True)
def _evaluate(state: Float64, turn: Float64, values: Float64) -> None:
    """Windowed autocorrelation from the five sums: the windows' product is (1 - cos a)(1 - cos b) / 4."""
    s_0, s_1r, s_1i, s_2r, s_2i = state[0], state[1], state[2], state[3], state[4]
    cosine, sine = turn[4], turn[5]
    for lag in range(len(values)):
        c, s = cosine[lag], sine[lag]
        single = s_1r[lag] * (1.0 + c) - s_1i[lag] * s
        double = 0.5 * (s_2r[lag] * c - s_2i[lag] * s)
        values[lag] = 0.25 * (s_0[lag] * (1.0 + 0.5 * c) - single + double)
