"""Divide windows through time: a sealed last period, train, validation and test, walk-forward, CPCV.

A window occupies a *span*: from its first input row to the instant at which its label was decided. It belongs to the
part in which its last row lies. Two kinds of leak are closed, both in milliseconds and at instants common to all
symbols, never by counts of rows:

* *purge*: a window that trains is left out if its span meets the span of a window that is scored, whichever symbol
  either is of, since prices of different symbols move together;
* *embargo*: a stretch after each border is not used at all, since what follows a border still echoes what lies before.
  In a split along time it is taken from the part behind the border, in CPCV from the training windows behind a test
  block [1]_.

Fractions are shares of the windows: instants are quantiles of the times of their last rows, so that a night without
data empties no part. Only the sealed period is a share of time.

References
----------
.. [1] Lopez de Prado. Advances in Financial Machine Learning. Wiley, 2018, ch. 7 and 12.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

import numpy as np
import numpy.typing as npt

from earmark.data.windows import SeriesTable, Windows
from earmark.errors import UsageError

__all__ = [
    "Division",
    "Fold",
    "Removed",
    "combinatorial_purged",
    "embargo_ms",
    "group_of",
    "paths",
    "seal_instant",
    "split",
    "split_at",
    "until",
    "walk_forward",
]

DAY_MS = 86_400_000
FRACTIONS = (0.7, 0.15, 0.15)
EMBARGO_INTERVALS = 60
EMBARGO_SHARE = 0.02
CPCV_EMBARGO_INTERVALS = 30
SHORT_SPAN_DAYS = 120
"""With less data than this the sealed period is `SHORT_SEAL_SHARE` of the time."""
SHORT_SEAL_SHARE = 0.15

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Removed:
    """How many windows a part lost, to the purge and to the embargo."""

    purged: int = 0
    embargoed: int = 0


@dataclass(frozen=True, eq=False)
class Division:
    """Windows of the parts in order of time.

    Attributes
    ----------
    train, validation, test : Windows
    instants_ms : tuple of int
        First instants of validation and test.
    embargo_ms : int
        What follows each of them and is not used.
    removed : dict of str to Removed
        By part.
    warnings : tuple of str
        Classes that a part lacks.
    """

    train: Windows
    validation: Windows
    test: Windows
    instants_ms: tuple[int, int]
    embargo_ms: int
    removed: dict[str, Removed]
    warnings: tuple[str, ...]

    def parts(self) -> dict[str, Windows]:
        """The parts by name, in order of time."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


@dataclass(frozen=True, eq=False)
class Fold:
    """One pair of training and test windows.

    ``groups`` are the numbers of the test groups in CPCV, the number of the fold in a walk forward.
    """

    train: Windows
    test: Windows
    groups: tuple[int, ...]
    removed: Removed


def embargo_ms(windows: Windows, share: float = EMBARGO_SHARE) -> int:
    """The embargo of a split: 60 intervals, or `share` of the windows' span if that is longer.

    Parameters
    ----------
    windows : Windows
    share : float
        Of the time between the first and the last window, 0 to 0.1.
    """
    if not 0 <= share <= 0.1:
        raise UsageError(f"embargo_pct is {share}; expected a share from 0 to 0.1, such as 0.02.")
    span = int(np.ptp(windows.time_ms)) if len(windows) else 0
    return max(EMBARGO_INTERVALS * windows.table.interval_ms, int(share * span))


def seal_instant(first_ms: int, last_ms: int, days: float = 30.0) -> int:
    """First instant of the sealed period: the last `days`, or the last 15 % of the time of less than 120 days.

    Raises
    ------
    UsageError
        `days` is not positive, or nothing would remain to train on.
    """
    span = last_ms - first_ms
    sealed = days * DAY_MS if span >= SHORT_SPAN_DAYS * DAY_MS else SHORT_SEAL_SHARE * span
    if not 0 < sealed < span:
        raise UsageError(
            f"The last {days:g} days were to be sealed of data that span {span / DAY_MS:.2f} days; expected a positive "
            "number of days that leaves the earlier ones to train on. Collect more, or correct --holdout-days."
        )
    return last_ms - int(sealed)


def until(table: SeriesTable, instant_ms: int) -> SeriesTable:
    """The rows before an instant, with labels unknown that were decided at it or later."""
    rows = table.time_ms < instant_ms
    known = table.label_end_ms[rows] < instant_ms
    return SeriesTable(
        symbols=table.symbols,
        symbol=table.symbol[rows],
        time_ms=table.time_ms[rows],
        X=table.X[rows],
        columns=table.columns,
        y=np.where(known, table.y[rows], np.int8(-1)),
        movement=np.where(known, table.movement[rows], np.float32(np.nan)),
        label_end_ms=table.label_end_ms[rows],
        price=table.price[rows],
        interval_ms=table.interval_ms,
        starts_anew=None if table.starts_anew is None else table.starts_anew[rows],
    )


