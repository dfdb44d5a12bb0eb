"""`earmark stream` on a small trained project: its lines, its last line, its inputs, and how it ends."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 44_100
PCM = ("--pcm", "s16le", "--sample-rate", str(RATE), "--channels", "2")
FIELDS = ["t", "label", "since", "window", "so_far", "confidence", "probabilities", "method"]


def noise(*parts: tuple[float, float]) -> np.ndarray:
    """Stereo noise in parts of (seconds, peak), 16 bits."""
    rng = np.random.default_rng(0)
    samples = [peak * rng.uniform(-1, 1, (round(s * RATE), 2)) for s, peak in parts]
    return (np.concatenate(samples) * 32767).astype("<i2")


@pytest.fixture(scope="module")
def own_copy(trained, tmp_path_factory):
    """A project of this module's own: what a stream ends with is kept in the cache."""
    return Path(shutil.copytree(trained, tmp_path_factory.mktemp("stream") / "project"))


@pytest.fixture
def here(own_copy, monkeypatch):
    monkeypatch.chdir(own_copy)
    return own_copy


@pytest.fixture
def recording(tmp_path):
    """12.3 s, quiet and then loud, as samples and as a file."""
    samples = noise((6, 0.05), (6.3, 0.8))
    path = tmp_path / "recording.wav"
    soundfile.write(path, samples, RATE, subtype="PCM_16")
    return samples, str(path)


@pytest.fixture
def pipe(monkeypatch):
    """Put bytes on the standard input of commands in this process."""
    return lambda data: monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def lines_of(shown) -> list[dict]:
    assert shown.code == 0, shown.err
    return [json.loads(line) for line in shown.out.splitlines()]


def predicted(earmark, path) -> dict:
    [document] = json.loads(earmark("predict", "loudness.py", path, "--no-cache", "--format", "json").out)
    return document


def test_lines_of_a_file_and_the_last_is_that_of_predict(here, recording, earmark):
    shown = earmark("stream", "loudness.py", recording[1], "--every", "2", "--window", "4", "--dwell", "2")
    *ticks, last = lines_of(shown)
    assert [line["t"] for line in ticks] == [2, 4, 6, 8, 10, 12]
    assert all(list(line) == FIELDS for line in ticks)
    assert ticks[-1]["window"] == [8, 12]
    assert list(ticks[0]["so_far"]) == ["t", "label", "probabilities"]
    assert [line["label"] for line in ticks][0::5] == ["quiet", "loud"]
    assert (last.pop("t"), last.pop("final")) == (12.3, True)
    assert [span["label"] for span in last.pop("timeline")] == ["quiet", "loud"]
    assert last == predicted(earmark, recording[1])


def test_raw_samples_give_the_lines_of_their_file(here, recording, earmark, pipe):
    samples, path = recording
    options = ("--every", "1", "--window", "3", "--dwell", "2", "--no-cache")
    *of_file, last_of_file = lines_of(earmark("stream", "loudness.py", path, *options))
    pipe(samples.tobytes())
    *of_pcm, last_of_pcm = lines_of(earmark("stream", "loudness.py", "-", *PCM, *options))
    assert of_pcm == of_file
    assert last_of_pcm == last_of_file | {"path": "<stdin>"}


@pytest.mark.parametrize("kind", ["FLAC", "WAV"])
def test_a_file_on_standard_input_gives_its_lines(here, recording, earmark, pipe, kind):
    buffer = io.BytesIO()
    soundfile.write(buffer, recording[0], RATE, format=kind, subtype="PCM_16")
    pipe(buffer.getvalue())
    last = lines_of(earmark("stream", "loudness.py"))[-1]
    assert last["probabilities"] == predicted(earmark, recording[1])["probabilities"]


@pytest.mark.parametrize("sample_rate", ["16000", "11025"])
def test_floats_at_any_rate(here, tmp_path, earmark, pipe, sample_rate):
    samples = np.random.default_rng(1).uniform(-0.4, 0.4, 40_001).astype("<f4")
    soundfile.write(tmp_path / "float.wav", samples, int(sample_rate), subtype="FLOAT")
    pipe(samples.tobytes())
    last = lines_of(earmark("stream", "loudness.py", "--pcm", "f32le", "--sample-rate", sample_rate))[-1]
    assert last["probabilities"] == predicted(earmark, tmp_path / "float.wav")["probabilities"]


def test_only_changes_and_no_final(here, recording, earmark):
    options = ("--every", "1", "--window", "2", "--dwell", "1", "--only-changes")
    lines = lines_of(earmark("stream", "loudness.py", recording[1], *options))
    assert [line["label"] for line in lines[:-1]] == ["quiet", "loud"] and lines[-1]["final"]
    lines = lines_of(earmark("stream", "loudness.py", recording[1], *options, "--no-final"))
    assert [(line["label"], line["so_far"]) for line in lines] == [("quiet", None), ("loud", None)]


