"""The energy number: sorts by zone first, by the expected zone within one."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.errors import UsageError
from earmark.tasks.zones.energy import ENERGY_BANDS, energy_number
from earmark.tasks.zones.labels import CLASSES

WEIGHTS = st.tuples(*[st.floats(0, 1)] * 3).filter(lambda w: sum(w) > 1e-6)


def probabilities(weights):
    return {zone: weight / sum(weights) for zone, weight in zip(CLASSES, weights, strict=True)}


def test_bands_are_one_to_ten_in_class_order():
    numbers = [
        number for zone in CLASSES for number in range(ENERGY_BANDS[zone][0], ENERGY_BANDS[zone][1] + 1)
    ]
    assert numbers == list(range(1, 11))


@pytest.mark.parametrize(
    ("weights", "zone", "number"),
    [((1, 0, 0), "YELLOW", 1), ((5, 5, 0), "YELLOW", 2), ((34, 33, 33), "YELLOW", 3), ((5, 5, 0), "GREEN", 4),
     ((0, 1, 0), "GREEN", 5), ((0, 5, 5), "GREEN", 6), ((0, 5, 5), "PURPLE", 9), ((33, 33, 34), "PURPLE", 7),
     ((0, 0, 1), "PURPLE", 10), ((0, 0, 1), "YELLOW", 3), ((1, 0, 0), "PURPLE", 7)],
)  # fmt: skip
def test_hand_computed(weights, zone, number):
    assert energy_number(probabilities(weights), zone) == number


@given(WEIGHTS, WEIGHTS, st.sampled_from(CLASSES))
def test_it_stays_in_its_band_and_rises_with_the_expected_zone(first, second, zone):
    pair = [probabilities(first), probabilities(second)]
    low, high = sorted(pair, key=lambda p: p["GREEN"] + 2 * p["PURPLE"])
    assert (
        ENERGY_BANDS[zone][0]
        <= energy_number(low, zone)
        <= energy_number(high, zone)
        <= ENERGY_BANDS[zone][1]
    )


@pytest.mark.parametrize(
    ("given_", "zone"),
    [({"YELLOW": 1.0, "GREEN": 0.0}, "YELLOW"), (dict.fromkeys(CLASSES, math.nan), "GREEN"),
     (probabilities((1, 1, 1)), "UNCERTAIN")],
)  # fmt: skip
def test_what_has_no_energy_is_refused(given_, zone):
    with pytest.raises(UsageError, match="expected"):
        energy_number(given_, zone)
