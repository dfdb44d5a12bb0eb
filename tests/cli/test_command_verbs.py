"""prepare, extract, train, grid, evaluate, predict, runs and data on a small trained project."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from earmark.cli.evaluate import parse_analyses
from earmark.cli.grid import parse_space
from earmark.cli.predictions import csv_of, documents_of, rows_of, table_of
from earmark.cli.train import parse_parameters
from earmark.errors import UsageError
from earmark.inference.prediction import Failed, Prediction

DEMO = Path("demo") / "loudness"


@pytest.fixture
def answer(trained: Path, earmark: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Run a command that changes nothing in the shared project, and give what its JSON says."""
    monkeypatch.chdir(trained)

    def call(*arguments: str, code: int = 0):
        shown = earmark(*arguments, "--format", "json")
        assert shown.code == code, shown.err
        return json.loads(shown.out)

    return call


# The shapes below are part of the interface: programs read them.


def test_shape_of_extract(answer):
    document = answer("extract")
    assert list(document)[:4] == ["items", "failures", "computed", "seconds"]
    assert document["items"] == 40
    assert sum(document["computed"].values()) == 0


def test_shape_of_evaluate(answer):
    document = answer("evaluate")
    assert list(document) == [
        "task", "run", "split", "n", "metrics", "baselines", "per_class", "test_openings",
        "sources", "domain_shift_auc", "analyses",
    ]  # fmt: skip
    assert (document["task"], document["split"], document["test_openings"]) == ("loudness", "val", 0)
    assert set(document["metrics"]["accuracy"]) == {"value", "low", "high"}
    assert set(document["per_class"]) == {"quiet", "loud"}
    assert "majority" in document["baselines"]


def test_shape_of_predict(answer):
    document = answer("predict", "loudness.py", str(DEMO / "loud-01.wav"), "gone.wav", code=1)
    assert list(document[0])[:4] == ["path", "label", "confidence", "probabilities"]
    assert list(document[1]) == ["path", "error"]
    assert document[0]["label"] == "loud"
    assert sum(document[0]["probabilities"].values()) == pytest.approx(1)
    assert "gone.wav" in document[1]["error"]


def test_shape_of_cache_check(answer):
    document = answer("cache", "check")
    row = document["groups"]["loudness.level"]
    assert {"fresh", "stale", "missing", "columns"} <= set(row)
    assert (row["fresh"], row["columns"]) == (40, 3)


def test_shape_of_runs(answer):
    (run,) = answer("runs", "list")
    assert list(run) == [
        "name", "task", "algorithm", "strategy", "stage", "created", "seconds", "path", "metrics",
    ]  # fmt: skip
    shown = answer("runs", "show", "latest")
    assert list(shown) == ["name", "path", "config", "metrics", "auxiliary_metrics", "decision"]
    assert shown["name"] == run["name"]
    compared = answer("runs", "compare", "latest", "latest")
    assert (compared["comparable"], compared["config"]) == (True, {})
    assert {score["better"] for score in compared["metrics"].values()} == {"equal"}


def test_shape_of_data(answer):
    rows = answer("data", "show")
    assert list(rows[0])[:5] == ["id", "label", "group", "split", "fold"]
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    assert {row["label"] for row in rows if row["split"] == "test"} == {"(sealed)"}
    counts = answer("data", "show", "--summary")
    assert sum(row["items"] for row in counts) == 40
    assert {row["fold"] for row in answer("data", "show", "--fold", "0")} == {0}
    assert answer("data", "ledger") == []


def test_shape_of_grid(answer):
    document = answer("grid", "--algorithm", "logistic", "--set", "strength=0.1,1", "--dry-run")
    assert list(document) == ["task", "algorithm", "metric", "journal", "points"]
    assert [point["status"] for point in document["points"]] == ["pending", "pending"]


def test_a_search_is_resumed_summarised_and_forgotten(project, earmark, monkeypatch):
    monkeypatch.chdir(project)
    command = ["grid", "--algorithm", "logistic", "--set", "strength=0.01,1"]
    assert earmark(*command, "--limit", "1").code == 0
    done = json.loads(earmark(*command, "--summary", "--format", "json").out)["points"]
    assert len(done) == 1
    assert earmark(*command).code == 0
    done = json.loads(earmark(*command, "--summary", "--format", "json").out)["points"]
    assert [point["status"] for point in done] == ["done", "done"]
    assert done[0]["score"] >= done[1]["score"]
    refused = earmark(*command, "--reset")
    assert refused.code == 2
    assert "--yes" in refused.err
    assert earmark(*command, "--reset", "--yes").code == 0
    assert json.loads(earmark(*command, "--summary", "--format", "json").out)["points"] == []


