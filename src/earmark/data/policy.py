"""What a split must respect: groups, proportions, time, and what the makers of the data have divided already."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from earmark.errors import UsageError

__all__ = ["GIVEN_PARTS", "PURGED", "SplitPolicy"]

GIVEN_PARTS = ("train", "val", "test")
"""What a column of given parts may say; ``val`` becomes the first fold."""

PURGED = "purged"
"""What it may say of an item that belongs to no part, such as the seconds between a training and a test part."""


@dataclass(frozen=True)
class SplitPolicy:
    """How items are split.

    Parameters
    ----------
    test_fraction : float
        Share of the labelled items that is sealed, 0 <= test_fraction < 1.
    n_folds : int
        Cross-validation folds on the rest, at least 2.
    group_on : str or None
        Column whose equal values stay together. None is refused where a group or a content occurs twice.
    stratify_on : str or None
        Column whose values are spread evenly; ignored with `time_on`.
    seed : int
    time_on : str or None
        Column of start times in seconds. The test set is then the last span, folds are consecutive spans.
    purge_s : float
        How far an item's label looks ahead, seconds; training items whose labels would overlap a validation
        or test span are left out.
    embargo_s : float
        Further seconds left out after a validation span.
    given_on : str or None
        Column that says where an item belongs: one of `GIVEN_PARTS`, `PURGED`, or missing for an item that is
        divided as usual. A manifest without the column is divided as usual.
    sealed_columns : tuple of str
        Further columns that tell the label, such as a second set of labels; those of test items are kept behind
        the seal with it.
    """

    test_fraction: float = 0.2
    n_folds: int = 5
    group_on: str | None = "group"
    stratify_on: str | None = "label"
    seed: int = 42
    time_on: str | None = None
    purge_s: float = 0.0
    embargo_s: float = 0.0
    given_on: str | None = None
    sealed_columns: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The settings by name; those that came later are left out at their default, so that hashes stay."""
        later = {"given_on": None, "sealed_columns": ()}
        return {name: value for name, value in asdict(self).items() if value != later.get(name, ...)}

    def __post_init__(self) -> None:
        object.__setattr__(self, "sealed_columns", tuple(self.sealed_columns))  # a list when read from JSON
        problems = []
        if not 0 <= self.test_fraction < 1:
            problems.append(f"test_fraction is {self.test_fraction}, expected 0 <= test_fraction < 1")
        if self.n_folds < 2:
            problems.append(f"n_folds is {self.n_folds}, expected at least 2")
        if self.purge_s < 0 or self.embargo_s < 0:
            problems.append(
                f"purge_s and embargo_s are {self.purge_s} and {self.embargo_s}, expected 0 or more"
            )
        if self.time_on is None and (self.purge_s or self.embargo_s):
            problems.append("purge_s and embargo_s need time_on, the column of times in seconds")
        if self.time_on is not None and self.given_on is not None:
            problems.append("time_on and given_on exclude each other: a division in time is not given")
        if problems:
            raise UsageError(
                f"the split policy cannot be used: {'; '.join(problems)}. Correct these settings."
            )
