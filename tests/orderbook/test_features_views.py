"""The catalogue, the views, lags and derived columns, and the maps of the dimensionless set."""

from __future__ import annotations

import math
from typing import get_args

import numpy as np
import polars as pl
import pytest

from earmark.errors import UsageError
from earmark.orderbook.catalog import (
    DUPLICATES,
    FEATURE_GROUPS,
    FEATURE_NAMES,
    FEATURES,
    V2_NAMES,
    Scale,
)
from earmark.orderbook.lagged import RANKED, lagged_and_derived, trailing_ranks
from earmark.orderbook.stationary import MEDIAN_STEPS, Stationary
from earmark.orderbook.views import DERIVED_NAMES, LAG_NAMES, LAGGED_FEATURES, LAGS, VIEWS, view_columns

ADDED = VIEWS["v1_187"][112:]


def test_the_catalogue_is_complete() -> None:
    assert [feature.number for feature in FEATURES] == list(range(1, 113))
    assert len(set(FEATURE_NAMES)) == 112
    sizes = [len(names) for group, names in FEATURE_GROUPS.items() if not group.startswith("indicator")]
    assert (sum(sizes[:5]), sum(sizes[5:])) == (50, 25)
    assert {feature.scale for feature in FEATURES} == set(get_args(Scale))
    numbers = {feature.name: feature.number for feature in FEATURES}
    assert {(numbers[a], numbers[b]) for a, b in DUPLICATES.items()} == {
        *((36, 9), (37, 10), (43, 16), (48, 47), (98, 77), (106, 70), (109, 69)),
        *((39, 2), (72, 63), (92, 90), (32, 26), (33, 28)),
    }


def test_views_have_their_widths() -> None:
    assert {name: len(columns) for name, columns in VIEWS.items()} == {
        "v1_110": 110,
        "v1_112": 112,
        "v1_187": 187,
        "v2": len(V2_NAMES),
    }
    assert (len(LAG_NAMES), len(DERIVED_NAMES)) == (60, 15)
    assert all(len(set(columns)) == len(columns) for columns in VIEWS.values())
    assert view_columns("v1_110")[-1] == "nvi"
    dropped = set(view_columns("v1_187")) - set(view_columns("v1_187", drop_duplicates=True))
    assert "effective_spread_lag8" in dropped
    assert "imbalance_5_lag8" not in dropped
    with pytest.raises(UsageError, match="no view 'v3'"):
        view_columns("v3")


