"""The schema of the JSON API: what each route tells of itself, and what stands in front of all of them.

`earmark.web.security.Guard` and the reading of parameters and bodies answer before any route does. They are told
here, once, so that no route has to repeat them and none can forget them.
"""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from earmark.web.documents import Refusal
from earmark.web.security import SAFE

__all__ = ["documented"]

_REFUSAL = "Refusal"
_INVALID = "HTTPValidationError"
"""Components of the schema: one sentence; what is wrong with each parameter."""

_METHODS = frozenset({"get", "put", "post", "delete", "patch", "head", "options"})


def documented(app: FastAPI) -> dict[str, Any]:
    """The schema of an application, made on the first call."""
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            summary=app.summary,
            routes=app.routes,
            tags=app.openapi_tags,
        )
        components = schema.setdefault("components", {}).setdefault("schemas", {})
        components.setdefault(_REFUSAL, Refusal.model_json_schema())
        for path in schema["paths"].values():
            for method in _METHODS & path.keys():
                _complete(path[method], is_change=method.upper() not in SAFE)
        app.openapi_schema = schema
    return app.openapi_schema


def _complete(operation: dict[str, Any], *, is_change: bool) -> None:
    responses: dict[str, Any] = operation["responses"]
    for status, description in _in_front(is_change, "requestBody" in operation).items():
        responses.setdefault(status, {"description": description, "content": _content(_REFUSAL)})
    # A route that tells its own 422 still has parameters, which are judged before it is asked.
    own = responses.get("422", {}).get("content", {}).get("application/json")
    if own is not None and own["schema"] != _reference(_INVALID):
        own["schema"] = {"anyOf": [own["schema"], _reference(_INVALID)]}


def _in_front(is_change: bool, has_body: bool) -> dict[str, str]:
    """Status -> meaning of what is answered in place of a route."""
    found = {"401": "The server asks for a token", "421": "The server does not go by this name"}
    if is_change:
        found["403"] = "This came from another site"
    if has_body:
        found |= {"400": "The body cannot be read", "413": "The body is too large"}
    return found


def _content(name: str) -> dict[str, Any]:
    return {"application/json": {"schema": _reference(name)}}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
