"""The arithmetic behind `Splits.make`: units, the test set, the folds; by proportion or by time.

References
----------
Lopez de Prado, M. (2018). Advances in Financial Machine Learning, chapter 7: purging and embargo in
cross-validation.
"""

from __future__ import annotations

import difflib
import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.balance import balanced_folds, balanced_subset
from earmark.data.given import divide_given, given_parts
from earmark.data.groups import connected_components
from earmark.data.policy import SplitPolicy
from earmark.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["assign", "item_keys", "visiting_order"]

_MIN_CLASS = 2  # a class with fewer items cannot be on both sides of a split


@dataclass(frozen=True)
class _Units:
    """Items in units: `of` (n_items,) unit numbers, `counts` (n_units, n_columns), `order` of visiting."""

    of: np.ndarray
    counts: np.ndarray
    order: np.ndarray

    def __len__(self) -> int:
        return len(self.order)

    def having(self, keys: Sequence[Sequence[str]], known: frozenset[str]) -> np.ndarray:
        """Which units contain an item with a known key, bool (n_units,)."""
        found = np.zeros(len(self), dtype=bool)
        for unit, names in zip(self.of, keys, strict=True):
            found[unit] |= not known.isdisjoint(names)
        return found


def assign(
    table: pl.DataFrame, policy: SplitPolicy, earlier_test: frozenset[str], earlier_train: frozenset[str]
) -> tuple[pl.DataFrame, list[str]]:
    """Table of splits for the rows of a manifest, and warnings."""
    import polars as pl

    _check_columns(table, policy)
    table = table.sort("id")
    if "auxiliary" not in table.columns or not table["auxiliary"].any():
        return _assign_scored(table, policy, earlier_test, earlier_train)
    if policy.time_on is not None:
        raise UsageError(
            f"the items are split in time on `{policy.time_on}`, and {int(table['auxiliary'].sum())} are auxiliary; "
            "expected auxiliary items only in a split by groups. Leave them out, or set group_on instead."
        )
    is_auxiliary = pl.col("auxiliary").fill_null(False)
    scored, warnings = _assign_scored(table.filter(~is_auxiliary), policy, earlier_test, earlier_train)
    others, more = _assign_auxiliary(table.filter(is_auxiliary), table, scored, policy, earlier_test)
    return pl.concat([scored, others]).sort("id"), warnings + more


def _assign_scored(
    table: pl.DataFrame, policy: SplitPolicy, earlier_test: frozenset[str], earlier_train: frozenset[str]
) -> tuple[pl.DataFrame, list[str]]:
    """Splits of the items that scores are made of."""
    import polars as pl

    contents = table["content_hash"].to_list() if "content_hash" in table.columns else [None] * table.height
    keys = [item_keys(id, content) for id, content in zip(table["id"], contents, strict=True)]
    units, warnings = _units(table, policy, contents)
    in_test = units.having(keys, earlier_test)
    parts = given_parts(table, policy)
    if policy.time_on is not None:
        split, fold, gaps = _by_time(table, policy, units, in_test)
    elif any(parts):
        held = np.array([not earlier_test.isdisjoint(names) for names in keys], dtype=bool)
        fresh = ~units.having(keys, earlier_train)
        split, fold, told = divide_given(parts, held, units.of, units.counts, units.order, fresh, policy)
        gaps, warnings = [], warnings + told
    else:
        fresh = ~in_test & ~units.having(keys, earlier_train)
        split, fold = _by_proportion(policy, units, in_test, fresh)
        gaps = []
    data: dict[str, Any] = {"id": table["id"], "split": split, "fold": pl.Series(fold, dtype=pl.Int32)}
    data["content_hash"] = pl.Series(contents, dtype=pl.String)
    if policy.time_on is not None:
        data["gaps"] = pl.Series(gaps, dtype=pl.List(pl.Int32))
    return pl.DataFrame(data), warnings


