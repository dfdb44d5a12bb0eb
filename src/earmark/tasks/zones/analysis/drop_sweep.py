"""Which thresholds should the full-rate drop detector have? A grid over them, and an honest score of the choice.

Swept are the three numbers of a `DropRule`: how far peaks and valleys lie from the mean (``threshold_std``), how
high a drop is (``min_contrast``) and how long it may take to rise (``max_rise_s``). Each track's energy curve is
read and smoothed once; the grid is searched on that.

What a point of the grid is worth
---------------------------------
F1
    on planted drops, where their times are known (a generated library). Pooled over tracks.
AUC
    without known times: the probability that a PURPLE track has more drops per minute than a YELLOW one, ties
    counted half. It says whether drops separate the zones, not whether the detections are drops; 0.5 is chance.
    Below 0.5, PURPLE tracks have fewer.

Choosing the best of many points on the rows it is scored on flatters it. So the choice is scored *nested*: in
each fold of the cross-validation the best point of the other folds is taken and scored on this fold's rows. An
AUC compares tracks of one fold only, since each fold has its own thresholds. Intervals draw whole groups
(artists) with replacement. Sealed test tracks are not read at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.data.dataset import Dataset
from earmark.errors import UsageError
from earmark.evaluation.intervals import Difference, Interval, bootstrap_weights
from earmark.features.progress import Progress, ProgressCallback
from earmark.tasks.zones.analysis.drop_detection import TOLERANCE_S, compare_times, level_curve, planted_drops
from earmark.tasks.zones.drops import FULL_RATE, DropRule, drops_of_rises, rises, smooth_energy
from earmark.tasks.zones.features import HOP_S, drops

if TYPE_CHECKING:
    from earmark.tasks.project import Project

__all__ = ["GRID", "DropGrid", "DropSweep", "find_on_grid", "separation", "sweep_drops", "tune_drops"]

FloatArray = NDArray[np.float64]

LOW_ZONE, HIGH_ZONE = "YELLOW", "PURPLE"
_OBJECTIVES = {
    "f1": "F1 on planted drops of generated tracks",
    "auc": f"Chance that a {HIGH_ZONE} track has more drops per minute than a {LOW_ZONE} one (AUC)",
}
MIN_MINUTES = 0.1
"""Shorter tracks count as this long, as in the feature `drop_frequency`."""


@dataclass(frozen=True)
class DropGrid:
    """Values to try; every combination is a point.

    Parameters
    ----------
    threshold_std, min_contrast, max_rise_s : tuple of float
        As in `DropRule`; none negative, and rises above 0.
    """

    threshold_std: tuple[float, ...] = (0.0, 0.15, 0.3, 0.5, 0.75, 1.0)
    min_contrast: tuple[float, ...] = (0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.2)
    max_rise_s: tuple[float, ...] = (1.0, 2.0, 4.0, 8.0, 16.0)

    def __post_init__(self) -> None:
        for name in ("threshold_std", "min_contrast", "max_rise_s"):
            values = tuple(float(value) for value in getattr(self, name))
            if (
                not values
                or not all(0 <= value < np.inf for value in values)
                or len(set(values)) < len(values)
            ):
                raise UsageError(
                    f"{name} of the grid is {getattr(self, name)}; expected one or more different values, none "
                    "negative. Correct the grid."
                )
            object.__setattr__(self, name, values)

    def rules(self, base: DropRule = FULL_RATE) -> tuple[DropRule, ...]:
        """`base` with every combination, and `base` itself; those most like `base` first, so that they win ties."""
        points = itertools.product(self.threshold_std, self.min_contrast, self.max_rise_s)
        every = {
            replace(base, threshold_std=std, min_contrast=contrast, max_rise_s=rise)
            for std, contrast, rise in points
        }
        return tuple(sorted({base, *every}, key=lambda rule: (_distance(rule, base), _values(rule))))


GRID = DropGrid()


@dataclass(frozen=True)
class DropSweep:
    """What every rule of a grid found on every track.

    Parameters
    ----------
    rules : tuple of DropRule, length r
        The default rule first.
    minutes : ndarray, shape (n,)
        Durations of the tracks.
    found : ndarray of int, shape (r, n)
        Detections.
    planted : ndarray of int, shape (n,)
        Drops whose times are known; -1 where nothing is known of a track.
    hits : ndarray of int, shape (r, n)
        Drops that were detected.
    zones : ndarray of int, shape (n,)
        -1 for LOW_ZONE, 1 for HIGH_ZONE, 0 for the others.
    groups, folds : ndarray, shape (n,)
        Of the cross-validation.
    """

    rules: tuple[DropRule, ...]
    minutes: FloatArray
    found: NDArray[np.int64]
    planted: NDArray[np.int64]
    hits: NDArray[np.int64]
    zones: NDArray[np.int64]
    groups: NDArray[Any]
    folds: NDArray[np.int64]

    @property
    def objective(self) -> Literal["f1", "auc"]:
        """What the choice maximises: F1 where drops are known, else the AUC."""
        return "f1" if (self.planted > 0).any() else "auc"

    @property
    def per_minute(self) -> FloatArray:
        """Detections per minute, shape (r, n)."""
        return np.asarray(self.found / np.maximum(self.minutes, MIN_MINUTES))

    @cached_property
    def scores(self) -> FloatArray:
        """Objective of each rule on all rows, shape (r,)."""
        return self._scores(np.ones(len(self.minutes), dtype=bool))

    @property
    def best(self) -> DropRule:
        """The rule with the best score on all rows; of equal ones that which is most like the default."""
        return self.rules[_best(self.scores)]

    @cached_property
    def choices(self) -> dict[int, DropRule]:
        """The rule that each fold would have chosen without its own rows."""
        return {fold: self.rules[place] for fold, place in self._nested.items()}

    def default_score(self, seed: int = 42) -> Interval:
        """Objective of the default rule, AUC within folds as in `nested_score`; nothing was chosen for it."""
        return _interval(*self._drawn(self._default, seed))

    def nested_score(self, seed: int = 42) -> Interval:
        """Objective of the choice: each fold's rows under the rule that the other folds chose."""
        return _interval(*self._drawn(self._nested, seed))

    def gain(self, seed: int = 42) -> Difference:
        """Nested score of the choice minus the default's score, on the same draws."""
        (chosen, draws), (default, default_draws) = (
            self._drawn(places, seed) for places in (self._nested, self._default)
        )
        gaps = draws - default_draws
        interval = _interval(chosen - default, gaps)
        defined = gaps[~np.isnan(gaps)]
        better = float(np.mean((defined > 0) + 0.5 * (defined == 0))) if defined.size else np.nan
        return Difference(interval.value, interval.low, interval.high, better)

    def rows(self) -> list[dict[str, Any]]:
        """One row per rule, best first: its values, what it found, and its scores on all rows."""
        auc = separation(self.per_minute, self.zones)
        order = sorted(
            range(len(self.rules)), key=lambda place: (-_sortable(float(self.scores[place])), place)
        )
        return [self._row(place, float(auc[place])) for place in order]

    def sentences(self) -> tuple[str, ...]:
        """The outcome in words."""
        default, nested, gain = self.default_score(), self.nested_score(), self.gain()
        chosen = {_words(rule) for rule in self.choices.values()}
        return (
            f"{_OBJECTIVES[self.objective]}, default thresholds ({_words(self.rules[0])}): {default}.",
            f"Best of {len(self.rules)} points on the same rows: {np.nanmax(self.scores, initial=-1):.3f} "
            f"({_words(self.best)}), which flatters it. Chosen inside each fold and scored outside: {nested}, "
            f"with {len(chosen)} different choices in {len(self.choices)} folds.",
            f"Choosing instead of keeping the defaults changes the score on unseen tracks by {gain.value:+.3f} "
            f"[{gain.low:+.3f}, {gain.high:+.3f}]: {'a clear gain' if gain.low > 0 else 'the defaults stay'}.",
        )

    @cached_property
    def _fold_names(self) -> tuple[int, ...]:
        return tuple(int(fold) for fold in np.unique(self.folds))

    @property
    def _default(self) -> dict[int, int]:
        return dict.fromkeys(self._fold_names, 0)

    @cached_property
    def _nested(self) -> dict[int, int]:
        return {fold: _best(self._scores(self.folds != fold)) for fold in self._fold_names}

    def _scores(self, rows: NDArray[np.bool_]) -> FloatArray:
        if self.objective == "auc":
            return separation(self.per_minute[:, rows], self.zones[rows])
        known = rows & (self.planted >= 0)
        return _f1(self.hits[:, known].sum(1), self.found[:, known].sum(1), self.planted[known].sum())

    def _drawn(self, places: Mapping[int, int], seed: int) -> tuple[float, FloatArray]:
        """The objective with each fold's rows under one rule, and its draws over groups."""
        place = np.array([places[int(fold)] for fold in self.folds])
        row = np.arange(len(place))
        draws = [self._weighted(place, row, weights) for weights in bootstrap_weights(self.groups, seed=seed)]
        value = self._weighted(place, row, np.ones((1, len(row))))[0]
        return float(value), np.concatenate([np.zeros(0), *draws])

    def _weighted(self, place: NDArray[Any], row: NDArray[Any], weights: FloatArray) -> FloatArray:
        if self.objective == "auc":
            return _auc(self.per_minute[place, row], self.zones, self.folds, weights)
        known = weights * (self.planted >= 0)
        return _f1(
            known @ self.hits[place, row], known @ self.found[place, row], known @ np.maximum(self.planted, 0)
        )

    def _row(self, place: int, auc: float) -> dict[str, Any]:
        rule, known = self.rules[place], self.planted >= 0
        hits, found = self.hits[place, known].sum(), self.found[place, known].sum()
        scores = {
            "precision": _share(hits, found),
            "recall": _share(hits, self.planted[known].sum()),
            "f1": float(_f1(hits, found, self.planted[known].sum())),
        }
        return {
            "threshold_std": rule.threshold_std,
            "min_contrast": rule.min_contrast,
            "max_rise_s": rule.max_rise_s,
            "is_default": place == 0,
            "drops": int(self.found[place].sum()),
            "drops_per_minute": float(self.found[place].sum() / self.minutes.sum()),
            **(scores if self.objective == "f1" else {}),
            "auc": auc,
        }


