"""`earmark grid market` on a stored project, and a training with what it found."""

import io
import json
import os
import signal
import subprocess
import sys

import pytest
from learnable_store import learnable_project

from earmark.cli.main import run as earmark_main

pytest.importorskip("optuna")

SHORT = ("--set", "sequence_length=10", "--set", "view=v1_112")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return learnable_project(tmp_path_factory.mktemp("searched"), 800)


def earmark(project, *arguments):
    return earmark_main(["-C", str(project), *arguments])


def test_a_search_is_planned_run_summed_up_and_trained_with(project, capsys):
    asked = ("grid", "market", "--model", "logistic", "--trials", "2", "--patience", "0", *SHORT)
    assert earmark(project, *asked, "--dry-run", "--format", "json") == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert {row["group"] for row in groups} == {"regularization", "class_balance"}
    assert not (project / "data" / "hyperopt" / "state.json").exists()

    assert earmark(project, *asked, "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "completed" and len(found["trials"]) == 4
    assert all(set(row["scores"]) > {"val_f1"} for row in found["trials"] if row["state"] == "complete")

    assert earmark(project, "grid", "market", "--summary", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["best"] == found["best"]

    best = project / "data" / "hyperopt" / "best_params.json"
    trained = ("train", "market", "--config", str(best), "--no-onnx", "--no-promote", "--format", "json")
    assert earmark(project, *trained, "--dry-run") == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["model_name"] == "logistic"
    strength = settings["ml_model_config"]["strength"]
    assert strength == found["best"]["ml_model_config.strength"] != 1


def test_trials_alone_have_few_epochs(project, capsys):
    assert earmark(project, "grid", "market", "--model", "mpd", "--dry-run", "--format", "json") == 0
    request = json.loads(capsys.readouterr().out)["request"]
    assert request["trial"] == {"epochs": 4} and "epochs" not in request["base"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--mode", "group"), "--group NAME"),
        (("--mode", "group", "--group", "regularisation"), "regularization"),
        (("--metric", "test_f1"), "val_f1"),
        (("--model", "majority"), "nothing to search"),
        (("--mode", "resume", "--trials", "3"), "--trials"),
    ],
)
def test_what_cannot_be_is_refused(project, capsys, arguments, message):
    assert earmark(project, "grid", "market", *arguments, "--dry-run") == 2
    assert message in capsys.readouterr().err


class PressesCtrlC(io.StringIO):
    """Standard error of a user who presses Ctrl-C upon reading `text`."""

    def __init__(self, text):
        super().__init__()
        self.text = text

    def write(self, text):
        written = super().write(text)
        if self.text in text:
            signal.raise_signal(signal.SIGINT)
        return written


def test_ctrl_c_ends_the_search_and_resume_goes_on(project, capsys, monkeypatch):
    asked = ("--model", "logistic", "--trials", "3", "--patience", "0", "--reset", *SHORT)
    said = PressesCtrlC("regularization trial 1:")
    with monkeypatch.context() as during:
        during.setattr(sys, "stderr", said)
        assert earmark(project, "grid", "market", *asked, "--format", "json") == 130
    assert "--mode resume" in said.getvalue()
    before = json.loads(capsys.readouterr().out)
    assert before["status"] == "interrupted" and before["results"] == []
    assert [row["number"] for row in before["trials"]] == [0, 1]

    assert earmark(project, "grid", "market", "--model", "gbm", *SHORT) == 2
    assert "model_name" in capsys.readouterr().err

    assert earmark(project, "grid", "market", "--mode", "resume", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "completed"
    assert [result["trials"] for result in found["results"]] == [3, 3]
    kept = [row for row in found["trials"] if row["group"] == "regularization"]
    assert kept[:2] == before["trials"]


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="process groups of POSIX")
def test_ctrl_c_at_a_terminal_reaches_the_workers_too(project, capsys):
    group = ("--mode", "group", "--group", "learning_rate", "--trials", "8", "--patience", "0")
    asked = ("--model", "gbm", "--epochs", "8", *group, "--workers", "2", "--reset", *SHORT)
    process = subprocess.Popen(
        [sys.executable, "-m", "earmark", "-C", str(project), "grid", "market", *asked],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in process.stderr:
        if "trial 0" in line:
            os.killpg(process.pid, signal.SIGINT)
            break
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 130 and "--mode resume" in rest and "Traceback" not in rest
    assert earmark(project, "grid", "market", "--mode", "resume", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "completed"
    assert all(result["trials"] == 8 for result in found["results"])
