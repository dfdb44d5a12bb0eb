"""A whole library through `predict`: progress, memory, an interrupt and its resumption, a broken file, what is written.

    python benchmarks/library.py [--tracks 2000] [--seconds 20] [--work FOLDER] [--workers 2]

Tracks are excerpts of the generated demo tracks at slightly different gains, so that no two files have equal
content; one more is text with the name of a track. A model is trained on the demo, then `earmark predict` runs as a
process of its own over the folder. It is interrupted with Ctrl-C after a share of the tracks, started again, and run
a third time with everything known. Printed: seconds, peak memory of the command and of its largest worker, how many
results the second run still computed, and whether memory grew by more than a limit in the later part of a run.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import soundfile

from earmark.tasks.zones.demo import generate_demo

INTERRUPT_AT = 0.4
GROWTH_LIMIT_MIB = 60.0


def write_library(folder: Path, n_tracks: int, seconds: float) -> None:
    """Excerpts of the demo's tracks, each file of its own content, one of them broken."""
    if folder.exists():
        return
    demo = generate_demo(folder.parent / "demo-tracks")
    sources = sorted(
        path
        for path in (folder.parent / "demo-tracks").rglob("*")
        if path.suffix in (".flac", ".wav", ".ogg")
    )
    folder.mkdir()
    assert demo.labels.is_file() and sources
    for number in range(n_tracks):
        samples, rate = soundfile.read(sources[number % len(sources)], dtype="float32")
        start = (number * 997) % max(1, len(samples) - int(seconds * rate))
        gain = 1 - 0.2 * number / n_tracks
        below = folder / f"crate {number // 100:02d}"
        below.mkdir(exist_ok=True)
        excerpt = gain * samples[start : start + int(seconds * rate)]
        soundfile.write(below / f"track {number:04d}.flac", excerpt, rate, subtype="PCM_16")
    (folder / "crate 00" / "broken.mp3").write_text("this is no music\n")


class Memory(threading.Thread):
    """Samples the resident memory of a process and of its children, 5 times a second."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.pid, self.driver, self.workers = pid, [], []
        self.start()

    def run(self) -> None:
        try:
            process = psutil.Process(self.pid)
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                self.driver.append(process.memory_info().rss / 2**20)
                sizes = [child.memory_info().rss / 2**20 for child in process.children(recursive=True)]
                self.workers.append(max(sizes, default=0.0))
                time.sleep(0.2)
        except psutil.NoSuchProcess:
            return

    def growth(self) -> float:
        """MiB that the larger of the two grew from a quarter of the run to its end, by medians."""

        def at(series: list[float], start: float, end: float) -> float:
            part = sorted(series[int(start * len(series)) : max(1, int(end * len(series)))]) or [0.0]
            return part[len(part) // 2]

        return max(at(series, 0.9, 1.0) - at(series, 0.25, 0.35) for series in (self.driver, self.workers))


def predict(work: Path, workers: int, stop_after: int | None = None, *more: str) -> dict[str, Any]:
    """One run of the command; interrupted once the cache holds `stop_after` more results, if given."""
    command = [sys.executable, "-m", "earmark", "-C", str(work), "--format", "json", "predict", "zones"]
    command += [str(work / "library"), "--workers", str(workers), *more]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    memory = Memory(process.pid)
    if stop_after is not None:
        threading.Thread(target=interrupt, args=(process, work, stop_after), daemon=True).start()
    out, err = process.communicate()
    seconds = time.perf_counter() - began
    documents = json.loads(out) if process.returncode in (0, 1) and out.strip() else []
    return {
        "exit": process.returncode,
        "seconds": round(seconds, 1),
        "answers": sum("error" not in document for document in documents),
        "failed": [document["path"] for document in documents if "error" in document],
        "driver_mib": round(max(memory.driver, default=0)),
        "worker_mib": round(max(memory.workers, default=0)),
        "growth_mib": round(memory.growth(), 1) if len(memory.driver) > 40 else None,
        "said": err.strip().splitlines()[-1:] if stop_after is not None else [],
    }


def stored(work: Path) -> int:
    """Results in the project's cache."""
    command = [sys.executable, "-m", "earmark", "-C", str(work), "--format", "json", "cache", "stats"]
    document = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    return int(document["entries"])


def interrupt(process: subprocess.Popen[str], work: Path, stop_after: int) -> None:
    before = stored(work)
    while process.poll() is None:
        time.sleep(1)
        if stored(work) - before >= stop_after:
            process.send_signal(signal.SIGINT)
            return


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracks", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = options.work or Path(temporary)
        work.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [sys.executable, "-m", "earmark", "-C", str(work), "demo", "zones"],
            check=True,
            capture_output=True,
        )
        write_library(work / "library", options.tracks, options.seconds)
        first = predict(work, options.workers, int(INTERRUPT_AT * options.tracks))
        print(f"interrupted: {json.dumps(first)}")
        before = stored(work)
        second = predict(work, options.workers, None, "--playlists", str(work / "playlists"))
        print(f"resumed:     {json.dumps(second)}")
        print(f"             {stored(work) - before} results computed by the second run")
        third = predict(work, options.workers)
        print(f"known:       {json.dumps(third)}")
        lists = sorted((work / "playlists").glob("*.m3u8"))
        listed = sum(path.read_text().count("#EXTINF") for path in lists)
        print(f"playlists:   {[path.name for path in lists]}, {listed} entries")
        wrong = [
            name
            for name, is_right in (
                ("interrupt", first["exit"] == 130),
                ("answers", second["answers"] == third["answers"] == options.tracks == listed),
                ("broken file", len(second["failed"]) == 1 and second["exit"] == 1),
                (
                    "memory",
                    all(
                        run["growth_mib"] is None or run["growth_mib"] < GROWTH_LIMIT_MIB
                        for run in (first, second)
                    ),
                ),
            )
            if not is_right
        ]
        print("all as expected" if not wrong else f"NOT as expected: {', '.join(wrong)}")
        return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