def split(
    windows: Windows,
    fractions: Sequence[float] = FRACTIONS,
    *,
    purge: bool = True,
    embargo: int | None = None,
    minimum: int = 1,
) -> Division:
    """Train, validation and test, one after the other.

    Parameters
    ----------
    windows : Windows
        Of any number of symbols.
    fractions : sequence of float
        Shares of train, validation and test; they sum to 1.
    purge : bool
        False leaves windows in whose span meets a later part: for experiments on what purging is worth.
    embargo : int, optional
        Milliseconds after each border; default `embargo_ms`, 0 is none.
    minimum : int
        Fewest windows of a part.

    Raises
    ------
    UsageError
        A part has fewer windows.
    """
    if len(fractions) != 3 or min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-9:
        raise UsageError(f"fractions are {tuple(fractions)}; expected three positive shares that sum to 1.")
    _require(len(windows), 3 * minimum, "the three parts")
    first, second = np.cumsum(fractions)[:2]
    instants = _quantiles(windows.time_ms, (float(first), float(second)))
    return split_at(windows, (instants[0], instants[1]), purge=purge, embargo=embargo, minimum=minimum)


def split_at(
    windows: Windows,
    instants_ms: tuple[int, int],
    *,
    purge: bool = True,
    embargo: int | None = None,
    minimum: int = 1,
) -> Division:
    """Divide at two known instants; parameters as in `split`."""
    wait = embargo_ms(windows) if embargo is None else embargo
    edges = (np.iinfo(np.int64).min, *instants_ms, np.iinfo(np.int64).max)
    inside = [_between(windows.time_ms, start, end) for start, end in pairwise(edges)]
    late = [np.zeros(len(windows), bool)] + [
        part & (windows.time_ms < instant + wait)
        for part, instant in zip(inside[1:], instants_ms, strict=True)
    ]
    kept = [part & ~behind for part, behind in zip(inside, late, strict=True)]
    purged = [np.zeros(len(windows), bool) for _ in kept]
    if purge:
        # The last part first: only what is left of a later part can be met.
        for place in (1, 0):
            purged[place] = kept[place] & _reaches(windows, instants_ms[place], kept[place + 1])
            kept[place] = kept[place] & ~purged[place]
    removed = [Removed(int(p.sum()), int(e.sum())) for p, e in zip(purged, late, strict=True)]
    names = ("train", "validation", "test")
    for name, part in zip(names, kept, strict=True):
        _require(int(part.sum()), minimum, f"the {name} part")
    train, validation, test = (windows.take(part) for part in kept)
    return Division(
        train, validation, test, instants_ms, wait, dict(zip(names, removed, strict=True)),
        _missing_classes(windows, dict(zip(names, (train, validation, test), strict=True))),
    )  # fmt: skip


def walk_forward(
    windows: Windows, n: int = 5, first: float = 0.3, *, embargo: int | None = None
) -> list[Fold]:
    """Train on all that came before, test on what follows, `n` times.

    Parameters
    ----------
    windows : Windows
    n : int
        Folds.
    first : float
        Share of the windows that the first fold trains on.
    embargo : int, optional
        As in `split`.
    """
    if n < 1 or not 0 < first < 1:
        raise UsageError(
            f"n is {n} and first is {first}; expected at least 1 fold and a share between 0 and 1."
        )
    wait = embargo_ms(windows) if embargo is None else embargo
    _require(len(windows), n + 1, f"{n} folds")
    starts = _quantiles(windows.time_ms, [first + (1 - first) * k / n for k in range(n)])
    folds = []
    for number, (start, end) in enumerate(pairwise((*starts, np.iinfo(np.int64).max))):
        inside = _between(windows.time_ms, start, end)
        test = inside & (windows.time_ms >= start + wait)
        before = windows.time_ms < start
        purged = before & _reaches(windows, start, test)
        removed = Removed(int(purged.sum()), int((inside & ~test).sum()))
        folds.append(_fold(windows, before & ~purged, test, (number,), removed))
    return folds


