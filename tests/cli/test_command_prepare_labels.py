"""Label files beside the import: the difference of two, and the normal form."""

from __future__ import annotations

import csv
import json

import numpy as np
import soundfile


def test_diff_shows_what_is_new_removed_and_relabelled(earmark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v1.txt").write_text("a.mp3\tyellow\nb.mp3\tgreen\n")
    (tmp_path / "v2.txt").write_text("a.mp3\tpurple\nc.mp3\tgreen\n")
    done = earmark("prepare", "zones", "--diff", "v1.txt", "v2.txt", "--format", "json")
    assert done.code == 0
    found = {
        row["change"]: (row["path"].rpartition("/")[2], row["before"], row["after"])
        for row in json.loads(done.out)
    }
    assert found == {
        "new": ("c.mp3", None, "GREEN"),
        "removed": ("b.mp3", "GREEN", None),
        "relabelled": ("a.mp3", "YELLOW", "PURPLE"),
    }
    assert "1 new, 1 removed, 1 relabelled" in done.err
    assert not (tmp_path / "data").exists()


def test_diff_needs_two_files_and_a_task_with_label_files(earmark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "v1.txt").write_text("a.mp3\tyellow\n")
    done = earmark("prepare", "zones", "--diff", "v1.txt")
    assert (done.code, "expected two" in done.err) == (2, True)
    (tmp_path / "plain.py").write_text(
        "from earmark import Task, feature_group\n"
        "@feature_group('plain.a', columns=('a',), sample_rate=8_000)\n"
        "def a(clip):\n    return [1.0]\n"
        "task = Task(name='plain', groups=[a])\n"
    )
    done = earmark("prepare", "plain.py", "--diff", "v1.txt", "v1.txt")
    assert (done.code, "no label files" in done.err) == (2, True)


def test_the_normal_form_is_read_back_as_the_same_items(earmark, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = []
    for number in range(30):
        samples = np.random.default_rng(number).normal(0, 0.1, 8_000)
        soundfile.write(tmp_path / f"{number}.wav", samples, 8_000)
        lines.append(f"{number}.wav\t{('YELOW', 'green', 'Purple')[number % 3]}")
    (tmp_path / "labels.txt").write_text("\n".join(lines) + "\n")
    first = earmark("prepare", "zones", "labels.txt", "--write-labels", "normal.csv", "--format", "json")
    assert first.code == 0, first.err
    with (tmp_path / "normal.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["zone"] for row in rows} == {"YELLOW", "GREEN", "PURPLE"}
    assert len(rows) == 30
    again = earmark("prepare", "zones", "normal.csv", "--dry-run", "--format", "json")
    assert json.loads(again.out)["train_classes"] == json.loads(first.out)["train_classes"]
