"""What an answer in the browser costs: from the upload to the answer, against the command about the same file.

    python benchmarks/web_meter.py [FILE ...] [--repeats 3]

Starts `earmark web` in a new project, sends each file, and runs `earmark predict meter FILE --no-cache` on it, in
turns. Without files, generated ones of 10 s, 30 s, 3 min and 10 min are used. Prints the first answer of a server that
was just started, then for each file the fastest of the repeats and the ratio (goal: 1.5 at most), and whether both said
the same.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import soundfile

from earmark.tasks.meter.schema import SAMPLE_RATE

DURATIONS_S = (10.0, 30.0, 180.0, 600.0)
TIMEOUT_S = 600.0


def drums(duration_s: float, bpm: float = 112.0) -> np.ndarray:
    """Bars of three, bursts of noise over a chord."""
    rng = np.random.default_rng(round(duration_s))
    time_s = np.arange(round(duration_s * SAMPLE_RATE)) / SAMPLE_RATE
    beat = time_s * bpm / 60
    bursts = rng.normal(0, 1, time_s.size) * np.exp(-9 * (beat % 1.0)) * np.where(beat % 3 < 1, 1.0, 0.4)
    chord = sum(np.sin(2 * np.pi * hz * time_s) for hz in (110.0, 138.6, 164.8))
    return (0.2 * bursts + 0.05 * chord).astype(np.float32)


def generated(folder: Path) -> list[Path]:
    """Files of `DURATIONS_S` in ogg."""
    paths = [folder / f"{duration_s:g}s.ogg" for duration_s in DURATIONS_S]
    for path, duration_s in zip(paths, DURATIONS_S, strict=True):
        # libsndfile's Vorbis encoder overflows its stack where a long signal is given in one piece.
        with soundfile.SoundFile(path, "w", SAMPLE_RATE, 1) as file:
            for piece in np.array_split(drums(duration_s), round(duration_s)):
                file.write(piece)
    return paths


@contextmanager
def served(project: Path) -> Iterator[httpx.Client]:
    """A client of a server of the project."""
    arguments = [sys.executable, "-m", "earmark", "-C", str(project), "web", "--port", "0"]
    server = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
    try:
        assert server.stderr is not None
        address = server.stderr.readline().split()[3]
        transport = httpx.HTTPTransport(retries=10)
        with httpx.Client(base_url=address, timeout=TIMEOUT_S, transport=transport) as client:
            yield client
    finally:
        server.terminate()
        server.wait(30)


def uploaded(client: httpx.Client, path: Path) -> Any:
    """The answer to an upload."""
    return (
        client.post("/api/analyze", files={"file": (path.name, path.read_bytes())}).raise_for_status().json()
    )


def commanded(project: Path, path: Path) -> Any:
    """The answer of the command."""
    command = [sys.executable, "-m", "earmark", "-C", str(project), "--quiet", "predict", "meter", str(path)]
    ended = subprocess.run([*command, "--format", "json", "--no-cache"], check=True, capture_output=True)
    return json.loads(ended.stdout)[0]


def measure(project: Path, paths: list[Path], repeats: int) -> None:
    """Measure in turns, and print a table."""
    with served(project) as client:
        began = time.perf_counter()
        uploaded(client, paths[0])
        print(f"first answer of a new server: {time.perf_counter() - began:.2f} s ({paths[0].name})\n")
        print("| file | length | upload to answer | command | ratio | same answer |")
        print("|---|---|---|---|---|---|")
        for path in paths:
            print(row(client, project, path, repeats), flush=True)


def row(client: httpx.Client, project: Path, path: Path, repeats: int) -> str:
    """A file's line of the table."""
    web_s, command_s = [], []
    for _ in range(repeats):
        began = time.perf_counter()
        document = uploaded(client, path)
        web_s.append(time.perf_counter() - began)
        began = time.perf_counter()
        expected = commanded(project, path)
        command_s.append(time.perf_counter() - began)
    is_same = document == expected | {"path": path.name}
    ratio = min(web_s) / min(command_s)
    return (
        f"| {path.name} | {document['duration']:.0f} s | {min(web_s):.2f} s | {min(command_s):.2f} s | {ratio:.2f} | "
        f"{'yes' if is_same else 'NO'} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "project"
        project.mkdir()
        measure(project, given.files or generated(Path(folder)), given.repeats)


if __name__ == "__main__":
    main()
