"""Candles and indicators: against TA-Lib, against their definitions, by hand, in any order of arrival."""

from __future__ import annotations

import random as python_random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from market_session import candle_window
from restated_features import restated_candles

from earmark.orderbook.candle_features import candle_features
from earmark.orderbook.candles import WINDOW, CandleSeries
from earmark.orderbook.catalog import FEATURE_NAMES
from earmark.orderbook.events import Candle
from earmark.orderbook.indicators import default_indicators, indicators, running_changes


def values(window: np.ndarray) -> dict[str, float]:
    """Features 51-112 by name."""
    row = np.concatenate((candle_features(window), indicators(window)))
    return dict(zip(FEATURE_NAMES[50:], row.tolist(), strict=True))


@pytest.mark.parametrize(("seed", "n"), [(seed, n) for seed in range(8) for n in (50, 51, 137, 200)])
def test_all_are_those_of_the_definitions(seed: int, n: int) -> None:
    window = candle_window(seed, n)
    actual, expected = values(window), restated_candles(window)
    assert set(actual) == set(expected)
    for name, value in expected.items():
        assert actual[name] == pytest.approx(value, rel=1e-8, abs=1e-8), name


@pytest.mark.parametrize("seed", range(6))
def test_indicators_agree_with_ta_lib(seed: int) -> None:
    talib = pytest.importorskip("talib")
    window = candle_window(100 + seed)
    _, h, low, c, v = window
    actual = values(window)
    k, d = talib.STOCH(
        h, low, c, fastk_period=14, slowk_period=1, slowk_matype=0, slowd_period=3, slowd_matype=0
    )
    upper, middle, lower = talib.BBANDS(c, 20, 2, 2, 0)
    aroon_down, aroon_up = talib.AROON(h, low, 25)
    expected = {
        **{f"sma_{n}": talib.SMA(c, n) for n in (10, 20, 50)},
        **{f"ema_{n}": talib.EMA(c, n) for n in (10, 20, 50)},
        "macd": talib.EMA(c, 12) - talib.EMA(c, 26),
        **{f"rsi_{n}": talib.RSI(c, n) for n in (14, 28)},
        "stochastic_k": k,
        "stochastic_d": d,
        "williams_r": talib.WILLR(h, low, c, 14),
        "cci": talib.CCI(h, low, c, 20),
        "momentum_10": talib.ROCP(c, 9),
        "roc": talib.ROC(c, 11),
        "mfi": talib.MFI(h, low, c, v, 14),
        "bollinger_upper": upper,
        "bollinger_middle": middle,
        "bollinger_lower": lower,
        "atr_14": talib.SMA(talib.TRANGE(h, low, c)[1:], 14),
        "ad_line": talib.AD(h, low, c, v),
        # TA-Lib starts with the volume of the first candle.
        "obv": talib.OBV(c, v) - v[0],
        "aroon_up": aroon_up,
        "aroon_down": aroon_down,
    }
    for name, series in expected.items():
        assert actual[name] == pytest.approx(series[-1], rel=1e-6, abs=1e-6), name
    # TA-Lib starts Wilder's sums one move earlier; after 200 candles the start has faded.
    wilder = {"adx": talib.ADX, "plus_di": talib.PLUS_DI, "minus_di": talib.MINUS_DI}
    for name, function in wilder.items():
        assert actual[name] == pytest.approx(function(h, low, c, 14)[-1], rel=2e-3, abs=0.02), name


def flat(n: int, price: float = 100.0, volume: float = 0.0) -> np.ndarray:
    return np.tile(np.array([[price], [price], [price], [price], [volume]]), n)


def test_flat_candles_have_the_stated_values() -> None:
    for volume in (0.0, 5.0):
        row = values(flat(200, volume=volume))
        assert all(np.isfinite(list(row.values())))
        assert (row["rsi_14"], row["rsi_28"]) == (100, 100)
        assert (row["stochastic_k"], row["stochastic_d"], row["williams_r"]) == (50, 50, -50)
        assert (row["cci"], row["mfi"], row["bollinger_pct"], row["nvi"]) == (0, 50, 0.5, 1000)
        assert (row["aroon_up"], row["aroon_down"]) == (100, 100)
        assert (row["adx"], row["doji_strength"], row["garman_klass_volatility"]) == (0, 1, 0)
        assert row["volume_ma_ratio"] == (1 if volume else 0)


def test_equal_prices_that_no_float_holds_are_flat() -> None:
    assert values(flat(200, price=0.1 + 0.2))["bollinger_pct"] == 0.5


def test_engulfing_by_hand() -> None:
    window = flat(60, volume=1.0)
    window[:, -2] = (101, 101, 99, 100, 1)
    window[:, -1] = (100, 104, 99, 103, 1)
    assert values(window)["engulfing_strength"] == pytest.approx(3)
    window[:, -2] = (100, 101, 99, 101, 1)
    assert values(window)["engulfing_strength"] == 0
    window[:, -1] = (101, 102, 97, 99, 1)
    assert values(window)["engulfing_strength"] == pytest.approx(-2)
    window[:, -1] = (100.5, 102, 97, 99, 1)
    assert values(window)["engulfing_strength"] == 0


