"""`runs promote`: let predictions use a run, unless it is clearly worse than the one in use.

Two runs on the same rows and folds are compared item by item on their out-of-fold probabilities, with a bootstrap over
groups; "clearly" means that the 95 % interval of the difference excludes zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earmark.errors import GateError
from earmark.evaluation.intervals import Difference, paired_difference
from earmark.evaluation.metrics import METRICS
from earmark.training.production import history, production_run
from earmark.training.production import promote as point_to
from earmark.training.runs import Run, load_run

__all__ = ["Promotion", "difference", "promote"]


@dataclass(frozen=True)
class Promotion:
    """The run in use now, the one before (None: none), and how they differ (None: not comparable)."""

    run: Run
    before: Run | None
    metric: str
    difference: Difference | None


def promote(root: str | Path, name: str, *, reason: str = "", force: bool = False) -> Promotion:
    """Make the run called `name` the one that predicts.

    Parameters
    ----------
    root : path
        Folder of the runs.
    name : str
        As in `earmark.training.runs.load_run`.
    reason : str
        Kept with the promotion.
    force : bool
        Also where the run is clearly worse.

    Raises
    ------
    GateError
        The run is clearly worse than the one in use, by the metric that ranked it.
    """
    run = load_run(name, root=root)
    metric = run.config["rank_by"]
    before = production_run(root, run.task) if history(root, run.task) else None
    gap = difference(run, before, metric) if before is not None else None
    if gap is not None and _is_clearly_worse(gap, metric) and not force:
        assert before is not None
        raise GateError(
            f"`{run.name}` is clearly worse than `{before.name}`, which is in use: {metric} {gap.value:+.3f} "
            f"[{gap.low:+.3f}, {gap.high:+.3f}]. Keep that one, or give --force."
        )
    point_to(root, run, reason=reason)
    return Promotion(run, before, metric, gap)


def difference(first: Run, second: Run, metric: str) -> Difference | None:
    """Metric of `first` minus metric of `second` on the same items; None where rows or folds differ."""
    a, b = first.out_of_fold(), second.out_of_fold()
    shared = ["id", "fold", "label"]
    if first.classes != second.classes or not a.select(shared).equals(b.select(shared)):
        return None
    columns = [f"probability_{name}" for name in first.classes]
    return paired_difference(
        METRICS[metric],
        a["label"].to_numpy(),
        a.select(columns).to_numpy(),
        b.select(columns).to_numpy(),
        np.asarray(a["group"].to_list()),
    )


def _is_clearly_worse(gap: Difference, metric: str) -> bool:
    return gap.is_clear and (gap.value < 0) == (METRICS[metric].direction == "higher")
