"""Labels of several classes: their text, their targets, and that the seal takes them along."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earmark.data.dataset import Dataset, test_dataset
from earmark.data.manifest import Manifest
from earmark.data.policy import SplitPolicy
from earmark.data.seal import SealedLabels, seal
from earmark.data.soft_labels import parse_soft_label, primary_class, soft_label_text, soft_targets
from earmark.data.splits import Splits
from earmark.errors import SchemaError, UsageError

CLASSES = ("3", "4", "5", "7", "9", "11")
WEIGHTS = st.dictionaries(st.sampled_from(CLASSES), st.integers(1, 100).map(lambda n: n / 100), min_size=1)


@given(WEIGHTS)
def test_the_text_of_weights_reads_back(weights):
    assert parse_soft_label(soft_label_text(weights)) == weights
    assert weights[primary_class(weights, CLASSES)] == max(weights.values())


@pytest.mark.parametrize("text", ["", "3:", "3:0", "3:1.5", "3:nan", "3:0.5,3:0.4", ":0.5", "3;4", "3:-1"])
def test_what_is_no_soft_label_is_refused(text):
    if text == "3;4":
        with pytest.raises(UsageError, match="names 3;4"):
            soft_targets([text], np.array([0]), CLASSES)
    else:
        with pytest.raises(UsageError, match="cannot be read"):
            parse_soft_label(text)


def test_targets_by_hand():
    y = np.array([0, 2, 1])
    found = soft_targets([None, "5", "3:0.7,4:0.8"], y, CLASSES)
    expected = np.zeros((3, 6), np.float32)
    expected[0, 0] = expected[1, 2] = 1
    expected[2, :2] = 0.7, 0.8
    np.testing.assert_array_equal(found, expected)


def test_a_label_that_is_not_the_heaviest_is_refused():
    with pytest.raises(UsageError, match="more weight to another class"):
        soft_targets(["3:0.7,4:0.8"], np.array([0]), CLASSES)


class _Table:
    def __init__(self, ids):
        self.ids, self.columns = ids, ("g.a", "g.b")
        self.values = np.arange(2 * len(ids), dtype=np.float32).reshape(-1, 2)


def _prepared(folder):
    n = 40
    rows = {
        "id": [f"clip-{i:02d}" for i in range(n)],
        "uri": [f"/music/{i}.ogg" for i in range(n)],
        "group": [f"score-{i // 2}" for i in range(n)],
        "label": ["34"[i // 2 % 2] for i in range(n)],
        "meters": ["3" if i // 2 % 2 == 0 else "3:0.7,4:0.8" for i in range(n)],
        "signature": [("6/8", "4/4")[i // 2 % 2] for i in range(n)],
        "style": ["folk"] * n,
    }
    manifest = Manifest(pl.DataFrame(rows))
    splits = Splits.make(
        manifest, SplitPolicy(test_fraction=0.3, n_folds=2, sealed_columns=("meters", "signature"))
    )
    return seal(folder, manifest, splits)


def test_soft_targets_reach_the_dataset_and_leave_the_test_rows(tmp_path):
    manifest, splits = _prepared(tmp_path)
    test = manifest.table.filter(pl.col("split") == "test")
    assert test.height and test["style"].null_count() == 0
    for name in ("label", "meters", "signature"):
        assert test[name].null_count() == test.height, name
    data = Dataset.build(manifest, splits, _Table(manifest.ids), CLASSES, soft_labels="meters")
    assert not Dataset.build(manifest, splits, _Table(manifest.ids), CLASSES).is_soft
    assert data.is_soft and data.targets.shape == (len(data), 6)
    np.testing.assert_allclose(data.targets[data.y == 1, 0], 0.7)
    np.testing.assert_array_equal(data.take(data.y == 0).targets[:, 1], 0)
    opened = test_dataset(
        SealedLabels(tmp_path).open(run="r", reason="test"),
        _Table(manifest.ids),
        CLASSES,
        soft_labels="meters",
    )
    assert opened.is_soft and {
        row["signature"] for row in SealedLabels(tmp_path).open(run="r", reason="x").rows
    } == {
        "6/8",
        "4/4",
    }


def test_the_hash_tells_soft_from_hard_and_hard_keeps_its_own():
    given = {
        "ids": ("a", "b"),
        "columns": ("x",),
        "X": np.float32([[0], [1]]),
        "y": np.array([0, 1]),
        "classes": ("3", "4"),
        "groups": np.array(["a", "b"]),
        "folds": np.array([0, 1]),
    }
    hard = Dataset(**given)
    assert not hard.is_soft and hard.hash == Dataset(**given, soft=np.eye(2)).hash
    soft = Dataset(**given, soft=np.float32([[1, 0.5], [0, 1]]))
    assert soft.is_soft and soft.hash != hard.hash
    with pytest.raises(SchemaError, match="largest value outside"):
        Dataset(**given, soft=np.float32([[0.2, 0.5], [0, 1]]))


def test_targets_of_hard_labels_follow_the_labels():
    given = {"ids": ("a", "b"), "columns": ("x",), "X": np.zeros((2, 1)), "classes": ("3", "4")}
    hard = Dataset(**given, y=np.array([0, 1]), groups=np.array(["a", "b"]), folds=np.array([0, 1]))
    np.testing.assert_array_equal(replace(hard, y=np.array([1, 1])).targets, [[0, 1], [0, 1]])
