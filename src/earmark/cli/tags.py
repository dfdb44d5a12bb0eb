"""Answers written into the tags of the user's files, as `earmark predict --write-tags` and `--undo` do it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from earmark.cli.options import Invocation
from earmark.errors import UsageError

if TYPE_CHECKING:
    from earmark.inference.prediction import Failed, Prediction
    from earmark.tasks.project import Project
    from earmark.tasks.task import TagWriting, Task

__all__ = [
    "report_nothing",
    "report_tags",
    "tag_documents",
    "tag_writing",
    "undo_tags",
    "without_tagged",
    "write_tags",
]

_COLUMNS = ("path", "status", "changes", "reason")


def tag_writing(task: Task) -> TagWriting:
    """How the task writes tags."""
    if task.outputs is None or task.outputs.tags is None:
        raise UsageError(f"Task `{task.name}` writes no tags. Give --output FILE instead.")
    return task.outputs.tags


def without_tagged(invocation: Invocation, task: Task, sources: Sequence[str]) -> list[str]:
    """The inputs of `sources` less those that already carry an answer, and a note of how many these are."""
    from earmark.cli.output import note
    from earmark.inference.inputs import expand_inputs
    from earmark.inference.prediction import Failed

    carries = tag_writing(task).carries
    named = [entry.path if isinstance(entry, Failed) else entry for entry in expand_inputs(sources)]
    left = [name for name in named if not carries(name)]
    if len(left) < len(named):
        note(
            invocation,
            f"{len(named) - len(left)} of {len(named)} {task.item_noun} already carry an answer in their tags and are "
            "not tagged again; --force does that.",
        )
    return left


def write_tags(project: Project, outcomes: Sequence[Prediction | Failed], how: Mapping[str, bool]) -> Any:
    """Write the answers as `how` says (``dry-run``, ``overwrite``, ``backup-copy``); gives the task's report."""
    writing = tag_writing(project.task)
    plan = writing.plan(project, outcomes, overwrite=how["overwrite"])
    return plan if how["dry-run"] else writing.write(project, plan, backup_copy=how["backup-copy"])


def undo_tags(invocation: Invocation, project: Project, which: str) -> int:
    """Take back the last write or all of them, and print what became of each file; gives the exit code."""
    from earmark.cli.output import note

    report = tag_writing(project.task).undo(project, which=which)
    if not report.changes:
        note(invocation, "Nothing was ever written into tags from this project folder.")
    code = report_tags(invocation, report)
    for line in report.notes:
        note(invocation, line)
    return code


def report_nothing(invocation: Invocation) -> int:
    """Print a report without files."""
    from earmark.cli.output import emit

    emit(invocation, [], columns=_COLUMNS, document=[])
    return 0


def tag_documents(report: Any, documents: Sequence[dict[str, Any]] | None = None) -> list[dict[str, Any]]:
    """What JSON says of a report: its changes, or each document with its change under ``tags``."""
    changes: list[dict[str, Any]] = [change.to_json() for change in report.changes]
    if documents is None:
        return changes
    return [
        {**document, "tags": {name: value for name, value in change.items() if name != "path"}}
        for document, change in zip(documents, changes, strict=True)
    ]


def report_tags(
    invocation: Invocation, report: Any, documents: Sequence[dict[str, Any]] | None = None
) -> int:
    """Print a report; gives the exit code, 1 where a file failed.

    Parameters
    ----------
    report : report of the task
    documents : sequence of dict, optional
        One per change: with JSON, each is printed with its change under ``tags``.
    """
    from earmark.cli.output import complain_of, emit, note

    rows = [change.to_row() for change in report.changes]
    emit(invocation, rows, columns=_COLUMNS, document=tag_documents(report, documents))
    failed = [change for change in report.changes if change.status == "failed"]
    for change in failed:
        complain_of(change.path, change.reason)
    if report.changes:
        note(
            invocation, "Tags: " + ", ".join(f"{count} {status}" for status, count in report.counts().items())
        )
    return 1 if failed else 0
