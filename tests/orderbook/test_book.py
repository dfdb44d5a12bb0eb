from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naive_book import NaiveBook

from earmark.errors import UsageError
from earmark.orderbook.book import Applied, Best, OrderBook
from earmark.orderbook.events import BookUpdate, Levels
from earmark.orderbook.state import MAX_BOOK_AGE_MS

EMPTY = np.empty((0, 2))


def levels(*rows: tuple[float, float]) -> Levels:
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def update(update_id: int, bids: Levels = EMPTY, asks: Levels = EMPTY, **fields: Any) -> BookUpdate:
    given_fields: dict[str, Any] = {
        "is_snapshot": False,
        "sequence": update_id,
        "event_ms": 1_000 * update_id,
        "sent_ms": 0,
        "received_ns": 0,
        **fields,
    }
    return BookUpdate("4USDT", bids=bids, asks=asks, update_id=update_id, **given_fields)


def snapshot(update_id: int, bids: Levels = EMPTY, asks: Levels = EMPTY, **fields: Any) -> BookUpdate:
    return update(update_id, bids, asks, is_snapshot=True, **fields)


def usual_book(**parameters: Any) -> OrderBook:
    book = OrderBook("4USDT", **parameters)
    book.apply(snapshot(7, levels((100, 1), (99, 2), (98, 3)), levels((101, 4), (102, 5), (103, 6))))
    return book


def assert_equals(book: OrderBook, naive: NaiveBook) -> None:
    bids, asks = naive.top()
    top_bids, top_asks = book.top(10**6)
    assert top_bids.tolist() == bids
    assert top_asks.tolist() == asks
    best = book.best()
    if bids and asks:
        assert best == (*bids[0], *asks[0])
        assert book.mid == (bids[0][0] + asks[0][0]) / 2
    else:
        assert best is None and book.mid is None and not book.is_healthy


# Prices of both sides overlap, so that books cross; few prices, so that they come twice in a message.
PRICES = st.integers(1, 12).map(float)
SIDE = st.lists(st.tuples(PRICES, st.sampled_from([0.0, 0.0, 0.5, 1.0, 7.25])), max_size=8).map(
    lambda rows: levels(*rows)
)
MESSAGES = st.lists(st.tuples(st.sampled_from([False, False, False, True]), SIDE, SIDE), max_size=30)


@given(MESSAGES, st.integers(1, 6))
@settings(max_examples=300, deadline=None)
def test_any_stream_gives_the_naive_book_and_never_a_crossed_one(
    messages: list[tuple[bool, Levels, Levels]], depth: int
) -> None:
    book, naive = OrderBook("4USDT", depth), NaiveBook(depth)
    book.apply(snapshot(9))
    for number, (is_snapshot, bids, asks) in enumerate(messages, 10):
        message = update(number, bids, asks, is_snapshot=is_snapshot)
        was_usable, before = book.problem is None, book.best()
        outcome = book.apply(message)
        if not (is_snapshot or was_usable):
            assert outcome is Applied.NOT_READY
            continue
        naive.apply(message)
        if naive.is_crossed:
            assert outcome is Applied.CROSSED and book.best() is None and len(book) == 0
            continue
        is_new = is_snapshot and not (was_usable and depth == 1)
        assert outcome is (Applied.SNAPSHOT if is_new else Applied.APPLIED)
        assert_equals(book, naive)
        if book.best() != before:
            assert book.best_changed


def random_messages(n_messages: int, seed: int) -> list[BookUpdate]:
    """Deltas around a wandering price that never cross: each side clears what lies beyond it."""
    rng = np.random.default_rng(seed)
    messages = [snapshot(10, levels((9_999, 1)), levels((10_001, 1)))]
    middle = 10_000
    for number in range(11, 11 + n_messages):
        step = int(rng.integers(-3, 4))
        passed = np.arange(min(middle, middle + step) - 1, max(middle, middle + step) + 2)
        middle += step
        sides = []
        for sign in (-1, 1):
            n = int(rng.integers(0, 60))
            prices = middle + sign * (1 + np.floor(rng.exponential(40, n)))
            quantities = np.round(rng.random(n), 3) * (rng.random(n) > 0.4)
            cleared = np.column_stack([passed, np.zeros(len(passed))])
            sides.append(np.concatenate([cleared, np.column_stack([prices, quantities])]))
        messages.append(update(number, *sides))
    return messages


