"""`train`, `grid` and `evaluate meter` as they are typed, on a small project in the place of the task."""

from __future__ import annotations

import csv
import json
import sys

import pytest
from meter_projects import make_project

from earmark.cli.main import main
from earmark.tasks import registry
from earmark.tasks.meter.training.settings import estimator_parameters, seed_of
from earmark.training.recipe import Recipe
from earmark.training.runs import load_run


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("meter")
    make_project(path)
    return path


@pytest.fixture
def earmark(folder, monkeypatch, capsys):
    monkeypatch.setitem(registry.BUILT_IN, "meter", "meter_projects:TASK")

    def run(*arguments: str):
        monkeypatch.setattr(sys, "argv", ["earmark", *arguments, "-C", str(folder)])
        with pytest.raises(SystemExit) as end:
            main()
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run


def test_train_evaluate_and_keep_a_record(earmark, folder):
    code, out, err = earmark("train", "meter", "--model", "logistic", "--format", "json")
    assert code == 0, err
    (row,) = json.loads(out)["runs"]
    assert row["balanced_accuracy"] > 0.7 and "earmark runs promote" in err
    path = folder / "predictions.csv"
    code, out, err = earmark(
        "evaluate",
        "meter",
        "--quick",
        "--ci",
        "--confusion",
        "--leave-source-out",
        "--plot",
        "--dump-preds",
        str(path),
    )
    assert code == 0, err
    titles = (
        "By class",
        "By style",
        "True class by answer",
        "Accuracy of the most confident",
        "Source left out",
    )
    for words in ("original labels", "majority", "svm_mfcc", *titles):
        assert words in out, words
    assert len(list((folder / "runs" / "meter" / row["run"] / "figures").glob("*.png"))) == 3
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert {row["predicted"] for row in rows} <= {"3", "4"} and all(row["label"] in "34" for row in rows)
    code, out, err = earmark("evaluate", "meter", "--split", "test", "--limit", "0", "--save")
    assert code == 0 and "Accepted." in err
    assert earmark("evaluate", "meter", "--quick", "--split", "test")[0] == 2
    assert earmark("evaluate", "meter", "--dump-preds", "x.txt")[0] == 2


def test_the_answers_of_other_workers_are_the_same(earmark):
    found = [earmark("evaluate", "meter", "--workers", n, "--format", "json")[1] for n in ("0", "2")]
    assert found[0] == found[1] and json.loads(found[0])["n"] > 0


def test_grid_from_dry_run_to_finale(earmark):
    base = ("grid", "meter", "--model", "logistic", "--views", "both,noise", "--set", "strength=0.1,1.0")
    code, out, err = earmark(*base, "--dry-run", "--format", "json")
    assert code == 0, err
    assert [point["status"] for point in json.loads(out)["points"]] == ["TODO"] * 4
    code, out, err = earmark(*base, "--final-top", "1", "--seeds", "1", "--format", "json")
    assert code == 0 and "[4/4] DONE" in err, err
    winner = json.loads(out)["winner"]
    assert json.loads(earmark("evaluate", "meter", "--run", "best", "--format", "json")[1])["run"] == winner
    code, out, err = earmark(*base, "--no-finale")
    assert code == 0 and "SKIP 4 of 4" in err
    code, out, _ = earmark(*base, "--summary", "--top", "2", "--format", "json")
    assert len(json.loads(out)["points"]) == 2 and json.loads(out)["points"][0]["view"] == "both"
    assert "Forgotten: 4" in earmark(*base, "--reset")[2]


def test_rows_of_a_training_are_chosen_recorded_and_found_again(earmark, folder):
    base = ("train", "meter", "--model", "logistic", "--format", "json")
    code, out, err = earmark(
        *base, "--kfold", "4", "--balance-source", "--limit", "30", "--extract", "--save"
    )
    assert code == 0, err
    (row,) = json.loads(out)["runs"]
    run = load_run(row["run"], root=folder / "runs")
    assert "-test-logistic" in run.name and run.config["folds"] == 4 and run.config["rows"] == 30
    assert run.config["settings"]["rows"] == {"limit": 30, "n_folds": 4, "balance_sources": True}
    code, out, err = earmark("evaluate", "meter", "--run", "best", "--format", "json", "--no-controls")
    assert code == 0 and json.loads(out)["run"] == run.name and json.loads(out)["n"] == 30, err
    code, out, err = earmark(*base, "--no-extra-data")
    assert code == 0 and json.loads(out)["runs"][0]["run"] != run.name


def test_seeds_of_an_ensemble_reach_its_members():
    recipe = Recipe("ensemble", params={**estimator_parameters("ensemble", {}), **seed_of("ensemble", 7)})
    assert [member.make(("3", "4")).estimator.get_params()["seed"] for member in recipe.members()] == [7, 7]


