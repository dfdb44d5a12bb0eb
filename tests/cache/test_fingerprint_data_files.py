# ruff: noqa: E501  source texts of the edited modules
"""Data files: declared ones, and those that functions are seen to read."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from earmark.cache.file_content import ABSENT, file_digest
from earmark.cache.fingerprint import fingerprint
from earmark.errors import FingerprintError

PROJECT = {
    "dproj/__init__.py": "",
    "dproj/tables.py": (
        "import functools\nfrom pathlib import Path\n\nHERE = Path(__file__).parent\n\n"
        "@functools.lru_cache\ndef table():\n    with open(HERE / 'table.txt') as file:\n        return file.read()\n\n"
        "def by_numpy():\n    import numpy as np\n    return np.loadtxt(HERE / 'numbers.txt')\n\n"
        "def nested():\n    return [(HERE / name).read_text() for name in ('table.txt',)]\n\n"
        "def by_resources():\n    import importlib.resources\n"
        "    return (importlib.resources.files('dproj') / 'table.txt').read_text()\n\n"
        "def by_package_data():\n    import pkgutil\n    return pkgutil.get_data('dproj', 'table.txt')\n\n"
        "def by_sqlite(path):\n    import sqlite3\n    sqlite3.connect(path).close()\n\n"
        "def there_and_back(folder):\n    path = Path(folder) / 'scratch.txt'\n    path.write_text('x')\n"
        "    return path.read_text()\n\n"
        "def writes(folder):\n    (Path(folder) / 'log.txt').write_text('x')\n"
    ),
    "dproj/features.py": (
        "from . import tables\n\ndef one(clip):\n    return tables.table()\n\ndef two(clip):\n    return tables.table(), 2\n\n"
        "def three(clip):\n    return tables.by_numpy()\n\ndef four(clip):\n    return tables.nested()\n\n"
        "def none(clip):\n    return clip\n\ndef item(clip):\n    with open(clip) as file:\n        return file.read()\n"
    ),
    "dproj/table.txt": "1 2 3\n",
    "dproj/numbers.txt": "4 5 6\n",
}

STEPS = """
import json, sys
sys.path.insert(0, sys.argv[1])
sys.dont_write_bytecode = True
known = json.loads(sys.argv[2])
from earmark.cache import data_files
from earmark.cache.fingerprint import fingerprint
from dproj import features, tables
data_files.watch()
NAMES = ["one", "two", "three", "four", "none"]
def keys():
    return {name: fingerprint(getattr(features, name), known_reads=known).digest.hex() for name in NAMES}
