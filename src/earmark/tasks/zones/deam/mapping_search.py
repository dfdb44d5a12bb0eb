"""Which mapping of arousal and valence fits a user's idea of the zones? A grid over it, and an honest score.

A mapping is worth what a classifier is worth that learned from nothing but its labels: for each point of the grid
DEAM's songs are labelled anew from their annotations, the task's first recipe is fitted on them (strategy
``auxiliary``, few trees), and its answers for the user's training tracks are compared with the user's labels by
balanced accuracy. Points that label all songs alike share one fit.

No classifier sees a label of the user. Songs of a group that is also among the user's tracks (one artist in both) are
left out. Missing values, scale, and the alignment of tables in other units are taken from the user's tracks without
their labels.

The best of many points is flattered on the rows that chose it. So the choice is scored *nested*: each fold's rows
under the point that the other folds chose. Intervals draw whole groups. Sealed test tracks are not read at all.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earmark.data.dataset import Dataset
from earmark.data.parquet import write_bytes_atomic
from earmark.errors import UsageError
from earmark.evaluation.intervals import Difference, Interval, bootstrap_interval, paired_difference
from earmark.evaluation.metrics import METRICS
from earmark.features.progress import Progress, ProgressCallback
from earmark.tasks.task import Tuning
from earmark.tasks.zones.deam.annotations import ANNOTATION_COLUMNS
from earmark.tasks.zones.deam.mapping import ZoneMapping, yaml_text
from earmark.training.recipe import Recipe
from earmark.training.strategy import FitJob, Strategy

if TYPE_CHECKING:
    from earmark.features.sets import FeatureSet
    from earmark.tasks.project import Project

__all__ = ["GRID", "MappingGrid", "MappingSearch", "mapping_tuning", "search_mappings", "tune_mapping"]

METRIC_NAME = "balanced_accuracy"
METRIC = METRICS[METRIC_NAME]
N_TREES = 25
"""Enough to rank mappings; a model that answers has more."""
MAPPING_FILE = "zone_mapping.yaml"
FEATURES_OF_TABLES = "common22"
"""The feature set that openSMILE tables can give."""


@dataclass(frozen=True)
class MappingGrid:
    """Values to try; every combination with yellow_max <= purple_min is a point of `simple` and of `plan`."""

    yellow_max: tuple[float, ...] = (3.5, 4.0, 4.5, 5.0)
    purple_min: tuple[float, ...] = (5.0, 5.5, 6.0, 6.5)
    valence_min: tuple[float, ...] = (4.0, 4.5, 5.0)

    def mappings(self, base: ZoneMapping | None = None) -> tuple[ZoneMapping, ...]:
        """`base` (default: the default mapping) and every point, those most like it first, so that they win ties."""
        base = base or ZoneMapping.default()
        made: list[ZoneMapping] = []
        for low, high in itertools.product(self.yellow_max, self.purple_min):
            if low > high:
                continue
            made.append(base.with_thresholds(strategy="simple", yellow_max=low, purple_min=high))
            made += [
                base.with_thresholds(strategy="plan", yellow_max=low, purple_min=high, valence_min=border)
                for border in self.valence_min
            ]
        unique = {mapping.digest(): mapping for mapping in made} | {base.digest(): base}
        return tuple(sorted(unique.values(), key=lambda mapping: _distance(mapping, base)))


GRID = MappingGrid()


@dataclass(frozen=True)
class MappingSearch:
    """What classifiers of every mapping said of the user's tracks.

    Parameters
    ----------
    mappings : tuple of ZoneMapping, length r
        The one to compare with first.
    songs : ndarray of int, shape (r, n_classes)
        Songs of each zone by each mapping.
    predicted : ndarray of int, shape (r, n)
        Zone of each of the user's training tracks.
    y : ndarray of int, shape (n,)
        Zone that the user gave.
    groups, folds : ndarray, shape (n,)
    classes : tuple of str
    """

    mappings: tuple[ZoneMapping, ...]
    songs: NDArray[np.int64]
    predicted: NDArray[np.int64]
    y: NDArray[np.int64]
    groups: NDArray[Any]
    folds: NDArray[np.int64]
    classes: tuple[str, ...]

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """Balanced accuracy of each mapping on all rows, shape (r,)."""
        return self._scores(np.ones(len(self.y), dtype=bool))

    @property
    def best(self) -> ZoneMapping:
        """The best on all rows; of equal ones that which is most like the first."""
        return self.mappings[int(np.argmax(self.scores))]

    @cached_property
    def choices(self) -> dict[int, int]:
        """Position of the mapping that each fold would have chosen without its own rows."""
        return {int(fold): int(np.argmax(self._scores(self.folds != fold))) for fold in np.unique(self.folds)}

    def default_score(self, seed: int = 42) -> Interval:
        """Balanced accuracy of the first mapping."""
        return bootstrap_interval(METRIC.function, self.y, self._votes(self.predicted[0]), self.groups, seed)

    def nested_score(self, seed: int = 42) -> Interval:
        """Balanced accuracy of the choice: each fold's rows under the mapping that the other folds chose."""
        return bootstrap_interval(METRIC.function, self.y, self._votes(self._nested), self.groups, seed)

    def gain(self, seed: int = 42) -> Difference:
        """Nested score of the choice minus that of the first mapping, on the same draws."""
        pair = (self._votes(self._nested), self._votes(self.predicted[0]))
        return paired_difference(METRIC, self.y, *pair, self.groups, seed)

    def rows(self) -> list[dict[str, Any]]:
        """One row per mapping, best first: thresholds, songs per zone, scores on all rows."""
        order = sorted(range(len(self.mappings)), key=lambda place: (-self.scores[place], place))
        return [self._row(place) for place in order]

    def sentences(self) -> tuple[str, ...]:
        """The outcome in words."""
        default, nested, gain = self.default_score(), self.nested_score(), self.gain()
        different = len(set(self.choices.values()))
        return (
            f"Balanced accuracy on {len(self.y)} of your tracks of a classifier that learned from DEAM alone, by the "
            f"default mapping ({_words(self.mappings[0])}): {default}.",
            f"Best of {len(self.mappings)} mappings on the same tracks: {self.scores.max():.3f} "
            f"({_words(self.best)}), which flatters it. Chosen inside each fold and scored outside: {nested}, with "
            f"{different} different choices in {len(self.choices)} folds.",
            f"Choosing instead of keeping the default changes the score on unseen tracks by {gain.value:+.3f} "
            f"[{gain.low:+.3f}, {gain.high:+.3f}]: {'a clear gain' if gain.low > 0 else 'no clear gain'}.",
        )

    @cached_property
    def _nested(self) -> NDArray[np.int64]:
        place = np.array([self.choices[int(fold)] for fold in self.folds])
        return np.asarray(self.predicted[place, np.arange(len(self.y))])

    def _scores(self, rows: NDArray[np.bool_]) -> NDArray[np.float64]:
        y = self.y[rows]
        return np.array([float(METRIC.function(y, self._votes(one[rows]))) for one in self.predicted])

    def _votes(self, predicted: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(np.eye(len(self.classes))[predicted])

    def _row(self, place: int) -> dict[str, Any]:
        mapping = self.mappings[place]
        thresholds = mapping.thresholds[mapping.strategy]
        return {
            "strategy": mapping.strategy,
            **{name: thresholds.get(name) for name in ("yellow_max", "purple_min", "valence_min")},
            "is_default": place == 0,
            **dict(zip(self.classes, self.songs[place].tolist(), strict=True)),
            METRIC_NAME: float(self.scores[place]),
            "accuracy": float((self.predicted[place] == self.y).mean()),
        }


def mapping_tuning(project: Project, output: Path | None, progress: ProgressCallback | None) -> Tuning:
    """What ``thresholds --mapping`` runs; `output` is a new file for the choice, or a folder.

    Raises
    ------
    UsageError
        As `tune_mapping`, or the file exists.
    """
    path = output / MAPPING_FILE if output is not None and output.is_dir() else output
    if path is not None and path.exists():
        raise UsageError(f"`{path}` exists and is left as it is. Name another file, or move it away.")
    search = tune_mapping(project, progress=progress)
    sentences = search.sentences()
    if path is None:
        return Tuning(search.rows(), (*sentences, "Nothing was written; --output FILE writes the choice."))
    write_bytes_atomic(path, yaml_text(search.best, sentences).encode())
    use = f"Use it: earmark prepare {project.spelled} LABELS --deam DIR --mapping {path}"
    return Tuning(search.rows(), (*sentences, use), (path,))


def tune_mapping(
    project: Project, *, grid: MappingGrid = GRID, progress: ProgressCallback | None = None
) -> MappingSearch:
    """Search the mapping for a project's labels.

    Features are the project's, or `FEATURES_OF_TABLES` where DEAM's songs are tables; those are aligned by moments,
    since their units differ.

    Raises
    ------
    UsageError
        Not prepared, there are no songs beside labelled tracks, or labels were made by a rule.
    """
    features, strategy = _features(project)
    dataset, _ = project.training_data(features, progress)
    auxiliary = project.auxiliary_data(features, progress)
    assert auxiliary is not None  # `_features` has looked
    _refuse_pseudo(project, dataset)
    apart = ~np.isin(auxiliary.groups, np.unique(dataset.groups))
    songs = auxiliary.take(apart & np.isin(auxiliary.ids, list(_annotations(project))))
    if not len(songs):
        raise UsageError(
            f"all {len(auxiliary)} songs of DEAM are of artists among your tracks, or without annotations; expected "
            "others. Prepare more of DEAM."
        )
    recipe = replace(project.task.recipes[0], seed=project.settings.seed, strategy=strategy)
    annotations = np.array([_annotations(project)[id] for id in songs.ids])
    return search_mappings(dataset, songs, annotations, recipe, grid.mappings(), progress=progress)


def search_mappings(
    dataset: Dataset,
    songs: Dataset,
    annotations: NDArray[np.float64],
    recipe: Recipe,
    mappings: Sequence[ZoneMapping],
    *,
    progress: ProgressCallback | None = None,
) -> MappingSearch:
    """Fit on the songs by every mapping, and predict the user's tracks.

    Parameters
    ----------
    dataset : Dataset
        The user's training rows.
    songs : Dataset
        DEAM's rows with the same columns; their labels do not matter.
    annotations : ndarray, shape (n_songs, 2)
        Arousal and valence.
    recipe : Recipe
        With a strategy that fits on the songs alone.
    mappings : sequence of ZoneMapping
    """
    code = {name: place for place, name in enumerate(dataset.classes)}
    known: dict[bytes, NDArray[np.int64]] = {}
    predicted, counts = [], []
    for number, mapping in enumerate(mappings, start=1):
        zones = mapping.zones(annotations[:, 0], annotations[:, 1])
        y = np.array([code[str(zone)] for zone in zones], dtype=np.int64)
        if y.tobytes() not in known:
            known[y.tobytes()] = _answers(recipe, dataset, replace(songs, y=y))
        predicted.append(known[y.tobytes()])
        counts.append(np.bincount(y, minlength=len(code)))
        if progress is not None:
            progress(Progress("search mappings", number, len(mappings)))
    return MappingSearch(
        mappings=tuple(mappings),
        songs=np.array(counts),
        predicted=np.array(predicted),
        y=dataset.y,
        groups=dataset.groups,
        folds=dataset.folds,
        classes=dataset.classes,
    )


def _answers(recipe: Recipe, dataset: Dataset, songs: Dataset) -> NDArray[np.int64]:
    """What a classifier fitted on the songs says of the user's tracks; the user's labels stay out of the fit."""
    if len(np.unique(songs.y)) == 1:
        return np.full(len(dataset), songs.y[0])
    job = FitJob(
        make=lambda: recipe.make(dataset.classes),
        own=replace(dataset, y=np.full(len(dataset), songs.y[0])),
        auxiliary=songs,
        class_weight=recipe.class_weight,
        seeds=(recipe.seed,),
        length=N_TREES,
    )
    fitted = recipe.strategy.fit(job)
    return np.asarray(fitted.predict_proba(dataset.X, dataset.columns).argmax(axis=1))


def _features(project: Project) -> tuple[FeatureSet, Strategy]:
    """Feature set and strategy that the project's songs allow."""
    manifest, splits = project.manifest, project.splits
    if not splits.auxiliary_ids or not set(ANNOTATION_COLUMNS) <= set(manifest.table.columns):
        raise UsageError(
            "there are no songs with arousal and valence beside labelled tracks; expected DEAM beside your labels. "
            f"Run: earmark prepare {project.spelled} LABELS --deam DIR"
        )
    chosen = project.feature_sets()[0]
    if not project.needs_mapping(chosen):
        return chosen, Strategy("auxiliary")
    return project.task.features(FEATURES_OF_TABLES), Strategy("auxiliary", align="moments")


def _annotations(project: Project) -> dict[str, tuple[float, float]]:
    rows = project.manifest.table.select("id", *ANNOTATION_COLUMNS).drop_nulls().iter_rows()
    return {id: (arousal, valence) for id, arousal, valence in rows}


def _refuse_pseudo(project: Project, dataset: Dataset) -> None:
    origin = dict(project.manifest.table.select("id", "label_origin").iter_rows())
    made = sum(origin[id] == "pseudo" for id in dataset.ids)
    if made:
        raise UsageError(
            f"{made} of {len(dataset)} labels were made by a rule, not by a listener; a mapping chosen by them would "
            "fit the rule. Label by ear, and prepare again."
        )


def _distance(mapping: ZoneMapping, base: ZoneMapping) -> tuple[float, int, str]:
    own, other = (one.thresholds[one.strategy] for one in (mapping, base))
    moved = sum(abs(own[name] - other[name]) for name in own.keys() & other.keys())
    return (moved, int(mapping.strategy != base.strategy), mapping.digest())


def _words(mapping: ZoneMapping) -> str:
    values = ", ".join(f"{name} {value:g}" for name, value in mapping.thresholds[mapping.strategy].items())
    return f"{mapping.strategy}: {values}"