def test_an_ablation_is_a_search_that_goes_on(earmark):
    base = ("grid", "meter", "--model", "logistic", "--ablate", "--format", "json")
    rows = json.loads(earmark(*base, "--dry-run")[1])["rows"]
    assert [row["status"] for row in rows] == ["TODO"] * 3
    code, out, err = earmark(*base, "--multi")
    assert code == 0, err
    rows = {row["left_out"]: row for row in json.loads(out)["rows"]}
    assert list(rows) == ["none", "meter.plain", "meter.noise"]  # both together would be everything
    assert rows["meter.plain"]["delta"] < -0.1 and rows["none"]["delta"] == 0
    code, _, err = earmark(*base)
    assert code == 0 and "[1/" not in err
    assert json.loads(earmark("train", "meter", "--model", "logistic", "--ablate", "--format", "json")[1])[
        "rows"
    ]
    assert "Forgotten: 3" in earmark(*base, "--reset")[2]


def test_what_happens_in_points_is_shown_while_they_are_computed(earmark):
    base = ("grid", "meter", "--model", "logistic", "--set", "strength=0.3,3.0", "--no-finale")
    code, _, err = earmark(*base, "--stream-train", "--threads-per-run", "1", "--parallel-runs", "2")
    assert code == 0 and err.count("fold-0: ") == 2 == err.count("DONE"), err
    earmark(*base, "--reset")


def test_runs_of_different_views_are_joined(earmark, folder):
    def trained(view):
        out = earmark("train", "meter", "--model", "logistic", "--view", view, "--format", "json")[1]
        return json.loads(out)["runs"][0]["run"]

    first, second = trained("both"), trained("noise")
    base = ("thresholds", "meter", "--ensemble", first, second, "--format", "json")
    code, out, err = earmark(*base, "--dry-run")
    assert code == 0 and json.loads(out)["run"] is None, err
    code, out, err = earmark(*base, "--weights", "per-class")
    document = json.loads(out)
    assert code == 0 and {len(kind["weights"]) for kind in document["kinds"].values()} == {2}, err
    assert json.loads(earmark(*base, "--weights", "per-class")[1])["run"] == document["run"]
    scores = [kind["scores"]["balanced_accuracy"]["value"] for kind in document["kinds"].values()]
    assert max(scores) > scores[0] + 0.1  # a member that guesses gets little weight
    code, out, err = earmark("evaluate", "meter", "--run", document["run"], "--format", "json", "--report")
    assert code == 0, err
    assert json.loads(out)["original"]["balanced_accuracy"]["value"] == pytest.approx(
        document["kinds"]["per-class"]["scores"]["balanced_accuracy"]["value"], abs=1e-6
    )
    code, _, err = earmark("evaluate", "meter", "--run", document["run"], "--split", "test", "--no-controls")
    assert code == 0, err
    assert earmark("thresholds", "meter", document["run"], "--coverage", "0.9")[0] == 0
    assert document["run"] in earmark("runs", "list", "meter")[1]
    assert earmark("runs", "show", document["run"])[0] == 0
    assert earmark("runs", "compare", document["run"], first)[0] == 0
    assert earmark("runs", "promote", document["run"])[0] == 0
    code, out, err = earmark("runs", "promote", second, "--force", "--format", "json")
    assert code == 0 and "warning: in total: " in err and "warning: 4: " in err, err
    assert len(json.loads(out)["losses"]) == 2
    assert earmark("runs", "rollback", "meter")[0] == 0


def test_every_experiment_is_a_line(earmark, folder):
    for words in (
        ("train",),
        ("grid", "--set", "strength=0.3", "--final-top", "1", "--seeds", "1"),
        ("grid", "--ablate"),
    ):
        assert earmark(words[0], "meter", "--model", "logistic", *words[1:])[0] == 0
    assert earmark("evaluate", "meter", "--split", "test", "--limit", "0", "--no-controls")[0] == 0
    lines = [json.loads(line) for line in (folder / "runs/meter/experiments.jsonl").read_text().splitlines()]
    assert {"train", "grid", "ablate", "evaluate"} <= {line["kind"] for line in lines}
    assert all(len(line["hash"]) == 16 and line["data"]["items"] and line["command"] for line in lines)
    of_test = [line["results"] for line in lines if line["results"].get("split") == "test"]
    assert of_test and all(set(found) == {"split", "n"} for found in of_test)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("train", "meter", "--model", "nonsense"), "no estimator"),
        (("train", "meter", "--hidden", "64"), "xgboost has no hidden"),
        (("train", "meter", "--kfold", "1"), "n_folds is 1"),
        (("train", "meter", "--limit", "1"), "two folds or more"),
        (("grid", "meter", "--multi"), "Add --ablate"),
        (("thresholds", "meter", "--weights", "global"), "--ensemble"),
        (("thresholds", "meter", "--ensemble", "latest"), "two to four different runs"),
        (("grid", "meter", "--model", "forest"), "no grid for random_forest"),
        (("grid", "meter", "--model", "logistic", "--prune", "x"), "GAP or GAP,EPOCH"),
        (("evaluate", "meter", "--meter", "6", "--no-controls"), "meter is '6'"),
    ],
)
def test_what_cannot_be_done_is_said(earmark, arguments, words):
    code, _, err = earmark(*arguments)
    assert code == 2 and words in err
