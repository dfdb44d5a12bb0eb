"""What an evaluation costs when only the model is new: 700 sealed clips, all features cached, against the forward pass.

    python benchmarks/meter_warm.py [--clips 700] [--view grid] [--model boosting] [--folder FOLDER]

Generated clips of 4 s go through the ordinary commands; the evaluation of a run trained after that opens no audio. It
is measured in this process, imports done, beside the forward pass over the same rows, and once as a command. A longer
clip costs no more: what is read of it has the same size.
"""

from __future__ import annotations

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from earmark.tasks.meter.schema import SAMPLE_RATE

CLASSES = ("3", "4", "5", "7")
N_TRAIN = 120
REPEATS = 5


def clip(number: int, n_beats: int) -> np.ndarray:
    """Bursts of noise with an accent every `n_beats`, no two clips alike."""
    rng = np.random.default_rng(number)
    beat = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE * rng.uniform(2.0, 4.0)
    accent = np.where(np.floor(beat) % n_beats == 0, 0.5, 0.15)
    return (rng.normal(0, 1, beat.size) * np.exp(-8 * (beat % 1.0)) * accent).astype(np.float32)


def write_clips(folder: Path, n_test: int) -> Path:
    """The clips and their label file, divided into train and test."""
    rows = []
    for number in range(N_TRAIN + n_test):
        label = CLASSES[number % len(CLASSES)]
        soundfile.write(folder / f"{number}.wav", clip(number, int(label)), SAMPLE_RATE, subtype="PCM_16")
        rows.append([f"{number}.wav", label, "train" if number < N_TRAIN else "test", f"piece {number}"])
    path = folder / "labels.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", "label", "split", "group"), *rows])
    return path


def earmark(folder: Path, *arguments: str) -> float:
    """Run a command in a project; wall-clock seconds."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "earmark", "-C", str(folder), "--quiet", *arguments]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def fastest(function: Callable[[], Any]) -> float:
    """Seconds of the fastest of some calls, the first not counted."""
    function()
    seconds = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def measure(folder: Path, n_test: int, view: str, model: str) -> None:
    """Make the project, measure, print."""
    from earmark.tasks.meter.evaluation.evaluate import MeterOptions, evaluate_meter
    from earmark.tasks.project import Project
    from earmark.training.runs import list_runs

    labels = write_clips(folder, n_test)
    earmark(folder, "prepare", "meter", str(labels), "--no-near-duplicates")
    earmark(folder, "extract", "meter", "--features", view, "-w", "2")
    earmark(folder, "train", "meter", "--features", view, "--model", model)
    command_s = [earmark(folder, "evaluate", "meter", "--split", "test", "--limit", "0") for _ in range(2)][1]
    project = Project.open("meter", folder)
    run = list_runs(project.runs_folder, "meter")[0]
    options = MeterOptions(split="test", controls=False)
    found = evaluate_meter(project, run, options)
    if len(found.data) != n_test:
        raise SystemExit(
            f"{len(found.data)} of {n_test} clips were evaluated; the figures would mean nothing."
        )
    evaluation_s = fastest(lambda: evaluate_meter(project, run, options))
    classifier = run.classifier()
    forward_s = fastest(lambda: classifier.predict_proba(found.data.X, found.data.columns))
    print(
        f"{n_test} clips, {len(found.data.columns)} columns, {model}; accuracy {found.scores.accuracy.share.value:.3f}"
    )
    print(
        f"forward pass                {1e3 * forward_s:8.1f} ms, "
        f"{1e3 * forward_s / n_test:.3f} ms per clip (limit 1 ms)"
    )
    print(f"evaluation, all warm        {1e3 * evaluation_s:8.1f} ms")
    print(f"beyond the forward pass     {1e3 * (evaluation_s - forward_s):8.1f} ms (limit 1000 ms)")
    print(f"as a command, second time   {1e3 * command_s:8.1f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=700)
    parser.add_argument("--view", default="grid")
    parser.add_argument("--model", default="boosting")
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        measure(Path(folder), given.clips, given.view, given.model)


if __name__ == "__main__":
    main()
