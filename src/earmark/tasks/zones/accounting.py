"""The account of an import: each row is kept, or rejected for one of the reasons in `REASONS`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from earmark.tasks.inputs import RejectedRow
from earmark.tasks.zones.deam.annotations import REJECTION_REASONS
from earmark.tasks.zones.layouts import UNREADABLE

__all__ = ["REASONS", "PrepareReport", "RejectedRow"]

EMPTY_ZONE = "empty zone"
UNKNOWN_ZONE = "unknown zone"
MISSING_FILE = "missing file"
UNDECODABLE = "undecodable"
DUPLICATE_PATH = "duplicate path"
TWO_ZONES = "same audio with two zones"
REASONS = (UNREADABLE, EMPTY_ZONE, UNKNOWN_ZONE, MISSING_FILE, UNDECODABLE, DUPLICATE_PATH, TWO_ZONES)
"""Why a row is rejected, in the order of the tests."""


@dataclass(frozen=True)
class PrepareReport:
    """The account of an import: `kept` + ``len(rejected)`` = `rows_read`.

    Attributes
    ----------
    rows_read, kept : int
    rejected : tuple of RejectedRow
    warnings : tuple of str
    class_counts : dict of str to int
        Kept rows of each zone, in class order.
    n_unlabelled : int
        Kept rows without a zone.
    n_groups : int
    n_pseudo : int
        Kept rows whose zone was made by a rule or a model.
    layouts : dict of str to str
        Layout of each label file, A to E, kind of a collection, or ``folder``.
    by_source : dict of str to dict of str to int
        Kept rows of each zone, in class order, by where they come from.
    mapping : dict or None
        How arousal and valence became zones, with a digest; None without such rows.
    """

    rows_read: int
    kept: int
    rejected: tuple[RejectedRow, ...]
    warnings: tuple[str, ...]
    class_counts: dict[str, int]
    n_unlabelled: int
    n_groups: int
    n_pseudo: int
    layouts: dict[str, str] = field(default_factory=dict)
    by_source: dict[str, dict[str, int]] = field(default_factory=dict)
    mapping: dict[str, Any] | None = None

    @property
    def rejected_by_reason(self) -> dict[str, int]:
        """Rejected rows of each reason that occurred, in the order of `REASONS`, then DEAM's."""
        counts = Counter(row.reason for row in self.rejected)
        return {reason: counts[reason] for reason in (*REASONS, *REJECTION_REASONS) if counts[reason]}
