"""The prepared songs with arousal and valence, and the regressions trained on them.

Only items that may train take part: auxiliary ones, or the training part where DEAM stands alone. Each is
scored in the fold that `prepare` gave it. Songs with audio and songs with openSMILE tables are never mixed,
since their columns have different units; where both exist, those with audio are taken.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import RunError, UsageError
from earmark.features.item import Item
from earmark.features.progress import ProgressCallback
from earmark.features.sets import FeatureSet
from earmark.tasks.probe import feature_probe, require_same_features
from earmark.tasks.zones.deam.annotations import ANNOTATION_COLUMNS
from earmark.tasks.zones.deam.arousal_valence import AV_COLUMNS, TARGETS, AVModel, AVTraining, train_av
from earmark.tasks.zones.deam.arousal_valence_report import REPORT_FILE, write_av
from earmark.tasks.zones.deam.opensmile import opensmile_table
from earmark.tasks.zones.features import common

if TYPE_CHECKING:
    from earmark.tasks.project import Project
    from earmark.tasks.task import TargetReport, TargetRequest

__all__ = ["AV_FEATURES", "load_av_for_audio", "train_av_target", "train_prepared_av"]

AV_FEATURES = FeatureSet("arousal and valence", (common,), AV_COLUMNS)
"""What a model of audio reads."""
_AUDIO, _TABLES = "audio", "openSMILE tables"


def train_av_target(request: TargetRequest) -> TargetReport:
    """What ``train --target av`` runs; parameters ``n_estimators``, ``max_depth`` and ``learning_rate``."""
    from earmark.tasks.task import TargetReport

    names = {"n_estimators": "n_trees", "max_depth": "max_depth", "learning_rate": "eta"}
    given = {names.get(name, name): value for name, value in request.parameters.items()}
    trained = train_prepared_av(
        request.project,
        request.folder,
        parameters=given,
        workers=request.workers,
        progress=request.progress,
    )
    kinds = {"model": trained.scores, "mean of the training songs": trained.baseline}
    rows = [
        {"target": target, "predicted by": kind, **scores[target]}
        for target in TARGETS
        for kind, scores in kinds.items()
    ]
    document = {"songs": len(trained.ids), "scores": trained.scores, "baseline": trained.baseline}
    said = f"{len(trained.ids)} songs, each scored in a fold that did not train on it."
    return TargetReport(rows, (said,), document)


def train_prepared_av(
    project: Project,
    folder: str | Path,
    *,
    parameters: Mapping[str, Any] | None = None,
    workers: int | None = None,
    progress: ProgressCallback | None = None,
) -> AVTraining:
    """Train arousal and valence on what was prepared, and write model and report into a folder.

    `parameters` are those of `train_av`; `workers` and `progress` those of the extraction from audio.

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
    training = train_av(
        table, arousal, valence, folds, groups, parameters=parameters, seed=project.settings.seed
    )
    about = {
        "features_from": _TABLES if used is tables else _AUDIO,
        **({} if used is tables else {"code": _code(project), "probe": feature_probe(AV_FEATURES)}),
        "left_out": {"failed": len(table.failures), "in_other_units": len(rows) - len(used)},
        "label_mapping": sorted({row["label_mapping"] for row in kept if row["label_mapping"]}),
    }
    write_av(training, folder, about=about)
    return training


def load_av_for_audio(project: Project, folder: str | Path) -> AVModel:
    """A model that `train_prepared_av` wrote, for features made from audio by the code of now.

    Raises
    ------
    RunError
        The folder holds no usable model, one of openSMILE tables, or one of other feature code.
    """
    folder, again = Path(folder), f"earmark train {project.spelled} --target av"
    model = AVModel.load(folder)
    try:
        report = json.loads((folder / REPORT_FILE).read_bytes())
        made_from, code, trained = (report.get(name) for name in ("features_from", "code", "probe"))
    except (OSError, ValueError, AttributeError) as error:
        raise RunError(
            f"`{folder / REPORT_FILE}` does not say what features the model was trained on ({error!r}). Expected the "
            f"report of its training. Run: {again}"
        ) from error
    if made_from != _AUDIO:
        raise RunError(
            f"the model of arousal and valence in `{folder}` was trained on {made_from or 'unknown features'}, whose "
            "columns have other units than features made from audio; its answers for audio would mean nothing. "
            f"Prepare DEAM with its audio (MEMD_audio), and run: {again}"
        )
    if code != _code(project):
        require_same_features(folder.name, AV_FEATURES, trained or {})
    return model


def _code(project: Project) -> str:
    return project.digests(AV_FEATURES.groups)[common.name].hex()


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
