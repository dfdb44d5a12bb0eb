"""Whether the market has moved away from what a model was trained on: inputs, predictions, accuracy.

* *Inputs*: two-sample Kolmogorov-Smirnov test per feature. Of a hundred features ten would alarm by chance at p < .1,
  so p-values are corrected for the number of tests (Benjamini-Hochberg) [1]_. Rows of a series are not independent, and
  a test that takes them for it alarms always: each sample counts by its effective size, its length over its integrated
  autocorrelation time [2]_. A feature whose samples are worth fewer than `MIN_EFFECTIVE` rows is not tested.
* *Predictions*: population stability index of the expected class, 0 to 2, in ten bins.
* *Accuracy*: by how much it fell, where labels are known.

Conventions: rows are in order of time; the history is JSON lines, newest last.

References
----------
.. [1] Benjamini, Hochberg. Controlling the false discovery rate. Journal of the Royal Statistical Society B 57(1),
   1995.
.. [2] Sokal. Monte Carlo methods in statistical mechanics. Functional Integration, Springer, 1997, section 3.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import InputError, UsageError

__all__ = [
    "BASELINE_ROWS",
    "HISTORY",
    "WINDOW_ROWS",
    "Drift",
    "FeatureDrift",
    "append_history",
    "assess",
    "effective_size",
    "feature_drift",
    "latest",
    "population_stability",
    "read_history",
    "severity",
]

FloatArray = NDArray[np.float64]
Severity = Literal["low", "medium", "high", "critical"]

BASELINE_ROWS = 50_000
WINDOW_ROWS = 10_000
"""Newest rows compared; half of them are needed."""
FALSE_DISCOVERY_RATE = 0.1
MIN_EFFECTIVE = 20
"""Fewer independent values say nothing of a distribution."""
N_BINS = 10
HISTORY = 1000
"""Assessments kept."""

_WINDOW_TAUS = 5
"""Sokal's window: autocorrelations are summed over so many autocorrelation times."""
_SMALLEST_SHARE = 1e-4
"""Stands for an empty bin, whose logarithm would be infinite."""


@dataclass(frozen=True)
class FeatureDrift:
    """How far a feature moved.

    Attributes
    ----------
    feature : str
    statistic : float
        Largest distance of the two distribution functions, 0 to 1; ``nan`` if not tested.
    p, q : float
        Of the test, and corrected for the number of tests.
    effective : float
        Independent values in the smaller sample.
    drifted : bool
        Whether q is below the false discovery rate.
    """

    feature: str
    statistic: float
    p: float
    q: float
    effective: float
    drifted: bool


@dataclass(frozen=True)
class Drift:
    """One assessment.

    Attributes
    ----------
    features : tuple of FeatureDrift
        The most surely drifted first.
    share_drifting : float
        Of the features that could be tested; ``nan`` if none could.
    psi : float
        Of the predictions.
    accuracy_drop : float or None
        None where labels are unknown.
    severity : str
    """

    features: tuple[FeatureDrift, ...]
    share_drifting: float
    psi: float
    accuracy_drop: float | None
    severity: Severity

    def to_json(self) -> dict[str, Any]:
        """Fields as plain values; ``nan`` becomes None."""
        record = asdict(self)
        record["features"] = [_plain(feature) for feature in record["features"]]
        return _plain(record)


def latest(X: NDArray[Any], limit: int = WINDOW_ROWS) -> NDArray[Any]:
    """The last `limit` rows; half of them must be there.

    Raises
    ------
    UsageError
        Fewer than half.
    """
    if len(X) < limit / 2:
        raise UsageError(
            f"Insufficient data: {len(X)} samples, need at least {limit // 2} to look for drift. Collect more data."
        )
    return X[-limit:]


def assess(
    baseline: ArrayLike,
    current: ArrayLike,
    columns: Sequence[str],
    *,
    predictions: tuple[ArrayLike, ArrayLike],
    accuracies: tuple[float, float] | None = None,
) -> Drift:
    """Compare what was with what is.

    Parameters
    ----------
    baseline, current : array, shape (n, n_features)
        In order of time; see `latest`.
    columns : sequence of str
    predictions : pair of array, shape (n, 3)
        Probabilities then and now.
    accuracies : pair of float, optional
        Then and now.
    """
    features = feature_drift(baseline, current, columns)
    tested = [feature.drifted for feature in features if not np.isnan(feature.p)]
    psi = population_stability(*(_expected_class(p) for p in predictions))
    drop = None if accuracies is None else accuracies[0] - accuracies[1]
    share = float(np.mean(tested)) if tested else float("nan")
    return Drift(features, share, psi, drop, severity(psi, drop))


