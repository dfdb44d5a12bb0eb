"""`earmark evaluate market --latency`: how long one answer takes.

Every way is asked for one window at a time, in one thread where the machine is free; on a busy machine the numbers mean
little. ``live`` is what `earmark live market` does: gather, scale, ask a block, make the record.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.windows import Windows
from earmark.errors import UsageError
from earmark.tasks.market.prepare import load_prepared
from earmark.tasks.market.serving.answers import Answerer
from earmark.tasks.market.serving.model import served_model

if TYPE_CHECKING:
    from earmark.training.runs import Run

__all__ = ["latency_rows"]

WARM_UP, RUNS = 20, 200


def latency_rows(
    project: str | Path, run: Run, *, n_runs: int = RUNS, n_warm_up: int = WARM_UP
) -> list[dict[str, Any]]:
    """A row per way of asking: mean, deviation, median, 95th and 99th percentile in ms.

    Raises
    ------
    UsageError
        No window of the test part can be predicted.
    """
    model, test = served_model(run), load_prepared(project).test
    usable = test.take(model.classifier.usable(test))
    if not len(usable):
        raise UsageError("No window of the test part can be predicted. Collect more data.")
    scaled, answerer = model.classifier.scaled(usable), Answerer(model)
    one = _history(usable)
    ways: dict[str, Callable[[int], object]] = {
        "model": lambda i: model.classifier.estimator.predict(scaled.take(np.array([i % len(scaled)]))),
        "live": lambda _: list(answerer.records(one.table, one.ends)),
    }
    rows = [{"way": name, **_measured(ask, n_runs, n_warm_up)} for name, ask in ways.items()]
    onnx = run.path / "model.onnx"
    return [*rows, *_onnx(onnx, n_runs, n_warm_up)] if onnx.is_file() else rows


def _history(windows: Windows) -> Windows:
    """The last window, in a series of its own rows, as it is live."""
    from dataclasses import replace

    table, end = windows.table, int(windows.ends[-1])
    rows = slice(end - windows.length + 1, end + 1)
    cut = replace(
        table,
        symbol=table.symbol[rows],
        time_ms=table.time_ms[rows],
        X=np.asarray(table.X[rows]),
        y=table.y[rows],
        movement=table.movement[rows],
        label_end_ms=table.label_end_ms[rows],
        price=table.price[rows],
        starts_anew=None,  # nothing was lost within a window
    )
    return Windows(cut, np.array([windows.length - 1]), windows.length)


def _measured(ask: Callable[[int], object], n_runs: int, n_warm_up: int) -> dict[str, Any]:
    taken = np.empty(n_warm_up + n_runs)
    for number in range(len(taken)):
        start = time.perf_counter()
        ask(number)
        taken[number] = 1e3 * (time.perf_counter() - start)
    ms = taken[n_warm_up:]
    p50, p95, p99 = np.percentile(ms, [50, 95, 99]).tolist()
    return {
        "mean_ms": float(ms.mean()),
        "std_ms": float(ms.std()),
        "p50_ms": p50,
        "p95_ms": p95,
        "p99_ms": p99,
        "n_runs": n_runs,
    }


def _onnx(path: Path, n_runs: int, n_warm_up: int) -> list[dict[str, Any]]:
    from earmark.models.sequence.export import measure_latency

    return [{"way": "onnx", **asdict(measure_latency(path, n_warm_up=n_warm_up, n_runs=n_runs))}]
