"""Labels that mean nothing score at chance in every strategy and preset; adaptation helps where theory says so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from training_tables import CLASSES, METRICS, make_dataset

from earmark.data.dataset import Dataset
from earmark.tasks.zones.presets import PRESETS
from earmark.training.blend import blend
from earmark.training.crossval import cross_validate
from earmark.training.recipe import Recipe
from earmark.training.strategy import STRATEGIES, FitJob, Strategy

N, PER_GROUP = 180, 3
CHANCE = 1 / 3 + 3.5 * np.sqrt(2 / 9 / (N / PER_GROUP))
"""Accuracy of 60 groups that nothing is known of stays below it 9999 times in 10000: 0.55."""


def without_meaning(n_columns: int, seed: int = 0) -> tuple[Dataset, Dataset]:
    """Two sources of the same 60 singers: each singer sounds like nobody else and has one drawn label.

    Whoever sees one row of a singer knows the others, so any row that reaches the fit of its singer's fold shows.
    """
    rng = np.random.default_rng(seed)
    singer = np.repeat(np.arange(N // PER_GROUP), PER_GROUP)
    label = rng.permutation(np.arange(N // PER_GROUP) % 3)
    voice = rng.normal(size=(N // PER_GROUP, n_columns))

    def rows(name: str, split: str) -> Dataset:
        X = voice[singer] + 0.05 * rng.normal(size=(N, n_columns))
        groups = np.array([f"singer-{number}" for number in singer])
        values = {"X": X.astype(np.float32), "y": label[singer], "groups": groups, "folds": singer % 4}
        values |= {"columns": tuple(f"c{i}" for i in range(n_columns)), "split": split}
        return replace(make_dataset(N), ids=tuple(f"{name}-{i}" for i in range(N)), **values)

    return rows("own", "train"), rows("deam", "auxiliary")


def scores(recipe: Recipe, own: Dataset, other: Dataset) -> tuple[float, float]:
    """Accuracy on scored rows and on the others, both out of fold."""
    if recipe.strategy.members():
        members = [
            cross_validate(lambda: recipe.make(CLASSES), own, strategy=one, auxiliary=other)
            for one in recipe.strategy.members()
        ]
        searched = blend([member.probabilities for member in members], own.y, own.folds, *METRICS["accuracy"])
        beside = searched.of_folds([member.auxiliary for member in members], other.folds)
        p = searched.probabilities
    else:
        found = cross_validate(
            lambda: recipe.make(CLASSES),
            own,
            class_weight=recipe.class_weight,
            validation_fraction=recipe.validation_fraction,
            strategy=recipe.strategy,
            auxiliary=other,
        )
        p, beside = found.probabilities, found.auxiliary
    accuracy = METRICS["accuracy"].function
    return accuracy(own.y, p), accuracy(other.y, beside)


@pytest.mark.parametrize("align", ["none", "moments"])
@pytest.mark.parametrize("name", STRATEGIES)
def test_labels_without_meaning_score_at_chance(name: str, align: str) -> None:
    own, other = without_meaning(8)
    params = {"n_trees": 15, "max_depth": 4, "learning_rate": 0.3}
    found = scores(Recipe("xgboost", params=params, strategy=Strategy(name, align=align)), own, other)
    assert max(found) < CHANCE


def test_the_bound_would_show_a_leak() -> None:
    """The same rows in folds that cut through singers: what the bound is there to catch."""
    own, other = without_meaning(8)
    leaking = replace(other, folds=(other.folds + 1) % 4)
    params = {"n_trees": 15, "max_depth": 4, "learning_rate": 0.3}
    found = scores(Recipe("xgboost", params=params, strategy=Strategy("pooled")), own, leaking)
    assert min(found) > 0.8 > CHANCE


@pytest.mark.parametrize("name", PRESETS)
def test_presets_score_labels_without_meaning_at_chance(name: str) -> None:
    """Among 300 columns the best of all rows would tell the labels; selection inside the fold does not."""
    preset = PRESETS[name]
    own, other = without_meaning(300, seed=2)
    recipe = replace(
        preset.recipe,
        params=preset.recipe.params | {"n_trees": 8, "max_depth": 2},
        preprocess=preset.recipe.preprocess and {"top_k": 20},
        strategy=Strategy(preset.strategy, align=preset.align),
    )
    assert max(scores(recipe, own, other)) < CHANCE


def two_sources(X: np.ndarray, y: np.ndarray, source: str) -> Dataset:
    names = np.array([f"{source}-{i}" for i in range(len(y))])
    return Dataset(
        ids=tuple(names),
        columns=tuple(f"c{i}" for i in range(X.shape[1])),
        X=X.astype(np.float32),
        y=y.astype(np.int64),
        classes=("a", "b"),
        groups=names,
        folds=np.arange(len(y)) % 2,
        split="train" if source == "own" else "auxiliary",
    )


def accuracy_on_fresh(name: str, own: Dataset, other: Dataset, fresh: Dataset) -> float:
    recipe = Recipe("logistic", strategy=Strategy(name))
    fitted = recipe.strategy.fit(FitJob(lambda: recipe.make(own.classes), own, other))
    return METRICS["accuracy"].function(fresh.y, fitted.predict_proba(fresh.X, fresh.columns))


def test_importance_helps_where_only_the_place_of_the_rows_differs() -> None:
    """Covariate shift: one rule |x| > 1 for both sources, of which each sees another side, and a straight model."""

    def rows(rng: np.random.Generator, centre: float, n: int, source: str) -> Dataset:
        x = rng.normal(centre, 0.9, n)
        return two_sources(np.c_[x, rng.normal(size=n)], np.abs(x) > 1, source)

    gains = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        own, fresh = rows(rng, 1.0, 16, "own"), rows(rng, 1.0, 2000, "own")
        other = rows(rng, -0.6, 600, "deam")
        gains.append(
            accuracy_on_fresh("importance", own, other, fresh)
            - accuracy_on_fresh("weighted", own, other, fresh)
        )
    assert np.mean(gains) > 0.25 and min(gains) > 0.1


def test_coral_helps_where_the_columns_are_mixed_otherwise() -> None:
    """The other source's columns are a symmetric mixture of those the labels follow: its covariance tells which."""
    mixture = 3 * np.array([[1.0, -0.9], [-0.9, 1.0]])

    def rows(rng: np.random.Generator, n: int, source: str) -> Dataset:
        z = rng.normal(size=(n, 2))
        X = z if source == "own" else 5 + z @ mixture
        return two_sources(X, z[:, 0] + 0.3 * rng.normal(size=n) > 0, source)

    gains = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        own, fresh, other = rows(rng, 14, "own"), rows(rng, 2000, "own"), rows(rng, 600, "deam")
        gains.append(
            accuracy_on_fresh("coral", own, other, fresh) - accuracy_on_fresh("weighted", own, other, fresh)
        )
    assert np.mean(gains) > 0.02
