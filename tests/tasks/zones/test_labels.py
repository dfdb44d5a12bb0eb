"""The zones: one table of names, ids and colours, how labels are read, and the rule on tempo."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.tasks.zones.labels import (
    CLASSES,
    UNCERTAIN,
    ZONES,
    bpm_rule,
    follows_bpm_rule,
    parse_zone,
    zone_of_colour,
)


def test_zones_ids_colours_and_order() -> None:
    assert [(zone.id, zone.name, zone.colour, zone.display_name) for zone in ZONES] == [
        (0, "YELLOW", "#FFD700", "🟨 Yellow (Rest)"),
        (1, "GREEN", "#32CD32", "🟩 Green (Transition)"),
        (2, "PURPLE", "#9370DB", "🟪 Purple (Energy)"),
    ]
    assert CLASSES == ("YELLOW", "GREEN", "PURPLE")
    assert UNCERTAIN not in CLASSES
    assert all(zone.meaning and zone.profile for zone in ZONES)


@pytest.mark.parametrize("zone", ZONES)
def test_names_and_display_names_are_read_in_any_case(zone: object) -> None:
    name, display = zone.name, zone.display_name  # type: ignore[attr-defined]
    for text in (name, name.lower(), name.title(), f" {name} ", f'"{name}"', display, display.upper()):
        assert parse_zone(text) == (name, False)


def test_yellow_with_one_l_is_yellow_and_said_so() -> None:
    assert parse_zone("YELOW") == parse_zone("yelow") == ("YELLOW", True)


@pytest.mark.parametrize("text", ["", "blue", "UNCERTAIN", "0", "yellow green", "yelloww"])
def test_anything_else_is_no_zone(text: str) -> None:
    assert parse_zone(text) is None


def test_colours_of_now_and_of_earlier_configurations() -> None:
    assert [zone_of_colour(zone.colour.lower()) for zone in ZONES] == list(CLASSES)
    assert zone_of_colour("#00FF00") == "GREEN"
    assert zone_of_colour("#123456") is None


@pytest.mark.parametrize(
    ("bpm", "zone"),
    [(60, "YELLOW"), (109.99, "YELLOW"), (110, "GREEN"), (128, "GREEN"), (128.01, "PURPLE"), (180, "PURPLE")],
)
def test_bpm_rule_at_its_boundaries(bpm: float, zone: str) -> None:
    assert bpm_rule(bpm) == zone


@pytest.mark.parametrize("bpm", [None, 0.0, -1.0, float("nan"), float("inf")])
def test_no_tempo_gives_no_zone(bpm: float | None) -> None:
    assert bpm_rule(bpm) is None


@given(st.lists(st.floats(40, 250), min_size=10, max_size=50))
def test_labels_made_by_the_rule_are_recognised(bpms: list[float]) -> None:
    zones = [bpm_rule(bpm) or "" for bpm in bpms]
    assert follows_bpm_rule([round(bpm, 2) for bpm in bpms], zones) == (len(set(zones)) > 1)


def test_one_heard_label_is_enough_against_the_rule() -> None:
    bpms: list[float | None] = [100.0, 120.0, 130.0] * 5
    zones = [bpm_rule(bpm) or "" for bpm in bpms]
    assert follows_bpm_rule([*bpms, None], [*zones, "PURPLE"])
    assert not follows_bpm_rule([*bpms, 100.0], [*zones, "PURPLE"])


def test_few_rows_may_follow_the_rule_by_chance() -> None:
    assert not follows_bpm_rule([100.0, 120.0, 130.0], ["YELLOW", "GREEN", "PURPLE"])
