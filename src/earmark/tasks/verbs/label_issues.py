"""The review of a run's labels: which of them its out-of-fold probabilities contradict."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from earmark.evaluation.label_issues import LabelReview, find_label_issues, write_label_review
from earmark.evaluation.result import Evaluation

__all__ = ["review_labels"]


def review_labels(evaluation: Evaluation, folder: Path) -> tuple[LabelReview, tuple[Path, ...]]:
    """Review the labels of an evaluation out of fold and write the three files; returns both.

    The files are stamped with the time at which the run was created, so that the same run gives the same names.

    Raises
    ------
    SealError
        The evaluation is of the sealed test.
    MissingExtraError
        cleanlab is not installed.
    """
    review = find_label_issues(
        evaluation.y,
        evaluation.p,
        evaluation.classes,
        ids=evaluation.ids,
        paths=evaluation.paths,
        split=evaluation.split,
    )
    stamp = f"{datetime.fromisoformat(evaluation.created):%Y%m%d-%H%M%S}"
    return review, write_label_review(review, folder, stamp)
