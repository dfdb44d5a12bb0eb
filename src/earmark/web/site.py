"""What the routes of a server share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from earmark.cli.options import Invocation, open_project
from earmark.web.answers import Answers
from earmark.web.jobs.feed import Feed
from earmark.web.jobs.runner import JobRunner
from earmark.web.paths import AllowList
from earmark.web.secret import Secret
from earmark.web.settings import WebSettings

if TYPE_CHECKING:
    from earmark.tasks.project import Project

__all__ = ["Site", "SiteOf", "site"]


@dataclass(frozen=True)
class Site:
    """One project as it is served."""

    settings: WebSettings
    secret: Secret
    jobs: JobRunner
    feed: Feed
    allowed: AllowList
    answers: Answers

    @property
    def folder(self) -> Path:
        """The project folder."""
        return self.settings.folder

    def invocation(self) -> Invocation:
        """What a command in the project folder is given; its answers are JSON."""
        return Invocation(folder=self.folder, format="json", quiet=True)

    def project(self, task: str) -> Project:
        """The project with a task; settings are read anew, as by each command."""
        is_file = task.endswith(".py")  # relative to the project, not to where the server was started
        return open_project(self.invocation(), str(self.folder / task) if is_file else task)


def site(connection: HTTPConnection) -> Site:
    """The site of the server that was asked."""
    return cast(Site, connection.app.state.site)


SiteOf = Annotated[Site, Depends(site)]
"""Type of a route's parameter that is the site."""
