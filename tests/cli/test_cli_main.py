"""The program's frame: commands, common options, exit codes, what becomes of errors and signals."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import click
import pytest

from earmark.cli.main import COMMANDS, SUMMARIES, cli
from earmark.cli.options import Invocation
from earmark.cli.task_commands import forms_of, own_command
from earmark.errors import EarmarkError, GateError, InputError, UsageError

HEAVY = (
    "numpy",
    "scipy",
    "numba",
    "polars",
    "pyarrow",
    "sklearn",
    "xgboost",
    "torch",
    "matplotlib",
    "pydantic",
    "rich",
    "deltalake",
    "aiohttp",
    "optuna",
    "onnx",
    "onnxruntime",
    "mlflow",
)


def commands(group: click.Command = cli, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every command's path, groups and the forms of single tasks included."""
    found = [path]
    if isinstance(group, click.Group):
        context = click.Context(group)
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            found += commands(command, (*path, name))
            for task, own in forms_of(" ".join((*path, name))).items():
                found += commands(own, (*path, name, task))
    return found


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_help_has_examples_and_the_common_options(earmark, path):
    shown = earmark(*path, "--help")
    assert shown.code == 0
    assert shown.err == ""
    assert "Examples:" in shown.out
    assert f"earmark {' '.join(path)}".strip() in shown.out.split("Examples:")[1]
    is_group = "COMMAND [ARGS]" in shown.out
    assert "--format" in shown.out or (is_group and path)


def test_help_loads_nothing_heavy():
    code = (
        "import sys\nfrom earmark.cli.main import run\n"
        f"for path in {[list(path) for path in commands()]!r}:\n    assert run([*path, '--help']) == 0\n"
        f"print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize(
    ("arguments", "rest"),
    [
        (["market", "--epochs", "3"], ["--epochs", "3"]),
        (["--epochs", "3", "market"], ["--epochs", "3"]),
        (["zones", "market"], None),
        (["--epochs", "market"], None),
        (["--", "market"], None),
    ],
    ids=str,
)
def test_a_task_takes_over_a_command_where_it_is_named_as_the_task(tmp_path, arguments, rest):
    general = cli.get_command(click.Context(cli), "train")
    own = own_command("train", general.params, arguments, tmp_path)
    assert own == (None if rest is None else ("market", rest))


def test_the_settings_of_a_project_name_the_task_whose_form_is_meant(tmp_path):
    general = cli.get_command(click.Context(cli), "train")
    (tmp_path / "earmark.toml").write_text('task = "market"\n')
    assert own_command("train", general.params, ["--epochs", "3"], tmp_path) == ("market", ["--epochs", "3"])
    assert own_command("train", general.params, ["zones"], tmp_path) is None
    assert own_command("thresholds", general.params, [], tmp_path) is None


def test_the_list_of_commands_says_what_each_says_of_itself():
    context = click.Context(cli)
    own = {name: cli.get_command(context, name).get_short_help_str(limit=200) for name in COMMANDS}
    assert own == SUMMARIES


@pytest.mark.parametrize("path", [(), ("extract",), ("cache", "why")], ids=" ".join)
def test_help_answers_in_a_fifth_of_a_second(path):
    """Processor time of the whole process: the wall clock of a shared machine is not its doing."""
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-m", "earmark.cli.main", *path, "--help"], check=True, stdout=subprocess.DEVNULL
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(seconds) < 0.2


@pytest.mark.parametrize("arguments", [[], ["cache"]], ids=" ".join)
def test_without_a_command_the_help_is_shown_but_nothing_was_done(earmark, arguments):
    shown = earmark(*arguments)
    assert shown.code == 2
    assert (shown.out + shown.err).startswith("Usage: earmark")


def test_version(earmark):
    shown = earmark("--version")
    assert (shown.code, shown.out.split()[0]) == (0, "earmark")


