"""The example task: a user's file goes through every verb."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "loudness.py"


@pytest.fixture(scope="module")
def task_file(tmp_path_factory) -> Path:
    """A copy, as a user would have it in a folder of their own."""
    folder = tmp_path_factory.mktemp("mine")
    return Path(shutil.copy(EXAMPLE, folder / "loudness.py"))


def test_every_verb_works_on_a_task_file(earmark_process, task_file):
    folder = task_file.parent

    def run(*arguments: str) -> dict:
        done = earmark_process("-C", folder, *arguments, "--format", "json", cwd=folder)
        assert done.code == 0, done.err
        return json.loads(done.out)

    demo = run("demo", "loudness.py", "--workers", "0")
    assert demo["extract"]["items"] == 40
    assert Path(demo["report"]).stat().st_size > 10_000
    assert demo["evaluation"]["metrics"]["balanced_accuracy"]["value"] > 0.8

    again = run("demo", "loudness.py", "--workers", "0")
    assert sum(again["extract"]["computed"].values()) == 0
    assert again["run"] == demo["run"]

    checked = run("cache", "check", "loudness.py")
    assert {row["fresh"] for row in checked["groups"].values()} == {40}

    (label,) = run("predict", "loudness.py", "demo/loudness/loud-01.wav")
    assert (label["label"], set(label["probabilities"])) == ("loud", {"quiet", "loud"})

    tested = run("evaluate", "loudness.py", "--split", "test", "--reason", "a test")
    assert (tested["split"], tested["test_openings"]) == ("test", 1)
    assert [event["reason"] for event in run("data", "ledger", "loudness.py")] == ["a test"]
    assert len(run("runs", "list")) == 1


def test_an_edit_of_a_helper_is_found_explained_and_computed(earmark_process, task_file):
    """Runs after the test above; an edit of `decibels` concerns both groups, an edit of a comment none."""
    folder = task_file.parent

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
