"""Starting a command from a page or a request: its form, its words, a job."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from earmark.web.forms import arguments, form_of, kind_of
from earmark.web.jobs.job import Job
from earmark.web.site import Site

__all__ = ["start"]


def start(site: Site, command: str, task: str | None, values: Mapping[str, Any]) -> Job:
    """Put ``earmark COMMAND TASK`` with the values of its form into the queue; a service starts at once.

    Raises
    ------
    UsageError
        The command is not offered, or that task has none.
    FormError
        Values that the command would refuse.
    """
    form = form_of(command, task)
    words = arguments(form, values, site.allowed)
    return site.jobs.submit(form.command, form.task, words, kind=kind_of(form, words))
