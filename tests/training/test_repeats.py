"""Draws: the same rows and groups, other folds; blends and their members on one draw agree."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from training_tables import METRICS, make_dataset

from earmark.errors import UsageError
from earmark.training.recipe import Recipe
from earmark.training.repeats import redrawn, repeated_scores
from earmark.training.strategy import Strategy


def other_rows(n: int = 60):
    data = make_dataset(n, seed=5)
    # A third of them are by artists that the scored rows have too.
    groups = np.array([f"artist-{i // 2}" if i % 3 == 0 else f"deam-{i}" for i in range(n)])
    return replace(data, ids=tuple(f"d{i}" for i in range(n)), groups=groups, split="auxiliary")


def test_groups_stay_whole_over_both_sources_and_folds_differ_between_draws() -> None:
    own, other = make_dataset(), other_rows()
    seen = set()
    for seed in range(4):
        rows, others = redrawn(own, other, seed=seed)
        assert others is not None
        folds: dict[str, set[int]] = {}
        for data in (rows, others):
            for group, fold in zip(data.groups.tolist(), data.folds.tolist(), strict=True):
                folds.setdefault(group, set()).add(fold)
        shared = set(rows.groups.tolist()) & set(others.groups.tolist())
        assert shared and all(len(folds[group]) == 1 for group in shared)
        assert rows.ids == own.ids and (rows.X == own.X).all() and rows.n_folds == own.n_folds
        seen.add(tuple(rows.folds.tolist()))
    assert len(seen) == 4


def test_all_recipes_are_scored_on_the_same_draws() -> None:
    own, other = make_dataset(), other_rows()
    recipes = [Recipe("logistic", strategy=Strategy(name)) for name in ("user", "weighted", "blend")]
    recipes.append(Recipe("logistic", strategy=Strategy("user")))
    events = []
    scores = repeated_scores(
        recipes, own, other, METRICS["accuracy"], draws=3, seed=1, on_event=events.append
    )
    assert scores.shape == (4, 3) and (scores[0] == scores[3]).all()
    assert events[-1] == {"event": "draw", "done": 12, "total": 12}
    again = repeated_scores(recipes[:2], own, other, METRICS["accuracy"], draws=2, seed=1)
    assert (again == scores[:2, :2]).all()


def test_random_labels_score_at_chance_over_draws() -> None:
    own = make_dataset(90, shift=0.0)
    recipes = [Recipe("logistic", strategy=Strategy(name)) for name in ("user", "weighted", "coral", "blend")]
    scores = repeated_scores(recipes, own, other_rows(), METRICS["accuracy"], draws=4)
    assert (np.abs(scores.mean(axis=1) - 1 / 3) < 0.12).all()


def test_no_draws_are_refused() -> None:
    with pytest.raises(UsageError, match="0 draws"):
        repeated_scores([], make_dataset(), None, METRICS["accuracy"], draws=0)