def _assign_auxiliary(
    table: pl.DataFrame,
    everything: pl.DataFrame,
    scored: pl.DataFrame,
    policy: SplitPolicy,
    earlier_test: frozenset[str],
) -> tuple[pl.DataFrame, list[str]]:
    """Splits of the items that only train: never test, and each in the fold of the scored items that it belongs to.

    One that shares a group or content with a test item, or with scored items of two folds, is ``purged``: a model
    trained on it would know what it is scored on. The others are spread evenly by source and class.
    """
    import polars as pl

    placed = {id: (split, fold) for id, split, fold in scored.select("id", "split", "fold").iter_rows()}
    touched: dict[tuple[str, str], set[tuple[str, int]]] = {}
    for row in everything.iter_rows(named=True):
        if row["id"] in placed:
            for key in _belongings(row, policy):
                touched.setdefault(key, set()).add(placed[row["id"]])
    rows = list(table.iter_rows(named=True))
    of = np.array(connected_components([_belongings(row, policy) for row in rows]))
    near: dict[int, set[tuple[str, int]]] = {}
    for unit, row in zip(of.tolist(), rows, strict=True):
        near.setdefault(unit, set()).update(*(touched.get(key, set()) for key in _belongings(row, policy)))
        if not earlier_test.isdisjoint(item_keys(row["id"], row.get("content_hash"))):
            near[unit].add(("test", -1))
    free = sorted(unit for unit, places in near.items() if not places)
    fold_of = dict(zip(free, _auxiliary_folds(rows, of, free, policy), strict=True))
    fold_of |= {unit: places.copy().pop()[1] for unit, places in near.items() if len(places) == 1}
    fold = [fold_of.get(unit, -1) for unit in of.tolist()]
    data: dict[str, Any] = {
        "id": table["id"],
        "split": ["auxiliary" if number >= 0 else "purged" for number in fold],
        "fold": pl.Series(fold, dtype=pl.Int32),
        "content_hash": pl.Series([row.get("content_hash") for row in rows], dtype=pl.String),
    }
    n_purged = fold.count(-1)
    return pl.DataFrame(data), [
        f"{n_purged} auxiliary items share a group or audio with test items or several folds and are left out"
    ] * bool(n_purged)


def _belongings(row: Mapping[str, Any], policy: SplitPolicy) -> list[tuple[str, str]]:
    """What an item must not be separated from: its group and its content."""
    group = row[policy.group_on] if policy.group_on else None
    named = (("group", group), ("content", row.get("content_hash")))
    return [(kind, value) for kind, value in named if value is not None]


def _auxiliary_folds(
    rows: Sequence[Mapping[str, Any]], of: np.ndarray, free: Sequence[int], policy: SplitPolicy
) -> list[int]:
    """A fold for each free unit, even in source and class."""
    kinds = [f"{row.get('source')}\0{row.get(policy.stratify_on or 'label')}" for row in rows]
    columns = {kind: position for position, kind in enumerate(sorted(set(kinds)))}
    position = {unit: index for index, unit in enumerate(free)}
    counts, names = np.zeros((len(free), len(columns) + 1)), [""] * len(free)
    for unit, row, kind in zip(of.tolist(), rows, kinds, strict=True):
        if unit in position:
            index, name = position[unit], row.get("content_hash") or row["id"]
            counts[index, [columns[kind], -1]] += 1
            names[index] = min(names[index], name) if names[index] else name
    folds = balanced_folds(counts, policy.n_folds, visiting_order(names, policy.seed))
    return [int(fold) for fold in folds]


def item_keys(id: str, content_hash: str | None) -> list[str]:
    """Names under which an item is recognised in a later preparation: its id, and its content if known."""
    return [f"id:{id}"] + ([f"content:{content_hash}"] if content_hash else [])


def visiting_order(keys: Sequence[str], seed: int) -> np.ndarray:
    """Permutation that sorts keys by a hash of seed and key: random-looking, independent of their order."""
    digests = [hashlib.blake2b(f"{seed}\0{key}".encode(), digest_size=16).digest() for key in keys]
    return np.array(sorted(range(len(keys)), key=digests.__getitem__), dtype=np.int64)


def _check_columns(table: pl.DataFrame, policy: SplitPolicy) -> None:
    problems = []
    for name, column in (
        ("group_on", policy.group_on),
        ("stratify_on", policy.stratify_on),
        ("time_on", policy.time_on),
    ):
        if column is not None and column not in table.columns:
            near = difflib.get_close_matches(column, table.columns, n=1)
            hint = f" (did you mean `{near[0]}`?)" if near else ""
            problems.append(f"{name} names the column `{column}`, which the manifest lacks{hint}")
    if policy.group_on is None:
        problems += _repeats(table)
    if "split" in table.columns:
        problems.append("the manifest is sealed already, so its test labels are not known")
    if problems:
        raise UsageError(
            f"the items cannot be split: {'; '.join(problems)}. The manifest has the columns "
            f"{', '.join(table.columns)}. Correct the split policy, or prepare again from the labels."
        )