def tune_drops(
    project: Project,
    *,
    grid: DropGrid = GRID,
    tolerance_s: float = TOLERANCE_S,
    truth: str | Path | None = None,
    limit: int | None = None,
    progress: ProgressCallback | None = None,
) -> DropSweep:
    """Sweep the detector's thresholds over the training tracks of a project; `DropSweep.rows` is the table.

    Parameters
    ----------
    project : Project
    grid : DropGrid
    tolerance_s : float, default 2.0
        How far a detection may lie from a planted drop.
    truth : path, optional
        Where the planted drops are written. Default: ``truth.json`` beside the tracks, if there is one.
    limit : int, optional
        Read at most this many energy curves that are not in the cache.
    progress : callable, optional

    Raises
    ------
    UsageError
        Not prepared, or no training track can be read.
    """
    manifest, splits = project.manifest, project.splits
    items = list(manifest.subset(splits.train_ids))
    table = project.extract([drops, level_curve], items, limit=limit, progress=progress)
    dataset = Dataset.build(manifest, splits, table, project.classes)
    levels = dict(zip(table.ids, table.frames(level_curve.name), strict=True))
    uris = {item.id: item.uri for item in items}
    return sweep_drops(
        dataset, levels, uris, grid=grid, tolerance_s=tolerance_s, truth=truth, progress=progress
    )