@pytest.mark.parametrize(
    ("arguments", "likely"),
    [
        (["dcotor"], "`doctor`"),
        (["doctor", "--fromat", "json"], "--format"),
        (["cache", "stast"], "`stats`"),
        (["doctor", "--format", "xml"], "'json'"),
    ],
)
def test_a_typing_mistake_is_answered_with_the_likely_name(earmark, arguments, likely):
    shown = earmark(*arguments)
    assert shown.code == 2
    assert shown.out == ""
    assert likely in shown.err
    assert "--help" in shown.err


def test_common_options_stand_before_or_after_the_command(earmark, tmp_path):
    before = earmark("-C", tmp_path, "--format", "json", "doctor")
    after = earmark("doctor", "-C", tmp_path, "--format", "json")
    assert json.loads(before.out)["settings"] == json.loads(after.out)["settings"]
    both = earmark("--format", "csv", "doctor", "-C", tmp_path, "--format", "json")
    assert json.loads(both.out)["ok"]


def test_a_missing_project_folder_is_named(earmark, tmp_path):
    shown = earmark("-C", tmp_path / "nowhere", "doctor")
    assert shown.code == 2
    assert "nowhere" in shown.err
    assert "init" in shown.err


@pytest.fixture
def failing(monkeypatch):
    """Add a command that raises what the test gives; the real group dispatches to it."""

    def add(error: BaseException) -> None:
        @click.command(cls=type(cli.get_command(click.Context(cli), "doctor")))
        def fail() -> None:
            raise error

        monkeypatch.setattr(type(cli), "get_command", lambda *_: fail)

    return add


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UsageError("`a` is 1; expected 2. Set it."), 2),
        (InputError("`x.mp3` is empty."), 1),
        (GateError("the gate failed"), 3),
        (EarmarkError("other"), 2),
        (KeyboardInterrupt(), 130),
        (MemoryError(), 2),
        (RuntimeError("surprise"), 2),
        (OSError(28, "No space left on device", "data/x.parquet"), 2),
        (PermissionError(13, "Permission denied", "runs"), 2),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else str(value),
)
def test_errors_are_one_message_without_a_traceback(earmark, failing, error, code):
    failing(error)
    shown = earmark("doctor")
    assert shown.code == code
    assert shown.out == ""
    assert shown.err.count("\n") <= 2
    assert "Traceback" not in shown.err
    assert str(error) in shown.err or isinstance(error, OSError | MemoryError)


def test_the_message_of_a_full_disk_says_what_to_do(earmark, failing):
    failing(OSError(28, "No space left on device", "data/x.parquet"))
    shown = earmark("doctor")
    assert "`data/x.parquet`" in shown.err
    assert "Free some space" in shown.err


def test_a_traceback_where_it_was_asked_for(earmark, failing, monkeypatch):
    failing(UsageError("no"))
    assert "Traceback" in earmark("doctor", "-v").err
    monkeypatch.setenv("EARMARK_DEBUG", "1")
    assert "Traceback" in earmark("doctor").err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_device_as_standard_output(tmp_path):
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "earmark.cli.main", "schema"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode == 2
    assert "disk is full" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_leaves_is_no_error():
    """As in ``earmark schema | head -1``; the pipe is closed before anything is written."""
    read_end, write_end = os.pipe()
    os.close(read_end)
    process = subprocess.Popen(
        [sys.executable, "-m", "earmark.cli.main", "schema"],
        stdout=write_end,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(write_end)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (141, "")


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["doc"], "doctor"),
        (["doctor", "--for"], "--format"),
        (["doctor", "--format", "j"], "json"),
        (["init", "z"], "zones"),
    ],
)
def test_shell_completion(earmark_process, words, offered):
    shown = earmark_process(
        _EARMARK_COMPLETE="bash_complete",
        COMP_WORDS=" ".join(["earmark", *words]),
        COMP_CWORD=str(len(words)),
    )
    assert f"plain,{offered}" in shown.out.splitlines()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion_script(earmark_process, shell):
    shown = earmark_process(_EARMARK_COMPLETE=f"{shell}_source")
    assert "_EARMARK_COMPLETE" in shown.out


def test_invocation_defaults_to_here():
    assert Invocation().folder == Path()