def test_training_other_models_ranks_them_and_a_second_call_finds_them(project, earmark, monkeypatch):
    monkeypatch.chdir(project)
    command = [
        "train",
        "--algorithms",
        "logistic,random_forest",
        "--set",
        "random_forest.n_trees=20",
        "--no-report",
    ]
    first = json.loads(earmark(*command, "--format", "json").out)
    assert [run["algorithm"] for run in first["runs"]] == ["logistic", "random_forest"]
    assert first["best"] in [run["run"] for run in first["runs"]]
    again = json.loads(earmark(*command, "--format", "json").out)
    assert [run["run"] for run in again["runs"]] == [run["run"] for run in first["runs"]]
    assert "no" in earmark(*command).out.split()


def test_a_run_is_promoted_and_a_clearly_worse_one_is_not(project, earmark, monkeypatch):
    monkeypatch.chdir(project)
    assert "promotion" in earmark("runs", "rollback", "loudness").err
    good = json.loads(earmark("runs", "promote", "latest", "--reason", "first", "--format", "json").out)
    assert (good["before"], good["difference"]) == (None, None)
    poor = [
        "--set",
        "xgboost.n_trees=1",
        "--set",
        "xgboost.learning_rate=0.001",
        "--set",
        "xgboost.subsample=0.1",
    ]
    trained = earmark("train", "--algorithms", "xgboost", *poor, "--no-report", "--format", "json")
    (run,) = json.loads(trained.out)["runs"]
    assert run["metrics"]["balanced_accuracy"] < 0.6
    refused = earmark("runs", "promote", run["run"])
    assert refused.code == 3
    assert "clearly worse" in refused.err
    forced = json.loads(earmark("runs", "promote", run["run"], "--force", "--format", "json").out)
    assert forced["before"] == good["run"]
    assert forced["low"] <= forced["difference"] <= forced["high"]
    (answer,) = json.loads(
        earmark("predict", "loudness.py", str(DEMO / "loud-01.wav"), "--format", "json").out
    )
    assert answer["run"] == run["run"]
    assert json.loads(earmark("runs", "rollback", "loudness", "--format", "json").out)["run"] == good["run"]


def test_the_seal_is_opened_with_a_reason_and_counted(project, earmark, monkeypatch):
    monkeypatch.chdir(project)
    for number in (1, 2):
        shown = earmark("evaluate", "--split", "test", "--reason", f"look {number}", "--format", "json")
        assert json.loads(shown.out)["test_openings"] == number
    ledger = json.loads(earmark("data", "ledger", "--format", "json").out)
    assert [event["reason"] for event in ledger] == ["look 1", "look 2"]
    assert "opened 2 times" in earmark("data", "ledger").err


@pytest.mark.parametrize(("limit", "code"), [("0.01", 0), ("1.01", 3)])
def test_a_gate(trained, earmark, monkeypatch, limit, code):
    monkeypatch.chdir(trained)
    shown = earmark("evaluate", "--gate", f"accuracy={limit}")
    assert shown.code == code
    assert ("The gate failed" in shown.err) == (code == 3)


def test_analyses_and_options_that_evaluate_asks_for():
    given = {"arousal_min": 1.6, "purple_threshold": None}
    assert parse_analyses(("map", "own"), True, "bands", given) == (
        ("map", "own", "drops"),
        {"arousal_min": 1.6, "map": "bands"},
    )
    assert parse_analyses((), False, None, {"arousal_min": None}) == ((), {})


def test_doubted_labels_are_listed_with_the_rates_per_class(project, earmark, monkeypatch):
    pytest.importorskip("cleanlab")
    monkeypatch.chdir(project)
    shown = earmark("evaluate", "--label-issues")
    assert shown.code == 0, shown.err
    assert "potential label issues" in shown.out and re.search(r"^quiet +\d+ +\d", shown.out, re.MULTILINE)
    names = [Path(line.removeprefix("Labels: ")) for line in shown.err.splitlines() if "Labels: " in line]
    assert len(names) == 3 and all(path.is_file() for path in names)
    document = json.loads(earmark("evaluate", "--label-issues", "--format", "json").out)
    assert [row["label"] for row in document["label_issues"]["rates"]] == ["quiet", "loud"]


