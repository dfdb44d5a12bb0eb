"""Decision layer: from a model's probabilities to a label, or to none, in four steps.

1. *Calibration*: what the model says becomes a probability that can be believed (`calibration`).
2. *Boost*: a class that must not be missed gets its probability multiplied, for the choice only.
3. *Costs*: the label with the least expected cost is chosen (Bayes decision). With equal costs that is the
   most probable class; with ordinal costs an error between neighbours costs less than one across.
4. *Threshold*: where the calibrated probability of the chosen label is below it, nothing is decided.

A decision belongs to a run and is written beside its model as ``thresholds.yaml``, which people may read and
edit: see `write_decision` for its form. A file with a mistake is refused, never half used.

Conventions: ``costs[i][j]`` is the cost of answering class j where class i is true; 0 on the diagonal.
Confidence is always the calibrated probability of the chosen label, without boost.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import EarmarkError, RunError, UsageError
from earmark.models import calibration
from earmark.models.calibration import Calibrator, Doubles, Identity
from earmark.models.constraints import closest
from earmark.models.estimator import Ints

__all__ = [
    "THRESHOLDS_FILE",
    "Costs",
    "Decided",
    "Decision",
    "ordinal_costs",
    "read_costs",
    "read_decision",
    "read_record",
    "write_decision",
    "zero_one_costs",
]

THRESHOLDS_FILE = "thresholds.yaml"
FORMAT = 1

Costs = tuple[tuple[float, ...], ...]

_TIE = 1e-12
"""Expected costs nearer than this share of the largest cost are equal: rounding must not choose a label."""

_HEADER = f"""\
# {THRESHOLDS_FILE}: from this run's probabilities to labels. Written by `earmark thresholds`, read by `predict`.
# calibration  none, temperature or isotonic, fitted on out-of-fold probabilities
# boost        multiplies the probability of a class before the label is chosen
# costs        of answering the inner class where the outer one is true; the least expected cost wins
# threshold    confidence below which nothing is decided; 0 decides always
# record       how it was chosen, and what that gained; not read by predict
"""


@dataclass(frozen=True)
class Decided:
    """What a decision made of n rows.

    Attributes
    ----------
    labels : ndarray of int, shape (n,)
        Position of the chosen class, also where the confidence is too low.
    confidence : ndarray, shape (n,)
        Calibrated probability of the chosen class.
    decided : ndarray of bool, shape (n,)
    probabilities : ndarray, shape (n, n_classes)
        Calibrated.
    """

    labels: Ints
    confidence: Doubles
    decided: npt.NDArray[np.bool_]
    probabilities: Doubles


@dataclass(frozen=True)
class Decision:
    """How probabilities become labels; the default takes the most probable class.

    Parameters
    ----------
    classes : tuple of str
        In the order of the probabilities.
    calibrator : Calibrator
    costs : tuple of tuple of float
        Shape (n_classes, n_classes), rows true and columns answered; 0 on the diagonal, none negative.
        Default: 1 for every error.
    boost : tuple of float
        Positive, one per class. Default: 1.
    threshold : float
        0 to 1.
    """

    classes: tuple[str, ...]
    calibrator: Calibrator = field(default_factory=Identity)
    costs: Costs = ()
    boost: tuple[float, ...] = ()
    threshold: float = 0.0

    def __post_init__(self) -> None:
        n_classes = len(self.classes)
        costs = self.costs or zero_one_costs(n_classes)
        object.__setattr__(self, "costs", checked_costs(costs, n_classes))
        object.__setattr__(self, "boost", tuple(float(b) for b in self.boost or (1.0,) * n_classes))
        if len(self.boost) != n_classes or not all(math.isfinite(b) and b > 0 for b in self.boost):
            raise UsageError(
                f"The boost is {self.boost}; expected {n_classes} positive numbers, one for each of "
                f"{', '.join(self.classes)}."
            )
        if not 0 <= self.threshold <= 1:
            raise UsageError(f"The threshold is {self.threshold}; expected 0 to 1.")

    def with_threshold(self, threshold: float) -> Self:
        """The same decision with another threshold."""
        return replace(self, threshold=threshold)

    def decide(self, p: npt.ArrayLike) -> Decided:
        """Decide on rows of probabilities, shape (n, n_classes).

        Of equal expected costs the class with the greater boosted probability wins, then the first. A class
        of probability 0 is never chosen.
        """
        q = self.calibrator.transform(p)
        if q.shape[1] != len(self.classes):
            raise UsageError(
                f"The probabilities have {q.shape[1]} columns; expected {len(self.classes)}, one for each of "
                f"{', '.join(self.classes)}."
            )
        labels = chosen_labels(q * np.asarray(self.boost), np.asarray(self.costs))
        confidence = q[np.arange(len(q)), labels]
        return Decided(labels, confidence, confidence >= self.threshold, q)

    def to_dict(self) -> dict[str, Any]:
        """Plain types, as in ``thresholds.yaml``."""
        return {
            "format": FORMAT,
            "classes": list(self.classes),
            "calibration": self.calibrator.to_dict(),
            "boost": dict(zip(self.classes, self.boost, strict=True)),
            "costs": {
                true: dict(zip(self.classes, row, strict=True))
                for true, row in zip(self.classes, self.costs, strict=True)
            },
            "threshold": self.threshold,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; UsageError names what is unknown, missing or of a wrong form."""
        known = ("format", "classes", "calibration", "boost", "costs", "threshold")
        _check_keys(record, known, "thresholds")
        if record["format"] != FORMAT:
            raise UsageError(f"The format is {record['format']!r}; this version reads {FORMAT}.")
        classes = record["classes"]
        if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
            raise UsageError(f"`classes` is {classes!r}; expected a list of names.")
        if not isinstance(record["calibration"], Mapping):
            raise UsageError(f"`calibration` is {record['calibration']!r}; expected a table with `method`.")
        return cls(
            tuple(classes),
            calibration.from_dict(record["calibration"]),
            _costs_of(record["costs"], classes),
            _per_class(record["boost"], classes, "boost"),
            _number(record["threshold"], "threshold"),
        )


