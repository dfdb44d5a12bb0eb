"""`earmark grid market` on a stored project, and a training with what it found."""

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
    return learnable_project(tmp_path_factory.mktemp("searched"))


def earmark(project, *arguments):
    return earmark_main(["-C", str(project), *arguments])


def test_a_search_is_planned_run_summed_up_and_trained_with(project, capsys):
    asked = ("grid", "market", "--model", "logistic", "--trials", "3", "--patience", "0", *SHORT)
    assert earmark(project, *asked, "--dry-run", "--format", "json") == 0
    groups = json.loads(capsys.readouterr().out)["groups"]
    assert {row["group"] for row in groups} == {"regularization", "class_balance"}
    assert not (project / "data" / "hyperopt" / "state.json").exists()

    assert earmark(project, *asked, "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "completed" and len(found["trials"]) == 6
    assert all(set(row["scores"]) > {"val_f1"} for row in found["trials"] if row["state"] == "complete")

    assert earmark(project, "grid", "market", "--summary", "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["best"] == found["best"]

    best = project / "data" / "hyperopt" / "best_params.json"
    trained = ("train", "market", "--config", str(best), "--no-onnx", "--no-promote", "--format", "json")
    assert earmark(project, *trained) == 0
    assert json.loads(capsys.readouterr().out)["model"] == "logistic"


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


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_ends_the_search_and_resume_goes_on(project, tmp_path, capsys):
    asked = (
        "grid",
        "market",
        "--model",
        "gbm",
        "--mode",
        "quick",
        "--trials",
        "4",
        "--reset",
        "--epochs",
        "20",
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "earmark", "-C", str(project), *asked, *SHORT],
        stderr=subprocess.PIPE,
        text=True,
    )
    for line in process.stderr:
        if "trial 0" in line:
            process.send_signal(signal.SIGINT)
            break
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 130 and "--mode resume" in rest
    assert earmark(project, "grid", "market", "--mode", "resume", "--format", "json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["status"] == "completed"
    assert found["results"][0]["trials"] <= 4
