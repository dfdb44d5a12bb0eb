"""The example task: a user's file goes through every verb."""

from __future__ import annotations

import json
from pathlib import Path


def test_the_demo_of_a_task_file_is_found_finished(earmark_process, trained):
    """Every verb has run; the second time nothing is computed and the same run is found."""
    folder = trained

    def run(*arguments: str) -> dict:
        done = earmark_process("-C", folder, *arguments, "--format", "json", cwd=folder)
        assert done.code == 0, done.err
        return json.loads(done.out)

    demo = run("demo", "loudness.py", "--workers", "0")
    assert demo["extract"]["items"] == 40
    assert sum(demo["extract"]["computed"].values()) == 0
    assert Path(demo["report"]).stat().st_size > 10_000
    assert demo["evaluation"]["metrics"]["balanced_accuracy"]["value"] > 0.8
    assert [run["name"] for run in run("runs", "list")] == [demo["run"]]


def test_an_edit_of_a_helper_is_found_explained_and_computed(earmark_process, project):
    """An edit of what `decibels` reads concerns both groups, an edit of a docstring none."""
    folder, task_file = project, project / "loudness.py"

    def run(*arguments: str) -> dict:
        done = earmark_process("-C", folder, *arguments, "--format", "json", cwd=folder)
        assert done.code == 0, done.err
        return json.loads(done.out)

    text = task_file.read_text()
    task_file.write_text(text.replace('"""Amplitude in dB re full scale', '"""Another docstring: amplitude'))
    assert sum(run("extract", "loudness.py", "--workers", "0")["computed"].values()) == 0

    task_file.write_text(text.replace("FULL_SCALE_DB = 96.0", "FULL_SCALE_DB = 90.0"))
    why = run("cache", "why", "loudness.crest", "--task", "loudness.py")
    assert [(change["name"].rpartition(".")[2], change["what"]) for change in why["changes"]] == [
        ("FULL_SCALE_DB", "changed")
    ]
    assert why["compared_entries"] == 40
    checked = run("cache", "check", "loudness.py")["groups"]
    assert {(row["fresh"], row["stale"]) for row in checked.values()} == {(0, 40)}

    task_file.write_text(
        text.replace("np.sqrt(np.mean(np.square(clip.samples)))", "np.sqrt((clip.samples**2).mean())")
    )
    adopted = run("cache", "adopt", "loudness.crest", "--task", "loudness.py", "--tolerance", "1e-5")
    assert (adopted["adopted"], adopted["entries"]) == (True, 40)
    assert sum(run("extract", "loudness.py", "--workers", "0")["computed"].values()) == 0

    task_file.write_text(text.replace("20 * np.log10", "10 * np.log10"))
    refused = earmark_process(
        "-C", folder, "cache", "adopt", "loudness.level", "--task", "loudness.py", cwd=folder
    )
    assert refused.code == 3
    assert "nothing was touched" in refused.err
    task_file.write_text(text)
