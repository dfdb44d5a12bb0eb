"""The table `[appliance]` of `earmark.toml`."""

from __future__ import annotations

from pydantic import Field

from earmark.tasks.section import Section

__all__ = ["ApplianceSettings"]


class ApplianceSettings(Section):
    """What a room's detector listens with."""

    beats: str | None = Field(
        default=None, min_length=1, description="Checkpoint of BEATs; default: EARMARK_BEATS."
    )