before = keys()
"""
RUN = STEPS + "for name in NAMES:\n    getattr(features, name)(1)\n"
REPORT = "\nprint(json.dumps([before, keys(), data_files.reads_by_function()]))"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name, text in PROJECT.items():
        path = tmp_path / "here" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "here"


def run(
    folder: Path, known: dict[str, Any], code: str = RUN
) -> tuple[dict[str, str], dict[str, str], dict[str, Any]]:
    """Keys before and after running the features in a new process, and what was read."""
    arguments = [sys.executable, "-c", code + REPORT, str(folder), json.dumps(known)]
    done = subprocess.run(arguments, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, after, reads = json.loads(done.stdout)
    return before, after, reads


def changed(one: dict[str, str], other: dict[str, str]) -> set[str]:
    return {name for name in one if one[name] != other[name]}


def test_reads_join_the_key_and_stay_in_it(project: Path) -> None:
    before, after, reads = run(project, {})
    assert changed(before, after) == {"one", "two", "three", "four"}, "`two` found the table in the lru_cache"
    assert {key.partition("#")[0].partition(".")[0] for key in reads} == {"table", "by_numpy", "nested"}
    assert sorted(path for paths in reads.values() for path in paths) == [
        "<dproj>/dproj/numbers.txt", "<dproj>/dproj/table.txt", "<dproj>/dproj/table.txt",
    ]  # fmt: skip
    again_before, again_after, _ = run(project, reads)
    assert again_before == after == again_after, "a later process has the key at once"


def test_edited_data_file_recomputes_what_reads_it(project: Path) -> None:
    _, base, reads = run(project, {})
    (project / "dproj/table.txt").write_text("1 2 4\n")
    edited, _, _ = run(project, reads)
    assert changed(base, edited) == {"one", "two", "four"}
    (project / "dproj/table.txt").write_text("1 2 3\n")
    assert run(project, reads)[0] == base
    (project / "dproj/table.txt").unlink()
    assert changed(base, run(project, reads, STEPS)[0]) == {"one", "two", "four"}


def test_same_size_and_mtime_is_seen(project: Path) -> None:
    _, base, reads = run(project, {})
    path = project / "dproj/table.txt"
    status = path.stat()
    path.write_text("9 9 9\n")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert changed(base, run(project, reads)[0]) == {"one", "two", "four"}


def test_moved_project_keeps_its_keys(project: Path) -> None:
    _, base, reads = run(project, {})
    moved = project.rename(project.with_name("there"))
    assert run(moved, reads)[0] == base


def test_renamed_reader_in_another_module_keeps_what_is_known(project: Path) -> None:
    _, base, reads = run(project, {})
    tables, features = project / "dproj/tables.py", project / "dproj/features.py"
    (project / "dproj/elsewhere.py").write_text(tables.read_text())
    features.write_text(
        features.read_text().replace("from . import tables", "from . import elsewhere as tables")
    )
    assert run(project, reads)[0] == base


def test_file_edited_after_it_was_read_does_not_rename_old_results(project: Path) -> None:
    edit = RUN + "open(sys.argv[1] + '/dproj/table.txt', 'w').write('changed')\n"
    _, read_before_edit, reads = run(project, {}, edit)
    edited, _, _ = run(project, reads)
    (project / "dproj/table.txt").write_text("1 2 3\n")
    original, _, _ = run(project, reads)
    assert read_before_edit == original
    assert changed(original, edited) == {"one", "two", "four"}


def test_file_read_with_two_contents_fits_neither(project: Path) -> None:
    twice = RUN + "open(sys.argv[1] + '/dproj/numbers.txt', 'w').write('7 8 9')\nfeatures.three(1)\n"
    _, mixed, reads = run(project, {}, twice)
    now, _, _ = run(project, reads)
    (project / "dproj/numbers.txt").write_text("4 5 6\n")
    original, _, _ = run(project, reads)
    assert len({mixed["three"], now["three"], original["three"]}) == 3


def test_what_is_not_a_data_file(project: Path, tmp_path: Path) -> None:
    item = tmp_path / "item.wav"
    item.write_text("samples")
    code = STEPS + (
        f"with data_files.exempt({str(item)!r}):\n    features.item({str(item)!r})\n"
        f"tables.writes({str(tmp_path)!r})\ntables.there_and_back({str(tmp_path)!r})\n"
        "import wave, email.message\n"
        f"open({str(item)!r}).close()\n"
    )
    assert run(project, {}, code)[2] == {}
    code = STEPS + f"features.item({str(item)!r})\n"
    assert list(run(project, {}, code)[2].values()) == [[str(item)]], "outside the engine it is any file"


@pytest.mark.parametrize(
    "call", ["by_resources()", "by_package_data()", "by_sqlite(str(tables.HERE / 'table.txt'))"]
)
def test_other_ways_to_read(call: str, project: Path) -> None:
    _, _, reads = run(project, {}, STEPS + f"tables.{call}\n")
    assert list(reads.values()) == [["<dproj>/dproj/table.txt"]]


def feature(clip: object) -> int:
    return 1


def test_declared_file_counts_by_content(tmp_path: Path) -> None:
    one, other = tmp_path / "one.txt", tmp_path / "other.txt"
    one.write_text("a")
    other.write_text("a")
    before = fingerprint(feature, depends_on=[one]).digest
    assert fingerprint(feature, depends_on=[other]).digest == before
    other.write_text("b")
    assert fingerprint(feature, depends_on=[other]).digest != before
    assert fingerprint(feature).digest != before


def test_declared_folder_counts_by_its_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    before = fingerprint(feature, depends_on=[tmp_path]).digest
    (tmp_path / "b.txt").write_text("b")
    assert fingerprint(feature, depends_on=[tmp_path]).digest != before


def test_declared_file_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(FingerprintError, match=r"none\.txt.*does not exist.*depends_on="):
        fingerprint(feature, depends_on=[tmp_path / "none.txt"])


def test_digest_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert file_digest(path) == ABSENT
    path.write_bytes(b"one")
    first = file_digest(path)
    assert len(first) == 32
    path.write_bytes(b"two")
    assert file_digest(path) != first
    path.write_bytes(b"one")
    assert file_digest(path) == first


def test_digest_is_remembered_once_the_clock_has_moved_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from earmark.cache import file_content

    path = tmp_path / "x"
    path.write_bytes(b"one")
    file_digest(path)
    assert str(path) not in file_content._remembered, "a second write might leave the same stamp"
    later = time.time_ns() + 10_000_000_000
    monkeypatch.setattr(time, "time_ns", lambda: later)
    file_digest(path)
    assert str(path) in file_content._remembered
