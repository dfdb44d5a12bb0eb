"""The control of a shortcut: how far timbre alone gets.

A support vector machine on the MFCC of pieces of 3 s knows how a recording sounds and little of its bars. What it gets
right, corpus, genre and production tell: a model of meter must be clearly better. The kernel is approximated by 300 of
the rows (Nystroem), so that thousands of clips are a matter of seconds; a clip's answer is the class with the largest
mean of its pieces' decisions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from earmark.data.dataset import Dataset
from earmark.evaluation.baselines import Baseline
from earmark.features.table import FeatureTable
from earmark.tasks.meter.groups.mfcc_pieces import MFCC_PIECES, N_MFCC, N_PIECES
from earmark.tasks.project import Project

__all__ = ["NAME", "pieces_of", "svm_mfcc", "timbre_pieces"]

NAME = "svm_mfcc"
_DESCRIPTION = "support vector machine on MFCC of pieces of 3 s: timbre without rhythm"
_N_ROWS_OF_KERNEL = 300

Pieces = NDArray[np.float32]


def timbre_pieces(project: Project, data: Dataset) -> Pieces | None:
    """Timbre of the rows: the columns of MFCC that they have, else those of `MFCC_PIECES`; None without either.

    Returns
    -------
    np.ndarray, shape (n_rows, n_pieces, n_columns)
        NaN where a piece is absent or the clip failed.
    """
    known = [name for name in data.columns if ".mfcc_" in name]
    if known:
        return data.select(known).X[:, None]
    found = pieces_of(project.extract((MFCC_PIECES,), project.manifest.subset(data.ids)), data.ids)
    return found if np.isfinite(found).any() else None


def pieces_of(table: FeatureTable, ids: Sequence[str]) -> Pieces:
    """Rows of `MFCC_PIECES` by id, NaN for those that the table lacks."""
    found = np.full((len(ids), N_PIECES, N_MFCC), np.nan, dtype=np.float32)
    row = {id: number for number, id in enumerate(table.ids)}
    for number, id in enumerate(ids):
        if id in row:
            found[number] = table.values[row[id]].reshape(N_PIECES, N_MFCC)
    return found


def svm_mfcc(
    training: Dataset, training_pieces: Pieces, scored: Dataset, scored_pieces: Pieces, split: str
) -> Baseline:
    """Its answers on the rows of a split: out of fold, or of the sealed test by all training rows."""
    if split == "test":
        answers = _answers(training_pieces, training.y, scored_pieces)
    else:
        answers = np.empty(len(training), dtype=np.int64)
        for fold in np.unique(training.folds):
            fitted, held = training.train_validation(int(fold))
            answers[held] = _answers(training_pieces[fitted], training.y[fitted], training_pieces[held])
    return Baseline(NAME, np.eye(len(training.classes))[answers], graded=False, description=_DESCRIPTION)


def _answers(pieces: Pieces, y: NDArray[np.int64], asked: Pieces) -> NDArray[np.int64]:
    """The class of each clip in `asked`; the commonest where nothing of it was heard."""
    from sklearn.kernel_approximation import Nystroem
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import LinearSVC

    (clip, X), (asked_clip, asked_X) = _rows(pieces), _rows(asked)
    commonest = int(np.bincount(y).argmax())
    if len(np.unique(y[clip])) < 2 or not len(asked_X):
        return np.full(len(asked), commonest)
    model = make_pipeline(
        StandardScaler(),
        Nystroem(n_components=min(_N_ROWS_OF_KERNEL, len(X)), gamma=1 / X.shape[1], random_state=0),
        LinearSVC(class_weight="balanced", dual=False, random_state=0),
    ).fit(X, y[clip])
    decision = model.decision_function(asked_X)
    decision = np.stack([-decision, decision], axis=1) if decision.ndim == 1 else decision
    total = np.zeros((len(asked), decision.shape[1]))
    np.add.at(total, asked_clip, decision)
    heard = np.bincount(asked_clip, minlength=len(asked)) > 0
    return np.where(heard, model.classes_[total.argmax(axis=1)], commonest)


def _rows(pieces: Pieces) -> tuple[NDArray[np.int64], Pieces]:
    """Number of the clip of each whole piece, and the piece."""
    whole = np.isfinite(pieces).all(axis=2)
    return np.nonzero(whole)[0], pieces[whole]
