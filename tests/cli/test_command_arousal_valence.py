"""Arousal and valence on the command line: the target, five-way zones, maps, and what is tuned or written beside."""

from __future__ import annotations

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from earmark.cli.main import run
from earmark.errors import RunError
from earmark.features.item import Item
from earmark.tasks.project import Project
from earmark.tasks.task import AnalysisRequest
from earmark.tasks.zones.analysis.registry import ANALYSES
from earmark.tasks.zones.deam.annotated import AV_FEATURES, load_av_for_audio
from earmark.tasks.zones.deam.arousal_valence import AVModel
from earmark.tasks.zones.deam.mapping import FIVE_WAY_ZONES, ZoneMapping, default_yaml
from earmark.tasks.zones.deam.tree import write_deam_tree
from earmark.tasks.zones.five_way import training_positions

N_SONGS, N_TRACKS = 8, 9


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A project with labels and DEAM, a model of arousal and valence, and a run; copy it before changing it."""
    folder = tmp_path_factory.mktemp("five")
    write_deam_tree(folder / "DEAM", N_SONGS, seed=1, duration_s=10)
    tree = write_deam_tree(folder / "other", N_TRACKS, seed=5, csv=False, duration_s=10)
    songs = sorted((tree / "MEMD_audio").iterdir(), key=lambda path: int(path.stem))
    (folder / "tracks").mkdir()
    lines = ["path,zone,artist"]
    for number, song in enumerate(songs):
        track = song.rename(folder / "tracks" / f"t{number}{song.suffix}")
        lines.append(f"tracks/{track.name},{('YELLOW', 'GREEN', 'PURPLE')[number % 3]},someone {number}")
    shutil.rmtree(tree)
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    (folder / "earmark.toml").write_text('task = "zones"\nworkers = 1\nfeatures = ["fast10"]\n')
    for command in (
        ["prepare", "zones", str(folder / "labels.csv"), "--deam", str(folder / "DEAM"), "--folds", "2"],
        ["train", "zones", "--target", "av", "--n-estimators", "20"],
        ["train", "zones", "--algorithms", "logistic", "--no-report"],
    ):
        assert run(["-C", str(folder), *command]) == 0
    return folder


@pytest.fixture
def library(whole, tmp_path, monkeypatch):
    """A copy of the project for a test to change; the sounds are links."""
    copied = tmp_path / "copy"
    shutil.copytree(whole, copied, ignore=shutil.ignore_patterns("DEAM", "tracks"))
    for name in ("DEAM", "tracks"):
        shutil.copytree(whole / name, copied / name, copy_function=os.link)
    monkeypatch.chdir(copied)
    return copied


def tracks_of(library):
    return sorted((library / "tracks").iterdir(), key=lambda path: path.name)


def model_of(folder):
    (model,) = (folder / "runs/zones-av").iterdir()
    return model


def test_a_training_prints_its_scores_and_is_no_run(earmark, library):
    first = model_of(library)
    done = earmark(
        "train", "zones", "--target", "AV", "--n-estimators", "5", "--max-depth", "2", "--format", "json"
    )
    assert done.code == 0, done.err
    told = json.loads(done.out)
    second = Path(told["folders"][0])
    report = json.loads((second / "training_report.json").read_text())
    assert told["scores"] == report["scores"]
    assert set(told["scores"]) == {"arousal", "valence"}
    assert all(
        set(of) == {"mae", "rmse", "r2"} for of in (*told["scores"].values(), *told["baseline"].values())
    )
    parameters = [json.loads((one / "model.json").read_text())["parameters"] for one in (first, second)]
    assert [one["n_trees"] for one in parameters] == [20, 5]
    assert [one["max_depth"] for one in parameters] == [6, 2]
    assert AVModel.load(second).parameters == parameters[1]
    assert second.parent == library / "runs/zones-av"
    assert second.name > first.name
    assert not list(second.parent.glob(".*"))
    assert len(json.loads(earmark("runs", "list", "--format", "json").out)) == 1
    table = earmark("train", "zones", "--target", "av", "--n-estimators", "5", "-o", "models")
    assert table.out.split()[:2] == ["target", "predicted"]
    assert "Written: " in table.err
    (copy,) = (library / "models").iterdir()
    assert AVModel.load(copy).columns == AV_FEATURES.columns


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--target", "ac"], "no target 'ac'. Known: zone, av"),
        (["--target", "av", "--algorithms", "xgboost"], "--algorithms has no effect with --target av"),
        (["--target", "zone", "--max-depth", "3"], "--max-depth was given without --target av"),
        (["--target", "av", "--max-depth", "0"], "`max_depth` is 0"),
    ],
)
def test_what_a_target_refuses(earmark, library, options, message):
    done = earmark("train", "zones", *options)
    assert (done.code, message in done.err) == (2, True), done.err
    assert len(list((library / "runs/zones-av").glob("*"))) == 1
    assert not list((library / "runs/zones-av").glob(".*"))


def test_five_way_zones_are_those_of_the_model_and_the_mapping(earmark, library, whole):
    (library / "broken.wav").write_bytes(b"no audio")
    done = earmark("predict", "zones", *tracks_of(library), "broken.wav", "--five-way", "--format", "json")
    assert done.code == 1
    documents = json.loads(done.out)
    assert "error" in documents.pop()
    project, mapping = Project.open("zones", library), ZoneMapping.default()
    table = project.extract(AV_FEATURES.groups, [Item(str(path), str(path)) for path in tracks_of(library)])
    assert not table.computed.get("zones.common")  # predict left them in the cache
    expected = AVModel.load(model_of(library)).predict(table.values, table.columns)
    np.testing.assert_allclose([[one["arousal"], one["valence"]] for one in documents], expected, atol=5e-4)
    assert [one["path"] for one in documents] == list(table.ids)
    for one in documents:
        assert one["mapped_zone"] == mapping.zone(one["arousal"], one["valence"])
        assert one["sub_zone"] == mapping.five_way(one["arousal"], one["valence"], one["zone"])
        assert one["sub_zone"] in FIVE_WAY_ZONES
        assert one["sub_zone"].startswith(one["zone"])
    assert len({one["sub_zone"] for one in documents}) > 1
    plain = json.loads(earmark("predict", "zones", *tracks_of(library), "--format", "json").out)
    assert {one["sub_zone"] for one in plain} == {None}
    assert [one["probabilities"] for one in plain] == [one["probabilities"] for one in documents]


def test_the_border_comes_from_the_option_or_the_file(earmark, library, whole):
    def names(*options):
        done = earmark("predict", "zones", *tracks_of(library), "--five-way", "--format", "json", *options)
        assert done.code == 0, done.err
        documents = json.loads(done.out)
        return {one["sub_zone"] for one in documents}, {one["mapped_zone"] for one in documents}

    low, _ = names("--valence-threshold", "1")
    high, _ = names("--valence-threshold", "9")
    assert low - {"GREEN"} == {"YELLOW_CHILL", "PURPLE_EUPHORIC"}
    assert high - {"GREEN"} == {"YELLOW_DARK", "PURPLE_AGGRESSIVE"}
    (library / "mine.yaml").write_text(
        default_yaml().replace("five_way: {valence_min: 4.5}", "five_way: {valence_min: 9}")
    )
    assert names("--mapping", "mine.yaml")[0] == high
    assert names("--yellow-arousal", "9", "--purple-arousal", "9")[1] <= {"YELLOW", "GREEN"}


def test_csv_has_columns_for_them_only_when_asked(earmark, library, whole):
    paths = tracks_of(library)[:2]
    done = earmark("predict", "zones", *paths, "--five-way", "--output", "zones.csv", "--format", "csv")
    assert done.code == 0, done.err
    rows = list(csv.DictReader((library / "zones.csv").read_text().splitlines()))
    assert list(rows[0])[-3:] == ["Arousal", "Valence", "Five-way zone"]
    assert all(float(row["Arousal"]) and row["Five-way zone"].startswith(row["Zone"]) for row in rows)
    assert done.out == (library / "zones.csv").read_text()
    plain = earmark("predict", "zones", *paths, "--format", "csv").out
    assert plain.splitlines()[0] == "File,Path,Zone,Confidence,Tempo (BPM)"


def test_without_a_model_the_error_says_what_to_run(earmark, library, whole):
    shutil.rmtree(library / "runs/zones-av")
    done = earmark("predict", "zones", *tracks_of(library)[:1], "--five-way")
    assert (done.code, "earmark train zones --target av" in done.err) == (2, True), done.err
    done = earmark("predict", "zones", *tracks_of(library)[:1], "--valence-threshold", "5")
    assert (done.code, "give --five-way with it" in done.err) == (2, True), done.err


def test_a_model_of_tables_or_of_other_code_is_not_asked_about_audio(earmark, library, whole, tmp_path):
    deam = tmp_path / "tables"
    for name in ("features", "annotations", "metadata"):
        shutil.copytree(library / "DEAM" / name, deam / "DEAM" / name)
    (deam / "earmark.toml").write_text("workers = 1\n")
    assert earmark("-C", deam, "prepare", "zones", "--deam", deam / "DEAM", "--folds", "2").code == 0
    assert earmark("-C", deam, "train", "zones", "--target", "av", "--n-estimators", "5").code == 0
    done = earmark("predict", "zones", *tracks_of(library)[:1], "--five-way", "--model-dir", model_of(deam))
    assert (done.code, "openSMILE tables" in done.err, "other units" in done.err) == (2, True, True), done.err
    shutil.copytree(model_of(deam), library / "runs/zones-av/99990101-000000")
    project = Project.open("zones", library)
    positions, note = training_positions(project, project.splits.train_ids)
    assert positions == {}
    assert "openSMILE tables" in note
    report = model_of(whole) / "training_report.json"
    moved = Path(shutil.copytree(model_of(whole), tmp_path / "moved"))
    about = json.loads(report.read_text())
    about["code"], about["probe"]["zones.common.tempo"] = "0" * 32, 1.0
    (moved / "training_report.json").write_text(json.dumps(about))
    with pytest.raises(RunError, match=r"zones\.common\.tempo \(1,"):
        load_av_for_audio(project, moved)


def test_the_map_places_training_tracks_by_the_model(library, tmp_path):
    project = Project.open("zones", library)
    dataset, _ = project.training_data(project.task.features("fast10"))
    tmp_path = tmp_path / "map"
    request = AnalysisRequest(project, None, dataset, None, None, tmp_path, {"map": "2d"})  # type: ignore[arg-type]

    def placed():
        found = ANALYSES["map"](request)
        (path,) = found.files
        assert path.read_bytes().startswith(b"\x89PNG")
        return sum(
            row["training_placed"] for row in found.tables["map_counts.csv"] if row["zone"] in FIVE_WAY_ZONES
        )

    assert placed() == len(project.splits.train_ids) == len(dataset) < N_TRACKS
    positions, note = training_positions(project, (*project.splits.train_ids, *project.splits.test_ids))
    assert (set(positions), note) == (set(project.splits.train_ids), None)
    shutil.rmtree(library / "runs/zones-av")
    assert placed() == 0


def test_drop_thresholds_need_no_run(earmark, library):
    shutil.rmtree(library / "runs/zones")
    done = earmark("thresholds", "zones", "--drops", "--format", "json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    assert told["files"] == [str(library / "runs/zones-drops/drop_sweep.csv")]
    with (library / "runs/zones-drops/drop_sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(told["rows"]) > 100
    assert "default thresholds" in done.err
    assert earmark("thresholds", "zones", "--drops", "-o", "sweep").code == 0
    assert (library / "sweep/drop_sweep.csv").is_file()


def test_a_mapping_is_chosen_and_written_whole(earmark, library):
    shutil.rmtree(library / "runs")
    done = earmark("thresholds", "zones", "--mapping", "--output", "zone_mapping.yaml", "--format", "json")
    assert done.code == 0, done.err
    told = json.loads(done.out)
    best = told["rows"][0]
    text = (library / "zone_mapping.yaml").read_text()
    chosen = ZoneMapping.read(library / "zone_mapping.yaml")
    assert chosen.strategy == best["strategy"] == yaml.safe_load(text)["mapping_strategy"]
    assert chosen.thresholds[chosen.strategy] == {
        name: best[name] for name in ("yellow_max", "purple_min", "valence_min") if best[name] is not None
    }
    assert "Choosing instead of keeping the default" in text
    assert sum(row["is_default"] for row in told["rows"]) == 1
    assert all(row["YELLOW"] + row["GREEN"] + row["PURPLE"] == N_SONGS for row in told["rows"])
    again = earmark("thresholds", "zones", "--mapping", "--output", "zone_mapping.yaml")
    assert (again.code, "exists and is left" in again.err) == (2, True)
    assert (library / "zone_mapping.yaml").read_text() == text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--drops", "--mapping"], "expected one"),
        (["--drops", "--cost", "ordinal"], "--cost has no effect with --drops"),
        (["--output", "x"], "Give --drops or --mapping"),
        (["--drops", "-o", "x.json"], "ends in .csv"),
    ],
)
def test_what_tunings_refuse(earmark, library, options, message):
    done = earmark("thresholds", "zones", *options)
    assert (done.code, message in done.err) == (2, True), done.err


def test_tempos_go_out_and_come_back(earmark, library, whole):
    done = earmark("extract", "zones", library / "DEAM/MEMD_audio", "--tempo-csv", "deam_tempo.csv")
    assert done.code == 0, done.err
    with (library / "deam_tempo.csv").open(newline="") as file:
        tempos = {row["track_id"]: row["tempo"] for row in csv.DictReader(file)}
    assert set(tempos) == {path.stem for path in (library / "DEAM/MEMD_audio").iterdir()}
    assert all(60 <= float(tempo) <= 200 for tempo in tempos.values() if tempo)
    (library / "alone").mkdir()
    command = ("prepare", "zones", "--deam", "DEAM", "--tempo-csv", "deam_tempo.csv", "--folds", "2")
    assert earmark("-C", "alone", *command).code == 0
    read = dict(Project.open("zones", library / "alone").manifest.table.select("id", "bpm").iter_rows())
    assert {id.rpartition("/")[2]: f"{bpm:.3f}" if bpm else "" for id, bpm in read.items()} == tempos
    done = earmark("extract", "zones", "--tempo-csv", "x.csv", "--features", "fast10")
    assert (done.code, "--features has no effect with --tempo-csv" in done.err) == (2, True), done.err


def test_the_template_is_the_default_mapping(earmark, library):
    assert earmark("prepare", "zones", "--mapping-template", "new.yaml").code == 0
    assert (library / "new.yaml").read_text() == default_yaml()
    assert ZoneMapping.read(library / "new.yaml") == ZoneMapping.default()
    again = earmark("prepare", "zones", "--mapping-template", "new.yaml")
    assert (again.code, "exists and is left" in again.err) == (2, True)
