"""What a fingerprint is made of, in a form that can be stored and compared later.

Each part stands for one thing a feature depends on: a function, a class, a constant, a parameter, a library, a data
file, the version of Python. Its ``digest`` says whether it changed, its ``text`` (source or value) shows how.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

__all__ = [
    "CLASS",
    "CONSTANT",
    "DATA_FILE",
    "FUNCTION",
    "LIBRARY",
    "PARAMETER",
    "PYTHON",
    "VALUE",
    "Part",
    "parts_from_json",
    "parts_to_json",
]

FUNCTION = "function"
CLASS = "class"
CONSTANT = "constant"
VALUE = "value"
PARAMETER = "parameter"
LIBRARY = "library"
DATA_FILE = "data file"
PYTHON = "python"


@dataclass(frozen=True, slots=True)
class Part:
    """One dependency: its kind, its dotted name, 8 bytes of digest in hexadecimal, and source text or value."""

    kind: str
    name: str
    digest: str
    text: str = ""


def parts_to_json(parts: Iterable[Part]) -> str:
    """Parts as one compact JSON array of ``[kind, name, digest, text]``."""
    rows = [[part.kind, part.name, part.digest, part.text] for part in parts]
    return json.dumps(rows, separators=(",", ":"), ensure_ascii=False)


def parts_from_json(text: str) -> tuple[Part, ...]:
    """The inverse of `parts_to_json`; also reads an array of objects with those four keys."""
    rows: list[Any] = json.loads(text)
    return tuple(Part(**row) if isinstance(row, dict) else Part(*row) for row in rows)
