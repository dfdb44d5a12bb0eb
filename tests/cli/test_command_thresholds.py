"""`earmark thresholds` as a user types it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from earmark.cli.thresholds import parse_recalls
from earmark.errors import UsageError


@pytest.fixture
def shell(project: Path, earmark: Callable, monkeypatch: pytest.MonkeyPatch) -> Callable:
    monkeypatch.chdir(project)
    return earmark


def test_the_table_shows_before_and_after_and_predict_uses_the_file(shell, project):
    dry = shell("thresholds", "--coverage", "0.8", "--dry-run")
    assert dry.code == 0, dry.err
    assert "Nothing was written." in dry.err
    assert not list(project.glob("runs/*/*/thresholds.yaml"))
    done = shell("thresholds", "--coverage", "0.8", "--calibration", "temperature")
    assert done.code == 0, done.err
    assert done.out.split()[:6] == ["score", "before", "after", "low", "high", "same_rows"]
    assert "Calibration: temperature" in done.err
    (path,) = project.glob("runs/*/*/thresholds.yaml")
    assert str(path.name) in done.err
    sure = shell("predict", "loudness.py", "demo", "--format", "json")
    never = shell("predict", "loudness.py", "demo", "--threshold", "1", "--format", "json")
    confidence = [one["confidence"] for one in json.loads(sure.out)]
    assert confidence == [one["confidence"] for one in json.loads(never.out)]


def test_json_and_csv(shell):
    document = json.loads(shell("thresholds", "--dry-run", "--format", "json").out)
    assert (document["task"], document["files"]) == ("loudness", [])
    rows = shell("thresholds", "--dry-run", "--format", "csv").out.splitlines()
    assert rows[0] == "score,before,after,low,high,same_rows"
    assert rows[1].startswith("ece,")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--recall", "loud"], "expected LABEL=SHARE"),
        (["--recall", "luod=0.9"], "did you mean `loud`"),
        (["--coverage", "0.9", "--accuracy", "0.9"], "only one"),
        (["--coverage", "7"], "coverage is 7"),
        (["--cost", "nothing.yaml"], "or a file of costs"),
        (["--run", "nowhere"], "no run `nowhere`"),
        (["--calibration", "platt"], "--calibration"),
    ],
)
def test_mistakes_end_with_a_sentence_and_exit_code_2(shell, options, words):
    done = shell("thresholds", *options)
    assert done.code == 2
    assert words in done.err
    assert "Traceback" not in done.err


def test_recalls_that_cannot_be_read_are_named_together():
    assert parse_recalls(["a=0.5", "b=c=1"]) == {"a": 0.5, "b=c": 1.0}
    with pytest.raises(UsageError, match="--recall a=x =1 b:"):
        parse_recalls(["a=x", "=1", "b"])
