"""`/login`: where a browser shows the token once, and gets a cookie for it."""

from __future__ import annotations

import hmac

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from earmark.web.page import page
from earmark.web.security import TOKEN_COOKIE
from earmark.web.site import SiteOf

__all__ = ["router"]

router = APIRouter(include_in_schema=False)
MONTH_S = 30 * 24 * 3600


@router.get("/login")
def login(request: Request, site: SiteOf, token: str = "") -> Response:
    """Take the token of the address; without one, ask for it."""
    own = site.settings.token
    if own is None:
        return RedirectResponse("/", 303)
    if not token:
        return page(request, "login.html", title="A token is needed", failed=False)
    if not hmac.compare_digest(token.encode(), own.encode()):
        return page(request, "login.html", title="A token is needed", status=401, failed=True)
    response = RedirectResponse("/", 303)
    response.set_cookie(
        TOKEN_COOKIE,
        site.secret.sign("cookie", own),
        max_age=MONTH_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return response
