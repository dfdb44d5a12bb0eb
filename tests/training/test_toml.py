"""What is written is what tomllib reads."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earmark.errors import UsageError
from earmark.training.toml import dumps

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
SCALARS = st.one_of(st.booleans(), st.integers(-(2**62), 2**62), st.floats(allow_nan=False), TEXT)
VALUES = st.one_of(
    SCALARS, st.lists(SCALARS, max_size=4), st.lists(st.dictionaries(TEXT, SCALARS, max_size=2), max_size=2)
)
TABLES = st.recursive(
    st.dictionaries(TEXT, VALUES, max_size=4),
    lambda inner: st.dictionaries(TEXT, st.one_of(VALUES, inner), max_size=4),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(TABLES)
def test_round_trip(document):
    assert tomllib.loads(dumps(document)) == document


def test_values_that_are_none_are_left_out():
    assert tomllib.loads(dumps({"a": None, "b": {"c": None, "d": 1}})) == {"b": {"d": 1}}


def test_floats_stay_floats():
    read = tomllib.loads(
        dumps({"one": 1.0, "tiny": 1e-300, "huge": 1e22, "inf": float("-inf"), "nan": float("nan")})
    )
    assert all(type(value) is float for value in read.values())
    assert (
        read["one"] == 1.0 and read["tiny"] == 1e-300 and read["huge"] == 1e22 and read["nan"] != read["nan"]
    )


def test_what_toml_cannot_hold_is_named():
    with pytest.raises(UsageError, match=r"`a\.b` is .*PosixPath"):
        dumps({"a": {"b": Path("x")}})