def sweep_drops(
    dataset: Dataset,
    levels: Mapping[str, NDArray[Any]],
    uris: Mapping[str, str],
    *,
    grid: DropGrid = GRID,
    tolerance_s: float = TOLERANCE_S,
    truth: str | Path | None = None,
    progress: ProgressCallback | None = None,
) -> DropSweep:
    """Search every track's energy curve with every rule of a grid.

    Parameters
    ----------
    dataset : Dataset
        Training rows: their zones, groups and folds; the columns do not matter.
    levels : mapping of id to ndarray, shape (n_frames, 1)
        Of `level_curve`, for every row.
    uris : mapping of id to str
        Where the tracks are, to find their planted drops.
    """
    planted = planted_drops([uris[id] for id in dataset.ids], truth)
    rules = grid.rules()
    found, hits = np.zeros((2, len(rules), len(dataset)), dtype=np.int64)
    n_planted = np.full(len(dataset), -1, dtype=np.int64)
    for column, id in enumerate(dataset.ids):
        times = find_on_grid(levels[id][:, 0], rules)
        found[:, column] = [len(one) for one in times]
        if uris[id] in planted:
            n_planted[column] = len(planted[uris[id]])
            hits[:, column] = [
                compare_times(planted[uris[id]], one, tolerance_s=tolerance_s).n_hits for one in times
            ]
        if progress is not None:
            progress(Progress("sweep drop thresholds", column + 1, len(dataset)))
    return DropSweep(
        rules=rules,
        minutes=np.array([len(levels[id]) * HOP_S / 60 for id in dataset.ids]),
        found=found,
        planted=n_planted,
        hits=hits,
        zones=_ends(dataset),
        groups=dataset.groups,
        folds=dataset.folds,
    )


