"""What may be wrong around the commands of the task: an earlier step is missing, a number is none, a file is another.

Each time one sentence says so, with the exit code of a wrong call, and nothing is written.
"""

from __future__ import annotations

import errno
import resource
import signal
import subprocess
import sys
from itertools import product

import click
import numpy as np
import pytest
import soundfile
from appliance_small_room import RATE, steady, written_run
from click.testing import CliRunner

from earmark.cli.main import cli
from earmark.errors import RunError, UsageError
from earmark.models.weights import Weights
from earmark.store.atomic import write_atomic
from earmark.tasks.appliance.layers import located_checkpoint
from earmark.tasks.appliance.room import Room
from earmark.tasks.appliance.schema import DEFAULT_DEVICES
from earmark.tasks.appliance.serving.appended import AppendedLines
from earmark.tasks.appliance.serving.tables import GrowingTable
from earmark.tasks.appliance.thresholds_file import THRESHOLDS_FILE, Thresholds
from earmark.tasks.project import Project

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


def test_a_log_keeps_whole_lines_through_a_full_disk_a_kill_and_another_writer(tmp_path):
    path, told = tmp_path / "logs" / "a.csv", []
    log, other = AppendedLines(path, told.append), AppendedLines(path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    was = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        log.write("1", head="name")
        other.write("2", head="name")
        resource.setrlimit(resource.RLIMIT_FSIZE, (15, before[1]))
        for _ in range(3):
            log.write("a line of some length")
        with pytest.raises(OSError, match="room|space|large"):
            other.write("a line of some length")
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        log.write("3", head="name")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, was)
    assert "Lines are left out" in told[0] and "3 lines were left out" in told[1] and len(told) == 2
    with path.open("a") as file:
        file.write("half a li")
    other.write("4")
    assert path.read_text().splitlines() == ["name", "1", "2", "3", "half a li", "4"]


def test_a_table_that_cannot_be_finished_leaves_nothing(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    was = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
        with pytest.raises(OSError, match="too large"), GrowingTable(tmp_path / "new" / "p.csv") as table:
            table.row({"p": 0.123456789012345})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, was)
    assert list((tmp_path / "new").iterdir()) == []


def test_a_hash_of_digits_alone_is_read_with_and_without_quotes(tmp_path):
    for model in ("0123" * 8, "9" * 32, "12345678901234567890123456789e12"):
        path = Thresholds(DEFAULT_DEVICES, {"ac": 0.5, "fridge": 0.5}, model=model).write(tmp_path / "t.yaml")
        assert f"model: '{model}'" in path.read_text()
        path.write_text(path.read_text().replace("'", ""))
        assert Thresholds.read(path, DEFAULT_DEVICES, model=model).model == model


def test_folders_of_outputs_are_made_and_what_is_doubtful_is_told(tmp_path):
    run = written_run(tmp_path / "runs")
    soundfile.write(tmp_path / "x.wav", steady(True, False, 30.0), RATE)
    asked = ("--run", run.name, "x.wav")
    assert said(tmp_path, "predict", "appliance", *asked, "--csv", "a/b/states.csv")[0] == 0
    assert (
        said(tmp_path, "stream", "appliance", *asked, "--log-probs", "c/p.csv", "--report", "d/r.json")[0]
        == 0
    )
    assert all((tmp_path / name).is_file() for name in ("a/b/states.csv", "c/p.csv", "d/r.json"))
    code, told = said(tmp_path, "predict", "appliance", *asked, "--csv", "x.wav/states.csv")
    assert code == 2 and "cannot be made" in told
    confirm = ("--confirm", "both-off", "--seconds", "12", "--input", "x.wav", "--as-fast-as-possible")
    code, told = said(tmp_path, "live", "appliance", "--run", run.name, *confirm)
    assert code == 0 and "warning: the model heard ac-on" in told
    code, told = said(tmp_path, "live", "appliance", "--run", run.name, "--input", "gone.wav")
    assert code == 1 and "processor time" not in told
    code, told = said(tmp_path, "prepare", "appliance")
    assert code == 2 and "earmark collect appliance" in told


def test_two_preparations_at_once_leave_one_room(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "samples").mkdir()
    for ac, fridge, daypart in product(("on", "off"), ("on", "off"), ("day", "night")):
        path = tmp_path / "samples" / f"ac-{ac}-fridge-{fridge}-{daypart}.wav"
        soundfile.write(path, rng.normal(0, 0.01, 60 * RATE), RATE)
    words = [sys.executable, "-m", "earmark", "prepare", "appliance", "samples", "--ext", "wav"]
    both = [
        subprocess.Popen(
            [*words, "--hop-sec", hop],
            cwd=tmp_path,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for hop in ("1.5", "3")
    ]
    for process in both:
        err = process.communicate(timeout=120)[1]
        assert process.returncode == 0, err
    project = Project.open("appliance", tmp_path)
    starts = sorted(project.manifest.table["start_sec"].unique())
    assert starts[1] - starts[0] == Room.read(project).hop_s and project.splits.test_ids


def test_a_checkpoint_that_is_gone_or_another_is_named_with_its_remedy(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    from wide_beats import write_wide_checkpoint

    from earmark.models.beats.checkpoint import BeatsCheckpoint

    monkeypatch.delenv("EARMARK_BEATS", raising=False)
    path, moved = write_wide_checkpoint(tmp_path / "beats.pt"), tmp_path / "moved.pt"
    known = BeatsCheckpoint.open(path)
    record = {"path": known.path, "sha256": known.sha256}
    assert located_checkpoint(record).sha256 == known.sha256
    path.rename(moved)
    with pytest.raises(RunError, match=r"No such file.*EARMARK_BEATS=FILE"):
        located_checkpoint(record)
    assert located_checkpoint(record, str(moved)).path == str(moved)
    monkeypatch.setenv("EARMARK_BEATS", str(moved))
    assert located_checkpoint(record).path == str(moved)
    moved.write_bytes(b"another")
    with pytest.raises(RunError, match=r"moved.pt` has the SHA-256 .*Put it back"):
        located_checkpoint(record)


@pytest.mark.slow
def test_a_full_disk_is_told_and_the_same_command_goes_on_with_room(tmp_path):
    (tmp_path / "samples").mkdir()
    rng = np.random.default_rng(0)
    for ac, fridge in product(("on", "off"), repeat=2):
        path = tmp_path / "samples" / f"ac-{ac}-fridge-{fridge}-day.wav"
        soundfile.write(path, rng.normal(0, 0.01, 12 * RATE), RATE)
    room = tmp_path / "room"
    room.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", room], capture_output=True)
    if mounted.returncode:
        pytest.skip("mounting a small disk takes the rights of root")
    try:
        words = ("prepare", "appliance", "../samples", "--ext", "wav", "--seal", "none")
        with pytest.raises(OSError, match="No space"), (room / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        code, told = said(room, *words)
        assert code == 2 and "could not be written" in told and "free space" in told
        (room / "filler").unlink()
        assert not [path for path in room.rglob("*") if path.is_file() and ".earmark" not in path.parts]
        assert said(room, *words)[0] == 0
    finally:
        subprocess.run(["umount", room], check=True)
