"""`earmark init` and `earmark schema`."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

from earmark.cli.init import settings_text
from earmark.tasks.appliance.schema import DEFAULT_DEVICES
from earmark.tasks.appliance.serving.settings import read_live_toml
from earmark.tasks.settings import Settings, json_schema, load_settings, setting_fields

PUBLISHED_SCHEMA = Path(__file__).parents[2] / "docs" / "reference" / "earmark.schema.json"


def test_a_new_project(earmark, tmp_path):
    folder = tmp_path / "new"
    shown = earmark("-C", folder, "init", "zones")
    assert shown.code == 0
    assert sorted(path.name for path in folder.iterdir()) == [".gitignore", "earmark.toml"]
    assert shown.out.split() == [str(folder / ".gitignore"), str(folder / "earmark.toml")]
    assert load_settings(folder, environ={}).settings == Settings(task="zones")
    assert ".earmark/" in (folder / ".gitignore").read_text()


def test_nothing_is_overwritten(earmark, tmp_path):
    (tmp_path / ".gitignore").write_text("mine\n")
    assert earmark("-C", tmp_path, "init", "zones").code == 0
    assert (tmp_path / ".gitignore").read_text() == "mine\n"
    (tmp_path / "earmark.toml").write_text("seed = 3\n")
    refused = earmark("-C", tmp_path, "init", "zones")
    assert refused.code == 2
    assert "earmark.toml" in refused.err
    assert (tmp_path / "earmark.toml").read_text() == "seed = 3\n"


def test_a_task_brings_files_of_its_own(earmark, tmp_path):
    (tmp_path / "live.toml").write_text("decoder = 'median'\n")
    shown = earmark("-C", tmp_path, "init", "appliance")
    assert shown.code == 0 and "Next: earmark prepare appliance SAMPLES" in shown.err
    assert (tmp_path / "live.toml").read_text() == "decoder = 'median'\n" and "left as it is" in shown.err
    shown = earmark("-C", tmp_path / "new", "init", "appliance")
    path = tmp_path / "new" / "live.toml"
    assert str(path) in shown.out and "decoder" not in read_live_toml(path, DEFAULT_DEVICES)


def test_an_unknown_task_leaves_no_folder(earmark, tmp_path):
    refused = earmark("-C", tmp_path / "new", "init", "zoens")
    assert refused.code == 2
    assert "zones" in refused.err
    assert not (tmp_path / "new").exists()


def test_every_setting_is_explained_and_its_commented_default_is_true():
    text = settings_text("zones")
    for description in setting_fields().values():
        assert description in text
    awake = re.sub(r"^# ([a-z_]+ = [^ ].*)$", r"\1", text, flags=re.MULTILINE)
    values = tomllib.loads(awake)
    assert Settings.model_validate(values) == Settings(task="zones")
    assert values["workers"] == "auto"


def test_schema_is_printed_and_published(earmark):
    assert json.loads(earmark("schema").out) == json_schema()
    assert json.loads(PUBLISHED_SCHEMA.read_text("utf-8")) == json_schema(), "run: make reference"


def test_schema_lists_settings(earmark):
    lines = earmark("schema", "--format", "csv").out.splitlines()
    assert lines[0] == "setting,environment,meaning"
    assert len(lines) == 1 + len(setting_fields())
