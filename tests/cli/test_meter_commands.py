"""`earmark predict`, `stream` and `live` of the task meter, as users call them."""

import csv
import io
import json
import os
import subprocess
import sys

import jsonschema
import numpy as np
import pytest
import soundfile

from earmark.tasks.meter.analysis.document import document_schema

RATE = 22_050


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A project with a folder of songs: clicks in four, one that is too short, one that is no audio."""
    root = tmp_path_factory.mktemp("project")
    songs = root / "songs"
    songs.mkdir()
    signal = np.zeros(12 * RATE, dtype=np.float32)
    for k in range(23):
        start = round((0.3 + 0.5 * k) * RATE)
        signal[start : start + 600] = (0.9 if k % 4 == 0 else 0.4) * np.exp(-np.arange(600) / 120)
    soundfile.write(songs / "four.wav", signal, RATE, subtype="PCM_16")
    soundfile.write(songs / "short.wav", signal[:RATE], RATE)
    (songs / "broken.wav").write_bytes(b"no audio")
    return root


def predict(earmark, folder, *more):
    return earmark(
        "-C", folder, "predict", "meter", folder / "songs", "--fallback", "rule", "--workers", "0", *more
    )


def test_every_form_tells_the_same_and_failures_are_told(earmark, folder):
    text = predict(earmark, folder)
    assert text.code == 1
    assert text.out.split()[:5] == ["path", "bpm", "meter", "confidence", "grouping"]
    assert len(text.out.splitlines()) == 2 and "broken.wav" in text.err and "short.wav" in text.err
    documents = json.loads(predict(earmark, folder, "--format", "json").out)
    lines = [json.loads(line) for line in predict(earmark, folder, "--format", "jsonl").out.splitlines()]
    assert documents == lines
    assert [one.get("code") for one in documents] == ["undecodable", None, "too_short"]
    jsonschema.validate(documents[1], document_schema())
    rows = list(csv.DictReader(io.StringIO(predict(earmark, folder, "--format", "csv").out)))
    assert [row["code"] for row in rows] == ["undecodable", "", "too_short"]
    assert float(rows[1]["bpm"]) == documents[1]["tempo"]["bpm"]


def test_files_about_an_answer(earmark, folder, tmp_path):
    asked = ["--jams", tmp_path / "j", "--beats", tmp_path / "b", "--sonify", tmp_path / "s"]
    done = predict(earmark, folder, *asked, "--output", tmp_path / "all.jsonl")
    assert done.code == 1
    assert sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*")) == [
        "all.jsonl",
        "b/four.tsv",
        "j/four.jams",
        "s/four.wav",
    ]
    document = json.loads((tmp_path / "all.jsonl").read_text("utf-8").splitlines()[1])
    times = np.loadtxt(tmp_path / "b" / "four.tsv")[:, 0]
    np.testing.assert_allclose(times, [one["time"] for one in document["beats"]], atol=6e-4)


def test_the_schema_is_printed(earmark, folder):
    assert json.loads(earmark("-C", folder, "predict", "meter", "--schema").out) == document_schema()


def test_without_a_model_and_a_fallback_nothing_is_answered(earmark, folder, monkeypatch, tmp_path):
    from earmark.tasks.meter.serving import model

    monkeypatch.setattr(model, "_shipped_folder", lambda: tmp_path / "nothing")
    done = earmark("-C", folder, "predict", "meter", folder / "songs" / "four.wav")
    assert done.code == 2 and done.out == "" and "--fallback rule" in done.err


def test_the_threshold_makes_it_abstain(earmark, folder, monkeypatch, tmp_path):
    from earmark.tasks.meter.serving import model

    monkeypatch.setattr(model, "_shipped_folder", lambda: tmp_path / "nothing")
    done = predict(earmark, folder, "--format", "jsonl", "--threshold", "1")
    assert json.loads(done.out.splitlines()[1])["abstained"] is True


@pytest.mark.slow
def test_raw_samples_are_streamed_and_heard_live(folder):
    song = folder / "songs" / "four.wav"
    raw = soundfile.read(song, dtype="int16")[0].astype("<i2").tobytes()
    form = ["-", "--pcm", "s16le", "--sample-rate", str(RATE), "--fallback", "rule"]
    streamed = called(folder, ["stream", "meter", *form], raw)
    *messages, last = map(json.loads, streamed.splitlines())
    expected = json.loads(
        called(folder, ["predict", "meter", str(song), "--format", "jsonl", "--fallback", "rule"])
    )
    assert last == expected | {"path": "<stdin>"}
    assert {one["type"] for one in messages} == {"warmup_progress", "onset", "analysis"}
    live = called(folder, ["live", "meter", "--all", "--input", *form], raw)
    own = {"path": "-"}
    heard = [json.loads(line) for line in live.splitlines()]
    assert [one["type"] for one in heard] == [one["type"] for one in messages]
    assert heard[-1]["data"] == messages[-1]["data"] | own


def called(folder, arguments, data: bytes = b"") -> bytes:
    """Standard output of a process of its own that reads `data`."""
    done = subprocess.run(
        [sys.executable, "-m", "earmark.cli.main", "-C", str(folder), *arguments],
        input=data,
        capture_output=True,
        env={name: value for name, value in os.environ.items() if not name.startswith("EARMARK_")},
        check=True,
        timeout=200,
    )
    return done.stdout


def test_a_microphone_needs_its_extra(earmark, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    done = earmark("-C", folder, "live", "meter", "--fallback", "rule")
    assert done.code == 2 and "earmark[live]" in done.err
