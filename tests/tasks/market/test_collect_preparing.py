"""Who waits for compiled code is told so, and who has it already is told nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest

from earmark.tasks.market.collect.preparing import prepare_pipelines


def test_code_that_is_there_is_loaded_without_a_word():
    prepare_pipelines()
    calls = []
    prepare_pipelines(lambda: calls.append(1))
    assert calls == []


def test_the_first_compilation_is_told_once(monkeypatch):
    from earmark.tasks.market.collect import preparing

    def compile_two():
        for power in (2, 3):
            numba.njit(lambda x, power=power: x**power)(1.0)

    monkeypatch.setattr(preparing, "prepare_kernels", compile_two)
    calls = []
    prepare_pipelines(lambda: calls.append(1))
    assert calls == [1]


@pytest.mark.slow
def test_the_command_says_so_on_a_machine_that_has_nothing_compiled(tmp_path: Path):
    pytest.importorskip("aiohttp")
    command = [sys.executable, "-m", "earmark", "collect", "market", "--symbols", "BTCUSDT", "--simulator"]
    command += ["--speed", "30", "--duration", "30s", "--venue", "binance"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "compiled")}
    said = [
        subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        ).stderr.count("Preparing compiled code, once")
        for _ in range(2)
    ]
    assert said == [1, 0]
