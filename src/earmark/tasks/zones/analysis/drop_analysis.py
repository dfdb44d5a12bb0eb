"""What drops tell about zones: are they found, do they differ between zones, does a model need them?

The analysis answers four questions about the training rows of a run, and never looks at the sealed test:

1. *Detection.* Where the times of drops are known (a generated library), precision, recall and F1 of each detector,
   and its false alarms in silence and noise (`earmark.tasks.zones.analysis.drop_detection`).
2. *Zones.* Does each drop column differ between zones (`earmark.tasks.zones.analysis.zone_differences`)?
3. *Models.* The run's algorithm on the same folds with all columns, the drop columns alone, and none of them.
4. *Sources.* Training tracks against auxiliary ones.

Conventions: drops are counted per minute throughout, since a count grows with the length of the excerpt. Tracks
of one group (artist) are not independent: questions 2 and 4 take one mean per group and zone (or source), and
intervals of question 3 draw whole groups.

Tables: ``drop_analysis.csv`` (a row per drop column), ``drop_column_sets.csv``, ``drop_detection.csv``,
``drop_false_alarms.csv``, ``drop_sources.csv`` where there is what they tell of, ``drop_sweep.csv``
(`earmark.tasks.zones.analysis.drop_sweep`). Picture: ``drop_analysis.png``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earmark.data.dataset import Dataset
from earmark.evaluation.importance import Importance, permutation_importance
from earmark.evaluation.intervals import bootstrap_interval, paired_difference
from earmark.evaluation.metrics import METRICS
from earmark.evaluation.plots import save_png
from earmark.tasks.task import Analysis, AnalysisRequest
from earmark.tasks.zones.analysis import drop_figure
from earmark.tasks.zones.analysis.drop_detection import (
    DETECTORS,
    TOLERANCE_S,
    Detection,
    compare_times,
    detect,
    drop_curves,
    false_alarms_per_minute,
    level_curve,
    planted_drops,
)
from earmark.tasks.zones.analysis.drop_sweep import (
    MIN_MINUTES,
    DropSweep,
    separation,
    sweep_drops,
)
from earmark.tasks.zones.analysis.zone_differences import group_means, zone_differences
from earmark.tasks.zones.features import HOP_S, drops, drops13
from earmark.training.crossval import OutOfFold, cross_validate
from earmark.training.recipe import Recipe

if TYPE_CHECKING:
    from earmark.data.manifest import Manifest
    from earmark.features.table import FeatureTable
    from earmark.tasks.project import Project

__all__ = ["DropRows", "drop_analysis", "drop_rows", "is_drop_column"]

FloatArray = NDArray[np.float64]
Row = dict[str, Any]

COUNTS = ("zones.drops13.drop_count", "zones.drops13.drop_in_first_half", "zones.drops13.drop_in_second_half")
FREQUENCY, CONTRAST, INTENSITY = (
    f"zones.drops.{name}" for name in ("drop_frequency", "drop_contrast_mean", "drop_intensity")
)
ALL_DROPS = "all drop columns together"
COLUMN_SETS = ("all columns", "drop columns only", "without drop columns")


@dataclass(frozen=True)
class DropRows:
    """Drop columns of tracks, counts turned into counts per minute, with the curves that detectors search.

    Parameters
    ----------
    ids : tuple of str, length n
    columns : tuple of str, length d
    X : ndarray, shape (n, d)
    levels, curves : mapping of id to ndarray
        Of `level_curve` and `drop_curves`.
    uris : mapping of id to str
    failed : tuple of str
        Tracks that could not be read, with the reason.
    """

    ids: tuple[str, ...]
    columns: tuple[str, ...]
    X: NDArray[np.float32]
    levels: Mapping[str, NDArray[Any]]
    curves: Mapping[str, NDArray[Any]]
    uris: Mapping[str, str]
    failed: tuple[str, ...]

    def column(self, name: str) -> FloatArray:
        """Values of one column, shape (n,)."""
        return np.asarray(self.X[:, self.columns.index(name)], dtype=np.float64)


def drop_analysis(request: AnalysisRequest) -> Analysis:
    """Analyse the drops of a run's training tracks; options: ``tolerance_s`` (2), ``truth`` (path of truth.json).

    Parameters
    ----------
    request : AnalysisRequest

    Returns
    -------
    Analysis
        Tables by file name, and the picture, which is written into the request's folder.

    Raises
    ------
    UsageError
        No training track can be read, or an option does not make sense.
    """
    manifest = request.project.manifest
    rows = drop_rows(request.project, manifest, request.dataset.ids)
    dataset = _with_rows(request.dataset, rows.ids)
    tolerance_s = float(request.options.get("tolerance_s", TOLERANCE_S))
    truth = request.options.get("truth")
    sweep = sweep_drops(dataset, rows.levels, rows.uris, tolerance_s=tolerance_s, truth=truth)
    detection = _detection(rows, tolerance_s, truth)
    models = _models(request, dataset, rows)
    differences = zone_differences(rows.X, rows.columns, dataset.y, dataset.groups, dataset.classes)
    sources = _sources(request, manifest, dataset, rows)
    tables: dict[str, Sequence[Row]] = {
        "drop_analysis.csv": _with_importance(differences, models.importance),
        "drop_column_sets.csv": models.rows,
        "drop_detection.csv": [{"detector": name} | found.to_row() for name, found in detection.items()],
        "drop_false_alarms.csv": false_alarms_per_minute() if detection else [],
        "drop_sources.csv": sources,
        "drop_sweep.csv": sweep.rows(),
    }
    sentences = (
        *_detection_sentences(detection, tables["drop_false_alarms.csv"], tolerance_s),
        *_zone_sentences(differences, rows, dataset),
        *models.sentences,
        *_source_sentences(sources, request.auxiliary),
        *sweep.sentences(),
        *_failure_sentences(rows),
    )
    tables = {name: table for name, table in tables.items() if table}
    figure = _figure(request, dataset, rows, models, sweep)
    picture = save_png(figure, request.folder / "drop_analysis.png")
    return Analysis("Drops", sentences, tables, (picture,))


def drop_rows(project: Project, manifest: Manifest, ids: Iterable[str]) -> DropRows:
    """Drop columns and curves of tracks of a manifest, through the project's cache."""
    items = list(manifest.subset(ids))
    table = project.extract([drops, drops13, level_curve, drop_curves], items)
    levels = dict(zip(table.ids, table.frames(level_curve.name), strict=True))
    curves = dict(zip(table.ids, table.frames(drop_curves.name), strict=True))
    minutes = np.array([len(levels[id]) * HOP_S / 60 for id in table.ids])
    columns, values = _per_minute(table, minutes)
    failed = tuple(f"{failure.uri}: {failure.error}" for failure in table.failures)
    return DropRows(table.ids, columns, values, levels, curves, {item.id: item.uri for item in items}, failed)


