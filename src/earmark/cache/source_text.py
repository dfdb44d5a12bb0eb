"""Source of a code object, for display only: what counts is the code that runs."""

from __future__ import annotations

import linecache
import textwrap
from collections.abc import Iterator
from types import CodeType

from earmark.cache.symbols import NormalForm

__all__ = ["source_text"]

_texts: dict[NormalForm, str] = {}


def source_text(form: NormalForm) -> str:
    """Lines of the function, decorators included; read once per code object, when it is first seen.

    Normal forms live as long as the process, so what was read stays that of the running code when its file is edited.
    """
    text = _texts.get(form)
    if text is None:
        text = _texts[form] = _read(form.code)
    return text


def _read(code: CodeType) -> str:
    linecache.checkcache(code.co_filename)
    lines = linecache.getlines(code.co_filename)
    if not lines:
        return f"<{code.co_qualname} was generated>\n"
    return textwrap.dedent("".join(lines[code.co_firstlineno - 1 : max(_lines(code))]))


def _lines(code: CodeType) -> Iterator[int]:
    yield code.co_firstlineno
    for _, _, line in code.co_lines():
        if line is not None:
            yield line
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _lines(constant)
