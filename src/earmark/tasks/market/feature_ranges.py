"""Range of each feature: what the schema holds every stored row to. Names, units and formulas are the catalogue's.

Both ends are included; an end that is None is open. Ranges are those of the definitions with room for float32.
"""

from __future__ import annotations

from earmark.orderbook.catalog import FEATURE_NAMES

__all__ = ["FEATURE_RANGES"]

_OPEN: tuple[float | None, float | None] = (None, None)

_NAMES: dict[tuple[float | None, float | None], str] = {
    (0.0, None): """
        bid_ask_spread_abs bid_ask_spread_rel mid_price micro_price vwap_bid_5 vwap_ask_5
        vwap_bid_10 vwap_ask_10 depth_bid_5 depth_ask_5 depth_bid_10 depth_ask_10
        total_bid_volume total_ask_volume book_depth_ratio bid_intensity ask_intensity
        largest_bid_cluster_price largest_bid_cluster_volume largest_ask_cluster_price
        largest_ask_cluster_volume num_bid_clusters num_ask_clusters support_level_1
        resistance_level_1 liquidity_bid_5 liquidity_ask_5 liquidity_asymmetry effective_spread
        kyle_lambda amihud_illiquidity roll_spread level_ttl_avg level_ttl_std
        orderbook_volatility update_frequency quote_intensity trade_arrival_rate
        spread_volatility open high low close volume typical_price high_low_range
        realized_volatility parkinson_volatility garman_klass_volatility volume_ma_ratio
        volume_weighted_price money_flow sma_10 sma_20 sma_50 ema_10 ema_20 ema_50
        bollinger_middle bollinger_width atr_14 vwap nvi
    """,
    (-1.0, 1.0): """
        imbalance_5 imbalance_10 imbalance_total depth_imbalance_ratio cmf
    """,
    (0.0, 200.0): """
        buy_sell_ratio
    """,
    (0.0, 1.0): """
        smart_money_index upper_shadow lower_shadow body_size doji_strength hammer_strength
    """,
    (-1.0, None): """
        returns close_open_diff volume_change_rate gap_size momentum_10
    """,
    (0.0, 100.0): """
        adx plus_di minus_di rsi_14 rsi_28 stochastic_k stochastic_d mfi aroon_up aroon_down
    """,
    (-100.0, 0.0): """
        williams_r
    """,
    (-100.0, None): """
        roc
    """,
}

_KNOWN = {name: ends for ends, names in _NAMES.items() for name in names.split()}

FEATURE_RANGES = {name: _KNOWN.get(name, _OPEN) for name in FEATURE_NAMES}
"""Feature -> lowest and highest value."""
