"""Arousal and valence trained on what `prepare` left: which songs take part, and that the seal holds."""

from __future__ import annotations

import json
import shutil

import polars as pl
import pytest

from earmark.errors import UsageError
from earmark.tasks.project import Project
from earmark.tasks.verbs.prepare import prepare
from earmark.tasks.zones.deam.annotated import train_prepared_av
from earmark.tasks.zones.deam.arousal_valence import TARGETS, AVModel
from earmark.tasks.zones.deam.mapping import FIVE_WAY_ZONES, ZoneMapping
from earmark.tasks.zones.deam.tree import write_deam_tree

N_SONGS = 16


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return write_deam_tree(tmp_path_factory.mktemp("songs"), N_SONGS, seed=2, duration_s=10)


def prepared(folder, tree):
    project = Project.open("zones", folder, {"split.folds": 3})
    prepare(project, [], options={"deam": tree})
    return project


def test_tables_alone(tree, tmp_path):
    deam = tmp_path / "DEAM"
    for name in ("features", "annotations", "metadata"):
        shutil.copytree(tree / name, deam / name)
    project = prepared(tmp_path, deam)
    training = train_prepared_av(project, tmp_path / "av")
    assert set(training.ids) == set(project.splits.train_ids)  # the test songs take no part
    report = json.loads((tmp_path / "av/training_report.json").read_text())
    assert report["features_from"] == "openSMILE tables"
    assert report["label_mapping"] == [ZoneMapping.default().digest()]
    folds = project.splits.rows()
    assert [folds[id]["fold"] for id in training.ids] == training.folds.tolist()
    model = AVModel.load(tmp_path / "av")
    assert set(model.ranges) == set(TARGETS)
    mapping = ZoneMapping.default()
    assert {mapping.five_way(*pair) for pair in training.out_of_fold.tolist()} <= set(FIVE_WAY_ZONES)


def test_songs_with_audio_are_not_mixed_with_tables(tree, tmp_path):
    deam = tmp_path / "DEAM"
    shutil.copytree(tree, deam)
    for path in sorted((deam / "MEMD_audio").iterdir())[:3]:
        path.unlink()
    project = prepared(tmp_path, deam)
    training = train_prepared_av(project, tmp_path / "av", workers=0)
    uris = dict(project.manifest.table.select("id", "uri").iter_rows())
    assert not any(uris[id].endswith(".csv") for id in training.ids)
    report = json.loads((tmp_path / "av/training_report.json").read_text())
    tables = project.manifest.table.filter(
        pl.col("uri").str.ends_with(".csv") & pl.col("id").is_in(list(project.splits.train_ids))
    )
    assert report["features_from"] == "audio"
    assert report["left_out"] == {"failed": 0, "in_other_units": tables.height}


def test_without_annotations(tmp_path):
    project = Project.open("zones", tmp_path)
    with pytest.raises(UsageError, match="earmark prepare zones LABELS"):
        train_prepared_av(project, tmp_path / "av")
