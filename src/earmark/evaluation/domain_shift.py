"""How much two collections differ in their features: column by column, and altogether.

A model that trains on two collections may learn which one an item comes from instead of what it is. Two views:

* per feature, the means and their ratio, the standardised difference (difference of means over the pooled
  standard deviation, Cohen's d [1]_), and the two-sample Kolmogorov-Smirnov distance with its asymptotic p, and
  q: the share of false alarms among all features called different at that p or below it [2]_;
* altogether, the area under the ROC curve of a classifier that is asked from which side an item comes: a random
  forest scored out of fold, folds by whole groups. 0.5: the sides look alike. 1: they are told apart every time.

Missing values are counted per side and left out of the statistics of a feature; for the classifier they take
the median of the training part. The p values take items for independent, which items of one artist are not, so
read them as a ranking; the interval of the area draws whole groups, and holds for the forests as they were fitted.

References
----------
.. [1] Cohen. Statistical Power Analysis for the Behavioral Sciences. 2nd edition, 1988, chapter 2.
.. [2] Benjamini, Hochberg. Controlling the false discovery rate. JRSS B 57(1), 1995.
.. [3] Lopez-Paz, Oquab. Revisiting classifier two-sample tests. ICLR 2017.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.data.balance import balanced_folds
from earmark.data.dataset import Dataset
from earmark.errors import SchemaError, UsageError
from earmark.evaluation.intervals import Interval, bootstrap_interval
from earmark.evaluation.metrics import Score, validate
from earmark.evaluation.tables import csv_text

__all__ = ["DomainShift", "FeatureShift", "domain_shift", "domain_shift_csv", "source_auc"]

N_FOLDS = 5
_FOREST: dict[str, Any] = {"n_trees": 100, "min_leaf": 5}
_CLEAR_Q = 0.05


@dataclass(frozen=True)
class FeatureShift:
    """One feature on both sides; ``nan`` where a figure is undefined (a side without values, a spread of 0)."""

    feature: str
    scored_mean: float
    auxiliary_mean: float
    ratio: float
    standardised_difference: float
    ks: float
    p: float
    q: float
    scored_missing: int
    auxiliary_missing: int


@dataclass(frozen=True)
class DomainShift:
    """All features, the largest standardised difference first, and how well the sides are told apart.

    ``names`` are the sources of the two sides, ``n`` their numbers of items; ``auc`` is ``nan`` where a side has
    fewer than two groups, so that there is nothing to cross-validate.
    """

    names: tuple[str, str]
    n: tuple[int, int]
    features: tuple[FeatureShift, ...]
    auc: Interval

    @property
    def n_different(self) -> int:
        """How many features differ with q below 0.05."""
        return sum(row.q < _CLEAR_Q for row in self.features)

    def sentence(self) -> str:
        """Say in one sentence how far the sides are apart."""
        ours, theirs = self.names
        start = f"{self.n_different} of {len(self.features)} features differ between {ours} and {theirs}"
        if np.isnan(self.auc.value):
            return f"{start}; there are too few groups to measure how well the two can be told apart."
        value = self.auc.value
        word = "alike" if value < 0.6 else "partly apart" if value < 0.8 else "clearly apart"
        if np.isnan(self.auc.low):
            return f"{start}; taken together they are {word} (AUC {value:.2f}, 0.5 is chance)."
        bounds = f"[{self.auc.low:.2f}, {self.auc.high:.2f}]"
        return f"{start}; taken together they are {word} (AUC {value:.2f} {bounds}, 0.5 is chance)."


def domain_shift(ours: Dataset, theirs: Dataset, *, seed: int = 42) -> DomainShift:
    """Compare the features of two collections.

    Parameters
    ----------
    ours : Dataset
        The items that scores are made of.
    theirs : Dataset
        Items of another source, with the same columns; no id occurs on both sides.
    seed : int, default 42
        Of the folds, the forest and the bootstrap.

    Raises
    ------
    SchemaError
        The columns differ, in name or order.
    UsageError
        A side has no items.
    """
    if ours.columns != theirs.columns:
        odd = sorted(set(ours.columns) ^ set(theirs.columns))[:5]
        raise SchemaError(
            f"The two sides have other columns ({', '.join(odd) or 'the same in another order'}); expected the same. "
            "Select them first."
        )
    if not len(ours) or not len(theirs):
        raise UsageError(f"The sides have {len(ours)} and {len(theirs)} items; expected at least one each.")
    rows = [_feature(name, ours.X[:, k], theirs.X[:, k]) for k, name in enumerate(ours.columns)]
    rows = _with_q(rows)
    rows.sort(key=lambda row: -np.nan_to_num(abs(row.standardised_difference), nan=-1.0))
    names = (_name(ours, "the scored items"), _name(theirs, "the auxiliary items"))
    return DomainShift(names, (len(ours), len(theirs)), tuple(rows), _told_apart(ours, theirs, seed))


def domain_shift_csv(shift: DomainShift) -> str:
    """CSV of all features; the header is the fields of `FeatureShift`."""
    return csv_text([asdict(row) for row in shift.features], list(FeatureShift.__dataclass_fields__))


def source_auc(y: ArrayLike, p: ArrayLike, *, weights: ArrayLike | None = None) -> Score:
    """Area under the ROC curve of two classes: the chance that an item of class 1 gets more of ``p[:, 1]``.

    Takes what every metric takes (`earmark.evaluation.metrics`), with two classes; ties count half; ``nan``
    without items of both classes.
    """
    classes, probabilities, item_weights = validate(y, p, weights)
    if probabilities.shape[1] != 2:
        raise UsageError(f"p has {probabilities.shape[1]} columns; expected 2 classes.")
    order = np.argsort(probabilities[:, 1], kind="stable")
    scores, positive, kept = probabilities[order, 1], classes[order] == 1, item_weights[..., order]
    negatives = np.cumsum(kept * ~positive, axis=-1)
    negatives = np.concatenate([np.zeros((*negatives.shape[:-1], 1)), negatives], axis=-1)
    below = negatives[..., np.searchsorted(scores, scores, side="left")]
    not_above = negatives[..., np.searchsorted(scores, scores, side="right")]
    won = (kept * positive * (below + not_above) / 2).sum(axis=-1)
    pairs = (kept * positive).sum(axis=-1) * negatives[..., -1]
    area = np.divide(won, pairs, out=np.full(np.shape(won), np.nan), where=pairs > 0)
    return np.float64(area) if area.ndim == 0 else area


def _feature(name: str, ours: NDArray[Any], theirs: NDArray[Any]) -> FeatureShift:
    """All but q, which needs the p values of all features."""
    from scipy.stats import ks_2samp

    a, b = (side[~np.isnan(side)].astype(np.float64) for side in (ours, theirs))
    lost = len(ours) - len(a), len(theirs) - len(b)
    nothing = float("nan")
    mean_a, mean_b = (float(side.mean()) if len(side) else nothing for side in (a, b))
    ks, p = nothing, nothing
    if len(a) and len(b):
        found = ks_2samp(a, b, method="asymp")
        ks, p = float(found.statistic), float(found.pvalue)
    ratio = mean_a / mean_b if mean_b else nothing
    return FeatureShift(name, mean_a, mean_b, ratio, _cohens_d(a, b), ks, p, nothing, *lost)


def _cohens_d(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    if len(a) < 2 or len(b) < 2:
        return float("nan")
    squares = float(np.square(a - a.mean()).sum() + np.square(b - b.mean()).sum())
    spread = np.sqrt(squares / (len(a) + len(b) - 2))
    return float((a.mean() - b.mean()) / spread) if spread > 0 else float("nan")


def _with_q(rows: Sequence[FeatureShift]) -> list[FeatureShift]:
    from scipy.stats import false_discovery_control

    tested = [row for row in rows if not np.isnan(row.p)]
    q = false_discovery_control([row.p for row in tested]) if tested else []
    of = {row.feature: float(value) for row, value in zip(tested, q, strict=True)}
    return [FeatureShift(**{**asdict(row), "q": of.get(row.feature, float("nan"))}) for row in rows]


def _name(side: Dataset, otherwise: str) -> str:
    return ", ".join(sorted({str(name) for name in side.sources if name})) or otherwise


def _told_apart(ours: Dataset, theirs: Dataset, seed: int) -> Interval:
    """Area of a forest that was asked, out of fold, from which side each item comes."""
    from earmark.models.classifier import Classifier
    from earmark.training.crossval import cross_validate

    pooled = _pooled(ours, theirs, seed)
    if pooled is None:
        return Interval(*[float("nan")] * 3)
    answers = cross_validate(
        lambda: Classifier.make("random_forest", classes=pooled.classes, seed=seed, **_FOREST),
        pooled,
        class_weight="balanced",
        validation_fraction=0.0,
        seed=seed,
    )
    return bootstrap_interval(source_auc, pooled.y, answers.probabilities, pooled.groups, seed)


def _pooled(ours: Dataset, theirs: Dataset, seed: int) -> Dataset | None:
    """Both sides with the side as the class, in folds of whole groups; None with too few groups for folds."""
    y = np.repeat([0, 1], [len(ours), len(theirs)])
    groups = np.concatenate([ours.groups, theirs.groups])
    names, code = np.unique(groups, return_inverse=True)
    counts = np.zeros((len(names), 3))
    np.add.at(counts, (code, y), 1.0)
    counts[:, 2] = counts[:, :2].sum(axis=1)
    n_folds = min(N_FOLDS, *(int((counts[:, side] > 0).sum()) for side in (0, 1)))
    X = np.concatenate([ours.X, theirs.X])
    if n_folds < 2 or np.all(np.isnan(X) | (X[:1] == X)):
        return None
    order = np.random.default_rng(seed).permutation(len(names))
    return Dataset(
        ids=(*(f"scored {id}" for id in ours.ids), *(f"auxiliary {id}" for id in theirs.ids)),
        columns=ours.columns,
        X=X,
        y=y,
        classes=("scored", "auxiliary"),
        groups=groups,
        folds=balanced_folds(counts, n_folds, order)[code],
    )