def is_drop_column(name: str) -> bool:
    """Whether a column, as ``group.column``, tells of drops: by its group, or by its name."""
    group, _, column = name.rpartition(".")
    return group in (drops.name, drops13.name) or "drop" in column


@dataclass(frozen=True)
class _Models:
    """Scores of the column sets, and what each drop column is worth to the model on all columns."""

    rows: list[Row]
    importance: tuple[Importance, ...]
    sentences: tuple[str, ...]


def _models(request: AnalysisRequest, dataset: Dataset, rows: DropRows) -> _Models:
    """Cross-validate the run's recipe on the three column sets, on the same rows and folds."""
    sets = _column_sets(dataset, rows)
    recipe = _recipe(request.run.config["recipe"])
    metric = request.run.config["rank_by"]
    done = {name: _out_of_fold(recipe, data) for name, data in sets.items()}
    table = [_score_row(name, sets[name], found, metric) for name, found in done.items()]
    everything, found = sets[COLUMN_SETS[0]], done[COLUMN_SETS[0]]
    own = [name for name in everything.columns if is_drop_column(name)]
    importance = permutation_importance(
        dict(zip(found.names, found.classifiers, strict=True)),
        everything.X,
        everything.columns,
        everything.y,
        everything.folds,
        metric=metric,
        seed=recipe.seed,
        units={name: [name] for name in own} | {ALL_DROPS: own},
    )
    words = metric.replace("_", " ")
    sentences = [
        f"{row['columns']}: {words} {row[metric]:.3f} [{row['low']:.3f}, {row['high']:.3f}]" for row in table
    ]
    sentences[-1] += "."
    if COLUMN_SETS[2] in done:
        gain = paired_difference(
            METRICS[metric],
            dataset.y,
            found.probabilities,
            done[COLUMN_SETS[2]].probabilities,
            dataset.groups,
        )
        verdict = "a clear difference" if gain.is_clear else "no clear difference"
        sentences.append(
            f"Drop columns change {words} by {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]: {verdict}."
        )
    [together] = [row for row in importance if row.feature == ALL_DROPS]
    sentences.append(
        f"Scrambling {ALL_DROPS} costs the model {together.importance:.3f} ± {together.spread:.3f} of {words}."
    )
    return _Models(table, importance, ("; ".join(sentences[: len(table)]), *sentences[len(table) :]))


