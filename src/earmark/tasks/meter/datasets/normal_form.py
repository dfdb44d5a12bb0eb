"""The normal form of a labelled clip: what every loader gives, what the manifest and the CSV file hold.

Conventions: classes are beats per bar as text (`earmark.tasks.meter.schema.CLASSES`); ``meters`` is ``5`` or
``3:0.7,4:0.8`` (`earmark.data.soft_labels`) and the primary class its heaviest; times are seconds from the start of
the recording. ``key`` is ``SOURCE/stem``: stems repeat across sources, so a stem alone names nothing.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.audio.fragment import split_fragment
from earmark.data.parquet import write_bytes_atomic
from earmark.data.soft_labels import parse_soft_label, primary_class, soft_label_text
from earmark.errors import UsageError
from earmark.tasks.meter.schema import CLASSES
from earmark.tasks.meter.signatures import CLASS_OF

if TYPE_CHECKING:
    from earmark.data.manifest import Manifest

__all__ = [
    "FREE_COLUMNS",
    "LABEL_SETS",
    "NORMAL_COLUMNS",
    "SEALED_COLUMNS",
    "MeterRow",
    "as_weights",
    "class_of",
    "read_rows",
    "write_normal_form",
]

LABEL_SETS = ("original", "corrected")

NORMAL_COLUMNS = (
    *("path", "content_hash", "dataset", "source", "song_id", "artist", "title", "genre"),
    *("meters", "primary", "alt_meter", "signature", "division", "grouping", "label_set", "split", "group"),
    *("segment_start_s", "duration_s", "weight"),
)
"""Columns of the CSV file, in its order."""

FREE_COLUMNS = (
    *("dataset", "source", "song_id", "artist", "title", "genre", "style", "origin"),
    *("meters", "alt_meter", "signature", "division", "grouping", "label_original", "label_corrected"),
    *("downbeats", "extra", "tempo_bpm", "bpm_range", "part", "segment_start_s"),
)
"""Columns of the manifest that come from a row as they are."""

SEALED_COLUMNS = (
    *("meters", "alt_meter", "signature", "division", "grouping", "label_original", "label_corrected"),
    *("downbeats", "extra"),
)
"""Columns that tell the label: those of test items are sealed with it."""

_WORDS = {
    word: str(number)
    for number, word in enumerate(
        ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"],
        start=1,
    )
}


@dataclass(frozen=True)
class MeterRow:
    """A row of a label file on its way into the manifest, or with the first reason against it.

    Attributes
    ----------
    file, number, name : str, int, str
        Label file, row in it from 1, and the path as written there.
    key : str
        ``SOURCE/stem``: the id of the item.
    path : str
        The recording, absolute; empty where no file was found.
    meters : str
        Soft label of the original label set.
    part : str or None
        ``train``, ``val``, ``test`` where the data set says so.
    group : str or None
        What must stay together, as the data set says.
    span_s : tuple of float or None
        Part of the recording, seconds; None: all of it, or its centre if it is long.
    downbeats : str
        Seconds with spaces between.
    reason, detail : str
        Why the row is rejected, and what was found.
    """

    file: str
    number: int
    name: str
    dataset: str
    source: str
    key: str
    path: str = ""
    meters: str = ""
    part: str | None = None
    group: str | None = None
    song_id: str | None = None
    artist: str | None = None
    title: str | None = None
    genre: str | None = None
    style: str | None = None
    origin: str | None = None
    alt_meter: str | None = None
    signature: str | None = None
    division: str | None = None
    grouping: str | None = None
    downbeats: str | None = None
    extra: str | None = None
    tempo_bpm: str | None = None
    bpm_range: str | None = None
    segment_start_s: float | None = None
    span_s: tuple[float, float] | None = None
    weight: float = 1.0
    content_hash: str | None = None
    duration_s: float | None = None
    label_original: str | None = None
    label_corrected: str | None = None
    reason: str = ""
    detail: str = ""

    def rejected(self, reason: str, detail: str = "") -> MeterRow:
        """The row with a reason against it."""
        return replace(self, reason=reason, detail=detail)

    def labelled(self, text: str) -> MeterRow:
        """The row with a soft label, or rejected where it cannot be read."""
        try:
            weights = as_weights(text)
        except UsageError as error:
            return self.rejected("unreadable label", str(error))
        return replace(self, meters=soft_label_text(weights), label_original=primary_class(weights, CLASSES))


def class_of(meter: str) -> str | None:
    """Class of a meter as data sets write it, None where no class covers it.

    Examples
    --------
    >>> class_of("three"), class_of("6/8"), class_of("12"), class_of("13")
    ('3', '3', '4', None)
    """
    text = meter.strip().strip('"').lower()
    text = _WORDS.get(text, text)
    text = text.removesuffix(".0")  # numbers that a table program has read
    return CLASS_OF.get(text if "/" in text else f"{text}/4")


def as_weights(text: str) -> dict[str, float]:
    """Classes of a soft label that may name meters (``6/8``, ``three``), heaviest weight of each, in class order.

    Raises
    ------
    UsageError
        The text cannot be read, or names a meter that no class covers.
    """
    found: dict[str, float] = {}
    for meter, weight in parse_soft_label(text.strip().strip('"')).items():
        name = class_of(meter)
        if name is None:
            raise UsageError(
                f"the label {text!r} names the meter {meter!r}, which no class covers; expected one of "
                f"{', '.join(CLASSES)} beats per bar, or a signature of them. Correct the label or drop the row."
            )
        found[name] = max(weight, found.get(name, 0.0))
    return {name: found[name] for name in CLASSES if name in found}


def read_rows(path: Path, fieldnames: Sequence[str] | None = None) -> list[dict[str, str]]:
    """Rows of a ``.tab`` or ``.csv`` file as text, quotes and outer spaces removed; the first line says which it is.

    Parameters
    ----------
    path : Path
    fieldnames : sequence of str, optional
        Names of the columns of a file without a line of names.

    Raises
    ------
    UsageError
        The file cannot be read, or is empty.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"`{path}` cannot be read ({error}). Expected a table in UTF-8. Correct it."
        ) from error
    if not text.strip():
        raise UsageError(f"`{path}` is empty; expected a table with a line of names. Fetch it again.")
    delimiter = "\t" if "\t" in text.splitlines()[0] else ","
    reader = csv.DictReader(io.StringIO(text, newline=""), fieldnames=fieldnames, delimiter=delimiter)
    return [
        {
            name.strip().strip('"'): (value or "").strip().strip('"').strip()
            for name, value in row.items()
            if name is not None and not isinstance(value, list)
        }
        for row in reader
    ]


def write_normal_form(path: Path, manifest: Manifest) -> None:
    """Write all rows of a manifest with all its labels as CSV in the normal form; see `NORMAL_COLUMNS`."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, NORMAL_COLUMNS, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for row in manifest.table.sort("id").iter_rows(named=True):
        writer.writerow(_as_written(row))
    write_bytes_atomic(path, buffer.getvalue().encode())


def _as_written(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **row,
        "path": split_fragment(row["uri"])[0],
        "primary": row["label"],
        "split": row.get("part"),
        "weight": row.get("sample_weight"),
    }
