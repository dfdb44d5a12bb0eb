"""The end of a search: its best points again with several seeds, for the best of many by one seed is partly luck.

Points are ranked by the mean of their cross-validated scores over seeds; of the winner the seed with the best score is
the one to use. Its score is the best of several, and so a little too good; the sealed test tells.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from earmark.training.ranking import Direction, ranked
from earmark.training.runs import Run

__all__ = ["Finalist", "play_finale", "remove_others"]


@dataclass(frozen=True)
class Finalist:
    """A point's values, its runs in the order of the seeds, and their scores."""

    values: Mapping[str, Any]
    runs: tuple[Run, ...]
    scores: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean score over seeds."""
        return float(np.mean(self.scores))

    @property
    def spread(self) -> float:
        """Standard deviation over seeds; 0 for one."""
        return float(np.std(self.scores, ddof=1)) if len(self.scores) > 1 else 0.0

    def best_run(self, direction: Direction) -> Run:
        """The run of the best seed, of equals the first."""
        return self.runs[ranked(self.scores, direction)[0]]


def play_finale(
    points: Sequence[Mapping[str, Any]],
    seeds: Sequence[int],
    train: Callable[[Mapping[str, Any], int], Run],
    *,
    metric: str,
    direction: Direction,
) -> list[Finalist]:
    """Train every point with every seed; finalists from best to worst.

    Parameters
    ----------
    points : sequence of mapping
        Values of the points, best first.
    seeds : sequence of int
    train : callable
        ``train(values, seed)`` gives a run; one that was made before is found again.
    metric, direction : str
        What ranks.
    """
    finalists = []
    for values in points:
        runs = tuple(train(values, seed) for seed in seeds)
        scores = tuple(_score(run, metric) for run in runs)
        finalists.append(Finalist(values, runs, scores))
    return [finalists[i] for i in ranked([one.mean for one in finalists], direction)]


def remove_others(finalists: Sequence[Finalist], keep: int, protected: Sequence[str]) -> list[str]:
    """Delete the runs of all finalists but the first `keep` (0: of none); names of those deleted.

    Runs named in `protected`, and those that a kept finalist shares, stay.
    """
    if not keep:
        return []
    kept = {run.name for one in finalists[:keep] for run in one.runs} | set(protected)
    gone = {run.name: run for one in finalists[keep:] for run in one.runs if run.name not in kept}
    for run in gone.values():
        shutil.rmtree(run.path)
    return list(gone)


def _score(run: Run, metric: str) -> float:
    value = run.metrics[metric]["value"]
    return float("nan") if value is None else float(value)
