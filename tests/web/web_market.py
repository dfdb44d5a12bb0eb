"""Projects of market for tests of its page and API: a small store, runs by hand, and what waits for jobs."""

import json
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "tasks" / "market"))

from learnable_store import QUICK, learnable_project

API = "/api/ml-management"
SOCKET = "ws://127.0.0.1:8000"
OVER = ("completed", "failed", "cancelled", "interrupted")

__all__ = ["API", "QUICK", "SOCKET", "add_run", "learnable_project", "run_key", "wait_for", "wait_for_job"]


def wait_for(condition, seconds=60, what="it"):
    """The first true value of `condition`; fails after so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError(f"{what} did not come in {seconds} s")


def wait_for_job(client, job_id, seconds=120):
    """The job once it is over."""

    def ended():
        job = client.get(f"/api/jobs/{job_id}").json()
        return job if job["status"] in OVER else None

    return wait_for(ended, seconds, f"the end of {job_id}")


def run_key(name):
    """A key of a run by hand."""
    return f"key-{name}"


def add_run(project, name, *, algorithm="gbm", accuracy=0.5, passed=True, files=("model.onnx",)):
    """A run folder as lists see it: what a training wrote, without its model."""
    folder = project / "runs" / "market" / name
    folder.mkdir(parents=True)
    lines = [
        'task = "market"',
        'kind = "series"',
        f'key = "{run_key(name)}"',
        'created = "2026-01-02T03:04:05.000000+00:00"',
        'rank_by = "macro_f1"',
        'classes = ["down", "neutral", "up"]',
        "rows = 100",
        "[recipe]",
        f'algorithm = "{algorithm}"',
        "[hashes]",
        'rows = "x"',
        "[gate]",
        f"passed = {str(passed).lower()}",
        f"reasons = {json.dumps([] if passed else ['accuracy is too low'])}",
    ]
    (folder / "run.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    score = {"value": accuracy, "direction": "higher"}
    metrics = {"metrics": {"accuracy": score, "macro_f1": score}}
    (folder / "best_metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    for file in files:
        (folder / file).write_bytes(name.encode())
    return folder