def test_table_and_csv_say_the_same(here, recording, earmark):
    command = ("stream", "loudness.py", recording[1], "--every", "3", "--window", "3", "--dwell", "3")
    table = earmark(*command, "--format", "table").out
    rows = table.splitlines()
    assert rows[0].startswith(" 0:03  quiet") and "so far quiet" in rows[0]
    assert rows[4].startswith(" 0:12  the whole:  quiet")
    assert rows[-3:] == ["Timeline", " 0:00 -  0:08  quiet", " 0:08 -  0:12  loud"]
    assert earmark("--format", "table", *command).out == table
    found = list(csv.DictReader(io.StringIO(earmark(*command, "--format", "csv").out)))
    assert [row["t"] for row in found] == ["3.0", "6.0", "9.0", "12.0", "12.3"]
    assert [row["final"] for row in found] == [""] * 4 + ["True"]
    assert float(found[0]["p_quiet"]) + float(found[0]["p_loud"]) == pytest.approx(1)


@pytest.mark.parametrize(
    ("arguments", "data", "code", "message"),
    [
        (("-",), b"", 1, "`<stdin>` is empty (0 bytes)"),
        (("-",), b"no audio at all" * 9, 1, "`<stdin>` is damaged, cut short or not audio"),
        (("-", *PCM), b"", 1, "`<stdin>` gave 0 bytes and ended"),
        (("-", *PCM), b"\0" * 400_001, 1, "`<stdin>` ends inside a frame: 1 bytes are left over"),
        (("gone.wav",), b"", 1, "`gone.wav` does not exist"),
        (("demo",), b"", 1, "`demo` is a folder"),
        (("gone.wav", *PCM), b"", 2, "--pcm describes standard input, and FILE is `gone.wav`"),
        (("-", "--pcm", "s16le"), b"", 2, "Give --sample-rate"),
        (("-", "--pcm", "s16le", "--sample-rate", "10"), b"", 2, "expected 1000 to 1000000 Hz"),
        (("-", "--channels", "2"), b"", 2, "Give --pcm too"),
        (("-", "--method", "rules"), b"", 2, "has no rules"),
        (("-", "--every", "0"), b"", 2, "--every"),
    ],
)
def test_what_cannot_be_heard_is_one_sentence(here, earmark, pipe, arguments, data, code, message):
    pipe(data)
    shown = earmark("stream", "loudness.py", *arguments)
    assert (shown.code, [json.loads(line)["label"] for line in shown.out.splitlines()]) == (code, [])
    assert message in shown.err and "Traceback" not in shown.err


class Terminal(io.StringIO):
    """A standard input at which a person sits."""

    def isatty(self) -> bool:
        return True


def test_a_terminal_is_no_audio(here, earmark, monkeypatch):
    monkeypatch.setattr("sys.stdin", Terminal())
    shown = earmark("stream", "loudness.py")
    assert (shown.code, "standard input is a terminal" in shown.err) == (2, True)


def test_realtime_gives_no_line_before_its_time(here, earmark, pipe):
    pipe(noise((2.2, 0.8)).tobytes())
    started = time.monotonic()
    lines = lines_of(earmark("stream", "loudness.py", *PCM, "--every", "0.5", "--realtime"))
    assert len(lines) == 5 and time.monotonic() - started >= 2.2


def test_lines_come_as_they_are_heard_and_ctrl_c_ends_cleanly(here):
    process = subprocess.Popen(
        [sys.executable, "-m", "earmark.cli.main", "stream", "loudness.py", "-", *PCM, "--every", "1"],
        cwd=here,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(noise((2.5, 0.8)).tobytes())
    process.stdin.flush()
    lines = [json.loads(process.stdout.readline()) for _ in range(2)]
    assert [(line["t"], line["label"]) for line in lines] == [(1, "loud"), (2, "loud")]
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b""), err
    assert b"Interrupted. The lines above stand" in err and b"Traceback" not in err


def test_zones_are_called_zones(tmp_path, earmark, monkeypatch):
    """By the rules, which need no training; the first window is too short, and its line has the same fields."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    soundfile.write("a.wav", 0.3 * rng.uniform(-1, 1, 22_050 * 12), 22_050)
    command = ("stream", "zones", "a.wav", "--method", "rules", "--every", "4")
    first, *_, last = lines_of(earmark(*command))
    assert {"zone", "zone_id", "tempo_bpm"} <= set(first) and first["zone"] is first["label"] is None
    [document] = json.loads(
        earmark("predict", "zones", "a.wav", "--method", "rules", "--no-cache", "--format", "json").out
    )
    assert {name: last[name] for name in document} == document