def _column_sets(dataset: Dataset, rows: DropRows) -> dict[str, Dataset]:
    """The run's columns and the drop columns of `rows`; drop columns alone; the run's columns without any."""
    own = [name for name in dataset.columns if name not in rows.columns and name not in COUNTS]
    everything = replace(
        dataset.select(own),
        columns=(*own, *rows.columns),
        X=np.concatenate([dataset.select(own).X, rows.X], axis=1),
    )
    without = [name for name in own if not is_drop_column(name)]
    found = {
        COLUMN_SETS[0]: everything,
        COLUMN_SETS[1]: everything.select([name for name in everything.columns if is_drop_column(name)]),
    }
    return found | ({COLUMN_SETS[2]: everything.select(without)} if without else {})


def _recipe(settings: Mapping[str, Any]) -> Recipe:
    """The algorithm that a run records, on training rows alone, however the run used auxiliary ones."""
    names = ("algorithm", "params", "preprocess", "class_weight", "validation_fraction", "seed")
    return Recipe(**{name: settings[name] for name in names if name in settings})


def _out_of_fold(recipe: Recipe, dataset: Dataset) -> OutOfFold:
    return cross_validate(
        lambda: recipe.make(dataset.classes),
        dataset,
        class_weight=recipe.class_weight,
        validation_fraction=recipe.validation_fraction,
        seed=recipe.seed,
    )


def _score_row(name: str, dataset: Dataset, found: OutOfFold, metric: str) -> Row:
    interval = bootstrap_interval(METRICS[metric].function, dataset.y, found.probabilities, dataset.groups)
    others = {
        other: float(METRICS[other].function(dataset.y, found.probabilities))
        for other in ("accuracy", "balanced_accuracy", "macro_f1")
        if other != metric
    }
    head = {"columns": name, "n_columns": len(dataset.columns), metric: interval.value}
    return head | {"low": interval.low, "high": interval.high} | others


def _with_rows(dataset: Dataset, ids: Sequence[str]) -> Dataset:
    """The dataset's rows that have drop features, in the order of `ids`."""
    place = {id: position for position, id in enumerate(dataset.ids)}
    return dataset.take(np.array([place[id] for id in ids], dtype=np.intp))


def _per_minute(table: FeatureTable, minutes: FloatArray) -> tuple[tuple[str, ...], NDArray[np.float32]]:
    """All drop columns but the count that `drop_frequency` repeats; counts divided by the duration."""
    names = [name for name in table.columns if name != "zones.drops.drop_count"]
    values = table.select(names).values.astype(np.float64)
    for position, name in enumerate(names):
        if name in COUNTS:
            values[:, position] /= np.maximum(minutes, MIN_MINUTES)
    columns = tuple(f"{name}_per_minute" if name in COUNTS else name for name in names)
    return columns, values.astype(np.float32)


def _detection(rows: DropRows, tolerance_s: float, truth: str | Path | None) -> dict[str, Detection]:
    """Pooled detections by detector; empty if no planted drops are known."""
    planted = planted_drops([rows.uris[id] for id in rows.ids], truth)
    known = [id for id in rows.ids if rows.uris[id] in planted]
    pooled = dict.fromkeys(DETECTORS, Detection()) if known else {}
    for id in known:
        for name, times in detect(rows.levels[id], rows.curves[id]).items():
            pooled[name] += compare_times(planted[rows.uris[id]], times, tolerance_s=tolerance_s)
    return pooled


