"""What pages and API do with runs; comparing two runs takes a moment, so that it is asked of the worker."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.tasks.registry import task_names
from earmark.training.runs import Run, load_run
from earmark.web.documents import RUN
from earmark.web.errors import NotFoundError
from earmark.web.run_index import RunIndex, index_of

if TYPE_CHECKING:
    from earmark.web.site import Site

__all__ = ["promoted", "run_named", "runs_of", "spelled"]


def runs_of(site: Site) -> RunIndex:
    """The runs of the project."""
    return index_of(site.settings, site.invocation().settings().path("runs"))


def run_named(site: Site, name: str) -> Run:
    """A run as the command line finds it by its name; by its whole name without looking at any other.

    Raises
    ------
    NotFoundError
        The name is none: a path, or a pattern, which the command line would take.
    RunError
        There is no such run.
    """
    if not re.fullmatch(RUN, name):
        raise NotFoundError(f"`{name[:100]}` is not the name of a run. Choose one in the list.")
    index = runs_of(site)
    folder = index.folder(name)
    return load_run(name, root=index.root) if folder is None else load_run(folder)


def spelled(site: Site, task: str) -> str:
    """A task as the command line names it: the file of the project's settings where it is none that is installed."""
    own = site.invocation().settings().settings.task
    return own if task not in task_names() and own is not None and own.endswith(".py") else task


def promoted(root: Path, run: Path, reason: str, force: bool, stage: str) -> dict[str, Any]:
    """Give a run a stage; what ``runs promote --format json`` prints. Raises GateError where it is refused."""
    from earmark.cli.run_documents import promotion_document
    from earmark.tasks.verbs.promote import promote

    return promotion_document(promote(root, str(run), reason=reason, force=force, stage=stage), stage)
