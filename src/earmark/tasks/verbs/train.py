"""`train`: every chosen recipe on the same folds, the baselines beside them, and the report of the best."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from earmark.data.dataset import Dataset
from earmark.errors import UsageError
from earmark.evaluation.metrics import METRICS
from earmark.features.progress import Progress, ProgressCallback
from earmark.features.sets import FeatureSet
from earmark.models.registry import canonical_name, estimator_class, make
from earmark.tasks.probe import feature_probe
from earmark.tasks.project import Project
from earmark.tasks.verbs.rows import RowChoice
from earmark.training.crossval import Event, OnEvent
from earmark.training.recipe import Recipe
from earmark.training.runs import Run, best_run
from earmark.training.strategy import Strategy
from earmark.training.train import Trained
from earmark.training.train import train as train_recipe

__all__ = [
    "TrainOptions",
    "TrainedModels",
    "baseline_runs",
    "chosen_features",
    "chosen_metric",
    "features_hash",
    "recipes_of",
    "train",
    "training_rows",
]

_CLASS_WEIGHTS = {"none": None, "weights": "balanced"}


@dataclass(frozen=True)
class TrainOptions:
    """What the command line may change of a task's training; None keeps the settings' or the task's own."""

    features: str | None = None
    algorithms: tuple[str, ...] | None = None
    metric: str | None = None
    epochs: int | None = None
    batch_size: int | None = None
    parameters: Mapping[str, Mapping[str, Any]] | None = None
    resume: bool = True
    force: bool = False
    allow_pseudo: bool = False
    preset: str | None = None
    strategies: tuple[Strategy, ...] = ()
    skip_impossible: bool = False
    """Leave out a strategy that an algorithm cannot follow, instead of refusing."""
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of `Preprocess` that replace the recipe's."""
    balance: str | None = None
    """``none`` or ``weights`` instead of the recipe's class weights."""
    rows: RowChoice = field(default_factory=RowChoice)


@dataclass(frozen=True)
class TrainedModels:
    """Runs in the order they were asked for, the best of them, and which of them had been trained before.

    `auxiliary` are the rows of another source that took part, or stood beside.
    """

    runs: tuple[Run, ...]
    best: Run
    reused: frozenset[str]
    metric: str
    dataset: Dataset
    auxiliary: Dataset | None = None


def train(
    project: Project,
    options: TrainOptions | None = None,
    *,
    progress: ProgressCallback | None = None,
    on_event: OnEvent | None = None,
) -> TrainedModels:
    """Train on the project's training rows; a training that was finished before is found, not repeated.

    `on_event` hears every epoch and fold, as `earmark.training.train.train` tells them, with the ``algorithm``; an
    epoch also with ``total_epochs``, the most that there will be, where that is known.

    Raises
    ------
    UsageError
        Not prepared, too few rows or classes, an unknown algorithm or metric, or labels made by a rule.
    """
    options = options or TrainOptions()
    metric = chosen_metric(project, options)
    chosen = chosen_features(project, options)
    _refuse_pseudo(project, options)
    dataset = training_rows(project, chosen, options, progress)
    recipes, unmapped = recipes_of(project, options), project.needs_mapping(chosen)
    _refuse_unmapped(chosen, recipes, unmapped)
    # A model of scored rows alone says nothing of rows in other units, so these are not even read for it.
    is_told = not unmapped or any(recipe.strategy.align != "none" for recipe in recipes)
    auxiliary = project.auxiliary_data(chosen, progress) if is_told else None
    _refuse_impossible(recipes, auxiliary)
    job = _Job(project, chosen, dataset, auxiliary, bool(unmapped), metric, options, progress, on_event)
    results = [job.train(recipe) for recipe in recipes]
    runs = tuple(result.run for result in results)
    reused = frozenset(result.run.name for result in results if result.reused)
    return TrainedModels(runs, best_run(runs, metric), reused, metric, dataset, auxiliary)


def training_rows(
    project: Project, features: FeatureSet, options: TrainOptions, progress: ProgressCallback | None = None
) -> Dataset:
    """The rows that a training or a search fits, of the prepared ones.

    Raises
    ------
    UsageError
        Too few have all features, or too few rows or classes are left.
    """
    dataset, _ = project.training_data(features, progress)
    _refuse_thin(project, features, dataset)
    dataset = options.rows.apply(project, dataset)
    _refuse_too_little(project, dataset)
    return dataset


def baseline_runs(project: Project, dataset: Dataset) -> dict[str, Run]:
    """The task's baseline feature sets, trained like its first recipe on the same rows and folds.

    They live beside the cache, not among the runs, and are found again by their key. One whose columns tables in place
    of audio cannot give is left out.
    """
    recipe = replace(project.task.recipes[0], seed=project.settings.seed)
    items = list(project.manifest.subset(dataset.ids))
    names = [
        name for name in project.task.baselines if not project.table_gaps(project.task.features(name), items)
    ]
    return {name: _baseline_run(project, recipe, name, dataset) for name in names}


