"""The market's features in their one order: 50 of the order book, 25 of candles, 37 of indicators.

The number of a feature is its position in this table, from 1. Legacy files are as wide as the first 110 or all 112.

Symbols of the formulas: b_i, a_i = i-th best bid and ask price; B_n, A_n = quantity of the best n levels; B, A = of
all 50; m = mid; s = spread; H = the last 20 states of the feature clock; o, h, l, c, v = the last closed one-minute
candle; c1, v1 = the one before; L = the last 20, W = the last 200 closed candles; px = quote currency, qty = base
coin, 1 = no unit. A division by zero gives 0 unless stated.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = [
    "DUPLICATES",
    "FEATURES",
    "FEATURE_GROUPS",
    "FEATURE_NAMES",
    "NULLABLE_FEATURES",
    "TOXICITY_WINDOWS_S",
    "TRADE_WINDOWS_S",
    "V2_NAMES",
    "Feature",
    "Scale",
]

Scale: TypeAlias = Literal[
    "level",
    "difference",
    "quantity",
    "signed_quantity",
    "impact",
    "relative_impact",
    "ratio",
    "oscillator",
    "negative_oscillator",
    "running",
    "plain",
]
"""What a feature measures, and thereby how it is made dimensionless (`earmark.orderbook.stationary`)."""


@dataclass(frozen=True, slots=True)
class Feature:
    """One feature: its number from 1, and what it means."""

    number: int
    name: str
    group: str
    unit: str
    scale: Scale
    formula: str
    nullable: bool


_TABLE: dict[str, tuple[tuple[str, str, Scale, str], ...]] = {
    "lob_basic": (
        ("bid_ask_spread_abs", "px", "difference", "a1 - b1"),
        ("bid_ask_spread_rel", "%", "plain", "s / m x 100"),
        ("mid_price", "px", "level", "(a1 + b1) / 2"),
        ("micro_price", "px", "level", "(b1 A1 + a1 B1) / (A1 + B1); m if empty"),
        ("vwap_bid_5", "px", "level", "quantity-weighted price of the top 5 bids"),
        ("vwap_ask_5", "px", "level", "quantity-weighted price of the top 5 asks"),
        ("vwap_bid_10", "px", "level", "quantity-weighted price of the top 10 bids"),
        ("vwap_ask_10", "px", "level", "quantity-weighted price of the top 10 asks"),
        ("depth_bid_5", "qty", "quantity", "B5"),
        ("depth_ask_5", "qty", "quantity", "A5"),
        ("depth_bid_10", "qty", "quantity", "B10"),
        ("depth_ask_10", "qty", "quantity", "A10"),
        ("total_bid_volume", "qty", "quantity", "B"),
        ("total_ask_volume", "qty", "quantity", "A"),
        ("book_depth_ratio", "1", "ratio", "B / A; 1 if A = 0"),
    ),
    "lob_pressure": (
        ("imbalance_5", "1", "plain", "(B5 - A5) / (B5 + A5)"),
        ("imbalance_10", "1", "plain", "(B10 - A10) / (B10 + A10)"),
        ("imbalance_total", "1", "plain", "(B - A) / (B + A)"),
        ("price_pressure", "px", "difference", "(B5 a1 - A5 b1) / (B5 + A5)"),
        ("volume_delta_5", "qty", "signed_quantity", "B5 - A5, less that of the state before"),
        (
            "order_flow_imbalance",
            "qty",
            "signed_quantity",
            "change of quantity at the top 10 bids less asks, weighted 1 / (1 + abs(p - m) / m)",
        ),
        ("bid_intensity", "1/qty", "quantity", "levels / max(mean quantity, 0.001) of the top 10 bids"),
        ("ask_intensity", "1/qty", "quantity", "levels / max(mean quantity, 0.001) of the top 10 asks"),
        ("buy_sell_ratio", "1", "ratio", "(1 + imbalance_total) / max(1 - imbalance_total, 0.01)"),
        (
            "smart_money_index",
            "0..1",
            "plain",
            "share of quantity in levels from the 90th percentile of quantity up",
        ),
    ),
    "lob_cluster": (
        (
            "largest_bid_cluster_price",
            "px",
            "level",
            "first price of the biggest bid cluster, levels within 0.1 % of it",
        ),
        ("largest_bid_cluster_volume", "qty", "quantity", "its quantity"),
        (
            "largest_ask_cluster_price",
            "px",
            "level",
            "first price of the biggest ask cluster, levels within 0.1 % of it",
        ),
        ("largest_ask_cluster_volume", "qty", "quantity", "its quantity"),
        ("num_bid_clusters", "1", "plain", "number of bid clusters"),
        ("num_ask_clusters", "1", "plain", "number of ask clusters"),
        ("support_level_1", "px", "level", "largest_bid_cluster_price, else b1"),
        ("resistance_level_1", "px", "level", "largest_ask_cluster_price, else a1"),
        ("distance_to_support", "%", "plain", "(m - support_level_1) / m x 100"),
        ("distance_to_resistance", "%", "plain", "(resistance_level_1 - m) / m x 100"),
    ),
    "lob_liquidity": (
        ("liquidity_bid_5", "qty", "quantity", "B5"),
        ("liquidity_ask_5", "qty", "quantity", "A5"),
        ("liquidity_asymmetry", "1", "ratio", "B5 / A5"),
        ("effective_spread", "1", "plain", "s / m"),
        (
            "kyle_lambda",
            "px/qty",
            "impact",
            "median abs(dm) / abs(d(B5 + A5)), last 10 of H; s / (B5 + A5) when shorter",
        ),
        (
            "amihud_illiquidity",
            "1/qty",
            "relative_impact",
            "mean abs(return) / mean (B5 + A5) over H; s / max(B5 + A5, 1) below 10 states",
        ),
        (
            "roll_spread",
            "px",
            "difference",
            "2 sqrt(-cov(dm, dm before)) over 20 states, 0 if cov >= 0; s when shorter",
        ),
        ("depth_imbalance_ratio", "1", "plain", "(B5 - A5) / (B5 + A5)"),
    ),
    "lob_temporal": (
        ("level_ttl_avg", "s", "plain", "mean life of the last 50 vanished levels"),
        ("level_ttl_std", "s", "plain", "standard deviation of those lives"),
        ("orderbook_volatility", "1", "plain", "standard deviation of returns of m over H"),
        ("update_frequency", "1/s", "plain", "updates of the book per second over the last 10 of H"),
        ("quote_intensity", "1/s", "plain", "update_frequency"),
        ("trade_arrival_rate", "1/s", "plain", "public trades of the last 60 s / 60"),
        ("spread_volatility", "px", "difference", "standard deviation of s over H"),
    ),
    "candle_ohlcv": (
        ("open", "px", "level", "o"),
        ("high", "px", "level", "h"),
        ("low", "px", "level", "l"),
        ("close", "px", "level", "c"),
        ("volume", "qty", "quantity", "v"),
        ("typical_price", "px", "level", "(h + l + c) / 3"),
    ),
    "candle_derived": (
        ("returns", "1", "plain", "c / c1 - 1"),
        ("log_returns", "1", "plain", "ln(c / c1)"),
        ("high_low_range", "1", "plain", "(h - l) / c"),
        ("close_open_diff", "1", "plain", "(c - o) / o"),
        ("upper_shadow", "1", "plain", "(h - max(o, c)) / (h - l)"),
        ("lower_shadow", "1", "plain", "(min(o, c) - l) / (h - l)"),
        ("body_size", "1", "plain", "abs(c - o) / (h - l)"),
    ),
    "candle_volatility": (
        ("realized_volatility", "1", "plain", "standard deviation of returns over L"),
        ("parkinson_volatility", "1", "plain", "sqrt(mean ln^2(h / l) / (4 ln 2)) over L"),
        (
            "garman_klass_volatility",
            "1",
            "plain",
            "sqrt(mean(0.5 ln^2(h / l) - (2 ln 2 - 1) ln^2(c / o))) over L",
        ),
    ),
    "candle_volume": (
        ("volume_ma_ratio", "1", "ratio", "v / mean volume over L"),
        ("volume_change_rate", "1", "plain", "v / v1 - 1"),
        ("price_volume_trend", "qty", "running", "running sum of return x volume over W"),
        ("volume_weighted_price", "px", "level", "volume-weighted typical price over L"),
        ("money_flow", "px qty", "quantity", "typical price x volume"),
    ),
    "candle_pattern": (
        ("doji_strength", "1", "plain", "1 - body_size"),
        ("hammer_strength", "1", "plain", "lower_shadow (1 - body_size)"),
        (
            "engulfing_strength",
            "1",
            "plain",
            "body / body before, signed, when it covers that one in the other colour; else 0",
        ),
        ("gap_size", "1", "plain", "(o - c1) / c1"),
    ),
    "indicator_trend": (
        ("sma_10", "px", "level", "mean close of 10"),
        ("sma_20", "px", "level", "mean close of 20"),
        ("sma_50", "px", "level", "mean close of 50"),
        ("ema_10", "px", "level", "exponential mean, n = 10, over W"),
        ("ema_20", "px", "level", "exponential mean, n = 20, over W"),
        ("ema_50", "px", "level", "exponential mean, n = 50, over W"),
        ("macd", "px", "difference", "EMA 12 - EMA 26"),
        ("macd_signal", "px", "difference", "EMA 9 of macd"),
        ("macd_histogram", "px", "difference", "macd - macd_signal"),
        ("adx", "1", "oscillator", "average directional index, Wilder 14"),
        ("plus_di", "1", "oscillator", "plus directional indicator, Wilder 14"),
        ("minus_di", "1", "oscillator", "minus directional indicator, Wilder 14"),
    ),
    "indicator_momentum": (
        ("rsi_14", "1", "oscillator", "relative strength index, Wilder 14; 100 without a loss"),
        ("rsi_28", "1", "oscillator", "relative strength index, Wilder 28; 100 without a loss"),
        ("stochastic_k", "1", "oscillator", "place of c in the range of 14 candles; 50 if flat"),
        ("stochastic_d", "1", "oscillator", "mean of the last 3 stochastic_k"),
        ("williams_r", "1", "negative_oscillator", "stochastic_k - 100"),
        ("cci", "1", "plain", "(tp - SMA 20 of tp) / (0.015 mean absolute deviation)"),
        ("momentum_10", "1", "plain", "c / close 9 bars ago - 1"),
        ("roc", "%", "plain", "(c / close 11 bars ago - 1) x 100"),
        ("mfi", "1", "oscillator", "money flow index, 14; 50 without flow"),
    ),
    "indicator_volatility": (
        ("bollinger_upper", "px", "level", "SMA 20 + 2 sigma"),
        ("bollinger_middle", "px", "level", "SMA 20"),
        ("bollinger_lower", "px", "level", "SMA 20 - 2 sigma"),
        ("bollinger_width", "1", "plain", "(upper - lower) / middle"),
        ("bollinger_pct", "1", "plain", "(c - lower) / (upper - lower); 0.5 if flat"),
        ("atr_14", "px", "difference", "mean of the last 14 true ranges"),
        ("keltner_upper", "px", "level", "EMA 20 + 2 ATR"),
        ("keltner_lower", "px", "level", "EMA 20 - 2 ATR"),
    ),
    "indicator_volume": (
        ("obv", "qty", "running", "running sum of volume with the sign of the return, over W"),
        ("vwap", "px", "level", "volume_weighted_price"),
        ("ad_line", "qty", "running", "running ((c - l) - (h - c)) / (h - l) x v over W"),
        ("cmf", "1", "plain", "the same over 20 candles / their volume"),
        ("vpt", "qty", "running", "price_volume_trend"),
        ("nvi", "1", "running", "1000, x (1 + return) when volume falls, over W"),
    ),
    "indicator_aroon": (
        ("aroon_up", "1", "oscillator", "(25 - bars since the 25-bar high) / 25 x 100"),
        ("aroon_down", "1", "oscillator", "(25 - bars since the 25-bar low) / 25 x 100"),
    ),
}

NULLABLE_FEATURES = frozenset({"trade_arrival_rate", "aroon_up", "aroon_down"})
"""Features that may be missing: without a feed of trades, and in legacy files of 110 columns."""

FEATURE_GROUPS: dict[str, tuple[str, ...]] = {
    group: tuple(row[0] for row in rows) for group, rows in _TABLE.items()
}
"""Group -> names; the groups follow one another without a gap."""

FEATURES: tuple[Feature, ...] = tuple(
    Feature(number, name, group, unit, scale, formula, name in NULLABLE_FEATURES)
    for number, (group, (name, unit, scale, formula)) in enumerate(
        ((group, row) for group, rows in _TABLE.items() for row in rows), start=1
    )
)
"""All 112, in order."""

FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)
"""Their names."""

DUPLICATES: dict[str, str] = {
    "liquidity_bid_5": "depth_bid_5",
    "liquidity_ask_5": "depth_ask_5",
    "depth_imbalance_ratio": "imbalance_5",
    "quote_intensity": "update_frequency",
    "bollinger_middle": "sma_20",
    "vwap": "volume_weighted_price",
    "vpt": "price_volume_trend",
    "effective_spread": "bid_ask_spread_rel",
    "doji_strength": "body_size",
    "williams_r": "stochastic_k",
    "support_level_1": "largest_bid_cluster_price",
    "resistance_level_1": "largest_ask_cluster_price",
}
"""Feature -> the one that it repeats, the first seven exactly, the others nearly or after a linear map."""

TRADE_WINDOWS_S = (10, 30, 60, 300)
"""Windows of the trade statistics."""

TOXICITY_WINDOWS_S = (30, 60, 300)
"""Those long enough for a correlation over spans of 10 s."""


def _trade_names(window_s: int) -> tuple[str, ...]:
    statistics = (
        *("count", "rate", "buy_volume", "sell_volume", "buy_sell_ratio"),
        *("mean_size", "median_size", "max_size", "block_count", "block_volume", "vwap"),
        *(("toxicity",) if window_s in TOXICITY_WINDOWS_S else ()),
    )
    return tuple(f"trades_{statistic}_{window_s}s" for statistic in statistics)


V2_NAMES: tuple[str, ...] = (
    *(f"v2_{name}" for name in FEATURE_NAMES),
    *(f"forming_{name}" for name in (*FEATURE_GROUPS["candle_ohlcv"], *FEATURE_GROUPS["candle_derived"])),
    "forming_age_s",
    "quote_flow_3s",
    "quote_flow_30s",
    *(name for window_s in TRADE_WINDOWS_S for name in _trade_names(window_s)),
)
"""Columns of the dimensionless set: the 112, the candle still open, flow at the best prices, trade statistics."""
