"""The prepared dataset as rows and sentences for readers."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from earmark.data.time_seal import SealedPeriod
from earmark.tasks.market.prepare import FOLDER, Prepared, data_folder, symbol_rows

__all__ = ["dataset_facts", "dataset_rows"]


def dataset_rows(prepared: Prepared, *, by_symbol: bool = True) -> list[dict[str, Any]]:
    """A row per part, then per symbol and part: windows, classes, what was removed, first and last time (UTC)."""
    whole = [
        {
            "symbol": "all",
            **{name: value for name, value in row.items() if name not in ("symbols", "first_ms", "last_ms")},
            "first": utc_text(row["first_ms"]),
            "last": utc_text(row["last_ms"]),
        }
        for row in prepared.record["parts"]
    ]
    each = symbol_rows(prepared.parts(), prepared.record["symbols"]) if by_symbol else []
    return [*whole, *each]


def dataset_facts(project: str | Path, record: Mapping[str, Any]) -> list[str]:
    """Source, columns, seal and openings, a sentence each."""
    source, seal = record["source"], record["seal"]
    openings = SealedPeriod(data_folder(project) / FOLDER).openings()
    return [
        f"{len(record['symbols'])} symbols of {source['group']}, {len(record['columns'])} columns ({source['view']}), "
        f"windows of {record['sequence_length']} rows, labels {source['label_set']} at {source['horizon_s']} s, data "
        f"{record['hashes']['series'][:12]}.",
        f"Sealed from {utc_text(seal['first_ms'])} to {utc_text(seal['last_ms'])} UTC, {openings}.",
    ]


def utc_text(ms: int) -> str:
    """``2025-06-01 12:30``."""
    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")