def _sources(request: AnalysisRequest, manifest: Manifest, dataset: Dataset, rows: DropRows) -> list[Row]:
    """Drop columns of training against auxiliary tracks, each group's mean counting once."""
    if request.auxiliary is None or not len(request.auxiliary):
        return []
    other = drop_rows(request.project, manifest, request.auxiliary.ids)
    if not other.ids:
        return []
    group_of = dict(zip(request.auxiliary.ids, request.auxiliary.groups, strict=True))
    own = group_means(rows.X, dataset.groups)
    theirs = group_means(other.X, np.array([group_of[id] for id in other.ids]))
    table = []
    for name, a, b in zip(rows.columns, own.T, theirs.T, strict=True):
        ends = np.concatenate([np.ones(len(a)), -np.ones(len(b))])
        mean, other_mean = float(a.mean()), float(b.mean())
        table.append(
            {
                "feature": name,
                "training_mean": mean,
                "auxiliary_mean": other_mean,
                "ratio": mean / other_mean if other_mean else np.nan,
                "training_median": float(np.median(a)),
                "auxiliary_median": float(np.median(b)),
                "auc": float(separation(np.concatenate([a, b]), ends)),
            }
        )
    return table


def _with_importance(differences: Sequence[Row], importance: Sequence[Importance]) -> list[Row]:
    known = {row.feature: row for row in importance}
    return [
        row | {"importance": known[row["feature"]].importance, "spread": known[row["feature"]].spread}
        for row in differences
    ]


def _detection_sentences(
    detection: Mapping[str, Detection], alarms: Sequence[Row], tolerance_s: float
) -> Iterable[str]:
    if not detection:
        yield "No times of drops are known for these tracks, so detection is not scored."
        return
    for name, found in detection.items():
        row = found.to_row()
        yield (
            f"Detector `{name}`: F1 {found.f1:.3f} (precision {found.precision:.3f}, recall {found.recall:.3f}) on "
            f"{found.n_planted} planted drops within {tolerance_s:g} s; timing error {row['error_median_s']:+.2f} s "
            f"[{row['error_p5_s']:+.2f}, {row['error_p95_s']:+.2f}]."
        )
    worst = {name: max((row[name], row["signal"]) for row in alarms) for name in DETECTORS}
    words = (
        f"`{name}` {rate:.2f} in {signal}" if rate else f"`{name}` none"
        for name, (rate, signal) in worst.items()
    )
    yield f"Most false alarms per minute in silence and noise: {', '.join(words)}."


def _zone_sentences(differences: Sequence[Row], rows: DropRows, dataset: Dataset) -> Iterable[str]:
    medians = (
        f"{name} {np.median(rows.column(FREQUENCY)[dataset.y == k]):.2f}"
        for k, name in enumerate(dataset.classes)
        if (dataset.y == k).any()
    )
    yield f"Median drops per minute: {', '.join(medians)}."
    clear = [row for row in differences if row["p_holm"] < 0.05]
    if not clear:
        yield f"No drop column of {len(differences)} differs clearly between zones (Kruskal-Wallis, Holm, 5 %)."
        return
    top = ", ".join(f"{row['feature']} (effect {row['effect_size']:.2f})" for row in clear[:3])
    yield f"{len(clear)} of {len(differences)} drop columns differ between zones, most of all {top}."


def _source_sentences(sources: Sequence[Row], auxiliary: Dataset | None) -> Iterable[str]:
    if auxiliary is None:
        return
    if not sources:
        yield f"None of {len(auxiliary)} auxiliary tracks has audio that can be read, so sources are not compared."
        return
    [row] = [row for row in sources if row["feature"] == FREQUENCY]
    yield (
        f"Drops per minute: {row['training_mean']:.2f} in training tracks, {row['auxiliary_mean']:.2f} in auxiliary "
        f"ones; the chance that a training track has more is {row['auc']:.2f}."
    )


def _failure_sentences(rows: DropRows) -> Iterable[str]:
    if rows.failed:
        yield f"{len(rows.failed)} tracks could not be read and are left out: {'; '.join(rows.failed[:3])}."


def _figure(
    request: AnalysisRequest, dataset: Dataset, rows: DropRows, models: _Models, sweep: DropSweep
) -> Any:
    shown = {
        "drops per minute": rows.column(FREQUENCY),
        "mean contrast, times the mean level": rows.column(CONTRAST),
        "mean peak, times the mean level": rows.column(INTENSITY),
    }
    return drop_figure.drop_figure(
        shown,
        dataset.y,
        dataset.classes,
        request.project.task.class_colours,
        models.rows,
        request.run.config["rank_by"],
        sorted(models.importance, key=lambda row: row.feature != ALL_DROPS),
        sweep,
    )
