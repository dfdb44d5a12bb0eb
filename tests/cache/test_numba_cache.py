"""numba's disk cache beside the stamped one: neither throws the other's files away, and nothing stale is loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

CONSTANTS = "GAIN = {gain}\n"
KERNELS = """
from numba import njit

import constants

GAIN = constants.GAIN

@njit(cache=True)
def scaled(x):
    return x * constants_gain()

@njit(cache=True)
def constants_gain():
    return GAIN
"""
SCRIPT = """
import sys
import kernels
from earmark.cache.fingerprint import fingerprint

for step in sys.argv[1:]:
    if step == "call":
        print(kernels.scaled(2.0), end=" ")
    else:
        fingerprint(kernels.scaled)
print(sum(kernels.scaled.stats.cache_hits.values()))
"""


@pytest.fixture
def run(tmp_path):
    (tmp_path / "constants.py").write_text(CONSTANTS.format(gain=3.0))
    (tmp_path / "kernels.py").write_text(KERNELS)
    (tmp_path / "script.py").write_text(SCRIPT)

    def run(*steps):
        command = [sys.executable, str(tmp_path / "script.py"), *steps]
        done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=120, check=True)
        return done.stdout.split()

    return run


def test_processes_with_and_without_fingerprints_keep_their_compiled_code(run):
    assert run("call") == ["6.0", "0"]
    assert run("fingerprint", "call") == ["6.0", "0"]
    assert run("call") == ["6.0", "1"]
    assert run("fingerprint", "call") == ["6.0", "1"]


def test_a_stale_compilation_loaded_before_the_fingerprint_is_replaced(run, tmp_path):
    assert run("call") == ["6.0", "0"]
    assert run("fingerprint", "call") == ["6.0", "0"]
    (tmp_path / "constants.py").write_text(CONSTANTS.format(gain=5.0))
    before, after, _ = run("call", "fingerprint", "call")
    assert before == "6.0", "numba's own cache does not see the edit: this is the trap"
    assert after == "10.0"
    assert run("fingerprint", "call") == ["10.0", "1"]