def chosen_labels(scores: Doubles, costs: Doubles) -> Ints:
    """Position of the class of least expected cost, shape (n,); scores need not sum to 1."""
    expected = np.where(scores > 0, scores @ costs, np.inf)
    slack = _TIE * costs.max(initial=0.0) * scores.sum(axis=1, keepdims=True)
    tied = expected <= expected.min(axis=1, keepdims=True, initial=np.inf) + slack
    return np.asarray(np.where(tied, scores, -1.0).argmax(axis=1), dtype=np.int64)


def zero_one_costs(n_classes: int) -> Costs:
    """1 for every error: the most probable class wins."""
    return tuple(tuple(float(i != j) for j in range(n_classes)) for i in range(n_classes))


def ordinal_costs(n_classes: int) -> Costs:
    """Distance in class order: 1 between neighbours, 2 between the ends of three ordered classes."""
    return tuple(tuple(float(abs(i - j)) for j in range(n_classes)) for i in range(n_classes))


def checked_costs(costs: Sequence[Sequence[float]], n_classes: int) -> Costs:
    """Costs as tuples; UsageError if their shape, diagonal or a value is wrong."""
    rows = [list(row) for row in costs]
    table = np.array(rows, dtype=np.float64) if len({len(row) for row in rows}) == 1 else np.empty(0)
    if table.shape != (n_classes, n_classes) or not np.isfinite(table).all() or (table < 0).any():
        raise UsageError(
            f"The costs are {rows}; expected {n_classes} x {n_classes} finite numbers, none negative."
        )
    if table.diagonal().any():
        raise UsageError(f"The costs of right answers are {table.diagonal().tolist()}; expected 0.")
    return tuple(tuple(float(cost) for cost in row) for row in table)


def read_costs(path: str | Path, classes: Sequence[str]) -> Costs:
    """Costs from a YAML or JSON file: true class -> answered class -> cost, every pair of two classes.

    Raises
    ------
    UsageError
        The file cannot be read, names an unknown class, or misses a pair.
    """
    record = _load(Path(path), UsageError)
    filled = {true: {true: 0.0, **row} if isinstance(row, Mapping) else row for true, row in record.items()}
    return checked_costs(_costs_of(filled, classes), len(classes))


