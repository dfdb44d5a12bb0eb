"""What a report of a market model shows besides the general scores: symbols, confidence, direction, positions.

Conventions: classes are 0 down, 1 neutral, 2 up; a movement is a fraction; undefined scores are ``nan``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.evaluation.metrics import METRICS
from earmark.evaluation.sections import Section
from earmark.tasks.market.training.scoring import Part

__all__ = ["class_warnings", "confidence_rows", "direction_auc", "market_sections", "symbol_scores"]

SHOWN = (
    "accuracy",
    "balanced_accuracy",
    "macro_precision",
    "macro_f1",
    "weighted_f1",
    "mcc",
    "log_loss",
    "ece",
)
"""Scores of each symbol."""

DOWN, UP = 0, 2


def market_sections(part: Part, classes: Sequence[str], *, cost: float = 0.0) -> tuple[Section, ...]:
    """All sections of a part."""
    return (_symbols(part), _confidence(part, classes), _direction(part), _positions(part, cost))


def class_warnings(part: Part, classes: Sequence[str]) -> tuple[str, ...]:
    """A sentence for each class that no window of the part has, or that no answer names."""
    true = np.bincount(part.windows.y, minlength=len(classes))
    said = np.bincount(part.predicted.direction, minlength=len(classes))
    absent = [name for name, count in zip(classes, true, strict=True) if not count]
    unsaid = [name for name, t, s in zip(classes, true, said, strict=True) if t and not s]
    found = []
    if absent:
        found.append(
            f"No window of the part {part.name} is {' or '.join(absent)}: its recall is undefined, and means over "
            "classes are over the others."
        )
    if unsaid:
        found.append(f"The model never answers {' or '.join(unsaid)} on the part {part.name}.")
    return tuple(found)


def symbol_scores(part: Part) -> list[dict[str, Any]]:
    """A row of scores per symbol."""
    windows, p = part.windows, part.predicted.probabilities
    horizon_s = np.median(windows.label_end_ms - windows.time_ms) / 1000
    rows = []
    for code in np.unique(windows.symbol):
        chosen = windows.symbol == code
        y = windows.y[chosen]
        rows.append(
            {
                "symbol": windows.table.symbols[code],
                "horizon_s": float(horizon_s),
                "windows": int(chosen.sum()),
                **{name: float(METRICS[name].function(y, p[chosen])) for name in SHOWN},
                "auc_up_down": direction_auc(y, p[chosen]),
            }
        )
    return rows


def direction_auc(y: NDArray[np.integer], p: NDArray[np.floating]) -> float:
    """Area under the ROC curve of up against down, among windows that moved; ``nan`` where one of both is missing.

    The score of a window is p_up / (p_up + p_down): whether the model calls it a move at all does not count.
    """
    from scipy.stats import rankdata

    moved = (y == UP) | (y == DOWN)
    is_up = y[moved] == UP
    n_up, n_down = int(is_up.sum()), int((~is_up).sum())
    if not n_up or not n_down:
        return float("nan")
    up, down = p[moved, UP].astype(np.float64), p[moved, DOWN].astype(np.float64)
    total = up + down
    score = np.divide(up, total, out=np.full(len(up), 0.5), where=total > 0)
    return float((rankdata(score)[is_up].sum() - n_up * (n_up + 1) / 2) / (n_up * n_down))


def confidence_rows(part: Part, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Mean confidence where the answer is right and where it is wrong, over all and per answered class."""
    answer, confidence = part.predicted.direction, part.predicted.confidence.astype(np.float64)
    right = answer == part.windows.y
    rows = []
    for name, chosen in [("all", np.ones(len(answer), dtype=bool))] + [
        (name, answer == code) for code, name in enumerate(classes)
    ]:
        rows.append(
            {
                "answer": name,
                "windows": int(chosen.sum()),
                "right": _mean(right[chosen]),
                "confidence_when_right": _mean(confidence[chosen & right]),
                "confidence_when_wrong": _mean(confidence[chosen & ~right]),
            }
        )
    return rows


