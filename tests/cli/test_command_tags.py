"""`predict --write-tags`, `--undo` and `--library`: the zones task by its rules, on generated tracks."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

mutagen = pytest.importorskip("mutagen")

RULES = ("--method", "rules", "--workers", "0")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    t = np.arange(int(8.5 * 22_050)) / 22_050
    for name in ("a.flac", "b.wav"):
        soundfile.write(folder / name, 0.4 * np.sin(2 * np.pi * 220 * t) * (1 + np.sin(9 * t)) / 2, 22_050)
    (folder / "broken.mp3").write_text("no music")
    return folder


@pytest.fixture
def library(originals, tmp_path, monkeypatch):
    """A project folder with music in it."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(originals, tmp_path / "music"))


def zones(folder):
    import mutagen.flac
    import mutagen.wave

    flac, wav = mutagen.flac.FLAC(folder / "a.flac").tags, mutagen.wave.WAVE(folder / "b.wav").tags
    return [
        flac["ENERGYZONE"][0] if flac and "ENERGYZONE" in flac else None,
        str(wav["TXXX:ENERGYZONE"]) if wav and "TXXX:ENERGYZONE" in wav else None,
    ]


def test_tags_are_shown_written_left_out_and_taken_back(earmark, library):
    before = {path.name: path.read_bytes() for path in library.iterdir()}
    dry = earmark("predict", "zones", "music", *RULES, "-w", "--dry-run", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(dry.out)))
    assert dry.code == 1, "one file is broken"
    assert [row["status"] for row in rows] == ["to write", "to write", "failed"]
    assert before == {path.name: path.read_bytes() for path in library.iterdir()}

    done = earmark("predict", "zones", "music", *RULES, "--write-tags", "--format", "json")
    documents = json.loads(done.out)
    assert done.code == 1 and "Tags: 2 written, 1 failed" in done.err
    assert [document["tags"]["status"] for document in documents] == ["written", "written", "failed"]
    assert zones(library) == [document["zone"] for document in documents[:2]]
    assert documents[0]["tags"]["changes"]["zone"] == {"before": [], "after": [documents[0]["zone"]]}
    assert 1 <= documents[0]["energy"] <= 10

    again = earmark("predict", "zones", "music", *RULES, "-w")
    assert "2 of 3 tracks already carry an answer" in again.err
    forced = earmark("predict", "zones", "music/a.flac", *RULES, "-w", "--force", "--format", "json")
    assert forced.code == 0 and json.loads(forced.out)[0]["tags"]["status"] == "unchanged"
    nothing = earmark("predict", "zones", "music/a.flac", *RULES, "-w", "--format", "json")
    assert (nothing.code, json.loads(nothing.out)) == (0, [])

    undone = earmark("predict", "zones", "--undo")
    assert undone.code == 0 and undone.out.count("restored") == 2
    assert before == {path.name: path.read_bytes() for path in library.iterdir()}
    assert earmark("predict", "zones", "--undo", "all").code == 0


def test_tagging_does_not_compute_again(earmark, library):
    from earmark.cache.entries import FeatureCache

    (library / "broken.mp3").unlink()
    assert earmark("predict", "zones", "music", *RULES, "-w").code == 0
    cache = FeatureCache(library.parent / ".earmark" / "cache")
    computed = sum(version.computed for version in cache.stats().versions)
    first = earmark("predict", "zones", "music", *RULES, "--format", "json")
    assert len(json.loads(first.out)) == 2
    assert sum(version.computed for version in cache.stats().versions) == computed


def test_hand_edits_are_listed_and_no_failure(earmark, library):
    (library / "broken.mp3").unlink()
    earmark("predict", "zones", "music", *RULES, "-w")
    import mutagen.flac

    file = mutagen.flac.FLAC(library / "a.flac")
    file.tags["ENERGYZONE"] = ["PURPLE"]
    file.save()
    listed = earmark("predict", "zones", "music", *RULES, "-w", "--force")
    assert listed.code == 0
    assert "kept" in listed.out and "zone was changed by hand: 'PURPLE'" in listed.out
    assert earmark("predict", "zones", "--undo").out.count("kept") == 1
    assert earmark("predict", "zones", "music", *RULES, "-w", "--overwrite", "--backup-copy").code == 0
    assert (library / "a.flac.backup").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [(["music", "--undo"], "without SOURCES"), (["--undo", "-w"], "without SOURCES"), (["--undo", "first"], "all"),
     (["music", "--dry-run"], "--write-tags"),
     (["music", "--overwrite", "--backup-copy"], "--overwrite, --backup-copy")],
)  # fmt: skip
def test_options_that_do_not_go_together(earmark, library, options, said):
    result = earmark("predict", "zones", *options)
    assert result.code == 2 and said in result.err


def test_a_task_without_tags_says_so(earmark, library):
    example = Path(__file__).parents[2] / "examples" / "loudness.py"
    for options in (["music", "-w"], ["--undo"]):
        assert "writes no tags" in earmark("predict", example, *options).err
    assert "writes no collection" in earmark("predict", example, "music", "--library", "x.xml").err


def test_a_library_for_rekordbox(earmark, library):
    (library / "broken.mp3").unlink()
    result = earmark("predict", "zones", "music", *RULES, "--rekordbox", "collection.xml")
    assert result.code == 0, result.err
    assert "written: collection.xml" in result.err
    text = (library.parent / "collection.xml").read_text("utf-8")
    assert "DJ_PLAYLISTS" in text and "a.flac" in text


def test_files_and_playlists_hold_also_what_is_not_tagged_again(earmark, library):
    (library / "broken.mp3").unlink()
    assert earmark("predict", "zones", "music/a.flac", *RULES, "-w").code == 0
    before = (library / "a.flac").read_bytes()
    options = ("--output", "all.jsonl", "--playlists", "lists", "--format", "json")
    result = earmark("predict", "zones", "music", *RULES, "-w", *options)
    assert [row["path"] for row in json.loads(result.out)] == ["music/b.wav"], "only this one is tagged"
    assert "1 of 2 tracks already carry an answer" in result.err and "Tags: 1 written" in result.err
    rows = [json.loads(line) for line in Path("all.jsonl").read_text("utf-8").splitlines()]
    assert [row["path"] for row in rows] == ["music/a.flac", "music/b.wav"]
    listed = [line for path in Path("lists").iterdir() for line in path.read_text("utf-8").splitlines()]
    assert sum(line.endswith((".flac", ".wav")) for line in listed) == 2
    assert (library / "a.flac").read_bytes() == before

    undone = earmark("predict", "zones", "--undo")
    assert "1 files carry answers of earlier writes; --undo all" in undone.err
    assert "--undo all takes" not in earmark("predict", "zones", "--undo", "all").err


def test_a_name_that_is_not_utf8_passes_through_every_output(library):
    name = os.fsdecode(b"caf\xe9.flac")
    (library / "a.flac").rename(library / name)
    command = [sys.executable, "-m", "earmark.cli.main", "predict", "zones", f"music/{name}", *RULES]
    for options in (["-o", "x.json", "--export-csv", "x.csv", "--format", "json"], ["--format", "csv"], []):
        shown = subprocess.run([*command, *options], capture_output=True, text=True, check=False)
        assert (shown.returncode, "caf\\udce9.flac" in shown.stdout) == (0, True), shown.stderr
    assert json.loads(Path("x.json").read_text("utf-8"))[0]["path"] == f"music/{name}"
    assert b"music/caf\xe9.flac" in Path("x.csv").read_bytes()
