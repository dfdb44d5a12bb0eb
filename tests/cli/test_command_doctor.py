"""`earmark doctor`."""

from __future__ import annotations

import io
import json
import os
from pathlib import Path

import pytest

from earmark.cli.health import _AV_FORMATS, _SOUNDFILE_FORMATS, _codec, examine
from earmark.tasks.settings import load_settings


def test_a_sound_machine(earmark, tmp_path):
    shown = earmark("-C", tmp_path, "doctor", "--format", "json")
    report = json.loads(shown.out)
    assert shown.code == 0
    assert report["ok"] is True
    by_name = {(check["section"], check["name"]): check for check in report["checks"]}
    for name in (*_SOUNDFILE_FORMATS, *_AV_FORMATS):
        assert by_name["codec", name]["status"] == "ok"
    for name in ("numpy", "lmdb", "scikit-learn", "polars"):
        assert by_name["package", name]["status"] == "ok"
    assert by_name["extra", "torch"]["status"] in ("ok", "absent")
    assert by_name["storage", "free disk"]["detail"].endswith(str(tmp_path))
    assert not (tmp_path / ".earmark").exists()


def test_settings_are_shown_with_their_source(earmark, tmp_path, monkeypatch):
    (tmp_path / "earmark.toml").write_text("seed = 7\n")
    monkeypatch.setenv("EARMARK_WORKERS", "3")
    report = json.loads(earmark("-C", tmp_path, "doctor", "--format", "json").out)
    settings = {item["name"]: (item["value"], item["source"]) for item in report["settings"]}
    assert settings["seed"] == (7, "earmark.toml")
    assert settings["workers"] == (3, "EARMARK_WORKERS")
    assert settings["data"] == ("data", "default")


def test_a_variable_that_names_no_setting_is_a_warning(earmark, tmp_path, monkeypatch):
    monkeypatch.setenv("EARMARK_WROKERS", "3")
    report = json.loads(earmark("-C", tmp_path, "doctor", "--format", "json").out)
    assert [check["status"] for check in report["checks"] if check["name"] == "EARMARK_WROKERS"] == [
        "warning"
    ]


def test_an_absent_extra_says_how_to_get_it(tmp_path):
    for check in examine(load_settings(tmp_path, environ={})):
        if check.section == "extra" and check.status == "absent":
            assert f'pip install "earmark[{check.name}]"' in check.detail


@pytest.mark.parametrize("made", [b"", b"not audio at all", b"RIFF\x00\x00\x00\x00WAVE"])
def test_a_codec_that_writes_nonsense_is_broken(made):
    assert _codec("wav", lambda: made).status == "broken"


def test_a_codec_that_plays_another_tone_is_broken():
    import numpy as np
    import soundfile

    buffer = io.BytesIO()
    soundfile.write(buffer, np.sin(2 * np.pi * 880 * np.arange(22050) / 44100), 44100, format="WAV")
    check = _codec("wav", buffer.getvalue)
    assert check.status == "broken"
    assert "880" in check.detail


def test_a_broken_cache_is_found_and_the_exit_code_is_1(earmark, tmp_path):
    cache = tmp_path / ".earmark" / "cache"
    cache.mkdir(parents=True)
    for name in ("data.mdb", "lock.mdb"):
        (cache / name).write_bytes(b"nonsense" * 1000)
    shown = earmark("-C", tmp_path, "doctor", "--format", "json")
    broken = [check for check in json.loads(shown.out)["checks"] if check["status"] == "broken"]
    assert (shown.code, [check["name"] for check in broken]) == (1, ["cache"])
    assert "cache is broken" in shown.err


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_read_only_project_folder(earmark, tmp_path):
    Path(tmp_path).chmod(0o555)
    shown = earmark("-C", tmp_path, "doctor", "--format", "json")
    Path(tmp_path).chmod(0o755)
    assert shown.code == 1