def _baseline_run(project: Project, recipe: Recipe, features: str, dataset: Dataset) -> Run:
    own, table = project.training_data(project.task.features(features))
    if own.ids != dataset.ids:
        missing = sorted(set(dataset.ids) ^ set(own.ids))
        reasons = "; ".join(f"{failure.id}: {failure.error}" for failure in table.failures[:3])
        raise UsageError(
            f"the baseline `{features}` has other rows than the model: {', '.join(missing[:5])} ({reasons}). Scores on "
            "different rows cannot be compared. Remove these items from the labels and prepare again."
        )
    return train_recipe(
        recipe,
        own,
        root=project.root / ".earmark" / "baselines",
        task=project.task.name,
        metrics=METRICS,
        rank_by=project.task.metric,
        hashes={"split": project.splits.hash},
        settings={"features": features},
        slug=features,
    ).run


def recipes_of(project: Project, options: TrainOptions) -> list[Recipe]:
    """The task's recipes, or the named algorithms with the task's parameters where it has some; each in every
    strategy that was asked for.
    """
    declared = {recipe.algorithm: recipe for recipe in project.task.recipes}
    if options.preset:
        preset = project.task.preset(options.preset).recipe
        names = _expanded(options.algorithms, declared) or [preset.algorithm]
        chosen = [_in_place(preset, name) for name in names]
    else:
        given = options.algorithms or project.settings.algorithms or project.task.algorithms
        names = _expanded(given, declared) or list(declared)
        chosen = [declared.get(canonical_name(name), Recipe(name)) for name in names]
    adjusted = [_adjusted(recipe, project, options) for recipe in chosen]
    pairs = [replace(recipe, strategy=one) for recipe in adjusted for one in _strategies(project, options)]
    return [recipe for recipe in pairs if _possible(recipe)] if options.skip_impossible else pairs


def _expanded(names: Sequence[str] | None, declared: Iterable[str]) -> list[str]:
    """The names, with every declared algorithm in the place of ``all``."""
    return list(dict.fromkeys(one for name in names or () for one in (declared if name == "all" else [name])))


def _in_place(recipe: Recipe, algorithm: str) -> Recipe:
    """The recipe with another algorithm in its place, whose parameters are then its own defaults."""
    if canonical_name(algorithm) == recipe.algorithm:
        return recipe
    return replace(recipe, algorithm=algorithm, params={})


def _strategies(project: Project, options: TrainOptions) -> tuple[Strategy, ...]:
    """Those of the command line; else the preset's where there are rows of a second source; else scored rows alone."""
    if options.strategies or not options.preset or not project.splits.auxiliary_ids:
        return options.strategies or (Strategy(),)
    chosen = project.task.preset(options.preset)
    return (Strategy(chosen.strategy, align=chosen.align),)


def _adjusted(recipe: Recipe, project: Project, options: TrainOptions) -> Recipe:
    training = project.settings.train
    common = {
        "epochs": options.epochs or training.epochs,
        "batch_size": options.batch_size or training.batch_size,
    }
    # An ensemble's parameters are its members', as `member__name`.
    given = {
        known: common[known.rpartition("__")[2]]
        for known in make(recipe.algorithm, **recipe.params).get_params()
        if common.get(known.rpartition("__")[2]) is not None
    }
    own = {
        **training.parameters.get(recipe.algorithm, {}),
        **dict((options.parameters or {}).get(recipe.algorithm, {})),
    }
    return replace(
        recipe,
        params={**recipe.params, **given, **own},
        preprocess={**recipe.preprocess, **options.preprocess},
        class_weight=_CLASS_WEIGHTS[options.balance] if options.balance else recipe.class_weight,
        seed=project.settings.seed,
    )


@dataclass(frozen=True)
class _Job:
    """What all trainings of one command share."""

    project: Project
    features: FeatureSet
    dataset: Dataset
    auxiliary: Dataset | None
    is_unmapped: bool
    metric: str
    options: TrainOptions
    progress: ProgressCallback | None
    on_event: OnEvent | None

    def train(self, recipe: Recipe) -> Trained:
        project, options = self.project, self.options
        return train_recipe(
            recipe,
            self.dataset,
            root=project.runs_folder,
            task=project.task.name,
            metrics=METRICS,
            rank_by=self.metric,
            hashes={"split": project.splits.hash, "features": features_hash(project, self.features)},
            settings={
                "features": self.features.name,
                "metric": self.metric,
                "seed": project.settings.seed,
                "probe": feature_probe(self.features),
                **({"rows": rows} if (rows := options.rows.to_settings()) else {}),
            },
            slug=f"test {recipe.algorithm}" if options.rows.limit else None,
            resume=options.resume,
            reuse=not options.force,
            on_event=self._teller(recipe),
            auxiliary=None if self.is_unmapped and recipe.strategy.align == "none" else self.auxiliary,
        )

    def _teller(self, recipe: Recipe) -> OnEvent:
        done, total = 0, self.dataset.n_folds
        settings = make(recipe.algorithm, **recipe.params).get_params()
        added = {
            "algorithm": recipe.algorithm,
            "total_epochs": settings.get("epochs", settings.get("n_trees")),
        }
        name = f"train {recipe.algorithm}" + f" {recipe.strategy.label}" * recipe.strategy.uses_auxiliary

        def tell(event: Event) -> None:
            nonlocal done
            done += event["event"] == "fold"
            if self.on_event is not None:
                self.on_event({**event, **added})
            if self.progress is not None and event["event"] in ("fold", "run"):
                self.progress(Progress(name, min(done, total), total))

        return tell


