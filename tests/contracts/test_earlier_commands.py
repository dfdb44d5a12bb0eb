"""Each command of the earlier program has a command now that does its work: every row of docs/earlier_commands.toml.

Each command runs on a copy of one small project: generated tracks with labels, a generated DEAM, and a trained run.
It must end with 0 and leave what its row promises. No flag of an earlier command may be missing from its row.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import shlex
import shutil
import struct
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import polars as pl
import pytest

from earmark.cli.main import cli, run
from earmark.tasks.zones.deam.tree import write_deam_tree
from earmark.training.runs import load_run

ROOT = Path(__file__).parents[2]
ROWS: list[dict[str, Any]] = tomllib.loads((ROOT / "docs" / "earlier_commands.toml").read_text("utf-8"))[
    "row"
]
COMMANDS = [
    pytest.param(
        command,
        id=f"{row['earlier'].split(',')[0]}-{number}",
        marks=[pytest.mark.slow] if command.get("slow") else [],
    )
    for row in ROWS
    for number, command in enumerate(row["command"])
]
N_TRACKS, N_SONGS = 18, 9
ZONES = ("YELLOW", "GREEN", "PURPLE")


def _field(letters: str, body: bytes) -> bytes:
    return letters.encode() + struct.pack(">I", len(body)) + body


def _serato(names: list[Path]) -> bytes:
    """A library of Serato with one coloured row per track."""
    colours = ("00ffff99", "0099ff99", "00ff99ff")
    tracks = [
        _field("pfil", str(path).lstrip("/").encode("utf-16-be"))
        + _field("ulbl", bytes.fromhex(colours[n % 3]))
        for n, path in enumerate(names)
    ]
    version = _field("vrsn", "2.0/Serato Scratch LIVE Database".encode("utf-16-be"))
    return version + b"".join(_field("otrk", track) for track in tracks)


def _write_inputs(folder: Path) -> None:
    """Tracks, label files of several layouts, DEAM: what users of the earlier program have."""
    made = write_deam_tree(folder / "made", N_TRACKS, seed=5, csv=False, duration_s=10)
    (folder / "tracks").mkdir()
    lines = []
    for number, path in enumerate(sorted((made / "MEMD_audio").iterdir())):
        path.rename(folder / "tracks" / f"{number}{path.suffix}")
        lines.append((f"{number}{path.suffix}", ZONES[number % 3]))
    shutil.rmtree(made)
    (folder / "labels.txt").write_text("".join(f"tracks/{name}\t{zone}\n" for name, zone in lines))
    later = [(name, ZONES[(number + (number == 4)) % 3]) for number, (name, _) in enumerate(lines)]
    (folder / "later.txt").write_text("".join(f"tracks/{name}\t{zone}\n" for name, zone in later))
    head = "#\tMy Tag\tArtwork\tBPM\tKey\tArtist\tTrack Title\tTime\tBitrate\tDate Added\tLocation\tAlbum\n"
    rows = [
        f"{n}\t{zone}\t\t{125 + n}.00\t8A\tArtist {n}\tTitle {n}\t00:10\t900\t2024-01-01\t/mnt/drive/{name}\tAlbum\n"
        for n, (name, zone) in enumerate(lines)
    ]
    (folder / "playlist.txt").write_text(head + "".join(rows), encoding="utf-16")
    write_deam_tree(folder / "DEAM", N_SONGS, seed=1, duration_s=10)
    songs = [path.stem for path in (folder / "DEAM" / "features").iterdir()]
    (folder / "tempo.csv").write_text("track_id,tempo\n" + "".join(f"{song},120\n" for song in songs))


def _write_tagged(folder: Path) -> None:
    """Tracks whose tags say zone, tempo and genre."""
    flac = pytest.importorskip("mutagen.flac")
    (folder / "tagged").mkdir()
    for number, path in enumerate(sorted((folder / "tracks").glob("*.flac"))):
        copied = shutil.copy(path, folder / "tagged")
        tags = flac.FLAC(copied)
        tags.update({"ENERGYZONE": ZONES[number % 3], "BPM": "128", "GENRE": "House"})
        tags.save()


def _earmark(folder: Path, line: str) -> int:
    return run(["-C", str(folder), *shlex.split(line)])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A project that was prepared and trained, and beside it the same inputs with nothing prepared.

    Features are known by content, so one cache serves all copies.
    """
    folder = tmp_path_factory.mktemp("earlier") / "trained"
    folder.mkdir()
    cache = f'cache = "{folder.parent / "cache"}"\n'
    with pytest.MonkeyPatch.context() as patch:
        _write_inputs(folder)
        (folder / "settings.yaml").write_text(
            f"{cache.replace(' =', ':')}workers: 1\npredict:\n  threshold: 0.1\n"
        )
        (folder / "earmark.toml").write_text(f'task = "zones"\nworkers = 1\n{cache}[split]\nfolds = 3\n')
        shutil.copytree(folder, folder.parent / "fresh")
        patch.chdir(folder)
        assert _earmark(folder, "prepare zones labels.txt --deam DEAM --quiet") == 0
        line = (
            "train zones --features basic19 --algorithms xgboost --set xgboost.n_trees=8 --no-report --quiet"
        )
        assert _earmark(folder, line) == 0
        assert _earmark(folder, "train zones --target av --n-estimators 5 --output made --quiet") == 0
        next((folder / "made").iterdir()).rename(folder / "av")
        yield folder


