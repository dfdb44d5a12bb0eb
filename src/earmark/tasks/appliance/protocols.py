"""Who trains, who selects and who is scored: the protocols of a room, as row positions of its manifest.

========== ===================================================================================================
``swap``   both directions: train on one daypart, score another once; selection on 110 to 140 s of the training side
``single`` train on all but one daypart; select and score on that one, and say so
``loro``   leave one recording out
``blocks`` blocks of 30 s of every recording: one is scored, both neighbours are left out
``ranges`` train on the first 100 s of every recording, select on the next 30 s, score the last 30 s
``files``  a seeded random division of recordings, in proportion to the states
``groups`` k folds over a column such as ``machine_src``, of which no value is on two sides
========== ===================================================================================================

``windows``, a random division of windows, leaks: neighbours share most of their samples. It is made only as a
demonstration (``demonstrate=True``), and its fold is marked `Fold.leaky`.

Conventions: times are seconds from the start of a recording. A window belongs to a range only if it lies wholly
inside. Between what trains and what selects or scores in one recording lies a gap of at least a window and a margin.
Rows that train and select have a label and are no outliers; rows that are scored are all, so that loud, hard windows
count. Rows behind the seal are in no fold.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import UsageError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["DEFAULT_PROTOCOL", "LEAKY", "PROTOCOLS", "Fold", "folds"]

DEFAULT_PROTOCOL = "swap"
LEAKY = "windows"

SELECT_S = (110.0, 140.0)
"""Where the training side selects; in recordings that end earlier, their last 3/14."""
GAP_S = 10.0
MARGIN_S = 2.0
BLOCK_S = 30.0
SELECTED_ON_SCORED = "selected on the same files"

_EDGE_S = 1e-6

Positions = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Fold:
    """One training and its score: row positions of the manifest's table, each (n,), sorted.

    `note` is what a report has to say beside the score; `leaky` marks a demonstration that is no result.
    """

    name: str
    train: Positions
    select: Positions
    score: Positions
    note: str = ""
    leaky: bool = False


def folds(table: pl.DataFrame, protocol: str = DEFAULT_PROTOCOL, **settings: Any) -> tuple[Fold, ...]:
    """The folds of a protocol.

    Parameters
    ----------
    table : polars.DataFrame
        `Manifest.table` of a prepared room.
    protocol : str
        One of `PROTOCOLS`.
    **settings
        Of that protocol, by keyword; all have ``gap_s`` (10) and ``margin_s`` (2). `PROTOCOLS` lists them.

    Returns
    -------
    tuple of Fold
        At least one; no side of any is empty.

    Raises
    ------
    UsageError
        An unknown protocol or setting, a gap that is too short, an empty side, a state that would be scored and
        never trained, or a random division of windows that is not asked for as a demonstration.
    """
    if protocol not in PROTOCOLS:
        from earmark.models.constraints import closest

        raise UsageError(
            f"there is no protocol {protocol!r}{closest(protocol, PROTOCOLS)}. Known: {', '.join(PROTOCOLS)}."
        )
    make = PROTOCOLS[protocol]
    known = [name for name in inspect.signature(make).parameters if name != "rows"]
    unknown = sorted(set(settings) - {*known, "gap_s", "margin_s"})
    if unknown:
        raise UsageError(
            f"protocol `{protocol}` has no setting {', '.join(unknown)}; expected one of "
            f"{', '.join([*known, 'gap_s', 'margin_s'])}."
        )
    rows = _Rows(table, settings.pop("gap_s", GAP_S), settings.pop("margin_s", MARGIN_S))
    made = tuple(make(rows, **settings))
    _refuse_bad_sides(rows, protocol, made)
    return made


@dataclass(frozen=True)
class _Rows:
    """The rows of a manifest that folds are made of, as arrays over all rows."""

    table: pl.DataFrame = field(repr=False)
    gap_s: float
    margin_s: float

    def __post_init__(self) -> None:
        if "recording_id" not in self.table.columns:
            raise UsageError(
                "the table is not the manifest of a room. Run: earmark prepare appliance SAMPLES"
            )
        if not self.open.any():
            raise UsageError("every window of the room is sealed; nothing is left to divide. Add recordings.")
        needed = float((self.end - self.start).max()) + self.margin_s
        if self.gap_s < needed - _EDGE_S:
            raise UsageError(
                f"a gap of {self.gap_s:g} s is shorter than a window and a margin ({needed:g} s), so the sides would "
                "share samples or almost; expected 5 to 10 s beyond none. Give a longer gap, or shorter windows."
            )

    @cached_property
    def open(self) -> Mask:
        """Rows that are not sealed, nor purged around what is."""
        if "split" not in self.table.columns:
            return np.ones(self.table.height, dtype=bool)
        return self.table["split"].is_in(["train"]).to_numpy()

    @cached_property
    def start(self) -> NDArray[np.float64]:
        """Start of each window."""
        return self.table["start_sec"].to_numpy()

    @cached_property
    def end(self) -> NDArray[np.float64]:
        """End of each window."""
        return self.table["end_sec"].to_numpy()

    @cached_property
    def recording(self) -> NDArray[np.object_]:
        """Recording of each window."""
        return self.table["recording_id"].to_numpy().astype(object)

    @cached_property
    def label(self) -> NDArray[np.object_]:
        """State of each window, None where it has none."""
        return np.array(self.table["label"].to_list(), dtype=object)

    @cached_property
    def teaching(self) -> Mask:
        """Rows that may train or select."""
        labelled = self.table["label"].is_not_null().to_numpy()
        return np.asarray(self.open & labelled & ~self.table["outlier"].to_numpy())

    @cached_property
    def recordings(self) -> list[str]:
        """Recordings with open rows, in the order of the table."""
        return list(dict.fromkeys(self.recording[self.open]))

    @cached_property
    def usable_s(self) -> NDArray[np.float64]:
        """End of the last open window of each row's recording."""
        last = {name: self.end[self.open & (self.recording == name)].max() for name in self.recordings}
        return np.array([last.get(name, 0.0) for name in self.recording])

    def inside(self, first_s: Any, last_s: Any) -> Mask:
        """Windows that lie wholly between two times; numbers, or one of each row."""
        return np.asarray((self.start >= first_s - _EDGE_S) & (self.end <= last_s + _EDGE_S))

    def clear_of(self, first_s: Any, last_s: Any) -> Mask:
        """Windows at least a gap away from a range."""
        before = self.end <= first_s - self.gap_s + _EDGE_S
        return np.asarray(before | (self.start >= last_s + self.gap_s - _EDGE_S))

    def of(self, names: Sequence[str]) -> Mask:
        """Windows of these recordings."""
        return np.isin(self.recording, list(names))

    def selection(self, select_s: tuple[float, float]) -> tuple[Mask, Mask]:
        """Windows that select and windows that train, by time alone; see `SELECT_S`."""
        shrink = np.minimum(1.0, self.usable_s / max(select_s[1], _EDGE_S))
        # a window ends on the grid, up to a hop before the recording or its seal does
        shrink = np.where(self.usable_s >= select_s[1] - self._hop_s, 1.0, shrink)
        first, last = select_s[0] * shrink, select_s[1] * shrink
        return self.inside(first, last), self.clear_of(first, last)

    @cached_property
    def _hop_s(self) -> float:
        steps = np.diff(np.unique(self.start))
        return float(steps.min()) if len(steps) else 0.0

    def fold(
        self, name: str, train: Mask, select: Mask, score: Mask, note: str = "", leaky: bool = False
    ) -> Fold:
        """A fold of masks, without what may not take part."""
        return Fold(
            name,
            np.flatnonzero(train & self.teaching),
            np.flatnonzero(select & self.teaching),
            np.flatnonzero(score & self.open),
            note,
            leaky,
        )

    def dayparts(self, protocol: str) -> list[str]:
        """The dayparts, at least two."""
        found = sorted(set(self.table["daypart"].filter(self.open).drop_nulls()))
        if len(found) < 2 or self.table["daypart"].filter(self.open).null_count():
            raise UsageError(
                f"protocol `{protocol}` needs two dayparts that all recordings tell, and there are "
                f"{', '.join(found) or 'none'}. Use --protocol blocks or ranges, or groups over another column."
            )
        return found

    def daypart(self, name: str) -> Mask:
        """Windows of a daypart."""
        return self.table["daypart"].eq_missing(name).to_numpy()


