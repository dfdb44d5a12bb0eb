"""`runs promote`: let predictions use a run, unless it is clearly worse than the one in use.

Two runs on the same rows and folds are compared item by item on their out-of-fold probabilities, with a bootstrap over
groups; "clearly" means that the 95 % interval of the difference excludes zero.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earmark.errors import GateError
from earmark.evaluation.block_bootstrap import time_blocks
from earmark.evaluation.intervals import Difference, paired_difference
from earmark.evaluation.metrics import METRICS
from earmark.training.production import PRODUCTION, history, production_run
from earmark.training.production import promote as point_to
from earmark.training.runs import Run, load_run

__all__ = ["MAX_LOST", "Promotion", "difference", "promote"]

MAX_LOST = 3
"""Items of a class that may be lost without a word."""


@dataclass(frozen=True)
class Promotion:
    """The run in use now, the one before (None: none), and how they differ (None: not comparable).

    ``losses`` are sentences about classes, and about the total, of which fewer items are right than before.
    """

    run: Run
    before: Run | None
    metric: str
    difference: Difference | None
    losses: tuple[str, ...] = ()


def promote(
    root: str | Path, name: str, *, reason: str = "", force: bool = False, stage: str = PRODUCTION
) -> Promotion:
    """Make the run called `name` the one that predicts, or give it another stage.

    Parameters
    ----------
    root : path
        Folder of the runs.
    name : str
        As in `earmark.training.runs.load_run`.
    reason : str
        Kept with the promotion.
    force : bool
        Also where the run is clearly worse, or did not pass the gate of its training.
    stage : str
        One of `earmark.training.production.STAGES`; only production is guarded by comparisons.

    Raises
    ------
    GateError
        The run is clearly worse than the one in use, by the metric that ranked it, or its training recorded that it
        did not pass the gate.
    """
    run = load_run(name, root=root)
    if stage != PRODUCTION:
        point_to(root, run, reason=reason, stage=stage)
        return Promotion(run, None, run.config["rank_by"], None)
    if not force:
        _require_gate(run)
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
    losses = _losses(run, before) if before is not None and gap is not None else ()
    return Promotion(run, before, metric, gap, losses)


def difference(first: Run, second: Run, metric: str) -> Difference | None:
    """Metric of `first` minus metric of `second` on the same items; None where rows or folds differ."""
    if first.is_series or second.is_series:
        return _difference_on_test_part(first, second, metric)
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


def _difference_on_test_part(first: Run, second: Run, metric: str) -> Difference | None:
    """The same of two series; blocks of time are drawn."""
    if not (first.is_series and second.is_series) or first.classes != second.classes:
        return None
    a, b = first.part("test"), second.part("test")
    shared = ["symbol", "timestamp", "label"]
    if not a.select(shared).equals(b.select(shared)):
        return None
    columns = [f"probability_{name}" for name in first.classes]
    blocks = time_blocks(a["timestamp"].to_numpy(), int(first.config["data"]["source"]["interval_ms"]))
    p, q = a.select(columns).to_numpy(), b.select(columns).to_numpy()
    return paired_difference(METRICS[metric], a["label"].to_numpy(), p, q, blocks)


def _losses(run: Run, before: Run) -> tuple[str, ...]:
    """Where fewer items are right than by the run before: in total, and more than `MAX_LOST` of a class."""
    now, then = _right(run), _right(before)
    of_class = [
        f"{name}: {then[name]} -> {now[name]} right"
        for name in run.classes
        if then[name] - now[name] > MAX_LOST
    ]
    before_all, now_all = sum(then.values()), sum(now.values())
    total = [f"in total: {before_all} -> {now_all} right"] if now_all < before_all else []
    return tuple(total + of_class)


def _right(run: Run) -> dict[str, int]:
    """Items of each class that are right, out of fold, of a series in its test part."""
    table = run.part("test") if run.is_series else run.out_of_fold()
    answers = table.select([f"probability_{name}" for name in run.classes]).to_numpy().argmax(axis=1)
    labels = table["label"].to_numpy()
    return {name: int(((labels == i) & (answers == i)).sum()) for i, name in enumerate(run.classes)}


def _require_gate(run: Run) -> None:
    """Refuse a run whose training judged it and did not let it pass."""
    gate = run.config.get("gate", {"passed": True})
    if not gate["passed"]:
        raise GateError(
            f"`{run.name}` did not pass the gate of its training: {'; '.join(gate['reasons'])}. Train a better one, or "
            "give --force."
        )


def _is_clearly_worse(gap: Difference, metric: str) -> bool:
    return gap.is_clear and (gap.value < 0) == (METRICS[metric].direction == "higher")
