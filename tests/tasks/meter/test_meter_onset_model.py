"""The onset model answers rows that it learnt by models without them; `extract` computes its dependants alone."""

from __future__ import annotations

import json
import shutil

import numpy as np
import polars as pl
import pytest
import soundfile
from clicked_bars import SAMPLE_RATE, clicked

from earmark.audio.clip import Clip
from earmark.cli.main import main
from earmark.data.dataset import Dataset
from earmark.data.manifest import Manifest
from earmark.data.seal import seal
from earmark.data.splits import Splits
from earmark.errors import RunError, UsageError
from earmark.evaluation.metrics import METRICS
from earmark.tasks.meter.fusion import FUSION, onset_problems
from earmark.tasks.meter.groups.audio_v6 import AUDIO
from earmark.tasks.meter.groups.onset_model import ONSET_MODEL
from earmark.tasks.meter.onset_runs import OnsetModel, keep_onset_model, row_digest, write_record
from earmark.tasks.meter.schema import CLASSES
from earmark.tasks.project import Project
from earmark.training.recipe import Recipe
from earmark.training.runs import load_run
from earmark.training.train import train

N_ROWS = 48


def noise_rows() -> Dataset:
    """Rows whose labels nothing tells: who knows them has learnt them by heart."""
    rng = np.random.default_rng(3)
    return Dataset(
        ids=tuple(f"clip-{i:03d}" for i in range(N_ROWS)),
        columns=AUDIO.column_names,
        X=rng.normal(size=(N_ROWS, len(AUDIO.columns))),
        y=rng.permutation(np.arange(N_ROWS) % 2),
        classes=CLASSES,
        groups=np.array([f"song-{i}" for i in range(N_ROWS)]),
        folds=np.arange(N_ROWS) % 3,
    )


@pytest.fixture(scope="module")
def memoriser(tmp_path_factory):
    """A forest that knows its rows by heart, as the onset model of a project."""
    root = tmp_path_factory.mktemp("project")
    dataset = noise_rows()
    recipe = Recipe("random_forest", params={"n_trees": 30})
    run = train(
        recipe, dataset, root=root / "runs", task="meter", metrics=METRICS, rank_by="accuracy", slug="onset"
    ).run
    write_record(run, dataset)
    keep_onset_model(run)
    return root, run, dataset


def test_rows_that_were_learnt_are_answered_by_the_model_without_them(memoriser):
    _, run, dataset = memoriser
    model = OnsetModel.of(run)
    answers = np.array([list(model.answers(row).values()) for row in dataset.X])
    honest = run.out_of_fold().select([f"probability_{name}" for name in CLASSES]).to_numpy()
    np.testing.assert_allclose(answers, honest, atol=1e-6)
    by_heart = run.classifier().predict_proba(dataset.X, dataset.columns)
    assert (by_heart.argmax(axis=1) == dataset.y).mean() > 0.95
    assert (answers.argmax(axis=1) == dataset.y).mean() < 0.75


def test_a_row_that_nobody_learnt_is_answered_by_the_final_model(memoriser):
    _, run, dataset = memoriser
    row = np.nextafter(dataset.X[0], np.float32(np.inf))
    expected = run.classifier().predict_proba(row[None], dataset.columns)[0]
    found = OnsetModel.of(run).answers(row)
    assert list(found) == list(CLASSES)
    np.testing.assert_allclose(list(found.values()), expected, atol=1e-6)


def test_classes_stand_in_their_signatures_and_nowhere_else(memoriser):
    _, run, dataset = memoriser
    clip = Clip(np.ones(3 * SAMPLE_RATE, np.float32), SAMPLE_RATE)
    AUDIO.hand_in(clip, dataset.X[5])
    model = OnsetModel.of(run)
    said = dict(zip(ONSET_MODEL.columns, ONSET_MODEL.with_parameters(model=model)(clip), strict=True))
    of_class = dict(zip(("3_4", "4_4", "5_4", "7_4", "9_8", "11_8"), CLASSES, strict=True))
    for column, value in said.items():
        expected = model.answers(dataset.X[5])[of_class[column]] if column in of_class else 0.0
        assert value == pytest.approx(expected)
    with pytest.raises(UsageError, match="--model onset"):
        ONSET_MODEL(clip)


def test_the_content_of_the_model_is_in_the_key_and_its_place_is_not(memoriser, tmp_path):
    _, run, dataset = memoriser
    moved = shutil.copytree(run.path, tmp_path / run.name)
    there, here = OnsetModel.of(load_run(moved)), OnsetModel.of(run)
    other = OnsetModel(here.path, "0" * 64)
    keys = [ONSET_MODEL.with_parameters(model=one).fingerprint().digest for one in (here, there, other, here)]
    assert keys[0] == keys[1] == keys[3] != keys[2]
    for file in (moved / "folds" / "0").glob("*.json"):
        file.write_text(file.read_text(encoding="utf-8") + " ", encoding="utf-8")
    with pytest.raises(RunError, match="have changed"):
        there.answers(dataset.X[0])
    with pytest.raises(RunError, match="has changed since it was chosen"):
        other.answers(dataset.X[0])


