"""The 112 features said once more, slowly: one expression per feature, from their definitions, without the engine.

Oracle of the tests and the naive side of the benchmark. `restated` takes the states since the last gap, the closed
candles of the window and the trades known, and gives a value by name.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from earmark.orderbook.events import Trade
from earmark.orderbook.state import BookState


def over(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator else 0.0


def depth(levels: np.ndarray, n: int) -> float:
    return float(levels[:n, 1].sum())


def mid_of(state: BookState) -> float:
    return (state.bids[0, 0] + state.asks[0, 0]) / 2


def spread_of(state: BookState) -> float:
    return state.asks[0, 0] - state.bids[0, 0]


def clusters_of(levels: np.ndarray) -> list[tuple[float, float]]:
    found: list[list[np.ndarray]] = []
    for level in levels:
        if found and abs(level[0] - found[-1][0][0]) / found[-1][0][0] <= 0.001:
            found[-1].append(level)
        else:
            found.append([level])
    return [(members[0][0], sum(member[1] for member in members)) for members in found]


def flow_of(before: np.ndarray, now: np.ndarray, mid: float) -> float:
    known = dict(before.tolist())
    return sum((q - known.get(p, 0.0)) / (1 + abs(p - mid) / mid) for p, q in now[:10].tolist())


def lives_of(states: Sequence[BookState]) -> list[float]:
    """Lives of all levels that vanished, in order."""
    lives: list[float] = []
    seen: dict[str, dict[float, int]] = {"bids": {}, "asks": {}}
    for state in states:
        for side, levels in (("bids", state.bids), ("asks", state.asks)):
            prices = levels[:, 0].tolist()
            for price in sorted(seen[side], reverse=side == "bids"):
                reach = price >= prices[-1] if side == "bids" else price <= prices[-1]
                if price not in prices and reach:
                    lives.append((state.time_ms - seen[side][price]) / 1000)
            seen[side] = {price: seen[side].get(price, state.time_ms) for price in prices}
    return lives


def restated_book(states: Sequence[BookState], trades: Sequence[Trade] = ()) -> dict[str, float]:
    """Features 1-50 at the last of the states since a gap."""
    state = states[-1]
    b, a = state.bids, state.asks
    m, s = mid_of(state), spread_of(state)
    B5, A5, B10, A10 = depth(b, 5), depth(a, 5), depth(b, 10), depth(a, 10)
    B, A = depth(b, 50), depth(a, 50)
    total = over(B - A, B + A)
    sizes = np.concatenate((b[:, 1], a[:, 1]))
    best_bid = max(clusters_of(b), key=lambda cluster: cluster[1])
    best_ask = max(clusters_of(a), key=lambda cluster: cluster[1])
    old = states[-2] if len(states) > 1 else None
    history = states[-20:]
    mids = np.array([mid_of(one) for one in history])
    spreads = np.array([spread_of(one) for one in history])
    depths = np.array([depth(one.bids, 5) + depth(one.asks, 5) for one in history])
    lives = lives_of(states)[-50:] or [0.0]
    updates = sum(one.n_updates for one in states[-10:]) / (3 * len(states[-10:]))
    now = state.time_ms
    minute = [trade for trade in trades if now - 60_000 < trade.time_ms <= now]
    values = {
        "bid_ask_spread_abs": s,
        "bid_ask_spread_rel": s / m * 100,
        "mid_price": m,
        "micro_price": (b[0, 0] * a[0, 1] + a[0, 0] * b[0, 1]) / (a[0, 1] + b[0, 1]),
        "vwap_bid_5": np.average(b[:5, 0], weights=b[:5, 1]),
        "vwap_ask_5": np.average(a[:5, 0], weights=a[:5, 1]),
        "vwap_bid_10": np.average(b[:10, 0], weights=b[:10, 1]),
        "vwap_ask_10": np.average(a[:10, 0], weights=a[:10, 1]),
        "depth_bid_5": B5,
        "depth_ask_5": A5,
        "depth_bid_10": B10,
        "depth_ask_10": A10,
        "total_bid_volume": B,
        "total_ask_volume": A,
        "book_depth_ratio": B / A,
        "imbalance_5": (B5 - A5) / (B5 + A5),
        "imbalance_10": (B10 - A10) / (B10 + A10),
        "imbalance_total": total,
        "price_pressure": (B5 * a[0, 0] - A5 * b[0, 0]) / (B5 + A5),
        "volume_delta_5": 0.0 if old is None else B5 - A5 - depth(old.bids, 5) + depth(old.asks, 5),
        "order_flow_imbalance": 0.0 if old is None else flow_of(old.bids, b, m) - flow_of(old.asks, a, m),
        "bid_intensity": len(b[:10]) / max(b[:10, 1].mean(), 0.001),
        "ask_intensity": len(a[:10]) / max(a[:10, 1].mean(), 0.001),
        "buy_sell_ratio": (1 + total) / max(1 - total, 0.01),
        "smart_money_index": sizes[sizes >= np.percentile(sizes, 90)].sum() / sizes.sum(),
        "largest_bid_cluster_price": best_bid[0],
        "largest_bid_cluster_volume": best_bid[1],
        "largest_ask_cluster_price": best_ask[0],
        "largest_ask_cluster_volume": best_ask[1],
        "num_bid_clusters": len(clusters_of(b)),
        "num_ask_clusters": len(clusters_of(a)),
        "support_level_1": best_bid[0],
        "resistance_level_1": best_ask[0],
        "distance_to_support": (m - best_bid[0]) / m * 100,
        "distance_to_resistance": (best_ask[0] - m) / m * 100,
        "liquidity_bid_5": B5,
        "liquidity_ask_5": A5,
        "liquidity_asymmetry": B5 / A5,
        "effective_spread": s / m,
        "level_ttl_avg": np.mean(lives),
        "level_ttl_std": np.std(lives),
        "orderbook_volatility": np.std(mids[1:] / mids[:-1] - 1) if len(mids) > 1 else 0.0,
        "update_frequency": updates,
        "quote_intensity": updates,
        "trade_arrival_rate": len(minute) / 60 if now - states[0].time_ms + 3_000 >= 60_000 else math.nan,
        "spread_volatility": spreads.std(),
        "depth_imbalance_ratio": (B5 - A5) / (B5 + A5),
    }
    return {**values, **restated_liquidity(mids, spreads, depths)}


def restated_liquidity(mids: np.ndarray, spreads: np.ndarray, depths: np.ndarray) -> dict[str, float]:
    """Features 40-42 of a history."""
    slopes = [
        abs(mids[i] - mids[i - 1]) / abs(depths[i] - depths[i - 1])
        for i in range(len(mids) - 9, len(mids))
        if i > 0 and depths[i] != depths[i - 1]
    ]
    returns = np.abs(mids[1:] / mids[:-1] - 1)
    steps = np.diff(mids)
    covariance = np.cov(steps[1:], steps[:-1], ddof=0)[0, 1] if len(mids) == 20 else 0.0
    long = len(mids) >= 10
    roll = 2 * math.sqrt(-covariance) if covariance < 0 else 0.0
    return {
        "kyle_lambda": (float(np.median(slopes)) if slopes else 0.0) if long else spreads[-1] / depths[-1],
        "amihud_illiquidity": returns.mean() / depths.mean() if long else spreads[-1] / max(depths[-1], 1),
        "roll_spread": roll if len(mids) == 20 else spreads[-1],
    }


def ema_at(x: np.ndarray, n: int) -> float:
    value = x[:n].mean()
    for one in x[n:]:
        value = one * 2 / (n + 1) + value * (1 - 2 / (n + 1))
    return float(value)


def wilder_rsi(c: np.ndarray, n: int) -> float:
    moves = np.diff(c)
    gain, loss = np.maximum(moves, 0), np.maximum(-moves, 0)
    up, down = gain[:n].mean(), loss[:n].mean()
    for i in range(n, len(moves)):
        up, down = (up * (n - 1) + gain[i]) / n, (down * (n - 1) + loss[i]) / n
    return 100.0 if down == 0 else 100 - 100 / (1 + up / down)


def wilder_directional(
    h: np.ndarray, low: np.ndarray, c: np.ndarray, n: int = 14
) -> tuple[float, float, float]:
    n_moves = len(c) - 1
    tr = [max(h[i] - low[i], abs(h[i] - c[i - 1]), abs(low[i] - c[i - 1])) for i in range(1, len(c))]
    up, down = h[1:] - h[:-1], low[:-1] - low[1:]
    plus = [u if u > d and u > 0 else 0.0 for u, d in zip(up, down, strict=True)]
    minus = [d if d > u and d > 0 else 0.0 for u, d in zip(up, down, strict=True)]
    sums = [sum(x[:n]) for x in (tr, plus, minus)]
    dx = []
    for i in range(n, n_moves + 1):
        if i > n:
            sums = [total - total / n + x[i - 1] for total, x in zip(sums, (tr, plus, minus), strict=True)]
        p, q = (100 * over(total, sums[0]) for total in sums[1:])
        dx.append(100 * over(abs(p - q), p + q))
    adx = float(np.mean(dx[:n]))
    for one in dx[n:]:
        adx = (adx * (n - 1) + one) / n
    return adx, p, q


def restated_candles(window: np.ndarray) -> dict[str, float]:
    """Features 51-112 of a window of 50 to 200 candles, shape (5, n)."""
    opens, h, low, C, V = window
    n = len(C)
    o, high, lo, c, v = window[:, -1]
    o1, c1, v1 = opens[-2], C[-2], V[-2]
    span = high - lo
    body = over(abs(c - o), span)
    lower = over(min(o, c) - lo, span)
    typical = (h + low + C) / 3
    change = np.concatenate(([0.0], C[1:] / C[:-1] - 1))
    recent, r_typical, r_v = C[-20:], typical[-20:], V[-20:]
    log_range, log_body = np.log(h[-20:] / low[-20:]), np.log(C[-20:] / opens[-20:])
    covers = abs(c1 - o1) > 0 and min(o, c) <= min(o1, c1) and max(o, c) >= max(o1, c1)
    opposite = (c - o) * (c1 - o1) < 0
    sma20 = recent.mean()
    sigma = math.sqrt(((recent - sma20) ** 2).mean())
    macds = [ema_at(C[:i], 12) - ema_at(C[:i], 26) for i in range(26, n + 1)]
    signal = ema_at(np.array(macds), 9)
    adx, plus_di, minus_di = wilder_directional(h, low, C)
    ks = [
        100 * over(C[i - 1] - low[i - 14 : i].min(), h[i - 14 : i].max() - low[i - 14 : i].min())
        if h[i - 14 : i].max() > low[i - 14 : i].min()
        else 50.0
        for i in (n - 2, n - 1, n)
    ]
    flows = [(typical[i] - typical[i - 1], typical[i] * V[i]) for i in range(n - 14, n)]
    rising, falling = sum(f for d, f in flows if d > 0), sum(f for d, f in flows if d < 0)
    trs = [max(h[i] - low[i], abs(h[i] - C[i - 1]), abs(low[i] - C[i - 1])) for i in range(n - 14, n)]
    atr = float(np.mean(trs))
    multiplier = np.array([over((C[i] - low[i]) - (h[i] - C[i]), h[i] - low[i]) for i in range(n)])
    nvi = 1000.0
    for i in range(1, n):
        nvi *= 1 + change[i] if V[i] < V[i - 1] else 1
    since_high = min(back for back in range(26) if h[-1 - back] == h[-26:].max())
    since_low = min(back for back in range(26) if low[-1 - back] == low[-26:].min())
    vwap = over((r_typical * r_v).sum(), r_v.sum())
    trend = float((change * V).sum())
    return {
        "open": o,
        "high": high,
        "low": lo,
        "close": c,
        "volume": v,
        "typical_price": (high + lo + c) / 3,
        "returns": c / c1 - 1,
        "log_returns": math.log(c / c1),
        "high_low_range": span / c,
        "close_open_diff": (c - o) / o,
        "upper_shadow": over(high - max(o, c), span),
        "lower_shadow": lower,
        "body_size": body,
        "realized_volatility": np.std(recent[1:] / recent[:-1] - 1),
        "parkinson_volatility": math.sqrt((log_range**2).mean() / (4 * math.log(2))),
        "garman_klass_volatility": math.sqrt(
            (0.5 * log_range**2 - (2 * math.log(2) - 1) * log_body**2).mean()
        ),
        "volume_ma_ratio": over(v, r_v.mean()),
        "volume_change_rate": over(v, v1) - 1 if v1 else 0.0,
        "price_volume_trend": trend,
        "volume_weighted_price": vwap,
        "money_flow": (high + lo + c) / 3 * v,
        "doji_strength": 1 - body,
        "hammer_strength": lower * (1 - body),
        "engulfing_strength": over(c - o, abs(c1 - o1)) if covers and opposite else 0.0,
        "gap_size": (o - c1) / c1,
        "sma_10": C[-10:].mean(),
        "sma_20": sma20,
        "sma_50": C[-50:].mean(),
        "ema_10": ema_at(C, 10),
        "ema_20": ema_at(C, 20),
        "ema_50": ema_at(C, 50),
        "macd": macds[-1],
        "macd_signal": signal,
        "macd_histogram": macds[-1] - signal,
        "adx": adx,
        "plus_di": plus_di,
        "minus_di": minus_di,
        "rsi_14": wilder_rsi(C, 14),
        "rsi_28": wilder_rsi(C, 28),
        "stochastic_k": ks[-1],
        "stochastic_d": np.mean(ks),
        "williams_r": ks[-1] - 100,
        "cci": over(r_typical[-1] - r_typical.mean(), 0.015 * np.abs(r_typical - r_typical.mean()).mean()),
        "momentum_10": c / C[-10] - 1,
        "roc": (c / C[-12] - 1) * 100,
        "mfi": 100 * rising / (rising + falling) if rising + falling else 50.0,
        "bollinger_upper": sma20 + 2 * sigma,
        "bollinger_middle": sma20,
        "bollinger_lower": sma20 - 2 * sigma,
        "bollinger_width": 4 * sigma / sma20,
        "bollinger_pct": (c - sma20 + 2 * sigma) / (4 * sigma) if sigma else 0.5,
        "atr_14": atr,
        "keltner_upper": ema_at(C, 20) + 2 * atr,
        "keltner_lower": ema_at(C, 20) - 2 * atr,
        "obv": (np.sign(change) * V).sum(),
        "vwap": vwap,
        "ad_line": (multiplier * V).sum(),
        "cmf": over((multiplier[-20:] * r_v).sum(), r_v.sum()),
        "vpt": trend,
        "nvi": nvi,
        "aroon_up": (25 - since_high) / 25 * 100,
        "aroon_down": (25 - since_low) / 25 * 100,
    }
