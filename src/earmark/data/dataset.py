"""Features, labels, groups and folds of the items that training may see.

`Dataset.build` takes only items whose split is ``train``: test items are left out by construction, and
finding a label of one is a `SealError`. `test_dataset` is the other door; it needs an `Opening` of the seal.

Conventions: `X` is float32, (n_items, n_columns), rows sorted by id, so that neither the order of the
manifest nor that of the feature table has any effect. NaN in `X` means "missing" and is left to the imputer
fitted inside each fold; infinities are refused, since no estimator handles them. `y` holds positions in
`classes`, whose order is the task's declaration and never that of the data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from earmark.data.seal import Opening
from earmark.data.soft_labels import soft_targets
from earmark.errors import SchemaError, SealError, UsageError

if TYPE_CHECKING:
    from earmark.data.manifest import Manifest
    from earmark.data.splits import Splits

__all__ = ["Dataset", "Table", "test_dataset"]

_SHOWN = 5

Split = Literal["train", "test", "auxiliary"]


class Table(Protocol):
    """What a dataset needs of a feature table."""

    @property
    def ids(self) -> Sequence[str]: ...
    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def values(self) -> np.ndarray: ...


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled features.

    Parameters
    ----------
    ids : tuple of str, length n
    columns : tuple of str, length d
        Names of the columns of `X`, unique.
    X : ndarray, float32, shape (n, d)
    y : ndarray, int64, shape (n,)
        Position in `classes`.
    classes : tuple of str
        All classes of the task, also those without an item.
    groups : ndarray of str, shape (n,)
        What must not straddle a split.
    folds : ndarray, int64, shape (n,)
        Fold in which the item validates; -1 throughout in a test set.
    weights : ndarray, float32, shape (n,), optional
        Sample weights, positive. Default: 1.
    sources : ndarray of str, shape (n,), optional
        Where the item comes from, for pooled data. Default: empty.
    gaps : tuple of frozenset of int, length n, optional
        Folds whose training leaves the item out (purge and embargo). Default: none.
    absent : tuple of str
        Labelled items of the split that the feature table lacks, because they failed or were not extracted.
    soft : ndarray, float32, shape (n, k), optional
        How well each class describes the item, 0 to 1 (see `earmark.data.soft_labels`); the class of `y` has the
        largest value of its row. Empty where that says no more than `y`.
    split : {"train", "test", "auxiliary"}

    Raises
    ------
    SchemaError
        Shapes, columns or values do not fit together.
    """

    ids: tuple[str, ...]
    columns: tuple[str, ...]
    X: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...]
    groups: np.ndarray
    folds: np.ndarray
    weights: np.ndarray = field(default_factory=lambda: np.empty(0))
    sources: np.ndarray = field(default_factory=lambda: np.empty(0))
    gaps: tuple[frozenset[int], ...] = ()
    absent: tuple[str, ...] = ()
    split: Split = "train"
    soft: np.ndarray = field(default_factory=lambda: np.empty((0, 0)))

    def __post_init__(self) -> None:
        n = len(self.ids)
        normal: dict[str, Any] = {
            "ids": tuple(str(id) for id in self.ids),
            "columns": tuple(self.columns),
            "X": _float32(self.X),
            "y": np.asarray(self.y, dtype=np.int64),
            "classes": tuple(self.classes),
            "groups": np.asarray(self.groups, dtype=np.str_),
            "folds": np.asarray(self.folds, dtype=np.int64),
            "weights": np.asarray(self.weights if len(self.weights) else np.ones(n), dtype=np.float32),
            "sources": np.asarray(self.sources if len(self.sources) else [""] * n, dtype=np.str_),
            "gaps": tuple(self.gaps) if self.gaps else (frozenset(),) * n,
            "soft": np.asarray(self.soft, dtype=np.float32),
        }
        for name, value in normal.items():
            object.__setattr__(self, name, value)
        _check(self)
        if np.array_equal(self.soft, self._one_hot):
            object.__setattr__(self, "soft", np.empty((0, 0), dtype=np.float32))

    @classmethod
    def build(
        cls,
        manifest: Manifest,
        splits: Splits,
        table: Table,
        classes: Sequence[str],
        *,
        columns: Sequence[str] | None = None,
        split: Literal["train", "auxiliary"] = "train",
        soft_labels: str | None = None,
    ) -> Dataset:
        """The training items of a manifest: labelled, in split ``train``, with features.

        Parameters
        ----------
        manifest : Manifest
            As `seal` left it: no label in any test row.
        splits : Splits
        table : Table
            May hold features of test items, which are dropped; must hold no item that the manifest lacks.
        classes : sequence of str
        columns : sequence of str, optional
            Columns to take, in this order. Default: all.
        split : {"train", "auxiliary"}
            ``auxiliary``: the items that only train instead of those that scores are made of.
        soft_labels : str, optional
            Column of the manifest with labels of several classes (`earmark.data.soft_labels`), where the task has one.

        Raises
        ------
        SealError
            The manifest holds the label of a test item.
        UsageError
            Splits, manifest and table do not belong together, a label is no class, or nothing is left.
        """
        splits.require(manifest)
        rows = {row["id"]: row for row in manifest.table.iter_rows(named=True)}
        assigned = splits.rows()
        _refuse_test_labels(rows, assigned)
        _refuse_half_prepared(manifest, splits)
        _refuse_strangers(table, rows)
        training = {id for id, row in assigned.items() if row["split"] == split}
        group_on = splits.policy.group_on or "group"
        wanted = {
            id: {**row, "group": row[group_on]} for id, row in rows.items() if id in training and row["label"]
        }
        folds = {id: assigned[id]["fold"] for id in wanted}
        gaps = {id: frozenset(assigned[id].get("gaps") or ()) for id in wanted}
        return _gathered(wanted, folds, gaps, table, classes, columns, split, soft_labels)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def _one_hot(self) -> np.ndarray:
        """Targets that say what `y` says; out of range classes, which `_check` refuses, have none."""
        codes = np.arange(len(self.classes))
        return np.asarray(np.asarray(self.y)[:, None] == codes, dtype=np.float32)

    @property
    def is_soft(self) -> bool:
        """Whether the targets say more than the labels."""
        return len(self.soft) > 0

    @property
    def targets(self) -> np.ndarray:
        """How well each class describes an item, float32, shape (n, k): `soft`, else 1 for the class of `y`."""
        return self.soft if self.is_soft else self._one_hot

    @property
    def n_folds(self) -> int:
        """Number of cross-validation folds; 0 in a test set."""
        return int(self.folds.max(initial=-1)) + 1

    @property
    def class_counts(self) -> dict[str, int]:
        """Items of each class, in class order."""
        counts = np.bincount(self.y, minlength=len(self.classes))
        return {name: int(count) for name, count in zip(self.classes, counts, strict=True)}

    @property
    def missing_classes(self) -> tuple[str, ...]:
        """Classes without an item: no model can learn them, and no score covers them."""
        return tuple(name for name, count in self.class_counts.items() if not count)

    @property
    def hash(self) -> str:
        """32 hexadecimal digits over all that training sees."""
        names = [
            self.ids,
            self.columns,
            self.classes,
            self.groups.tolist(),
            self.sources.tolist(),
            self.split,
        ]
        gaps = [sorted(folds) for folds in self.gaps]
        digest = hashlib.blake2b(json.dumps([names, gaps], ensure_ascii=False).encode(), digest_size=16)
        for array, kind in ((self.X, "<f4"), (self.y, "<i8"), (self.folds, "<i8"), (self.weights, "<f4")):
            digest.update(np.ascontiguousarray(array, dtype=kind).tobytes())
        if self.is_soft:  # others keep the hash that runs of before soft targets were trained under
            digest.update(np.ascontiguousarray(self.soft, dtype="<f4").tobytes())
        return digest.hexdigest()

    def select(self, columns: Sequence[str]) -> Dataset:
        """The dataset with these columns in this order; a missing one is a `SchemaError`."""
        position = {name: index for index, name in enumerate(self.columns)}
        missing = [name for name in columns if name not in position]
        if missing:
            raise SchemaError(
                f"{len(missing)} columns are not in the dataset: {_some(missing)}; it has "
                f"{_some(self.columns)}. Extract the groups that make them, or correct the names."
            )
        X = self.X[:, [position[name] for name in columns]]
        return self._with(columns=tuple(columns), X=X)

    def take(self, rows: np.ndarray) -> Dataset:
        """The dataset with these rows, given as positions or as a mask."""
        rows = np.arange(len(self))[rows]
        return self._with(
            ids=tuple(self.ids[row] for row in rows),
            X=self.X[rows],
            y=self.y[rows],
            groups=self.groups[rows],
            folds=self.folds[rows],
            weights=self.weights[rows],
            sources=self.sources[rows],
            gaps=tuple(self.gaps[row] for row in rows),
            soft=self.soft[rows] if self.is_soft else self.soft,
        )

    def train_validation(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the items that train and that validate in a fold, purge and embargo respected.

        Raises
        ------
        UsageError
            No such fold.
        """
        if not 0 <= fold < self.n_folds:
            raise UsageError(f"fold {fold} does not exist; expected 0 <= fold < {self.n_folds}.")
        left_out = np.array([fold in gaps for gaps in self.gaps], dtype=bool)
        inside = self.folds == fold
        return np.flatnonzero(~inside & ~left_out & (self.folds >= 0)), np.flatnonzero(inside)

    def _with(self, **changes: Any) -> Dataset:
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Dataset(**{**values, **changes})


def test_dataset(
    opening: Opening,
    table: Table,
    classes: Sequence[str],
    *,
    columns: Sequence[str] | None = None,
    soft_labels: str | None = None,
) -> Dataset:
    """The sealed test items; `opening` shows that the ledger knows.

    Parameters
    ----------
    opening : Opening
        From `SealedLabels.open`.
    table : Table
        Features; items that are not of the test set are ignored.
    classes : sequence of str
    columns : sequence of str, optional
    soft_labels : str, optional
        As in `Dataset.build`; the column must have been sealed.

    Raises
    ------
    SealError
        `opening` is not one.
    """
    if not isinstance(opening, Opening):
        raise SealError(
            f"the test set was asked for with {type(opening).__name__}, expected an opening of the seal. "
            "Use `earmark evaluate --split test`."
        )
    rows = {row["id"]: row for row in opening.rows}
    nowhere = dict.fromkeys(rows, -1)
    return _gathered(rows, nowhere, {}, table, classes, columns, "test", soft_labels)


test_dataset.__test__ = False  # type: ignore[attr-defined]  # its name must not make pytest collect it


def _refuse_test_labels(
    rows: Mapping[str, Mapping[str, Any]], assigned: Mapping[str, Mapping[str, Any]]
) -> None:
    seen = sorted(
        id for id, row in rows.items() if assigned[id]["split"] == "test" and row["label"] is not None
    )
    if seen:
        raise SealError(
            f"the manifest holds labels of {len(seen)} test items: {_some(seen)}. "
            "Expected them in the sealed table only. Use the manifest that `earmark prepare` wrote."
        )


def _refuse_half_prepared(manifest: Manifest, splits: Splits) -> None:
    """Splits are written before the manifest: after a stop in between, its labels may be those of an earlier one."""
    if splits.manifest_hash and splits.manifest_hash != manifest.hash:
        raise UsageError(
            f"the manifest has the hash {manifest.hash[:8]}, the splits were sealed with {splits.manifest_hash[:8]}: "
            "a preparation was interrupted, or the manifest was changed. Run `earmark prepare` again."
        )


def _refuse_strangers(table: Table, rows: Mapping[str, Any]) -> None:
    strangers = [id for id in table.ids if id not in rows]
    if strangers:
        raise UsageError(
            f"the feature table holds {len(strangers)} items that the manifest lacks: {_some(strangers)}. "
            "Expected features of this manifest. Run `earmark extract` again."
        )


def _gathered(
    rows: Mapping[str, Mapping[str, Any]],
    folds: Mapping[str, int],
    gaps: Mapping[str, frozenset[int]],
    table: Table,
    classes: Sequence[str],
    columns: Sequence[str] | None,
    split: Split,
    soft_labels: str | None,
) -> Dataset:
    """A dataset of the rows that the table knows, sorted by id."""
    where = {id: position for position, id in enumerate(table.ids)}
    ids = [id for id in sorted(rows) if id in where]
    if not ids:
        raise UsageError(
            f"none of the {len(rows)} labelled {split} items is among the {len(table.ids)} with features. "
            "Expected at least one. Run `earmark extract` on this manifest and look at its failures."
        )
    y = _encoded([rows[id]["label"] for id in ids], classes)
    dataset = Dataset(
        ids=tuple(ids),
        columns=tuple(table.columns),
        X=np.asarray(table.values)[[where[id] for id in ids]],
        y=y,
        classes=tuple(classes),
        groups=np.array([rows[id].get("group") or id for id in ids], dtype=np.str_),
        folds=np.array([folds[id] for id in ids]),
        weights=np.array([_weight(rows[id].get("sample_weight")) for id in ids]),
        sources=np.array([rows[id].get("source") or "" for id in ids], dtype=np.str_),
        gaps=tuple(gaps.get(id, frozenset()) for id in ids),
        absent=tuple(id for id in sorted(rows) if id not in where),
        split=split,
        soft=np.empty((0, 0))
        if soft_labels is None
        else soft_targets([rows[id].get(soft_labels) for id in ids], y, classes),
    )
    return dataset if columns is None else dataset.select(columns)


def _encoded(labels: Sequence[str], classes: Sequence[str]) -> np.ndarray:
    code = {name: position for position, name in enumerate(classes)}
    unknown = sorted({str(label) for label in labels if label not in code})
    if unknown:
        raise UsageError(
            f"{len(unknown)} labels are no class of the task: {_some(unknown)}. "
            f"Expected {', '.join(classes)}. Correct the labels and run `earmark prepare` again."
        )
    return np.array([code[label] for label in labels], dtype=np.int64)


def _weight(value: float | None) -> float:
    return 1.0 if value is None else float(value)


def _float32(X: np.ndarray) -> np.ndarray:
    """`X` as float32; a finite value too large for it becomes infinite here and is refused by `_check`."""
    with np.errstate(over="ignore"):
        return np.ascontiguousarray(X, dtype=np.float32)


def _check(dataset: Dataset) -> None:
    n, d, k = len(dataset.ids), len(dataset.columns), len(dataset.classes)
    problems = []
    if dataset.X.shape != (n, d):
        problems.append(f"X has shape {dataset.X.shape}, expected ({n}, {d})")
    for name in ("y", "groups", "folds", "weights", "sources", "gaps"):
        if len(getattr(dataset, name)) != n:
            problems.append(f"{name} has {len(getattr(dataset, name))} values, expected {n}")
    for name in ("ids", "columns", "classes"):
        if len(set(getattr(dataset, name))) != len(getattr(dataset, name)):
            problems.append(f"{name} holds a value twice")
    if not problems:
        problems += _value_problems(dataset, k)
    if problems:
        raise SchemaError(
            f"the dataset does not fit together: {'; '.join(problems)}. "
            "Expected one row per id, one column per name, finite or missing values. Extract again."
        )


def _value_problems(dataset: Dataset, n_classes: int) -> list[str]:
    problems = []
    if np.any((dataset.y < 0) | (dataset.y >= n_classes)):
        problems.append(f"y lies in {dataset.y.min()}..{dataset.y.max()}, expected 0..{n_classes - 1}")
    infinite = np.isinf(dataset.X)
    if infinite.any():
        columns = [dataset.columns[i] for i in np.flatnonzero(infinite.any(axis=0))]
        items = [dataset.ids[i] for i in np.flatnonzero(infinite.any(axis=1))]
        problems.append(f"X is infinite in column {_some(columns)} of item {_some(items)}")
    problems += _soft_problems(dataset, n_classes) if dataset.is_soft and not problems else []
    if not (np.isfinite(dataset.weights) & (dataset.weights > 0)).all():
        problems.append("weights are not all positive")
    return problems


def _soft_problems(dataset: Dataset, n_classes: int) -> list[str]:
    soft = dataset.soft
    if soft.shape != (len(dataset), n_classes) or not ((soft >= 0) & (soft <= 1)).all():
        return [f"soft targets of shape {soft.shape} are not ({len(dataset)}, {n_classes}) values in 0..1"]
    if not np.array_equal(soft[np.arange(len(dataset)), dataset.y], soft.max(axis=1)):
        return ["soft targets have their largest value outside the class of y"]
    return []


def _some(values: Sequence[str]) -> str:
    quoted = ", ".join(f"`{value}`" for value in values[:_SHOWN])
    return quoted + (f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else "")