def write_decision(folder: str | Path, decision: Decision, record: Mapping[str, Any] | None = None) -> Path:
    """Write ``thresholds.yaml`` into a run's folder, whole or not at all.

    A file that is there with other content is kept as ``thresholds.1.yaml``, or the next free number: it may
    have been edited by hand.

    Parameters
    ----------
    folder : path
    decision : Decision
    record : mapping, optional
        How the decision was chosen: plain types, kept for people and for `read_record`.
    """
    import yaml

    path = Path(folder) / THRESHOLDS_FILE
    document = decision.to_dict() | ({"record": dict(record)} if record else {})
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    data = (_HEADER + text).encode()
    if path.is_file() and path.read_bytes() != data:
        write_bytes_atomic(_free_name(path), path.read_bytes())
    write_bytes_atomic(path, data)
    return path


def read_decision(folder: str | Path, classes: Sequence[str] | None = None) -> Decision | None:
    """The decision of a run's folder, or None if it has none.

    Parameters
    ----------
    folder : path
    classes : sequence of str, optional
        What the run's model answers; a decision of other classes is refused.

    Raises
    ------
    RunError
        The file cannot be read, has unknown or missing keys, or values that make no decision.
    """
    path = Path(folder) / THRESHOLDS_FILE
    if not path.is_file():
        return None
    record = {key: value for key, value in _load(path, RunError).items() if key != "record"}
    try:
        decision = Decision.from_dict(record)
        if classes is not None and decision.classes != tuple(classes):
            raise UsageError(
                f"It decides {', '.join(decision.classes)}; the run answers {', '.join(classes)}."
            )
        decision.decide(np.full((1, len(decision.classes)), 1 / len(decision.classes)))
    except UsageError as error:
        raise RunError(
            f"`{path}` cannot be used: {error} Correct it, or delete it and run `earmark thresholds` again."
        ) from error
    return decision


def read_record(folder: str | Path) -> dict[str, Any] | None:
    """How the decision of a run's folder was chosen and what it gained, or None if that is not known."""
    path = Path(folder) / THRESHOLDS_FILE
    record = _load(path, RunError).get("record") if path.is_file() else None
    return dict(record) if isinstance(record, Mapping) else None


def _free_name(path: Path) -> Path:
    number = 1
    while (taken := path.with_name(f"{path.stem}.{number}{path.suffix}")).exists():
        number += 1
    return taken


def _load(path: Path, kind: type[EarmarkError]) -> dict[str, Any]:
    import yaml

    try:
        record = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise kind(f"`{path}` cannot be read ({error}). Expected YAML. Correct the file.") from error
    if not isinstance(record, dict):
        raise kind(f"`{path}` holds {type(record).__name__}; expected a table of names and values.")
    return record


def _costs_of(record: Any, classes: Sequence[str]) -> Costs:
    _check_keys(record, classes, "costs")
    return tuple(_per_class(record[true], classes, f"costs.{true}") for true in classes)


def _per_class(record: Any, classes: Sequence[str], where: str) -> tuple[float, ...]:
    _check_keys(record, classes, where)
    return tuple(_number(record[name], f"{where}.{name}") for name in classes)


def _check_keys(record: Any, known: Sequence[str], where: str) -> None:
    if not isinstance(record, Mapping):
        raise UsageError(f"`{where}` is {record!r}; expected {', '.join(known)} with a value each.")
    unknown = [f"{key}{closest(str(key), known)}" for key in record if key not in known]
    missing = [key for key in known if key not in record]
    problems = [f"`{where}` has the unknown {', '.join(unknown)}."] if unknown else []
    problems += [f"`{where}` lacks {', '.join(missing)}."] if missing else []
    if problems:
        raise UsageError(f"{' '.join(problems)} Expected {', '.join(known)}.")


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"`{where}` is {value!r}; expected a number.")
    return float(value)