@pytest.fixture
def project(command: dict[str, Any], trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy for one command, in which it starts."""
    source = trained.parent / "fresh" if command.get("fresh") else trained
    copy = Path(shutil.copytree(source, tmp_path / "project"))
    if "mutagen" in command.get("needs", ()):
        _write_tagged(copy)
    (copy / "database").write_bytes(_serato(sorted((copy / "tracks").iterdir())))
    monkeypatch.chdir(copy)
    return copy


@pytest.mark.parametrize("command", COMMANDS)
def test_what_replaces_an_earlier_command_does_its_work(
    command: dict[str, Any], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for package in command.get("needs", ()):
        pytest.importorskip(package)
    capsys.readouterr()
    code = _earmark(project, f"{command['run']} --format json")
    printed = capsys.readouterr()
    assert code == 0, printed.err
    told = json.loads(printed.out)
    for name in command.get("tells", ()):
        assert _at(told, name) is not None, name
    made = {pattern: sorted(project.glob(pattern)) for pattern in command.get("makes", ())}
    assert [pattern for pattern, found in made.items() if not found] == []
    for path in (path for found in made.values() for path in found):
        _check_file(path)
    if "header" in command:
        first = next(iter(made.values()))[0]
        assert [name for name in command["header"] if name not in _header(first)] == []


def _at(value: Any, name: str) -> Any:
    for key in name.split("."):
        value = value[int(key)] if isinstance(value, list) else value[key]
    return value


def _check_file(path: Path) -> None:
    """A file is not empty, and what its suffix says."""
    if path.is_dir():
        return
    content = path.read_bytes()
    assert content
    if path.suffix == ".png":
        assert content.startswith(b"\x89PNG")
    if path.suffix == ".csv":
        assert len(list(csv.reader(content.decode().splitlines()))) > 1
    if path.name == "run.toml":
        assert load_run(path.parent).classifier().classes == ZONES


def _header(path: Path) -> list[str]:
    if path.suffix == ".parquet":
        return pl.read_parquet(path).columns
    with path.open(newline="", encoding="utf-8") as file:
        return next(csv.reader(file))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["earlier"].split(",")[0])
def test_no_flag_of_an_earlier_command_is_missing(row: Mapping[str, Any]) -> None:
    accounted = row.get("renamed", {}).keys() | row.get("left_out", {}).keys()
    for command in row["command"]:
        accounted |= _spellings(shlex.split(command["run"]))
    assert [flag for flag in row["flags"] if flag not in accounted] == []
    assert row["command"] or row["left_out"]


def _spellings(words: list[str]) -> set[str]:
    """Every name of the options that a command line uses."""
    command: click.Command = cli
    while isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    options = [{*option.opts, *option.secondary_opts} for option in command.params]
    return set().union(*(names for names in options if names & set(words)))


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_earlier", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(generate: ModuleType) -> None:
    page = (ROOT / "docs" / "howto" / "earlier-commands.md").read_text("utf-8")
    assert page == generate.NOTICE + generate.earlier_page(), "run: make reference"