def samples(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two symbols, the first with a gap at a third."""
    random = np.random.default_rng(seed)
    X = np.round(random.normal(size=(n, 112)), 1).astype(np.float32)
    X[:, FEATURE_NAMES.index("volume")] = random.gamma(1.0, size=n)
    X[:, FEATURE_NAMES.index("orderbook_volatility")] = random.gamma(1.0, size=n)
    symbol = np.repeat([0, 1], [n - n // 4, n // 4])
    time_ms = np.arange(n) * 30_000 + random.integers(-400, 400, n)
    time_ms[n // 3 :] += 30_000
    return X, symbol, time_ms


def test_lags_and_changes_are_those_of_each_unbroken_run() -> None:
    X, symbol, time_ms = samples(200)
    added = dict(zip(ADDED, lagged_and_derived(X, symbol, time_ms, interval_ms=30_000).T, strict=True))
    run = np.where(symbol == 1, 2, np.arange(200) >= 66)
    table = pl.DataFrame(
        {"run": run, **{name: X[:, i].astype(float) for i, name in enumerate(FEATURE_NAMES)}}
    )

    def back(name: str, k: int) -> pl.Expr:
        return pl.col(name).shift(k).over("run")

    x = pl.col("imbalance_5")
    spread, smart = pl.col("bid_ask_spread_rel"), pl.col("smart_money_index")
    expected = {
        **{f"{name}_lag{lag}": back(name, lag) for name in LAGGED_FEATURES for lag in LAGS},
        "imbalance_5_change": x - back("imbalance_5", 1),
        "imbalance_5_momentum": x - back("imbalance_5", 4),
        "imbalance_ratio_5_10": x / (pl.col("imbalance_10") + 1e-10),
        "imbalance_vol_adjusted": x / (pl.col("orderbook_volatility") + 1e-10),
        "imbalance_volume_weighted": x * (1 + pl.col("volume")).log(),
        "spread_change": spread - back("bid_ask_spread_rel", 1),
        "spread_momentum": spread.diff().over("run").rolling_mean(4).over("run"),
        "rsi_diff": pl.col("rsi_14") - pl.col("rsi_28"),
        "rsi_14_momentum": pl.col("rsi_14") - back("rsi_14", 4),
        "smart_money_momentum": smart.diff().over("run"),
        "smart_money_acceleration": smart.diff().diff().over("run"),
        "trade_quote_ratio": pl.col("trade_arrival_rate") / (pl.col("quote_intensity") + 1e-10),
        "volatility_regime": pl.col("orderbook_volatility")
        / pl.col("orderbook_volatility").rolling_mean(20).over("run"),
    }
    for name, expression in expected.items():
        column = table.select(expression.alias("x"))["x"].fill_null(math.nan).to_numpy()
        np.testing.assert_allclose(added[name], column, rtol=1e-5, atol=1e-6, err_msg=name)
    before = added["imbalance_5_lag1"].astype(float)
    now = X[:, FEATURE_NAMES.index("imbalance_5")].astype(float)
    relative = np.where(before == 0, 0, (now - before) / np.where(before == 0, 1, before))
    np.testing.assert_allclose(added["imbalance_5_change_pct"], relative, rtol=1e-5, atol=1e-6)


def test_ranks_are_trailing_and_of_one_symbol() -> None:
    X, symbol, time_ms = samples(1600, seed=1)
    added = lagged_and_derived(X, symbol, time_ms, interval_ms=30_000)[:, ADDED.index("composite_signal")]
    weights = {"imbalance_5": 0.4, "depth_imbalance_ratio": 0.4, "volume_delta_5": 0.2}
    for i in (0, 18, 19, 500, 532, 533, 1100, 1199, 1200, 1218, 1219, 1599):
        first = max(i - RANKED + 1, 0 if i < 1200 else 1200)
        expected = 0.0 if i - first >= 19 else math.nan
        for name, weight in weights.items():
            x = X[first : i + 1, FEATURE_NAMES.index(name)]
            expected += weight * ((x < x[-1]).sum() + ((x == x[-1]).sum() + 1) / 2) / len(x)
        assert added[i] == pytest.approx(expected, rel=1e-5, nan_ok=True), i


def test_later_rows_change_nothing() -> None:
    X, symbol, time_ms = samples(700, seed=2)
    whole = lagged_and_derived(X, symbol, time_ms, interval_ms=30_000)
    for n in (1, 30, 300, 650):
        part = lagged_and_derived(X[:n], symbol[:n], time_ms[:n], interval_ms=30_000)
        assert part.tobytes() == whole[:n].tobytes()


def test_missing_values_stay_missing() -> None:
    X, symbol, time_ms = samples(60, seed=3)
    X[30, FEATURE_NAMES.index("trade_arrival_rate")] = np.nan
    X[30, FEATURE_NAMES.index("imbalance_5")] = np.nan
    added = dict(zip(ADDED, lagged_and_derived(X, symbol, time_ms, interval_ms=30_000).T, strict=True))
    assert np.isnan(
        [added[name][30] for name in ("trade_quote_ratio", "composite_signal", "imbalance_5_change")]
    ).all()
    assert np.isnan(added["trade_arrival_rate_lag1"][31])
    ranks = trailing_ranks(np.array([1.0, np.nan, 3.0, 2.0]), np.arange(4), 500, 2)
    assert ranks.tolist() == pytest.approx([math.nan, math.nan, 1.0, 2 / 3], nan_ok=True)


def test_rows_out_of_order_are_refused() -> None:
    X, symbol, time_ms = samples(10)
    with pytest.raises(UsageError, match="Sample 1 is not later"):
        lagged_and_derived(X[::-1], symbol[::-1], time_ms[::-1], interval_ms=30_000)
    with pytest.raises(UsageError, match="expected 112 features"):
        lagged_and_derived(X[:, :110], symbol, time_ms, interval_ms=30_000)
    assert lagged_and_derived(X[:0], symbol[:0], time_ms[:0], interval_ms=30_000).shape == (0, 75)


def test_dimensionless_maps_by_hand() -> None:
    def row(**values: float) -> np.ndarray:
        return np.array([values.get(name, 0.0) for name in FEATURE_NAMES])

    maps = Stationary()
    for k in range(MEDIAN_STEPS + 50):
        maps.push(row(depth_bid_5=1.0 + (k < 50), depth_ask_5=3.0, volume=4.0))
    now = row(
        mid_price=200.0,
        sma_10=201.0,
        macd=-1.0,
        volume=8.0,
        volume_delta_5=-2.0,
        rsi_14=75.0,
        williams_r=-50.0,
        book_depth_ratio=math.e,
        kyle_lambda=0.5,
        cci=123.0,
        obv=1e9,
    )
    mapped = maps.features(now, 200.0, np.array([0.25, 0.5, 0.75, 1.0]), short_history=False)
    out = dict(zip(FEATURE_NAMES, mapped.tolist(), strict=True))
    assert maps.depth == 4
    assert (out["mid_price"], out["sma_10"], out["macd"]) == (0, pytest.approx(50), pytest.approx(-50))
    assert out["volume"] == pytest.approx(math.log(2))
    assert (out["volume_delta_5"], out["rsi_14"], out["williams_r"]) == (-0.5, 0.5, 0)
    assert (out["book_depth_ratio"], out["cci"]) == (1, 123)
    assert out["kyle_lambda"] == pytest.approx(0.5 * 4 / 200 * 1e4)
    assert [out[name] for name in ("obv", "ad_line", "vpt", "nvi", "price_volume_trend")] == [
        0.25,
        0.5,
        0.75,
        1,
        0.75,
    ]
    assert out["sma_20"] == 0
    assert (mapped != now).sum() > 10
