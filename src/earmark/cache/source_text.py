"""Source of a code object, for display only: what counts is the code that runs."""

from __future__ import annotations

import linecache
import textwrap
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType

__all__ = ["source_text"]


@lru_cache(maxsize=None)
def _source_text(file: str, first: int, last: int, name: str, code_id: int) -> str:
    lines = linecache.getlines(file)
    return textwrap.dedent("".join(lines[first - 1 : last])) if lines else f"<{name} was generated>\n"


def source_text(code: CodeType) -> str:
    """Lines of the function, decorators included; read once per code object, when it is first seen."""
    return _source_text(code.co_filename, code.co_firstlineno, max(_lines(code)), code.co_qualname, id(code))


def _lines(code: CodeType) -> Iterator[int]:
    yield code.co_firstlineno
    for _, _, line in code.co_lines():
        if line is not None:
            yield line
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _lines(constant)
