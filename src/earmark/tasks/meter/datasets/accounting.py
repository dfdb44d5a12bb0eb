"""The account of an import: rows kept + rejected = rows read, both label sets, equal audio, published counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from earmark.tasks.inputs import RejectedRow
from earmark.tasks.meter.datasets.normal_form import LABEL_SETS, MeterRow
from earmark.tasks.meter.schema import CLASSES

__all__ = [
    "BLACKLISTED",
    "DUPLICATE_KEY",
    "MISSING_FILE",
    "EqualAudio",
    "MeterReport",
    "RejectedRow",
    "account",
]

MISSING_FILE = "missing file"
DUPLICATE_KEY = "listed twice"
BLACKLISTED = "blacklisted"

_NO_PART = "any"

PUBLISHED: Mapping[str, Mapping[str, Mapping[str, int]]] = {
    "meter2800": {
        "train": {"3": 720, "4": 720, "5": 120, "7": 120},
        "val": {"3": 180, "4": 180, "5": 30, "7": 30},
        "test": {"3": 300, "4": 300, "5": 50, "7": 50},
    },
    "ballroom": {"test": {"3": 175, "4": 523}},
}
"""Rows of each class in each part, as the makers of the data sets count them."""


@dataclass(frozen=True)
class EqualAudio:
    """Items of the same recording under several names: their ids, the labels they bear, and whether bytes are equal."""

    ids: tuple[str, ...]
    labels: tuple[str, ...]
    same_bytes: bool

    @property
    def contradicts(self) -> bool:
        """Whether one recording bears two labels."""
        return len(self.labels) > 1


@dataclass(frozen=True)
class MeterReport:
    """The account of an import: `kept` + ``len(rejected)`` = `rows_read`.

    Attributes
    ----------
    rows_read, kept : int
    rejected : tuple of RejectedRow
    warnings : tuple of str
    class_counts : dict of str to int
        Items of each class in the label set that was chosen.
    by_source : dict of str to dict of str to int
        The same by source.
    label_sets : dict of str to dict of str to dict of str to int
        Label set -> part as given (``any`` without) -> class -> items.
    equal_audio : tuple of EqualAudio
    n_corrections, n_blacklisted : int
        Entries of the corrections that apply.
    """

    rows_read: int
    kept: int
    rejected: tuple[RejectedRow, ...]
    warnings: tuple[str, ...]
    class_counts: dict[str, int]
    by_source: dict[str, dict[str, int]]
    label_sets: dict[str, dict[str, dict[str, int]]]
    equal_audio: tuple[EqualAudio, ...] = ()
    n_corrections: int = 0
    n_blacklisted: int = 0


def account(
    rows: Sequence[MeterRow],
    items: Sequence[MeterRow],
    label_set: str,
    equal_audio: Sequence[EqualAudio],
    warnings: Sequence[str],
) -> MeterReport:
    """The account of rows read, and of the items made of those kept (a song gives several)."""
    rejected = [row for row in rows if row.reason]
    labels = [label_of(item, label_set) for item in items]
    sources = sorted({item.source for item in items})
    corrected = [item for item in items if item.label_corrected != item.label_original]
    return MeterReport(
        rows_read=len(rows),
        kept=len(rows) - len(rejected),
        rejected=tuple(
            RejectedRow(row.file, row.number, row.name, row.reason, row.detail) for row in rejected
        ),
        warnings=(*warnings, *_published(rows), *_equal(equal_audio)),
        class_counts=_counted(labels),
        by_source={
            source: _counted(
                [label for item, label in zip(items, labels, strict=True) if item.source == source]
            )
            for source in sources
        },
        label_sets={name: _by_part(items, name) for name in LABEL_SETS},
        equal_audio=tuple(equal_audio),
        n_corrections=len(corrected),
        n_blacklisted=sum(item.label_corrected is None for item in corrected),
    )


def label_of(item: MeterRow, label_set: str) -> str | None:
    """The primary class of an item in a label set; None where that set has none."""
    return item.label_original if label_set == "original" else item.label_corrected


def _by_part(items: Sequence[MeterRow], label_set: str) -> dict[str, dict[str, int]]:
    parts = sorted({item.part or _NO_PART for item in items})
    return {
        part: _counted([label_of(item, label_set) for item in items if (item.part or _NO_PART) == part])
        for part in parts
    }


def _counted(labels: Sequence[str | None]) -> dict[str, int]:
    counts = Counter(labels)
    return {name: counts[name] for name in CLASSES}


def _published(rows: Sequence[MeterRow]) -> list[str]:
    """Where the lists hold other counts than the makers of a data set state."""
    told = []
    for dataset, parts in PUBLISHED.items():
        for part, wanted in parts.items():
            mine = [row for row in rows if row.dataset == dataset and row.part == part]
            found = Counter(row.label_original or "" for row in mine)
            if mine and any(found[name] != count for name, count in wanted.items()):
                told.append(
                    f"{dataset} {part} lists {_slashed(found, wanted)} rows of {'/'.join(wanted)}; "
                    f"published are {_slashed(wanted, wanted)}"
                )
    missing = Counter(row.dataset for row in rows if row.reason == MISSING_FILE)
    return told + [f"{count} files of {dataset} are missing" for dataset, count in missing.items()]


def _slashed(counts: Mapping[str, int], names: Mapping[str, int]) -> str:
    return "/".join(str(counts.get(name, 0)) for name in names)


def _equal(found: Sequence[EqualAudio]) -> list[str]:
    """How much audio occurs under several names, and how much of it with two labels; the first examples."""
    told = []
    for what, chosen in (
        ("recordings occur under several names", [group for group in found if not group.contradicts]),
        ("recordings bear two labels", [group for group in found if group.contradicts]),
    ):
        if chosen:
            shown = "; ".join(
                f"{' = '.join(group.ids[:3])} ({'/'.join(group.labels) or 'no label'})"
                for group in chosen[:3]
            )
            told.append(f"{len(chosen)} {what}; each stays in one part: {shown}")
    return told
