"""Run commands in this process, or as a process of their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from earmark.cli.main import run

EXAMPLES = Path(__file__).parents[2] / "examples"


@dataclass(frozen=True)
class Finished:
    """What a command left: exit code, standard output, standard error."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("EARMARK_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def earmark(
    capsys: pytest.CaptureFixture[str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Finished]:
    """Call the program's function in this process."""

    def call(*arguments: str | Path) -> Finished:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        _forget_task_files((str(tmp_path_factory.getbasetemp()), str(EXAMPLES)))
        return Finished(code, captured.out, captured.err)

    return call


def _forget_task_files(folders: tuple[str, ...]) -> None:
    """Each process of a user knows one task file; here the next test may bring another of the same name."""
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(folders):
            del sys.modules[name]
    sys.path[:] = [folder for folder in sys.path if not folder.startswith(folders)]


@pytest.fixture
def earmark_process() -> Callable[..., Finished]:
    """Start the program as users do."""

    def call(*arguments: str | Path, cwd: Path | None = None, **environment: str) -> Finished:
        done = subprocess.run(
            [sys.executable, "-m", "earmark.cli.main", *map(str, arguments)],
            capture_output=True,
            text=True,
            cwd=cwd,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=120,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    return call


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project folder in which the example task has gone through every verb; copy it before changing it."""
    folder = tmp_path_factory.mktemp("trained")
    shutil.copy(EXAMPLES / "loudness.py", folder / "loudness.py")
    (folder / "earmark.toml").write_text('task = "loudness.py"\nworkers = 1\n')
    subprocess.run(
        [sys.executable, "-m", "earmark.cli.main", "demo", "loudness.py", "--workers", "0"],
        cwd=folder,
        check=True,
        capture_output=True,
        stdin=subprocess.DEVNULL,
    )
    return folder


@pytest.fixture
def project(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained project, for a test to change."""
    return Path(shutil.copytree(trained, tmp_path / "project"))
