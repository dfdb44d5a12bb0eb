"""`prepare`: read sources into a manifest, divide it once, seal the test labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earmark.data.manifest import Manifest
from earmark.data.seal import SPLITS_FILE, seal
from earmark.data.splits import Splits
from earmark.errors import UsageError
from earmark.tasks.inputs import import_items
from earmark.tasks.project import Project
from earmark.tasks.task import ImportRequest, LabelFiles

__all__ = ["Prepared", "label_files", "prepare"]

_ANNOTATION = "ann."  # columns of ratings that labels are made of


@dataclass(frozen=True)
class Prepared:
    """What `prepare` did: the importer's account, the sizes of the parts, what to know, and where it lies."""

    report: Any
    n_items: int
    n_train: int
    n_test: int
    n_unlabelled: int
    folds: tuple[int, ...]
    warnings: tuple[str, ...]
    folder: Path | None
    train_classes: Mapping[str, int] = field(default_factory=dict)
    n_auxiliary: int = 0


def prepare(
    project: Project,
    sources: Sequence[str | Path],
    *,
    options: Mapping[str, Any] | None = None,
    reseal_reason: str | None = None,
    labels_output: Path | None = None,
    dry_run: bool = False,
) -> Prepared:
    """Import sources, split them and seal the test labels.

    Parameters
    ----------
    project : Project
    sources : sequence of path
        What the task's importer reads; may be empty where ``options["deam"]`` names another source.
    options : mapping, optional
        Passed to the importer.
    reseal_reason : str, optional
        Draw a new test set; the ledger keeps the reason.
    labels_output : Path, optional
        Also write what was read, with all labels, as a label file in the task's normal form; auxiliary items
        are left out, since the file could not tell them from others.
    dry_run : bool
        Read and split, write nothing.

    Raises
    ------
    UsageError
        No source, nothing usable in them, or a task that does not read DEAM.
    SealError
        An earlier test item would become a training item.
    """
    options = dict(options or {})
    if not sources and not options.get("deam"):
        raise UsageError("no source was given; name a label file or a folder.")
    importer = project.task.importer or import_items
    request = ImportRequest(
        tuple(str(source) for source in sources), project.root, project.cache.identify, options
    )
    imported = importer(request)
    if options.get("deam") and not getattr(imported.report, "mapping", None):
        raise UsageError(f"task `{project.task.name}` does not read DEAM; leave --deam out.")
    if labels_output is not None and not dry_run:
        label_files(project).write(labels_output, _scored(imported.manifest))
    splits = _split(project, imported.manifest, reseal=bool(reseal_reason))
    if not dry_run:
        told = _without_test_annotations(imported.manifest, splits)
        _, splits = seal(project.data_folder, told, splits, reseal_reason=reseal_reason)
        project.cache.flush()
    return _account(imported.manifest, splits, imported.report, None if dry_run else project.data_folder)


def label_files(project: Project) -> LabelFiles:
    """The task's ways with label files; raises UsageError where it has none."""
    if project.task.label_files is None:
        raise UsageError(
            f"task `{project.task.name}` has no label files of its own form to compare or write."
        )
    return project.task.label_files


def _split(project: Project, manifest: Manifest, *, reseal: bool) -> Splits:
    earlier = project.data_folder / SPLITS_FILE
    previous = Splits.read(earlier) if earlier.is_file() else None
    return Splits.make(manifest, project.split_policy, previous=previous, reseal=reseal)


def _scored(manifest: Manifest) -> Manifest:
    """The rows that are not auxiliary."""
    import polars as pl

    if "auxiliary" not in manifest.table.columns:
        return manifest
    ours = manifest.table.filter(~pl.col("auxiliary").fill_null(value=False))
    return Manifest(ours, root=manifest.root) if ours.height else manifest


def _without_test_annotations(manifest: Manifest, splits: Splits) -> Manifest:
    """The manifest without the annotations of test items: their labels are made of them and are to be sealed."""
    import polars as pl

    test = pl.col("id").is_in(list(splits.test_ids))
    hidden = [
        pl.when(test).then(None).otherwise(pl.col(name)).alias(name)
        for name in manifest.table.columns
        if name.startswith(_ANNOTATION)
    ]
    return Manifest(manifest.table.with_columns(hidden), root=manifest.root) if hidden else manifest


def _account(manifest: Manifest, splits: Splits, report: Any, folder: Path | None) -> Prepared:
    rows = splits.rows()
    of = {id: rows[id] for id in manifest.ids}
    labels = dict(zip(manifest.ids, manifest.table["label"], strict=True))
    folds = Counter(row["fold"] for row in of.values() if row["split"] == "train")
    classes = Counter(labels[id] for id, row in of.items() if row["split"] == "train" and labels[id])
    return Prepared(
        report=report,
        n_items=len(manifest),
        n_train=len(splits.train_ids),
        n_test=len(splits.test_ids),
        n_auxiliary=len(splits.auxiliary_ids),
        n_unlabelled=sum(not label for label in labels.values()),
        folds=tuple(folds[fold] for fold in sorted(folds)),
        warnings=(*getattr(report, "warnings", ()), *splits.warnings),
        folder=folder,
        train_classes=dict(sorted(classes.items())),
    )
