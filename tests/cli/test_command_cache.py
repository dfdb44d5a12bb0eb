"""`earmark cache` on a project of four short recordings and a task file."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earmark.cli.cache import parse_size
from earmark.cli.cache_import import locator
from earmark.errors import UsageError

TASK = """
from earmark import Task, feature_group

OFFSET = 0.0


def shifted(value):
    return value + OFFSET


@feature_group("tiny.level", columns=("mean", "peak"), sample_rate=8_000)
def level(clip):
    return [abs(clip.samples).mean(), shifted(abs(clip.samples).max())]


@feature_group("tiny.length", columns=("seconds",), sample_rate=8_000)
def length(clip):
    return [clip.duration_s]


task = Task(name="tiny", groups=[level, length])
"""


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared and extracted project."""
    tmp_path = tmp_path_factory.mktemp("project")
    rng = np.random.default_rng(0)
    (tmp_path / "audio" / "soft").mkdir(parents=True)
    (tmp_path / "audio" / "loud").mkdir()
    for number in range(12):
        folder = ("soft", "loud")[number % 2]
        samples = (0.1 + 0.4 * (number % 2)) * rng.uniform(-1, 1, 4_000)
        soundfile.write(tmp_path / "audio" / folder / f"{number}.wav", samples, 8_000)
    (tmp_path / "tiny.py").write_text(TASK)
    (tmp_path / "earmark.toml").write_text('task = "tiny.py"\n')
    for arguments in (["prepare", "tiny.py", "audio"], ["extract", "--workers", "0"]):
        subprocess.run([sys.executable, "-m", "earmark.cli.main", *arguments], cwd=tmp_path, check=True)
    return tmp_path


@pytest.fixture
def project(extracted: Path, tmp_path: Path) -> Path:
    """A copy of it. The task file changes in tests, so each command is a process of its own."""
    return Path(shutil.copytree(extracted, tmp_path / "project"))


@pytest.fixture
def answer(project: Path, earmark_process: Callable) -> Callable:
    """Run a command in the project and give what its JSON says."""

    def call(*arguments: str, code: int = 0):
        done = earmark_process(*arguments, "--format", "json", cwd=project)
        assert done.code == code, done.err
        return json.loads(done.out)

    return call


def edit(project: Path, before: str, after: str) -> None:
    path = project / "tiny.py"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))


def test_stats_and_check_after_an_extraction(answer):
    stats = answer("cache", "stats")
    assert {row["group"]: (row["entries"], row["versions"], row["columns"]) for row in stats["groups"]} == {
        "tiny.level": (12, 1, 2),
        "tiny.length": (12, 1, 1),
    }
    assert stats["file_bytes"] > stats["bytes"] > 0
    assert answer("cache", "stats", "tiny", "--versions")["groups"][0]["computed"] == 12
    assert answer("cache", "stats", "zones")["groups"] == []
    checked = answer("cache", "check")
    assert set(checked["groups"]["tiny.level"]) == {
        "group", "fresh", "stale", "missing", "failed", "columns", "cost_s",
    }  # fmt: skip
    assert checked["items"] == checked["groups"]["tiny.length"]["fresh"] == 12


def test_why_adopt_and_gc_after_an_edit(project, answer, earmark_process):
    edit(project, "OFFSET = 0.0", "OFFSET = 0.5")
    assert answer("cache", "check")["groups"]["tiny.level"]["stale"] == 12
    assert answer("cache", "check")["groups"]["tiny.length"]["fresh"] == 12

    why = answer("cache", "why", "tiny.level", "audio/soft/0.wav")
    assert [(change["kind"], change["before"], change["after"]) for change in why["changes"]] == [
        ("constant", "0.0", "0.5")
    ]
    assert why["file"]["fresh"] is False
    assert why["file"]["kept_by"] == [why["compared_with"]]
    text = earmark_process("cache", "why", "tiny.level", "audio/soft/0.wav", cwd=project).out
    assert "OFFSET: 0.0 -> 0.5" in text
    assert "kept only by earlier code" in text

    refused = earmark_process("cache", "adopt", "tiny.level", cwd=project)
    assert refused.code == 3
    assert "peak" in refused.out
    assert "nothing was touched" in refused.err
    assert answer("cache", "check")["groups"]["tiny.level"]["stale"] == 12

    assert answer("extract", "--workers", "0")["computed"] == {"tiny.level": 12, "tiny.length": 0}
    shown = answer("cache", "gc", "--stale")
    assert (shown["dry_run"], shown["entries"]) == (True, 12)
    assert answer("cache", "stats")["entries"] == 36
    removed = answer("cache", "gc", "--stale", "--yes")
    assert (removed["dry_run"], removed["entries"]) == (False, 12)
    assert answer("cache", "check")["groups"]["tiny.level"]["fresh"] == 12


def test_adopt_after_a_refactoring(project, answer):
    edit(
        project,
        "abs(clip.samples).mean(), shifted(abs(clip.samples).max())",
        "abs(clip.samples).mean(), abs(clip.samples).max()",
    )
    adopted = answer("cache", "adopt", "tiny.level", "--sample", "3")
    assert (adopted["adopted"], adopted["compared"], adopted["entries"]) == (True, 3, 12)
    assert sum(answer("extract", "--workers", "0")["computed"].values()) == 0


