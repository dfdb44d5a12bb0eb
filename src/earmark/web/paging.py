"""Long tables a page at a time: search, order and page are part of the address, so that links and Back keep them."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from starlette.datastructures import QueryParams

__all__ = ["LARGEST", "Page", "Wanted", "page_of"]

Row = Mapping[str, Any]

LARGEST = 500
"""Rows of a page at most."""


@dataclass(frozen=True)
class Wanted:
    """Which rows an address asks for: ``?q=&sort=-accuracy&offset=50&limit=50``."""

    offset: int = 0
    limit: int = 50
    sort: str = ""
    q: str = ""
    also: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, query: QueryParams, *, limit: int = 50, also: Sequence[str] = ()) -> Wanted:
        """Read from an address; numbers that are none, or out of range, count as the nearest that is."""
        return cls(
            offset=_whole(query.get("offset"), 0, low=0, high=10**9),
            limit=_whole(query.get("limit"), limit, low=1, high=LARGEST),
            sort=query.get("sort", ""),
            q=query.get("q", "").strip(),
            also={name: query[name] for name in also if query.get(name)},
        )

    @property
    def column(self) -> str:
        """Column of the order; empty: as the rows come."""
        return self.sort.removeprefix("-")

    @property
    def is_descending(self) -> bool:
        """Whether the largest is first."""
        return self.sort.startswith("-")

    def address(self, **changes: Any) -> str:
        """The query of the same rows with changes, as ``?sort=name&offset=0``."""
        own = {
            "q": self.q,
            "sort": self.sort,
            "offset": self.offset,
            "limit": self.limit,
            **self.also,
            **changes,
        }
        kept = {name: value for name, value in own.items() if value not in ("", None)}
        return "?" + urlencode(kept)


@dataclass(frozen=True)
class Page:
    """Some rows of many."""

    rows: Sequence[Row]
    n_rows: int
    wanted: Wanted

    @property
    def first(self) -> int:
        """Number of its first row, from 1; 0 where there is none."""
        return self.wanted.offset + 1 if self.rows else 0

    @property
    def last(self) -> int:
        """Number of its last row."""
        return self.wanted.offset + len(self.rows)

    @property
    def before(self) -> str | None:
        """Address of the page before."""
        at = self.wanted.offset
        return self.wanted.address(offset=max(0, at - self.wanted.limit)) if at > 0 else None

    @property
    def after(self) -> str | None:
        """Address of the page behind."""
        return self.wanted.address(offset=self.last) if self.last < self.n_rows else None

    def order(self, column: str) -> str:
        """Address of the same rows in order of a column; asked again, the other way round."""
        is_again = self.wanted.sort == column
        return self.wanted.address(sort=f"-{column}" if is_again else column, offset=0)

    def aria_sort(self, column: str) -> str:
        """What the heading of a column says of the order."""
        if self.wanted.column != column:
            return "none"
        return "descending" if self.wanted.is_descending else "ascending"


def page_of(rows: Sequence[Row], wanted: Wanted, *, text_of: Callable[[Row], str] | None = None) -> Page:
    """The page of rows that fit the search, in the wanted order; rows without a value come last.

    Parameters
    ----------
    rows : sequence of mapping
    wanted : Wanted
    text_of : callable, optional
        What the search looks through; default: all values.
    """
    if wanted.q:
        words = wanted.q.casefold().split()
        look = text_of or (lambda row: " ".join(map(str, row.values())))
        rows = [row for row in rows if _has_all(look(row).casefold(), words)]
    if wanted.column and any(wanted.column in row for row in rows):
        rows = _ordered(rows, wanted.column, wanted.is_descending)
    part = rows[wanted.offset : wanted.offset + wanted.limit]
    return Page(part, len(rows), wanted)


def _has_all(text: str, words: Sequence[str]) -> bool:
    return all(word in text for word in words)


def _ordered(rows: Sequence[Row], column: str, is_descending: bool) -> list[Row]:
    has: list[Row] = []
    lacks: list[Row] = []
    for row in rows:
        (lacks if row.get(column) is None else has).append(row)
    try:
        has.sort(key=operator.itemgetter(column), reverse=is_descending)
    except TypeError:  # a column of numbers and text
        has.sort(key=lambda row: str(row[column]), reverse=is_descending)
    return has + lacks


def _whole(text: str | None, default: int, *, low: int, high: int) -> int:
    try:
        return min(max(int(text), low), high) if text else default
    except ValueError:
        return default
