"""How well the drop detectors find drops whose times are known, and what they find where there are none.

Generated libraries carry a ``truth.json`` with the times of their drops (`earmark.tasks.zones.demo`). A drop
counts as found if a detection lies within a tolerance of it; one detection finds at most one drop. Of all
pairings the one with most pairs is taken, and of those the one with the smallest errors, as in the evaluation
of beats and onsets [1]_.

Conventions: times in seconds from the start of the track; an error is detected minus planted, so a late
detection is positive. Scores are pooled over tracks: hits, detections and drops are summed before any ratio is
taken, and a track without drops counts by its false detections.

References
----------
.. [1] Raffel et al. mir_eval: a transparent implementation of common MIR metrics. ISMIR 2014.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.audio.clip import Clip
from earmark.audio.mel import log_mel
from earmark.audio.spectrum import rms
from earmark.errors import UsageError
from earmark.features.group import feature_group
from earmark.tasks.zones.demo import TRUTH_NAME
from earmark.tasks.zones.drops import FRAME_LEVEL, FULL_RATE, band_energy, find_band_drops, find_drops
from earmark.tasks.zones.features import HOP_S
from earmark.tasks.zones.frames import FRAME_S, MIN_DURATION_S, SAMPLE_RATE, frame_means, frame_rms

__all__ = [
    "DETECTORS",
    "TOLERANCE_S",
    "Detection",
    "compare_times",
    "detect",
    "drop_curves",
    "false_alarms_per_minute",
    "level_curve",
    "planted_drops",
]

FloatArray = NDArray[np.float64]

DETECTORS = ("full rate", "frame level", "band energy")
TOLERANCE_S = 2.0
"""About one bar at 120 BPM."""

NOISE_EXPONENTS = {"white noise": 0.0, "pink noise": 1.0, "brown noise": 2.0}
"""Power falls as frequency to this exponent."""
NOISE_RMS = 0.1


@feature_group(
    "zones.level_curve",
    columns=("rms",),
    sample_rate=SAMPLE_RATE,
    kind="frames",
    frame_s=HOP_S,
    min_duration_s=MIN_DURATION_S,
)
def level_curve(clip: Clip) -> np.ndarray:
    """RMS every 23 ms, which the full-rate detector searches: 10 kB per minute."""
    return np.asarray(clip.memo(rms))[:, None]


@feature_group(
    "zones.drop_curves",
    columns=("rms", "band_energy", "bass"),
    sample_rate=SAMPLE_RATE,
    kind="frames",
    frame_s=FRAME_S,
    min_duration_s=MIN_DURATION_S,
)
def drop_curves(clip: Clip) -> np.ndarray:
    """RMS, band energy and bass every 0.5 s, which the two other detectors search."""
    level = clip.memo(frame_rms)
    energy, bass = band_energy(frame_means(clip, clip.memo(log_mel)), level)
    return np.column_stack([level, energy, bass])


@dataclass(frozen=True)
class Detection:
    """Planted and detected drops compared; ``+`` pools tracks.

    Parameters
    ----------
    n_planted, n_found : int
    errors_s : ndarray, shape (n_hits,)
        Detected minus planted time of each pair.
    """

    n_planted: int = 0
    n_found: int = 0
    errors_s: FloatArray = field(default_factory=lambda: np.zeros(0))

    def __add__(self, other: Detection) -> Detection:
        errors = np.concatenate([self.errors_s, other.errors_s])
        return Detection(self.n_planted + other.n_planted, self.n_found + other.n_found, errors)

    @property
    def n_hits(self) -> int:
        """Pairs of a planted and a detected drop."""
        return len(self.errors_s)

    @property
    def precision(self) -> float:
        """Share of detections that are drops; nan without detections."""
        return _ratio(self.n_hits, self.n_found)

    @property
    def recall(self) -> float:
        """Share of drops that are detected; nan without drops."""
        return _ratio(self.n_hits, self.n_planted)

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; nan if there is neither drop nor detection."""
        return _ratio(2 * self.n_hits, self.n_planted + self.n_found)

    def to_row(self) -> dict[str, Any]:
        """Counts, ratios, and the 5th, 50th and 95th percentile of the timing error in seconds."""
        low, middle, high = np.quantile(self.errors_s, [0.05, 0.5, 0.95]) if self.n_hits else [np.nan] * 3
        return {
            "planted": self.n_planted,
            "found": self.n_found,
            "hits": self.n_hits,
            "precision": self.precision,
            "recall": self.recall,
            "f1": self.f1,
            "error_p5_s": float(low),
            "error_median_s": float(middle),
            "error_p95_s": float(high),
        }


