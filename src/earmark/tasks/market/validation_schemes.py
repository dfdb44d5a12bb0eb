"""Walk-forward and combinatorial purged cross-validation: each split is trained, and what it predicts is scored.

* *Walk-forward*: train on all that came before, test on what follows, five times.
* *CPCV*: every choice of k of N stretches of time is a test set. Each stretch is then predicted by C(N-1, k-1) models,
  and one prediction per stretch makes a *path* through all of the time: C(N-1, k-1) backtests in place of one [1]_.

Both take one or several configurations. With several, the probability of backtest overfitting says how far choosing the
best of them is luck (`evaluation.overfitting`), and the Sharpe ratio of the best is deflated for their number and for
the trials of a search before.

Conventions: a model sees nothing but the training windows of its split, also for its scaling; a model that stops early
watches the newest of them, behind a purge and an embargo. Windows that lack values are abstained from. Returns are per
hour, after cost, as `evaluation.trading` has them; movements and costs are fractions.

References
----------
.. [1] Lopez de Prado. Advances in Financial Machine Learning. Wiley, 2018, ch. 12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from earmark.data import timeline
from earmark.data.windows import Windows
from earmark.errors import UsageError
from earmark.evaluation import overfitting
from earmark.evaluation.block_bootstrap import time_blocks
from earmark.evaluation.intervals import Interval, bootstrap_intervals
from earmark.evaluation.metrics import METRICS
from earmark.evaluation.trading import ANNUALISATION, Trading, score_positions

if TYPE_CHECKING:
    from earmark.models.sequence.classifier import SequenceClassifier

__all__ = [
    "ROUND_TRIP_COST",
    "Configuration",
    "PathScore",
    "SchemeReport",
    "Selection",
    "SplitScore",
    "cpcv_report",
    "fit_split",
    "walk_forward_report",
]

FloatArray = NDArray[np.float64]
Scheme = Literal["walk_forward", "cpcv"]

ROUND_TRIP_COST = 0.0011
"""Two taker fees of 0.055 %, as of the label rule `cost`."""
STOPPING_SHARE = 0.15
"""Newest training windows that a model with early stopping watches."""
SCORES = ("accuracy", "macro_f1", "log_loss")
MIN_PBO_BLOCKS = 4
N_REPLICATES = 500
CONFIDENT = 0.95
"""A deflated Sharpe ratio above this is called significant."""

OnSplit = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Configuration:
    """A way to make a model.

    Attributes
    ----------
    name : str
    make : callable
        Gives a new, unfitted classifier.
    """

    name: str
    make: Callable[[], SequenceClassifier]


@dataclass(frozen=True)
class SplitScore:
    """One trained split: sizes, scores with their intervals over blocks of time, and what it would have earned."""

    configuration: str
    split: int
    groups: tuple[int, ...]
    train: int
    test: int
    purged: int
    embargoed: int
    abstained: int
    first_ms: int
    last_ms: int
    scores: Mapping[str, Interval]
    sharpe: float
    total_return: float


@dataclass(frozen=True)
class PathScore:
    """One path through all tested time; a walk-forward has one."""

    configuration: str
    path: int
    scores: Mapping[str, Interval]
    sharpe: float
    total_return: float
    n_positions: int
    hit_rate: float


@dataclass(frozen=True)
class Selection:
    """How far choosing the best configuration is luck.

    Attributes
    ----------
    best : str
        By Sharpe ratio over all tested time.
    n_configurations : int
    n_trials : int
        Configurations and the trials of searches before.
    sharpe : float
        Of the best, annualised.
    deflated_sharpe : float
        Probability that it is more than the luck of so many trials.
    pbo : float or None
        Probability of backtest overfitting; None for a single configuration, or too short a time.
    band : str or None
        ``low``, ``moderate``, ``high`` or ``severe``.
    why_not : str
        Why there is no PBO.
    """

    best: str
    n_configurations: int
    n_trials: int
    sharpe: float
    deflated_sharpe: float
    pbo: float | None
    band: str | None
    why_not: str = ""

    @property
    def is_significant(self) -> bool:
        """Whether the deflated Sharpe ratio exceeds .95."""
        return self.deflated_sharpe > CONFIDENT


@dataclass(frozen=True)
class SchemeReport:
    """All splits and paths of all configurations."""

    scheme: Scheme
    splits: tuple[SplitScore, ...]
    paths: tuple[PathScore, ...]
    selection: Selection
    cost: float
    annualisation: str

    def split_rows(self) -> list[dict[str, Any]]:
        """A flat row per split."""
        return [_flat(asdict(split) | {"scores": split.scores}) for split in self.splits]

    def path_rows(self) -> list[dict[str, Any]]:
        """A flat row per path."""
        return [_flat(asdict(path) | {"scores": path.scores}) for path in self.paths]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values; ``nan`` becomes None."""
        selection = asdict(self.selection) | {"is_significant": self.selection.is_significant}
        return {
            "scheme": self.scheme,
            "cost": self.cost,
            "annualisation": self.annualisation,
            "splits": [_plain(row) for row in self.split_rows()],
            "paths": [_plain(row) for row in self.path_rows()],
            "selection": _plain(selection),
        }


