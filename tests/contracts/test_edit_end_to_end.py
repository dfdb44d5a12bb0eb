"""The promise as a user meets it: edit, run again, see what is computed. Each run is a process of the command line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import soundfile

TASK = """
from pathlib import Path
from earmark import Task, feature_group
import helpers

@feature_group("mine.loudness", columns=("mean", "peak"), sample_rate=16_000)
def loudness(clip):
    level = helpers.scale(abs(clip.samples))
    return [level.mean(), level.max()]

def offset():
    return float(Path(__file__).with_name("offset.txt").read_text())

@feature_group("mine.spread", columns=("std",), sample_rate=16_000)
def spread(clip):
    return [clip.samples.std() + offset()]

task = Task(name="mine", groups=[loudness, spread])
"""
HELPERS = """
from settings import GAIN

def scale(samples):
    scaled = samples * GAIN
    return scaled
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(TASK)
    (tmp_path / "helpers.py").write_text(HELPERS)
    (tmp_path / "settings.py").write_text("GAIN = 2.0\n")
    (tmp_path / "offset.txt").write_text("1.0")
    (tmp_path / "sounds").mkdir()
    for number in range(4):
        samples = np.random.default_rng(number).normal(0, 0.1, 16_000)
        soundfile.write(tmp_path / "sounds" / f"{number}.wav", samples, 16_000)
    return tmp_path


def earmark(folder, *arguments, code=0):
    command = [sys.executable, "-m", "earmark", *arguments, "--format", "json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout) if done.stdout else done.stderr


def computed(folder):
    return earmark(folder, "extract", "mine.py", "sounds")["computed"]


def test_edits_recompute_what_depends_on_them_and_nothing_else(folder):
    nothing = {"mine.loudness": 0, "mine.spread": 0}
    assert computed(folder) == {"mine.loudness": 4, "mine.spread": 4}
    assert computed(folder) == nothing

    (folder / "helpers.py").write_text('"""Now documented."""\n' + HELPERS.replace("scaled", "louder"))
    assert computed(folder) == nothing, "a comment and a renamed local variable recompute nothing"

    (folder / "settings.py").write_text("GAIN = 3.0\n")
    why = earmark(folder, "cache", "why", "mine.loudness", "--task", "mine.py")
    assert any(change["name"].endswith("GAIN") for change in why["changes"]), why
    assert computed(folder) == {"mine.loudness": 4, "mine.spread": 0}

    (folder / "settings.py").write_text("GAIN = 2.0\n")
    assert computed(folder) == nothing, "an edit that was reverted finds its entries"

    (folder / "offset.txt").write_text("5.0")
    assert computed(folder) == {"mine.loudness": 0, "mine.spread": 4}


def test_a_refactoring_is_adopted_and_a_change_of_values_is_refused(folder):
    assert computed(folder) == {"mine.loudness": 4, "mine.spread": 4}
    (folder / "helpers.py").write_text(HELPERS.replace("samples * GAIN", "GAIN * samples"))
    adopt = ("cache", "adopt", "mine.loudness", "sounds", "--task", "mine.py", "--sample", "2")
    adopted = earmark(folder, *adopt)
    assert (adopted["adopted"], adopted["entries"], adopted["compared"]) == (True, 4, 2)
    assert computed(folder) == {"mine.loudness": 0, "mine.spread": 0}

    (folder / "helpers.py").write_text(HELPERS.replace("samples * GAIN", "samples * GAIN + 1"))
    refused = earmark(folder, *adopt, code=3)
    assert not refused["adopted"]
    assert {row["column"] for row in refused["differences"]} == {"mean", "peak"}
    assert computed(folder) == {"mine.loudness": 4, "mine.spread": 0}


def test_inputs_are_known_by_content(folder, tmp_path_factory):
    first = earmark(folder, "extract", "mine.py", "sounds", "--output", "before.csv")
    assert first["computed"] == {"mine.loudness": 4, "mine.spread": 4}
    sounds = folder / "sounds"
    (sounds / "0.wav").rename(sounds / "renamed.wav")
    shutil.copy(sounds / "1.wav", sounds / "copy.wav")
    (sounds / "2.wav").touch()
    assert computed(folder) == {"mine.loudness": 0, "mine.spread": 0}

    changed = sounds / "3.wav"
    before = changed.stat()
    content = bytearray(changed.read_bytes())
    content[1000] ^= 1
    changed.write_bytes(content)
    os.utime(changed, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (changed.stat().st_size, changed.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert computed(folder) == {"mine.loudness": 1, "mine.spread": 1}

    moved = tmp_path_factory.mktemp("elsewhere") / "project"
    shutil.move(folder, moved)
    assert computed(moved) == {"mine.loudness": 0, "mine.spread": 0}


def test_an_edit_of_equal_length_and_time_is_seen(folder):
    settings = folder / "settings.py"
    assert computed(folder) == {"mine.loudness": 4, "mine.spread": 4}
    before = settings.stat()
    settings.write_text("GAIN = 9.0\n")
    os.utime(settings, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert computed(folder) == {"mine.loudness": 4, "mine.spread": 0}