def _swap(rows: _Rows, *, select_s: tuple[float, float] = SELECT_S) -> Iterator[Fold]:
    """Train on one daypart, score each other one."""
    select, train = rows.selection(select_s)
    dayparts = rows.dayparts("swap")
    for own in dayparts:
        for other in dayparts:
            if own != other:
                side = rows.daypart(own)
                yield rows.fold(f"{own}-to-{other}", side & train, side & select, rows.daypart(other))


def _single(rows: _Rows, *, val_daypart: str = "night") -> Iterator[Fold]:
    """Train on the other dayparts, select and score on `val_daypart`."""
    if val_daypart not in rows.dayparts("single"):
        raise UsageError(
            f"there is no daypart {val_daypart!r}; expected one of {', '.join(rows.dayparts('single'))}. "
            "Correct --val-daypart."
        )
    held = rows.daypart(val_daypart)
    yield rows.fold(f"val-{val_daypart}", ~held, held, held, SELECTED_ON_SCORED)


def _loro(rows: _Rows, *, select_s: tuple[float, float] = SELECT_S) -> Iterator[Fold]:
    """Leave each recording out in turn."""
    only = [
        name for name in rows.recordings if _states(rows, rows.of([name])) - _states(rows, ~rows.of([name]))
    ]
    if only:
        raise UsageError(
            f"protocol `loro` would leave out {', '.join(f'`{name}`' for name in only)}, each the only training "
            "example of its state; expected two recordings of each. Record further takes, or use blocks."
        )
    select, train = rows.selection(select_s)
    for name in rows.recordings:
        left_out = rows.of([name])
        yield rows.fold(f"without-{name}", ~left_out & train, ~left_out & select, left_out)


