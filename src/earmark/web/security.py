"""Who may ask, and from where: one layer in front of every route, WebSockets included.

=================================  =========================================================================
threat                             answer
=================================  =========================================================================
another machine                    listens on 127.0.0.1; any other address asks for a token
a site that names this address     requests under an unknown ``Host`` are refused (DNS rebinding)
a site that posts to this one      what changes anything must come from an own page and carry its token
a page that was made to run code   no script or style but the server's own files (``Content-Security-Policy``)
a body without end                 1 MiB for JSON and forms; uploads have a limit of their own
=================================  =========================================================================

A program that is no browser needs no token of a page: no site can make it send anything. It is known by what it
lacks, for every browser sends ``Origin`` or ``Sec-Fetch-Site`` with what changes anything, and no page can leave
them out.
"""

from __future__ import annotations

import hmac
import secrets
from http.cookies import SimpleCookie

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from earmark.web.errors import refusal
from earmark.web.secret import Secret
from earmark.web.settings import WebSettings, is_local

__all__ = ["CSRF_HEADER", "SESSION_COOKIE", "TOKEN_COOKIE", "Guard", "csrf_token"]

SESSION_COOKIE = "earmark_session"
TOKEN_COOKIE = "earmark_token"
CSRF_HEADER = "x-csrf-token"
LARGEST_BODY = 1 << 20
TOO_LARGE = "The request is larger than 1 MiB, which only uploads may be."
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OPEN_PATHS = ("/login", "/static/", "/api/health")
"""What answers without the token: the page that asks for it, and what that page shows."""

POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
    "frame-ancestors 'none'; form-action 'self'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(self)",
}


def csrf_token(secret: Secret, session: str) -> str:
    """What pages of a session send along with everything that changes anything."""
    return secret.sign("csrf", session)


class Guard:
    """The layer: refuses, or lets through with the headers of a careful server.

    Parameters
    ----------
    app : ASGI application
    settings : WebSettings
    secret : Secret
    """

    def __init__(self, app: ASGIApp, settings: WebSettings, secret: Secret) -> None:
        self._app = app
        self._settings = settings
        self._secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request or WebSocket."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        refused = self._refused(connection)
        if refused is not None:
            await self._refuse(connection, receive, send, *refused)
            return
        session = connection.cookies.get(SESSION_COOKIE) or secrets.token_urlsafe(24)
        scope.setdefault("state", {})["csrf"] = csrf_token(self._secret, session)
        is_new = SESSION_COOKIE not in connection.cookies
        limited = receive if _has_own_limit(connection) else _limited(receive)
        await self._app(scope, limited, _adding(send, session if is_new else None))

    def _refused(self, connection: HTTPConnection) -> tuple[int, str] | None:
        """Status and sentence, or None where the request is let through."""
        headers, settings = connection.headers, self._settings
        if not self._knows_host(headers.get("host", "")):
            return 421, (
                f"This server does not go by the name `{headers.get('host', '')}`. Ask for {settings.url}, "
                "or start it with --allow-host NAME."
            )
        if not self._is_known(connection):
            return 401, "A token is needed. Open the address that `earmark web` printed when it started."
        is_change = connection.scope["type"] == "websocket" or connection.scope["method"] not in SAFE
        if is_change and not self._is_own(connection):
            return 403, (
                "This came from another site, or from a page that was opened before the server's secret changed. "
                "Nothing was done. Load the page again."
            )
        if int(_digits(headers.get("content-length"))) > LARGEST_BODY and not _has_own_limit(connection):
            return 413, TOO_LARGE
        return None

    def _knows_host(self, host: str) -> bool:
        if self._settings.token is not None and not self._settings.allowed_hosts:
            return True  # the token's cookie is not sent under another name
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        return is_local(name) or name in (self._settings.host, *self._settings.allowed_hosts)

    def _is_known(self, connection: HTTPConnection) -> bool:
        token = self._settings.token
        if token is None or connection.scope["path"].startswith(OPEN_PATHS):
            return True
        shown = connection.cookies.get(TOKEN_COOKIE, "")
        if hmac.compare_digest(shown.encode(), self._secret.sign("cookie", token).encode()):
            return True
        return _has_bearer(connection.headers, token)

    def _is_own(self, connection: HTTPConnection) -> bool:
        headers = connection.headers
        if self._settings.token is not None and _has_bearer(headers, self._settings.token):
            return True
        if "origin" not in headers and "sec-fetch-site" not in headers:
            return True
        if not _is_same_origin(headers):
            return False
        if connection.scope["type"] == "websocket" or connection.scope["path"] == "/login":
            return True  # a page cannot add headers to a WebSocket, whose Origin was compared
        session = connection.cookies.get(SESSION_COOKIE, "")
        expected = csrf_token(self._secret, session)
        return bool(session) and hmac.compare_digest(headers.get(CSRF_HEADER, "").encode(), expected.encode())

    async def _refuse(
        self, connection: HTTPConnection, receive: Receive, send: Send, status: int, sentence: str
    ) -> None:
        if connection.scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008, "reason": sentence[:120]})
            return
        await refusal(connection, status, sentence)(connection.scope, receive, _adding(send, None))


def _has_bearer(headers: Headers, token: str) -> bool:
    scheme, _, shown = headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode(), token.encode())


def _is_same_origin(headers: Headers) -> bool:
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or origin.partition("://")[2] == headers.get("host")


def _has_own_limit(connection: HTTPConnection) -> bool:
    """Whether the body is an upload, which `earmark.web.uploads` measures as it comes."""
    return connection.headers.get("content-type", "").startswith("multipart/form-data")


def _limited(receive: Receive) -> Receive:
    """Stops a body that is longer than it said, or did not say how long it is."""
    n_bytes = 0

    async def measured() -> Message:
        nonlocal n_bytes
        message = await receive()
        if message["type"] == "http.request":
            n_bytes += len(message.get("body", b""))
            if n_bytes > LARGEST_BODY:
                raise HTTPException(413, TOO_LARGE)
        return message

    return measured


def _adding(send: Send, session: str | None) -> Send:
    """Adds the headers; a route's own `Content-Security-Policy` stays."""

    async def adding(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            if session is not None:
                headers.append("Set-Cookie", _cookie(SESSION_COOKIE, session))
        await send(message)

    return adding


def _cookie(name: str, value: str) -> str:
    cookie: SimpleCookie = SimpleCookie()
    cookie[name] = value
    for attribute, given in (("httponly", True), ("samesite", "Strict"), ("path", "/")):
        cookie[name][attribute] = given
    return cookie[name].OutputString()


def _digits(text: str | None) -> str:
    return text if text and text.isdigit() and len(text) < 19 else "0"
