"""A second set of labels: relabelled and blacklisted items, by ``SOURCE/stem`` and content hash.

``corrections.csv`` has the columns ``key``, ``label`` (empty: blacklisted), and ``content_hash`` (32 hexadecimal digits
as in the manifest; may be empty) and ``reason``. An entry whose hash is not that of the file is not applied: another
file of the same name would be relabelled. A ``.json`` file is what was decided on the page of a label review, which
names items by their ids. The known corrections of METER2800 look as if they had been set to what predictions said; so
``original`` is the default, and both sets are always counted side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from earmark.errors import UsageError
from earmark.tasks.meter.datasets.normal_form import MeterRow, class_of, read_rows
from earmark.tasks.meter.review.page import read_decisions

__all__ = ["CORRECTIONS_FILE", "Correction", "apply_corrections", "read_corrections"]

CORRECTIONS_FILE = "corrections.csv"


@dataclass(frozen=True)
class Correction:
    """What the second label set says of an item; `label` None: it is no music in one meter."""

    key: str
    label: str | None
    content_hash: str = ""
    reason: str = ""


def read_corrections(path: Path) -> dict[str, Correction]:
    """Corrections by key.

    Raises
    ------
    UsageError
        A key is a bare stem or occurs twice, or a label is no class; all such entries in one message.
    """
    found: dict[str, Correction] = {}
    problems = []
    is_review = path.suffix.lower() == ".json"
    entries = read_decisions(path) if is_review else read_rows(path)
    for number, row in enumerate(entries, start=1):
        key, label = row.get("key", "").strip("/"), row.get("label", "")
        if "/" not in key and not is_review:
            problems.append(f"row {number}: {key!r} is a bare stem, which several sources may have")
        elif key in found:
            problems.append(f"row {number}: {key!r} is corrected twice")
        elif label and class_of(label) is None:
            problems.append(f"row {number}: {label!r} is no meter of a class")
        else:
            found[key] = Correction(
                key, class_of(label), row.get("content_hash", "").lower(), row.get("reason", "")
            )
    if problems:
        raise UsageError(
            f"`{path}` cannot be used: {'; '.join(problems)}. Expected columns key (SOURCE/stem), label (empty for "
            "blacklisted), content_hash. Correct them."
        )
    return found


def apply_corrections(
    rows: Sequence[MeterRow], corrections: Mapping[str, Correction]
) -> tuple[list[MeterRow], list[str]]:
    """The rows with `label_corrected`, and what to know of entries that were not applied or cannot be checked."""
    corrected, applied, other_audio, unchecked = [], set(), [], 0
    for row in rows:
        entry = corrections.get(row.key)
        label = row.label_original
        if entry is not None and entry.content_hash and entry.content_hash != row.content_hash:
            other_audio.append(row.key)
        elif entry is not None:
            applied.add(row.key)
            unchecked += not entry.content_hash
            label = entry.label
        corrected.append(replace(row, label_corrected=label))
    absent = sorted(set(corrections) - applied - set(other_audio))
    told = [
        (
            len(other_audio),
            f"corrections are of other audio than the file and are not applied: {_some(other_audio)}",
        ),
        (len(absent), f"corrections name no item: {_some(absent)}"),
        (unchecked, "corrections have no content hash, so that only the name says which file is meant"),
    ]
    return corrected, [f"{count} {what}" for count, what in told if count]


def _some(keys: Sequence[str]) -> str:
    return ", ".join(keys[:3]) + (" ..." if len(keys) > 3 else "")