def _blocks(rows: _Rows, *, block_s: float = BLOCK_S) -> Iterator[Fold]:
    """Score each block of all recordings in turn, leave out its neighbours, select on the block farthest from it."""
    if block_s < rows.gap_s - _EDGE_S:
        raise UsageError(
            f"blocks of {block_s:g} s leave a shorter gap between training and score than {rows.gap_s:g} s; expected "
            f"blocks of {rows.gap_s:g} s or more. Correct --block-sec."
        )
    n_blocks = int(np.ceil((rows.usable_s.max() - _EDGE_S) / block_s))
    inside = [rows.inside(k * block_s, (k + 1) * block_s) for k in range(n_blocks)]
    held = [k for k in range(n_blocks) if (inside[k] & rows.open).any()]
    for k in held:
        others = [j for j in held if abs(j - k) > 1 and (inside[j] & rows.teaching).any()]
        if not others:
            raise UsageError(
                f"recordings of {rows.usable_s.max():.0f} s have too few blocks of {block_s:g} s: without block {k} "
                "and its neighbours nothing is left. Record longer, or give shorter blocks."
            )
        chosen = max(others, key=lambda j: (abs(j - k), j))
        outside = (rows.end <= (k - 1) * block_s + _EDGE_S) | (rows.start >= (k + 2) * block_s - _EDGE_S)
        train = outside & rows.clear_of(chosen * block_s, (chosen + 1) * block_s)
        yield rows.fold(f"block-{k}", train, inside[chosen], inside[k], "training and score share recordings")


def _ranges(
    rows: _Rows,
    *,
    train_s: float = 100.0,
    val_s: float = 30.0,
    test_s: float = 30.0,
    test_at_end: bool = True,
) -> Iterator[Fold]:
    """Ranges of time in every recording: training, gap, validation, gap, test."""
    val_from = train_s + rows.gap_s
    after = val_from + val_s + rows.gap_s
    duration = rows.table["duration_s"].to_numpy()
    test_from = np.maximum(duration - test_s, after) if test_at_end else np.full(len(duration), after)
    score = rows.inside(test_from, test_from + test_s)
    if not (score & rows.open).any() and score.any():
        raise UsageError(
            "the last seconds, which protocol `ranges` scores, are the sealed part of these recordings. Use another "
            "protocol, or prepare without a seal: earmark prepare appliance SAMPLES --seal none"
        )
    note = "training and score share recordings"
    yield rows.fold("ranges", rows.inside(0.0, train_s), rows.inside(val_from, val_from + val_s), score, note)


def _files(
    rows: _Rows, *, train_split: float = 0.8, seed: int = 42, select_s: tuple[float, float] = SELECT_S
) -> Iterator[Fold]:
    """A random division of recordings, of each set of states alike."""
    if not 0 < train_split < 1:
        raise UsageError(
            f"the share of recordings to train is {train_split}; expected 0 < share < 1, e.g. 0.8."
        )
    by_states: dict[Hashable, list[str]] = defaultdict(list)
    for name in rows.recordings:
        by_states[frozenset(_states(rows, rows.of([name])))].append(name)
    generator = np.random.default_rng(seed)
    scored: list[str] = []
    for names in by_states.values():
        n_scored = min(max(1, round(len(names) * (1 - train_split))), len(names) - 1)
        scored += [names[at] for at in generator.permutation(len(names))[:n_scored]]
    select, train = rows.selection(select_s)
    held = rows.of(scored)
    yield rows.fold("files", ~held & train, ~held & select, held, f"scored: {', '.join(sorted(scored))}")


