"""The zone rules at their bounds, on typical tracks, and against the columns of `basic19`."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.inference.ladder import RuleMethod
from earmark.tasks.zones.feature_sets import FEATURE_SETS
from earmark.tasks.zones.labels import CLASSES
from earmark.tasks.zones.rules import ENOUGH, RULES, THRESHOLD

NAMES = ("tempo", "energy_variance", "brightness", "spectral_centroid", "drop_intensity", "low_energy")
COLUMNS = tuple(f"zones.basic.{name}" for name in NAMES)

CALM = (95, 0.05, 0.10, 900, 0.2, 0.60)
MIDDLE = (118, 0.30, 0.22, 2000, 0.3, 0.50)
PEAK = (140, 0.60, 0.30, 3000, 0.9, 0.40)


def scores(*track):
    return dict(zip(CLASSES, RULES.scores(np.array([track], float), COLUMNS)[0], strict=True))


def test_the_rules_read_columns_that_basic19_makes():
    assert set(RULES.columns) == set(COLUMNS)
    assert set(RULES.columns) <= set(FEATURE_SETS["basic19"].columns)
    assert RULES.classes == CLASSES
    assert (THRESHOLD, ENOUGH) == (0.55, 0.7)


@pytest.mark.parametrize(("track", "zone"), [(CALM, "YELLOW"), (MIDDLE, "GREEN"), (PEAK, "PURPLE")])
def test_a_track_inside_all_bounds_scores_one(track, zone):
    found = scores(*track)
    assert found[zone] == 1.0 and max(found, key=found.get) == zone
    assert sorted(found.values())[-2] < 1.0


def test_the_bounds_themselves_are_inside():
    assert scores(110, 0.15, 0.20, 1, 0.6, 0.5)["YELLOW"] == 1.0
    assert scores(110, 0.15, 9, 1500, 0.6, 9)["GREEN"] == scores(128, 0.40, 9, 2500, 0.6, 9)["GREEN"] == 1.0
    assert scores(128, 0.40, 0.20, 2000, 0.6, 0.5)["PURPLE"] == 1.0


@pytest.mark.parametrize(
    ("zone", "position", "value", "loss"),
    [
        ("YELLOW", 0, 220, 1 / 5), ("YELLOW", 1, 0.30, 1 / 5), ("YELLOW", 2, 0.30, 0.5 / 5),
        ("YELLOW", 4, 0.9, 0.5 / 5), ("YELLOW", 5, 0.25, 0.5 / 5), ("YELLOW", 3, 9999, 0),
        ("GREEN", 0, 101, 0.5 / 4), ("GREEN", 0, 146, 1 / 4), ("GREEN", 1, 0.525, 0.5 / 4),
        ("GREEN", 3, 1000, 0.5 / 4), ("GREEN", 3, 3500, 1 / 4), ("GREEN", 4, 1.2, 1 / 4), ("GREEN", 2, 9, 0),
        ("PURPLE", 0, 64, 0.5 / 6), ("PURPLE", 1, 0.20, 0.5 / 6), ("PURPLE", 2, 0.0, 1 / 6),
        ("PURPLE", 3, 1000, 0.5 / 6), ("PURPLE", 4, 0.3, 0.5 / 6), ("PURPLE", 5, 1.0, 1 / 6),
    ],
)  # fmt: skip
def test_each_condition_costs_its_share(zone, position, value, loss):
    track = list({"YELLOW": CALM, "GREEN": MIDDLE, "PURPLE": PEAK}[zone])
    track[position] = value
    assert scores(*track)[zone] == pytest.approx(1.0 - loss)


def test_below_the_threshold_there_is_no_decision():
    method = RuleMethod(RULES)
    nothing_fits = (165, 0.0, 0.4, 10, 0.0, 0.0)  # scores 0.5, 0.35, 0.5
    tracks = np.array([PEAK, nothing_fits], float)
    answers = method.answer(tracks, COLUMNS)
    assert answers.confidence[1] == pytest.approx(0.5, abs=0.01)
    assert answers.decided.tolist() == [True, False]


def test_a_score_at_the_threshold_is_a_decision():
    # YELLOW: three conditions met, one at 0, the last at 0.75 -> (3 + 0 + 0.75) / 5 = 0.75; lower it to 0.55.
    track = np.array([[220.0, 0.30, 0.20, 1e5, 0.6, 0.375]])
    found = RULES.scores(track, COLUMNS)[0]
    assert found[0] == pytest.approx(THRESHOLD)
    assert RuleMethod(RULES).answer(track, COLUMNS).decided[0] == (found.max() >= THRESHOLD)
