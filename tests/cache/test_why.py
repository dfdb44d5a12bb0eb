"""What `earmark cache why` says about each kind of change."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from earmark.cache.fingerprint import fingerprint
from earmark.cache.parts import Part, parts_from_json, parts_to_json
from earmark.cache.why import Change, diff_parts, render

SOURCE = '''
from functools import partial, wraps

from numba import njit

GAIN = 2.0
TABLE = {"a": [1, 2]}

def louder(function):
    @wraps(function)
    def wrapper(x):
        return function(x) * GAIN
    return wrapper

def helper(x, order=2):
    """Helps."""
    return x ** order

class Settings:
    def __init__(self):
        self.width = 5

SETTINGS = Settings()

@njit(fastmath=False)
def kernel(x):
    return x + 1.0

@louder
def feature(clip):
    return helper(clip) + SETTINGS.width + TABLE["a"][0] + kernel(1.0)
'''


@pytest.fixture
def changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[Change]]]:
    """Replaces text in the module's source and says what changed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    path = tmp_path / "why_module.py"

    def parts(source: str, **keywords: object) -> tuple[Part, ...]:
        path.write_text(source)
        sys.modules.pop("why_module", None)
        importlib.invalidate_caches()
        module = importlib.import_module("why_module")
        return fingerprint(module.feature, **keywords).parts  # type: ignore[arg-type]

    def compare(old: str = "", new: str = "", **keywords: object) -> list[Change]:
        assert old in SOURCE
        before = parts(SOURCE)
        return diff_parts(before, parts(SOURCE.replace(old, new) if old else SOURCE, **keywords))

    yield compare
    sys.modules.pop("why_module", None)


def test_nothing(changes: Callable[..., list[Change]]) -> None:
    assert changes() == []
    assert render([]) == "nothing changed"


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("GAIN = 2.0", "GAIN = 3.0", ["constant why_module.GAIN: 2.0 -> 3.0"]),
        ("[1, 2]}", "[1, 3]}", ["value why_module.TABLE: {'a': [1, 2]} -> {'a': [1, 3]}"]),
        ("self.width = 5", "self.width = 6", ["constant why_module.SETTINGS.width: 5 -> 6"]),
        ("fastmath=False", "fastmath=True", ["constant why_module.kernel fastmath: False -> True"]),
        (
            "x ** order",
            "x * order",
            ["function why_module.helper changed", "-    return x ** order", "+    return x * order"],
        ),
        ("x + 1.0", "x + 2.0", ["function why_module.kernel changed", "+    return x + 2.0"]),
        (
            "* GAIN",
            "/ GAIN",
            ["function why_module.louder.<locals>.wrapper changed", "+    return function(x) / GAIN"],
        ),
        ("order=2", "order=3", ["constant why_module.helper(order=): 2 -> 3"]),
    ],
)
def test_named(old: str, new: str, said: list[str], changes: Callable[..., list[Change]]) -> None:
    text = render(changes(old, new))
    for line in said:
        assert line in text
    assert "<locals>.wrapper" in text or "wrapper" not in text, "only what changed is named"


def test_only_the_edited_function_is_named(changes: Callable[..., list[Change]]) -> None:
    (change,) = changes("x ** order", "x * order")
    assert (change.kind, change.name, change.what) == ("function", "why_module.helper", "changed")


def test_another_helper(changes: Callable[..., list[Change]]) -> None:
    found = changes("helper(clip) +", "abs(clip) +")
    assert {(change.name, change.what) for change in found} >= {
        ("why_module.feature", "changed"),
        ("why_module.helper", "removed"),
    }


def test_parameter_and_file(changes: Callable[..., list[Change]], tmp_path: Path) -> None:
    (change,) = changes(parameters={"parameter n": 3})
    assert change.render() == "parameter n added"
    (tmp_path / "data.txt").write_text("x")
    (change,) = changes(depends_on=[tmp_path / "data.txt"])
    assert change.render() == "data file <project>/data.txt added"


def test_library_and_python() -> None:
    old = [
        Part("library", "numpy", "a", "2.3"),
        Part("python", "python", "b", "3.11"),
        Part("data file", "t", "c", "0"),
    ]
    new = [
        Part("library", "numpy", "d", "2.4"),
        Part("python", "python", "e", "3.12"),
        Part("data file", "t", "f", "1"),
    ]
    assert render(diff_parts(old, new)).splitlines() == [
        "python python: 3.11 -> 3.12",
        "library numpy: 2.3 -> 2.4",
        "data file t changed in content",
    ]


def test_moved_function_is_no_change() -> None:
    old = [Part("function", "a.b.helper", "1", "def helper(): ..."), Part("constant", "a.K", "2", "1")]
    new = [Part("function", "c.helper", "1", "def helper(): ..."), Part("constant", "a.K", "3", "2")]
    assert [change.name for change in diff_parts(old, new)] == ["a.K"]


def test_two_lambdas_on_one_line() -> None:
    line = "pair = (lambda x: x + 1), (lambda x: x + {})\n"
    old = [
        Part("function", "m.<lambda>", "1", line.format(2)),
        Part("function", "m.<lambda>", "2", line.format(2)),
    ]
    new = [
        Part("function", "m.<lambda>", "1", line.format(3)),
        Part("function", "m.<lambda>", "3", line.format(3)),
    ]
    (change,) = diff_parts(old, new)
    assert change.what == "changed" and "x + 3" in change.render()


def test_json_round_trip() -> None:
    parts = fingerprint(render, parameters={"parameter x": [1.5, "two"]}).parts
    assert {part.kind for part in parts} >= {"function", "parameter", "python"}
    text = parts_to_json(parts)
    assert parts_from_json(text) == parts
    rows = [dict(zip(("kind", "name", "digest", "text"), row, strict=True)) for row in json.loads(text)]
    assert parts_from_json(json.dumps(rows)) == parts
