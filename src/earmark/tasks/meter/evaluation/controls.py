"""The control of a shortcut: how far timbre alone gets.

A support vector machine on the means and deviations of MFCC knows how a recording sounds and nothing of its beats. What
it gets right, corpus, genre and production tell: a model of meter must be clearly better.
"""

from __future__ import annotations

import numpy as np

from earmark.data.dataset import Dataset
from earmark.evaluation.baselines import Baseline

__all__ = ["NAME", "svm_mfcc", "timbre_columns"]

NAME = "svm_mfcc"
_DESCRIPTION = "support vector machine on means and deviations of 13 MFCC: timbre without rhythm"


def timbre_columns(columns: tuple[str, ...]) -> tuple[str, ...]:
    """The columns of MFCC among these."""
    return tuple(name for name in columns if ".mfcc_" in name)


def svm_mfcc(training: Dataset, scored: Dataset, split: str) -> Baseline | None:
    """Its answers on the rows of a split: out of fold, or of the sealed test by all training rows.

    None where the features hold no MFCC.
    """
    columns = timbre_columns(training.columns)
    if not columns:
        return None
    known = training.select(columns)
    if split == "test":
        answers = _answers(known, scored.select(columns).X)
    else:
        answers = np.empty(len(known), dtype=np.int64)
        for fold in range(known.n_folds):
            fitted, held = known.train_validation(fold)
            answers[held] = _answers(known.take(fitted), known.X[held])
    return Baseline(NAME, np.eye(len(training.classes))[answers], graded=False, description=_DESCRIPTION)


def _answers(training: Dataset, X: np.ndarray) -> np.ndarray:
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    if len(np.unique(training.y)) < 2:
        return np.full(len(X), training.y[0])
    model = make_pipeline(StandardScaler(), SVC(class_weight="balanced", random_state=0))
    return np.asarray(
        model.fit(np.nan_to_num(training.X), training.y).predict(np.nan_to_num(X)), dtype=np.int64
    )
