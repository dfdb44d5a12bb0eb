"""Pages and parts of pages from templates."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse

__all__ = ["NAVIGATION", "error_page", "fragment", "page"]

HERE = Path(__file__).parent

NAVIGATION = (
    ("overview", "/", "Overview"),
    ("zones", "/zones", "Zones"),
    ("meter", "/meter", "Meter"),
    ("appliance", "/appliance", "Appliance"),
    ("market", "/market", "Market"),
    ("training", "/training", "Training"),
    ("jobs", "/jobs", "Jobs"),
    ("runs", "/runs", "Runs"),
    ("data", "/data", "Data"),
    ("cache", "/cache", "Cache"),
)
"""Section, address and name, as the navigation shows them."""


def page(
    request: HTTPConnection,
    template: str,
    *,
    title: str,
    section: str = "",
    status: int = 200,
    **context: Any,
) -> HTMLResponse:
    """A whole page.

    Parameters
    ----------
    request : Request
    template : str
        File below ``templates/`` that extends ``base.html``.
    title : str
        Its heading and the browser's title.
    section : str
        Entry of `NAVIGATION` that is current.
    status : int
    **context
        What the template names.
    """
    return _rendered(request, template, status, {"title": title, "section": section, **context})


def fragment(request: HTTPConnection, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """A part of a page, for htmx to put in its place."""
    return _rendered(request, template, status, context)


def error_page(connection: HTTPConnection, status: int, sentence: str) -> HTMLResponse:
    """A page, or a notice where a part of a page was asked for, that says what went wrong."""
    if connection.headers.get("hx-request") == "true":
        return fragment(connection, "parts/notice.html", status=status, kind="bad", text=sentence)
    title = {401: "A token is needed", 404: "Not found"}.get(status, "This did not work")
    return page(connection, "error.html", title=title, status=status, sentence=sentence, code=status)


def _rendered(
    request: HTTPConnection, template: str, status: int, context: Mapping[str, Any]
) -> HTMLResponse:
    shared = {
        "request": request,
        "path": request.scope["path"],
        "csrf": request.scope.get("state", {}).get("csrf", ""),
        "navigation": NAVIGATION,
    }
    text = _environment().get_template(template).render(**shared, **context)
    return HTMLResponse(text, status)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "bytes": _bytes,
        "seconds": _seconds,
        "percent": percent,
        "json": to_attribute,
        "pretty": pretty,
        "moment": moment,
    }
    environment.globals["asset"] = asset
    return environment


@cache
def asset(name: str) -> str:
    """Address of a static file, which changes with its content, so that browsers may keep it."""
    import xxhash

    return f"/static/{name}?v={xxhash.xxh3_64_hexdigest((HERE / 'static' / name).read_bytes())[:10]}"


def number(value: Any, digits: int = 3) -> str:
    """A number for people: ``0.8134`` -> ``0.813``; a dash where there is none."""
    if value is None or value != value:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def percent(value: float | None, digits: int = 0) -> str:
    """A share as a percentage: ``0.81`` -> ``81 %``."""
    return "–" if value is None or value != value else f"{100 * value:.{digits}f} %"


def moment(value: str | float | None) -> str:
    """A point in time, ISO 8601 or Unix seconds, as ``2026-01-02 10:15:00`` UTC; a dash where there is none."""
    if value is None or value == "":
        return "–"
    if isinstance(value, int | float):
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%S")
    return str(value).replace("T", " ")[:19]


def to_attribute(value: Any) -> str:
    """JSON for a ``data-`` attribute, which the template escapes; what is not finite becomes null."""
    from earmark.cli.output import to_json

    return json.dumps(json.loads(to_json(value)), separators=(",", ":"))


def pretty(value: Any) -> str:
    """JSON for people to read, as the command line prints it."""
    from earmark.cli.output import to_json

    return to_json(value).rstrip()


def _bytes(count: float | None) -> str:
    from earmark.cli.output import format_bytes

    return "–" if count is None else format_bytes(count)


def _seconds(seconds: float | None) -> str:
    from earmark.cli.output import format_seconds

    return "–" if seconds is None else format_seconds(seconds)
