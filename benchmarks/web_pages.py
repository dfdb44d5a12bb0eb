"""How long pages of a large project take: 10,000 runs and a manifest of 100,000 items, from a real server.

    python benchmarks/web_pages.py [--json] [--runs N] [--items N] [--folder DIR]

Run folders have the shape of real ones (a whole ``run.toml``, scores, a line per fold), the items are divided and
sealed as `prepare` does. ``first_ms`` is the first view by a fresh server, imports and unread runs included; ``again``
the first view of a second server, which finds what the first one kept; ``median_ms`` of 20 views of the second, over
one connection. The last column is the median against the limit of 100 ms.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import polars as pl

from earmark.data.manifest import Manifest
from earmark.data.policy import SplitPolicy
from earmark.data.seal import seal
from earmark.data.splits import Splits
from earmark.training import toml

LIMIT_MS = 100.0
N_VIEWS = 20
METRICS = ("balanced_accuracy", "accuracy", "macro_f1", "weighted_f1", "mcc", "log_loss")
ALGORITHMS = ("xgboost", "random_forest", "logistic", "ordinal", "neural_network")
CLASSES = ["YELLOW", "GREEN", "PURPLE"]
N_PROBED = 67
"""Features of the probe that a run of the default features records."""

START = datetime(2026, 1, 1, tzinfo=UTC)


def main() -> int:
    """Make the project, start the server, print a row per page; exit status 1 where a median misses the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--runs", type=int, default=10_000, help="run folders (10000)")
    parser.add_argument("--items", type=int, default=100_000, help="rows of the manifest (100000)")
    parser.add_argument("--folder", type=Path, help="where to put the project (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        runs = make_runs(folder / "runs" / "zones", arguments.runs)
        make_items(folder, arguments.items)
        rows = measured(folder, pages_of(runs, arguments.items))
    print(json.dumps(rows, indent=2) if arguments.json else table(rows))
    return 1 if any(row["ratio"] > 1 for row in rows) else 0


def pages_of(runs: list[str], n_items: int) -> dict[str, str]:
    """Name -> address; the deepest page of the items is one of them."""
    return {
        "overview": "/",
        "runs": "/runs",
        "runs of a task, sorted": "/runs?task=zones&sort=-balanced_accuracy",
        "runs, searched": "/runs?q=forest&algorithm=random_forest&offset=500",
        "a run": f"/runs/{runs[len(runs) // 2]}",
        "two runs compared": f"/runs/compare?run={runs[0]}&run={runs[-1]}",
        "data": "/data",
        "splits": "/data/zones",
        "items": "/data/zones/items",
        "items, last page": f"/data/zones/items?offset={n_items - 50}",
        "items, searched": "/data/zones/items?q=track+777&split=train",
        "items, sorted": "/data/zones/items?sort=-group",
        "jobs": "/jobs",
        "cache": "/cache",
    }


def measured(folder: Path, pages: dict[str, str]) -> list[dict[str, float | str]]:
    """First views of two servers, one after the other, and the median of many views of the second."""
    with server_of(folder) as address:
        first = {name: view_ms(address, path) for name, path in pages.items()}
        wait_until_read(address)
    with server_of(folder) as address:
        again = {name: view_ms(address, path) for name, path in pages.items()}
        views = {name: [view_ms(address, path) for _ in range(N_VIEWS)] for name, path in pages.items()}
    return [
        {
            "page": name,
            "first_ms": round(first[name], 1),
            "again_ms": round(again[name], 1),
            "median_ms": round(statistics.median(views[name]), 1),
            "ratio": round(statistics.median(views[name]) / LIMIT_MS, 2),
        }
        for name in pages
    ]


def view_ms(address: str, path: str) -> float:
    """Milliseconds from the request to the last byte of the answer."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=120)
    try:
        connection.connect()
        started = time.perf_counter()
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        took_ms = (time.perf_counter() - started) * 1e3
    finally:
        connection.close()
    if response.status != 200:
        raise SystemExit(
            f"{path} answered with {response.status}; expected 200. Look at the server's messages."
        )
    return took_ms


def wait_until_read(address: str) -> None:
    """Until the background has read all runs: the JSON list waits for them."""
    view_ms(address, "/api/runs?limit=1")


@contextmanager
def server_of(folder: Path) -> Iterator[str]:
    """The address of `earmark web` in a process of its own."""
    command = [sys.executable, "-m", "earmark", "-C", str(folder), "web", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert server.stderr is not None
    try:
        said = server.stderr.readline()
        if not said.startswith("earmark is at"):
            raise SystemExit(f"The server did not start: {said}{server.stderr.read()}")
        yield said.split()[3]
    finally:
        if server.poll() is None:
            os.killpg(server.pid, signal.SIGINT)
        server.wait(30)
        server.stderr.close()


def make_runs(folder: Path, n_runs: int) -> list[str]:
    """Run folders a minute apart, with scores drawn at random; their names, the oldest first."""
    generator = np.random.default_rng(0)
    names = []
    for number in range(n_runs):
        created = START + timedelta(minutes=number)
        algorithm = ALGORITHMS[number % len(ALGORITHMS)]
        name = f"{created:%Y%m%d-%H%M%S}-{algorithm.replace('_', '-')}"
        path = folder / name
        path.mkdir(parents=True)
        (path / "run.toml").write_text(toml.dumps(config_of(number, created, algorithm)), encoding="utf-8")
        scores = generator.uniform(0.4, 0.9, (len(METRICS), 5))
        (path / "best_metrics.json").write_text(json.dumps({"metrics": metrics_of(scores)}, indent=1))
        lines = [json.dumps({"fold": fold, "accuracy": value}) for fold, value in enumerate(scores[1])]
        (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        names.append(name)
    return names


def metrics_of(scores: np.ndarray) -> dict[str, dict[str, object]]:
    """Shape (n_metrics, n_folds) as a run records it."""
    direction = {"log_loss": "lower"}
    return {
        name: {"value": folds.mean(), "direction": direction.get(name, "higher"), "folds": folds.tolist()}
        for name, folds in zip(METRICS, scores, strict=True)
    }


def config_of(number: int, created: datetime, algorithm: str) -> dict[str, object]:
    """A whole ``run.toml``: settings, hashes, versions, and the probe of its features."""
    return {
        "format": 1,
        "task": "zones",
        "key": f"{number:032x}",
        "created": created.isoformat(),
        "seconds": 1.5,
        "rank_by": METRICS[0],
        "classes": CLASSES,
        "rows": 48,
        "recipe": {
            "algorithm": algorithm,
            "class_weight": "balanced",
            "seed": 42,
            "params": {"max_depth": 3 + number % 5, "learning_rate": 0.1, "n_trees": 300},
            "preprocess": {"impute": "median", "standardise": True},
            "strategy": {"name": "user", "user_weight": 3.0, "align": "none"},
        },
        "fit": {"final_length": 44, "warnings": []},
        "hashes": {"dataset": f"{number:032x}", "rows": "0" * 32, "split": "1" * 32, "code": "2" * 32},
        "versions": {"python": "3.11.7", "numpy": np.__version__},
        "settings": {
            "features": "texture",
            "metric": METRICS[0],
            "probe": {f"zones.texture.column_{at}": at / 7 for at in range(N_PROBED)},
        },
    }


def make_items(folder: Path, n_items: int) -> None:
    """A sealed manifest of tracks, ten to an album."""
    numbers = np.arange(n_items)
    labels = np.random.default_rng(0).choice(CLASSES, n_items)
    table = pl.DataFrame(
        {
            "id": [f"album {number // 10:05d}/track {number:06d}.flac" for number in numbers],
            "uri": [f"music/{number:06d}.flac" for number in numbers],
            "group": [f"album {number // 10:05d}" for number in numbers],
            "label": labels,
            "content_hash": [f"{number:032x}" for number in numbers],
            "duration_s": 180 + numbers % 120,
        }
    )
    manifest = Manifest(table, root=folder)
    seal(folder / "data" / "zones", manifest, Splits.make(manifest, SplitPolicy()))


def table(rows: list[dict[str, float | str]]) -> str:
    """Aligned text."""
    head = f"{'page':26}{'first, ms':>11}{'again, ms':>11}{'median, ms':>12}{'/ limit':>9}"
    lines = [
        f"{row['page']:26}{row['first_ms']:>11}{row['again_ms']:>11}{row['median_ms']:>12}{row['ratio']:>9}"
        for row in rows
    ]
    return "\n".join([head, *lines])


if __name__ == "__main__":
    sys.exit(main())
