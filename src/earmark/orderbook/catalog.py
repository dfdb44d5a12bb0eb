"""Names of the market's features, in their one order: 50 of the order book, 25 of candles, 37 of indicators.

The number of a feature is its position in this table, from 1. Legacy files are as wide as the first 110 or all 112.
"""

from __future__ import annotations

__all__ = ["FEATURE_GROUPS", "FEATURE_NAMES", "NULLABLE_FEATURES"]

FEATURE_GROUPS: dict[str, tuple[str, ...]] = {
    "lob_basic": (
        "bid_ask_spread_abs",
        "bid_ask_spread_rel",
        "mid_price",
        "micro_price",
        "vwap_bid_5",
        "vwap_ask_5",
        "vwap_bid_10",
        "vwap_ask_10",
        "depth_bid_5",
        "depth_ask_5",
        "depth_bid_10",
        "depth_ask_10",
        "total_bid_volume",
        "total_ask_volume",
        "book_depth_ratio",
    ),
    "lob_pressure": (
        "imbalance_5",
        "imbalance_10",
        "imbalance_total",
        "price_pressure",
        "volume_delta_5",
        "order_flow_imbalance",
        "bid_intensity",
        "ask_intensity",
        "buy_sell_ratio",
        "smart_money_index",
    ),
    "lob_cluster": (
        "largest_bid_cluster_price",
        "largest_bid_cluster_volume",
        "largest_ask_cluster_price",
        "largest_ask_cluster_volume",
        "num_bid_clusters",
        "num_ask_clusters",
        "support_level_1",
        "resistance_level_1",
        "distance_to_support",
        "distance_to_resistance",
    ),
    "lob_liquidity": (
        "liquidity_bid_5",
        "liquidity_ask_5",
        "liquidity_asymmetry",
        "effective_spread",
        "kyle_lambda",
        "amihud_illiquidity",
        "roll_spread",
        "depth_imbalance_ratio",
    ),
    "lob_temporal": (
        "level_ttl_avg",
        "level_ttl_std",
        "orderbook_volatility",
        "update_frequency",
        "quote_intensity",
        "trade_arrival_rate",
        "spread_volatility",
    ),
    "candle_ohlcv": (
        "open",
        "high",
        "low",
        "close",
        "volume",
        "typical_price",
    ),
    "candle_derived": (
        "returns",
        "log_returns",
        "high_low_range",
        "close_open_diff",
        "upper_shadow",
        "lower_shadow",
        "body_size",
    ),
    "candle_volatility": (
        "realized_volatility",
        "parkinson_volatility",
        "garman_klass_volatility",
    ),
    "candle_volume": (
        "volume_ma_ratio",
        "volume_change_rate",
        "price_volume_trend",
        "volume_weighted_price",
        "money_flow",
    ),
    "candle_pattern": (
        "doji_strength",
        "hammer_strength",
        "engulfing_strength",
        "gap_size",
    ),
    "indicator_trend": (
        "sma_10",
        "sma_20",
        "sma_50",
        "ema_10",
        "ema_20",
        "ema_50",
        "macd",
        "macd_signal",
        "macd_histogram",
        "adx",
        "plus_di",
        "minus_di",
    ),
    "indicator_momentum": (
        "rsi_14",
        "rsi_28",
        "stochastic_k",
        "stochastic_d",
        "williams_r",
        "cci",
        "momentum_10",
        "roc",
        "mfi",
    ),
    "indicator_volatility": (
        "bollinger_upper",
        "bollinger_middle",
        "bollinger_lower",
        "bollinger_width",
        "bollinger_pct",
        "atr_14",
        "keltner_upper",
        "keltner_lower",
    ),
    "indicator_volume": (
        "obv",
        "vwap",
        "ad_line",
        "cmf",
        "vpt",
        "nvi",
    ),
    "indicator_aroon": (
        "aroon_up",
        "aroon_down",
    ),
}
"""Group -> names; the groups follow one another without a gap."""

FEATURE_NAMES: tuple[str, ...] = tuple(name for names in FEATURE_GROUPS.values() for name in names)
"""All 112, in order."""

NULLABLE_FEATURES = frozenset({"trade_arrival_rate", "aroon_up", "aroon_down"})
"""Features that may be missing: without a feed of trades, and in legacy files of 110 columns."""
