"""The table `[meter]` of `earmark.toml`: which trackers feed the features, and how questions are answered."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from earmark.tasks.meter.schema import DEFAULT_SLOTS, MERT_LAYER
from earmark.tasks.section import Names, Section

__all__ = ["MeterSettings"]


class MeterSettings(Section):
    """Who tracks beats, what is asked, and how often."""

    trackers: Annotated[Names, Field(min_length=3, max_length=3)] = Field(
        default=DEFAULT_SLOTS,
        description="Trackers of beats in the three slots of the features; `absent` leaves one empty.",
    )
    beat_this: str | None = Field(
        default=None, min_length=1, description="Checkpoint of Beat This!; default: EARMARK_BEAT_THIS."
    )
    beatnet: str | None = Field(
        default=None, min_length=1, description="Weights file of BeatNet; default: EARMARK_BEATNET."
    )
    onset_model: str | None = Field(
        default=None,
        min_length=1,
        description="Run of `train meter --model onset` that `fusion72` asks; default: the one trained last.",
    )
    mert: str | None = Field(
        default=None, min_length=1, description="Checkpoint of MERT-v1-95M; default: EARMARK_MERT."
    )
    mert_layer: int = Field(
        default=MERT_LAYER, ge=0, le=11, description="Layer of MERT that is a feature, counted from 0."
    )

    run: str | None = Field(
        default=None,
        min_length=1,
        description="Run that answers; default: that of [predict], the promoted one, the newest, the shipped one.",
    )
    warmup_seconds: float = Field(
        default=8, ge=2, description="Seconds that are heard before the first answer."
    )
    sliding_window_seconds: float = Field(
        default=30, ge=4, le=30, description="Seconds that an answer about a live signal looks back."
    )
    reanalysis_interval: float = Field(
        default=2,
        ge=0.5,
        description="Seconds from answer to answer once a live signal has run for 10 s more.",
    )
    min_bpm: float = Field(default=40, gt=0, description="Slower estimates of the tempo are not believed.")
    max_bpm: float = Field(default=300, gt=0, description="Faster estimates of the tempo are not believed.")
    max_meter_hypotheses: int = Field(default=5, ge=1, le=6, description="Most time signatures to name.")
