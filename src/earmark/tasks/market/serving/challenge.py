"""Two models on the same stream: who answers which row, what became of it, and whether the challenger takes over.

A row belongs to a variant by the hash of its key: a tenth goes to the challenger, the same rows whenever it is asked.
Every answer is kept in a SQLite file with its latency; the class that came true is added later, from the labels
(`resolve`). The rule (`verdict`):

============= =====================================================================================================
``roll_back`` from 30 rows of each on: the challenger is 2 ms slower, errs 1.5 times as often, or is 5 points less
              accurate
``promote``   after 24 h and 100 rows of each: it is 2 points more accurate, and Welch's test gives p < 0.05
``continue``  otherwise
============= =====================================================================================================

Conventions: latencies are milliseconds of wall-clock per row, times milliseconds since 1970 UTC.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xxhash

from earmark.errors import InputError

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Answered", "Challenge", "Experiment", "Side", "variant_of", "verdict"]

CHALLENGER_SHARE = 0.1
MIN_HOURS = 24.0
MIN_ROWS = 100
MIN_TESTED = 30
PROMOTE_GAIN, PROMOTE_P = 0.02, 0.05
WORST_LATENCY_MS, WORST_ERRORS, WORST_LOSS = 2.0, 1.5, 0.05

CHAMPION, CHALLENGER = VARIANTS = ("champion", "challenger")

_SCHEMA = """
CREATE TABLE IF NOT EXISTS experiment (
    id INTEGER PRIMARY KEY, champion TEXT NOT NULL, challenger TEXT NOT NULL, began_ms INTEGER NOT NULL,
    horizon_s INTEGER NOT NULL, label_set TEXT NOT NULL, ended_ms INTEGER, outcome TEXT, reason TEXT);
CREATE TABLE IF NOT EXISTS answer (
    experiment INTEGER NOT NULL REFERENCES experiment (id), symbol TEXT NOT NULL, timestamp INTEGER NOT NULL,
    variant TEXT NOT NULL, direction INTEGER, latency_ms REAL NOT NULL, failed INTEGER NOT NULL, truth INTEGER,
    PRIMARY KEY (experiment, symbol, timestamp)) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Answered:
    """One row and what its variant made of it; `direction` is None for an abstention or a failure."""

    symbol: str
    timestamp: int
    variant: str
    direction: int | None
    latency_ms: float
    failed: bool = False


@dataclass(frozen=True)
class Side:
    """Counts of one variant; rates are ``nan`` without rows."""

    variant: str
    run: str
    rows: int
    graded: int
    accuracy: float
    latency_ms: float
    error_rate: float


@dataclass(frozen=True)
class Experiment:
    """Where an experiment stands.

    Attributes
    ----------
    sides : tuple of Side
        Champion, challenger.
    hours : float
        From the first to the last row.
    p : float
        Of Welch's test of the accuracies; ``nan`` with fewer than 30 graded rows of a side.
    outcome : str
        ``continue``, ``promote`` or ``roll_back``.
    reason : str
    """

    sides: tuple[Side, Side]
    hours: float
    p: float
    outcome: Literal["continue", "promote", "roll_back"]
    reason: str

    def to_json(self) -> dict[str, Any]:
        """Fields as plain values."""
        return asdict(self)


def variant_of(symbol: str, timestamp: int) -> str:
    """The variant to which a row belongs, on every machine."""
    share = xxhash.xxh3_64_intdigest(f"{symbol}:{timestamp}".encode()) / 2**64
    return CHALLENGER if share < CHALLENGER_SHARE else CHAMPION