def test_the_lags_of_momentum_and_rate_of_change_are_nine_and_eleven_bars() -> None:
    window = flat(60, volume=1.0)
    window[:4, -1], window[:4, -10], window[:4, -12] = 120, 80, 60
    row = values(window)
    assert row["momentum_10"] == pytest.approx(0.5)
    assert row["roc"] == pytest.approx(100)


def test_defaults_of_too_few_candles() -> None:
    row = dict(zip(FEATURE_NAMES[75:], default_indicators(7.0).tolist(), strict=True))
    assert len(default_indicators(7.0)) == 37
    prices = [name for name in row if name.startswith(("sma", "ema", "keltner")) or name == "vwap"]
    assert {row[name] for name in [*prices, "bollinger_upper", "bollinger_middle", "bollinger_lower"]} == {
        7.0
    }
    assert {row[name] for name in ("adx", "plus_di", "minus_di")} == {25.0}
    fifty = ("rsi_14", "rsi_28", "stochastic_k", "stochastic_d", "mfi", "aroon_up", "aroon_down")
    assert {row[name] for name in fifty} == {50.0}
    assert (row["williams_r"], row["bollinger_pct"], row["nvi"]) == (-50, 0.5, 1000)
    assert {row[name] for name in ("macd", "cci", "roc", "atr_14", "obv", "cmf")} == {0.0}


@pytest.mark.parametrize("n", [0, 1, 2, 19, 20])
def test_candle_features_of_few_candles_are_finite(n: int) -> None:
    row = candle_features(candle_window(3, n).reshape(5, n))
    assert np.isfinite(row).all()
    assert (row[16] == 1) == (n < 20)


def test_running_features_gain_what_the_last_candles_bring() -> None:
    window = candle_window(4)
    whole, before = values(window), values(window[:, :-20])
    total = window[4, -20:].sum()
    expected = [(whole[name] - before[name]) / total for name in ("obv", "ad_line", "vpt")]
    assert running_changes(window, 20)[:3] == pytest.approx(expected)
    assert running_changes(window, 20)[3] == pytest.approx(whole["nvi"] / before["nvi"] - 1)
    assert running_changes(window[:, :20], 20).tolist() == [0.0] * 4


candle_lists = st.lists(
    st.tuples(st.sampled_from([0.0, -0.01, 0.002, 0.05]), st.sampled_from([0.0, 1e-8, 3.0, 1e9])),
    min_size=50,
    max_size=80,
)


@settings(max_examples=50, deadline=None)
@given(moves=candle_lists, price=st.sampled_from([1e-8, 1.0, 1e5]))
def test_features_are_finite_on_any_candles(moves: list[tuple[float, float]], price: float) -> None:
    rows, close = [], price
    for move, volume in moves:
        start, close = close, close * (1 + move)
        rows.append((start, max(start, close), min(start, close), close, volume))
    row = values(np.array(rows).T.copy())
    assert all(np.isfinite(list(row.values())))
    for name in ("rsi_14", "rsi_28", "stochastic_k", "adx", "mfi", "aroon_up"):
        assert -1e-9 <= row[name] <= 100 + 1e-9, name


def candle(minute: int, close: float = 2.0, *, is_closed: bool = True) -> Candle:
    return Candle("X", minute * 60_000, 2.0, 3.0, 1.0, close, 5.0, 10.0, is_closed, minute)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), n=st.integers(1, 320))
def test_the_order_of_arrival_does_not_matter(seed: int, n: int) -> None:
    rows = [candle(minute, 1 + (minute % 100) / 100) for minute in range(n)] * 2
    python_random.Random(seed).shuffle(rows)
    series = CandleSeries()
    for row in rows:
        series.add(row)
    closes = series.window()[3]
    assert np.array_equal(closes, [1 + (minute % 100) / 100 for minute in range(max(0, n - WINDOW), n)])


def test_a_closed_candle_is_never_changed() -> None:
    series = CandleSeries()
    assert not series.add(candle(1, is_closed=False))
    assert series.add(candle(1, 2.5))
    assert not series.add(candle(1, 1.5))
    assert not series.add(candle(1, 1.5, is_closed=False))
    assert series.window()[3].tolist() == [2.5]


def test_candles_that_contradict_themselves_are_refused() -> None:
    series, good = CandleSeries(), candle(1)
    wrong = [{"low": 2.1}, {"high": 1.9}, {"close": 3.1}, {"open": 0.9}, {"volume": -1.0}, {"low": 0.0}]
    for change in [*wrong, {"close": float("nan")}, {"high": float("inf")}]:
        assert not series.add(replace(good, **change))
    assert series.n_refused == 8
    assert series.window().shape == (5, 0)
    assert series.newest_end_ms is None


def test_the_window_is_the_unbroken_run() -> None:
    series = CandleSeries()
    for minute in (1, 2, 3, 5, 6):
        series.add(candle(minute))
    assert series.window().shape == (5, 2)
    series.add(candle(4))
    assert series.window().shape == (5, 6)
    assert series.newest_end_ms == 7 * 60_000
