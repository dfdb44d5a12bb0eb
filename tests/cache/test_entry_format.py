"""The stored form of one array: what goes in comes out, and nothing damaged comes out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from earmark.cache.entry_format import BadEntryError, decode, encode, samples, stored_shape
from earmark.errors import CacheError

NUMBERS = st.one_of(
    hnp.floating_dtypes(sizes=(16, 32, 64)),
    hnp.integer_dtypes(),
    hnp.unsigned_integer_dtypes(),
    hnp.boolean_dtypes(),
    hnp.complex_number_dtypes(sizes=(64, 128)),
)
ARRAYS = hnp.arrays(NUMBERS, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))


@given(array=ARRAYS)
@settings(max_examples=200, deadline=None)
def test_arrays_come_back_bit_for_bit(array: np.ndarray) -> None:
    back = decode(memoryview(encode(array)))
    assert back.shape == array.shape
    assert back.dtype == array.dtype.newbyteorder("<")
    assert back.tobytes() == np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<")).tobytes()


@given(array=ARRAYS, data=st.data())
@settings(max_examples=200, deadline=None)
def test_any_changed_byte_is_noticed(array: np.ndarray, data: st.DataObject) -> None:
    stored = bytearray(encode(array))
    place = data.draw(st.integers(0, len(stored) - 1))
    stored[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(BadEntryError):
        decode(memoryview(bytes(stored)))


@given(array=ARRAYS, data=st.data())
@settings(max_examples=100, deadline=None)
def test_any_cut_is_noticed(array: np.ndarray, data: st.DataObject) -> None:
    stored = encode(array)
    with pytest.raises(BadEntryError):
        decode(memoryview(stored[: data.draw(st.integers(0, len(stored) - 1))]))


@given(stored=st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_no_other_bytes_are_an_entry(stored: bytes) -> None:
    with pytest.raises(BadEntryError):
        samples(memoryview(stored))
    stored_shape(memoryview(stored))


def test_views_and_other_orders_are_stored_by_value() -> None:
    grid = np.arange(24, dtype=">f8").reshape(4, 6)
    for array in (grid, grid.T, grid[::2, ::-1], np.asfortranarray(grid)):
        np.testing.assert_array_equal(decode(memoryview(encode(array))), array)


def test_a_decoded_array_owns_its_memory() -> None:
    flags = decode(memoryview(encode(np.zeros((2, 3))))).flags
    assert flags.owndata
    assert flags.writeable


@pytest.mark.parametrize(
    "array",
    [np.array(["a"]), np.array([object()]), np.array([1], "M8[s]"), np.array([(1, 2)], "i4,i4")],
    ids=["text", "objects", "dates", "records"],
)
def test_what_is_not_a_number_is_refused(array: np.ndarray) -> None:
    with pytest.raises(CacheError, match="plain numbers"):
        encode(array)


def test_too_many_dimensions_are_refused() -> None:
    with pytest.raises(CacheError, match="at most 8"):
        encode(np.zeros((1,) * 9))


def test_the_stored_form_is_fixed() -> None:
    """A cache written by an earlier release must stay readable: a change here needs a new version number."""
    assert encode(np.array([1.0, -2.0], np.float32)).hex() == GOLDEN


GOLDEN = "d44282564d572fa6656d01000100000002000000000000000000803f000000c0"
