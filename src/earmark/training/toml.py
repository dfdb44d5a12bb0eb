"""Writing TOML: the subset that a run's record needs, read back by `tomllib` to equal values.

Tables (dicts with text keys), text, integers, finite and non-finite floats, booleans, and lists of these
(lists of tables become inline tables). TOML has no null: a key whose value is None is left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from earmark.errors import UsageError

__all__ = ["dumps"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def dumps(document: Mapping[str, Any]) -> str:
    """TOML text of `document`; plain values come first, then one section per table.

    Raises
    ------
    UsageError
        For a value of a type TOML cannot hold, with its place.

    Examples
    --------
    >>> print(dumps({"task": "zones", "seed": 42, "model": {"depth": 6}}))
    task = "zones"
    seed = 42
    <BLANKLINE>
    [model]
    depth = 6
    <BLANKLINE>
    """
    return "\n".join(_table(document, ())) + "\n"


def _table(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = []
    for key, value in table.items():
        if value is not None and not isinstance(value, Mapping):
            lines.append(f"{_key(key)} = {_value(value, (*path, key))}")
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner = (*path, key)
            lines += ["", f"[{'.'.join(_key(part) for part in inner)}]", *_table(value, inner)]
    return lines


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else _text(key)


def _value(value: Any, path: tuple[str, ...]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(item, path) for item in value) + "]"
    if isinstance(value, Mapping):
        present = {key: item for key, item in value.items() if item is not None}
        pairs = [f"{_key(key)} = {_value(item, (*path, key))}" for key, item in present.items()]
        return "{" + ", ".join(pairs) + "}"
    raise UsageError(
        f"`{'.'.join(path)}` is {value!r} of type {type(value).__name__}; TOML holds text, numbers, "
        "booleans, lists and tables. "
        "Convert it first."
    )


def _float(value: float) -> str:
    if math.isnan(value):
        return "nan"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    text = repr(value)
    return text if any(mark in text for mark in ".e") else text + ".0"


def _text(text: str) -> str:
    # JSON's escapes are TOML's, once non-ASCII text stays as it is and DEL, which JSON leaves bare, is
    # escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
