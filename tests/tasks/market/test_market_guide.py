"""The guide, followed literally: every command of docs/tutorial/market.md runs in one project, in its order."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("aiohttp")

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs" / "tutorial" / "market.md").read_text("utf-8")
TOO_SHORT = 3  # exit code of `store validate --ready` and of gates


@dataclass(frozen=True)
class Step:
    """A line of a shell block, and the comment behind its block."""

    line: str
    remark: str


def steps() -> list[Step]:
    blocks = re.findall(r"```bash\n(.*?)```\n(?:<!-- (.*?) -->)?", GUIDE, re.DOTALL)
    found = [Step(line, remark) for block, remark in blocks for line in block.splitlines()]
    return [
        step
        for step in found
        if not step.remark.startswith("not run")
        and "demo market" not in step.line  # has a test of its own
        and not (step.remark == "needs torch" and importlib.util.find_spec("torch") is None)
    ]


@dataclass
class Said:
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def guide(tmp_path_factory) -> dict[str, Said]:
    """What each command said."""
    folder = tmp_path_factory.mktemp("guide")
    said: dict[str, Said] = {}
    for step in steps():
        words = shlex.split(step.line)
        command = [sys.executable, "-m", "earmark", *words[1:]] if words[0] == "earmark" else words
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
        said[step.line] = Said(done.returncode, done.stdout, done.stderr)
        allowed = {0, TOO_SHORT} if step.remark.startswith("exit 0 or 3") else {0}
        assert done.returncode in allowed, f"{step.line}\n{done.stdout}\n{done.stderr}"
    said["folder"] = Said(0, str(folder), "")
    return said


def _of(guide: dict[str, Said], start: str) -> Said:
    return next(said for line, said in guide.items() if line.startswith(start))


pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_every_sample_of_the_session_was_collected(guide):
    said = _of(guide, "earmark collect market --symbols")
    assert re.search(r"Collected 3[56]\d\d samples", said.err), said.err
    assert "0 skipped" in said.err


def test_the_layout_is_that_of_the_guide(guide):
    assert _of(guide, "ls data/raw").out.split() == ["bbo", "book_steps", "candles", "trades"]
    days = _of(guide, "ls data/feature_store").out.split()
    assert any(re.fullmatch(r"date=\d{4}-\d\d-\d\d", day) for day in days)
    batches = _of(guide, "ls data/ml_training").out.split()
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d_batch_\d{4}\.npy", name) for name in batches)
    assert len(batches) >= 3


def test_migration_ticks_off_each_batch_and_the_trial_writes_nothing(guide):
    trial, real = (said for line, said in guide.items() if line.startswith("earmark migrate market legacy"))
    assert "BTCUSDT" in trial.out and "ETHUSDT" in trial.out
    assert re.search(r"\b1[78]\d\d\b", real.out), real.out


def test_coverage_is_told_per_horizon(guide):
    said = _of(guide, "earmark label market")
    for horizon in (10, 30, 60):
        (share,) = re.findall(rf"future_direction_{horizon}s: \d+/\d+ labelled \(([\d.]+) %\)", said.err)
        assert float(share) >= 95


def test_readiness_is_a_table_with_the_period_alone_too_short(guide):
    said = _of(guide, "earmark store validate market --ready")
    assert said.code == TOO_SHORT
    for item in ("samples", "features", "symbols", "period_h", "labels"):
        assert item in said.out
    assert "1.4 hours" in said.out + said.err or "1.5 hours" in said.out + said.err
    assert "Insufficient data" not in said.out + said.err
    assert "Future labels = None" not in said.out + said.err


def test_predictions_are_lines_with_probabilities(guide):
    path = Path(guide["folder"].out) / "predictions.jsonl"
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    answered = [record for record in records if not record["abstained"]]
    assert len(answered) > 1000
    for record in answered[:50]:
        assert record["task"] == "market" and record["symbol"] == "BTCUSDT"
        assert sum(record["probabilities"].values()) == pytest.approx(1, abs=1e-6)
        assert record["signal_type"] == ("SELL", "HOLD", "BUY")[record["direction"]]
    assert {record["reason"] for record in records if record["abstained"]} <= {"warming_up", "missing_values"}


def test_the_demo_runs_offline_and_finds_its_work_again(tmp_path):
    command = [sys.executable, "-m", "earmark", "-C", str(tmp_path), "demo", "market", "--format", "json"]
    first, second = (
        json.loads(subprocess.run(command, capture_output=True, text=True, timeout=900, check=True).stdout)
        for _ in range(2)
    )
    assert all(balance["is_whole"] for balance in first["collected"]["balances"])
    assert first["collected"]["skipped"] == {"BTCUSDT": {}, "ETHUSDT": {}}
    assert not first["collected"]["reused"] and second["collected"]["reused"]
    assert [run["run"] for run in first["trained"]] == [run["run"] for run in second["trained"]]
    assert all(run["reused"] for run in second["trained"])
    assert first["migrated"]["migrated"] > 0 and second["migrated"]["migrated"] == 0
    assert Path(first["report"]).is_file()
    assert first["predicted"]["newest"].keys() == {"BTCUSDT", "ETHUSDT"}


def test_a_demo_does_not_mix_with_other_data(tmp_path):
    (tmp_path / "data" / "raw").mkdir(parents=True)
    command = [sys.executable, "-m", "earmark", "-C", str(tmp_path), "demo", "market"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "Expected a project folder of its own" in done.stderr
