"""What may be wrong around the commands of the task: an earlier step is missing, a number is none, a file is another.

Each time one sentence says so, with the exit code of a wrong call, and nothing is written.
"""

from __future__ import annotations

import errno
import resource
import signal
import subprocess
import sys

import click
import numpy as np
import pytest
import soundfile
from appliance_small_room import RATE, steady, written_run
from click.testing import CliRunner

from earmark.cli.main import cli
from earmark.errors import UsageError
from earmark.models.weights import Weights
from earmark.store.atomic import write_atomic
from earmark.tasks.appliance.thresholds_file import THRESHOLDS_FILE

VERBS = ("prepare", "collect", "train", "grid", "thresholds", "predict", "stream", "live")


def said(folder, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "earmark", *words],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert "Traceback" not in done.stderr and "defect" not in done.stderr, done.stderr
    return done.returncode, done.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_no_range_takes_nan_or_infinity(verb):
    from earmark.cli.task_commands import forms_of

    command = forms_of(verb)["appliance"]
    ranges = [one for one in command.params if isinstance(one.type, click.FloatRange)]
    for option in ranges:
        for text in ("nan", "inf"):
            done = CliRunner().invoke(cli, [verb, "appliance", option.opts[0], text])
            assert done.exit_code == 2, (option.opts, done.output)


@pytest.mark.parametrize(
    ("words", "next_step"),
    [
        (("train",), "earmark prepare appliance"),
        (("grid",), "earmark prepare appliance"),
        (("thresholds",), "earmark train appliance"),
        (("predict", "x.wav"), "earmark train appliance"),
        (("stream", "x.wav"), "earmark train appliance"),
        (("live",), "earmark train appliance"),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else None,
)
def test_the_missing_step_is_named(tmp_path, words, next_step):
    code, told = said(tmp_path, words[0], "appliance", *words[1:])
    assert code == 2 and next_step in told


def test_thresholds_that_are_absent_or_of_another_model(tmp_path):
    run = written_run(tmp_path / "runs")
    soundfile.write(tmp_path / "x.wav", steady(True, False, 9.0), RATE)
    limits = run.path / THRESHOLDS_FILE
    text = limits.read_text("utf-8")
    limits.write_text(text.replace("model: ", "model: f"), encoding="utf-8")
    for words in (("predict", "x.wav"), ("stream", "x.wav"), ("live", "--latency")):
        code, told = said(tmp_path, words[0], "appliance", "--run", run.name, *words[1:])
        assert code == 2 and "was chosen for the model" in told
    limits.unlink()
    code, told = said(tmp_path, "predict", "appliance", "--run", run.name, "x.wav")
    assert code == 2 and "earmark thresholds appliance" in told


@pytest.mark.parametrize("content", [b"hi\n", b"", b"\x00" * 300, bytes(range(256))])
def test_a_file_that_is_no_checkpoint_is_named_as_one(tmp_path, content):
    pytest.importorskip("torch")
    import hashlib

    path = tmp_path / "beats.pt"
    path.write_bytes(content)
    with pytest.raises(UsageError, match="no file of plain tensors") as caught:
        Weights(str(path), hashlib.sha256(content).hexdigest()).load()
    assert "arbitrary code" not in str(caught.value)


def test_a_write_that_fails_names_its_file_and_leaves_nothing(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    was = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        with pytest.raises(OSError, match="too large") as caught:
            write_atomic(tmp_path / "thresholds.yaml", b"0" * 100)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, was)
    assert caught.value.errno == errno.EFBIG and caught.value.filename.endswith("thresholds.yaml")
    assert list(tmp_path.iterdir()) == []


def test_recordings_that_are_wrong_are_told_together(tmp_path):
    samples = tmp_path / "samples"
    samples.mkdir()
    (samples / "ac-on-fridge-on-day.wav").touch()
    (samples / "ac-off-fridge-on-day.wav").write_text("no sound")
    soundfile.write(samples / "ac-of-fridge-off-day.wav", np.zeros(RATE, dtype=np.float32), RATE)
    code, told = said(tmp_path, "prepare", "appliance", "samples", "--ext", "wav")
    assert code == 2 and "3 problems" in told and "does not match" in told and "is empty" in told
    assert not (tmp_path / "data" / "manifests").exists()
