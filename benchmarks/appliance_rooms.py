"""Rooms and runs for the benchmarks of the task `appliance`: recordings in, a trained project folder out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

# One thread: the libraries read these when they are imported, here and in the commands that are started.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

SAMPLE_RATE = 16_000
DEVICES = ("ac", "fridge")


def command(project: Path, *words: str) -> list[str]:
    """The command line of earmark in a project folder."""
    return [sys.executable, "-m", "earmark", "-C", str(project), *words]


def earmark(project: Path, *words: str) -> Any:
    """Run a command to its end; gives the JSON that it prints."""
    done = subprocess.run(
        command(project, *words, "--quiet", "--format", "json"), stdout=subprocess.PIPE, check=True
    )
    return json.loads(done.stdout) if done.stdout.strip() else None


def prepared(project: Path, recordings: Path | None = None, *options: str) -> list[Path]:
    """Prepare recordings in a new project, those of the synthetic room where none are given; gives their files."""
    project.mkdir(parents=True, exist_ok=True)
    if recordings is None:
        from earmark.tasks.appliance.demo import make_demo

        recordings = make_demo(project / "generated").samples
    files = sorted(path for path in recordings.iterdir() if path.suffix in (".m4a", ".flac", ".wav"))
    suffixes = ",".join(sorted({path.suffix[1:] for path in files}))
    earmark(project, "prepare", "appliance", str(recordings.resolve()), "--ext", suffixes, *options)
    return files


def trained(project: Path, model: str, *options: str) -> Path:
    """Train a model, or find the equal run; gives its folder."""
    done = earmark(project, "train", "appliance", "--model", model, "--no-baselines", *options)
    return Path(done["path"])


def facts_of(recording: Path) -> dict[str, bool]:
    """What a name such as ``ac-on-fridge-off-day`` says."""
    words = recording.stem.split("-")
    return {name: words[words.index(name) + 1] == "on" for name in DEVICES}


def state_of(facts: dict[str, bool]) -> str:
    """The public state of these two devices."""
    return next((f"{name}-on" for name in DEVICES if facts[name]), "both-off")