def features_hash(project: Project, features: FeatureSet) -> str:
    """Hash of the current fingerprints of all groups of a feature set."""
    digests = project.digests(features.groups).values()
    return hashlib.blake2b(b"".join(digests), digest_size=16).hexdigest()


def chosen_metric(project: Project, options: TrainOptions) -> str:
    """The metric that ranks: of the command line, the settings or the task."""
    from earmark.models.constraints import closest

    name = options.metric or project.settings.train.metric or project.task.metric
    if name not in METRICS:
        raise UsageError(f"there is no metric {name!r}{closest(name, METRICS)}. Known: {', '.join(METRICS)}.")
    return name


def chosen_features(project: Project, options: TrainOptions) -> FeatureSet:
    """The feature set to train on: of the command line, the preset, the first of the settings, or the task's
    default.
    """
    if options.features:
        return project.task.features(options.features)
    if options.preset:
        return project.task.features(project.task.preset(options.preset).features)
    return project.feature_sets()[0]


def _refuse_pseudo(project: Project, options: TrainOptions) -> None:
    table = project.manifest.table
    allowed = options.allow_pseudo or project.settings.train.allow_pseudo
    if allowed or "label_origin" not in table.columns:
        return
    n_pseudo = int((table["label_origin"] == "pseudo").sum())
    if n_pseudo:
        raise UsageError(
            f"{n_pseudo} of {table.height} labels were made by a rule, not by a listener; a model would learn the "
            "rule. Label by ear, or pass --allow-pseudo to train all the same; scores then say nothing of real labels."
        )


def _refuse_thin(project: Project, features: FeatureSet, dataset: Dataset) -> None:
    """Items whose features failed are not a random sample of all: a model of the rest looks better than it is."""
    n_all = len(dataset) + len(dataset.absent)
    if len(dataset) >= project.task.min_coverage * n_all:
        return
    raise UsageError(
        f"only {len(dataset)} of {n_all} training {project.task.item_noun} have all features of `{features.name}`; "
        f"expected at least {project.task.min_coverage:.0%} (missing: {', '.join(dataset.absent[:3])} ...). "
        f"See why, and try again: earmark extract {project.spelled} --retry-failed"
    )


def _refuse_too_little(project: Project, dataset: Dataset) -> None:
    present = [name for name, count in dataset.class_counts.items() if count]
    if len(present) < 2:
        counts = ", ".join(f"{name} {count}" for name, count in dataset.class_counts.items())
        raise UsageError(
            f"{len(dataset)} training rows hold {len(present)} class ({counts}); a classifier needs at least two. "
            f"Label more {project.task.item_noun} and run `earmark prepare {project.spelled}` again."
        )


def _refuse_unmapped(features: FeatureSet, recipes: Sequence[Recipe], columns: Sequence[str]) -> None:
    """Rows in other units must not be pooled as they are: the source would be what is learned."""
    plain = sorted(
        {r.strategy.name for r in recipes if r.strategy.uses_auxiliary and r.strategy.align == "none"}
    )
    if columns and plain:
        raise UsageError(
            f"rows of the second source come from tables in other units: {len(columns)} of {len(features.columns)} "
            f"columns of `{features.name}` are not comparable ({', '.join(columns[:3])} ...), and strategy "
            f"{', '.join(plain)} would pool them as they are. Pass --align moments (or coral), with features that "
            "tables can give, such as --features common22; or give the audio."
        )


def _refuse_impossible(recipes: Sequence[Recipe], auxiliary: Dataset | None) -> None:
    """What would fail after the first trainings is said before them."""
    wanting = sorted({recipe.strategy.name for recipe in recipes if recipe.strategy.uses_auxiliary})
    if wanting and auxiliary is None:
        raise UsageError(
            f"strategy {', '.join(wanting)} needs rows of a second source, and the manifest has none. Prepare them "
            "beside the labels, for example with `earmark prepare zones LABELS --deam FOLDER`."
        )
    stuck = sorted({recipe.algorithm for recipe in recipes if not _possible(recipe)})
    if stuck:
        raise UsageError(
            f"strategy transfer continues a fit, which {', '.join(stuck)} cannot do; expected xgboost or "
            "neural_network. Pass --algorithms xgboost, or leave transfer out."
        )


def _possible(recipe: Recipe) -> bool:
    """Whether the algorithm can follow the strategy; an ensemble's members are asked."""
    if recipe.strategy.name != "transfer":
        return True
    members = recipe.members() or (recipe,)
    return all(estimator_class(member.algorithm).continues for member in members)
