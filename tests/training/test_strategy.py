"""Strategies: own rows alone decide, each mixes what it says, nothing of a fold's own rows reaches its fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from training_tables import METRICS, QUICK_NEURAL, make_dataset

from earmark.data.dataset import Dataset
from earmark.errors import UsageError
from earmark.models.classifier import Classifier
from earmark.models.registry import make
from earmark.training.crossval import cross_validate
from earmark.training.recipe import Recipe
from earmark.training.strategy import STRATEGIES, FitJob, Strategy, canonical_strategy
from earmark.training.train import train

QUICK = {"n_trees": 12, "max_depth": 2}
FITTED = [name for name in STRATEGIES if not Strategy(name).members()]


def other_source(n: int = 90, *, moved: float = 4.0, **changes: Any) -> Dataset:
    """Rows of another source: the same classes on the same columns, shifted and stretched."""
    data = make_dataset(n, seed=7)
    values: dict[str, Any] = {
        "ids": tuple(f"deam-{i}" for i in range(n)),
        "X": 2 * data.X + moved,
        "groups": np.array([f"deam-{i}" for i in range(n)]),
        "sources": np.array(["deam"] * n),
        "split": "auxiliary",
    }
    return replace(data, **(values | changes))


def recipe(name: str, algorithm: str = "logistic", **settings: Any) -> Recipe:
    params = {"xgboost": QUICK, "neural_network": QUICK_NEURAL}.get(algorithm, {})
    return Recipe(algorithm, params=params, strategy=Strategy(name, **settings))


def probabilities(
    name: str, own: Dataset, other: Dataset | None, algorithm: str = "logistic", **settings: Any
):
    chosen = recipe(name, algorithm, **settings)
    return cross_validate(
        lambda: chosen.make(own.classes), own, strategy=chosen.strategy, auxiliary=other, seed=3
    )


@pytest.mark.parametrize("name", [name for name in FITTED if name != "transfer"])
def test_a_fold_sees_neither_its_own_rows_nor_the_auxiliary_rows_of_its_number(name: str) -> None:
    own, other = make_dataset(), other_source()
    before = probabilities(name, own, other)
    spoilt = replace(own, y=np.where(own.folds == 1, (own.y + 1) % 3, own.y), X=own.X)
    spoilt_other = replace(other, y=np.where(other.folds == 1, (other.y + 1) % 3, other.y))
    after = probabilities(name, spoilt, spoilt_other)
    rows, rows_other = own.folds == 1, other.folds == 1
    assert (before.probabilities[rows] == after.probabilities[rows]).all()
    assert before.auxiliary is not None and after.auxiliary is not None
    assert (before.auxiliary[rows_other] == after.auxiliary[rows_other]).all()
    if name != "auxiliary":
        assert not np.array_equal(before.probabilities[~rows], after.probabilities[~rows])


@pytest.mark.parametrize("algorithm", ["xgboost", "neural_network"])
def test_transfer_sees_neither_either(algorithm: str) -> None:
    own, other = make_dataset(), other_source()
    before = probabilities("transfer", own, other, algorithm)
    spoilt = replace(own, y=np.where(own.folds == 1, (own.y + 1) % 3, own.y))
    spoilt_other = replace(other, y=np.where(other.folds == 1, (other.y + 1) % 3, other.y))
    after = probabilities("transfer", spoilt, spoilt_other, algorithm)
    rows = own.folds == 1
    assert (before.probabilities[rows] == after.probabilities[rows]).all()


@pytest.mark.parametrize("name", FITTED)
def test_a_strategy_repeats_bit_for_bit(name: str) -> None:
    own, other = make_dataset(), other_source()
    first = probabilities(name, own, other, "xgboost")
    assert (first.probabilities == probabilities(name, own, other, "xgboost").probabilities).all()


def test_own_rows_alone_are_what_no_strategy_gives() -> None:
    own = make_dataset()
    plain = cross_validate(lambda: recipe("user").make(own.classes), own, seed=3)
    assert (plain.probabilities == probabilities("user", own, other_source()).probabilities).all()


def test_a_weight_is_what_repeating_a_row_is() -> None:
    """A weight of 3 on own rows gives the model of a table that holds each own row three times."""
    own, other = make_dataset(), other_source()
    classifier = recipe("weighted").make(own.classes)
    weighted = Strategy("weighted", user_weight=3.0).fit(
        FitJob(lambda: recipe("weighted").make(own.classes), own, other)
    )
    prepared = classifier.prepare(own.X, own.y, own.columns).preprocess
    X = np.concatenate([prepared.transform(own.X)] * 3 + [prepared.transform(other.X)])
    n, n_repeated = len(own.y) + len(other.y), len(X)
    # The penalty is per row, so the longer table gets the one of the shorter.
    by_hand = make("logistic", strength=0.03 * n / n_repeated).fit(
        X, np.concatenate([own.y] * 3 + [other.y]), n_classes=3
    )
    assert np.allclose(
        weighted.predict_proba(own.X, own.columns),
        by_hand.predict_proba(prepared.transform(own.X)),
        atol=1e-3,
    )


def test_balanced_draws_the_number_from_each_source_and_keeps_proportions() -> None:
    own, other = make_dataset(60), other_source(90)
    job = FitJob(lambda: recipe("balanced").make(own.classes), own, other)
    classifier = job.new_classifier()
    rows = Strategy("balanced", per_source=30)._rows(classifier, job)
    assert (
        len(rows.y) == 60
        and np.bincount(rows.y[:30]).tolist() == [10, 10, 10] == np.bincount(rows.y[30:]).tolist()
    )
    assert len(Strategy("balanced", per_source=400)._rows(classifier, job).y) == 150


def test_alignment_repairs_a_shifted_source() -> None:
    """Another source with a few more labels helps once it is moved where the scored rows are, and harms before."""
    own, other = make_dataset(24, shift=1.2), other_source(300, moved=9.0)
    scores = {
        name: METRICS["accuracy"].function(own.y, probabilities(name, own, other, **more).probabilities)
        for name, more in {"pooled": {}, "weighted": {"align": "moments"}, "coral": {}}.items()
    }
    assert scores["weighted"] > scores["pooled"] and scores["coral"] > scores["pooled"]


@pytest.mark.parametrize("algorithm", ["xgboost", "neural_network"])
def test_transfer_continues_from_the_first_half(algorithm: str) -> None:
    own, other = make_dataset(30), other_source(90, moved=0.0)
    chosen = recipe("transfer", algorithm)
    job = FitJob(lambda: chosen.make(own.classes), own, other, length=1)
    started = chosen.strategy.fit(job)
    alone = Strategy("user").fit(replace(job, auxiliary=None))
    p_started, p_alone = (model.predict_proba(own.X, own.columns) for model in (started, alone))
    # One small step from what the other source taught is better than one step from nothing.
    assert METRICS["log_loss"].function(own.y, p_started) < METRICS["log_loss"].function(own.y, p_alone)
    assert started.estimator.length == 1


def test_a_class_that_only_one_source_has_is_learned_from_it() -> None:
    own, other = make_dataset(), other_source()
    own = own.take(own.y != 2)
    for name, algorithm in [("weighted", "logistic"), ("transfer", "xgboost"), ("auxiliary", "xgboost")]:
        chosen = recipe(name, algorithm)
        fitted = chosen.strategy.fit(FitJob(lambda chosen=chosen: chosen.make(own.classes), own, other))
        assert fitted.predict_proba(own.X, own.columns)[:, 2].max() > 0


@pytest.mark.parametrize(
    ("strategy", "algorithm", "words"),
    [("weighted", "logistic", "second source"), ("transfer", "logistic", "second source")],
)
def test_a_second_source_that_is_missing_is_said(strategy: str, algorithm: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        probabilities(strategy, make_dataset(), None, algorithm)


def test_what_cannot_be_continued_is_said() -> None:
    with pytest.raises(UsageError, match="cannot continue"):
        probabilities("transfer", make_dataset(), other_source(), "random_forest")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"name": "wieghted"}, "weighted"),
        ({"user_weight": 0.0}, "user_weight"),
        ({"per_source": 0}, "per_source"),
        ({"align": "kmm"}, "align"),
        ({"learning_rate": 2.0}, "learning_rate"),
        ({"member_weights": (1.0, 0.0)}, "member_weights"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Strategy(**settings)


def test_earlier_names_are_known() -> None:
    assert canonical_strategy("DEAM") == "auxiliary" and canonical_strategy("user-only") == "user"


class TestRuns:
    """Through `train`: what a run holds of the second source."""

    def trained(self, tmp_path: Path, chosen: Recipe, other: Dataset | None):
        own = make_dataset(sources=np.array(["user"] * 60))
        return train(
            chosen, own, root=tmp_path, task="zones", metrics=METRICS, rank_by="accuracy", auxiliary=other
        )

    def test_the_other_source_stands_beside_and_changes_no_score(self, tmp_path: Path) -> None:
        run = self.trained(tmp_path, recipe("user"), other_source()).run
        plain = self.trained(tmp_path, recipe("user"), None).run
        assert run.metrics == plain.metrics and run.key != plain.key
        assert run.auxiliary_metrics["accuracy"]["value"] > 0 and plain.auxiliary_metrics == {}
        beside = run.auxiliary_out_of_fold()
        assert beside is not None and set(beside["source"]) == {"deam"} and beside.height == 90
        assert plain.auxiliary_out_of_fold() is None
        assert set(run.out_of_fold()["source"]) == {"user"}
        assert run.strategy == "user" and "weighted" not in run.name

    def test_a_blend_is_the_mean_of_its_members(self, tmp_path: Path) -> None:
        run = self.trained(tmp_path, recipe("blend"), other_source()).run
        members = [self.trained(tmp_path, recipe(name), other_source()) for name in ("user", "weighted")]
        assert all(member.reused for member in members) and "blend" in run.name
        columns = [f"probability_{name}" for name in run.classes]
        for table in ("out_of_fold", "auxiliary_out_of_fold"):
            of = [getattr(found.run, table)().select(columns).to_numpy() for found in members]
            mixed = getattr(run, table)().select(columns).to_numpy()
            assert np.allclose(mixed, 0.6 * of[0] + 0.4 * of[1], atol=1e-6)
        classifier, own = run.classifier(), make_dataset()
        p = [found.run.classifier().predict_proba(own.X, own.columns) for found in members]
        assert np.allclose(classifier.predict_proba(own.X, own.columns), 0.6 * p[0] + 0.4 * p[1], atol=1e-6)

    def test_searched_weights_are_chosen_without_the_fold(self, tmp_path: Path) -> None:
        run = self.trained(tmp_path, recipe("blend", search=True), other_source()).run
        weights = run.config["fit"]["weights"]
        assert sum(weights) == pytest.approx(1) and len(weights) == 2

    def test_an_ensemble_of_a_strategy(self, tmp_path: Path) -> None:
        chosen = Recipe(
            "ensemble", params={"members": ("logistic", "ordinal")}, strategy=Strategy("weighted")
        )
        run = self.trained(tmp_path, chosen, other_source()).run
        assert run.strategy == "weighted" and run.auxiliary_out_of_fold() is not None


@pytest.mark.parametrize("algorithm", ["xgboost", "neural_network"])
@pytest.mark.parametrize("align", ["none", "moments", "coral"])
def test_the_first_half_of_a_transfer_stops_by_auxiliary_rows_that_moved_with_the_others(
    algorithm: str, align: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Alignment undoes a shift and stretch, so the held-out rows say of the first half what they say without it."""
    seen: list[Any] = []
    fit_prepared = Classifier.fit_prepared

    def watched(self: Classifier, *given: Any, **more: Any) -> Classifier:
        seen.append(more)
        return fit_prepared(self, *given, **more)

    monkeypatch.setattr(Classifier, "fit_prepared", watched)
    own = make_dataset(60)
    chosen = recipe("transfer", algorithm, align=align)
    chosen.strategy.fit(FitJob(lambda: chosen.make(own.classes), own, other_source(120, moved=9.0)))
    held, labels = seen[0]["held"]
    assert len(labels) > 10
    if align != "none":
        assert np.abs(held.mean(axis=0)).max() < 1 and 0.5 < held.std(axis=0).mean() < 2
    else:
        assert held.mean() > 3
    assert seen[1].get("held") is None


@pytest.mark.parametrize("name", ["user", "auxiliary", "weighted", "coral"])
def test_auxiliary_rows_are_scored_where_they_were_moved_to(name: str) -> None:
    """A shift and stretch of the whole other source changes nothing of what an aligned model says of it."""
    own = make_dataset(90)
    settings = {} if name == "coral" else {"align": "moments"}
    near = probabilities(name, own, other_source(120, moved=0.0), **settings)
    far = probabilities(name, own, other_source(120, moved=40.0), **settings)
    assert near.auxiliary is not None and far.auxiliary is not None
    assert np.allclose(near.auxiliary, far.auxiliary, atol=1e-2)


def test_folds_that_were_kept_hold_what_they_said_of_auxiliary_rows(tmp_path: Path) -> None:
    own, other, chosen = make_dataset(), other_source(), recipe("weighted", align="moments")
    first, again = (
        cross_validate(
            lambda: chosen.make(own.classes), own, strategy=chosen.strategy, auxiliary=other, work=tmp_path
        )
        for _ in range(2)
    )
    assert again.reused == (True,) * len(again.names)
    assert np.array_equal(first.auxiliary, again.auxiliary)