def _groups(
    rows: _Rows, *, group_on: str | Sequence[str] = "machine_src", n_folds: int = 5, seed: int = 42
) -> Iterator[Fold]:
    """k folds of groups; the next fold selects. Recordings that share a value of any column are one group."""
    columns = [group_on] if isinstance(group_on, str) else list(group_on)
    group_of = _group_of_recordings(rows, columns)
    fold_of = _balanced(rows, group_of, n_folds, seed, columns)
    n_made = max(fold_of.values()) + 1
    for k in range(n_made):
        parts = [rows.of([name for name, fold in fold_of.items() if fold == j]) for j in range(n_made)]
        chosen = (k + 1) % n_made
        yield rows.fold(f"group-{k}", ~(parts[k] | parts[chosen]), parts[chosen], parts[k])


def _windows(
    rows: _Rows, *, demonstrate: bool = False, score_share: float = 0.25, seed: int = 42
) -> Iterator[Fold]:
    """A random division of windows: neighbours on both sides."""
    if not demonstrate:
        raise UsageError(
            "windows are not divided at random: neighbours share most of their samples, so the score would be one of "
            "memory. Use --protocol swap; to see the leak beside it: --split windows"
        )
    draw = np.random.default_rng(seed).random(rows.table.height)
    select = (draw >= score_share) & (draw < 2 * score_share)
    note = "leaky: windows were divided at random, so training has heard what is scored"
    yield rows.fold("leaky", draw >= 2 * score_share, select, draw < score_share, note, leaky=True)


PROTOCOLS: dict[str, Callable[..., Iterator[Fold]]] = {
    "swap": _swap,
    "single": _single,
    "loro": _loro,
    "blocks": _blocks,
    "ranges": _ranges,
    "files": _files,
    "groups": _groups,
    LEAKY: _windows,
}
"""By name; the keyword parameters of each are its settings."""


def _states(rows: _Rows, mask: Mask) -> set[str]:
    return set(rows.label[mask & rows.teaching])


def _group_of_recordings(rows: _Rows, columns: Sequence[str]) -> dict[str, int]:
    """Group of each recording: those that share a value of one of the columns; a missing value joins none."""
    from earmark.data.groups import connected_components

    missing = [name for name in columns if name not in rows.table.columns]
    if missing:
        raise UsageError(
            f"the manifest has no column {', '.join(missing)} to group on; it has {', '.join(rows.table.columns)}. "
            "Correct --group-on, or prepare with a table that has it: --table FILE"
        )
    firsts = {name: int(np.flatnonzero(rows.recording == name)[0]) for name in rows.recordings}
    keys = [
        [
            ("recording", name),
            *((column, value) for column in columns if (value := rows.table[column][at]) is not None),
        ]
        for name, at in firsts.items()
    ]
    return dict(zip(firsts, connected_components(keys), strict=True))


def _balanced(
    rows: _Rows, group_of: dict[str, int], n_folds: int, seed: int, columns: Sequence[str]
) -> dict[str, int]:
    """Fold of each recording, even in windows of each state."""
    from earmark.data.assignment import visiting_order
    from earmark.data.balance import balanced_folds

    groups = sorted(set(group_of.values()))
    if len(groups) < 3:
        raise UsageError(
            f"{', '.join(columns)} makes {len(groups)} groups of recordings; expected at least 3: one is scored, one "
            "selects, the others train. Group on another column."
        )
    states = sorted(_states(rows, rows.open))
    counts = np.zeros((len(groups), len(states) + 1))
    names = [""] * len(groups)
    for name, group in group_of.items():
        at = groups.index(group)
        own = rows.of([name]) & rows.teaching
        counts[at] += [*((own & (rows.label == state)).sum() for state in states), own.sum()]
        names[at] = min(names[at] or name, name)
    found = balanced_folds(counts, min(n_folds, len(groups)), visiting_order(names, seed))
    return {name: int(found[groups.index(group)]) for name, group in group_of.items()}


def _refuse_bad_sides(rows: _Rows, protocol: str, made: Sequence[Fold]) -> None:
    problems = []
    for fold in made:
        sides = {"trains": fold.train, "selects": fold.select, "is scored": fold.score}
        problems += [f"in `{fold.name}` nothing {side}" for side, at in sides.items() if not len(at)]
        scored = set(rows.label[fold.score]) - {None}
        unseen = sorted(scored - set(rows.label[fold.train])) if len(fold.train) else []
        problems += [f"in `{fold.name}` the state {state} is scored and never trained" for state in unseen]
    if problems or not made:
        raise UsageError(
            f"protocol `{protocol}` cannot be used here: {'; '.join(problems) or 'it makes no fold'}. Record more or "
            "longer, or choose another protocol, range or gap."
        )
