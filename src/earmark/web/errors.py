"""Errors as a browser, a part of a page or a program is told them: always the same one sentence.

A page gets a page, a fragment (asked for by htmx) a notice, everything below ``/api`` the object
``{"detail": sentence}``.
"""

from __future__ import annotations

import errno
import json
import logging

from fastapi import FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect, HTTPConnection, Request
from starlette.responses import JSONResponse, Response

from earmark.errors import (
    EarmarkError,
    GateError,
    InputError,
    MissingExtraError,
    NoModelError,
    RunError,
    SealError,
    UsageError,
    WorkerError,
)

__all__ = ["NotFoundError", "RefusedPathError", "add_handlers", "refusal", "status_of"]

log = logging.getLogger(__name__)


class NotFoundError(UsageError):
    """What an address names does not exist."""

    http_status = 404


class RefusedPathError(UsageError):
    """A page named a path outside the folders it may."""

    http_status = 403


_STATUS: tuple[tuple[type[EarmarkError], int], ...] = (
    (SealError, 403),
    (MissingExtraError, 501),
    (UsageError, 400),
    (InputError, 422),
    (NoModelError, 409),
    (GateError, 409),
    (RunError, 404),
    (WorkerError, 503),
    (EarmarkError, 500),
)


def status_of(error: EarmarkError) -> int:
    """HTTP status of an error: its own, else that of the first class in the table that it belongs to."""
    own: int | None = getattr(error, "http_status", None)
    return own or next(status for kind, status in _STATUS if isinstance(error, kind))


def refusal(connection: HTTPConnection, status: int, sentence: str) -> Response:
    """The answer that says why not, in the form that was asked for."""
    sentence = sentence.encode("utf-8", "backslashreplace").decode()  # it may repeat what UTF-8 does not hold
    if _wants_json(connection):
        return JSONResponse({"detail": sentence}, status)
    from earmark.web.page import error_page

    return error_page(connection, status, sentence)


def add_handlers(app: FastAPI) -> None:
    """Let an application tell its errors in this way."""

    @app.exception_handler(EarmarkError)
    def of_earmark(request: Request, error: EarmarkError) -> Response:
        return refusal(request, status_of(error), str(error))

    @app.exception_handler(StarletteHTTPException)
    def of_http(request: Request, error: HTTPException) -> Response:
        sentence = str(error.detail)
        if error.status_code == 404 and sentence == "Not Found":
            sentence = f"There is nothing at `{request.url.path}`."
        response = refusal(request, error.status_code, sentence)
        response.headers.update(error.headers or {})
        return response

    @app.exception_handler(ClientDisconnect)
    def of_client(request: Request, error: ClientDisconnect) -> Response:
        return refusal(request, 400, "The request broke off.")  # nobody hears it, and it is no defect to log

    @app.exception_handler(OSError)
    def of_system(request: Request, error: OSError) -> Response:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return refusal(request, 507, "The disk is full. Free some space and try again; nothing is lost.")
        return _defect(request, error)

    @app.exception_handler(RequestValidationError)
    def of_request(request: Request, error: RequestValidationError) -> Response:
        if _wants_json(request):
            return _invalid(error)
        wrong = "; ".join(f"{one['loc'][-1]}: {one['msg']}" for one in error.errors())
        return refusal(request, 422, f"The request cannot be read: {wrong}.")

    @app.exception_handler(Exception)
    def of_defect(request: Request, error: Exception) -> Response:
        return _defect(request, error)


def _invalid(error: RequestValidationError) -> Response:
    """What is wrong where; values are not repeated, for they may be what JSON or UTF-8 does not hold."""
    wrong = [{name: one[name] for name in ("type", "loc", "msg")} for one in error.errors()]
    return Response(json.dumps({"detail": wrong}), 422, media_type="application/json")


def _defect(request: Request, error: Exception) -> Response:
    log.error("%s %s", request.method, request.url.path, exc_info=error)
    sentence = f"{type(error).__name__}. This should not happen, and is a defect of earmark; the server's log has more."
    return refusal(request, 500, sentence)


def _wants_json(connection: HTTPConnection) -> bool:
    return str(connection.scope["path"]).startswith("/api")
