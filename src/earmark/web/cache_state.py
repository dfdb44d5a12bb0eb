"""What pages and API ask of the feature cache; asked of the worker, since some of it looks at every item.

Functions take the project folder first and open it as a command would.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from earmark.cli.options import Invocation, open_project

__all__ = ["check", "data_bytes", "stale_groups", "stats", "why"]

DATA_FILE = "data.mdb"


def stats(folder: Path, task: str | None = None, versions: bool = False) -> dict[str, Any] | None:
    """What ``cache stats --format json`` prints; None where there is no cache yet."""
    from earmark.cli.cache_documents import stats_document

    invocation = _invocation(folder)
    if data_bytes(invocation.settings().path("cache")) is None:
        return None
    return stats_document(invocation, task, versions=versions)


def check(folder: Path, task: str, features: str | None = None) -> Any:
    """What ``cache check TASK --format json`` prints."""
    invocation = _invocation(folder)
    if task == "market":
        from dataclasses import asdict

        from earmark.tasks.market.extraction.extract import Wanted
        from earmark.tasks.market.extraction.extract import check as check_sessions

        return [asdict(row) for row in check_sessions(folder, Wanted((), None, None))]
    from earmark.cli.cache_documents import check_document

    return check_document(invocation, task, features=features)[0]


def why(
    folder: Path, group: str, task: str | None = None, earlier: str | None = None
) -> tuple[dict[str, Any], list[str]]:
    """What ``cache why GROUP --format json`` prints, and the changes as text."""
    from earmark.cli.cache_code import why_document

    return why_document(_invocation(folder), group, task=task, earlier=earlier)


def stale_groups(folder: Path, task: str) -> list[str]:
    """Groups of a task that the cache holds of earlier code only: training computes them again.

    The items are not looked at, so that the answer takes as long for many as for few.
    """
    project = open_project(_invocation(folder), task)
    if data_bytes(project.effective.path("cache")) is None:
        return []
    current = project.digests(project.task.all_groups)
    kept = {name: {record.digest for record in project.cache.records(name)} for name in current}
    return [name for name, digest in current.items() if kept[name] and digest not in kept[name]]


def data_bytes(cache: Path) -> int | None:
    """Size of the cache's file; None where there is none."""
    file = cache / DATA_FILE
    return file.stat().st_size if file.is_file() else None


def _invocation(folder: Path) -> Invocation:
    return Invocation(folder=folder, format="json", quiet=True)
