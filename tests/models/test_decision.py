"""Decisions: the Bayes rule against brute force, boosts, abstention, and the file that people may edit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from earmark.errors import RunError, UsageError
from earmark.models.calibration import Identity, Isotonic, Temperature
from earmark.models.decision import (
    THRESHOLDS_FILE,
    Decision,
    ordinal_costs,
    read_costs,
    read_decision,
    read_record,
    write_decision,
)

CLASSES = ("YELLOW", "GREEN", "PURPLE")


@st.composite
def rows(draw):
    values = draw(arrays(np.float64, (draw(st.integers(1, 12)), 3), elements=st.floats(0, 1)))
    values[:, 1] += values.sum(axis=1) < 1e-3
    return values / values.sum(axis=1, keepdims=True)


COSTS = arrays(np.float64, (3, 3), elements=st.floats(0, 5)).map(
    lambda table: tuple(map(tuple, (table * (1 - np.eye(3))).tolist()))
)
BOOSTS = st.tuples(*[st.floats(0.1, 20)] * 3)


@settings(deadline=None)
@given(rows())
def test_equal_costs_and_no_boost_take_the_most_probable_class(p):
    decided = Decision(CLASSES).decide(p)
    np.testing.assert_array_equal(decided.labels, p.argmax(axis=1))
    np.testing.assert_array_equal(decided.confidence, p.max(axis=1))
    np.testing.assert_array_equal(decided.probabilities, p)
    assert decided.decided.all()


@settings(deadline=None)
@given(rows(), COSTS, BOOSTS)
def test_no_other_label_would_have_cost_less(p, costs, boost):
    decided = Decision(CLASSES, costs=costs, boost=boost).decide(p)
    for row, label, confidence in zip(p, decided.labels, decided.confidence, strict=True):
        scores = [row[i] * boost[i] for i in range(3)]
        expected = [sum(scores[i] * costs[i][j] for i in range(3)) for j in range(3)]
        possible = [expected[j] for j in range(3) if row[j] > 0]
        assert expected[label] <= min(possible) + 1e-10 * max(1.0, sum(scores))
        assert row[label] > 0
        assert confidence == row[label]


@settings(deadline=None)
@given(rows(), BOOSTS, st.floats(1, 100), st.sampled_from([(), ordinal_costs(3)]))
def test_a_greater_boost_never_takes_rows_from_its_class(p, boost, factor, costs):
    before = Decision(CLASSES, boost=boost, costs=costs).decide(p).labels == 2
    greater = (boost[0], boost[1], boost[2] * factor)
    after = Decision(CLASSES, boost=greater, costs=costs).decide(p).labels == 2
    assert (after >= before).all()


def test_ordinal_costs_take_the_middle_where_the_ends_are_in_doubt():
    p = [[0.45, 0.1, 0.45], [0.6, 0.1, 0.3], [0.1, 0.42, 0.48], [0.5, 0.0, 0.5]]
    decided = Decision(CLASSES, costs=ordinal_costs(3)).decide(p)
    assert decided.labels.tolist() == [1, 0, 1, 0]
    assert decided.confidence.tolist() == [0.1, 0.6, 0.42, 0.5]
    assert ordinal_costs(3) == ((0, 1, 2), (1, 0, 1), (2, 1, 0))


def test_the_threshold_is_on_the_calibrated_probability_of_the_chosen_class():
    calibrator = Temperature(0.5, (True, True, True))
    decision = Decision(CLASSES, calibrator, boost=(1, 1, 4), threshold=0.3)
    decided = decision.decide([[0.5, 0.2, 0.3], [0.8, 0.1, 0.1], [0.4, 0.2, 0.4]])
    squared = np.array([[25, 4, 9], [64, 1, 1], [16, 4, 16]])
    q = squared / squared.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(decided.probabilities, q, rtol=1e-9)
    assert decided.labels.tolist() == [2, 0, 2]
    np.testing.assert_allclose(decided.confidence, [q[0, 2], q[1, 0], q[2, 2]])
    assert decided.decided.tolist() == [False, True, True]
    assert decision.with_threshold(0.0).decide([[0.5, 0.2, 0.3]]).decided.all()


def test_no_rows_are_no_decisions():
    decided = Decision(CLASSES).decide(np.empty((0, 3)))
    assert decided.labels.shape == decided.confidence.shape == decided.decided.shape == (0,)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"threshold": 1.5}, "threshold is 1.5"),
        ({"threshold": math.nan}, "threshold is nan"),
        ({"boost": (1, 1)}, "3 positive numbers"),
        ({"boost": (1, 0, 1)}, "3 positive numbers"),
        ({"boost": (1, math.inf, 1)}, "3 positive numbers"),
        ({"costs": ((0, 1), (1, 0))}, "3 x 3"),
        ({"costs": ((0, 1), (1, 0), (1,))}, "3 x 3"),
        ({"costs": ((0, -1, 1), (1, 0, 1), (1, 1, 0))}, "none negative"),
        ({"costs": ((1, 1, 1), (1, 0, 1), (1, 1, 0))}, "right answers"),
    ],
)
def test_a_decision_that_makes_no_sense_is_refused(changes, words):
    with pytest.raises(UsageError, match=words):
        Decision(CLASSES, **changes)


def test_probabilities_of_other_classes_are_refused():
    with pytest.raises(UsageError, match="2 columns; expected 3"):
        Decision(CLASSES).decide([[0.5, 0.5]])


KNOTS = Isotonic((((0.1, 0.2), (1 / 3, 0.7)), ((0.5, 0.5),), ()))


@pytest.mark.parametrize(
    "decision",
    [
        Decision(CLASSES),
        Decision(("on", "no", "été"), Temperature(1 / 3, (True, False, True)), threshold=1e-7),
        Decision(CLASSES, KNOTS, ordinal_costs(3), (1.0, 2.5, 1e-3), 0.1 + 0.2),
    ],
)
def test_a_decision_is_read_back_to_the_last_bit(tmp_path, decision):
    write_decision(tmp_path, decision, {"wanted": {"coverage": 0.9}})
    assert read_decision(tmp_path, decision.classes) == decision
    assert read_record(tmp_path) == {"wanted": {"coverage": 0.9}}
    by_another_reader = yaml.safe_load((tmp_path / THRESHOLDS_FILE).read_text(encoding="utf-8"))
    assert by_another_reader["threshold"] == decision.threshold
    assert list(by_another_reader["boost"]) == list(decision.classes)


def test_a_run_without_a_decision_has_none(tmp_path):
    assert read_decision(tmp_path) is None
    assert read_record(tmp_path) is None


def test_an_earlier_file_is_kept_under_the_next_free_number(tmp_path):
    for threshold in (0.1, 0.2, 0.2, 0.3):
        write_decision(tmp_path, Decision(CLASSES, threshold=threshold))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["thresholds.1.yaml", "thresholds.2.yaml", "thresholds.yaml"]
    kept = [yaml.safe_load((tmp_path / name).read_text())["threshold"] for name in names]
    assert kept == [0.1, 0.2, 0.3]


def edited(folder, change):
    write_decision(folder, Decision(CLASSES, Temperature(2.0, (True, True, True))))
    path = folder / THRESHOLDS_FILE
    document = yaml.safe_load(path.read_text())
    change(document)
    path.write_text(yaml.safe_dump(document))


def test_people_may_edit_the_file(tmp_path):
    edited(tmp_path, lambda document: document.update(threshold=1, boost=dict.fromkeys(CLASSES, 2)))
    found = read_decision(tmp_path)
    assert (found.threshold, found.boost) == (1.0, (2.0, 2.0, 2.0))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: d.update(treshold=0.5), r"unknown treshold \(did you mean `threshold`\?\)"),
        (lambda d: d.pop("costs"), "lacks costs"),
        (lambda d: d.update(format=2), "format is 2"),
        (lambda d: d.update(threshold="0.5"), "`threshold` is '0.5'"),
        (lambda d: d.update(threshold=None), "`threshold` is None"),
        (lambda d: d["boost"].update(PURPEL=1.0), r"unknown PURPEL \(did you mean `PURPLE`"),
        (lambda d: d["boost"].update(PURPLE=0), "positive"),
        (lambda d: d["costs"]["YELLOW"].update(GREEN=math.nan), "costs.YELLOW.GREEN"),
        (lambda d: d["costs"].update(YELLOW=3), "`costs.YELLOW` is 3"),
        (lambda d: d.update(classes="YELLOW"), "list of names"),
        (lambda d: d.update(calibration="temperature"), "expected a table"),
        (lambda d: d["calibration"].update(present=[True, True]), r"expected \(n, 2\)"),
        (lambda d: d["calibration"].update(temperature=-1), "positive"),
        (lambda d: (d.clear(), d.update(a=1)), "lacks format"),
    ],
)
def test_a_file_with_a_mistake_is_refused_with_its_place(tmp_path, change, words):
    edited(tmp_path, change)
    with pytest.raises(RunError, match=words) as caught:
        read_decision(tmp_path)
    assert str(tmp_path / THRESHOLDS_FILE) in str(caught.value)


@pytest.mark.parametrize("text", ["", "- 1", "a: [", "\x00", "!!python/object/apply:os.system ['true']"])
def test_a_file_that_is_no_table_is_refused(tmp_path, text):
    (tmp_path / THRESHOLDS_FILE).write_text(text)
    with pytest.raises(RunError, match=THRESHOLDS_FILE):
        read_decision(tmp_path)


def test_a_decision_about_other_classes_is_refused(tmp_path):
    write_decision(tmp_path, Decision(("YELLOW", "PURPLE", "GREEN"), Identity()))
    with pytest.raises(RunError, match="the run answers YELLOW, GREEN, PURPLE"):
        read_decision(tmp_path, CLASSES)


def test_costs_come_from_a_file_with_every_pair(tmp_path):
    path = tmp_path / "costs.yaml"
    path.write_text(
        "YELLOW: {GREEN: 1, PURPLE: 3}\nGREEN: {YELLOW: 1, PURPLE: 1}\nPURPLE: {YELLOW: 5, GREEN: 2}\n"
    )
    assert read_costs(path, CLASSES) == ((0, 1, 3), (1, 0, 1), (5, 2, 0))
    path.write_text('{"YELLOW": {"GREEN": 1}}')
    with pytest.raises(UsageError, match="lacks GREEN, PURPLE"):
        read_costs(path, CLASSES)
    path.write_text("YELLOW: {GREEN: 1, PURPLE: 3}\nGREEN: {YELLOW: 1}\nPURPLE: {YELLOW: 5, GREEN: 2}\n")
    with pytest.raises(UsageError, match=r"`costs.GREEN` lacks PURPLE"):
        read_costs(path, CLASSES)
    with pytest.raises(UsageError, match="cannot be read"):
        read_costs(tmp_path / "gone.yaml", CLASSES)
