"""Unit, range and formula of each feature: what the schema, the registry and the column reference say of it.

Symbols: b_i, a_i i-th best bid and ask; B_n, A_n quantity of the top n levels, B and A of the feature book; m mid; s
spread; N = B_5 + A_5; H the last 20 states of the feature clock; L and W the last 20 and 200 closed candles; o, h, l,
c, v the last closed candle, c1 and v1 the one before. ``px`` is quote currency, ``qty`` base coin, ``%`` is times 100,
``1`` has no unit. An empty end of a range is unbounded.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["FEATURE_FACTS", "FeatureFact"]


@dataclass(frozen=True)
class FeatureFact:
    """Unit, range with both ends included, and formula of a feature."""

    unit: str
    low: float | None
    high: float | None
    formula: str


_FACTS = """
bid_ask_spread_abs       | px    | 0    |     | a_1 - b_1
bid_ask_spread_rel       | %     | 0    |     | s / m
mid_price                | px    | 0    |     | (a_1 + b_1) / 2
micro_price              | px    | 0    |     | (b_1 A_1 + a_1 B_1) / (A_1 + B_1)
vwap_bid_5               | px    | 0    |     | quantity-weighted price of the top 5 bids
vwap_ask_5               | px    | 0    |     | quantity-weighted price of the top 5 asks
vwap_bid_10              | px    | 0    |     | quantity-weighted price of the top 10 bids
vwap_ask_10              | px    | 0    |     | quantity-weighted price of the top 10 asks
depth_bid_5              | qty   | 0    |     | B_5
depth_ask_5              | qty   | 0    |     | A_5
depth_bid_10             | qty   | 0    |     | B_10
depth_ask_10             | qty   | 0    |     | A_10
total_bid_volume         | qty   | 0    |     | B
total_ask_volume         | qty   | 0    |     | A
book_depth_ratio         | 1     | 0    |     | B / A
imbalance_5              | 1     | -1   | 1   | (B_5 - A_5) / (B_5 + A_5)
imbalance_10             | 1     | -1   | 1   | (B_10 - A_10) / (B_10 + A_10)
imbalance_total          | 1     | -1   | 1   | (B - A) / (B + A)
price_pressure           | px    |      |     | (B_5 a_1 - A_5 b_1) / (B_5 + A_5)
volume_delta_5           | qty   |      |     | change of N since the state before
order_flow_imbalance     | qty   |      |     | weighted change of quantity of the top 10 bids less that of the asks
bid_intensity            | 1/qty | 0    |     | levels / mean quantity of the top 10 bids
ask_intensity            | 1/qty | 0    |     | levels / mean quantity of the top 10 asks
buy_sell_ratio           | 1     | 0    | 200 | (1 + imbalance_total) / (1 - imbalance_total)
smart_money_index        | 1     | 0    | 1   | share of book quantity in levels from the 90th percentile of size
largest_bid_cluster_price | px   | 0    |     | first price of the biggest cluster of bids
largest_bid_cluster_volume | qty | 0    |     | its quantity
largest_ask_cluster_price | px   | 0    |     | first price of the biggest cluster of asks
largest_ask_cluster_volume | qty | 0    |     | its quantity
num_bid_clusters         | 1     | 0    |     | clusters of bids, 0.1 % wide
num_ask_clusters         | 1     | 0    |     | clusters of asks, 0.1 % wide
support_level_1          | px    | 0    |     | largest_bid_cluster_price, else b_1
resistance_level_1       | px    | 0    |     | largest_ask_cluster_price, else a_1
distance_to_support      | %     |      |     | (m - support) / m
distance_to_resistance   | %     |      |     | (resistance - m) / m
liquidity_bid_5          | qty   | 0    |     | B_5
liquidity_ask_5          | qty   | 0    |     | A_5
liquidity_asymmetry      | 1     | 0    |     | B_5 / A_5
effective_spread         | 1     | 0    |     | s / m
kyle_lambda              | px/qty | 0   |     | median of |change of m| / |change of N| over the last 10 of H
amihud_illiquidity       | 1/qty | 0    |     | mean |return| / mean N over H
roll_spread              | px    | 0    |     | 2 sqrt(-cov(dm_t, dm_t-1)) over H
depth_imbalance_ratio    | 1     | -1   | 1   | (B_5 - A_5) / (B_5 + A_5)
level_ttl_avg            | s     | 0    |     | mean life of the last 50 vanished levels
level_ttl_std            | s     | 0    |     | its standard deviation
orderbook_volatility     | 1     | 0    |     | standard deviation of the returns of m over H
update_frequency         | 1/s   | 0    |     | book updates over the last 10 of H
quote_intensity          | 1/s   | 0    |     | book updates over the last 10 of H
trade_arrival_rate       | 1/s   | 0    |     | public trades of the last 60 s; missing without trades
spread_volatility        | px    | 0    |     | standard deviation of s over H
open                     | px    | 0    |     | o
high                     | px    | 0    |     | h
low                      | px    | 0    |     | l
close                    | px    | 0    |     | c
volume                   | qty   | 0    |     | v
typical_price            | px    | 0    |     | (h + l + c) / 3
returns                  | 1     | -1   |     | c / c1 - 1
log_returns              | 1     |      |     | ln(c / c1)
high_low_range           | 1     | 0    |     | (h - l) / c
close_open_diff          | 1     | -1   |     | (c - o) / o
upper_shadow             | 1     | 0    | 1   | (h - max(o, c)) / (h - l)
lower_shadow             | 1     | 0    | 1   | (min(o, c) - l) / (h - l)
body_size                | 1     | 0    | 1   | |c - o| / (h - l)
realized_volatility      | 1     | 0    |     | standard deviation of returns over L
parkinson_volatility     | 1     | 0    |     | sqrt(mean ln^2(h / l) / (4 ln 2)) over L
garman_klass_volatility  | 1     | 0    |     | sqrt(mean(0.5 ln^2(h / l) - (2 ln 2 - 1) ln^2(c / o))) over L
volume_ma_ratio          | 1     | 0    |     | v / mean volume over L
volume_change_rate       | 1     | -1   |     | v / v1 - 1
price_volume_trend       | qty   |      |     | sum of return x volume over W
volume_weighted_price    | px    | 0    |     | volume-weighted typical price over L
money_flow               | px qty | 0   |     | typical_price x v
doji_strength            | 1     | 0    | 1   | 1 - body_size
hammer_strength          | 1     | 0    | 1   | lower_shadow (1 - body_size)
engulfing_strength       | 1     |      |     | body / body before where it engulfs it, signed
gap_size                 | 1     | -1   |     | (o - c1) / c1
sma_10                   | px    | 0    |     | mean close of 10
sma_20                   | px    | 0    |     | mean close of 20
sma_50                   | px    | 0    |     | mean close of 50
ema_10                   | px    | 0    |     | exponential mean, n = 10
ema_20                   | px    | 0    |     | exponential mean, n = 20
ema_50                   | px    | 0    |     | exponential mean, n = 50
macd                     | px    |      |     | EMA 12 - EMA 26
macd_signal              | px    |      |     | EMA 9 of macd
macd_histogram           | px    |      |     | macd - macd_signal
adx                      | 1     | 0    | 100 | Wilder's mean of DX, n = 14
plus_di                  | 1     | 0    | 100 | 100 x smoothed +DM / TR, n = 14
minus_di                 | 1     | 0    | 100 | 100 x smoothed -DM / TR, n = 14
rsi_14                   | 1     | 0    | 100 | Wilder's relative strength, n = 14
rsi_28                   | 1     | 0    | 100 | Wilder's relative strength, n = 28
stochastic_k             | 1     | 0    | 100 | 100 (c - lowest 14) / (highest 14 - lowest 14)
stochastic_d             | 1     | 0    | 100 | mean of the last 3 stochastic_k
williams_r               | 1     | -100 | 0   | -100 (highest 14 - c) / (highest 14 - lowest 14)
cci                      | 1     |      |     | (typical - its mean 20) / (0.015 mean deviation)
momentum_10              | 1     | -1   |     | c / close 9 candles ago - 1
roc                      | %     | -100 |     | c / close 11 candles ago - 1
mfi                      | 1     | 0    | 100 | money-flow index, n = 14
bollinger_upper          | px    |      |     | sma_20 + 2 sigma
bollinger_middle         | px    | 0    |     | sma_20
bollinger_lower          | px    |      |     | sma_20 - 2 sigma
bollinger_width          | 1     | 0    |     | (upper - lower) / middle
bollinger_pct            | 1     |      |     | (c - lower) / (upper - lower)
atr_14                   | px    | 0    |     | mean of the last 14 true ranges
keltner_upper            | px    |      |     | ema_20 + 2 atr_14
keltner_lower            | px    |      |     | ema_20 - 2 atr_14
obv                      | qty   |      |     | sum of signed volume over W
vwap                     | px    | 0    |     | volume-weighted typical price over L
ad_line                  | qty   |      |     | sum of ((c - l) - (h - c)) / (h - l) x volume over W
cmf                      | 1     | -1   | 1   | the same over 20 candles / their volume
vpt                      | qty   |      |     | sum of return x volume over W
nvi                      | 1     | 0    |     | from 1000, x (1 + return) where volume falls, over W
aroon_up                 | 1     | 0    | 100 | 100 (25 - candles since the highest high of 26) / 25
aroon_down               | 1     | 0    | 100 | 100 (25 - candles since the lowest low of 26) / 25
"""


def _fact(line: str) -> tuple[str, FeatureFact]:
    name, unit, low, high, formula = (part.strip() for part in line.split("|", 4))
    return name, FeatureFact(unit, float(low) if low else None, float(high) if high else None, formula)


FEATURE_FACTS: dict[str, FeatureFact] = dict(_fact(line) for line in _FACTS.strip().splitlines())
"""By name, in the order of `earmark.orderbook.catalog.FEATURE_NAMES`."""
