"""Sizes, time per epoch, memory and latency of the sequence models, on random windows of the default shape.

    python benchmarks/sequence_models.py [--rows 3000] [--models hybrid_cnn_lstm,mpd,tlob] [--device cpu] [--threads 2]

Each model is fitted for one epoch in batches of 256 on `--rows` windows of 60 rows, then exported and timed on single
windows: 100 to warm up, 1000 measured. Random numbers have nothing to learn: accuracy is not printed.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from earmark.data.windows import SeriesTable, Windows, make_windows
from earmark.errors import UsageError
from earmark.models.sequence import registry
from earmark.models.sequence.classifier import SequenceClassifier
from earmark.models.sequence.export import export_onnx, measure_latency, quantise
from earmark.models.sequence.levels import level_columns
from earmark.orderbook.catalog import FEATURE_NAMES

WINDOW = 60
STEP_MS = 30_000


def random_windows(n: int, columns: tuple[str, ...], *, raw_books: bool) -> Windows:
    """`n` windows of one symbol; columns of book levels get positive numbers."""
    rng = np.random.default_rng(0)
    rows = n + WINDOW - 1
    X = rng.standard_normal((rows, len(columns)), dtype=np.float32)
    if raw_books:
        X = 100 + np.abs(X)
    time_ms = 1_700_000_000_000 + STEP_MS * np.arange(rows)
    y = rng.integers(0, 3, rows).astype(np.int8)
    table = SeriesTable(
        ("RANDOM",),
        np.zeros(rows, np.int32),
        time_ms,
        X,
        columns,
        y,
        (y.astype(np.float32) - 1) * 1e-3,
        time_ms + 60_000,
        np.full(rows, 100.0),
        STEP_MS,
    )
    return make_windows(table, WINDOW)


def fitted(name: str, windows: Windows, arguments: argparse.Namespace) -> tuple[SequenceClassifier, float]:
    """The model after one epoch, and the seconds that took."""
    found = registry.model_class(name)
    settings = {"epochs": 1, "batch_size": 256, "device": arguments.device, "n_threads": arguments.threads}
    classifier = SequenceClassifier.make(
        name, **{key: value for key, value in settings.items() if key in found.parameters}
    )
    start = time.perf_counter()
    classifier.fit(windows)
    return classifier, time.perf_counter() - start


def latencies(classifier: SequenceClassifier, windows: Windows) -> str:
    """Median and tail of one window in ms, with plain and with 8-bit weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        try:
            exported = export_onnx(classifier, path, windows)
        except UsageError as error:
            return str(error).split(";")[0]
        plain, small = (measure_latency(p) for p in (path, quantise(path, path.with_name("int8.onnx"))))
    return (
        f"{plain.p50_ms:.2f} ms (p99 {plain.p99_ms:.2f}), int8 {small.p50_ms:.2f} ms, "
        f"parity {exported.difference:.1e}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=3000)
    parser.add_argument("--models", default=",".join(registry.SEQUENCE_MODELS))
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    for name in arguments.models.split(","):
        raw_books = registry.model_class(name).reads_levels
        columns = level_columns(20) if raw_books else FEATURE_NAMES
        windows = random_windows(arguments.rows, columns, raw_books=raw_books)
        classifier, seconds = fitted(name, windows, arguments)
        peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{name:16} {classifier.estimator.n_parameters:>10,} parameters  fit {seconds:7.2f} s  "
            f"{len(windows) / seconds:9.0f} windows/s  peak {peak_mb:6.0f} MB  {latencies(classifier, windows)}",
            flush=True,
        )


if __name__ == "__main__":
    main()
