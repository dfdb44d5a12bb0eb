"""Flags taken over from the earlier program change what happens, or are refused; none is swallowed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from tone_task import write_tone

from earmark.cli.main import run
from earmark.errors import InputError, UsageError
from earmark.models.preprocess import Preprocess
from earmark.tasks.settings import load_settings
from earmark.training.runs import list_runs, load_run

TASK = Path(__file__).parent / "tone_task.py"


@pytest.fixture
def folder(tone_folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_left_out_columns_are_named_and_do_not_count():
    X = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    columns = ("a.drop_count", "a.rms", "b.raindrops")
    fitted = Preprocess(leave_out=("*drop*",)).fit(X, columns)
    assert fitted.kept == ("a.rms",)
    assert fitted.dropped == dict.fromkeys(("a.drop_count", "b.raindrops"), "left out")
    again = Preprocess.from_json(fitted.to_json())
    assert again.get_params() == fitted.get_params()
    assert np.array_equal(again.transform(X), fitted.transform(X))
    with pytest.raises(InputError, match="None of the 0 columns"):
        Preprocess(leave_out=("*",)).fit(X, columns)
    with pytest.raises(UsageError, match="non-empty strings"):
        Preprocess(leave_out="*drop*")


@pytest.mark.parametrize("name", ["mine.yaml", "mine.toml"])
def test_settings_of_another_file_take_the_place_of_earmark_toml(tmp_path, name):
    (tmp_path / "earmark.toml").write_text("seed = 1\nworkers = 3\n")
    text = "seed: 7\nsplit:\n  folds: 4\n" if name.endswith("yaml") else "seed = 7\n[split]\nfolds = 4\n"
    (tmp_path / name).write_text(text)
    found = load_settings(tmp_path, environ={}, file=tmp_path / name)
    assert (found.settings.seed, found.settings.split.folds, found.settings.workers) == (7, 4, "auto")
    assert found.sources["split.folds"] == name
    (tmp_path / name).write_text("seeds: 7\n" if name.endswith("yaml") else "seeds = 7\n")
    with pytest.raises(UsageError, match=f"`seeds` in {name}"):
        load_settings(tmp_path, environ={}, file=tmp_path / name)
    with pytest.raises(UsageError, match="gone"):
        load_settings(tmp_path, environ={}, file=tmp_path / "gone.toml")


def test_a_list_is_no_settings_file(tmp_path):
    (tmp_path / "list.yaml").write_text("- 1\n")
    with pytest.raises(UsageError, match="holds list"):
        load_settings(tmp_path, environ={}, file=tmp_path / "list.yaml")


def test_a_label_file_is_prepared_trained_on_and_the_runs_copied(folder, capsys):
    line = [
        "train",
        str(TASK),
        "--data",
        "tones/labels.csv",
        "--cv-folds",
        "3",
        "--algorithms",
        "logistic",
    ]
    assert run([*line, "--no-normalize", "--balance", "none", "-o", "copies", "--no-report"]) == 0
    (made,) = list_runs(folder / "runs")
    recipe = made.config["recipe"]
    assert recipe["preprocess"]["standardise"] is False
    assert recipe.get("class_weight") is None
    assert made.config["folds"] == 3
    copied = load_run(folder / "copies" / made.name)
    assert copied.metrics == made.metrics
    assert (
        run([*line, "--no-normalize", "--balance", "none", "-o", "copies", "--no-report"]) == 0
    )  # and again
    with (folder / "tones" / "labels.csv").open("a") as file:
        file.write("gone.wav,low,singer99\n")
    capsys.readouterr()
    assert run([*line, "--no-report"]) == 1
    assert "gone.wav" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train TASK --folds 3", "--folds divides items that are prepared"),
        ("extract TASK --source deam", "none was given"),
        ("extract TASK tones --source audio-dir -o tone.txt", "ends in .csv or .parquet"),
        ("extract TASK tones -o tone.npz", "is written as .csv or .parquet"),
        ("extract TASK tones -f csv -o tone.parquet", "is not csv"),
        ("extract TASK tones --method frames", "rows of the kind `frames`"),
        ("extract TASK tones --skip-pitch", "'pitch' is no group of its own"),
        ("extract TASK tones --data tones/labels.csv", "cannot be extracted at once"),
        ("grid TASK -o points.xlsx", "ends in .csv or .json"),
        ("evaluate TASK -o figure.pdf", "a .png file for a figure"),
        ("predict TASK tones/00.wav -c tones/labels.csv", "is not valid TOML"),
    ],
)
def test_what_cannot_be_done_is_refused_before_any_work(folder, capsys, line, message):
    assert run([str(TASK) if word == "TASK" else word for word in shlex.split(line)]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "runs").exists()


def test_limit_zero_is_all(folder, capsys):
    for name in ("a", "b"):
        (folder / name).mkdir()
        write_tone(folder / name / "1.wav", 500.0, 1)
    capsys.readouterr()
    assert (
        run(
            ["extract", str(TASK), *shlex.split("a b --max-tracks 0 --workers 0 -o out -f csv --format json")]
        )
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["items"] == 2
    assert all(Path(path).suffix == ".csv" for path in told["written"])
