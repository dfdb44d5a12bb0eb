"""Audio in which trackers hear no beats: broken, silent or spoken files, to be looked at or left out.

Rows of the sealed test are never looked at. An item counts as bad if it cannot be decoded, or if at least
`min_failures` of the trackers that are there hear nothing in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from earmark.errors import UsageError
from earmark.features.group import FeatureGroup
from earmark.features.progress import ProgressCallback
from earmark.tasks.meter.trackers.registry import tracker
from earmark.tasks.project import Project

__all__ = ["MIN_FAILURES", "BadAudio", "find_bad_audio", "present_trackers"]

MIN_FAILURES = 2
_TRACKERS = ("dp", "bars", "beat_this", "beatnet")


@dataclass(frozen=True)
class BadAudio:
    """An item, where it is, the trackers that hear nothing in it, and what decoding said."""

    id: str
    uri: str
    without_beats: tuple[str, ...]
    error: str = ""


def present_trackers() -> dict[str, FeatureGroup]:
    """Trackers that can answer here: the built-in ones, and networks whose weights are given."""
    found = {name: tracker(name) for name in _TRACKERS}
    return {name: group for name, group in found.items() if group is not None}


def find_bad_audio(
    project: Project,
    *,
    min_failures: int = MIN_FAILURES,
    datasets: Sequence[str] = (),
    limit: int | None = None,
    progress: ProgressCallback | None = None,
) -> list[BadAudio]:
    """Bad items outside the sealed test, those that cannot be decoded first, then by the number of silent trackers.

    Parameters
    ----------
    project : Project
    min_failures : int
        Trackers that must hear nothing, at least 1 and at most those that are there.
    datasets : sequence of str
        Items of these data sets alone; empty: all.
    limit : int, optional
        Items that are looked at, at most.
    progress : callable, optional

    Raises
    ------
    UsageError
        `min_failures` can never be met, or no item is of these data sets.
    """
    trackers = present_trackers()
    if not 1 <= min_failures <= len(trackers):
        raise UsageError(
            f"min_failures is {min_failures}, and {len(trackers)} trackers are there ({', '.join(trackers)}); expected "
            f"1 to {len(trackers)}. Lower it, or give the weights of further trackers."
        )
    manifest = project.manifest.subset(_looked_at(project, datasets))
    table = project.extract(tuple(trackers.values()), list(manifest), limit=limit, progress=progress)
    uris = {item.id: item.uri for item in manifest}
    found = [BadAudio(failure.id, failure.uri, (), failure.error) for failure in table.failures]
    for position, id in enumerate(table.ids):
        silent = tuple(
            name for name, group in trackers.items() if not len(table.frames(group.name)[position])
        )
        if len(silent) >= min_failures:
            found.append(BadAudio(id, uris[id], silent))
    return sorted(found, key=lambda bad: (not bad.error, -len(bad.without_beats), bad.id))


def _looked_at(project: Project, datasets: Sequence[str]) -> list[str]:
    """Items outside the sealed test."""
    sealed = set(project.splits.test_ids)
    table = project.manifest.table
    sets = table["dataset"] if "dataset" in table.columns else [None] * table.height
    ids = [
        id
        for id, dataset in zip(table["id"], sets, strict=True)
        if id not in sealed and (not datasets or dataset in datasets)
    ]
    if not ids:
        raise UsageError(
            f"no item outside the sealed test is of {', '.join(datasets) or 'any data set'}. Name another."
        )
    return ids
