"""The tasks of a project as addresses name them."""

from __future__ import annotations

from earmark.models.constraints import closest
from earmark.web.errors import NotFoundError
from earmark.web.pages.training import tasks_of
from earmark.web.site import Site

__all__ = ["task_named", "tasks_of"]


def task_named(site: Site, slug: str) -> str:
    """The task of an address, as a command line spells it; raises NotFoundError."""
    known = tasks_of(site)
    if slug not in known:
        raise NotFoundError(
            f"There is no task `{slug}` here{closest(slug, known)}. Known: {', '.join(known)}."
        )
    return known[slug]
