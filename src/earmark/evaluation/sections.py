"""Sections that others add to a report: a title, sentences, tables and pictures.

The pictures are PNG bytes, so that an evaluation holds all that its page shows and the page fetches nothing.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Section", "cell_text", "data_uri"]

_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True, eq=False)
class Section:
    """One section.

    Parameters
    ----------
    name : str
        How the command line calls it.
    title : str
    sentences : tuple of str
        What was found, for the reader.
    tables : mapping of str to sequence of mapping
        Rows by the name of the file that holds them all.
    pictures : mapping of str to bytes
        PNG by file name.
    files : tuple of str
        All files that were written, relative to the report's folder.
    is_open : bool
        Whether tables and pictures are seen at once, rather than on a click.
    """

    name: str
    title: str
    sentences: tuple[str, ...] = ()
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    is_open: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return title, sentences and files."""
        return {"title": self.title, "sentences": list(self.sentences), "files": list(self.files)}


def data_uri(png: bytes) -> str:
    """A PNG as an address that holds it.

    Raises
    ------
    ValueError
        The bytes are no PNG: a page shows nothing else.
    """
    if not png.startswith(_PNG_MAGIC):
        raise ValueError(f"the picture begins with {png[:8]!r}; expected a PNG.")
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def cell_text(value: object) -> str:
    """A value of a table for readers: four digits, a dash for what is undefined."""
    plain = value.item() if hasattr(value, "item") else value
    if plain is None or (isinstance(plain, float) and math.isnan(plain)):
        return "–"
    if isinstance(plain, bool):
        return "yes" if plain else "no"
    return f"{plain:.4g}" if isinstance(plain, float) else str(plain)
