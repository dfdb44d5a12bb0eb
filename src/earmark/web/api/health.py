"""`/api/health`: whether the server answers, for what watches over it."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

import earmark

__all__ = ["router"]

router = APIRouter(prefix="/api/health", tags=["server"])


class Health(BaseModel):
    """What a server that answers says."""

    status: str = "ok"
    version: str = earmark.__version__


@router.get("", summary="Whether the server answers")
def health() -> Health:
    """Always ok: a server that is not does not answer."""
    return Health()
