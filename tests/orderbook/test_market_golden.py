"""The features of a generated session are what they were when their definitions were last looked at."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"


def test_features_are_the_golden_ones() -> None:
    expected = json.loads((GOLDEN / "market_features.json").read_text(encoding="utf-8"))
    actual = runpy.run_path(str(GOLDEN / "regenerate_market.py"))["golden_values"]()
    assert {k: list(views) for k, views in actual.items()} == {
        k: list(views) for k, views in expected.items()
    }
    for tick, views in expected.items():
        for view, columns in views.items():
            assert list(actual[tick][view]) == list(columns)
            for name, value in columns.items():
                known = pytest.approx(value, rel=2e-6, abs=1e-7) if value is not None else None
                assert actual[tick][view][name] == known, (tick, name)