def find_on_grid(level: ArrayLike, rules: Sequence[DropRule]) -> list[FloatArray]:
    """Drop times in s of one energy curve under each of several rules, which are those of `find_drops`.

    Rules that smooth alike share the smoothed curve, those that also share ``threshold_std`` the extrema.
    """
    smoothed: dict[tuple[int, int], FloatArray] = {}
    paired: dict[tuple[int, int, int, float], tuple[NDArray[Any], NDArray[Any]]] = {}
    times = []
    for rule in rules:
        shape = (rule.min_frames, rule.smoothing_frames)
        if shape not in smoothed:
            smoothed[shape] = smooth_energy(np.asarray(level), rule)
        curve, key = smoothed[shape], (*shape, rule.spacing_frames, rule.threshold_std)
        if key not in paired:
            paired[key] = rises(curve, rule)
        times.append(drops_of_rises(curve, *paired[key], frame_s=HOP_S, rule=rule).time_s)
    return times


def separation(per_minute: ArrayLike, zones: ArrayLike) -> FloatArray:
    """Probability that a track of the high zone has more drops per minute than one of the low zone.

    Parameters
    ----------
    per_minute : array, shape (..., n)
    zones : array of int, shape (n,)
        -1 low, 1 high; others do not count.

    Returns
    -------
    ndarray, shape (...)
        AUC from 0 to 1, ties counted half; nan if a zone has no track.
    """
    rate, zone = np.asarray(per_minute, dtype=np.float64), np.asarray(zones)
    high, low = rate[..., zone == 1], rate[..., zone == -1]
    if not high.shape[-1] or not low.shape[-1]:
        return np.full(rate.shape[:-1], np.nan)
    return np.asarray(_wins(high, low).mean(axis=(-1, -2)))


def _wins(high: FloatArray, low: FloatArray) -> FloatArray:
    return np.asarray((1.0 + np.sign(high[..., :, None] - low[..., None, :])) / 2)


def _auc(rate: FloatArray, zones: NDArray[Any], folds: NDArray[Any], weights: FloatArray) -> FloatArray:
    """AUC over pairs of one fold, for each row of weights, shape (n_draws,)."""
    high, low = zones == 1, zones == -1
    pairs = (folds[high][:, None] == folds[low][None, :]).astype(np.float64)
    wins = pairs * _wins(rate[high], rate[low])
    upper, lower = weights[:, high], weights[:, low]
    total = ((upper @ pairs) * lower).sum(1)
    return np.asarray(_share(((upper @ wins) * lower).sum(1), total))


def _f1(hits: ArrayLike, found: ArrayLike, planted: ArrayLike) -> FloatArray:
    return np.asarray(_share(2 * np.asarray(hits), np.asarray(found) + np.asarray(planted)))


def _share(part: ArrayLike, whole: ArrayLike) -> Any:
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    ratio = np.divide(part, whole, out=np.full(np.shape(whole), np.nan), where=whole > 0)
    return ratio if ratio.ndim else float(ratio)


def _interval(value: float, draws: FloatArray) -> Interval:
    defined = draws[~np.isnan(draws)]
    low, high = np.quantile(defined, [0.025, 0.975]) if defined.size else (np.nan, np.nan)
    return Interval(value, float(low), float(high))


def _best(scores: FloatArray) -> int:
    """First of the best; the default where no score is defined."""
    return 0 if np.isnan(scores).all() else int(np.nanargmax(scores))


def _ends(dataset: Dataset) -> NDArray[np.int64]:
    zone = np.asarray(dataset.classes)[dataset.y]
    return np.asarray((zone == HIGH_ZONE).astype(np.int64) - (zone == LOW_ZONE))


def _values(rule: DropRule) -> tuple[float, float, float]:
    return rule.threshold_std, rule.min_contrast, rule.max_rise_s


def _distance(rule: DropRule, base: DropRule) -> float:
    """How far two rules are apart: each value by its share of the larger one."""
    pairs = zip(_values(rule), _values(base), strict=True)
    return sum(abs(own - other) / max(own, other) for own, other in pairs if own != other)


def _sortable(score: float) -> float:
    return -1.0 if np.isnan(score) else float(score)


def _words(rule: DropRule) -> str:
    return f"{rule.threshold_std:g} std, contrast {rule.min_contrast:g}, rise {rule.max_rise_s:g} s"
