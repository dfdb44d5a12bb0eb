"""The golden vectors: numbers of earlier code on seeded signals, which a refactoring must not move.

``tests/golden/regenerate_zones.py`` writes them.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "golden" / "regenerate_zones.py"
SIGNALS = ("planted_drop", "steady", "pink_noise")
RELATIVE = 1e-3
# Below this a number is zero: flatness of a silent frame, a share that never occurs.
ABSOLUTE = 1e-4


@pytest.fixture(scope="module")
def script() -> ModuleType:
    specification = importlib.util.spec_from_file_location("regenerate_zones", SCRIPT)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize("signal", SIGNALS)
def test_columns_keep_their_values(script: ModuleType, signal: str) -> None:
    golden = json.loads(script.GOLDEN.read_text(encoding="utf-8"))[signal]
    values = script.golden_values(script.golden_clips()[signal])
    assert list(values) == list(golden)
    moved = {
        name: (golden[name], value)
        for name, value in values.items()
        if value != pytest.approx(golden[name], rel=RELATIVE, abs=ABSOLUTE)
    }
    assert moved == {}


def test_every_signal_is_tested(script: ModuleType) -> None:
    assert tuple(json.loads(script.GOLDEN.read_text(encoding="utf-8"))) == SIGNALS
