"""`market/1`: names, order, types, units and ranges of all that the task stores.

The features are those of `earmark.orderbook.catalog`. A model is given columns of a view and nothing else:
`SCHEMA.inputs` is the allow-list, and no column that knows the future, the key or the bookkeeping is on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from earmark.orderbook.catalog import FEATURE_NAMES, FEATURES, V2_NAMES, Feature
from earmark.store.schema import Column, TableSchema
from earmark.tasks.market.feature_ranges import FEATURE_RANGES

__all__ = ["GROUP", "HORIZONS_S", "SCHEMA", "V2_GROUP", "V2_SCHEMA", "market_store_schemas"]

GROUP = "training_features"
"""The group of the feature store that `collect` writes and `train` reads."""

V2_GROUP = "training_features_v2"
"""The group of the dimensionless features of the same rows."""

HORIZONS_S = (10, 30, 60, 180, 300)
"""Horizons with columns of their own in the schema; label sets may hold others."""

_META = (
    Column("symbol", "string", group="meta", description="Name of the contract, e.g. BTCUSDT"),
    Column(
        "timestamp",
        "int64",
        "ms",
        low=1_577_836_800_000,
        group="meta",
        description="Book time, since 1970 UTC",
    ),
)

_OPTIONAL = (
    Column("current_mid_price", "float64", "px", 0, nullable=True, description="Mid price at the row"),
    Column(
        "current_imbalance", "float64", "1", 0, 1, nullable=True, description="Bid / (bid + ask) quantity"
    ),
    Column("spread", "float64", "px", 0, nullable=True, description="a_1 - b_1"),
    Column(
        "signal_type", "string", nullable=True, description="SELL, HOLD or BUY of the model that was loaded"
    ),
    Column("signal_confidence", "float32", "1", 0, 1, nullable=True, description="Its confidence"),
    Column("signal_strength", "float32", "1", 0, 1, nullable=True, description="|p_up - p_down|"),
)

_RECORD = (
    Column("sample_time_ms", "int64", "ms", nullable=True, description="Tick of the feature clock"),
    Column(
        "recv_ns",
        "int64",
        "ns",
        nullable=True,
        description="This machine's clock at the last update in the book",
    ),
    Column(
        "quality", "string", nullable=True, description="What was unusual about the row, empty if nothing was"
    ),
    Column("origin", "string", nullable=True, description="live, replayed, migrated or imported"),
)


def _column(feature: Feature) -> Column:
    low, high = FEATURE_RANGES[feature.name]
    return Column(
        feature.name, "float32", feature.unit, low, high, feature.nullable, feature.group, feature.formula
    )


def _grouped(group: str, columns: Sequence[Column]) -> tuple[Column, ...]:
    return tuple(replace(column, group=group, required=False) for column in columns)


def _labels() -> tuple[Column, ...]:
    directions = [
        Column(
            f"future_direction_{h}s",
            "int8",
            "1",
            0,
            2,
            True,
            description=f"0 down, 1 neutral, 2 up after {h} s",
        )
        for h in HORIZONS_S
    ]
    movements = [
        Column(
            f"future_movement_{h}s",
            "float64",
            "1",
            -1,
            None,
            True,
            description=f"Relative change after {h} s",
        )
        for h in HORIZONS_S
    ]
    return (*directions, *movements)


SCHEMA = TableSchema(
    name="market",
    version=1,
    columns=(
        *_META,
        *(_column(feature) for feature in FEATURES),
        *_grouped("label", _labels()),
        *_grouped("optional", _OPTIONAL),
        *_grouped("record", _RECORD),
    ),
    inputs=FEATURE_NAMES,
)
"""Of the group `GROUP`. Labels are declared for joined tables; the stored files have none."""

V2_SCHEMA = TableSchema(
    name="market_v2",
    version=1,
    columns=(
        *_META,
        *(Column(name, "float32", nullable=True, group="v2", required=False) for name in V2_NAMES),
        *_grouped("optional", _OPTIONAL),
        *_grouped("record", _RECORD),
    ),
    inputs=V2_NAMES,
)
"""Of the group `V2_GROUP`."""


def market_store_schemas() -> dict[str, TableSchema]:
    """Group -> schema, for a `FeatureStore` of this task."""
    return {GROUP: SCHEMA, V2_GROUP: V2_SCHEMA}
