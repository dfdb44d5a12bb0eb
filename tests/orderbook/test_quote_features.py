"""The set `quotes`: by hand, against plain loops, blind to the future, free of units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import UsageError
from earmark.orderbook.events import BestQuote
from earmark.orderbook.quote_features import QUOTE_NAMES, QuoteSeries, quote_features, quotes_at
from earmark.orderbook.quote_flow import contributions

TICK = 0.01


def series(n: int, seed: int = 0) -> QuoteSeries:
    """A walk of the mid in ticks, spreads of one to three, trades at some seconds."""
    generator = np.random.default_rng(seed)
    bid = 100 + np.cumsum(generator.integers(-1, 2, n))
    spread = generator.integers(1, 4, n)
    sizes = generator.integers(1, 500, (2, n)).astype(float)
    trade_rows = np.arange(0, n, 2)
    return quotes_at(
        1_000 * np.arange(1, n + 1),
        1_000 * np.arange(1, n + 1),
        np.stack([bid * TICK, sizes[0], (bid + spread) * TICK, sizes[1]], axis=1),
        1_000 * (trade_rows + 1),
        (bid + generator.integers(0, 4, n))[trade_rows] * TICK,
    )


def column(values: np.ndarray, name: str) -> np.ndarray:
    return values[:, QUOTE_NAMES.index(name)]


def test_three_seconds_by_hand() -> None:
    quotes = np.array([[10.00, 300, 10.01, 100], [10.00, 400, 10.01, 100], [10.01, 100, 10.02, 300]])
    told = quotes_at(
        np.array([1000, 2000, 3000]),
        np.array([1000, 2000, 3000]),
        quotes,
        np.array([2500]),
        np.array([10.01]),
    )
    values = quote_features(told, tick=TICK)
    np.testing.assert_allclose(column(values, "imbalance"), [0.5, 0.6, -0.5], rtol=1e-6)
    np.testing.assert_allclose(column(values, "move_1s"), [0, 0, 1], atol=1e-5)
    np.testing.assert_allclose(column(values, "last_direction"), [0, 0, 1])
    # traded half a tick below the mid half a second ago, half a tick above the mid of the row before
    np.testing.assert_allclose(column(values, "last_trade"), [0, 0, -0.5 * np.exp(-0.5 / 3)], rtol=1e-4)
    np.testing.assert_allclose(column(values, "trade_sign_3s"), [0, 0, 1 - np.exp(-1 / 3)], rtol=1e-5)
    # 100 join the bid; then a bid of 100 a tick higher and the old ask of 100 gone: over the mean depth by then
    keep = np.exp(-1 / 600)
    depth_2 = keep * 200 + (1 - keep) * 250
    depth_3 = keep * depth_2 + (1 - keep) * 200
    recent = 1 - np.exp(-1 / 3)
    flow_3s = 3 * recent * np.array([0, 100 / depth_2, 100 / depth_2 * np.exp(-1 / 3) + 200 / depth_3])
    np.testing.assert_allclose(column(values, "flow_3s"), flow_3s, rtol=1e-5)


def test_means_and_directions_equal_plain_loops() -> None:
    told = series(300)
    values = quote_features(told, tick=TICK)
    imbalance = (told.bid_quantity - told.ask_quantity) / (told.bid_quantity + told.ask_quantity)
    mean, expected = imbalance[0], []
    for value in imbalance:
        mean += (1 - np.exp(-1 / 10)) * (value - mean)
        expected.append(mean)
    np.testing.assert_allclose(column(values, "imbalance_10s"), expected, rtol=1e-4, atol=1e-6)
    sign, signs, before = 0.0, [], told.mid[0]
    for mid in told.mid:
        sign = np.sign(round(mid - before, 6)) or sign
        signs.append(sign)
        before = mid
    np.testing.assert_array_equal(column(values, "last_direction"), signs)


def test_the_flow_is_that_of_the_view_v2() -> None:
    told = series(50)
    quotes = [
        BestQuote("X", 0, *row, received_ns=0)
        for row in zip(told.bid, told.bid_quantity, told.ask, told.ask_quantity, strict=True)
    ]
    values = column(quote_features(told, tick=TICK), "flow_3s")
    assert np.sign(values[1]) == np.sign(contributions(quotes)[0])


@settings(max_examples=25, deadline=None)
@given(n=st.integers(2, 200), seed=st.integers(0, 9), share=st.floats(0.1, 1))
def test_no_row_knows_a_later_one(n: int, seed: int, share: float) -> None:
    told, k = series(n, seed), max(1, int(share * n))
    early = replace(told, **{name: getattr(told, name)[:k] for name in told.__dataclass_fields__})
    whole = quote_features(told, tick=TICK)
    assert np.isfinite(whole).all()
    np.testing.assert_array_equal(quote_features(early, tick=TICK), whole[:k])


@pytest.mark.parametrize(("price", "quantity"), [(1000.0, 1.0), (1.0, 0.001), (0.01, 7.0)])
def test_units_of_price_and_quantity_do_not_matter(price: float, quantity: float) -> None:
    told = series(200)
    scaled = replace(
        told,
        bid=told.bid * price,
        ask=told.ask * price,
        trade_price=told.trade_price * price,
        bid_quantity=told.bid_quantity * quantity,
        ask_quantity=told.ask_quantity * quantity,
    )
    expected = quote_features(told, tick=TICK)
    np.testing.assert_allclose(quote_features(scaled, tick=TICK * price), expected, rtol=1e-3, atol=1e-4)


def test_what_is_not_known_or_not_usable_is_refused() -> None:
    told = series(10)
    with pytest.raises(UsageError, match="before the first quote"):
        quotes_at(np.array([1]), np.array([2]), np.ones((1, 4)), np.empty(0, np.int64), np.empty(0))
    with pytest.raises(UsageError, match="equally far"):
        quote_features(replace(told, time_ms=told.time_ms**2), tick=TICK)
    with pytest.raises(UsageError, match="Row 3 quotes"):
        asks = told.ask.copy()
        asks[3] = told.bid[3]
        quote_features(replace(told, ask=asks), tick=TICK)