def check_against_naive(n_messages: int, depth: int, seed: int, every: int) -> int:
    book, naive, n_levels = OrderBook("4USDT", depth), NaiveBook(depth), 0
    for i, message in enumerate(random_messages(n_messages, seed)):
        assert book.apply(message) in (Applied.APPLIED, Applied.SNAPSHOT)
        naive.apply(message)
        n_levels += len(message.bids) + len(message.asks)
        assert len(book) == len(naive.bids) + len(naive.asks) <= 2 * depth
        if i % every == 0:
            assert_equals(book, naive)
    assert_equals(book, naive)
    assert book.n_dropped > 0
    return n_levels


def test_a_long_stream_gives_the_naive_book() -> None:
    assert check_against_naive(3_000, depth=100, seed=1, every=7) > 150_000


@pytest.mark.slow
@pytest.mark.parametrize("depth", [50, 200])
def test_millions_of_level_updates_give_the_naive_book(depth: int) -> None:
    assert check_against_naive(50_000, depth, seed=depth, every=50) > 3_000_000


def test_levels_are_set_added_and_deleted() -> None:
    book = usual_book()
    changes = levels((100, 0), (97, 0), (99.5, 1.5), (99.5, 2.5)), levels((102, 0), (104, 1))
    assert book.apply(update(8, *changes)) is Applied.APPLIED
    bids, asks = book.top(2)
    assert bids.tolist() == [[99.5, 2.5], [99, 2]]
    assert asks.tolist() == [[101, 4], [103, 6]]
    assert book.best() == Best(99.5, 2.5, 101, 4)
    assert (book.update_id, book.event_ms, book.n_updates, len(book)) == (8, 8_000, 2, 6)


def test_top_is_a_copy() -> None:
    book = usual_book()
    book.top(3)[0][:] = 0
    assert book.top(1)[0].tolist() == [[100, 1]]
    assert book.top(0)[0].shape == book.top(-1)[1].shape == (0, 2)


def test_levels_below_the_depth_do_not_come_back() -> None:
    book = usual_book(depth=3)
    book.apply(update(8, levels((100.5, 1))))
    assert book.n_dropped == 1
    book.apply(update(9, levels((100.5, 0))))
    assert book.top(9)[0].tolist() == [[100, 1], [99, 2]]


def test_a_message_may_pass_through_more_levels_than_the_depth() -> None:
    book = usual_book(depth=3)
    inside = levels(*((100 + i / 1000, 1.0) for i in range(1, 900)))
    assert book.apply(update(8, np.concatenate([inside, inside * [1, 0]]))) is Applied.APPLIED
    assert book.top(9)[0].tolist() == [[100, 1], [99, 2], [98, 3]]
    assert book.n_dropped == 0


def test_best_changed_tells_a_row_of_the_price_track() -> None:
    book = usual_book()
    assert book.best_changed
    cases = [((98, 9), False), ((100, 1), False), ((100, 2), True), ((100, 0), True)]
    for number, (level, changed) in enumerate(cases, 8):
        book.apply(update(number, levels(level)))
        assert book.best_changed is changed, level


@pytest.mark.parametrize("missing", [1, 2, 1_000])
def test_a_gap_makes_the_book_unusable_until_a_snapshot(missing: int) -> None:
    book = usual_book()
    assert book.apply(update(8 + missing, levels((100, 9)))) is Applied.GAP
    assert book.problem == f"gap: update {8 + missing} does not follow update 7"
    assert book.best() is None and not book.is_healthy and book.best_changed and len(book) == 0
    assert book.apply(update(9 + missing, levels((100, 9)))) is Applied.NOT_READY
    assert book.apply(snapshot(3, levels((90, 1)), levels((91, 1)))) is Applied.SNAPSHOT
    assert book.best() == Best(90, 1, 91, 1) and book.problem is None
    assert book.apply(update(4, levels((90, 2)))) is Applied.APPLIED
    assert book.counts == {"snapshot": 2, "gap": 1, "not_ready": 1, "applied": 1}


def test_a_stale_delta_is_counted_and_ignored() -> None:
    book = usual_book()
    for number in (7, 6, 2):
        assert book.apply(update(number, levels((100, 0)))) is Applied.STALE
    assert book.best() == Best(100, 1, 101, 4) and not book.best_changed
    assert book.apply(update(8, levels((100, 3)))) is Applied.APPLIED


def test_a_number_that_fell_under_a_newer_sequence_is_a_gap() -> None:
    book = usual_book()
    assert book.apply(update(2, levels((100, 9)), sequence=8)) is Applied.GAP


@pytest.mark.parametrize("kind", [True, False])
def test_update_one_is_a_restart_and_replaces_the_book(kind: bool) -> None:
    book = usual_book()
    assert book.apply(update(1, levels((50, 1)), levels((51, 1)), is_snapshot=kind)) is Applied.SNAPSHOT
    assert len(book) == 2 and book.mid == 50.5
    assert book.apply(update(2, levels((50.5, 1)))) is Applied.APPLIED


