"""How much the features tell of the label, one by one: balance, constants, gaps, correlation, separation, redundancy.

References
----------
Fisher's criterion of a feature is its variance between the classes over that within them: Duda, Hart, Stork, *Pattern
Classification*, 2nd ed., 3.8.2. A feature separates above `FISHER_GOOD`.

Score, 0 .. 100: balance (25, 20, 10 or 5 at a ratio of classes below 1.5, 3, 5 or above) + min(25, 100 x mean absolute
correlation with the label) + 25 x share of features that separate + 25 x share of healthy ones. It describes single
features on the rows it is given, and promises nothing of a model.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt

from earmark.errors import InputError
from earmark.store.atomic import write_atomic
from earmark.tasks.market.schema import SCHEMA
from earmark.tasks.market.validation.checks import NULL_SHARE, Selection
from earmark.tasks.market.validation.labels import CLASS_NAMES, class_counts, class_ratio

__all__ = ["FISHER_GOOD", "FeatureQuality", "QualityReport", "feature_quality", "write_quality"]

FISHER_GOOD = 0.01
REDUNDANT = 0.95
"""Absolute correlation of two features from which one of them is redundant."""
MAX_ROWS = 200_000
"""Rows that are used: every k-th where there are more."""

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FeatureQuality:
    """One feature; `correlation` is Pearson's with the class 0, 1, 2."""

    name: str
    null_share: float
    constant: bool
    correlation: float
    fisher: float
    healthy: bool
    separates: bool


@dataclass(frozen=True)
class QualityReport:
    """All features, the pairs that repeat one another, and the score."""

    horizon_s: int
    rows: int
    classes: dict[str, int]
    class_ratio: float
    score: float
    features: tuple[FeatureQuality, ...]
    redundant: tuple[tuple[str, str, float], ...]


def feature_quality(selection: Selection) -> QualityReport:
    """Judge the features of the labelled rows.

    Raises
    ------
    InputError
        No row has a label at the horizon.
    """
    names = [name for name in SCHEMA.inputs if name in selection.rows.columns]
    direction = f"future_direction_{selection.horizon_s}s"
    if selection.labels is None or direction not in selection.labels.columns:
        raise InputError(
            f"Future labels = None at {selection.horizon_s} s. Expected labels to compare the features with. Run: "
            "earmark label market"
        )
    y = selection.labels[direction].cast(float).to_numpy()
    known = np.flatnonzero(np.isfinite(y))
    if len(known) < 2:
        raise InputError(
            f"Insufficient data: {len(known)} samples with a label at {selection.horizon_s} s, need at least 2. Run: "
            "earmark label market"
        )
    known = known[:: -(-len(known) // MAX_ROWS)]
    X = selection.rows[known].select(names).to_numpy().astype(np.float64)
    features = _features(names, X, y[known])
    counts = class_counts(selection.labels, selection.horizon_s)
    return QualityReport(
        selection.horizon_s,
        len(known),
        dict(zip(CLASS_NAMES, counts, strict=True)),
        class_ratio(counts),
        round(_score(features, class_ratio(counts)), 1),
        features,
        _redundant(names, X),
    )


def write_quality(report: QualityReport, folder: Path) -> tuple[Path, Path]:
    """Write ``quality-<time>.md`` and ``.json``, time in UTC; the two files."""
    stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    markdown, document = folder / f"quality-{stamp}.md", folder / f"quality-{stamp}.json"
    ratio = report.class_ratio if np.isfinite(report.class_ratio) else None
    text = json.dumps({**asdict(report), "class_ratio": ratio}, indent=2, allow_nan=False)
    write_atomic(document, text.encode() + b"\n")
    write_atomic(markdown, _markdown(report).encode())
    return markdown, document


def _features(names: list[str], X: Float64, y: Float64) -> tuple[FeatureQuality, ...]:
    found = []
    for index, name in enumerate(names):
        x = X[:, index]
        present = np.isfinite(x)
        missing = 1 - float(present.mean())
        constant = not present.any() or bool(np.ptp(x[present]) == 0)
        correlation = 0.0 if constant else _correlation(x[present], y[present])
        fisher = 0.0 if constant else _fisher(x[present], y[present])
        healthy = not constant and missing <= NULL_SHARE
        found.append(
            FeatureQuality(
                name, round(missing, 4), constant, correlation, fisher, healthy, fisher > FISHER_GOOD
            )
        )
    return tuple(found)


def _correlation(x: Float64, y: Float64) -> float:
    """Pearson's; 0 where one of them does not vary."""
    x, y = x - x.mean(), y - y.mean()
    norm = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / norm if norm > 0 else 0.0


def _fisher(x: Float64, y: Float64) -> float:
    """Variance between classes over that within; 0 where a class has no spread and the means agree."""
    between = within = 0.0
    for label in np.unique(y):
        part = x[y == label]
        between += len(part) * (part.mean() - x.mean()) ** 2
        within += len(part) * part.var()
    return float(between / within) if within > 0 else float(np.finfo(np.float64).max) if between > 0 else 0.0


def _redundant(names: list[str], X: Float64) -> tuple[tuple[str, str, float], ...]:
    """Pairs of columns above `REDUNDANT`, over rows in which both are known."""
    usable = [i for i in range(X.shape[1]) if np.isfinite(X[:, i]).all() and np.ptp(X[:, i]) > 0]
    if len(usable) < 2:
        return ()
    correlation = np.atleast_2d(np.corrcoef(X[:, usable], rowvar=False))
    pairs = np.argwhere(np.triu(np.abs(correlation) > REDUNDANT, k=1))
    return tuple(
        (names[usable[i]], names[usable[j]], round(float(correlation[i, j]), 4)) for i, j in pairs.tolist()
    )


def _score(features: tuple[FeatureQuality, ...], ratio: float) -> float:
    balance = 25 if ratio < 1.5 else 20 if ratio < 3 else 10 if ratio < 5 else 5
    if not features:
        return balance
    correlation = float(np.mean([abs(feature.correlation) for feature in features]))
    separating = float(np.mean([feature.separates for feature in features]))
    healthy = float(np.mean([feature.healthy for feature in features]))
    return balance + min(25.0, 100 * correlation) + 25 * separating + 25 * healthy


def _markdown(report: QualityReport) -> str:
    classes = ", ".join(f"{name} {count}" for name, count in report.classes.items())
    lines = [
        "# Feature quality",
        "",
        f"Score {report.score:g} of 100, horizon {report.horizon_s} s, {report.rows} rows. Classes: {classes} (ratio "
        f"{report.class_ratio:.2f}).",
        "",
        "| feature | missing | constant | correlation | Fisher | healthy |",
        "|---|---|---|---|---|---|",
    ]
    ranked = sorted(report.features, key=lambda feature: -feature.fisher)
    lines += [
        f"| {f.name} | {f.null_share:.1%} | {_yes(f.constant)} | {f.correlation:+.4f} | {f.fisher:.5g} "
        f"| {_yes(f.healthy)} |"
        for f in ranked
    ]
    lines += ["", "## Redundant pairs", ""]
    lines += [f"- {a}, {b}: {r:+.4f}" for a, b, r in report.redundant] or ["None."]
    return "\n".join(lines) + "\n"


def _yes(value: bool) -> str:
    return "yes" if value else "no"