def _symbols(part: Part) -> Section:
    rows = symbol_scores(part)
    best, worst = (pick(rows, key=lambda row: row["accuracy"]) for pick in (max, min))
    if len(rows) == 1:
        sentence = f"All windows are of {best['symbol']}, {best['horizon_s']:g} s ahead."
    else:
        sentence = (
            f"Accuracy lies between {worst['accuracy']:.3f} ({worst['symbol']}) and {best['accuracy']:.3f} "
            f"({best['symbol']}), {best['horizon_s']:g} s ahead."
        )
    return Section("symbols", "Symbols", (sentence,), {"symbols.csv": rows}, files=("symbols.csv",))


def _confidence(part: Part, classes: Sequence[str]) -> Section:
    rows = confidence_rows(part, classes)
    right, wrong = rows[0]["confidence_when_right"], rows[0]["confidence_when_wrong"]
    means = [
        f"{mean:.3f} where the answer is {what}"
        for what, mean in (("right", right), ("wrong", wrong))
        if not np.isnan(mean)
    ]
    return Section(
        "confidence",
        "Confidence when right and when wrong",
        (f"Mean confidence is {' and '.join(means)}.",),
        {"confidence.csv": rows},
        files=("confidence.csv",),
    )


def _direction(part: Part) -> Section:
    """AUC with an interval over blocks of time."""
    from earmark.evaluation.block_bootstrap import time_blocks

    windows, p = part.windows, part.predicted.probabilities
    blocks = time_blocks(windows.time_ms, windows.table.interval_ms)
    value = direction_auc(windows.y, p)
    low, high = _auc_bounds(windows.y, p, blocks)
    moved = int((windows.y != 1).sum())
    row = {"moves": moved, "auc_up_down": value, "low": low, "high": high}
    return Section(
        "direction",
        "Up against down",
        (
            f"Among the {moved} windows that moved, the area under the ROC curve of up against down is {value:.3f} "
            f"[{low:.3f}, {high:.3f}]; 0.5 is chance.",
        ),
        {"direction.csv": [row]},
        files=("direction.csv",),
    )


REPLICATES = 500


def _auc_bounds(
    y: NDArray[np.integer], p: NDArray[np.floating], blocks: NDArray[np.int64]
) -> tuple[float, float]:
    """95 % bounds from whole blocks drawn with replacement; ``nan`` with fewer than two blocks."""
    members = [np.flatnonzero(blocks == block) for block in np.unique(blocks)]
    if len(members) < 2:
        return float("nan"), float("nan")
    rng = np.random.default_rng(42)
    draws = []
    for _ in range(REPLICATES):
        rows = np.concatenate([members[i] for i in rng.integers(0, len(members), len(members))])
        draws.append(direction_auc(y[rows], p[rows]))
    defined = np.array(draws)[~np.isnan(draws)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, (0.025, 0.975))
    return float(low), float(high)


def _positions(part: Part, cost: float) -> Section:
    """What positions would have earned that follow every answer."""
    from earmark.evaluation.trading import score_positions

    windows = part.windows
    known = np.isfinite(windows.movement)
    found = score_positions(
        np.where(known, part.predicted.direction, -1),
        np.where(known, windows.movement, 0.0),
        windows.time_ms,
        windows.label_end_ms,
        windows.symbol,
        cost=cost,
    )
    row = {
        "positions": found.n_positions,
        "hit_rate": found.hit_rate,
        "total_return": found.total_return,
        "sharpe": found.sharpe,
        "cost": found.cost,
        "annualisation": found.annualisation,
    }
    return Section(
        "positions",
        "Positions",
        (
            f"{found.n_positions} positions that follow the answers one after the other would have summed up to "
            f"{found.total_return:.2%} at a cost of {cost:.3%} each; a sum of movements, not a strategy.",
        ),
        {"positions.csv": [row]},
        files=("positions.csv",),
    )


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean()) if len(values) else float("nan")
