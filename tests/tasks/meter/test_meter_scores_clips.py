"""Clips and their labels: bars where they are said to be, the same seed the same bytes, no half clip after a kill."""

from __future__ import annotations

import csv
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from earmark.audio.decode import decode
from earmark.errors import InputError, MissingExtraError, UsageError
from earmark.tasks.meter.schema import CLASSES
from earmark.tasks.meter.scores import render
from earmark.tasks.meter.scores.clips import COLUMNS, Take, encode, label_row, write_clip
from earmark.tasks.meter.scores.demo import CLICKS, PIECES_PER_CLASS, click_score, make_demo
from earmark.tasks.meter.scores.midi import write_midi
from earmark.tasks.meter.scores.patterns import generate
from earmark.tasks.meter.scores.render import INSTALL, has_fluidsynth
from earmark.tasks.meter.scores.score import Meter, Note, Part, Score, TempoMap
from earmark.tasks.meter.scores.sources import render_source
from earmark.tasks.meter.scores.synth import VOICES, synthesise, voice_of

needs_fluidsynth = pytest.mark.skipif(
    not has_fluidsynth(), reason=f"needs fluidsynth and a sound font: {INSTALL}"
)

RUN = """
import sys
from earmark.tasks.meter.scores import render
from earmark.tasks.meter.scores.sources import render_source
render.SOUND_FONTS = ()  # the built-in synthesiser
render_source("patterns", sys.argv[1], n_clips=int(sys.argv[2]), seed=3, duration_s=3.0)
"""


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def read_labels(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    return make_demo(tmp_path_factory.mktemp("meter-demo"))


def strokes_louder_than(samples: np.ndarray, share: float) -> np.ndarray:
    """Seconds at which the level of 5 ms frames jumps past a share of the highest level."""
    frame = 110
    level = np.abs(samples[: len(samples) // frame * frame]).reshape(-1, frame).max(axis=1)
    high = level > share * level.max()
    rises = np.flatnonzero(high & ~np.concatenate([[False], high[:-1]]))
    keep = rises[np.concatenate([[True], np.diff(rises) > 8])]
    return keep * frame / 22_050


@pytest.mark.parametrize("name", ["plain", "compound", "seven-end", "ramp", "gaps"])
def test_downbeats_of_clicks_are_where_the_labels_say(demo, name):
    evaluate = pytest.importorskip("mir_eval.beat")
    row = next(row for row in read_labels(demo) if row["title"] == name)
    clip = decode(demo.parent / row["file"], sample_rate=22_050)
    reference = np.array([float(text) for text in row["downbeats"].split()])
    estimated = strokes_louder_than(clip.samples, 0.75)
    assert evaluate.f_measure(reference, estimated, f_measure_threshold=0.02) > 0.95


def test_the_demo_has_every_class_and_the_pairs_that_are_confused(demo):
    rows = read_labels(demo)
    assert tuple(rows[0]) == COLUMNS and len(rows) == len(CLICKS) + PIECES_PER_CLASS * len(CLASSES)
    for label in CLASSES:
        assert sum(row["label"] == label for row in rows) >= PIECES_PER_CLASS
    facts = {row["title"]: (row["signature"], row["grouping"], row["division"]) for row in rows}
    assert facts["compound"] == ("6/8", "3+3", "compound") and facts["waltz"] == ("3/4", "3", "simple")
    assert (facts["seven-end"][1], facts["seven-start"][1]) == ("2+2+3", "3+2+2")
    for row in rows:
        samples = decode(demo.parent / row["file"], sample_rate=22_050).samples
        assert len(samples) == round(float(row["seconds"]) * 22_050)
        assert 0.001 < np.abs(samples).max() <= 1
        times = [float(text) for text in row["downbeats"].split()]
        assert len(times) >= 2 and times[0] >= 0 and times[-1] < float(row["seconds"])


def test_a_second_demo_writes_nothing_and_a_lost_clip_returns(demo):
    before = digests(demo.parent)
    lost = demo.parent / sorted(name for name in before if name.endswith("flac"))[0]
    kept = demo.parent / sorted(name for name in before if name.endswith("flac"))[1]
    lost.unlink()
    written = kept.stat().st_mtime_ns
    make_demo(demo.parent)
    assert digests(demo.parent) == before
    assert kept.stat().st_mtime_ns == written


def test_a_killed_run_leaves_whole_clips_and_goes_on(tmp_path, monkeypatch):
    killed, n_clips = tmp_path / "killed", 9
    command = [sys.executable, "-c", RUN, str(killed), str(n_clips)]
    process = subprocess.Popen(command, env={**os.environ, "OPENBLAS_NUM_THREADS": "1"})
    while process.poll() is None and len(list(killed.glob("audio/*.flac"))) < 2:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "labels.csv").exists()
    for path in killed.glob("audio/*.flac"):
        assert decode(path, sample_rate=22_050).duration_s == pytest.approx(3.0)
    monkeypatch.setattr(render, "SOUND_FONTS", ())
    for folder in (killed, tmp_path / "whole"):
        render_source("patterns", folder, n_clips=n_clips, seed=3, duration_s=3.0)
    for stray in killed.rglob(".*.tmp"):  # all that a crash may leave
        stray.unlink()
    assert digests(killed) == digests(tmp_path / "whole")


@pytest.mark.slow
@needs_fluidsynth
def test_the_same_seed_gives_the_same_bytes_with_any_number_of_workers(tmp_path):
    seen = []
    one = render_source("patterns", tmp_path / "a", n_clips=6, seed=5, duration_s=4.0, progress=seen.append)
    two = render_source("patterns", tmp_path / "b", n_clips=6, seed=5, duration_s=4.0, workers=2)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert (one.n_clips, one.by_signature) == (two.n_clips, two.by_signature)
    assert sorted(row["label"] for row in read_labels(one.labels_csv)) == sorted(CLASSES)
    assert [(step.done, step.total) for step in seen] == [(number, 6) for number in range(1, 7)]
    other = render_source("patterns", tmp_path / "c", n_clips=6, seed=6, duration_s=4.0)
    assert not set(digests(tmp_path / "a").values()) & set(digests(other.labels_csv.parent).values())


@needs_fluidsynth
def test_a_folder_of_midi_files_gives_clips_and_names_what_fails(tmp_path):
    folder = tmp_path / "songs"
    (folder / "deeper").mkdir(parents=True)
    score = generate(np.random.default_rng(1), "7", duration_s=8)
    (folder / "deeper" / "seven.MID").write_bytes(write_midi(score))
    (folder / "broken.mid").write_bytes(b"MThd nonsense")
    rendered = render_source("midi", tmp_path / "out", midi_dir=folder, duration_s=10.0)
    (row,) = read_labels(rendered.labels_csv)
    assert (row["label"], row["signature"], row["group"]) == ("7", score.meter.counted, "seven.MID")
    assert len(rendered.failed) == 1 and "broken.mid" in rendered.failed[0]


def test_sources_that_cannot_be_used_say_so(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="expected one of patterns, music21, midi"):
        render_source("symphonies", tmp_path)
    with pytest.raises(UsageError, match="needs a folder"):
        render_source("midi", tmp_path)
    with pytest.raises(UsageError, match="holds no MIDI files"):
        render_source("midi", tmp_path, midi_dir=tmp_path)
    monkeypatch.setattr(render, "SOUND_FONTS", ())
    with pytest.raises(UsageError, match="apt-get install"):
        render_source("music21", tmp_path, n_clips=1)


def test_without_music21_the_extra_is_named(monkeypatch):
    from earmark.tasks.meter.scores import music21_corpus

    monkeypatch.setitem(sys.modules, "music21", None)
    music21_corpus.index.cache_clear()
    with pytest.raises(MissingExtraError, match=r"earmark\[scores\]"):
        music21_corpus.index()


def test_a_window_moves_the_labels_with_it():
    score = click_score(CLICKS[0])  # bars of two seconds
    row = label_row(score, Take(start_s=1.5, duration_s=6.0), "a.flac")
    assert row["downbeats"] == "0.500 2.500 4.500"
    with pytest.raises(InputError, match="expected at least 2"):
        label_row(score, Take(start_s=0.5, duration_s=1.0), "a.flac")


def test_silence_is_no_clip(tmp_path):
    score = Score(Meter("4/4", (4,)), 4, TempoMap.constant(0.5), (Part("rest", 0, ()),))
    with pytest.raises(InputError, match="nothing sounds"):
        write_clip(score, Take(duration_s=5.0), tmp_path, "silent")
    assert not list(tmp_path.rglob("*.flac"))


@pytest.mark.parametrize("program", [0, 11, 19, 24, 40, 68, 73, 107])
def test_every_voice_sounds_at_its_pitch(program):
    assert voice_of(program) in VOICES
    score = Score(Meter("4/4", (4,)), 1, TempoMap.constant(0.5), (Part("a", program, (Note(0.0, 4.0, 69),)),))
    samples = synthesise(score, 2.0, seed=1)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    assert samples.dtype == np.float32 and np.abs(samples).max() == pytest.approx(0.5)
    peak_hz = np.fft.rfftfreq(len(samples), 1 / 22_050)[int(spectrum.argmax())]
    assert min(abs(peak_hz - 440 * order) for order in (1, 2, 3)) < 25
    assert np.array_equal(samples, synthesise(score, 2.0, seed=1))


def test_flac_of_equal_samples_is_equal():
    samples = np.sin(np.arange(22_050) / 30).astype(np.float32) / 2
    assert encode(samples) == encode(samples)