def _repeats(table: pl.DataFrame) -> list[str]:
    """Why the rows must not be split one by one."""
    problems = []
    for column in ("group", "content_hash"):
        if column in table.columns:
            counts = Counter(value for value in table[column] if value is not None)
            repeated = sum(count > 1 for count in counts.values())
            if repeated:
                problems.append(
                    f"group_on is None, but {repeated} values of `{column}` occur in several rows, "
                    "which would then be trained on and tested on at once; set group_on"
                )
    return problems


def _units(
    table: pl.DataFrame, policy: SplitPolicy, contents: Sequence[str | None]
) -> tuple[_Units, list[str]]:
    groups = table[policy.group_on].to_list() if policy.group_on else [None] * table.height
    keys = [
        [(kind, value) for kind, value in (("group", group), ("content", content)) if value is not None]
        for group, content in zip(groups, contents, strict=True)
    ]
    components, of = np.unique(connected_components(keys), return_inverse=True)
    names = [""] * len(components)
    for unit, id, content in zip(of, table["id"], contents, strict=True):
        name = content or id
        names[unit] = min(names[unit], name) if names[unit] else name
    columns, warnings = _columns(table, policy, of)
    counts = np.zeros((len(components), columns.shape[1]))
    np.add.at(counts, of, columns)
    return _Units(of, counts, visiting_order(names, policy.seed)), warnings