def walk_forward_report(
    windows: Windows,
    configurations: Sequence[Configuration],
    *,
    n: int = 5,
    first: float = 0.3,
    embargo: int | None = None,
    cost: float = ROUND_TRIP_COST,
    annualisation: str = "hours_365",
    n_trials: int = 0,
    seed: int = 42,
    on_split: OnSplit | None = None,
) -> SchemeReport:
    """Train each configuration `n` times on a growing past and score what follows.

    Parameters
    ----------
    windows : Windows
        Labelled, none of them sealed.
    configurations : sequence of Configuration
        At least one; names are unique.
    n : int
        Folds.
    first : float
        Share of the windows that the first fold trains on.
    embargo : int, optional
        Milliseconds, as in `timeline.walk_forward`.
    cost : float
        Of a position, in and out.
    annualisation : str
        A name of `evaluation.trading.ANNUALISATION`.
    n_trials : int
        Trials of searches that led to the configurations.
    seed : int
        Of the bootstrap.
    on_split : callable, optional
        Told the configuration, the number of splits done, and of all.

    Raises
    ------
    UsageError
        Too few windows, or no configuration.
    """
    folds = timeline.walk_forward(windows, n, first, embargo=embargo)
    paths = [[(fold, np.ones(len(folds[fold].test), bool)) for fold in range(n)]]
    return _report(
        "walk_forward", windows, configurations, folds, paths, _Scoring(cost, annualisation, seed), n_trials, on_split
    )  # fmt: skip


def cpcv_report(
    windows: Windows,
    configurations: Sequence[Configuration],
    *,
    n_groups: int = 6,
    k: int = 2,
    purge_ms: int | None = None,
    embargo: int | None = None,
    cost: float = ROUND_TRIP_COST,
    annualisation: str = "hours_365",
    n_trials: int = 0,
    seed: int = 42,
    on_split: OnSplit | None = None,
) -> SchemeReport:
    """Train each configuration on C(n_groups, k) splits and score C(n_groups - 1, k - 1) paths.

    Parameters
    ----------
    windows, configurations, cost, annualisation, n_trials, seed, on_split
        As in `walk_forward_report`.
    n_groups, k : int
        Stretches of time, and how many of them test.
    purge_ms, embargo : int, optional
        Milliseconds, as in `timeline.combinatorial_purged`.
    """
    folds = timeline.combinatorial_purged(windows, n_groups, k, purge_ms=purge_ms, embargo=embargo)
    group = timeline.group_of(windows, n_groups)
    of_window = dict(zip(windows.ends.tolist(), group.tolist(), strict=True))
    tested = [np.array([of_window[end] for end in fold.test.ends.tolist()]) for fold in folds]
    paths = [
        [(fold, tested[fold] == number) for number, fold in enumerate(path)]
        for path in timeline.paths(n_groups, k)
    ]
    return _report(
        "cpcv", windows, configurations, folds, paths, _Scoring(cost, annualisation, seed), n_trials, on_split
    )


