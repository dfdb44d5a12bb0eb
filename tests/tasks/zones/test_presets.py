"""Named trainings: complete, valid, and what the task's documents ask of each; the vote with the task's boost."""

from __future__ import annotations

import numpy as np
import pytest

from earmark.errors import UsageError
from earmark.inference.voting import UNDECIDED
from earmark.tasks.zones.feature_sets import FEATURE_SETS
from earmark.tasks.zones.presets import PRESETS, zone_of_frames
from earmark.tasks.zones.task import task


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_trained(name: str) -> None:
    chosen = task.preset(name)
    columns = FEATURE_SETS[chosen.features].columns
    assert chosen.name == name and chosen.description
    assert (chosen.recipe.preprocess.get("top_k") or 0) < len(columns)
    # Wrong parameters would be refused here.
    settings = chosen.recipe.settings()
    assert settings["class_weight"] == "balanced"
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((30, len(columns))).astype(np.float32), np.arange(30) % 3
    X[:, 0] += 3 * y
    model = chosen.recipe.make(("YELLOW", "GREEN", "PURPLE"))
    model.estimator.set_params(n_trees=3)
    assert model.fit(X, y, columns).predict_proba(X, columns).shape == (30, 3)


def settings_of(name: str) -> tuple[object, ...]:
    """Depth, rate, trees, least child weight, shares of rows and columns, and penalties."""
    params = PRESETS[name].recipe.settings()["params"]
    names = ("max_depth", "learning_rate", "n_trees", "min_child_weight", "subsample", "colsample")
    return tuple(params[key] for key in (*names, "gamma", "l1", "l2"))


def test_settings_of_the_trees() -> None:
    assert settings_of("retrain") == (6, 0.1, 200, 1.0, 0.8, 0.8, 0.0, 0.0, 1.0)
    assert settings_of("production") == (5, 0.1, 200, 3.0, 0.8, 0.8, 0.0, 0.0, 1.0)
    assert settings_of("ultimate") == (6, 0.05, 300, 3.0, 0.8, 0.8, 0.1, 0.1, 1.0)
    assert settings_of("balanced") == (5, 0.03, 500, 5.0, 0.7, 0.7, 0.2, 0.5, 2.0)
    assert {name: PRESETS[name].recipe.preprocess.get("top_k") for name in PRESETS} == {
        "retrain": None,
        "production": 100,
        "ultimate": None,
        "balanced": 200,
    }
    stops = {name: PRESETS[name].recipe.validation_fraction > 0 for name in PRESETS}
    assert [name for name, early in stops.items() if early] == ["retrain"]
    assert PRESETS["retrain"].recipe.params["early_stopping_rounds"] == 20
    assert (PRESETS["production"].strategy, PRESETS["production"].align) == ("pooled", "moments")


def test_a_name_is_found_in_any_case_or_refused_with_the_likely_one() -> None:
    assert task.preset(" Production") is PRESETS["production"]
    with pytest.raises(UsageError, match=r"no preset 'producton' \(did you mean `production`\?\)\. Known"):
        task.preset("producton")


def test_purple_is_boosted_and_doubt_is_kept() -> None:
    assert zone_of_frames([[0.15, 0.2, 0.65]] * 6).label == 2  # 0.845 of 1.195 is more than 0.7
    assert zone_of_frames([[0.65, 0.2, 0.15]] * 6).label == UNDECIDED
    assert zone_of_frames([[0.8, 0.1, 0.1]] * 6, "mean").label == 0
