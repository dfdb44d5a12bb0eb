"""The final fit: on every row of the dataset, which holds no test rows by construction.

No rows are held out for early stopping here; instead the fit runs for the median of the rounds or epochs
that the folds kept, so the final model uses all labels and its length was chosen on rows that did not train
the folds.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from earmark.errors import SealError
from earmark.models.classifier import Classifier
from earmark.training.crossval import OnEvent
from earmark.training.strategy import FitJob, Strategy
from earmark.training.weights import ClassWeight

if TYPE_CHECKING:
    from earmark.data.dataset import Dataset

__all__ = ["final_length", "fit_final"]

_FINAL = 1_000_003  # where a fold has its number


def final_length(lengths: Sequence[int | None]) -> int | None:
    """Median of the folds' lengths, rounded up; None if an estimator has none."""
    known = [length for length in lengths if length is not None]
    return math.ceil(median(known)) if known else None


def fit_final(
    make_classifier: Callable[[], Classifier],
    dataset: Dataset,
    *,
    length: int | None = None,
    class_weight: ClassWeight = None,
    checkpoint: str | Path | None = None,
    on_event: OnEvent | None = None,
    strategy: Strategy | None = None,
    auxiliary: Dataset | None = None,
    seed: int = 42,
    validation_fraction: float = 0.2,
) -> Classifier:
    """Fit on all rows of `dataset`.

    Parameters
    ----------
    make_classifier : callable
        Returns a new, unfitted classifier.
    dataset : Dataset
    length : int, optional
        Rounds or epochs to run, e.g. `final_length` of the folds; default the estimator's own number.
    class_weight : {"balanced"}, optional
    checkpoint : path, optional
        Folder for the state of a fit with epochs, so that a killed one continues.
    on_event : callable, optional
        Called with ``{"event": "epoch", "stage": "final", ...}``.
    strategy, auxiliary : optional
        As in `cross_validate`; here all auxiliary rows may train.
    seed : int
        Of draws of rows.
    validation_fraction : float
        Share of auxiliary rows that decide the length of the first half of a transfer.

    Returns
    -------
    Classifier

    Raises
    ------
    SealError
        If `dataset` holds test rows.
    """
    if dataset.split != "train":
        raise SealError(
            f"A final fit was given the {dataset.split} split of {len(dataset)} rows; only training "
            "rows are fitted. "
            "Pass the dataset that `earmark extract` wrote."
        )
    tell = on_event or (lambda event: None)
    return (strategy or Strategy()).fit(
        FitJob(
            make_classifier,
            dataset,
            auxiliary,
            class_weight=class_weight,
            validation_fraction=validation_fraction,
            seeds=(seed, _FINAL),
            checkpoint=None if checkpoint is None else Path(checkpoint),
            on_epoch=lambda epoch: tell({"event": "epoch", "stage": "final"} | epoch),
            length=length,
        )
    )