def feature_drift(
    baseline: ArrayLike,
    current: ArrayLike,
    columns: Sequence[str],
    *,
    false_discovery_rate: float = FALSE_DISCOVERY_RATE,
) -> tuple[FeatureDrift, ...]:
    """Test every feature; parameters as in `assess`. Values that are not finite are left out of their feature."""
    then, now = np.asarray(baseline, dtype=np.float64), np.asarray(current, dtype=np.float64)
    if then.ndim != 2 or now.ndim != 2 or not then.shape[1] == now.shape[1] == len(columns):
        raise UsageError(
            f"Baseline and window have shapes {then.shape} and {now.shape} for {len(columns)} columns; expected a "
            "column each. Take both from the same view."
        )
    tests = [_kolmogorov_smirnov(then[:, j], now[:, j]) for j in range(len(columns))]
    q = _corrected(np.array([p for _, p, _ in tests]))
    rows = [
        FeatureDrift(name, statistic, p, float(q_), size, bool(q_ < false_discovery_rate))
        for name, (statistic, p, size), q_ in zip(columns, tests, q, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: (np.isnan(row.q), row.q, -row.statistic)))


def effective_size(values: FloatArray) -> float:
    """Independent values that a series is worth: its length over its integrated autocorrelation time.

    Autocorrelations are those of the ranks, since the test compares ranks. A constant series is worth one value.
    """
    from scipy.stats import rankdata

    n = len(values)
    if n < 2 or np.ptp(values) == 0:
        return float(min(n, 1))
    ranks = rankdata(values) - (n + 1) / 2
    spectrum = np.abs(np.fft.rfft(ranks, 2 * n)) ** 2
    correlation = np.fft.irfft(spectrum)[:n]
    tau = 2 * np.cumsum(correlation / correlation[0]) - 1
    within = np.arange(n) >= _WINDOW_TAUS * tau
    length = tau[int(np.argmax(within))] if within.any() else float(n)
    return float(n / max(length, 1.0))


def population_stability(then: ArrayLike, now: ArrayLike, *, low: float = 0.0, high: float = 2.0) -> float:
    """Population stability index in ten bins of equal width from `low` to `high`; ``nan`` where a side is empty.

    Values outside fall into the outer bins; an empty bin counts as a share of 1e-4.
    """
    shares = []
    for side in (then, now):
        values = np.asarray(side, dtype=np.float64)
        if not len(values):
            return float("nan")
        count, _ = np.histogram(np.clip(values, low, high), bins=N_BINS, range=(low, high))
        shares.append(np.maximum(count / len(values), _SMALLEST_SHARE))
    return float(np.sum((shares[1] - shares[0]) * np.log(shares[1] / shares[0])))


def severity(psi: float, accuracy_drop: float | None) -> Severity:
    """Name of a state: critical above .5 or a drop of .05, high above .3 or .025, medium above .2, else low."""
    drop = 0.0 if accuracy_drop is None else accuracy_drop
    if psi > 0.5 or drop > 0.05:
        return "critical"
    if psi > 0.3 or drop > 0.025:
        return "high"
    return "medium" if psi > 0.2 else "low"


def read_history(path: str | Path) -> list[dict[str, Any]]:
    """Records of a history, oldest first; empty without a file."""
    path = Path(path)
    if not path.is_file():
        return []
    records = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise InputError(
                f"Line {number} of `{path}` is not JSON ({error}). Expected one assessment per line: remove the line."
            ) from error
    return records


def append_history(path: str | Path, drift: Drift, **about: Any) -> None:
    """Add an assessment with what `about` says of it (time, run); the newest 1000 are kept."""
    records = [*read_history(path), {**about, **drift.to_json()}][-HISTORY:]
    lines = (json.dumps(record, ensure_ascii=False, allow_nan=False) for record in records)
    write_bytes_atomic(path, ("\n".join(lines) + "\n").encode())


def _kolmogorov_smirnov(then: FloatArray, now: FloatArray) -> tuple[float, float, float]:
    """Statistic, p-value by effective sizes, smaller effective size."""
    from scipy.special import kolmogorov
    from scipy.stats import ks_2samp

    then, now = then[np.isfinite(then)], now[np.isfinite(now)]
    if not len(then) or not len(now):
        return float("nan"), float("nan"), 0.0
    statistic = float(ks_2samp(then, now, method="asymp").statistic)
    if np.ptp(then) == 0 == np.ptp(now):  # two constants need no test
        return statistic, 1.0 - statistic, float(min(len(then), len(now)))
    n, m = effective_size(then), effective_size(now)
    if min(n, m) < MIN_EFFECTIVE:
        return statistic, float("nan"), min(n, m)
    return statistic, float(kolmogorov(statistic * np.sqrt(n * m / (n + m)))), min(n, m)


def _corrected(p: FloatArray) -> FloatArray:
    """Benjamini-Hochberg over the tests that were made."""
    from scipy.stats import false_discovery_control

    q, made = p.copy(), ~np.isnan(p)
    if made.any():
        q[made] = false_discovery_control(p[made], method="bh")
    return q


def _expected_class(probabilities: ArrayLike) -> FloatArray:
    p = np.asarray(probabilities, dtype=np.float64)
    expected: FloatArray = p @ np.arange(p.shape[1])
    return expected


def _plain(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and np.isnan(value) else value
        for name, value in record.items()
    }
