"""The prepared songs with arousal and valence, and the regressions trained on them.

Only items that may train take part: auxiliary ones, or the training part where DEAM stands alone. Each is
scored in the fold that `prepare` gave it. Songs with audio and songs with openSMILE tables are never mixed,
since their columns have different units; where both exist, those with audio are taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import UsageError
from earmark.features.item import Item
from earmark.features.progress import ProgressCallback
from earmark.tasks.zones.deam.annotations import ANNOTATION_COLUMNS
from earmark.tasks.zones.deam.arousal_valence import AV_COLUMNS, AVTraining, train_av
from earmark.tasks.zones.deam.arousal_valence_report import write_av
from earmark.tasks.zones.deam.opensmile import opensmile_table
from earmark.tasks.zones.features import common

if TYPE_CHECKING:
    from earmark.tasks.project import Project

__all__ = ["train_prepared_av"]


def train_prepared_av(
    project: Project,
    folder: str | Path,
    *,
    workers: int | None = None,
    progress: ProgressCallback | None = None,
) -> AVTraining:
    """Train arousal and valence on what was prepared, and write model and report into a folder.

    `workers` and `progress` are those of the extraction from audio.

    Raises
    ------
    UsageError
        Nothing was prepared, no item that may train has annotations, or none of their features could be made.
    """
    rows = _annotated_rows(project)
    tables = [row for row in rows if _is_table(row)]
    used = [row for row in rows if not _is_table(row)] or tables
    items = [Item(row["id"], row["uri"]) for row in used]
    if used is tables:
        table = opensmile_table(items, AV_COLUMNS)
    else:
        table = project.extract([common], items, workers=workers, progress=progress).select(AV_COLUMNS)
    of = {row["id"]: row for row in used}
    kept = [of[id] for id in table.ids]
    if not kept:
        raise UsageError(
            f"the features of none of {len(items)} annotated songs could be made; the first: "
            f"{table.failures[0].error} Correct the files, and run `earmark prepare` again."
        )
    arousal, valence = ([row[name] for row in kept] for name in ANNOTATION_COLUMNS)
    folds, groups = [row["fold"] for row in kept], [row["group"] for row in kept]
    training = train_av(table, arousal, valence, folds, groups, seed=project.settings.seed)
    about = {
        "features_from": "openSMILE tables" if used is tables else "audio",
        "left_out": {"failed": len(table.failures), "in_other_units": len(rows) - len(used)},
        "label_mapping": sorted({row["label_mapping"] for row in kept if row["label_mapping"]}),
    }
    write_av(training, folder, about=about)
    return training


def _annotated_rows(project: Project) -> list[dict[str, Any]]:
    """Rows with annotations that may train, each with its fold."""
    import polars as pl

    table = project.manifest.table
    assigned = project.splits.rows()
    rows: list[dict[str, Any]] = []
    if set(ANNOTATION_COLUMNS) <= set(table.columns):
        annotated = table.filter(pl.all_horizontal(pl.col(name).is_not_null() for name in ANNOTATION_COLUMNS))
        rows = [{**row, "fold": assigned[row["id"]]["fold"]} for row in annotated.iter_rows(named=True)]
    rows = [row for row in rows if row["fold"] >= 0]
    if not rows:
        raise UsageError(
            "no item that may train has arousal and valence. Expected songs of DEAM. "
            f"Run: earmark prepare {project.spelled} LABELS --deam DIR"
        )
    return rows


def _is_table(row: Mapping[str, Any]) -> bool:
    return str(row["uri"]).lower().endswith(".csv")
