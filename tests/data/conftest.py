"""Collections without audio: manifests and feature tables made by number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from earmark.data.manifest import Manifest

CLASSES = ("YELLOW", "GREEN", "PURPLE")


@dataclass(frozen=True)
class TableStandIn:
    """What `Dataset` reads of a feature table."""

    ids: tuple[str, ...]
    columns: tuple[str, ...]
    values: np.ndarray


@pytest.fixture
def make_manifest(tmp_path: Path) -> Callable[..., Manifest]:
    """``make_manifest(n, n_groups=..., seed=...)``: labelled, grouped items with content hashes."""

    def make(n: int = 100, *, n_groups: int | None = None, seed: int = 0) -> Manifest:
        rng = np.random.default_rng(seed)
        groups = np.arange(n) if n_groups is None else rng.integers(0, n_groups, n)
        return Manifest(
            pl.DataFrame(
                {
                    "id": [f"track{i:03d}.flac" for i in range(n)],
                    "uri": [f"music/track{i:03d}.flac" for i in range(n)],
                    "group": [f"artist{g}" for g in groups],
                    "label": [CLASSES[i] for i in rng.choice(3, n, p=[0.28, 0.38, 0.34])],
                    "content_hash": [f"{seed:04x}{i:028x}" for i in range(n)],
                }
            ),
            root=tmp_path,
        )

    return make


@pytest.fixture
def make_table() -> Callable[..., TableStandIn]:
    """``make_table(ids)``: two columns, the first of which counts the rows."""

    def make(ids: tuple[str, ...], columns: tuple[str, ...] = ("a.x", "a.y")) -> TableStandIn:
        values = np.arange(len(ids) * len(columns), dtype=np.float32).reshape(len(ids), len(columns))
        return TableStandIn(tuple(ids), columns, values)

    return make