def fit_split(classifier: SequenceClassifier, train: Windows) -> SequenceClassifier:
    """Fit on the training windows of a split; a model that stops early watches the newest of them."""
    if classifier.estimator.length_parameter is None:
        return classifier.fit(train)
    older, newest = _held_back(train)
    return classifier.fit(older, newest)


@dataclass(frozen=True)
class _Scoring:
    cost: float
    annualisation: str
    seed: int

    def intervals(self, windows: Windows, probabilities: FloatArray) -> dict[str, Interval]:
        """Scores of the windows that were predicted."""
        said = np.isfinite(probabilities).all(axis=1)
        if not said.any():
            raise UsageError(
                "All windows of a test split lack values, so that none can be predicted. Fill them (missing=median), "
                "or choose a view without the columns that lack them."
            )
        blocks = time_blocks(windows.time_ms[said], windows.table.interval_ms)
        return bootstrap_intervals(
            windows.y[said],
            probabilities[said],
            blocks,
            self.seed,
            metrics={name: METRICS[name] for name in SCORES},
            n_replicates=N_REPLICATES,
        )

    def trading(self, windows: Windows, probabilities: FloatArray) -> Trading:
        """What the predictions would have earned."""
        said = np.isfinite(probabilities).all(axis=1)
        classes = np.where(said, np.nan_to_num(probabilities, nan=0.0).argmax(axis=1), -1)
        return score_positions(
            classes,
            windows.movement,
            windows.time_ms,
            windows.label_end_ms,
            windows.symbol,
            cost=self.cost,
            annualisation=self.annualisation,
        )


_Path = Sequence[tuple[int, NDArray[np.bool_]]]
"""Folds, and which of the windows that each tests belong to the path."""


def _report(
    scheme: Scheme,
    windows: Windows,
    configurations: Sequence[Configuration],
    folds: Sequence[timeline.Fold],
    paths: Sequence[_Path],
    scoring: _Scoring,
    n_trials: int,
    on_split: OnSplit | None,
) -> SchemeReport:
    _require_names(configurations)
    splits: list[SplitScore] = []
    path_scores: list[PathScore] = []
    returns = []
    total = len(configurations) * len(folds)
    for configuration in configurations:
        predictions = []
        for number, fold in enumerate(folds):
            predictions.append(_predicted(configuration, fold))
            splits.append(_split_score(configuration.name, number, fold, predictions[-1], scoring))
            if on_split is not None:
                on_split(configuration.name, len(splits), total)
        scored = [
            _path_score(configuration.name, number, path, folds, predictions, scoring)
            for number, path in enumerate(paths)
        ]
        path_scores += [score for score, _ in scored]
        # A period's return is the mean over paths: each path is one course that the past might have taken.
        returns.append(np.mean([earned for _, earned in scored], axis=0))
    names = [configuration.name for configuration in configurations]
    selection = _selection(names, np.stack(returns, axis=1), n_trials, scoring.annualisation)
    return SchemeReport(
        scheme, tuple(splits), tuple(path_scores), selection, scoring.cost, scoring.annualisation
    )


def _predicted(configuration: Configuration, fold: timeline.Fold) -> FloatArray:
    """Probabilities of the test windows, shape (n, n_classes); ``nan`` where a window lacks values."""
    classifier = fit_split(configuration.make(), fold.train)
    usable = classifier.usable(fold.test)
    found = np.full((len(fold.test), len(classifier.classes)), np.nan)
    found[usable] = classifier.predict(fold.test.take(usable)).probabilities
    return found


def _split_score(
    name: str, number: int, fold: timeline.Fold, probabilities: FloatArray, scoring: _Scoring
) -> SplitScore:
    trading = scoring.trading(fold.test, probabilities)
    return SplitScore(
        name,
        number,
        fold.groups,
        len(fold.train),
        len(fold.test),
        fold.removed.purged,
        fold.removed.embargoed,
        int(np.isnan(probabilities).any(axis=1).sum()),
        int(fold.test.time_ms.min()),
        int(fold.test.time_ms.max()),
        scoring.intervals(fold.test, probabilities),
        trading.sharpe,
        trading.total_return,
    )