def test_a_damaged_entry_is_found_and_removed(project, answer):
    import lmdb

    folder = project / ".earmark" / "cache"
    with (
        lmdb.open(str(folder), map_size=1 << 28) as environment,
        environment.begin(write=True) as transaction,
    ):
        cursor = transaction.cursor()
        key, value = max(
            ((bytes(key), bytes(value)) for key, value in cursor if len(key) == 33),
            key=lambda pair: pair[0][:1] == b"e",
        )
        transaction.put(key, value[:-1] + bytes([value[-1] ^ 0xFF]))
    assert len(answer("cache", "verify", code=1)["bad"]) == 1
    assert answer("cache", "verify", "--delete")["deleted"] == 1
    assert answer("cache", "verify")["bad"] == []


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["cache", "why", "tiny.levle"], "tiny.level"),
        (["cache", "why", "nothing.there", "--task", "zoens"], "zones"),
        (["cache", "gc"], "--stale"),
        (["cache", "gc", "--max-size", "much"], "2G"),
        (["cache", "adopt", "tiny.level"], "no earlier version"),
        (["cache", "why", "tiny.level", "gone.wav"], "gone.wav"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_answered(project, earmark_process, arguments, part):
    done = earmark_process(*arguments, cwd=project)
    assert done.code in (1, 2)
    assert part in done.err
    assert "Traceback" not in done.err


def test_a_cache_that_is_not_there_is_an_answer_not_a_crash(earmark, tmp_path):
    shown = earmark("-C", tmp_path, "cache", "stats")
    assert shown.code == 2
    assert "cache" in shown.err
    assert not (tmp_path / ".earmark").exists()


@pytest.mark.parametrize(
    ("text", "size"), [("10", 10), ("1K", 1024), ("1.5M", 1572864), ("2GB", 2 << 30), ("1GiB", 1 << 30)]
)
def test_sizes(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "-1", "ten", "nan", "inf"])
def test_sizes_that_are_none(text):
    with pytest.raises(UsageError, match="2G"):
        parse_size(text)


def test_recordings_are_located_by_name(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.wav").touch()
    locate = locator([tmp_path])
    assert locate(r"C:\Music\one.wav") == locate("/old/one.wav") == tmp_path / "a" / "one.wav"
    assert locate("two.wav") is None
    (tmp_path / "one.wav").touch()
    with pytest.raises(UsageError, match="unique"):
        locator([tmp_path])("/old/one.wav")


class Hostile:
    """A pickle that runs a command when it is loaded as pickles are."""

    def __reduce__(self):
        import os

        return os.system, ("touch pwned",)


def test_a_hostile_pickle_is_refused_and_runs_nothing(earmark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "features.pkl").write_bytes(pickle.dumps({"audio_path": [Hostile()]}))
    shown = earmark("cache", "import", "zones", tmp_path, "--dry-run")
    assert shown.code == 2
    assert "system" in shown.err
    assert not (tmp_path / "pwned").exists()


@pytest.fixture(scope="module")
def earlier_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six tracks and the earlier program's table of them; its numbers are right where the formula is the same."""
    from earmark.audio.decode import decode
    from earmark.tasks.zones.earlier import COLUMNS_BY_LENGTH, COMPARABLE
    from earmark.tasks.zones.features import dynamics, spectrum

    folder = tmp_path_factory.mktemp("earlier")
    rng = np.random.default_rng(0)
    (folder / "music").mkdir()
    rows = []
    for number in range(6):
        path = folder / "music" / f"track {number}.wav"
        soundfile.write(path, 0.05 * (number + 1) * rng.uniform(-1, 1, 10 * 22_050), 22_050)
        clip = decode(path, sample_rate=22_050)
        now = dict(zip(spectrum.column_names, spectrum(clip), strict=True))
        now |= dict(zip(dynamics.column_names, dynamics(clip), strict=True))
        vector = [float(now.get(COMPARABLE.get(name, ""), 0.5)) for name in COLUMNS_BY_LENGTH[10]]
        rows.append({"audio_path": f"C:\\old\\{path.name}", "zone_label": "YELLOW", "features_list": vector})
    write_table(folder, rows)
    return folder


def write_table(folder: Path, rows: list[dict]) -> None:
    table = {name: [row[name] for row in rows] for name in rows[0]}
    (folder / "features.pkl").write_bytes(pickle.dumps(table))


def test_an_earlier_table_is_imported_after_a_sample_agrees(earlier_folder, tmp_path, earmark):
    command = ["-C", tmp_path, "cache", "import", "zones", earlier_folder, "--format", "json"]
    looked = earmark(*command, "--dry-run")
    assert (looked.code, json.loads(looked.out)["rows"]) == (0, 6)
    imported = earmark(*command, "--audio-dir", earlier_folder / "music")
    assert imported.code == 0, imported.err
    assert json.loads(imported.out)["imported"]["imported"] == 6
    stats = json.loads(earmark("-C", tmp_path, "cache", "stats", "--format", "json").out)
    assert {row["group"]: row["entries"] for row in stats["groups"]}["imported"] == 6


def test_one_mismatch_refuses_the_whole_import(earlier_folder, tmp_path, earmark):
    table = pickle.loads((earlier_folder / "features.pkl").read_bytes())  # noqa: S301 (written above)
    for vector in table["features_list"]:
        vector[2] *= 2
    (tmp_path / "features.pkl").write_bytes(pickle.dumps(table))
    audio = earlier_folder / "music"
    refused = earmark("-C", tmp_path, "cache", "import", "zones", tmp_path, "--audio-dir", audio)
    assert refused.code == 3
    assert "rms_energy" in refused.err
    assert "nothing was imported" in refused.err


def test_an_import_without_the_recordings_says_so(earlier_folder, tmp_path, earmark):
    shown = earmark("-C", tmp_path, "cache", "import", "zones", earlier_folder)
    assert shown.code == 2
    assert "recordings" in shown.err
