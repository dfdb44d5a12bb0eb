"""Settings: where a value comes from, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from earmark.errors import UsageError
from earmark.tasks.settings import Settings, environment_name, load_settings, setting_fields, usable_cpus

ALL = """
task = "zones"
workers = 4
features = ["full55", "fast10"]
[split]
test_fraction = 0.3
[train.parameters.xgboost]
max_depth = 4
"""


def load(folder: Path, text: str = "", *, environ: dict[str, str] | None = None, **overrides: object):
    (folder / "earmark.toml").write_text(text)
    return load_settings(folder, overrides, environ or {})


def test_without_a_file_the_defaults_hold(tmp_path):
    effective = load_settings(tmp_path, environ={})
    assert effective.settings == Settings()
    assert set(effective.sources.values()) == {"default"}


def test_the_file_is_read(tmp_path):
    settings = load(tmp_path, ALL).settings
    assert (settings.task, settings.workers, settings.n_workers) == ("zones", 4, 4)
    assert settings.features == ("full55", "fast10")
    assert settings.split.test_fraction == 0.3
    assert settings.train.parameters == {"xgboost": {"max_depth": 4}}


def test_command_line_wins_over_environment_over_file(tmp_path):
    environ = {"EARMARK_WORKERS": "5", "EARMARK_SPLIT_TEST_FRACTION": "0.25"}
    effective = load(tmp_path, ALL, environ=environ, workers=6, seed=None)
    assert (effective.settings.workers, effective.sources["workers"]) == (6, "command line")
    assert effective.settings.split.test_fraction == 0.25
    assert effective.sources["split.test_fraction"] == "EARMARK_SPLIT_TEST_FRACTION"
    assert effective.sources["task"] == "earmark.toml"
    assert effective.sources["seed"] == "default"


@pytest.mark.parametrize(("text", "value"), [("a", ("a",)), ("a, b", ("a", "b"))])
def test_names_are_split_at_commas(tmp_path, text, value):
    assert load(tmp_path, environ={"EARMARK_FEATURES": text}).settings.features == value
    assert load(tmp_path, f'features = "{text}"').settings.features == value


def test_auto_workers_are_the_usable_processors(tmp_path):
    assert load(tmp_path).settings.n_workers == usable_cpus() >= 1


def test_paths_start_at_the_project_folder(tmp_path):
    effective = load(tmp_path, f'cache = "c"\nruns = "{tmp_path}/elsewhere"')
    assert effective.path("cache") == tmp_path / "c"
    assert effective.path("runs") == tmp_path / "elsewhere"


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("wrokers = 2", ["`wrokers`", "`workers`", "earmark.toml"]),
        ("[split]\ntest_fracton = 0.2", ["`split.test_fracton`", "`split.test_fraction`"]),
        ("qqqq = 1", ["`qqqq`", "Known:", "seed"]),
        ("seed = -1", ["`seed`", "-1", "greater than or equal to 0"]),
        ("workers = 0", ["`workers`", "'auto'"]),
        ("split = 3", ["`split`", "[split]"]),
        ("features = []", ["`features`"]),
        ("[split]\ntest_fraction = 1.5", ["`split.test_fraction`", "1.5", "less than 1"]),
        ("seed = \nworkers = 2", ["not valid TOML", "earmark.toml", "line 1"]),
    ],
)
def test_what_is_refused_and_why(tmp_path, text, parts):
    with pytest.raises(UsageError) as refused:
        load(tmp_path, text)
    for part in parts:
        assert part in str(refused.value)


def test_all_problems_are_reported_together(tmp_path):
    with pytest.raises(UsageError) as refused:
        load(tmp_path, "wrokers = 2\nseed = -1\nrnus = 'x'")
    assert len(str(refused.value).splitlines()) == 3


def test_a_bad_variable_is_named(tmp_path):
    with pytest.raises(UsageError, match="EARMARK_SEED"):
        load(tmp_path, environ={"EARMARK_SEED": "many"})


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "earmark.toml").write_bytes(b"seed = 1 # \xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        load_settings(tmp_path, environ={})


def test_every_setting_has_a_description_and_its_own_variable():
    assert all(setting_fields().values())
    assert len({environment_name(name) for name in setting_fields()}) == len(setting_fields())
