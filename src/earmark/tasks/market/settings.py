"""The table `[market]` of `earmark.toml`: what `earmark collect market` collects, and where it puts it.

Names are those of the command's options with underscores. A value of None stands for that of the profile
(`earmark.tasks.market.collect.buffers.PROFILES`) or of the venue.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from earmark.tasks.section import Section

__all__ = ["MarketSettings"]


def _names(value: object) -> object:
    """Read ``"A, b"`` as ``("A", "B")``: the environment and the command line know only text."""
    if not isinstance(value, str):
        return value
    parts = json.loads(value) if value.startswith("[") else value.split(",")
    return [part.strip().upper() for part in parts if part.strip()]


class MarketSettings(Section):
    """What is collected and how it is kept."""

    symbols: Annotated[tuple[str, ...], BeforeValidator(_names)] = Field(
        default=(), description="Contracts to collect, as the venue writes them, e.g. BTCUSDT."
    )
    venue: Literal["bybit", "binance"] = Field(default="bybit", description="Exchange.")
    testnet: bool = Field(default=False, description="Use the exchange's test network.")
    url: str | None = Field(
        default=None, min_length=1, description="WebSocket address in place of the venue's."
    )
    rest_url: str | None = Field(
        default=None, min_length=1, description="REST address in place of the venue's."
    )
    depth: int = Field(default=200, ge=1, description="Levels per side of the subscribed book.")
    book_stale_s: float = Field(default=10, gt=0, description="Seconds without an update: the book is stale.")
    track_ms: int = Field(
        default=0, ge=0, description="Least distance of two rows of the price track; 0: all."
    )
    keep_messages: bool = Field(default=False, description="Keep every message as it came, too.")
    cadence: Literal["clock", "adaptive"] = Field(
        default="clock", description="Samples by the feature clock, or after 2 to 15 loops (about 25 s)."
    )
    collection_interval: int = Field(default=10, ge=1, description="Steps of 3 s from sample to sample.")
    profile: Literal["guide", "bot"] = Field(default="guide", description="Defaults of the buffers.")
    max_samples_per_file: int | None = Field(default=None, ge=1, description="Samples of a symbol per file.")
    max_buffer_memory_mb: float | None = Field(
        default=None, gt=0, description="Memory of a symbol's buffer, in MB."
    )
    max_buffer_age_s: float | None = Field(
        default=None,
        gt=0,
        description="Age at which a buffer with 10 samples or more is written, in seconds.",
    )
    enable_feature_store: bool | None = Field(default=None, description="Write samples to the feature store.")
    use_legacy_format: bool | None = Field(default=None, description="Write npy and json files, too.")
    storage_path: Path = Field(
        default=Path("data/ml_training"), description="Folder of the npy and json files."
    )
    feature_store_group: str = Field(
        default="training_features", min_length=1, description="Group of the feature store."
    )
    flush_raw_s: float = Field(
        default=300, gt=0, description="Seconds from one write of the raw store to the next."
    )
    metrics_port: int | None = Field(default=None, ge=0, le=65535, description="Port of Prometheus metrics.")
    raw_lob: bool = Field(default=False, description="Keep windows of the raw book, too.")
    levels: int = Field(default=20, ge=1, le=50, description="Levels per side of a window of the raw book.")
    min_interval_ms: int = Field(
        default=5000, ge=1, description="Least distance of two states in a window of the raw book."
    )
    raw_lob_ring: int = Field(
        default=100, ge=10, description="States of a symbol that wait for the disk; then they are written."
    )
    raw_lob_memory_mb: float = Field(
        default=150, gt=0, description="Memory of all states that wait; they are written at 85 % of it."
    )
    raw_lob_keep_days: float | None = Field(
        default=None,
        gt=0,
        description="Days after which files of states are removed, e.g. 30; not set: never.",
    )
