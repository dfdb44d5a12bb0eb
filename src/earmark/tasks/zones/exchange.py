"""Label files against each other, and out again: the difference of two, and the normal form.

The normal form is UTF-8 CSV with the columns `NORMAL_FORM_COLUMNS`; `prepare_tracks` reads it back.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from earmark.data.manifest import Manifest, item_ids
from earmark.data.parquet import write_bytes_atomic
from earmark.tasks.zones.labels import parse_zone
from earmark.tasks.zones.library.imports import read_rows
from earmark.tasks.zones.locations import Relocation, parse_relocations, resolve

__all__ = ["NORMAL_FORM_COLUMNS", "LabelDiff", "diff_labels", "diff_rows", "write_normal_form"]

NORMAL_FORM_COLUMNS = (
    *("path", "zone", "content_hash", "artist", "album", "title", "bpm", "key", "genre"),
    *("source", "group", "sample_weight", "label_origin"),
)


@dataclass(frozen=True)
class LabelDiff:
    """What changed, by resolved path: ``(path, zone)``, and ``(path, before, after)`` where relabelled."""

    new: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]
    relabelled: tuple[tuple[str, str, str], ...]

    def rows(self) -> list[dict[str, str | None]]:
        """One row per change: ``change``, ``path``, ``before``, ``after``."""
        changes: list[tuple[str, str, str | None, str | None]] = [
            *(("new", path, None, zone) for path, zone in self.new),
            *(("removed", path, zone, None) for path, zone in self.removed),
            *(("relabelled", path, before, after) for path, before, after in self.relabelled),
        ]
        return [dict(zip(("change", "path", "before", "after"), change, strict=True)) for change in changes]


def diff_labels(before: str | Path, after: str | Path, *, relocate: Sequence[str] = ()) -> LabelDiff:
    """Compare two label files of any layout, or collections of DJ software; the tracks themselves need not exist.

    Rows without a known zone count as absent; of rows with one path, the last counts.
    """
    relocations = parse_relocations(relocate)
    old, new = _zones_of(Path(before), relocations), _zones_of(Path(after), relocations)
    return LabelDiff(
        new=tuple((path, new[path]) for path in sorted(new.keys() - old.keys())),
        removed=tuple((path, old[path]) for path in sorted(old.keys() - new.keys())),
        relabelled=tuple(
            (path, old[path], new[path]) for path in sorted(old.keys() & new.keys()) if old[path] != new[path]
        ),
    )


def diff_rows(
    before: str | Path, after: str | Path, *, relocate: Sequence[str] = ()
) -> list[dict[str, str | None]]:
    """`diff_labels` as rows for printing."""
    return diff_labels(before, after, relocate=relocate).rows()


def write_normal_form(path: str | Path, manifest: Manifest) -> None:
    """Write a manifest with all its labels as UTF-8 CSV in the normal form.

    Paths are relative to the CSV where they lie below its folder.
    """
    path = Path(path).absolute()
    rows = manifest.table.sort("id").to_dicts()
    ids = item_ids([row["uri"] for row in rows], path.parent)
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(NORMAL_FORM_COLUMNS)
    for where, row in zip(ids, rows, strict=True):
        row |= {"path": where, "zone": row["label"]}
        writer.writerow(["" if row.get(name) is None else row[name] for name in NORMAL_FORM_COLUMNS])
    write_bytes_atomic(path, buffer.getvalue().encode())


def _zones_of(source: Path, relocations: Sequence[Relocation]) -> dict[str, str]:
    base = source.absolute() if source.is_dir() else source.absolute().parent
    zones = {}
    for row in read_rows(source).rows:
        zone = parse_zone(row.zone or "")
        if zone and not row.problem:
            zones[resolve(row.path, base, relocations)] = zone[0]
    return zones
