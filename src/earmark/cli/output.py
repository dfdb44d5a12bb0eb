"""What goes to standard output: tables for people, JSON and CSV for programs.

Conventions
-----------
* Standard output carries the result and nothing else; notes, logs and progress go to standard error.
* ``table`` is drawn with rules on a terminal and is plain aligned text elsewhere, for ``grep`` and ``awk``.
* ``json`` is stable: keys keep the order in which they are declared, NaN and infinities become ``null``.
* ``csv`` is RFC 4180 with ``\\n``, and repeats the rows of the table.
"""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from earmark.cli.options import Invocation

__all__ = ["complain", "complain_of", "emit", "format_bytes", "format_seconds", "note", "render", "to_json"]

Row = Mapping[str, Any]


def emit(
    invocation: Invocation,
    rows: Sequence[Row],
    *,
    columns: Sequence[str] | None = None,
    document: Any = None,
    title: str | None = None,
) -> None:
    """Print a result to standard output in the form that was asked for.

    Parameters
    ----------
    invocation : Invocation
        Its ``format`` decides.
    rows : sequence of mapping
        The rows of the table and of the CSV.
    columns : sequence of str, optional
        Their order; default: the keys of the first row.
    document : object, optional
        What JSON prints; default: the rows.
    title : str, optional
        Heading of the table.
    """
    sys.stdout.write(render(invocation.format, rows, columns=columns, document=document, title=title))
    sys.stdout.flush()


def render(
    form: str,
    rows: Sequence[Row],
    *,
    columns: Sequence[str] | None = None,
    document: Any = None,
    title: str | None = None,
) -> str:
    """The text that `emit` prints; see there."""
    names = list(columns if columns is not None else (rows[0] if rows else ()))
    if form == "json":
        return to_json(list(rows) if document is None else document)
    if form == "csv":
        return _csv(rows, names)
    return _rules(rows, names, title) if sys.stdout.isatty() else _aligned(rows, names, title)


def to_json(value: Any, *, indent: int | None = 2) -> str:
    """JSON text of ``value`` with a final newline; NaN becomes null, arrays lists, paths text."""
    return json.dumps(_plain(value), ensure_ascii=False, indent=indent, allow_nan=False) + "\n"


def note(invocation: Invocation, line: str) -> None:
    """Tell the user something that is not the result, on standard error, unless ``--quiet``."""
    if not invocation.quiet:
        complain(line)


def complain(line: str) -> None:
    """Tell of an input or a check that failed, on standard error, also with ``--quiet``.

    Where nobody can be told, for standard error is closed or lies on a full disk, the work goes on; its exit code and
    its files still tell.
    """
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        return


def complain_of(name: str, reason: str) -> None:
    """Tell why the input called ``name`` failed, naming it once."""
    complain(f"failed: {reason}" if name in reason else f"failed: {name}: {reason}")


def format_bytes(count: float) -> str:
    """``1536`` -> ``1.5 KiB``."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"


def format_seconds(seconds: float) -> str:
    """``75`` -> ``1 min 15 s``; under ten seconds with two digits behind the point."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _plain(value: Any) -> Any:
    """Types that JSON knows; numpy scalars and arrays through their ``tolist``."""
    if isinstance(value, bool | str | int) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Iterable):
        return [_plain(item) for item in value]
    return str(value)


def _cell(value: Any) -> str:
    value = _plain(value)
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_cell(item) for item in value)
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else str(value)


def _csv(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """Full precision: what a program reads is the value, not its picture."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        values = [_plain(row.get(name)) for name in columns]
        writer.writerow([json.dumps(value) if isinstance(value, list | dict) else value for value in values])
    return buffer.getvalue()


def _is_number(value: Any) -> bool:
    return isinstance(_plain(value), int | float) and not isinstance(value, bool)


def _aligned(rows: Sequence[Row], columns: Sequence[str], title: str | None) -> str:
    table = [list(columns), *([_cell(row.get(name)) for name in columns] for row in rows)]
    widths = [max(len(line[index]) for line in table) for index in range(len(columns))]
    right = [bool(rows) and all(_is_number(row.get(name)) for row in rows) for name in columns]
    lines = [] if title is None else [title]
    for line in table:
        cells = [
            cell.rjust(width) if to_right else cell.ljust(width)
            for cell, width, to_right in zip(line, widths, right, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines) + "\n"


def _rules(rows: Sequence[Row], columns: Sequence[str], title: str | None) -> str:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", title_style="bold")
    for name in columns:
        numeric = bool(rows) and all(_is_number(row.get(name)) for row in rows)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(_cell(row.get(name))) for name in columns))
    console = Console(file=sys.stdout)
    with console.capture() as capture:
        console.print(table)
    return capture.get()
