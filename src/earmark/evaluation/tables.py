"""Tables as CSV text: RFC 4180 with ``\\n``, numbers with all their digits, nothing where a value is undefined."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["csv_text"]


def csv_text(rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> str:
    """Write rows as CSV.

    Parameters
    ----------
    rows : sequence of mapping
        Values by column.
    columns : sequence of str, optional
        The header, in order; default: every key, in order of first mention.

    Examples
    --------
    >>> csv_text([{"name": "a, b", "score": 0.5}, {"name": "c", "score": float("nan")}])
    'name,score\\n"a, b",0.5\\nc,\\n'
    """
    names = list(dict.fromkeys(key for row in rows for key in row)) if columns is None else list(columns)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([_cell(row.get(name)) for name in names] for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    plain = value.item() if hasattr(value, "item") else value
    if plain is None or (isinstance(plain, float) and math.isnan(plain)):
        return ""
    return str(plain).lower() if isinstance(plain, bool) else plain