def _path_score(
    name: str,
    number: int,
    path: _Path,
    folds: Sequence[timeline.Fold],
    predictions: Sequence[FloatArray],
    scoring: _Scoring,
) -> tuple[PathScore, FloatArray]:
    """Scores of a path, and its returns per period."""
    ends = np.concatenate([folds[fold].test.ends[part] for fold, part in path])
    probabilities = np.concatenate([predictions[fold][part] for fold, part in path])
    order = np.argsort(ends, kind="stable")
    windows = Windows(folds[0].test.table, ends[order], folds[0].test.length)
    trading = scoring.trading(windows, probabilities[order])
    score = PathScore(
        name,
        number,
        scoring.intervals(windows, probabilities[order]),
        trading.sharpe,
        trading.total_return,
        trading.n_positions,
        trading.hit_rate,
    )
    return score, trading.returns


def _selection(names: Sequence[str], returns: FloatArray, n_trials: int, annualisation: str) -> Selection:
    """Judge the choice of the best column of `returns`, shape (n_periods, n_configurations)."""
    sharpes = np.array([overfitting.sharpe_ratio(column) for column in returns.T])
    if np.isnan(sharpes).any():
        raise UsageError(
            f"The tested time spans {len(returns)} periods of returns; a Sharpe ratio needs at least two. Collect more "
            "data."
        )
    best = int(sharpes.argmax())
    trials = len(names) + n_trials
    # Trials of a search left no returns; without skill a Sharpe ratio varies by 1 / (n - 1).
    variance = float(sharpes.var(ddof=1)) if len(names) > 1 and not n_trials else 0.0
    variance = max(variance, 1 / (len(returns) - 1)) if n_trials else variance
    deflated = overfitting.deflated_sharpe_ratio(overfitting.moments(returns[:, best]), trials, variance)
    pbo, why_not = _pbo(returns)
    return Selection(
        names[best],
        len(names),
        trials,
        float(sharpes[best] * ANNUALISATION[annualisation].factor),
        deflated,
        pbo,
        None if pbo is None else overfitting.band(pbo),
        why_not,
    )


def _pbo(returns: FloatArray) -> tuple[float | None, str]:
    """Probability of overfitting, or why there is none."""
    n_periods, n_configurations = returns.shape
    if n_configurations < 2:
        return None, "PBO compares configurations: give at least two"
    n_blocks = min(overfitting.N_BLOCKS, n_periods // 2 // 2 * 2)
    if n_blocks < MIN_PBO_BLOCKS:
        return (
            None,
            f"{n_periods} hours are too few for PBO, which needs {2 * MIN_PBO_BLOCKS}: collect more data",
        )
    return overfitting.probability_of_overfitting(returns, n_blocks=n_blocks).pbo, ""


def _held_back(train: Windows) -> tuple[Windows, Windows]:
    """Older and newest training windows, purged and with an embargo between them."""
    ordered = np.sort(train.time_ms)
    border = int(ordered[int((1 - STOPPING_SHARE) * len(ordered))])
    wait = timeline.EMBARGO_INTERVALS * train.table.interval_ms
    newest = train.time_ms >= border + wait
    if not newest.any():  # less than the embargo: the purge alone divides them
        newest = train.time_ms >= border
    first = min(border, int(train.start_ms[newest].min()))
    older = train.label_end_ms < first
    if not older.any():
        raise UsageError(
            f"Insufficient data: {len(train)} training windows of a split leave none before those that stop the model "
            "early. Collect more data, or take a model without early stopping (logistic)."
        )
    return train.take(older), train.take(newest)


def _require_names(configurations: Sequence[Configuration]) -> None:
    names = [configuration.name for configuration in configurations]
    if not names or len(set(names)) < len(names):
        raise UsageError(
            f"Configurations are named {', '.join(names) or 'nothing'}; expected one or more, each with a name of its "
            "own."
        )


def _flat(record: Mapping[str, Any]) -> dict[str, Any]:
    """Scores beside the other fields, with the bounds of their intervals."""
    found = {name: value for name, value in record.items() if name != "scores"}
    for name, interval in record["scores"].items():
        found |= {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}
    return found


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None
        if isinstance(value, float) and not np.isfinite(value)
        else list(value)
        if isinstance(value, tuple)
        else value
        for name, value in record.items()
    }
