"""`extract`: fill the cache for a manifest or for files, and write the features for other tools."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.data.manifest import Manifest
from earmark.data.parquet import write_bytes_atomic
from earmark.errors import UsageError
from earmark.features.group import FeatureGroup
from earmark.features.progress import ProgressCallback
from earmark.features.sets import FeatureSet
from earmark.features.table import FeatureTable
from earmark.inference.inputs import expand_inputs
from earmark.inference.prediction import Failed
from earmark.tasks.project import Project

__all__ = ["Extracted", "extract", "groups_of", "write_table"]


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
    output: Path | None = None,
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
    output : Path, optional
        A ``.csv`` or ``.parquet`` file for the columns of all chosen sets; without it, and with a manifest, each set
        is written to the project's data folder. Features of test items are cached but not written.
    """
    sets = project.feature_sets(features)
    groups = groups_of(sets, phase)
    found = expand_inputs(sources)
    unusable = tuple(source for source in found if isinstance(source, Failed))
    paths = [source for source in found if isinstance(source, str)]
    if sources and not paths:
        raise UsageError("; ".join(source.error for source in unusable) or "the sources hold no audio files.")
    table = project.extract(
        groups,
        Manifest.from_paths(paths) if sources else project.manifest,
        workers=workers,
        limit=limit,
        use_cache=use_cache,
        retry_failed=retry_failed,
        progress=progress,
    )
    if phase not in (None, "all"):
        return Extracted(table, (), unusable)
    return Extracted(table, tuple(_write(project, sets, table, output, sealed=not sources)), unusable)


def groups_of(sets: Sequence[FeatureSet], phase: str | None = None) -> list[FeatureGroup]:
    """Groups of all sets, once each; only those that `phase` names, if it does."""
    groups = {group.name: group for chosen in sets for group in chosen.groups}
    if phase in (None, "all"):
        return list(groups.values())
    chosen = [group for name, group in groups.items() if phase in (name, name.rpartition(".")[2])]
    if not chosen:
        raise UsageError(f"phase {phase!r} is no feature group; expected all or one of {', '.join(groups)}.")
    return chosen


def write_table(path: Path, ids: Sequence[str], columns: Mapping[str, Any]) -> Path:
    """Write id and columns to ``.csv`` or ``.parquet``, whole or not at all."""
    import polars as pl

    table = pl.DataFrame({"id": list(ids), **columns})
    if path.suffix not in (".csv", ".parquet"):
        raise UsageError(f"`{path}`: expected a name that ends in .csv or .parquet.")
    content = io.BytesIO()
    if path.suffix == ".csv":
        table.write_csv(content)
    else:
        table.write_parquet(content)
    write_bytes_atomic(path, content.getvalue())
    return path


def _write(
    project: Project, sets: Sequence[FeatureSet], table: FeatureTable, output: Path | None, *, sealed: bool
) -> list[Path]:
    sealed_ids = set(project.splits.test_ids) if sealed else set()
    rows = [row for row, id in enumerate(table.ids) if id not in sealed_ids]
    ids = [table.ids[row] for row in rows]

    def columns_of(names: Sequence[str]) -> dict[str, Any]:
        values = table.select(names).values[rows]
        return {name: values[:, position] for position, name in enumerate(names)}

    if output is not None:
        names = list(dict.fromkeys(name for chosen in sets for name in chosen.columns))
        return [write_table(output, ids, columns_of(names))]
    if not sealed:
        return []
    folder = project.data_folder / "features"
    return [
        write_table(folder / f"{chosen.name}.parquet", ids, columns_of(chosen.columns))
        for chosen in sets
        if chosen.columns
    ]
