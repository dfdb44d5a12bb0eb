"""What goes wrong while tags are written: a full disk, a kill at any moment, a package that is not there."""

from __future__ import annotations

import importlib
import os
import random
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from tagged_files import add_foreign_tags, foreign_tags, read_fields, write_plain

from earmark.inference.prediction import Prediction
from earmark.tasks.zones.tagging import tags
from earmark.tasks.zones.tagging.entries import FIELDS
from earmark.tasks.zones.tagging.journal import Journal, read_history
from earmark.tasks.zones.tagging.plan import plan_tags

SUFFIXES = ("mp3", "wav", "flac", "ogg", "m4a")
PURPLE = {
    "zone": ["PURPLE"],
    "grouping": ["🟪 Purple (Energy)"],
    "energy": ["10"],
    "comment": ["🟪 PURPLE 100% rules [earmark]"],
}
NOTHING = {name: [] for name in FIELDS}


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("originals")
    return [add_foreign_tags(write_plain(folder / f"track.{suffix}")) for suffix in SUFFIXES]


@pytest.fixture
def music(originals, tmp_path):
    (tmp_path / "music").mkdir()
    return [Path(shutil.copy(path, tmp_path / "music")) for path in originals]


@pytest.fixture
def journal(tmp_path):
    return tmp_path / "journal.jsonl"


def write(paths, journal, **options):
    p = {"YELLOW": 0.0, "GREEN": 0.0, "PURPLE": 1.0}
    answers = [Prediction(str(path), "PURPLE", 1.0, p, {"method": "rules"}) for path in paths]
    return tags.write_tags(plan_tags(answers, journal=journal), journal=journal, **options)


def in_child(action):
    """Run in a forked process; gives its wait status."""
    pid = os.fork()
    if pid == 0:
        try:
            action()
        finally:
            os._exit(0 if sys.exc_info()[0] is None else 1)
    return os.waitpid(pid, 0)[1]


def assert_whole(paths, originals):
    """Each file is as it was or wholly tagged; gives how many are tagged."""
    n_tagged = 0
    for path, original in zip(paths, originals, strict=True):
        found = read_fields(path)
        assert found in (PURPLE, NOTHING)
        assert foreign_tags(path) == foreign_tags(original)
        n_tagged += found == PURPLE
    return n_tagged


def names(paths):
    return sorted(path.name for path in paths)


POINTS = [
    (tags, "make_backup"),
    (tags, "write_checked"),
    (tags, "put_in_place"),
    (Journal, "begin"),
    (Journal, "done"),
]


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize(("owner", "name"), POINTS)
def test_a_kill_at_each_step_leaves_whole_files_and_a_way_back(
    music, originals, journal, owner, name, is_after
):
    def killed():
        step, calls = getattr(owner, name), []

        def stepped(*arguments):
            calls.append(name)
            if len(calls) == 2 and not is_after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = step(*arguments)
            if len(calls) == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        setattr(owner, name, stepped)
        write(music, journal, backup_copy=True)

    assert os.WTERMSIG(in_child(killed)) == signal.SIGKILL
    n_tagged = assert_whole(music, originals)
    assert n_tagged in (1, 2)
    report = tags.undo_tags(journal)
    assert [change.status for change in report.changes] == ["restored"] * n_tagged
    assert assert_whole(music, originals) == 0
    rest = [path.name for path in music[0].parent.iterdir() if not path.name.endswith(".backup")]
    assert sorted(rest) == names(music), "the copy that was left is gone"
    assert all(change.status == "written" for change in write(music, journal).changes)


def test_kills_at_any_moment(music, originals, journal):
    random_ = random.Random(7)
    for _ in range(8):
        pid = os.fork()
        if pid == 0:
            while True:
                write(music, journal)
                tags.undo_tags(journal)
        time.sleep(random_.uniform(0.01, 0.25))
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        assert_whole(music, originals)
    write(music, journal)
    assert assert_whole(music, originals) == len(music)
    tags.undo_tags(journal, which="all")
    assert assert_whole(music, originals) == 0
    assert names(music[0].parent.iterdir()) == names(music)
    assert {write.state for write in read_history(journal).writes} <= {"done", "cancelled"}


def test_no_room_leaves_the_file_and_the_others_go_on(music, originals, journal, tmp_path):
    """A limit between the sizes of the files: small ones are written, the large one is not."""
    result = tmp_path / "result"
    sizes = sorted(path.stat().st_size for path in music)
    limit = (sizes[-2] + sizes[-1]) // 2

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
        report = write(music, journal)
        result.write_text("\n".join(f"{change.status} {change.reason}" for change in report.changes))

    assert in_child(limited) == 0
    lines = result.read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["written", "failed", "written", "written", "written"]
    assert "no room" in lines[1] and "track.wav" in lines[1]
    assert music[1].read_bytes() == originals[1].read_bytes()
    assert assert_whole(music, originals) == len(music) - 1
    assert names(music[0].parent.iterdir()) == names(music)


def test_a_journal_without_room_stops_every_write(music, originals, journal, tmp_path):
    result = tmp_path / "result"
    journal.touch()

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (500, 500))
        report = write(music, journal)
        os.write(
            os.open(result, os.O_CREAT | os.O_WRONLY), "".join(c.status[0] for c in report.changes).encode()
        )

    assert in_child(limited) == 0
    assert result.read_text() == "f" * len(music)
    assert [path.read_bytes() for path in music] == [path.read_bytes() for path in originals]
    assert journal.read_bytes() == b""


def test_without_mutagen_most_formats_work_and_the_others_say_what_to_install(
    music, originals, journal, monkeypatch
):
    for name in [name for name in sys.modules if name.partition(".")[0] == "mutagen"]:
        monkeypatch.setitem(sys.modules, name, None)
    report = write(music, journal)
    assert [change.status for change in report.changes] == [
        "written",
        "written",
        "written",
        "failed",
        "failed",
    ]
    assert all("earmark[dj]" in change.reason for change in report.changes[3:])
    monkeypatch.undo()
    importlib.import_module("mutagen")
    assert assert_whole(music, originals) == 3


def test_a_file_that_changes_while_it_is_copied_stays_as_it_is(music, originals, journal, monkeypatch):
    checked = tags.write_checked

    def changed_meanwhile(target, *rest):
        checked(target, *rest)
        with target.open("ab") as file:
            file.write(b"TAG" + bytes(125))

    monkeypatch.setattr(tags, "write_checked", changed_meanwhile)
    (change,) = write(music[:1], journal).changes
    assert change.status == "failed" and "changed by another program" in change.reason
    assert music[0].read_bytes() == originals[0].read_bytes() + b"TAG" + bytes(125)
    assert names(music[0].parent.iterdir()) == names(music)


def test_a_journal_that_cannot_note_the_end_is_settled_later(music, journal, monkeypatch):
    def no_room(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "done", no_room)
    (change,) = write(music[:1], journal).changes
    assert change.status == "written" and "could not note it" in change.reason
    monkeypatch.undo()
    assert [change.status for change in tags.undo_tags(journal).changes] == ["restored"]
