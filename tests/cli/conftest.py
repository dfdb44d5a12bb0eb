"""Run commands in this process, or as a process of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from earmark.cli.main import run


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
def earmark(capsys: pytest.CaptureFixture[str]) -> Callable[..., Finished]:
    """Call the program's function in this process."""

    def call(*arguments: str | Path) -> Finished:
        capsys.readouterr()
        code = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Finished(code, captured.out, captured.err)

    return call


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
