"""Labels that the model contradicts: which items a labeller should listen to again.

Confident learning [1]_ on out-of-fold probabilities: an item counts as a potential issue if its own class is
less likely than another one by more than that class's usual confidence explains; the number of issues per pair
of classes follows from the estimated noise. Issues are ranked by self-confidence, the probability of the label
the item carries. A potential issue is a question to the labeller and not an answer: the model may be wrong.

No row of the sealed test may be reviewed: a test set whose labels were corrected by a model flatters it.

Needs cleanlab (``pip install "earmark[review]"``).

References
----------
.. [1] Northcutt, Jiang, Chuang. Confident learning: estimating uncertainty in dataset labels. JAIR 70, 2021.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import MissingExtraError, SealError, UsageError
from earmark.evaluation.metrics import validate
from earmark.evaluation.tables import csv_text

__all__ = ["LabelIssue", "LabelReview", "find_label_issues", "require_reviewable", "write_label_review"]

N_TO_REVIEW = 50
"""Items in ``tracks_to_review``: about what one listens through in an evening."""

_FIELDS = ("path", "current_label", "predicted_label", "confidence", "quality_score", "is_potential_issue")


@dataclass(frozen=True)
class LabelIssue:
    """One item: its label, what the model says, and whether the label is in doubt.

    ``confidence`` is the probability of the predicted class, ``quality_score`` that of the current label.
    """

    id: str
    path: str
    current_label: str
    predicted_label: str
    confidence: float
    quality_score: float
    is_potential_issue: bool
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class LabelReview:
    """All items, potential issues first, each part by rising quality score (then id); and the class names."""

    classes: tuple[str, ...]
    rows: tuple[LabelIssue, ...]

    @property
    def issues(self) -> tuple[LabelIssue, ...]:
        """The potential issues, the worst first."""
        return tuple(row for row in self.rows if row.is_potential_issue)

    @property
    def rates(self) -> list[dict[str, Any]]:
        """Per class ``label``, ``items``, ``issues`` and ``rate`` (None for a class without items)."""
        found = []
        for label in self.classes:
            mine = [row for row in self.rows if row.current_label == label]
            issues = sum(row.is_potential_issue for row in mine)
            rate = issues / len(mine) if mine else None
            found.append({"label": label, "items": len(mine), "issues": issues, "rate": rate})
        return found

    def sentence(self) -> str:
        """Say how many labels are in doubt, and of which classes."""
        per_class = ", ".join(f"{row['label']} {row['issues']} of {row['items']}" for row in self.rates)
        return f"{len(self.issues)} of {len(self.rows)} labels are potential issues ({per_class})."

    def to_json(self) -> dict[str, Any]:
        """Return the counts, the rates per class, and the items to review first."""
        return {
            "items": len(self.rows),
            "issues": len(self.issues),
            "rates": self.rates,
            "to_review": [_row(issue, self.classes) for issue in self.issues[:N_TO_REVIEW]],
        }


def require_reviewable(split: str) -> None:
    """Refuse to review rows of the sealed test, and to begin without cleanlab.

    Raises
    ------
    SealError
        `split` is the sealed test.
    MissingExtraError
        cleanlab is not installed.
    """
    if split == "test":
        raise SealError(
            "a label review of the sealed test was asked for; expected the training rows, since a test set that a "
            "model corrected flatters it. Use --split val."
        )
    if find_spec("cleanlab") is None:
        raise MissingExtraError("cleanlab", "review", "Label review")


def find_label_issues(
    y: ArrayLike,
    p: ArrayLike,
    classes: Sequence[str],
    *,
    ids: Sequence[str],
    paths: Sequence[str] | None = None,
    split: str = "val",
) -> LabelReview:
    """Rank items by how much the model doubts their labels.

    Parameters
    ----------
    y : array of int, shape (n_items,)
        Labels as they are.
    p : array, shape (n_items, n_classes)
        Out-of-fold probabilities: no item may have trained the model that answers for it.
    classes : sequence of str
        Class names in order.
    ids : sequence of str, length n_items
    paths : sequence of str, length n_items, optional
        Where the items are; default: `ids`.
    split : str, default "val"
        Rows of ``test`` are refused.

    Returns
    -------
    LabelReview

    Raises
    ------
    SealError, MissingExtraError
        See `require_reviewable`.
    UsageError
        The arrays do not fit together, or fewer than two classes have items.
    """
    require_reviewable(split)
    labels, probabilities, _ = validate(y, p)
    where = ids if paths is None else paths
    _check(labels, probabilities, classes, ids, where)
    doubted = _confident_learning(labels, probabilities)
    answer = probabilities.argmax(axis=1)
    rows = [
        LabelIssue(
            str(ids[i]),
            str(where[i]),
            classes[labels[i]],
            classes[answer[i]],
            float(probabilities[i, answer[i]]),
            float(probabilities[i, labels[i]]),
            bool(doubted[i]),
            tuple(map(float, probabilities[i])),
        )
        for i in range(len(labels))
    ]
    rows.sort(key=lambda row: (not row.is_potential_issue, row.quality_score, row.id))
    return LabelReview(tuple(classes), tuple(rows))


def write_label_review(review: LabelReview, folder: str | Path, stamp: str) -> tuple[Path, ...]:
    """Write the three files of a review.

    Parameters
    ----------
    review : LabelReview
    folder : path
        Made if absent.
    stamp : str
        Part of the names; the same for the same run, so that a second review replaces the first.

    Returns
    -------
    tuple of Path
        ``label_quality_report_<stamp>.csv`` (all items), ``noisy_labels_<stamp>.csv`` (the potential issues) and
        ``tracks_to_review_<stamp>.json`` (the 50 worst of these).
    """
    target = Path(folder)
    columns = _columns(review.classes)
    worst = [
        {"rank": rank, **_row(row, review.classes)} for rank, row in enumerate(review.issues[:N_TO_REVIEW], 1)
    ]
    texts = {
        f"label_quality_report_{stamp}.csv": csv_text(
            [_row(row, review.classes) for row in review.rows], columns
        ),
        f"noisy_labels_{stamp}.csv": csv_text([_row(row, review.classes) for row in review.issues], columns),
        f"tracks_to_review_{stamp}.json": json.dumps(worst, indent=2, ensure_ascii=False) + "\n",
    }
    for name, text in texts.items():
        write_bytes_atomic(target / name, text.encode())
    return tuple(target / name for name in texts)


def _columns(classes: Sequence[str]) -> list[str]:
    return ["track_id", *_FIELDS, *(f"prob_{label}" for label in classes)]


def _row(issue: LabelIssue, classes: Sequence[str]) -> dict[str, Any]:
    values = (issue.id, *(getattr(issue, name) for name in _FIELDS), *issue.probabilities)
    return dict(zip(_columns(classes), values, strict=True))


def _check(
    y: NDArray[np.intp], p: NDArray[Any], classes: Sequence[str], ids: Sequence[str], paths: Sequence[str]
) -> None:
    if not len(y) == len(ids) == len(paths) or p.shape[1] != len(classes):
        raise UsageError(
            f"Cannot review labels: {len(y)} items, {len(ids)} ids, {len(paths)} paths, {p.shape[1]} probabilities and "
            f"{len(classes)} classes do not fit together."
        )
    present = [classes[k] for k in np.unique(y)]
    if len(present) < 2:
        raise UsageError(
            f"The labels to review are of {len(present)} classes ({', '.join(present) or 'no items'}); "
            "expected at least two, since a label is doubted for another. Label more items."
        )


def _confident_learning(y: NDArray[np.intp], p: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which labels cleanlab doubts, in this process alone, so that the answer is the same everywhere."""
    from cleanlab.filter import find_label_issues as doubts

    with warnings.catch_warnings():
        # Said of a class with five items or fewer, whose issues it leaves alone; the rates show such classes.
        warnings.filterwarnings(
            "ignore", message="May not flag all label issues in class", category=UserWarning
        )
        return np.asarray(doubts(y, p, n_jobs=1), dtype=bool)
