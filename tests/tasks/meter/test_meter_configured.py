"""The settings of a project choose the trackers, and with them the features; what is absent is said."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from clicked_bars import clicked

from earmark.cli.main import cli
from earmark.errors import UsageError
from earmark.tasks.meter.configured import absences, project_slots
from earmark.tasks.meter.task import task
from earmark.tasks.meter.trackers.registry import TRACKERS
from earmark.tasks.project import Project
from earmark.tasks.settings import load_settings


def project(folder, text: str = "") -> Project:
    (folder / "earmark.toml").write_text(text, encoding="utf-8")
    return Project.open("meter", folder)


@pytest.fixture(autouse=True)
def no_checkpoints(monkeypatch):
    for variable in ("EARMARK_BEAT_THIS", "EARMARK_BEATNET", "EARMARK_METER_TRACKERS"):
        monkeypatch.delenv(variable, raising=False)


def test_built_in_trackers_leave_the_task_as_it_is(tmp_path):
    assert project(tmp_path).task is task


def test_other_trackers_make_other_features_where_beats_are_read_and_only_there(tmp_path):
    usual = project(tmp_path)
    other = project(tmp_path, '[meter]\ntrackers = ["librosa", "absent", "bars"]\n')
    before, after = (one.digests(one.task.all_groups) for one in (usual, other))
    changed = {name for name in before if before[name] != after[name]}
    assert {"meter.beat", "meter.ssm", "meter.signals", "meter.sync"} <= changed
    assert not changed & {"meter.audio", "meter.bar_grid", "meter.tempo"}
    assert [other.task.features(name).columns for name in task.feature_sets] == [
        usual.task.features(name).columns for name in task.feature_sets
    ]
    assert TRACKERS["librosa"] in other.task.phases["beats"]
    clip = clicked(0.5 * np.arange(1, 20), 3, duration_s=10.0)
    (beat,) = (group for group in other.task.all_groups if group.name == "meter.beat")
    columns = dict(zip(beat.columns, beat(clip), strict=True))
    assert columns["slot1_bpm"] > 0
    assert all(value == 0 for name, value in columns.items() if name.startswith("slot2_"))


def test_the_environment_names_trackers_too(tmp_path, monkeypatch):
    monkeypatch.setenv("EARMARK_METER_TRACKERS", "bars, absent, dp")
    assert [slot.name for slot in project_slots(load_settings(tmp_path))] == ["bars", "absent", "dp"]


def test_a_tracker_that_is_asked_for_and_absent_is_said(tmp_path):
    (reason,) = absences(project(tmp_path).effective)
    assert "meter.beat_this" in reason
    (reason,) = absences(project(tmp_path, '[meter]\ntrackers = ["dp", "beat_this_dbn", "bars"]\n').effective)
    assert "beat_this_dbn" in reason and "meter.beat_this in" in reason
    assert absences(project(tmp_path, '[meter]\ntrackers = ["dp", "absent", "bars"]\n').effective) == ()
    (tmp_path / "earmark.toml").write_text("", encoding="utf-8")
    report = json.loads(CliRunner().invoke(cli, ["-C", str(tmp_path), "doctor", "--format", "json"]).output)
    trackers = [check for check in report["checks"] if check["section"] == "tracker"]
    assert [check["status"] for check in trackers] == ["ok", "absent", "ok"]
    assert "final0.ckpt" in trackers[1]["detail"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('trackers = ["dp", "bars"]', r"meter.trackers"),
        ('trackers = ["dp", "beatles", "bars"]', r"beatles.*no tracker"),
        ('beat_this = "nowhere.ckpt"', r"nowhere.ckpt cannot be read"),
    ],
)
def test_wrong_settings_are_refused_with_what_to_do(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        project(tmp_path, f"[meter]\n{text}\n")


def test_a_checkpoint_lies_in_the_project_folder(tmp_path):
    (tmp_path / "own.ckpt").write_bytes(b"weights")
    slot = project_slots(project(tmp_path, '[meter]\nbeat_this = "own.ckpt"\n').effective)[1]
    assert slot.status == "ok"
    assert slot.group is not None
    assert slot.group.parameters["weights"].path == str((tmp_path / "own.ckpt").resolve())