def test_a_snapshot_that_repeats_the_book_is_no_new_beginning() -> None:
    book = usual_book()
    repeated = snapshot(7, levels((100, 1)), levels((101, 4)), event_ms=10_000)
    assert book.apply(repeated) is Applied.APPLIED
    assert book.event_ms == 10_000 and len(book) == 2
    assert book.apply(snapshot(9, levels((100, 1)), levels((101, 4)))) is Applied.SNAPSHOT


def test_a_stream_of_the_best_level_sends_nothing_but_snapshots() -> None:
    book = OrderBook("4USDT", depth=1)
    numbers = {
        7: Applied.SNAPSHOT,
        8: Applied.APPLIED,
        11: Applied.APPLIED,
        2: Applied.SNAPSHOT,
        1: Applied.SNAPSHOT,
    }
    for number, outcome in numbers.items():
        assert book.apply(snapshot(number, levels((100, number)), levels((101, 4)))) is outcome
        assert book.best() == Best(100, number, 101, 4)


@pytest.mark.parametrize("ask", [100.0, 99.5])
def test_crossed_and_locked_books_are_refused(ask: float) -> None:
    book = usual_book()
    assert book.apply(update(8, EMPTY, levels((ask, 1)))) is Applied.CROSSED
    assert "crossed: best bid 100.0 >= best ask" in str(book.problem)
    assert book.best() is None and book.mid is None and book.top(5)[1].shape == (0, 2)
    assert book.apply(update(9)) is Applied.NOT_READY
    assert book.apply(snapshot(10, levels((5, 1)), levels((4, 1)))) is Applied.CROSSED


@pytest.mark.parametrize(
    "level", [(np.nan, 1), (100, np.nan), (0, 1), (-1, 1), (100, -1), (np.inf, 1), (100, np.inf)]
)
def test_levels_without_a_meaning_make_the_book_unusable(level: tuple[float, float]) -> None:
    for side in ("bids", "asks"):
        book = usual_book()
        assert book.apply(update(8, **{side: levels((97, 1), level)})) is Applied.INVALID
        assert book.best() is None and book.problem is not None


def test_named_predecessors_continue_where_numbers_leap() -> None:
    book = usual_book()
    # 7 is within the first delta, as it must be after a snapshot that was fetched beside the stream
    assert book.apply(update(5, levels((100, 8)), previous_update_id=3, sequence=0)) is Applied.STALE
    assert book.apply(update(12, levels((100, 2)), previous_update_id=5, sequence=0)) is Applied.APPLIED
    assert book.apply(update(20, levels((100, 3)), previous_update_id=12, sequence=0)) is Applied.APPLIED
    assert book.apply(update(30, levels((100, 4)), previous_update_id=19, sequence=0)) is Applied.GAP


def test_the_first_delta_after_a_snapshot_must_span_it() -> None:
    assert usual_book().apply(update(12, previous_update_id=8, sequence=0)) is Applied.GAP
    assert usual_book().apply(update(12, previous_update_id=7, sequence=0)) is Applied.APPLIED


def test_one_empty_side_has_no_mid_and_recovers() -> None:
    book = usual_book()
    assert book.apply(update(8, levels((100, 0), (99, 0), (98, 0)))) is Applied.APPLIED
    assert book.best() is None and not book.is_healthy and book.problem is None
    book.apply(update(9, levels((97, 1))))
    assert book.best() == Best(97, 1, 101, 4)


def test_age_and_reset() -> None:
    book = usual_book()
    assert not book.is_stale(7_000 + MAX_BOOK_AGE_MS - 1)
    assert book.is_stale(7_000 + MAX_BOOK_AGE_MS)
    book.reset()
    assert (book.problem, book.update_id, len(book), book.n_updates) == ("no snapshot yet", -1, 0, 1)
    assert book.apply(update(8)) is Applied.NOT_READY


def test_arrays_of_any_memory_layout_are_read_right() -> None:
    book = OrderBook("4USDT")
    frozen = levels((100, 1), (99, 2))
    frozen.flags.writeable = False
    assert book.apply(snapshot(7, frozen, np.asfortranarray(levels((102, 4), (101, 3))))) is Applied.SNAPSHOT
    assert book.best() == Best(100, 1, 101, 3)


def test_wrong_uses_say_what_to_do() -> None:
    with pytest.raises(UsageError, match="4USDT was given to the book of BTCUSDT"):
        OrderBook("BTCUSDT").apply(snapshot(1))
    with pytest.raises(UsageError, match="depth 0"):
        OrderBook("BTCUSDT", depth=0)