def _columns(table: pl.DataFrame, policy: SplitPolicy, of: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """What is balanced: an indicator per class that can be stratified, and last 1 per item that counts."""
    warnings = []
    labelled = table["label"].is_not_null().to_numpy()
    if not labelled.any():
        warnings.append("no item has a label: the sizes of the splits are balanced, not the classes")
        labelled = np.ones(table.height, dtype=bool)
    columns = []
    if policy.stratify_on is not None and policy.time_on is None:
        values = np.array([str(value) for value in table[policy.stratify_on]], dtype=object)
        present = labelled & table[policy.stratify_on].is_not_null().to_numpy()
        for value in sorted(set(values[present])):
            member = present & (values == value)
            if member.sum() < _MIN_CLASS:
                warnings.append(
                    f"`{value}` has {member.sum()} item and is not stratified; it needs {_MIN_CLASS}"
                )
                continue
            columns.append(member)
            warnings += _thin(value, len(set(of[member])), policy)
    return np.stack([*columns, labelled], axis=1).astype(float), warnings


def _thin(value: str, n_units: int, policy: SplitPolicy) -> list[str]:
    needed = policy.n_folds + (policy.test_fraction > 0)
    if n_units >= needed:
        return []
    return [f"`{value}` occurs in {n_units} groups, fewer than the {needed} parts: some parts lack it"]


def _by_proportion(
    policy: SplitPolicy, units: _Units, in_test: np.ndarray, fresh: np.ndarray
) -> tuple[list[str], np.ndarray]:
    in_test = in_test.copy()
    target = policy.test_fraction * units.counts.sum(axis=0) - units.counts[in_test].sum(axis=0)
    if policy.test_fraction > 0:
        eligible = np.flatnonzero(fresh & (units.counts[:, -1] > 0))
        position = np.full(len(units), -1)
        position[eligible] = np.arange(len(eligible))
        order = np.array([position[unit] for unit in units.order if position[unit] >= 0], dtype=np.int64)
        if target[-1] > 0:
            in_test[eligible[balanced_subset(units.counts[eligible], target, order)]] = True
    _require_units(policy, units, in_test)
    training = np.flatnonzero(~in_test)
    rank = np.argsort(np.argsort(units.order))[training]
    fold_of = np.full(len(units), -1)
    fold_of[training] = balanced_folds(units.counts[training], policy.n_folds, np.argsort(rank))
    split = ["test" if in_test[unit] else "train" for unit in units.of]
    return split, fold_of[units.of]


def _require_units(policy: SplitPolicy, units: _Units, in_test: np.ndarray) -> None:
    counted = units.counts[:, -1] > 0
    n_train, n_test = int((counted & ~in_test).sum()), int((counted & in_test).sum())
    if n_train < policy.n_folds or (policy.test_fraction > 0 and n_test < 1):
        raise UsageError(
            f"{int(counted.sum())} groups of labelled items leave {n_train} to train, {n_test} to test; "
            f"expected at least {policy.n_folds} to train and {int(policy.test_fraction > 0)} to test. "
            "Add tracks of other artists, lower `n_folds`, or pass `reseal` to draw a new test set."
        )


def _by_time(
    table: pl.DataFrame, policy: SplitPolicy, units: _Units, in_test: np.ndarray
) -> tuple[list[str], np.ndarray, list[list[int]]]:
    times = _times_s(table, policy)
    start, end = np.full(len(units), np.inf), np.full(len(units), -np.inf)
    np.minimum.at(start, units.of, times)
    np.maximum.at(end, units.of, times)
    in_test = _last_units(policy, units, in_test, start)
    _require_units(policy, units, in_test)
    test_start = start[in_test].min() if in_test.any() else np.inf
    purged = ~in_test[units.of] & (times + policy.purge_s > test_start)
    purged |= ~in_test[units.of] & (times >= test_start)
    fold_of = _spans(policy, units, in_test, start)
    fold = np.where(purged, -1, fold_of[units.of])
    _require_folds(policy, fold)
    split = np.where(in_test[units.of], "test", np.where(purged, "purged", "train")).tolist()
    return split, fold, _gaps(policy, times, fold)


def _times_s(table: pl.DataFrame, policy: SplitPolicy) -> np.ndarray:
    import polars as pl

    column = table[policy.time_on or ""]
    if column.dtype.is_temporal():
        column = column.cast(pl.Datetime("us")).dt.timestamp("us") / 1e6
    if not column.dtype.is_numeric() or column.null_count() or not np.isfinite(column.to_numpy()).all():
        raise UsageError(
            f"time_on names `{policy.time_on}`, of type {column.dtype} with {column.null_count()} missing "
            "values; expected a time in seconds, or a date and time, in every row. Correct the manifest."
        )
    return np.asarray(column.cast(pl.Float64).to_numpy())


def _last_units(policy: SplitPolicy, units: _Units, in_test: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Test units: earlier ones and all that start later; or, at first, the last ones that fill the share."""
    if policy.test_fraction == 0:
        return in_test
    if in_test.any():
        return np.asarray(in_test | (start >= start[in_test].min()))
    latest_first = np.lexsort((np.argsort(units.order), start))[::-1]
    size = np.cumsum(units.counts[latest_first, -1])
    target = policy.test_fraction * size[-1]
    n_units = max(1, int(np.argmin(np.abs(size - target))) + 1)
    chosen = np.zeros(len(units), dtype=bool)
    chosen[latest_first[:n_units]] = True
    return chosen


def _spans(policy: SplitPolicy, units: _Units, in_test: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Consecutive folds of about equal size, (n_units,), -1 in test."""
    training = np.flatnonzero(~in_test)
    ordered = training[np.lexsort((np.argsort(units.order)[training], start[training]))]
    size = units.counts[ordered, -1]
    middle = np.cumsum(size) - size / 2
    fold = np.minimum((middle / max(size.sum(), 1.0) * policy.n_folds).astype(int), policy.n_folds - 1)
    fold_of = np.full(len(units), -1)
    fold_of[ordered] = fold
    return fold_of


def _require_folds(policy: SplitPolicy, fold: np.ndarray) -> None:
    n_filled = len(set(fold[fold >= 0].tolist()))
    if n_filled < policy.n_folds:
        raise UsageError(
            f"only {n_filled} of {policy.n_folds} spans of time hold items once {policy.purge_s} s before "
            "the test set are left out; expected all. Lower `n_folds` or `purge_s`, or add days."
        )


def _gaps(policy: SplitPolicy, times: np.ndarray, fold: np.ndarray) -> list[list[int]]:
    """Per item the folds whose training leaves it out: those whose validation span its label overlaps."""
    gaps: list[list[int]] = [[] for _ in times]
    for k in range(policy.n_folds):
        inside = fold == k
        if not inside.any():
            continue
        first, last = times[inside].min(), times[inside].max()
        near = ((times + policy.purge_s > first) | (times >= first)) & (
            (times < last + policy.purge_s + policy.embargo_s) | (times <= last)
        )
        for row in np.flatnonzero(near & ~inside & (fold >= 0)):
            gaps[row].append(k)
    return gaps
