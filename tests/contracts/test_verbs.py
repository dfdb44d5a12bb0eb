"""The verbs over a small task: what they leave, what they reuse, and what they refuse."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import tone_task

from earmark.errors import RunError, SealError, UsageError
from earmark.features import FeatureSet, feature_group
from earmark.inference.prediction import Failed
from earmark.tasks.probe import feature_probe, require_same_features
from earmark.tasks.project import Project
from earmark.tasks.verbs.evaluate import evaluate
from earmark.tasks.verbs.extract import extract
from earmark.tasks.verbs.predict import chosen_run, predict
from earmark.tasks.verbs.prepare import prepare
from earmark.tasks.verbs.train import TrainOptions, train


@pytest.fixture
def project(tmp_path, tone_folder):
    project = Project.open(tone_task.task, tmp_path / "project", {"workers": 1})
    prepare(project, [tone_folder / "labels.csv"])
    return project


def test_prepare_accounts_for_every_row_and_is_idempotent(project, tone_folder):
    again = prepare(project, [tone_folder / "labels.csv"])
    assert (again.n_items, again.n_train + again.n_test) == (48, 48)
    assert sum(again.folds) == again.n_train
    assert again.report.rows_read == again.report.kept + len(again.report.rejected)
    before = project.splits.hash
    prepare(project, [tone_folder / "labels.csv"])
    assert project.splits.hash == before


def test_prepare_lists_what_it_cannot_use(project, tone_folder):
    with (tone_folder / "labels.csv").open("a") as file:
        file.write("gone.wav,low,singer99\n00.wav,low,singer0\n")
    report = prepare(project, [tone_folder / "labels.csv"]).report
    assert report.rows_read == 50
    assert [reason for _, reason in report.rejected][1] == "listed twice"
    with pytest.raises(UsageError, match=r"no `.*nowhere.csv`"):
        prepare(project, [tone_folder / "nowhere.csv"])


def test_a_new_test_set_needs_a_reason_and_the_ledger_keeps_it(project, tone_folder):
    other = dataclasses.replace(
        project.task, split=dataclasses.replace(project.task.split, test_fraction=0.4)
    )
    changed = Project(other, project.effective)
    prepare(changed, [tone_folder / "labels.csv"], reseal_reason="more test tones")
    assert project.sealed.openings().n_reseals in (0, 1)
    assert len(project.splits.test_ids) > 12
    with pytest.raises(SealError, match="released"):
        Project.open(tone_task.task, project.root)
        from earmark.data.seal import seal
        from earmark.data.splits import Splits
        from earmark.tasks.inputs import import_items
        from earmark.tasks.task import ImportRequest

        request = ImportRequest((str(tone_folder / "labels.csv"),), project.root, project.cache.identify)
        manifest = import_items(request).manifest
        seal(project.data_folder, manifest, Splits.make(manifest, project.split_policy))


def test_train_twice_is_a_look_up_and_force_trains_again(project):
    first = train(project)
    assert not first.reused
    second = train(project)
    assert {run.name for run in second.runs} == second.reused
    assert [run.key for run in second.runs] == [run.key for run in first.runs]
    forced = train(project, TrainOptions(algorithms=("logistic",), force=True))
    assert not forced.reused
    logistic = next(run for run in first.runs if run.algorithm == "logistic")
    assert forced.best.metrics == logistic.metrics


def test_train_refuses_unknown_names_with_the_likely_one(project):
    with pytest.raises(UsageError, match="balanced_accuracy"):
        train(project, TrainOptions(metric="balanced_acuracy"))
    with pytest.raises(UsageError, match="default"):
        train(project, TrainOptions(features="defualt"))


def test_evaluate_writes_the_report_and_json_of_the_promised_shape(project):
    run = train(project).best
    evaluated = evaluate(project, run)
    document = evaluated.evaluation.to_json()
    assert set(document) == {
        "task",
        "run",
        "split",
        "n",
        "metrics",
        "baselines",
        "per_class",
        "test_openings",
        "sources",
        "domain_shift_auc",
        "analyses",
    }
    assert document["n"] == len(project.splits.train_ids)
    assert set(document["metrics"]["balanced_accuracy"]) == {"value", "low", "high"}
    assert {"majority", "prior"} <= set(document["baselines"])
    for name in (
        "report.html",
        "confusion_matrix.png",
        "feature_importance.csv",
        "errors.csv",
        "MODEL_CARD.md",
    ):
        assert (evaluated.folder / name).stat().st_size > 0
    assert "http" not in evaluated.report.read_text().replace("http://www.w3.org", "")


def test_predict_keeps_the_order_and_goes_on_after_a_failure(project, tone_folder):
    train(project)
    paths = [str(tone_folder / "03.wav"), str(tone_folder / "labels.csv"), str(tone_folder / "02.wav")]
    predicted = predict(project, [paths[0], str(tone_folder / "nothing.wav"), paths[2]])
    assert [outcome.path for outcome in predicted.outcomes] == [
        paths[0],
        str(tone_folder / "nothing.wav"),
        paths[2],
    ]
    assert isinstance(predicted.outcomes[1], Failed)
    document = predicted.to_json()
    assert document[0]["label"] in ("low", "high")
    assert sum(document[0]["probabilities"].values()) == pytest.approx(1)
    assert set(document[1]) == {"path", "error"}
    json.dumps(document)


def test_predict_needs_a_run_and_a_source(project, tone_folder):
    with pytest.raises(UsageError, match="no input"):
        predict(project, [])
    with pytest.raises(RunError, match="earmark train tone"):
        predict(project, [str(tone_folder / "00.wav")])


def test_batch_predictions_are_those_of_the_training_features(project, tone_folder):
    trained = train(project)
    table = extract(project, [str(tone_folder)]).table
    predicted = predict(project, [str(tone_folder)], run=trained.best.name)
    p = trained.best.classifier().predict_proba(table.values, table.columns)
    given = np.array([list(outcome.probabilities.values()) for outcome in predicted.outcomes])
    np.testing.assert_array_equal(given.astype(np.float32), p.astype(np.float32))


def test_the_default_run_is_the_best_of_the_newest_rows(project):
    trained = train(project)
    assert chosen_run(project).name == trained.best.name
    assert chosen_run(project, trained.runs[-1].name).name == trained.runs[-1].name


def test_a_model_is_not_asked_about_features_that_mean_something_else_now(project, tone_folder):
    train(project)

    @feature_group("tone.spectrum", columns=("centroid_hz", "level", "spread_hz"), sample_rate=8_000)
    def louder(clip):
        return tone_task.spectrum.function(clip) * np.array([1.0, 2.0, 1.0])

    @feature_group("tone.spectrum", columns=("centroid_hz", "level", "spread_hz"), sample_rate=8_000)
    def equal(clip):
        values = tone_task.spectrum.function(clip)
        return [values[0], values[1], values[2]]

    source = [str(tone_folder / "00.wav")]
    changed = Project(
        dataclasses.replace(tone_task.task, groups=[louder], feature_sets={}), project.effective
    )
    with pytest.raises(RunError, match=r"1 of 3 columns of a probe differ, such as tone\.spectrum\.level"):
        predict(changed, source)
    refactored = Project(
        dataclasses.replace(tone_task.task, groups=[equal], feature_sets={}), project.effective
    )
    assert predict(refactored, source).to_json()[0]["label"] == predict(project, source).to_json()[0]["label"]


def test_the_probe_covers_every_selected_column():
    chosen = FeatureSet("one", (tone_task.spectrum,), ("tone.spectrum.level",))
    values = feature_probe(chosen)
    assert list(values) == ["tone.spectrum.level"]
    require_same_features("run", chosen, values)
    with pytest.raises(RunError, match="says nothing"):
        require_same_features("run", chosen, {})


def test_extract_writes_no_features_of_sealed_items(project):
    import polars as pl

    extracted = extract(project)
    assert extracted.to_json()["items"] == 48
    table = pl.read_parquet(extracted.written[0])
    assert set(table["id"]) == set(project.splits.train_ids)
    assert extract(project).table.computed == {"tone.spectrum": 0}
