"""The application: routes, errors, security, and what starts and ends with the server."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

import earmark
from earmark.web.answers import Answers
from earmark.web.documented import documented
from earmark.web.errors import add_handlers
from earmark.web.jobs.feed import Feed
from earmark.web.jobs.runner import JobRunner
from earmark.web.page import HERE
from earmark.web.paths import AllowList
from earmark.web.secret import Secret
from earmark.web.security import Guard
from earmark.web.settings import WebSettings
from earmark.web.site import Site
from earmark.web.uploads import FOLDER, discard_old

__all__ = ["ROUTERS", "create_app"]

ROUTERS = (
    "earmark.web.api.appliance",
    "earmark.web.api.cache",
    "earmark.web.api.data",
    "earmark.web.api.forms",
    "earmark.web.api.health",
    "earmark.web.api.jobs",
    "earmark.web.api.market",
    "earmark.web.api.meter",
    "earmark.web.api.runs",
    "earmark.web.api.zones",
    "earmark.web.pages.appliance",
    "earmark.web.pages.cache",
    "earmark.web.pages.data",
    "earmark.web.pages.jobs",
    "earmark.web.pages.login",
    "earmark.web.pages.market",
    "earmark.web.pages.meter",
    "earmark.web.pages.overview",
    "earmark.web.pages.runs",
    "earmark.web.pages.training",
    "earmark.web.pages.zones",
)
"""Modules with a ``router``, in the order in which addresses are looked up."""

YEAR_S = 365 * 24 * 3600


def create_app(settings: WebSettings) -> FastAPI:
    """The application of one project folder.

    Parameters
    ----------
    settings : WebSettings

    Returns
    -------
    FastAPI
        Its jobs start when the server does, and go on when it ends.
    """
    state = settings.state_folder
    secret = Secret.of(state / "secret")
    jobs = JobRunner(settings.folder, n_jobs=settings.n_jobs)
    site = Site(
        settings=settings,
        secret=secret,
        jobs=jobs,
        feed=Feed(jobs.store),
        allowed=AllowList((settings.folder, *settings.allowed_folders), settings.allows_uris),
        answers=Answers(warm),
    )
    app = FastAPI(
        title="earmark",
        version=earmark.__version__,
        summary="Trains, tests and runs classifiers of signals.",
        openapi_url="/api/openapi.json",
        docs_url=None,
        redoc_url=None,
        lifespan=_lifespan,
    )
    app.state.site = site
    app.openapi = partial(documented, app)  # type: ignore[method-assign]
    add_handlers(app)
    for module in ROUTERS:
        app.include_router(import_module(module).router)
    app.mount("/static", _Static(directory=HERE / "static"), name="static")
    app.add_middleware(Guard, settings=settings, secret=secret)
    return app


def warm() -> None:
    """What answers of every task need, imported before the first is asked for."""
    import_module("earmark.audio.decode")
    import_module("earmark.features.extractor")


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    site: Site = app.state.site
    discard_old(site.settings.state_folder / FOLDER, time.time())
    site.answers.start()
    site.jobs.start()
    threading.Thread(target=_import_tables, name="earmark imports", daemon=True).start()
    try:
        yield
    finally:
        site.jobs.close()
        site.answers.close()


def _import_tables() -> None:
    """What pages read tables with takes seconds to import: done before the first page asks for it."""
    for module in ("polars", "earmark.tasks.market.validation.glance"):
        import_module(module)


class _Static(StaticFiles):
    """Files whose address changes with their content: a browser may keep them."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if response.status_code == 200 and b"v=" in scope.get("query_string", b""):
            response.headers["Cache-Control"] = f"public, max-age={YEAR_S}, immutable"
        return response


def openapi() -> dict[str, Any]:
    """The schema of the JSON API, without a server."""
    from pathlib import Path
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        return create_app(WebSettings(Path(folder))).openapi()
