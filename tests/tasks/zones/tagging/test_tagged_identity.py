"""A track that earmark tagged stays the track it was: its features are known, and a test item stays sealed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.inference.prediction import Prediction
from earmark.tasks.project import Project
from earmark.tasks.verbs.prepare import prepare
from earmark.tasks.zones.labels import CLASSES

N_TRACKS = 18


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """A prepared project of short tones in three zones."""
    music = tmp_path / "music"
    music.mkdir()
    time_s = np.arange(22_050) / 22_050
    for number in range(N_TRACKS):
        tone = (0.1 + 0.04 * number) * np.sin(2 * np.pi * (200 + 20 * number) * time_s)
        soundfile.write(music / f"track {number:02d}.flac", tone, 22_050)
    write_labels(tmp_path, music)
    opened = Project.open("zones", tmp_path)
    prepare(opened, [tmp_path / "labels.csv"])
    return opened


def write_labels(root: Path, music: Path) -> None:
    rows = [f"{music / f'track {n:02d}.flac'},{CLASSES[n % 3]}" for n in range(N_TRACKS)]
    (root / "labels.csv").write_text("path,zone\n" + "\n".join(rows) + "\n")


def tag_all(project: Project) -> None:
    outcomes = [
        Prediction(item.uri, "GREEN", 0.7, {"YELLOW": 0.2, "GREEN": 0.7, "PURPLE": 0.1}, {"method": "model"})
        for item in project.manifest
    ]
    tags = project.task.outputs.tags
    assert tags is not None
    report = tags.write(project, tags.plan(project, outcomes))
    assert report.counts()["written"] == N_TRACKS


def contents(project: Project) -> dict[str, str]:
    names = [Path(uri).name for uri in project.manifest.table["uri"]]
    return dict(zip(names, project.manifest.table["content_hash"], strict=True))


def splits_by_name(project: Project) -> dict[str, str]:
    return {Path(id).name: row["split"] for id, row in project.splits.rows().items()}


def test_tagged_and_moved_tracks_stay_where_they_were_divided(project: Project, tmp_path: Path) -> None:
    before, places = contents(project), splits_by_name(project)
    tag_all(project)
    moved = tmp_path / "elsewhere"
    shutil.move(tmp_path / "music", moved)
    write_labels(tmp_path, moved)
    again = Project.open("zones", tmp_path)
    prepare(again, [tmp_path / "labels.csv"])
    assert contents(again) == before
    assert splits_by_name(again) == places


def test_what_was_taken_back_is_the_same_track_too(project: Project, tmp_path: Path) -> None:
    before = contents(project)
    tags = project.task.outputs.tags
    assert tags is not None
    for _ in range(2):
        tag_all(project)
        assert tags.undo(project, which="last").counts()["restored"] == N_TRACKS
    tag_all(project)
    again = Project.open("zones", tmp_path)
    prepare(again, [tmp_path / "labels.csv"])
    assert contents(again) == before
