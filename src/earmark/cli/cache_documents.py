"""The cache as JSON: what `earmark cache --format json` prints, and what the JSON API answers. Nothing is computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from earmark.cli.options import Invocation, open_project

if TYPE_CHECKING:
    from earmark.cache.entries import FeatureCache
    from earmark.features.group import FeatureGroup
    from earmark.tasks.project import Project

__all__ = ["check_document", "stats_document"]


def stats_document(invocation: Invocation, task: str | None, *, versions: bool = False) -> dict[str, Any]:
    """Entries, bytes and computing time per group, or per version of each; with a task, its groups and phases alone."""
    from earmark.cache.entries import FeatureCache

    found = FeatureCache(invocation.settings().path("cache"), read_only=True).stats()
    chosen: Sequence[Any] = found.versions if versions else found.groups
    rows = [
        dataclasses.asdict(row)
        for row in chosen
        if task is None or row.group == task or row.group.startswith(f"{task}.")
    ]
    fields = ("path", "file_bytes", "entries", "bytes")
    document = {**{name: getattr(found, name) for name in fields}, "groups": rows}
    covered = _coverage(invocation, task)
    return document | ({"coverage": covered} if covered else {})


def check_document(
    invocation: Invocation, task: str | None, sources: Sequence[str] = (), *, features: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Fresh, stale, missing and failed items per group of a task, and a line for each item that cannot be read.

    `sources` and `features` are as in `earmark cache check`; ``cost_s`` is what computing the stale and missing items
    will take, in seconds.
    """
    from earmark.errors import InputError

    project = open_project(invocation, task, features=None if features == "all" else features)
    groups = project.task.all_groups if features == "all" else _groups_of(project)
    items = project.items(sources)
    found = list(zip(items, project.cache.identify_many([item.uri for item in items]), strict=True))
    failed = [f"failed: {item.id}: {error}" for item, error in found if isinstance(error, InputError)]
    identities = [identity for _, identity in found if not isinstance(identity, InputError)]
    cost_s = _seconds_per_item(project.cache)
    rows = [
        {**dataclasses.asdict(row), "cost_s": _cost(cost_s.get(row.group), row.stale + row.missing)}
        for row in project.cache.check(project.digests(groups), identities)
    ]
    document = {
        "task": project.task.name,
        "items": len(identities),
        "groups": {row["group"]: row for row in rows},
    }
    return document, failed


def _coverage(invocation: Invocation, task: str | None) -> list[dict[str, object]]:
    """Rows per phase of a task that is built in, has phases and is prepared; else none."""
    from earmark.tasks.registry import task_names

    if task not in task_names():
        return []
    project = open_project(invocation, task)
    if not project.task.phases or not project.is_prepared:
        return []
    from earmark.tasks.verbs.coverage import coverage

    return [phase.to_row() for phase in coverage(project)]


def _groups_of(project: Project) -> list[FeatureGroup]:
    """Groups of the feature sets in force, once each."""
    return list({group.name: group for chosen in project.feature_sets() for group in chosen.groups}.values())


def _seconds_per_item(store: FeatureCache) -> dict[str, float]:
    """Group -> mean computing time of its newest version that was ever timed, seconds."""
    times: dict[str, float] = {}
    for version in store.stats().versions:
        if version.seconds_per_item is not None:
            times.setdefault(version.group, version.seconds_per_item)
    return times


def _cost(seconds_per_item: float | None, n_items: int) -> float | None:
    return None if seconds_per_item is None else round(seconds_per_item * n_items, 3)
