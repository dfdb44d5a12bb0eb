"""Training again with cached features, per model; windows a second and the share of a core that each takes live.

    python benchmarks/appliance_retrain.py [FOLDER] [--models level,spectral,...] [--beats] [--repeat N] [--json]

FOLDER holds recordings with pattern names; by default those of the generated room. ``first`` is a training on an empty
cache and ``again`` one with every feature cached, both as whole commands with imports: processor seconds of all their
processes, and seconds of the clock. Then the trained detector is asked in this process, with one thread, the least of N
rounds: 32 windows at once (``windows/s``) and one window as `live` does every 1.5 s (``share``, of one core; without
capture and decoder, which `appliance_live.py` counts in). ``--beats`` takes BEATs of the published size with random
weights, from 20 s of each state.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import appliance_rooms
from appliance_live import beats_words

MODELS = ("level", "spectral", "logmel256", "g1", "cnn")
HOP_S = 1.5
BATCH = 32


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--beats", action="store_true")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    for model in given.models.split(",") if given.models else ():
        with tempfile.TemporaryDirectory() as project:
            rows.append(measured(Path(project), given.folder, model, given.repeat))
    if given.beats:
        with tempfile.TemporaryDirectory() as project:
            rows.append(measured_beats(Path(project), given.repeat))
    print(json.dumps(rows, indent=2) if given.json else as_text(rows))


def measured(project: Path, folder: Path | None, model: str, repeat: int) -> dict[str, Any]:
    """One model, in a project and with a cache of its own."""
    appliance_rooms.prepared(project, folder, "--seal", "none")
    first, again, run = trained_twice(project, model)
    return {"model": model, "first": first, "again": again, **asked(run, repeat)}


def measured_beats(project: Path, repeat: int) -> dict[str, Any]:
    """BEATs: the first training computes the tokens of all windows."""
    os.environ["EARMARK_BEATS"] = str(project / "random.pt")
    before = _used()
    run = Path(beats_words(project)[2])
    first = _since(before)
    before = _used()
    options = ("--epochs", "12", "--val-daypart", "night", "--force")
    again_run = appliance_rooms.trained(project, "beats", *options)
    return {
        "model": f"beats, {len(list((project / 'samples').iterdir()))} x 20 s",
        "first": first,
        "again": _since(before),
        **asked(project / "runs" / "appliance" / (again_run or run).name, repeat),
    }


def trained_twice(project: Path, model: str) -> tuple[dict[str, float], dict[str, float], Path]:
    """What a training costs on an empty cache, and on a full one; the last run."""
    before = _used()
    appliance_rooms.trained(project, model)
    first, before = _since(before), _used()
    run = appliance_rooms.trained(project, model, "--force")
    return first, _since(before), run


def asked(run: Path, repeat: int) -> dict[str, float]:
    """Processor time of windows, in a warm process."""
    from earmark.audio.clip import Clip
    from earmark.tasks.appliance.detector import Detector

    detector = Detector.load(run)
    rng = np.random.default_rng(0)
    noise = (0.01 * rng.standard_normal((BATCH, detector.n_samples))).astype(np.float32)

    def least(n: int) -> float:
        taken = []
        for _ in range(repeat + 1):
            clips = [Clip(samples, detector.sample_rate) for samples in noise[:n]]
            started = time.process_time()
            detector.probabilities(clips)
            taken.append(time.process_time() - started)
        return min(taken[1:])

    one_s = least(1)
    return {"windows_per_s": BATCH / least(BATCH), "window_ms": 1000 * one_s, "share": one_s / HOP_S}


def _used() -> tuple[float, float]:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return children.ru_utime + children.ru_stime, time.perf_counter()


def _since(before: tuple[float, float]) -> dict[str, float]:
    now = _used()
    return {"cpu_s": now[0] - before[0], "clock_s": now[1] - before[1]}


def as_text(rows: list[dict[str, Any]]) -> str:
    """For people."""
    lines = [
        f"{'model':18} {'first, CPU':>12} {'again, CPU':>12} {'clock':>9} "
        f"{'windows/s':>10} {'a window':>10} {'share':>8}"
    ]
    for row in rows:
        lines.append(
            f"{row['model']:18} {row['first']['cpu_s']:10.1f} s {row['again']['cpu_s']:10.1f} s "
            f"{row['again']['clock_s']:7.1f} s {row['windows_per_s']:10.0f} "
            f"{row['window_ms']:7.1f} ms {row['share']:8.2%}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