def test_rows_of_other_code_are_not_taken_for_new_ones(memoriser, tmp_path):
    _, run, dataset = memoriser
    moved = shutil.copytree(run.path, tmp_path / run.name)
    record = json.loads((moved / "onset_rows.json").read_text(encoding="utf-8"))
    record["probe"] = row_digest(np.zeros(3, np.float32))
    (moved / "onset_rows.json").write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(RunError, match=r"cannot be told from new ones.*--model onset"):
        OnsetModel.of(load_run(moved)).answers(dataset.X[0])


def test_equal_rows_in_two_folds_are_refused(memoriser):
    _, run, dataset = memoriser
    twice = Dataset(
        dataset.ids,
        dataset.columns,
        np.repeat(dataset.X[::2], 2, axis=0),
        dataset.y,
        CLASSES,
        dataset.groups,
        dataset.folds,
    )
    with pytest.raises(UsageError, match="clip of another fold"):
        write_record(run, twice)


def test_a_project_without_the_run_says_so(memoriser, tmp_path):
    root, run, _ = memoriser
    assert Project.open("meter", root).task.features(FUSION).columns[-1] == "meter.onset_model.12_8"
    folder = tmp_path / "runs" / "meter"
    folder.mkdir(parents=True)
    (folder / ".onset_model.json").write_text(json.dumps({"run": run.name}), encoding="utf-8")
    project = Project.open("meter", tmp_path)
    (problem,) = onset_problems(project.effective)
    assert run.name in problem and "earmark train meter --model onset" in problem
    assert FUSION not in project.task.feature_sets
    (tmp_path / "earmark.toml").write_text('[meter]\nonset_model = "nowhere"\n', encoding="utf-8")
    with pytest.raises(UsageError, match=r"meter.onset_model = 'nowhere'.*no run"):
        Project.open("meter", tmp_path)


@pytest.fixture
def clips(tmp_path):
    """Clips of bars of three and four, prepared."""
    rows, rng = [], np.random.default_rng(0)
    for i in range(24):
        beats = 3 + i % 2
        times = np.arange(0.2, 3.0, rng.uniform(0.2, 0.4))
        samples = clicked(times, beats, duration_s=3.0).samples + rng.normal(0, 1e-3, 3 * SAMPLE_RATE)
        path = tmp_path / f"clip-{i:02d}.wav"
        soundfile.write(path, np.clip(samples, -1, 1), SAMPLE_RATE)
        rows.append({"id": path.stem, "uri": str(path), "group": path.stem, "label": str(beats)})
    project = Project.open("meter", tmp_path)
    policy = project.split_policy
    manifest = Manifest(pl.DataFrame(rows), root=tmp_path)
    seal(project.data_folder, manifest, Splits.make(manifest, policy))
    return tmp_path


@pytest.fixture
def earmark(clips, capsys):
    def run(*arguments: str):
        with pytest.raises(SystemExit) as end:
            main([*arguments, "-C", str(clips)])
        captured = capsys.readouterr()
        return int(end.value.code or 0), captured.out, captured.err

    return run


def computed(out: str) -> dict[str, int]:
    return {row["phase"]: row["computed"] for row in json.loads(out)["phases"]}


@pytest.mark.slow
def test_onset_model_then_extract_then_fusion(earmark, clips):
    small = ("--hidden", "16", "--workers", "1")
    code, _, err = earmark("train", "meter", "--model", "fusion", *small)
    assert code == 2 and "earmark train meter --model onset" in err
    code, out, err = earmark("extract", "meter", "--warm", "--workers", "0", "--format", "json")
    assert code == 0 and "onset_model" not in computed(out), err
    code, _, err = earmark("train", "meter", "--model", "onset", "--epochs", "2", *small)
    assert code == 0 and "The onset model is" in err, err
    for epochs in (2, 3):
        if epochs == 3:
            assert earmark("train", "meter", "--model", "onset", "--epochs", "3", "--promote", *small)[0] == 0
        code, out, err = earmark("extract", "meter", "--warm", "--workers", "0", "--format", "json")
        assert code == 0, err
        again = computed(out)
        assert again.pop("onset_model") == 24 and not any(again.values()), again
    project = Project.open("meter", clips)
    dataset, _ = project.training_data(project.task.features(FUSION))
    model = project.task.features(FUSION).groups[-1].parameters["model"]
    honest = load_run(model.path).out_of_fold()
    assert honest["id"].to_list() == list(dataset.ids)
    place = dataset.columns.index("meter.onset_model.3_4")
    np.testing.assert_allclose(dataset.X[:, place], honest["probability_3"].to_numpy(), atol=1e-6)
    code, out, err = earmark(
        "train", "meter", "--model", "fusion", "--epochs", "2", "--workers", "1", "--format", "json"
    )
    assert code == 0, err
    assert len(json.loads(out)["runs"]) == 1
