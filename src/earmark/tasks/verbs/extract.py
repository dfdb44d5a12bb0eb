"""`extract`: fill the cache for a manifest or for files, and write the features for other tools."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.data.manifest import Manifest
from earmark.errors import UsageError
from earmark.features.group import FeatureGroup
from earmark.features.progress import ProgressCallback
from earmark.features.sets import FeatureSet
from earmark.features.table import FeatureTable
from earmark.inference.inputs import expand_inputs
from earmark.inference.prediction import Failed
from earmark.tasks.project import Project
from earmark.tasks.verbs.tables import Export, chosen_rows, without_groups

__all__ = ["Extracted", "extract", "groups_of"]


@dataclass(frozen=True)
class Extracted:
    """What `extract` did; `to_json` is the stable form of ``extract --format json``."""

    table: FeatureTable
    written: tuple[Path, ...]
    unusable: tuple[Failed, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """``items``, ``failures``, ``computed`` and ``seconds`` per group, ``written``."""
        return {
            "items": len(self.table),
            "failures": [
                *(
                    {"id": source.path, "path": source.path, "error": source.error}
                    for source in self.unusable
                ),
                *({"id": row.id, "path": row.uri, "error": row.error} for row in self.table.failures),
            ],
            "computed": dict(self.table.computed),
            "seconds": {name: round(seconds, 3) for name, seconds in self.table.seconds.items()},
            "written": [str(path) for path in self.written],
        }


def extract(
    project: Project,
    sources: Sequence[str] = (),
    *,
    features: Sequence[str] | None = None,
    phase: str | None = None,
    workers: int | None = None,
    limit: int | None = None,
    rows: str | None = None,
    skip: Sequence[str] = (),
    output: Path | None = None,
    table_format: str | None = None,
    use_cache: bool = True,
    retry_failed: bool = False,
    progress: ProgressCallback | None = None,
) -> Extracted:
    """Extract feature sets for the project's manifest, or for `sources` (files, folders, playlists).

    Parameters
    ----------
    features : sequence of str, optional
        Names of feature sets; default the settings' or the task's.
    phase : str, optional
        One group only, by its name or the last part of it; ``all`` for every group.
    rows : str, optional
        Only feature sets with such rows: ``track``, ``frames`` or ``spectrogram``; ``all`` for the first of each.
    skip : sequence of str, optional
        Groups to leave out of the sets, with their columns.
    output : Path, optional
        A ``.csv`` or ``.parquet`` file for the columns of all chosen sets, or a folder, or an ``.npz`` file for arrays;
        see `earmark.tasks.verbs.tables`. Without it, and with a manifest, each set with a row per item is written to
        the project's data folder. Features of test items are cached but not written.
    table_format : {"csv", "parquet"}, optional
        Of the files in a folder.
    """
    sets = without_groups(_chosen_sets(project, features, rows), skip)
    groups = groups_of(sets, phase)
    export = Export(output, table_format) if output is not None else None
    if export is None and table_format and not sources:
        export = Export(project.data_folder / "features", table_format)
    if export is not None:
        export.check(sets)
    found = expand_inputs(sources)
    unusable = tuple(source for source in found if isinstance(source, Failed))
    paths = [source for source in found if isinstance(source, str)]
    if sources and not paths:
        raise UsageError("; ".join(source.error for source in unusable) or "the sources hold no audio files.")
    manifest = Manifest.from_paths(paths) if sources else project.manifest
    table = project.extract(
        groups,
        manifest,
        workers=workers,
        limit=limit,
        use_cache=use_cache,
        retry_failed=retry_failed,
        progress=progress,
    )
    if phase not in (None, "all"):
        return Extracted(table, (), unusable)
    return Extracted(
        table, tuple(_write(project, sets, table, export, manifest, sealed=not sources)), unusable
    )


def _chosen_sets(project: Project, features: Sequence[str] | None, rows: str | None) -> list[FeatureSet]:
    """The sets that were named, or the settings', or the task's; of these the ones with such rows."""
    named = features or project.settings.features
    if rows is None:
        return project.feature_sets(features)
    known = list(project.task.feature_sets.values())
    return chosen_rows(known, project.feature_sets(named) if named else None, project.task.features(), rows)


def groups_of(sets: Sequence[FeatureSet], phase: str | None = None) -> list[FeatureGroup]:
    """Groups of all sets, once each; only those that `phase` names, if it does."""
    groups = {group.name: group for chosen in sets for group in chosen.groups}
    if phase in (None, "all"):
        return list(groups.values())
    chosen = [group for name, group in groups.items() if phase in (name, name.rpartition(".")[2])]
    if not chosen:
        raise UsageError(f"phase {phase!r} is no feature group; expected all or one of {', '.join(groups)}.")
    return chosen


def _write(
    project: Project,
    sets: Sequence[FeatureSet],
    table: FeatureTable,
    export: Export | None,
    manifest: Manifest,
    *,
    sealed: bool,
) -> list[Path]:
    """Write what was extracted; test items of the prepared manifest stay out."""
    if export is None and not sealed:
        return []
    sealed_ids = set(project.splits.test_ids) if sealed else set()
    keep = [row for row, id in enumerate(table.ids) if id not in sealed_ids]
    if export is not None:
        return export.write(sets, table, keep, manifest)
    tracks = [chosen for chosen in sets if chosen.columns]
    return Export(project.data_folder / "features").write(tracks, table, keep, manifest)
