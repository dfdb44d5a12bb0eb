"""DEAM as a second source of `prepare`: what trains only, what is sealed, what adds up, what is refused."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import soundfile

from earmark.cli.prepare import _STRATEGIES
from earmark.data.manifest import Manifest
from earmark.data.splits import Splits
from earmark.tasks.zones.deam.mapping import STRATEGIES, ZoneMapping, default_yaml
from earmark.tasks.zones.deam.tree import write_deam_tree

N_SONGS, N_TRACKS = 9, 18


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A tree and a label file with its tracks, beside each other."""
    folder = tmp_path_factory.mktemp("sources")
    write_deam_tree(folder / "DEAM", N_SONGS, seed=1, duration_s=10)
    lines = []
    for number in range(N_TRACKS):
        soundfile.write(folder / f"{number}.wav", np.random.default_rng(number).normal(0, 0.1, 8_000), 8_000)
        lines.append(f"{number}.wav\t{('yellow', 'green', 'purple')[number % 3]}")
    (folder / "labels.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def folder(whole, tmp_path, monkeypatch):
    copied = Path(shutil.copytree(whole, tmp_path / "project"))
    monkeypatch.chdir(copied)
    return copied


def prepared(folder):
    return Manifest.read(folder / "data/zones/manifest.parquet"), Splits.read(
        folder / "data/zones/splits.parquet"
    )


def test_beside_labels_it_only_trains(earmark, folder):
    done = earmark(
        *("prepare", "zones", "labels.txt", "--deam", "DEAM", "--write-labels", "all.csv", "--format", "json")
    )
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert (told["rows_read"], told["rows_kept"]) == (N_SONGS + N_TRACKS, N_SONGS + N_TRACKS)
    assert (told["auxiliary"], told["train"] + told["test"]) == (N_SONGS, N_TRACKS)
    assert sum(told["folds"]) == told["train"]
    assert told["by_source"]["user"] == dict.fromkeys(("YELLOW", "GREEN", "PURPLE"), N_TRACKS // 3)
    assert sum(told["by_source"]["deam"].values()) == N_SONGS
    assert told["mapping"]["digest"] == ZoneMapping.default().digest()
    manifest, splits = prepared(folder)
    deam = manifest.table.filter(pl.col("source") == "deam")
    assert set(deam["id"]) == set(splits.auxiliary_ids)
    assert all(deam["auxiliary"])
    assert set(deam["label_origin"]) == {"annotation"}
    assert set(deam["label_mapping"]) == {told["mapping"]["digest"]}
    assert deam["group"].n_unique() == 5  # two songs of each singer
    expected = ZoneMapping.default().zones(deam["ann.arousal"].to_numpy(), deam["ann.valence"].to_numpy())
    assert deam["label"].to_list() == expected.tolist()
    ours = manifest.table.filter(pl.col("source") == "user")
    assert not any(ours["auxiliary"])
    assert ours["ann.arousal"].null_count() == ours["label_mapping"].null_count() == N_TRACKS
    with (folder / "all.csv").open(newline="") as file:
        assert {row["source"] for row in csv.DictReader(file)} == {"user"}


def test_without_deam_a_manifest_has_none_of_its_columns(earmark, folder):
    assert earmark("prepare", "zones", "labels.txt").code == 0
    manifest, _ = prepared(folder)
    assert not {"auxiliary", "ann.arousal", "ann.valence", "label_mapping"} & set(manifest.table.columns)


def test_alone_it_is_ordinary_and_its_test_annotations_are_sealed(earmark, folder):
    done = earmark("prepare", "zones", "--deam", "DEAM", "--folds", "2", "--format", "json")
    assert done.code == 0, done.err
    assert "made from averaged arousal and valence" in done.err
    told = json.loads(done.out)
    assert (told["rows_read"], told["auxiliary"]) == (N_SONGS, 0)
    manifest, splits = prepared(folder)
    test = manifest.table.filter(pl.col("id").is_in(list(splits.test_ids)))
    assert test.height == told["test"] > 0
    for column in ("label", "ann.arousal", "ann.valence"):
        assert test[column].null_count() == test.height
        assert manifest.table[column].null_count() == test.height


def test_the_mapping_is_part_of_what_was_prepared(earmark, folder):
    (folder / "mine.yaml").write_text(
        default_yaml().replace("mapping_strategy: plan", "mapping_strategy: advanced")
    )
    hashes, digests = set(), set()
    for options in (
        *([], ["--mapping", "mine.yaml"], ["--mapping-preset", "production"], ["--yellow-threshold", "3.9"]),
        *(["--valence-threshold", "5"], ["--mapping-strategy", "simple"]),
    ):
        done = earmark("prepare", "zones", "labels.txt", "--deam", "DEAM", "--format", "json", *options)
        assert done.code == 0, done.err
        digests.add(json.loads(done.out)["mapping"]["digest"])
        hashes.add(prepared(folder)[0].hash)
    assert len(hashes) == len(digests) == 6
    assert set(_STRATEGIES) == set(STRATEGIES)


def test_rows_add_up_where_songs_cannot_be_used(earmark, folder):
    songs = sorted((folder / "DEAM/MEMD_audio").iterdir())
    songs[0].write_bytes(b"no audio at all")
    shutil.copy(songs[1], folder / f"0{songs[1].suffix}")  # also a track of ours, by another name
    with (folder / "labels.txt").open("a") as file:
        file.write(f"0{songs[1].suffix}\tgreen\n")
    (folder / "DEAM/features" / f"{songs[2].stem}.csv").write_text("frameTime;nothing\n0;1\n")
    songs[2].unlink()
    done = earmark("prepare", "zones", "labels.txt", "--deam", "DEAM", "--format", "json")
    assert done.code == 1
    told = json.loads(done.out)
    found = {Path(row["path"]).name: row["reason"] for row in told["rejected"]}
    assert found == {
        songs[0].name: "undecodable",
        songs[1].name: "same audio as a labelled track",
        f"{songs[2].stem}.csv": "undecodable",
    }
    assert told["rows_read"] == told["rows_kept"] + len(told["rejected"])
    assert any("lacks" in row["detail"] and "pcm_zcr_sma_amean" in row["detail"] for row in told["rejected"])


def test_equal_songs_in_two_zones_are_set_aside(earmark, folder):
    deam = {row["label"]: row for row in _deam_rows(earmark, folder)}
    shutil.copy(
        deam["YELLOW"]["uri"], Path(deam["PURPLE"]["uri"]).with_suffix(Path(deam["YELLOW"]["uri"]).suffix)
    )
    if Path(deam["PURPLE"]["uri"]).suffix != Path(deam["YELLOW"]["uri"]).suffix:
        Path(deam["PURPLE"]["uri"]).unlink()
    done = earmark("prepare", "zones", "labels.txt", "--deam", "DEAM", "--format", "json")
    told = json.loads(done.out)
    assert [row["reason"] for row in told["rejected"]] == ["same audio with two zones"] * 2
    assert {row["detail"] for row in told["rejected"]} == {"YELLOW and PURPLE"}


def _deam_rows(earmark, folder):
    assert earmark("prepare", "zones", "labels.txt", "--deam", "DEAM").code == 0
    return prepared(folder)[0].table.filter(pl.col("source") == "deam").to_dicts()


def test_tables_are_written_but_not_by_a_dry_run(earmark, folder):
    numbers = [path.stem for path in (folder / "DEAM/features").iterdir()]
    (folder / "tempo.csv").write_text("Song_ID,BPM\n" + "".join(f"{n},128.5\n" for n in numbers[1:]) + "x\n")
    command = ("prepare", "zones", "--deam", "DEAM", "--folds", "2", "--tempo-csv", "tempo.csv")
    command += ("--deam-tables", "tables", "--test-size", "0.3", "--random-state", "7")
    assert earmark(*command, "--dry-run").code == 0
    assert not (folder / "tables").exists()
    assert earmark(*command).code == 0
    about = json.loads((folder / "tables/metadata.json").read_text())
    assert (about["seed"], about["tracks"]) == (7, N_SONGS)
    assert about["warnings"] == ["1 songs of DEAM are not in the table of tempos"]
    with (folder / "tables/deam_complete.csv").open(newline="") as file:
        tempos = {row["track_id"]: row["tempo"] for row in csv.DictReader(file)}
    assert tempos == {**dict.fromkeys(numbers[1:], "128.5"), numbers[0]: ""}
    assert prepared(folder)[0].table["bpm"].drop_nulls().to_list() == [128.5] * (N_SONGS - 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["labels.txt", "--mapping-preset", "balanced"], "--mapping-preset was given without --deam"),
        (["labels.txt", "--test-size", "0.1"], "--test-size was given without --deam"),
        (["labels.txt", "--deam", "DEAM", "--val-size", "0.1"], "--val-size was given without --deam-tables"),
        (["labels.txt", "--deam", "DEAM", "--mapping-preset", "blanced"], "did you mean `balanced`"),
        (["labels.txt", "--deam", "DEAM", "--yellow-threshold", "nan"], "yellow_max` is nan"),
        (["labels.txt", "--deam", "."], "static_annotations_averaged_songs_1_2000.csv"),
        (["labels.txt", "--deam", "DEAM", "--tempo-csv", "labels.txt"], "`track_id` and no column `tempo`"),
        ([], "no source was given"),
    ],
)
def test_what_is_refused(earmark, folder, options, message):
    done = earmark("prepare", "zones", *options)
    assert (done.code, message in done.err) == (2, True), done.err
    assert not (folder / "data").exists()


def test_a_task_that_does_not_read_deam_says_so(earmark, folder):
    (folder / "plain.py").write_text(
        "from earmark import Task, feature_group\n"
        "@feature_group('plain.a', columns=('a',), sample_rate=8_000)\n"
        "def a(clip):\n    return [1.0]\n"
        "task = Task(name='plain', groups=[a])\n"
    )
    done = earmark("prepare", "plain.py", "0.wav", "--deam", "DEAM")
    assert (done.code, "`plain` does not read DEAM" in done.err) == (2, True), done.err
