"""`earmark prepare meter` as it is typed: sets and files in, a sealed division out, both label sets told."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from meter_sets import meter2800, wikimeter_catalogue, write_clip

from earmark.cli.main import run as run_program


@dataclass(frozen=True)
class Result:
    """What a command left."""

    exit_code: int
    stdout: str
    stderr: str


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Call `earmark prepare meter` in this process."""

    def call(folder: Path, *args: str | Path) -> Result:
        capsys.readouterr()
        code = run_program(["-C", str(folder), "prepare", "meter", *map(str, args)])
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return call


def told(result: Result) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def test_the_line_of_the_guide_prepares_both_sets_together(run: Run, tmp_path: Path) -> None:
    meter2800(tmp_path / "data" / "meter2800")
    songs = [{"artist": f"artist {n}", "title": "song", "meters": {"9": 1.0}} for n in range(30)]
    wiki = wikimeter_catalogue(tmp_path / "data" / "wikimeter", songs)
    for n in range(30):
        write_clip(wiki / "audio" / f"artist_{n}_song.wav", 800 + n, seconds=15.5)
    result = run(
        tmp_path, "--data-dir", wiki, "--meter2800", tmp_path / "data" / "meter2800", "--format", "json"
    )
    assert result.exit_code == 0, result.stderr
    document = told(result)
    assert document["rows_read"] == document["kept"] == 62
    assert (
        document["label_sets"]["original"]["train"]["3"]
        == document["label_sets"]["corrected"]["train"]["3"]
        == 6
    )
    manifest = pl.read_parquet(tmp_path / "data" / "meter" / "manifest.parquet")
    splits = pl.read_parquet(tmp_path / "data" / "meter" / "splits.parquet")
    assert manifest.filter(pl.col("split") == "test")["label"].null_count() == document["test"]
    given = manifest.join(splits, on="id")
    assert set(given.filter(pl.col("part") == "val")["fold"]) == {0}
    assert "9" in set(given.filter(pl.col("part") == "val")["label"])  # validation has the rare classes too
    again = run(
        tmp_path, "--data-dir", wiki, "--meter2800", tmp_path / "data" / "meter2800", "--format", "json"
    )
    assert told(again)["test"] == document["test"]


def test_missing_files_are_listed_and_change_the_exit_code(run: Run, tmp_path: Path) -> None:
    folder = meter2800(tmp_path / "set")
    (folder / "audio" / "MAG_00001.wav").unlink()
    result = run(tmp_path, "--meter2800", folder, "--dry-run")
    assert result.exit_code == 1
    assert "missing file" in result.stderr
    assert not (tmp_path / "data").exists()


def test_a_catalogue_is_told_with_commands_and_labels_of_the_normal_form_are_compared(
    run: Run, tmp_path: Path
) -> None:
    songs = [
        {"artist": "A", "title": "b", "meters": {"5": 1}, "sources": [{"type": "youtube", "video_id": "v"}]}
    ]
    folder = wikimeter_catalogue(tmp_path / "wiki", songs)
    result = run(tmp_path, "--get", "wikimeter", "--data-dir", folder, "--format", "json")
    assert result.exit_code == 0, result.stderr
    assert "yt-dlp" in json.loads(result.stdout)[0]["detail"]

    for name, label in (("old", "3"), ("new", "3:0.7,4:0.8")):
        (tmp_path / f"{name}.csv").write_text(f'file,label\na.wav,"{label}"\n')
    result = run(tmp_path, "--diff", tmp_path / "old.csv", tmp_path / "new.csv", "--format", "json")
    assert json.loads(result.stdout) == [
        {"change": "relabelled", "path": "a.wav", "before": "3", "after": "3:0.7,4:0.8"}
    ]


def test_what_cannot_be_rendered_says_what_was_expected(run: Run, tmp_path: Path) -> None:
    result = run(tmp_path, "--source", "midi")
    assert result.exit_code == 2
    assert "expected one: --source midi scores/" in result.stderr
