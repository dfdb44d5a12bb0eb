"""The review of a run's labels: training rows alone, each judged by signals and by the model that did not see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earmark.data.soft_labels import parse_soft_label
from earmark.errors import SealError, UsageError
from earmark.features.progress import ProgressCallback
from earmark.features.table import FeatureTable
from earmark.tasks.meter.groups.signals import SIGNAL_GROUP
from earmark.tasks.meter.review.candidates import MAX_AGREEING, Candidate, Judged, find_candidates
from earmark.tasks.meter.review.page import write_page, write_zip
from earmark.tasks.meter.schema import CLASSES, SIGNATURES
from earmark.tasks.meter.signals import SIGNALS
from earmark.tasks.meter.signatures import class_scores
from earmark.tasks.project import Project
from earmark.tasks.verbs.evaluate import Scored, scored_rows
from earmark.training.runs import Run

__all__ = ["MODEL", "Review", "review_labels", "signal_votes"]

MODEL = "model"


@dataclass(frozen=True)
class Review:
    """The candidates, how many items were judged, and the files that were written."""

    candidates: tuple[Candidate, ...]
    n_items: int
    files: tuple[Path, ...]


def review_labels(
    project: Project,
    run: Run,
    folder: Path,
    *,
    split: str = "tuning",
    datasets: Sequence[str] = (),
    limit: int = 0,
    max_agreeing: int = MAX_AGREEING,
    with_audio: bool = False,
    progress: ProgressCallback | None = None,
) -> Review:
    """Find labels to listen to again, and write the page for it.

    Parameters
    ----------
    project : Project
    run : Run
        Its out-of-fold answers are one voter.
    folder : Path
    split : str
        ``tuning``; ``test`` is refused.
    datasets : sequence of str
        Items of these data sets alone; empty: all.
    limit : int
        At most so many candidates; 0: all.
    max_agreeing : int
        Most voters that may support a label that is doubted.
    with_audio : bool
        Also write page and audio as one archive.
    progress : callable, optional

    Raises
    ------
    SealError
        The sealed test was asked for, or rows of it were to be judged.
    UsageError
        No item is of these data sets, or the signals say too little.
    """
    if split != "tuning":
        raise SealError(
            f"a label review of split {split!r} was asked for; expected tuning, since a test set that a model "
            "corrected flatters it. Leave --split out."
        )
    scored = scored_rows(project, run, "val", progress=progress)
    items = _judged(project, scored, datasets, progress)
    candidates = find_candidates(items, max_agreeing=max_agreeing)[: limit or None]
    files = write_page(candidates, folder)
    archive = (write_zip(candidates, folder),) if with_audio else ()
    return Review(candidates, len(items), (*files, *archive))


def signal_votes(table: FeatureTable) -> dict[str, dict[str, str]]:
    """Item -> signal -> the class it scores highest; empty where it scores none."""
    votes: dict[str, dict[str, str]] = {id: {} for id in table.ids}
    for signal in SIGNALS:
        columns = {
            name: table.column(f"{SIGNAL_GROUP.name}.{signal}_{name.replace('/', '_')}").astype(np.float64)
            for name in SIGNATURES
        }
        for id, scores in zip(table.ids, class_scores(columns), strict=True):
            votes[id][signal] = CLASSES[int(scores.argmax())] if scores.max() > 0 else ""
    return votes


def _judged(
    project: Project, scored: Scored, datasets: Sequence[str], progress: ProgressCallback | None
) -> list[Judged]:
    data, p = scored.data, scored.p
    sealed = set(project.splits.test_ids) & set(data.ids)
    if sealed:
        raise SealError(
            f"{len(sealed)} rows of the sealed test were to be reviewed. Prepare and train again."
        )
    chosen = [
        i for i, id in enumerate(data.ids) if not datasets or scored.answers[id].get("dataset") in datasets
    ]
    if not chosen:
        raise UsageError(
            f"none of {len(data)} training items is of {', '.join(datasets)}. Name another data set."
        )
    ids = [data.ids[i] for i in chosen]
    items = list(project.manifest.subset(ids))
    uris = {item.id: item.uri for item in items}
    votes = signal_votes(project.extract((SIGNAL_GROUP,), items, progress=progress))
    judged = []
    for i in chosen:
        id, row = data.ids[i], scored.answers[data.ids[i]]
        label, said = data.classes[data.y[i]], data.classes[int(p[i].argmax())]
        meters = row.get("meters")
        judged.append(
            Judged(
                id,
                uris[id],
                label,
                tuple(parse_soft_label(meters)) if meters else (label,),
                {**votes.get(id, {}), MODEL: said},
                said,
                float(p[i].max()),
                row.get("source") or "",
                row.get("song_id"),
            )
        )
    return judged
