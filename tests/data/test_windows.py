"""Windows cross no gap and no symbol, and are named by their last row."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from series_tables import MINUTE, table_of, times_of

from earmark.data.windows import make_windows
from earmark.errors import UsageError


@given(
    gaps=st.lists(st.lists(st.booleans(), max_size=30), min_size=1, max_size=4),
    length=st.integers(1, 5),
    stride=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_every_window_is_consecutive_rows_of_one_symbol(gaps, length, stride):
    table = table_of({f"S{i}": times_of(pattern) for i, pattern in enumerate(gaps)})
    windows = make_windows(table, length, stride=stride)
    for end in windows.ends:
        rows = slice(end - length + 1, end + 1)
        assert len(set(table.symbol[rows])) == 1
        assert (np.diff(table.time_ms[rows]) <= 1.5 * MINUTE).all()
    if stride == 1:
        possible = [
            end
            for end in range(length - 1, len(table))
            if (table.segment[end - length + 1 : end + 1] == table.segment[end]).all()
        ]
        assert windows.ends.tolist() == possible


def test_three_symbols_with_interleaved_times_keep_to_themselves():
    table = table_of({name: times_of([False] * 9) for name in ("4USDT", "BTCUSDT", "ETHUSDT")})
    windows = make_windows(table, 4)
    inputs = windows.inputs()
    assert inputs.shape == (21, 4, 2)
    # Column 0 holds the row's position, column 1 the symbol's.
    assert (np.diff(inputs[:, :, 0], axis=1) == 1).all()
    assert (inputs[:, :, 1] == windows.symbol[:, None]).all()
    assert (windows.last_rows()[:, 0] == windows.ends).all()


def test_an_unknown_label_makes_no_window_but_stays_input():
    table = table_of({"A": times_of([False] * 9)}, y=[0, 1, 2, -1, 0, 1, 2, 0, 1, 2])
    assert make_windows(table, 3).ends.tolist() == [2, 4, 5, 6, 7, 8, 9]
    assert len(make_windows(table, 3, labelled=False)) == 8
    assert make_windows(table, 3).take(np.array([0])).y.tolist() == [2]


@pytest.mark.parametrize(("length", "stride"), [(0, 1), (1, 0)])
def test_nonsense_is_refused(length, stride):
    with pytest.raises(UsageError, match="expected at least 1"):
        make_windows(table_of({"A": times_of([False])}), length, stride=stride)


def test_a_table_out_of_order_is_refused():
    with pytest.raises(UsageError, match="Row 2 of a series"):
        table_of({"A": [0, MINUTE, MINUTE]})


def test_no_rows_make_no_windows():
    assert len(make_windows(table_of({}), 3)) == 0
