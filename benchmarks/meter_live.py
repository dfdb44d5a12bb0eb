"""What `earmark live meter` costs: the share of one core that a minute of listening takes.

    python benchmarks/meter_live.py [SECONDS] [--run RUN]

Prints, after what a first call compiles, CPU seconds by stretch of the signal, and their share of its length. The
stretch from 8 s to 18 s has an answer every 0.5 s, the rest one every 2 s.
"""

from __future__ import annotations

import sys
import tempfile
import time
from itertools import pairwise

import numpy as np

from earmark.tasks.meter.schema import SAMPLE_RATE
from earmark.tasks.meter.serving.live import Listener
from earmark.tasks.meter.serving.predict import Analyst, analyst_for
from earmark.tasks.project import Project

EDGES_S = (0.0, 8.0, 18.0)
PIECE_S = 0.1


def drums(duration_s: float, bpm: float = 112.0) -> np.ndarray:
    """Bars of four with noise bursts over a chord, so that every feature has work to do."""
    rng = np.random.default_rng(0)
    time_s = np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    beat = time_s * bpm / 60
    strength = np.where(np.floor(beat) % 4 == 0, 1.0, 0.4)
    bursts = rng.normal(0, 1, time_s.size) * np.exp(-9 * (beat % 1.0)) * strength
    chord = sum(np.sin(2 * np.pi * hz * time_s) for hz in (110.0, 138.6, 164.8))
    return (0.2 * bursts + 0.05 * chord).astype(np.float32)


def listened(analyst: Analyst, signal: np.ndarray) -> list[tuple[float, float]]:
    """CPU seconds spent until each second of the signal was heard."""
    listener = Listener(analyst)
    n = round(PIECE_S * SAMPLE_RATE)
    started = time.process_time()
    spent = [(0.0, 0.0)]
    for start in range(0, len(signal), n):
        for _ in listener.hear({SAMPLE_RATE: signal[start : start + n]}):
            pass
        spent.append(((start + n) / SAMPLE_RATE, time.process_time() - started))
    return spent


def main(arguments: list[str]) -> None:
    """Measure and print."""
    run = arguments[arguments.index("--run") + 1] if "--run" in arguments else None
    duration_s = float(arguments[0]) if arguments and not arguments[0].startswith("-") else 60.0
    with tempfile.TemporaryDirectory() as folder:
        analyst = analyst_for(Project.open("meter", "." if run else folder), run=run, fallback="rule")
        listened(analyst, drums(9.0))  # compiles
        spent = listened(analyst, drums(duration_s))
    ends = [edge for edge in EDGES_S if edge < duration_s] + [duration_s]
    at = {edge: max(cpu for t, cpu in spent if t <= edge + 1e-6) for edge in ends}
    for start, end in pairwise(ends):
        cpu = at[end] - at[start]
        print(f"{start:5.1f} s to {end:5.1f} s: {cpu:6.2f} s of CPU, {cpu / (end - start):6.1%} of one core")
    print(f"all                : {spent[-1][1]:6.2f} s of CPU, {spent[-1][1] / duration_s:6.1%} of one core")


if __name__ == "__main__":
    main(sys.argv[1:])
