"""What a fitted model is worth: predictions of the parts, baselines on the same windows, evaluation of the test part.

Windows that lack values are left out of a part where the model leaves them out; the counts are in the run. Baselines
are fitted on the training windows and see each window that the model sees.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.windows import Windows
from earmark.errors import UsageError
from earmark.models.sequence.base import SequencePrediction
from earmark.models.sequence.classifier import Scaling, SequenceClassifier

if TYPE_CHECKING:
    import polars as pl

    from earmark.evaluation.baselines import Baseline
    from earmark.evaluation.result import Evaluation

__all__ = ["HEADLINE", "Part", "baselines_of", "evaluation_of", "predict_part", "scores_of"]

HEADLINE = "macro_f1"
BASELINES = ("last_direction", "logistic")
"""Models that any other is compared with, beside the majority class."""


@dataclass(frozen=True, eq=False)
class Part:
    """Windows of a part that could be predicted, the answers, and how many could not."""

    name: str
    windows: Windows
    predicted: SequencePrediction
    n_left_out: int

    def table(self, classes: tuple[str, ...]) -> pl.DataFrame:
        """As a run keeps it; see `earmark.training.runs`."""
        import polars as pl

        windows, predicted = self.windows, self.predicted
        columns: dict[str, Any] = {
            "symbol": np.array(windows.table.symbols)[windows.symbol],
            "timestamp": windows.time_ms,
            "label": windows.y,
        }
        columns |= {f"probability_{name}": predicted.probabilities[:, i] for i, name in enumerate(classes)}
        columns |= {
            "confidence": predicted.confidence,
            "expected_return": predicted.expected_return,
            "movement": windows.movement,
            "label_end_ms": windows.label_end_ms,
        }
        return pl.DataFrame(columns)


def predict_part(classifier: SequenceClassifier, name: str, windows: Windows) -> Part:
    """Predictions of the windows that lack nothing.

    Raises
    ------
    UsageError
        All of them lack a value.
    """
    usable = classifier.usable(windows)
    if not usable.any():
        raise UsageError(
            f"Insufficient data: all {len(windows)} windows of the part {name} lack values, expected some that lack "
            "none. Fill values (missing=median), or choose a view without the columns that are null."
        )
    kept = windows.take(usable)
    return Part(name, kept, classifier.predict(kept), int((~usable).sum()))


def scores_of(part: Part) -> dict[str, dict[str, Any]]:
    """Every metric of the part: ``value``, ``direction`` and no folds; None where undefined."""
    from earmark.evaluation.metrics import METRICS

    found: dict[str, dict[str, Any]] = {}
    for name, metric in METRICS.items():
        value = float(metric.function(part.windows.y, part.predicted.probabilities))
        found[name] = {
            "value": value if math.isfinite(value) else None,
            "direction": metric.direction,
            "folds": [],
        }
    return found


def baselines_of(
    algorithm: str, train: Windows, test: Part, classes: tuple[str, ...]
) -> tuple[Baseline, ...]:
    """The majority class, the last direction, and a logistic regression unless that is what was trained."""
    from earmark.evaluation import baselines

    found = [baselines.majority_of(train.y, len(test.windows), len(classes))]
    for name in BASELINES:
        if name != algorithm:
            fitted = SequenceClassifier.make(name, classes=classes, scaling=Scaling(missing="median")).fit(
                train
            )
            found.append(baselines.model(name, fitted.predict(test.windows).probabilities))
    return tuple(found)


def evaluation_of(
    test: Part,
    baselines: tuple[Baseline, ...],
    *,
    run: str,
    classes: tuple[str, ...],
    facts: Mapping[str, Mapping[str, object]],
    created: str,
    seed: int,
    warnings: tuple[str, ...] = (),
) -> Evaluation:
    """The evaluation of the test part, resampled over blocks of time."""
    from earmark.evaluation.block_bootstrap import time_blocks
    from earmark.evaluation.result import Evaluation
    from earmark.tasks.market.task import task

    windows = test.windows
    symbols = [windows.table.symbols[code] for code in windows.symbol]
    return Evaluation(
        task=task.name,
        run=run,
        split="val",
        scored_on="test part",
        scored_words=f"Scored on {len(windows)} windows behind all that the model was fitted and chosen on; the "
        "sealed period was not opened for this.",
        classes=classes,
        ids=tuple(f"{symbol}@{time}" for symbol, time in zip(symbols, windows.time_ms.tolist(), strict=True)),
        paths=tuple(
            _place(symbol, time) for symbol, time in zip(symbols, windows.time_ms.tolist(), strict=True)
        ),
        y=windows.y,
        p=test.predicted.probabilities,
        groups=time_blocks(windows.time_ms, windows.table.interval_ms),
        baselines=baselines,
        headline=HEADLINE,
        facts=facts,
        class_colours=task.class_colours,
        item_noun="windows",
        created=created,
        seed=seed,
        warnings=warnings,
    )


def _place(symbol: str, time_ms: int) -> str:
    """``ETHUSDT 2025-06-15 12:00:30``: a window for readers, in UTC."""
    return f"{symbol} {datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"
