"""The schema `market/1` is the one source of names, and names what is wrong."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
from market_rows import market_rows

from earmark.errors import SchemaError
from earmark.orderbook.catalog import FEATURE_GROUPS, FEATURE_NAMES
from earmark.tasks.market.feature_ranges import FEATURE_RANGES
from earmark.tasks.market.schema import SCHEMA


def test_facts_groups_and_inputs_are_those_of_the_catalogue() -> None:
    assert tuple(FEATURE_RANGES) == FEATURE_NAMES == SCHEMA.inputs
    assert SCHEMA.get_feature_groups() == FEATURE_GROUPS
    assert SCHEMA.names[:114] == ("symbol", "timestamp", *FEATURE_NAMES)


def test_no_column_of_the_future_key_or_record_is_an_input() -> None:
    planted = [*SCHEMA.names, "future_return_5s", "label"]
    assert SCHEMA.filter_columns(reversed(planted)) == FEATURE_NAMES
    assert not any(name.startswith(("future_", "signal_", "label_")) for name in SCHEMA.inputs)
    assert not {column.name for column in SCHEMA.stored} & {
        n for n in SCHEMA.names if n.startswith("future_")
    }


def test_sound_rows_have_no_problem_even_without_aroon() -> None:
    rows = pl.concat([market_rows("BTCUSDT", 20), market_rows("4USDT", 20)])
    absent = [pl.lit(None, pl.Float32).alias(name) for name in ("aroon_up", "aroon_down")]
    SCHEMA.validate_dataframe(rows, strict=True)
    SCHEMA.validate_dataframe(rows.with_columns(absent), strict=True)


def test_all_problems_are_named_at_once() -> None:
    rows = market_rows("BTCUSDT", 10)
    rows = rows.with_columns(
        pl.col("mid_price").cast(pl.Float64),
        pl.when(pl.col("timestamp") == pl.col("timestamp").min())
        .then(None)
        .otherwise(pl.col("close"))
        .alias("close"),
        (pl.col("rsi_14") + 200).alias("rsi_14"),
        pl.lit(1.0).alias("surprise"),
    ).drop("aroon_up")
    rows = pl.concat([rows, rows[4:5]])
    kinds = {(problem.kind, problem.column) for problem in SCHEMA.problems(rows)}
    assert kinds >= {
        ("presence", "aroon_up"),
        ("dtype", "mid_price"),
        ("null", "close"),
        ("range", "rsi_14"),
        ("unknown", "surprise"),
        ("duplicate", "timestamp"),
        ("order", "timestamp"),
    }
    with pytest.raises(
        SchemaError, match=r"Schema validation failed.*`aroon_up`.*earmark migrate market columns"
    ):
        SCHEMA.validate_dataframe(rows)


def test_columns_in_another_order_are_refused_when_strict() -> None:
    rows = market_rows("BTCUSDT", 3)
    swapped = rows.select("timestamp", "symbol", *rows.columns[2:])
    assert [problem.kind for problem in SCHEMA.problems(swapped)] == ["order"]
    SCHEMA.validate_dataframe(swapped, strict=False)


def test_the_hash_changes_with_what_data_depend_on_only() -> None:
    columns = list(SCHEMA.columns)
    described = replace(SCHEMA, columns=(replace(columns[0], description="x"), *columns[1:]))
    other_unit = replace(SCHEMA, columns=(*columns[:2], replace(columns[2], unit="%"), *columns[3:]))
    swapped = replace(SCHEMA, columns=(columns[1], columns[0], *columns[2:]))
    assert described.sha256 == SCHEMA.sha256
    assert len({SCHEMA.sha256, other_unit.sha256, swapped.sha256}) == 3
    assert SCHEMA.summary()["features"] == 112
