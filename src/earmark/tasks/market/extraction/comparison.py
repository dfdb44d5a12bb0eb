"""Computed rows against those of the feature store, and the writing of rows that it lacks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.orderbook.catalog import FEATURE_NAMES, V2_NAMES
from earmark.tasks.market.collect.pipeline import Sample
from earmark.tasks.market.extraction.sessions import Features, Session

if TYPE_CHECKING:
    import polars as pl

    from earmark.tasks.market.extraction.extract import Extracted, Wanted

__all__ = ["Comparison", "meet_store"]


@dataclass
class Comparison:
    """Computed rows against those of the feature store.

    ``differing`` is column -> rows whose bits differ; ``missing`` are computed rows that the store lacks, ``extra``
    rows of the store (live or replayed) at whose tick nothing was computed.
    """

    compared: int = 0
    missing: int = 0
    extra: int = 0
    differing: dict[str, int] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every row that both have is the same, and the store has none of unknown source."""
        return not self.differing and not self.extra


def meet_store(done: Extracted, found: Sequence[Features], data: Path, group: str, wanted: Wanted) -> None:
    """Compare with the feature store, or write what it lacks, or both: first the comparison."""
    from earmark.store.offline import FeatureStore
    from earmark.tasks.market.collect.samples import V2_GROUP_SUFFIX, sample_table, v2_table
    from earmark.tasks.market.schema import SCHEMA, V2_SCHEMA

    tables: dict[str, tuple[Any, Callable[[Sequence[Sample]], pl.DataFrame]]] = {
        group: (SCHEMA, sample_table),
        group + V2_GROUP_SUFFIX: (V2_SCHEMA, v2_table),
    }
    store = FeatureStore(
        data / "feature_store", schemas={name: schema for name, (schema, _) in tables.items()}
    )
    comparison, n_written = Comparison(), 0
    for features in found:
        samples = features.samples()
        done.n_rows += len(samples)
        for name, (_, table_of) in tables.items():
            columns = FEATURE_NAMES if name == group else V2_NAMES
            rows = table_of(samples) if samples else None
            if wanted.compares:
                _compare(comparison, store, name, features.session, rows, columns)
            if wanted.writes and rows is not None:
                n_written += _write(store, name, rows)
    done.comparison = comparison if wanted.compares else None
    done.n_written = n_written if wanted.writes else None


def _write(store: Any, group: str, rows: pl.DataFrame) -> int:
    import polars as pl

    written: int = store.write_offline_features(group, rows.with_columns(origin=pl.lit("replayed"))).rows
    return written


def _compare(
    comparison: Comparison,
    store: Any,
    group: str,
    session: Session,
    rows: pl.DataFrame | None,
    columns: Sequence[str],
) -> None:
    """Bits of the rows whose tick both have."""
    import polars as pl

    table = store.table(group)
    n_rows = 0 if rows is None else rows.height
    if not table.exists:
        comparison.missing += n_rows
        return
    # A row's own time, that of its book, lies up to some seconds before its tick.
    stored = table.scan(session.start_ms - 60_000, session.end_ms, [session.symbol]).collect()
    on_day = pl.col("sample_time_ms").is_between(session.start_ms, session.end_ms)
    stored = stored.filter(on_day & pl.col("origin").is_in(["live", "replayed"])).sort("sample_time_ms")
    if rows is None:
        comparison.extra += stored.height
        return
    rows = rows.sort("sample_time_ms")
    both = stored.select("sample_time_ms").join(rows.select("sample_time_ms"), on="sample_time_ms")
    ours = rows.join(both, on="sample_time_ms", how="semi").select(columns)
    theirs = stored.join(both, on="sample_time_ms", how="semi").select(columns)
    comparison.compared += both.height
    comparison.missing += n_rows - both.height
    comparison.extra += stored.height - both.height
    differs = _bits(ours) != _bits(theirs)
    for place in np.flatnonzero(differs.any(axis=0)).tolist():
        name = columns[place]
        comparison.differing[name] = comparison.differing.get(name, 0) + int(differs[:, place].sum())


def _bits(table: pl.DataFrame) -> npt.NDArray[np.uint32]:
    values = np.ascontiguousarray(table.to_numpy(), np.float32)
    values[np.isnan(values)] = np.nan  # a missing value has one pattern
    return values.view(np.uint32)