def combinatorial_purged(
    windows: Windows,
    n_groups: int = 6,
    k: int = 2,
    *,
    purge_ms: int | None = None,
    embargo: int | None = None,
) -> list[Fold]:
    """Combinatorial purged cross-validation: every choice of `k` of `n_groups` stretches of time is a test set.

    Around each test block (neighbouring groups count as one) a training window is left out if its span meets
    ``[min(first input, block start - purge_ms), max(last label end, block end + purge_ms)]`` or begins within
    `embargo` after that.

    Parameters
    ----------
    windows : Windows
    n_groups, k : int
        At least 3 groups, ``1 <= k < n_groups``.
    purge_ms : int, optional
        Least distance of training from a block on either side; default 60 intervals.
    embargo : int, optional
        Milliseconds; default 30 intervals.

    Returns
    -------
    list of Fold
        In order of `itertools.combinations`, C(n_groups, k) of them.
    """
    if n_groups < 3 or not 1 <= k < n_groups:
        raise UsageError(
            f"CPCV was asked for with {n_groups} groups of which {k} test; expected at least 3 groups and fewer test "
            "groups than groups."
        )
    _require(len(windows), n_groups, f"{n_groups} groups")
    interval = windows.table.interval_ms
    distance = EMBARGO_INTERVALS * interval if purge_ms is None else purge_ms
    wait = CPCV_EMBARGO_INTERVALS * interval if embargo is None else embargo
    group = group_of(windows, n_groups)
    return [
        _combination(windows, group, chosen, distance, wait) for chosen in combinations(range(n_groups), k)
    ]


def group_of(windows: Windows, n_groups: int) -> npt.NDArray[np.int64]:
    """Number of the stretch of time in which each window's last row lies, shape (n_windows,)."""
    starts = _quantiles(windows.time_ms, [g / n_groups for g in range(1, n_groups)])
    return np.searchsorted(np.asarray(starts), windows.time_ms, side="right").astype(np.int64)


def paths(n_groups: int, k: int) -> list[tuple[int, ...]]:
    """The backtest paths of CPCV: for each path the fold that predicts group 0, group 1, ...

    Each group is tested by C(n_groups - 1, k - 1) folds; path p takes the p-th of them.
    """
    chosen = list(combinations(range(n_groups), k))
    testing = [[fold for fold, groups in enumerate(chosen) if g in groups] for g in range(n_groups)]
    return list(zip(*testing, strict=True))


def _combination(
    windows: Windows, group: npt.NDArray[np.int64], chosen: tuple[int, ...], distance: int, wait: int
) -> Fold:
    test = np.isin(group, chosen)
    meets, echoes = np.zeros(len(windows), bool), np.zeros(len(windows), bool)
    for block in _blocks(chosen):
        of = np.isin(group, block)
        low = min(int(windows.start_ms[of].min()), int(windows.time_ms[of].min()) - distance)
        high = max(int(windows.label_end_ms[of].max()), int(windows.time_ms[of].max()) + distance)
        meets |= (windows.label_end_ms >= low) & (windows.start_ms <= high)
        echoes |= (windows.start_ms > high) & (windows.start_ms <= high + wait)
    purged = ~test & meets
    embargoed = ~test & ~meets & echoes
    removed = Removed(int(purged.sum()), int(embargoed.sum()))
    return _fold(windows, ~test & ~purged & ~embargoed, test, chosen, removed)


def _blocks(groups: Sequence[int]) -> list[list[int]]:
    """Runs of neighbouring groups: (0, 1, 4) -> [0, 1], [4]."""
    blocks: list[list[int]] = []
    for group in groups:
        if blocks and blocks[-1][-1] == group - 1:
            blocks[-1].append(group)
        else:
            blocks.append([group])
    return blocks


def _fold(windows: Windows, train: Mask, test: Mask, groups: tuple[int, ...], removed: Removed) -> Fold:
    _require(int(train.sum()), 1, f"the training part of fold {groups}")
    _require(int(test.sum()), 1, f"the test part of fold {groups}")
    return Fold(windows.take(train), windows.take(test), groups, removed)


def _reaches(windows: Windows, border_ms: int, later: Mask) -> Mask:
    """Whether a window's span reaches the border, or the first input of a later window that begins before it."""
    first = min(border_ms, int(windows.start_ms[later].min())) if later.any() else border_ms
    return windows.label_end_ms >= first


def _between(time_ms: npt.NDArray[np.int64], start: int, end: int) -> Mask:
    return (time_ms >= start) & (time_ms < end)


def _quantiles(time_ms: npt.NDArray[np.int64], shares: Sequence[float]) -> tuple[int, ...]:
    """Instants such that a share of the windows lies before each; an instant is never divided."""
    ordered = np.sort(time_ms)
    return tuple(int(ordered[min(round(share * len(ordered)), len(ordered) - 1)]) for share in shares)


def _require(n: int, minimum: int, what: str) -> None:
    if n < minimum:
        raise UsageError(
            f"Insufficient data: {n} samples, need at least {minimum} for {what}. Collect more data, or lower "
            "sequence_length, the embargo or the number of parts."
        )


def _missing_classes(windows: Windows, parts: dict[str, Windows]) -> tuple[str, ...]:
    known = np.unique(windows.y[windows.y >= 0])
    return tuple(
        f"The {name} part has no window of class {int(label)}, which other parts have."
        for name, part in parts.items()
        for label in np.setdiff1d(known, part.y)
    )