class Challenge:
    """The experiment between two runs in a SQLite file; one that has not ended goes on.

    Parameters
    ----------
    path : Path
    champion, challenger : str
        Names of runs.
    horizon_s : int
    label_set : str
        Whose labels tell what came true.
    now_ms : int
        When a new experiment begins.
    """

    def __init__(
        self, path: Path, champion: str, challenger: str, *, horizon_s: int, label_set: str, now_ms: int
    ) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.champion, self.challenger = path, champion, challenger
        with self._database() as database:
            database.executescript(_SCHEMA)
            going = database.execute(
                "SELECT id FROM experiment WHERE champion = ? AND challenger = ? AND ended_ms IS NULL",
                (champion, challenger),
            ).fetchone()
            self.id = going[0] if going else self._begin(database, now_ms, horizon_s, label_set)

    @classmethod
    def newest(cls, path: Path) -> Challenge:
        """The experiment that began last.

        Raises
        ------
        InputError
            There is none.
        """
        found = None
        if path.is_file():
            with closing(sqlite3.connect(path)) as database:
                found = database.execute(
                    "SELECT id, champion, challenger FROM experiment ORDER BY id DESC LIMIT 1"
                ).fetchone()
        if found is None:
            raise InputError(f"`{path}` holds no experiment. Run: earmark live market --challenger RUN")
        made = cls.__new__(cls)
        made.path, (made.id, made.champion, made.challenger) = path, found
        return made

    def add(self, answers: Sequence[Answered]) -> None:
        """Keep answers; a row that is there stays as it is."""
        rows = [
            (self.id, a.symbol, a.timestamp, a.variant, a.direction, a.latency_ms, int(a.failed))
            for a in answers
        ]
        with self._database() as database:
            database.executemany("INSERT OR IGNORE INTO answer VALUES (?, ?, ?, ?, ?, ?, ?, NULL)", rows)

    def label_source(self) -> tuple[str, int]:
        """Label set and horizon of the experiment."""
        with self._database() as database:
            found = database.execute(
                "SELECT label_set, horizon_s FROM experiment WHERE id = ?", (self.id,)
            ).fetchone()
        return str(found[0]), int(found[1])

    def resolve(self, labels: pl.DataFrame) -> int:
        """Add what came true: rows of symbol, timestamp, label; the number of answers that were graded."""
        rows = [(truth, self.id, symbol, time) for symbol, time, truth in labels.drop_nulls().iter_rows()]
        with self._database() as database:
            before = database.total_changes
            database.executemany(
                "UPDATE answer SET truth = ? WHERE experiment = ? AND symbol = ? AND timestamp = ? AND truth IS NULL",
                rows,
            )
            return database.total_changes - before

    def span_ms(self) -> tuple[int, int] | None:
        """Times of the first and the last answer; None without any."""
        with self._database() as database:
            first, last = database.execute(
                "SELECT min(timestamp), max(timestamp) FROM answer WHERE experiment = ?", (self.id,)
            ).fetchone()
        return None if first is None else (int(first), int(last))

    def state(self) -> Experiment:
        """Where it stands; see `verdict`."""
        with self._database() as database:
            rows = database.execute(
                "SELECT variant, direction, latency_ms, failed, truth FROM answer WHERE experiment = ?",
                (self.id,),
            ).fetchall()
        span = self.span_ms() or (0, 0)
        by_variant = {name: [row[1:] for row in rows if row[0] == name] for name in VARIANTS}
        runs = (self.champion, self.challenger)
        measured = [_measured(name, run, by_variant[name]) for name, run in zip(VARIANTS, runs, strict=True)]
        (champion, own), (challenger, other) = measured
        return verdict(champion, challenger, own, other, hours=(span[1] - span[0]) / 3_600_000)

    def end(self, outcome: str, reason: str, now_ms: int) -> None:
        """Close the experiment."""
        with self._database() as database:
            database.execute(
                "UPDATE experiment SET ended_ms = ?, outcome = ?, reason = ? WHERE id = ? AND ended_ms IS NULL",
                (now_ms, outcome, reason, self.id),
            )

    def _begin(self, database: sqlite3.Connection, now_ms: int, horizon_s: int, label_set: str) -> int:
        made = database.execute(
            "INSERT INTO experiment (champion, challenger, began_ms, horizon_s, label_set) VALUES (?, ?, ?, ?, ?)",
            (self.champion, self.challenger, now_ms, horizon_s, label_set),
        )
        assert made.lastrowid is not None
        return made.lastrowid

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """A connection whose changes are one transaction."""
        with closing(sqlite3.connect(self.path, timeout=30)) as database, database:
            yield database


def verdict(
    champion: Side,
    challenger: Side,
    right_champion: np.ndarray[Any, Any],
    right_challenger: np.ndarray[Any, Any],
    *,
    hours: float,
) -> Experiment:
    """Judge two variants.

    Parameters
    ----------
    champion, challenger : Side
    right_champion, right_challenger : ndarray of bool, shape (n_graded,)
        Which graded answers were right.
    hours : float
        How long the experiment has run.
    """
    p = _welch(right_champion, right_challenger)
    gain = challenger.accuracy - champion.accuracy
    sides, enough = (champion, challenger), min(champion.rows, challenger.rows) >= MIN_TESTED
    graded = min(champion.graded, challenger.graded)
    slower = challenger.latency_ms - champion.latency_ms
    if enough and slower > WORST_LATENCY_MS:
        return Experiment(sides, hours, p, "roll_back", f"the challenger is {slower:.1f} ms slower")
    if enough and challenger.error_rate > max(WORST_ERRORS * champion.error_rate, 1 / challenger.rows):
        return Experiment(
            sides, hours, p, "roll_back", f"the challenger fails on {challenger.error_rate:.1%} of its rows"
        )
    if graded >= MIN_TESTED and gain < -WORST_LOSS:
        return Experiment(sides, hours, p, "roll_back", f"the challenger's accuracy is {-gain:.1%} lower")
    if hours < MIN_HOURS or graded < MIN_ROWS:
        waiting = f"{hours:.1f} of {MIN_HOURS:g} h and {graded} of {MIN_ROWS} graded rows of each so far"
        return Experiment(sides, hours, p, "continue", waiting)
    if gain >= PROMOTE_GAIN and p < PROMOTE_P:
        return Experiment(sides, hours, p, "promote", f"accuracy is {gain:.1%} higher, p = {p:.2g}")
    return Experiment(sides, hours, p, "continue", f"accuracy differs by {gain:+.1%}, p = {p:.2g}")


def _measured(variant: str, run: str, rows: list[tuple[Any, ...]]) -> tuple[Side, np.ndarray[Any, Any]]:
    graded = [
        (direction, truth) for direction, _, _, truth in rows if truth is not None and direction is not None
    ]
    right = np.array([direction == truth for direction, truth in graded], dtype=bool)
    nan = float("nan")
    side = Side(
        variant=variant,
        run=run,
        rows=len(rows),
        graded=len(graded),
        accuracy=float(right.mean()) if len(right) else nan,
        latency_ms=float(np.mean([row[1] for row in rows])) if rows else nan,
        error_rate=float(np.mean([row[2] for row in rows])) if rows else nan,
    )
    return side, right


def _welch(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Two-sided p of Welch's t-test; ``nan`` with too few rows. Two sides without any spread differ surely or not."""
    from scipy.stats import t

    if min(len(a), len(b)) < MIN_TESTED:
        return float("nan")
    gap = float(b.mean() - a.mean())
    errors = np.array([side.var(ddof=1) / len(side) for side in (a.astype(float), b.astype(float))])
    if not errors.sum():
        return float(gap == 0)
    freedom = errors.sum() ** 2 / (errors**2 / (np.array([len(a), len(b)]) - 1)).sum()
    return float(2 * t.sf(abs(gap) / np.sqrt(errors.sum()), freedom))