def compare_times(planted_s: ArrayLike, found_s: ArrayLike, *, tolerance_s: float = TOLERANCE_S) -> Detection:
    """Pair detections with planted drops of one track.

    Parameters
    ----------
    planted_s, found_s : array, shapes (n_planted,), (n_found,)
        Times, in any order.
    tolerance_s : float, default 2.0
        Greatest distance of a pair, inclusive.

    Raises
    ------
    UsageError
        The tolerance is not positive.

    Examples
    --------
    >>> compare_times([10.0, 30.0], [10.5, 20.0]).f1
    0.5
    """
    from scipy.optimize import linear_sum_assignment

    if not tolerance_s > 0:
        raise UsageError(
            f"the tolerance is {tolerance_s} s; expected a time above 0, such as {TOLERANCE_S:g}."
        )
    planted, found = np.asarray(planted_s, dtype=np.float64), np.asarray(found_s, dtype=np.float64)
    error = found[None, :] - planted[:, None]
    near = np.abs(error) <= tolerance_s
    # One pair more must outweigh all errors together, so that most pairs come first.
    far = 1.0 + tolerance_s * (1 + min(error.shape))
    rows, columns = linear_sum_assignment(np.where(near, np.abs(error), far))
    paired = error[rows, columns][near[rows, columns]]
    return Detection(len(planted), len(found), paired)


def planted_drops(uris: Sequence[str], truth: str | Path | None = None) -> dict[str, FloatArray]:
    """Times of the planted drops of tracks of a generated library.

    Parameters
    ----------
    uris : sequence of str
        Paths of tracks; what is no local path has no truth.
    truth : path, optional
        The ``truth.json``. Default: the one in the track's folder or in the folder above it.

    Returns
    -------
    dict
        By uri; tracks without a known truth are absent, tracks known to hold no drop have an empty array.

    Raises
    ------
    UsageError
        `truth` does not exist, or a truth file cannot be read.
    """
    if truth is not None and not Path(truth).is_file():
        raise UsageError(f"there is no `{truth}`; expected the truth.json of a generated library.")
    known: dict[Path, dict[Path, FloatArray]] = {}
    found = {}
    for uri in uris:
        path = Path(uri)
        for file in _truth_files(path) if truth is None else [Path(truth)]:
            if file not in known:
                known[file] = _read_truth(file)
            if path.absolute() in known[file]:
                found[uri] = known[file][path.absolute()]
    return found


def detect(level: ArrayLike, curves: ArrayLike) -> dict[str, FloatArray]:
    """Times of the drops that each detector finds in one track.

    Parameters
    ----------
    level : array, shape (n_frames, 1)
        Of `level_curve`.
    curves : array, shape (n_half_seconds, 3)
        Of `drop_curves`.

    Returns
    -------
    dict
        Times in s by the names in `DETECTORS`.
    """
    frame_level, energy, bass = np.asarray(curves, dtype=np.float64).T
    times = (
        find_drops(np.asarray(level)[:, 0], frame_s=HOP_S, rule=FULL_RATE).time_s,
        find_drops(frame_level, frame_s=FRAME_S, rule=FRAME_LEVEL).time_s,
        find_band_drops(energy, bass, frame_s=FRAME_S).time_s,
    )
    return dict(zip(DETECTORS, times, strict=True))


def false_alarms_per_minute(
    n_clips: int = 4, duration_s: float = 60.0, seed: int = 42
) -> list[dict[str, Any]]:
    """Drops per minute that each detector finds in silence and in steady noise, where there are none.

    Returns
    -------
    list of dict
        ``signal``, ``minutes`` and a column for each detector.
    """
    rows = []
    for signal, clips in _empty_signals(n_clips, duration_s, seed):
        counts, minutes = dict.fromkeys(DETECTORS, 0), 0.0
        for clip in clips:
            minutes += clip.duration_s / 60
            for name, times in detect(level_curve(clip), drop_curves(clip)).items():
                counts[name] += len(times)
        rows.append(
            {"signal": signal, "minutes": minutes} | {name: n / minutes for name, n in counts.items()}
        )
    return rows


def _truth_files(path: Path) -> list[Path]:
    return [file for file in (path.parent / TRUTH_NAME, path.parent.parent / TRUTH_NAME) if file.is_file()]


def _read_truth(file: Path) -> dict[Path, FloatArray]:
    """Drop times by absolute path; a JSON file that is no such truth holds nothing for us."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(
            f"`{file}` is not JSON ({error}); expected the truth of a generated library. Generate it again, or move "
            "the file away."
        ) from error
    tracks = content.get("tracks") if isinstance(content, Mapping) else None
    if not isinstance(tracks, Mapping):
        return {}
    return {
        (file.parent / name).absolute(): np.asarray(track["drops_s"], dtype=np.float64)
        for name, track in tracks.items()
        if isinstance(track, Mapping) and "drops_s" in track
    }


def _empty_signals(n_clips: int, duration_s: float, seed: int) -> Iterator[tuple[str, list[Clip]]]:
    n_samples = round(duration_s * SAMPLE_RATE)
    yield "silence", [Clip(np.zeros(n_samples, dtype=np.float32), SAMPLE_RATE)]
    for name, exponent in NOISE_EXPONENTS.items():
        yield name, [_noise(exponent, n_samples, seed + index) for index in range(n_clips)]


def _noise(exponent: float, n_samples: int, seed: int) -> Clip:
    spectrum = np.fft.rfft(np.random.default_rng(seed).standard_normal(n_samples))
    frequency_hz = np.fft.rfftfreq(n_samples, 1 / SAMPLE_RATE)
    spectrum *= np.maximum(frequency_hz, 20.0) ** (-exponent / 2)
    samples = np.fft.irfft(spectrum, n=n_samples)
    return Clip((NOISE_RMS * samples / samples.std()).astype(np.float32), SAMPLE_RATE)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else float("nan")