def test_extract_of_files_sets_a_broken_one_aside(project, earmark, monkeypatch):
    monkeypatch.chdir(project)
    (project / "broken.wav").write_bytes(b"RIFF but no more")
    shown = earmark(
        "extract", "loudness.py", str(DEMO / "loud-01.wav"), "broken.wav", "-o", "f.csv", "-w", "0"
    )
    assert shown.code == 1
    assert "broken.wav" in shown.err
    with Path("f.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [row["id"] for row in rows if "loud-01" in row["id"]]
    assert "loudness.crest.crest_db" in rows[0]


def test_predict_writes_files_in_each_form(project, earmark, monkeypatch):
    monkeypatch.chdir(project)
    inputs = [str(DEMO / "loud-01.wav"), str(DEMO / "quiet-00.wav")]
    for name in ("p.csv", "p.json", "p.jsonl"):
        assert earmark("predict", "loudness.py", *inputs, "-o", name).code == 0
    with Path("p.csv").open() as file:
        assert [row["label"] for row in csv.DictReader(file)] == ["loud", "quiet"]
    assert [row["label"] for row in json.loads(Path("p.json").read_text())] == ["loud", "quiet"]
    assert [json.loads(line)["path"] for line in Path("p.jsonl").read_text().splitlines()] == inputs
    assert list(Path().glob(".*.partial")) == []


def test_prepare_counts_every_row(tmp_path, trained, earmark, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained / DEMO, "audio")
    labels = Path("audio/labels.csv")
    labels.write_text(labels.read_text() + "gone.wav,loud\nloud-01.wav,loud\n")
    shutil.copy(trained / "loudness.py", "loudness2.py")
    shown = earmark("prepare", str(trained / "loudness.py"), str(labels), "--format", "json")
    document = json.loads(shown.out)
    assert shown.code == 1
    assert document["rows_read"] == 42 == document["rows_kept"] + len(document["rejected"])
    assert document["items"] == document["train"] + document["test"] == 40
    assert "gone.wav" in shown.err


def test_prepare_dry_run_writes_nothing(tmp_path, trained, earmark, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shown = earmark("prepare", str(trained / "loudness.py"), str(trained / DEMO / "labels.csv"), "--dry-run")
    assert shown.code == 0
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["train", "--algorithms", "xgbost"], "xgboost"),
        (["train", "--metric", "acuracy"], "accuracy"),
        (["train", "--features", "defualt"], "default"),
        (["train", "--set", "xgboost"], "ALGORITHM.NAME=VALUE"),
        (["train", "zoens"], "zones"),
        (["extract", "--phase", "loudness.levl"], "loudness.level"),
        (["evaluate", "--gate", "acuracy=1"], "accuracy"),
        (["evaluate", "--run", "nothing"], "runs list"),
        (["evaluate", "--analysis", "levels"], "no analysis 'levels'. It has none."),
        (["evaluate", "--map", "bands"], "no analysis 'map'"),
        (["evaluate", "--drop-analysis"], "no analysis 'drops'"),
        (["evaluate", "--purple-arousal", "6"], "--purple-threshold: no analysis"),
        (["evaluate", "--label-issues", "--sealed"], "sealed test"),
        (["predict", "loudness.py"], "no input"),
        (["predict", "loudness.py", "x.wav", "-o", "x.xlsx"], ".jsonl"),
        (["predict", "loudness.py", "x.wav", "-o", "nowhere/x.csv"], "nowhere"),
        (["predict", "loudness.py", "x.wav", "--playlists", "p"], "playlists"),
        (["predict", "nofile.py", "x.wav"], "nofile.py"),
        (["grid", "--algorithm", "logistic"], "--set"),
        (["runs", "show", "2999"], "runs list"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_answered(trained, earmark, monkeypatch, arguments, part):
    monkeypatch.chdir(trained)
    shown = earmark(*arguments)
    assert shown.code == 2
    assert part in shown.err
    assert "defect" not in shown.err


def test_a_mistake_in_a_task_file_is_said_with_its_line(tmp_path, earmark, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("wrong_call.py").write_text("from earmark import Task\n\ntask = Task(name='x', colour='red')\n")
    shown = earmark("extract", "wrong_call.py")
    assert shown.code == 2
    assert "`wrong_call.py` line 3" in shown.err
    assert "colour" in shown.err
    Path("wrong_syntax.py").write_text("task = (\n")
    assert "`wrong_syntax.py` line 1" in earmark("extract", "wrong_syntax.py").err


def test_a_command_before_its_predecessor_names_it(tmp_path, earmark, trained, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task = str(trained / "loudness.py")
    for command in (["extract", task], ["train", task], ["data", "show", task], ["cache", "check", task]):
        shown = earmark(*command)
        assert shown.code == 2
        assert "earmark prepare" in shown.err
    shown = earmark("train")
    assert shown.code == 2
    assert "earmark init" in shown.err


def test_parameters_are_read_as_toml():
    assert parse_parameters(["a.x=4", "a.y=0.5", "b.z=true", "b.w=gini"]) == {
        "a": {"x": 4, "y": 0.5},
        "b": {"z": True, "w": "gini"},
    }
    assert parse_space(["x=1,2", "y=a"]) == {"x": [1, 2], "y": ["a"]}
    assert parse_space([]) is None
    with pytest.raises(UsageError, match="NAME=V1,V2"):
        parse_space(["x="])


ANSWERS = [
    Prediction(
        "a.mp3", "GREEN", 0.6, {"YELLOW": 0.1, "GREEN": 0.6, "PURPLE": 0.3}, {"tempo_bpm": 120.0, "run": "r"}
    ),
    Failed("b.mp3", "`b.mp3` is empty."),
]


def test_zones_answers_have_their_own_forms():
    from earmark.tasks.zones.task import task

    documents = documents_of(task, ANSWERS)
    assert (documents[0]["zone"], documents[0]["zone_id"]) == ("GREEN", 1)
    assert documents[1] == {"path": "b.mp3", "error": "`b.mp3` is empty."}
    assert csv_of(task, ANSWERS).startswith("File,Path,Zone,Confidence,Tempo (BPM)")


def test_a_table_shows_errors_only_where_there_are_some():
    assert "error" in table_of(ANSWERS)[0]
    assert "error" not in table_of(ANSWERS[:1])[0]
    assert "run" not in table_of(ANSWERS)[0]


def test_general_rows_have_a_column_per_class():
    from earmark.tasks.task import Task
    from earmark.tasks.zones.features import fast

    rows = rows_of(Task(name="other", groups=[fast]), ANSWERS)
    assert list(rows[0]) == [
        "path",
        "label",
        "confidence",
        "tempo_bpm",
        "run",
        "p_YELLOW",
        "p_GREEN",
        "p_PURPLE",
        "error",
    ]
    assert rows[1]["label"] is None


def test_two_demos_at_once_do_not_disturb_each_other(tmp_path, trained):
    """Both finish, the features are those of one, and the runs have names of their own."""
    import subprocess
    import sys

    shutil.copy(trained / "loudness.py", tmp_path / "loudness.py")
    command = [
        sys.executable,
        "-m",
        "earmark.cli.main",
        "extract",
        "loudness.py",
        "--workers",
        "0",
        "--format",
        "json",
    ]
    subprocess.run(
        [*command[:3], "prepare", "loudness.py", str(trained / DEMO / "labels.csv")], cwd=tmp_path, check=True
    )
    both = [subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    answers = [json.loads(process.communicate(timeout=120)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert [answer["items"] for answer in answers] == [40, 40]
    checked = subprocess.run(
        [*command[:3], "cache", "verify"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert re.search(r"0 damaged", checked.stderr)


def test_a_decodable_file_of_another_rate_and_channels_is_fine(project, earmark, monkeypatch):
    monkeypatch.chdir(project)
    samples, rate = soundfile.read(DEMO / "loud-01.wav")
    soundfile.write("stereo.flac", [[value, value] for value in samples], rate)
    (answer,) = json.loads(earmark("predict", "loudness.py", "stereo.flac", "--format", "json").out)
    assert answer["label"] == "loud"


FRAMES_TASK = """
import numpy as np

from earmark import Task, feature_group


@feature_group("ahead.level", columns=("level",), sample_rate=8_000, kind="frames", frame_s=0.5, lookahead_s={seconds})
def level(clip):
    frames = clip.samples[: clip.samples.size // 4_000 * 4_000].reshape(-1, 4_000)
    loudness = np.abs(frames).mean(axis=1)
    return (loudness / {norm})[:, None]


task = Task(name="ahead", groups=[level])
"""


@pytest.mark.parametrize(("norm", "code"), [("1.0", 0), ("loudness.max()", 3)])
def test_a_column_that_sees_the_future_is_caught(tmp_path, earmark, monkeypatch, norm, code):
    monkeypatch.chdir(tmp_path)
    Path("ahead.py").write_text(FRAMES_TASK.format(seconds="0.0", norm=norm))
    shown = earmark("check", "lookahead", "ahead.py", "--format", "json")
    assert shown.code == code, shown.err
    (row,) = json.loads(shown.out)
    assert (row["column"].endswith("level"), row["ok"]) == (True, code == 0)
    assert ("sees further ahead" in shown.err) == (code == 3)
