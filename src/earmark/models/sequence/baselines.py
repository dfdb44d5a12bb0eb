"""What any model has to beat: the commonest class, and the direction of the last movement.

`LastDirection` says that the price will do what it did: the movement from one horizon ago up to now, all of it in the
past of the row. Two cuts turn a movement into a class; they are those that reproduce most training labels from the
movements that the labels were made of, so a rule of fixed thresholds is found again exactly.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from earmark.data.windows import SeriesTable, Windows
from earmark.errors import UsageError
from earmark.models.estimator import Floats, Ints
from earmark.models.sequence.base import SequenceEstimator, SequenceFit, SequencePrediction

__all__ = ["LastDirection", "Majority", "past_movement"]

_LEAST_HIT, _MOST_HIT = 0.51, 0.99
"""Limits of the probability that a persisting direction is given: it stays the likeliest, and never certain."""

_TIME_BITS = 44
"""Bits of a time in ms in a key that sorts by symbol, then time: enough until the year 2527."""


class _Rates(SequenceEstimator):
    """A rule whose numbers are a few rates, kept in the record."""

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.shares: Floats = np.empty(0, np.float32)
        self.class_movement: Floats = np.empty(0, np.float32)

    def _count(self, request: SequenceFit) -> None:
        """Weighted share and mean movement of each class."""
        y, weight, movement = request.train.y, request.weight, request.train.movement
        counts = np.bincount(y, weight, minlength=self.n_classes)
        self.shares = (counts / counts.sum()).astype(np.float32)
        self.class_movement = mean_movement(y, movement, weight, self.n_classes)

    def _save(self, folder: Path) -> dict[str, Any]:
        return {"shares": self.shares.tolist(), "class_movement": self.class_movement.tolist()}

    def _load(self, folder: Path, state: Mapping[str, Any]) -> None:
        self.shares = np.array(state["shares"], np.float32)
        self.class_movement = np.array(state["class_movement"], np.float32)

    def _answer(self, probabilities: Floats) -> SequencePrediction:
        return SequencePrediction(
            probabilities, probabilities.max(axis=1), probabilities @ self.class_movement
        )

    @property
    def n_parameters(self) -> int:
        """Rates that were counted."""
        return len(self.shares)


class Majority(_Rates):
    """Says the training windows' class shares, whatever the window: its direction is the commonest class."""

    name: ClassVar[str] = "majority"

    def _fit(self, request: SequenceFit) -> None:
        self._count(request)

    def _predict(self, windows: Windows) -> SequencePrediction:
        return self._answer(np.tile(self.shares, (len(windows), 1)))


class LastDirection(_Rates):
    """Says that the last movement goes on; where there is none yet, the class shares."""

    name: ClassVar[str] = "last_direction"

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        self.horizon_ms = 0
        self.cuts: tuple[float, ...] = ()
        self.hit: Floats = np.empty(0, np.float32)

    @property
    def n_parameters(self) -> int:
        """Rates, hit rates and cuts."""
        return len(self.shares) + len(self.hit) + len(self.cuts)

    def _fit(self, request: SequenceFit) -> None:
        windows = request.train
        self._count(request)
        self.horizon_ms = int(np.median(windows.label_end_ms - windows.time_ms))
        if self.horizon_ms <= 0:
            raise UsageError(
                f"The labels' horizon is {self.horizon_ms} ms, expected a positive one: `{self.name}` compares the "
                "price with that of one horizon ago. Give `label_end_ms` of the label rule."
            )
        self.cuts = tuple(
            best_cut(windows.movement, windows.y >= upper) for upper in range(1, self.n_classes)
        )
        last = self._last_class(windows)
        right = np.bincount(last[last >= 0], (last == windows.y)[last >= 0], minlength=self.n_classes)
        said = np.bincount(last[last >= 0], minlength=self.n_classes)
        self.hit = np.clip(right / np.maximum(said, 1), _LEAST_HIT, _MOST_HIT).astype(np.float32)

    def _predict(self, windows: Windows) -> SequencePrediction:
        last = self._last_class(windows)
        probabilities = np.tile(self.shares, (len(windows), 1))
        for c in range(self.n_classes):
            others = self.shares.copy()
            others[c] = 0
            total = others.sum()
            others = others * (1 - self.hit[c]) / total if total else others
            others[c] = self.hit[c] if total else 1.0
            probabilities[last == c] = others
        return self._answer(probabilities)

    def _last_class(self, windows: Windows) -> Ints:
        """Class of the last movement; -1 where there is none, or its class was not seen in training."""
        movement = past_movement(windows.table, windows.ends, self.horizon_ms)
        found = np.searchsorted(np.array(self.cuts), movement, side="left")
        found[~np.isfinite(movement) | ~np.isin(found, self.present)] = -1
        return np.asarray(found, dtype=np.int64)

    def _save(self, folder: Path) -> dict[str, Any]:
        own = {"horizon_ms": self.horizon_ms, "cuts": list(self.cuts), "hit": self.hit.tolist()}
        return super()._save(folder) | own

    def _load(self, folder: Path, state: Mapping[str, Any]) -> None:
        super()._load(folder, state)
        self.horizon_ms, self.cuts = int(state["horizon_ms"]), tuple(state["cuts"])
        self.hit = np.array(state["hit"], np.float32)


def past_movement(table: SeriesTable, rows: Ints, horizon_ms: int) -> npt.NDArray[np.float64]:
    """Relative change of the price over the horizon that ends at each row; NaN without a row that long ago.

    The earlier price is that of the newest row at least `horizon_ms` (less half an interval, for jitter) before, in
    the same gap-free segment.
    """
    key = (table.symbol.astype(np.int64) << _TIME_BITS) + table.time_ms
    wanted = key[rows] - horizon_ms + table.interval_ms // 2
    before = np.minimum(np.searchsorted(key, wanted, side="right") - 1, rows - 1)
    known = (before >= 0) & (table.segment[before] == table.segment[rows])
    with np.errstate(divide="ignore", invalid="ignore"):
        movement = table.price[rows] / table.price[before] - 1
    return np.where(known & np.isfinite(movement), movement, np.nan)


def best_cut(movement: Floats, above: npt.NDArray[np.bool_]) -> float:
    """The cut for which ``movement > cut`` agrees with `above` most often, midway between two movements."""
    known = np.isfinite(movement)
    order = np.argsort(movement[known], kind="stable")
    values, is_above = movement[known][order].astype(np.float64), above[known][order]
    if not len(values):
        raise UsageError("No window has a known movement; expected those that the labels were made of.")
    agree = (
        np.concatenate([[0], np.cumsum(~is_above)])
        + is_above.sum()
        - np.concatenate([[0], np.cumsum(is_above)])
    )
    edges = np.concatenate([[-np.inf], values, [np.inf]])
    agree[1:-1][values[1:] == values[:-1]] = -1  # no cut between equal movements
    best = int(agree.argmax())
    low, high = edges[best], edges[best + 1]
    if not np.isfinite(low):
        return float(np.nextafter(high, -np.inf))
    return float(low if not np.isfinite(high) else (low + high) / 2)


def mean_movement(y: Ints, movement: Floats, weight: Floats, n_classes: int) -> Floats:
    """Weighted mean movement of each class, 0 for a class without a known one."""
    known = np.isfinite(movement)
    y, weight = y[known], weight[known]
    total = np.bincount(y, weight * movement[known], minlength=n_classes)
    counts = np.bincount(y, weight, minlength=n_classes)
    return np.asarray(total / np.where(counts > 0, counts, 1), dtype=np.float32)
