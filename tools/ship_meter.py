"""Train the model of `meter` that is shipped with the package, from nothing but code and two sources of scores.

    python tools/ship_meter.py FOLDER [--workers 2] [--clips FOLDER]

FOLDER gets the rendered clips (about 2 GB), the project and its runs; what is there is kept, so a run that was stopped
goes on. fluidsynth, a General MIDI sound font and music21 are needed. The steps are the ordinary commands: prepare,
train twice, `thresholds` to join and to calibrate. The last copies the joined run, without the models of its folds,
into the package, beside the card, and writes the golden answers of the tests.

`PRIORS` are the weights of the clips by class. The rendered classes are equally many, but music is mostly in three and
four: a model trained on equal classes hears eleven wherever it hears nothing.
"""

from __future__ import annotations

import argparse
import csv
import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earmark.data.parquet import write_bytes_atomic
from earmark.tasks.meter.scores.sources import render_source

ROOT = Path(__file__).resolve().parents[1]
SHIPPED = ROOT / "src" / "earmark" / "tasks" / "meter" / "shipped" / "meter"
SEED = 1
N_CLIPS = {"patterns": 1800, "music21": 1500}
PRIORS = {"3": 1.0, "4": 1.0, "5": 0.5, "7": 0.5, "9": 0.35, "11": 0.25}
MEMBERS = (
    ("logistic", "strength=0.03"),
    (
        "boosting",
        *("n_trees=200", "max_depth=4", "learning_rate=0.08"),
        *("colsample=0.3", "subsample=0.7", "early_stopping_rounds=25"),
    ),
)
COVERAGE = 0.9
"""Share of the rows out of fold that is decided: the reject threshold leaves out the least sure tenth."""
LEFT_OUT = ("folds", "report", "thresholds_coverage.*", "thresholds.[0-9]*.yaml")


def rendered(folder: Path, workers: int) -> None:
    for source, count in N_CLIPS.items():
        render_source(source, folder / source, n_clips=count, seed=SEED, workers=workers)


def weighted_labels(folder: Path) -> Path:
    """One table over both sources, with the weights."""
    rows = []
    for source in N_CLIPS:
        with (folder / source / "labels.csv").open(newline="", encoding="utf-8") as lines:
            rows += [{**row, "file": f"{source}/{row['file']}"} for row in csv.DictReader(lines)]
    path = folder / "labels.csv"
    with path.open("w", newline="", encoding="utf-8") as lines:
        table = csv.DictWriter(lines, [*rows[0], "weight"])
        table.writeheader()
        table.writerows({**row, "weight": PRIORS[row["label"]]} for row in rows)
    return path


def earmark(project: Path, *arguments: str) -> Any:
    """What a command prints, from JSON."""
    command = [sys.executable, "-m", "earmark", "-C", str(project), *arguments, "--format", "json"]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)


def trained(project: Path, workers: int) -> Path:
    """The joined and calibrated run."""
    names = []
    for model, *settings in MEMBERS:
        chosen = [word for setting in settings for word in ("--set", setting)]
        asked = ("--model", model, "--view", "grid", *chosen, "-w", str(workers))
        names += [run["run"] for run in earmark(project, "train", "meter", *asked)["runs"]]
    joined = earmark(project, "thresholds", "meter", "--ensemble", *names, "--weights", "equal")["run"]
    asked = ("--calibration", "temperature", "--coverage", str(COVERAGE))
    earmark(project, "thresholds", "meter", joined, *asked)
    return project / "runs" / "meter" / str(joined)


def shipped(run: Path) -> Path:
    """The run in the package in place of any other."""
    for earlier in SHIPPED.glob("2*"):
        shutil.rmtree(earlier)
    goal = SHIPPED / run.name
    shutil.copytree(run, goal, ignore=shutil.ignore_patterns(*LEFT_OUT))
    return goal


def golden() -> Path:
    """Answers on the demo's first pieces, for the test that they do not drift."""
    sys.path.insert(0, str(ROOT / "tests" / "tasks" / "meter"))
    answers = importlib.import_module("shipped_answers")
    text = json.dumps(answers.answers_on_demo(), indent=1) + "\n"
    path = Path(answers.GOLDEN)
    write_bytes_atomic(path, text.encode())
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Render, train, ship; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--clips", type=Path, help="folder of clips (default: FOLDER/clips)")
    options = parser.parse_args(arguments)
    clips, project = options.clips or options.folder / "clips", options.folder / "project"
    project.mkdir(parents=True, exist_ok=True)
    rendered(clips, options.workers)
    labels = weighted_labels(clips)
    if not (project / "data").is_dir():
        earmark(project, *("prepare", "meter", "--csv", str(labels), "--no-near-duplicates"),
                *("--test-fraction", "0.1"))  # fmt: skip
    print(shipped(trained(project, options.workers)), golden(), sep="\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
