"""`extract meter`: warm the cache phase by phase, so that one kind of work is in memory at a time.

Phases and their order are those of the task; what is cached is skipped, so a run that was killed goes on where it was.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earmark.errors import DecodeError, UsageError
from earmark.features.group import FeatureGroup
from earmark.features.item import Item
from earmark.features.progress import ProgressCallback
from earmark.features.table import ItemFailure
from earmark.tasks.meter.serving.reading import first_layout
from earmark.tasks.meter.views import PHASES
from earmark.tasks.project import Project
from earmark.tasks.verbs.coverage import PhaseCoverage, coverage

__all__ = ["PARTS", "PhaseDone", "chosen_items", "chosen_phases", "stratified", "warm", "windows_of"]

PARTS = ("train", "val", "test", "tuning", "all")
"""`tuning` is train and val; where a data set names no val part, val are the items of fold 0."""
ADDED_SET = "wikimeter"
"""Joins METER2800 only where it is asked for."""


@dataclass(frozen=True)
class PhaseDone:
    """One phase: what was cached before and what there is now, items computed, seconds of wall-clock, failures."""

    before: PhaseCoverage
    after: PhaseCoverage
    computed: int
    seconds: float
    failures: tuple[ItemFailure, ...]

    def to_row(self) -> dict[str, Any]:
        """For tables and JSON; `rate` is items computed per second."""
        return {
            **self.after.to_row(),
            "was_cached": self.before.cached,
            "computed": self.computed,
            "seconds": round(self.seconds, 1),
            "rate": round(self.computed / self.seconds, 2) if self.computed and self.seconds > 0 else None,
        }


def chosen_phases(
    names: Sequence[str], phases: Mapping[str, Sequence[FeatureGroup]] = PHASES
) -> dict[str, tuple[FeatureGroup, ...]]:
    """Some of `phases` by name, in the order in which they build on each other; all of them for ``all`` or no name.

    Raises
    ------
    UsageError
        An unknown name.
    """
    unknown = [name for name in names if name not in (*phases, "all")]
    if unknown:
        raise UsageError(f"phase {unknown[0]!r} is not known; expected all or one of {', '.join(phases)}.")
    takes_all = not names or "all" in names
    return {name: tuple(groups) for name, groups in phases.items() if takes_all or name in names}


def chosen_items(
    project: Project, part: str = "all", *, extra_data: bool = False, limit: int | None = None, seed: int = 42
) -> list[Item]:
    """Prepared items of a part, at most `limit` of them, the classes in their proportions.

    Parameters
    ----------
    part : str
        One of `PARTS`. Features of test items may be warmed; their labels stay sealed.
    extra_data : bool
        Rows of WIKIMETER too, beside those of other sets; alone they are taken anyway.
    """
    import polars as pl

    table = project.manifest.table.join(project.splits.table.select("id", "fold", in_split="split"), on="id")
    named = table["part"] if "part" in table.columns else pl.Series([None] * table.height, dtype=pl.String)
    is_test = table["in_split"] == "test"
    is_val = (named == "val") if (named == "val").any() else (table["fold"] == 0)
    is_val = is_val.fill_null(value=False) & ~is_test
    masks = {"train": ~is_test & ~is_val, "val": is_val, "test": is_test, "tuning": ~is_test}
    rows = table.filter(masks[part]) if part in masks else table
    if not extra_data and "dataset" in rows.columns and (rows["dataset"] != ADDED_SET).any():
        rows = rows.filter(pl.col("dataset") != ADDED_SET)
    ids = stratified(rows["id"].to_list(), rows["label"].to_list(), limit, seed)
    return list(project.manifest.subset(ids)) if ids else []


def windows_of(project: Project, sources: Sequence[str], limit: int | None = None) -> list[Item]:
    """The windows in which `predict meter` hears files and folders, at most `limit` recordings of them.

    A file that cannot be opened is one item, which fails with its reason when it is computed.

    Raises
    ------
    UsageError
        A source leads nowhere, or none holds audio.
    """
    recordings = project.items(sources)[:limit]
    layouts = [first_layout(item.uri) for item in recordings]
    return [
        Item(uri, uri)
        for item, layout in zip(recordings, layouts, strict=True)
        for uri in ((item.uri,) if isinstance(layout, DecodeError) else layout.uris)
    ]


def stratified(
    ids: Sequence[str], labels: Sequence[str | None], limit: int | None, seed: int = 42
) -> list[str]:
    """At most `limit` ids in their order, drawn so that each label keeps its share, and at least one.

    Sealed labels (None) count as one more label.
    """
    if not limit or limit >= len(ids):
        return list(ids)
    generator = np.random.default_rng(seed)
    by_label: dict[str, list[int]] = {}
    for row in generator.permutation(len(ids)):
        by_label.setdefault(str(labels[row]), []).append(int(row))
    # A row's place among its label's, as a share: the smallest shares first take from every label alike.
    ranked = sorted(
        (place / len(rows), name, row) for name, rows in by_label.items() for place, row in enumerate(rows)
    )
    return [ids[row] for row in sorted(row for _, _, row in ranked[:limit])]


def warm(
    project: Project,
    items: Sequence[Item],
    phases: Mapping[str, Sequence[FeatureGroup]],
    *,
    workers: int | None = None,
    retry_failed: bool = False,
    progress: ProgressCallback | None = None,
) -> list[PhaseDone]:
    """Run phases one after the other."""
    done = []
    for name, groups in phases.items():
        before = coverage(project, items, {name: groups})[0]
        started = time.perf_counter()
        table = project.extract(groups, items, workers=workers, retry_failed=retry_failed, progress=progress)
        seconds = time.perf_counter() - started
        after = coverage(project, items, {name: groups})[0]
        computed = max(table.computed.values(), default=0)
        done.append(PhaseDone(before, after, computed, seconds, tuple(table.failures)))
    return done


def write_matrix(project: Project, progress: ProgressCallback | None = None) -> tuple[Path, ...]:
    """Write the training matrix of the project's feature sets; see `earmark.tasks.verbs.extract`."""
    from earmark.tasks.verbs.extract import extract

    return extract(project, progress=progress).written
