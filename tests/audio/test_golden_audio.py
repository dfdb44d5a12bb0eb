"""The definitions stay what they were: numbers of one generated clip, kept in ``tests/golden/audio.json``."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
EXACT = ("tempo", "tuning", "beat_frames")


def _regenerate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("regenerate_audio", GOLDEN / "regenerate_audio.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def measured() -> dict[str, list[float]]:
    return _regenerate().measured()


EXPECTED: dict[str, list[float]] = json.loads((GOLDEN / "audio.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", EXPECTED)
def test_numbers_have_not_moved(name: str, measured: dict[str, list[float]]) -> None:
    if name in EXACT:
        np.testing.assert_allclose(measured[name], EXPECTED[name], rtol=1e-12)
    else:
        scale = np.abs(EXPECTED[name]).max()
        np.testing.assert_allclose(measured[name], EXPECTED[name], rtol=1e-3, atol=1e-4 * scale)


def test_nothing_is_left_out(measured: dict[str, list[float]]) -> None:
    assert set(measured) == set(EXPECTED)
