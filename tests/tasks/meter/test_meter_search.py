"""The search of meter: views as an axis, pruning, resuming, a finale over seeds; ablation; settings in short words."""

from __future__ import annotations

import json

import pytest
from meter_projects import make_project

from earmark.errors import UsageError
from earmark.models.registry import make
from earmark.tasks.meter import task as meter
from earmark.tasks.meter.training.ablation import Ablation, _parts
from earmark.tasks.meter.training.search import MeterSearch, best_of_search
from earmark.tasks.meter.training.settings import NETWORKS, chosen_view, estimator_parameters, model_algorithm
from earmark.tasks.meter.training.token_plans import TOKEN_PLANS
from earmark.tasks.meter.views import VIEWS
from earmark.tasks.verbs.train import TrainOptions
from earmark.training.pruning import Pruning


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("meter"))


def _open(project, **given):
    options = TrainOptions(algorithms=("logistic",))
    return MeterSearch.open(project, "logistic", options, views=("both", "noise"), **given)


def test_a_search_resumes_ranks_all_views_and_ends_in_a_finale(project):
    search = _open(project)
    assert [row.point.status for row in search.rows()] == ["pending"] * 6
    heard = []
    search.run(limit=4, on_point=lambda view, event: heard.append((view, event["status"])))
    assert heard == [("both", "done")] * 3 + [("noise", "done")]
    search.run(on_point=lambda view, event: heard.append((view, event["status"])))
    assert len(heard) == 6
    best = search.summary()[0]
    assert best.view == "both" and best.point.score > 0.7
    logs = list(search.searches["both"].journal.with_suffix(".logs").glob("*.jsonl"))
    assert len(logs) == 3
    assert any(json.loads(line)["event"] == "score" for line in logs[0].read_text().splitlines())
    finalists = search.finale(top=2, n_seeds=2, keep_top=1)
    assert [len(one.runs) for one in finalists] == [2, 2] and finalists[0].mean >= finalists[1].mean
    winner = best_of_search(project)
    assert winner is not None and winner.name in [run.name for run in finalists[0].runs]
    assert not any(run.path.exists() for run in finalists[1].runs)
    assert search.reset(with_runs=True) == 6
    assert best_of_search(project) is None and not any(run.path.exists() for run in finalists[0].runs)
    with pytest.raises(UsageError, match="no finale"):
        search.finale(top=1, n_seeds=1)


def test_points_far_behind_are_ended_and_left_alone(project):
    space = {"strength": (10.0,)}
    good = _open(project, space=space, pruning=Pruning(3, min_folds=1))
    good.run()
    search = MeterSearch.open(
        project,
        "logistic",
        TrainOptions(algorithms=("logistic",)),
        views=("both",),
        space={"preprocess.leave_out": (("*plain*",),), "strength": (10.0, 1.0)},
        pruning=Pruning(3, min_folds=2),
    )
    search.run()
    statuses = [row.point.status for row in search.rows()]
    assert statuses == ["pruned", "pruned"], [row.point for row in search.rows()]
    assert "behind the best after 2 folds" in search.rows()[0].point.error
    ended = []
    search.run(on_point=lambda view, event: ended.append(event))
    assert ended == []
    search.run(retry_pruned=True, on_point=lambda view, event: ended.append(event))
    assert len(ended) == 2
    search.reset()


def test_ablation_says_what_each_group_is_worth(project):
    rows = Ablation.open(project, TrainOptions(algorithms=("logistic",)), n_seeds=2).run()
    assert [row.left_out for row in rows] == ["none", "meter.plain", "meter.noise"]
    assert rows[1].delta < -0.1 and rows[1].n_columns == 2 and rows[0].delta == 0
    drawn = Ablation.open(project, TrainOptions(algorithms=("xgboost",)), n_seeds=2)
    assert [row.status for row in drawn.rows()] == ["TODO"] * 3 and len(drawn.search.points()) == 6


def test_parts_of_an_ablation_are_groups_signals_and_steps():
    parts = _parts(VIEWS["g1630"].columns, multi=True)
    assert (
        parts["meter.signals.autocorr"] == ("meter.signals.autocorr_*",) and len(parts) == 1 + 5 + 5 + 10 + 3
    )
    assert list(_parts(VIEWS["grid"].columns, multi=False)) == ["none"]


def test_pruning_is_written_gap_and_epoch():
    assert Pruning.parse("3") == Pruning(3.0) and Pruning.parse("3,40").start == 40
    for text in ("", "x", "3,", "-1", "3,0,5", "0"):
        with pytest.raises(UsageError):
            Pruning.parse(text)


def test_short_words_become_parameters_of_the_estimators():
    assert model_algorithm("mlp") == "residual_mlp" and model_algorithm("boosting") == "xgboost"
    found = estimator_parameters(
        "residual_mlp", {"hidden": 512, "lr": 3e-4, "focal": True, "aug_mode": "mixup"}
    )
    assert make("residual_mlp", **found).get_params()["focal_gamma"] == 2.0
    assert found["mix"] == "mixup" and found["blocks"] == TOKEN_PLANS["v4"]
    both = estimator_parameters("ensemble", {"hidden": 256, "n_heads": 8})
    model = make("ensemble", **both)
    assert (
        model.get_params()["residual_mlp__hidden"] == 256
        and model.get_params()["ft_transformer__n_heads"] == 8
    )
    with pytest.raises(UsageError, match="xgboost has no hidden"):
        estimator_parameters("xgboost", {"hidden": 5})
    with pytest.raises(UsageError, match="of --token-split uniform"):
        estimator_parameters("ft_transformer", {"token_split": "v3", "n_tokens": 4})


def test_no_network_counts_rare_classes_twice():
    """Their loss weighs the classes: rows must not be weighed as well, and members of an ensemble are the networks."""
    recipes = {recipe.algorithm: recipe for recipe in meter.task.recipes}
    assert {recipes[name].class_weight for name in (*NETWORKS, "ensemble")} == {None}
    assert [member.algorithm for member in recipes["ensemble"].members()] == list(NETWORKS[:2])
    for recipe in (*recipes["ensemble"].members(), recipes["hybrid"]):
        assert recipe.params["blocks"] == TOKEN_PLANS["v4"] and recipe.class_weight is None


def test_two_options_for_different_views_exclude_each_other(project):
    assert chosen_view(project, "noise") == "noise" and chosen_view(project, None) is None
    with pytest.raises(UsageError, match="different features"):
        chosen_view(project, "noise", no_mert=True)


def test_token_plans_have_the_sizes_of_their_blocks():
    from earmark.models.column_blocks import block_of_columns

    audio = pytest.importorskip("earmark.tasks.meter.groups.audio_columns").audio_columns("v6")
    names = tuple(f"meter.audio.{name}" for name in audio)
    for plan, sizes in (("v4", [256] * 4), ("v3", [64] * 16)):
        block = block_of_columns(TOKEN_PLANS[plan], len(names), names)
        counts = [int((block == b).sum()) for b in range(int(block.max()) + 1)]
        assert counts == [*sizes, 108, 224, 84, 9]
