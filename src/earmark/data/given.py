"""A division that the makers of the data gave: their test set is sealed, their validation set is fold 0.

Items are in *units* that must not be taken apart (see `earmark.data.splits`). A given test set is taken as it is:
neither do duplicates of its items join it, nor does it lose any. So what shares a unit with a given test item and is
not one itself is ``purged``, as is what was given so. A unit with a ``val`` item validates in fold 0 as a whole. Units
of which nothing is given are divided by proportion, as where nothing is given at all, and train beside the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from earmark.data.balance import balanced_folds, balanced_subset
from earmark.data.policy import GIVEN_PARTS, PURGED, SplitPolicy
from earmark.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["divide_given", "given_parts"]

VALIDATION_FOLD = 0


def given_parts(table: pl.DataFrame, policy: SplitPolicy) -> np.ndarray:
    """The given part of each row, shape (n,), empty where none is given; without the column all are empty.

    Raises
    ------
    UsageError
        A word that is no part.
    """
    if policy.given_on is None or policy.given_on not in table.columns:
        return np.full(table.height, "", dtype=object)
    parts = np.array([value or "" for value in table[policy.given_on]], dtype=object)
    unknown = sorted(set(parts) - {"", *GIVEN_PARTS, PURGED})
    if unknown:
        raise UsageError(
            f"the column `{policy.given_on}` holds {', '.join(repr(word) for word in unknown[:5])}; expected "
            f"{', '.join((*GIVEN_PARTS, PURGED))}, or nothing for items that are to be divided. Correct the source."
        )
    return parts


def divide_given(
    parts: np.ndarray,
    held: np.ndarray,
    of: np.ndarray,
    counts: np.ndarray,
    order: np.ndarray,
    fresh: np.ndarray,
    policy: SplitPolicy,
) -> tuple[list[str], np.ndarray, list[str]]:
    """Split and fold of each item.

    Parameters
    ----------
    parts : ndarray of str, shape (n,)
        From `given_parts`.
    held : ndarray of bool, shape (n,)
        Items that an earlier preparation sealed; they stay test items whatever is given now.
    of : ndarray of int, shape (n,)
        Unit of each item.
    counts : ndarray of float, shape (n_units, n_columns)
        What is balanced; last the number of items that count.
    order : ndarray of int, shape (n_units,)
        Order in which units are visited.
    fresh : ndarray of bool, shape (n_units,)
        Units without an item that trained before.
    policy : SplitPolicy

    Returns
    -------
    split : list of str, length n
    fold : ndarray of int, shape (n,)
    warnings : list of str

    Raises
    ------
    UsageError
        Too few units are left to train or validate.
    """
    is_test = held | (parts == "test")
    left_out = (parts == PURGED) & ~held
    given, testing, validating, used = (
        _units_with(rows, of, len(counts)) for rows in (parts != "", is_test, parts == "val", ~left_out)
    )
    drawn = _drawn(counts, order, ~given, testing, fresh, policy)
    whole_test = drawn | (testing & ~given)
    in_test = is_test | whole_test[of]
    purged = ~in_test & (testing[of] | left_out)
    training = used & ~(testing | drawn)
    validating &= training
    fold = np.where(in_test | purged, -1, _folds(counts, order, training, validating, policy)[of])
    split = np.where(in_test, "test", np.where(purged, PURGED, "train")).tolist()
    return split, fold, _warnings(parts, purged & ~left_out, validating[of] & ~left_out, ~fresh[of])


def _units_with(rows: np.ndarray, of: np.ndarray, n_units: int) -> np.ndarray:
    found = np.zeros(n_units, dtype=bool)
    found[of[rows]] = True
    return found


def _drawn(
    counts: np.ndarray,
    order: np.ndarray,
    free: np.ndarray,
    testing: np.ndarray,
    fresh: np.ndarray,
    policy: SplitPolicy,
) -> np.ndarray:
    """Further test units, drawn by proportion from those of which nothing is given, bool (n_units,)."""
    drawn = np.zeros(len(counts), dtype=bool)
    target = policy.test_fraction * counts[free].sum(axis=0) - counts[free & testing].sum(axis=0)
    eligible = free & fresh & ~testing & (counts[:, -1] > 0)
    if target[-1] > 0 and eligible.any():
        drawn[eligible] = balanced_subset(counts[eligible], target, _order_within(order, eligible))
    return drawn


def _folds(
    counts: np.ndarray, order: np.ndarray, training: np.ndarray, validating: np.ndarray, policy: SplitPolicy
) -> np.ndarray:
    """Fold of each training unit, (n_units,): fold 0 where it is given, the other folds in proportion."""
    first = int(validating.any())
    others = training & ~validating
    n_folds = policy.n_folds - first
    n_others = int((counts[others, -1] > 0).sum())
    if n_others < n_folds:
        raise UsageError(
            f"{n_others} groups of labelled items are left to train beside what is given as val and test; expected at "
            f"least {n_folds} for {policy.n_folds} folds. Add items that train, or lower `n_folds`."
        )
    fold = np.full(len(counts), -1)
    fold[validating] = VALIDATION_FOLD
    fold[others] = (
        first + balanced_folds(counts[others], n_folds, _order_within(order, others))
        if n_folds > 1
        else first
    )
    return fold


def _order_within(order: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Order of visiting the chosen units, numbered among themselves."""
    position: np.ndarray = np.cumsum(chosen) - 1
    return np.asarray(position[order[chosen[order]]])


def _warnings(parts: np.ndarray, purged: np.ndarray, validating: np.ndarray, seen: np.ndarray) -> list[str]:
    told = [
        (purged.sum(), "items share a group or audio with a given test item and are left out"),
        (
            (validating & (parts != "val") & ~purged).sum(),
            "items share a group or audio with a given val item and validate with it",
        ),
        (
            ((parts == "test") & seen).sum(),
            "given test items, or their groups, trained in an earlier preparation",
        ),
    ]
    return [f"{int(count)} {what}" for count, what in told if count]
