"""How late a line of `live appliance` reaches 200 viewers of one server on one core.

    python benchmarks/web_viewers.py [VIEWERS] [--seconds 60] [--hop 0.5] [--json]

`earmark web` serves a fresh project, pinned to one core. A service is put into its list of jobs; this script appends a
line to the output of that service every hop, as `live` does. Viewers, in a process of their own on the other cores,
each hold a connection of their own to ``GET /api/appliance/stream``.

* ``delay_ms``: from before a line is written until a viewer has read all of it: median, 95th percentile, longest.
* ``lost``: lines that a connected viewer was not told; ``twice``: lines that it was told again.
* ``share``: processor time of the server while lines were written, by that time: share of its one core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from earmark.store.lock import acquire
from earmark.web.jobs.store import JobStore

START_S = 60.0
SETTLE_S = 3.0
LINE = {
    "status": "ac-on",
    "p_ac": 0.971234,
    "p_fridge": 0.123456,
    "process_ms": 8.123,
    "stable_status": "ac-on",
}
REST = {"stable_age_s": 1234.5, "audio_s": 4321.5, "confidence": 0.99, "health": "ok"}


def main() -> None:
    """Serve, write, look on, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("viewers", nargs="?", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--hop", type=float, default=0.5)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        row = measured(Path(folder), given.viewers, given.seconds, given.hop)
    print(json.dumps(row, indent=2) if given.json else as_text(row))


def measured(folder: Path, n_viewers: int, seconds: float, hop_s: float) -> dict[str, Any]:
    """One row."""
    core, *others = sorted(os.sched_getaffinity(0))
    store = JobStore.of(folder)
    job = store.add("live", "appliance", ["live", "appliance"], title="live appliance", kind="service")
    lock = acquire(job.worker_lock, RuntimeError)  # as its worker: a server would start one otherwise
    store.claim(job.id, 1)
    server = started(folder, core)
    try:
        os.sched_setaffinity(0, others or {core})
        address = address_of(server)
        wait_for(address)
        queue: Any = multiprocessing.get_context("spawn").Queue()
        is_ready = multiprocessing.get_context("spawn").Event()
        words = (address, n_viewers, queue, is_ready, round(seconds / hop_s))
        viewers = multiprocessing.get_context("spawn").Process(target=look_on, args=words)
        viewers.start()
        is_ready.wait(START_S)
        time.sleep(SETTLE_S)
        before, began = cpu_s(server.pid), time.monotonic()
        written = write(job.output_path, seconds, hop_s)
        share = (cpu_s(server.pid) - before) / (time.monotonic() - began)
        told = queue.get(timeout=START_S)
        viewers.join(START_S)
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        os.close(lock)
    return row_of(written, told, share, hop_s)


def started(folder: Path, core: int) -> subprocess.Popen[str]:
    """`earmark web` on one core."""
    command = [sys.executable, "-m", "earmark", "-C", str(folder), "web", "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    os.sched_setaffinity(server.pid, {core})
    return server


def address_of(server: subprocess.Popen[str]) -> str:
    """Read the line that tells it."""
    assert server.stderr is not None
    line = server.stderr.readline()
    if not line.startswith("earmark is at"):
        raise RuntimeError(line + server.stderr.read())
    return line.split()[3].rstrip("/")


def wait_for(address: str) -> None:
    """Return once the server answers."""
    deadline = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(f"{address}/api/health", timeout=START_S):
                return
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def write(path: Path, seconds: float, hop_s: float) -> list[float]:
    """Append a line every hop; when each was begun, seconds of the Unix epoch."""
    times, due = [], time.monotonic()
    with path.open("a", buffering=1) as file:
        for number in range(round(seconds / hop_s)):
            now = time.time()
            file.write(
                json.dumps({"timestamp": round(now, 3), **LINE, "window_index": number, **REST}) + "\n"
            )
            times.append(now)
            due += hop_s
            time.sleep(max(0.0, due - time.monotonic()))
    return times


def look_on(address: str, n_viewers: int, queue: Any, is_ready: Any, n_lines: int) -> None:
    """The process of the viewers: for each, the lines with the time at which each was whole."""
    queue.put(asyncio.run(_look_on(address, n_viewers, is_ready, n_lines)))


async def _look_on(
    address: str, n_viewers: int, is_ready: Any, n_lines: int
) -> list[list[tuple[int, float]]]:
    told: list[list[tuple[int, float]]] = [[] for _ in range(n_viewers)]
    open_ones = [asyncio.Event() for _ in range(n_viewers)]
    tasks = [asyncio.create_task(_viewer(address, told[k], open_ones[k], n_lines)) for k in range(n_viewers)]
    for one in open_ones:
        await one.wait()
    is_ready.set()
    await asyncio.wait(tasks, timeout=n_lines + START_S)
    for task in tasks:
        task.cancel()
    return told


async def _viewer(address: str, told: list[tuple[int, float]], is_open: asyncio.Event, n_lines: int) -> None:
    """One connection; ends with the last line."""
    host, port = address.removeprefix("http://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET /api/appliance/stream HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    while line := await reader.readline():
        if line.startswith(b"retry:"):
            is_open.set()
        if line.startswith(b"data:") and b'"window_index"' in line:
            now = time.time()
            number = json.loads(line[5:])["window_index"]
            told.append((number, now))
            if number == n_lines - 1:
                break
    writer.close()


def cpu_s(pid: int) -> float:
    """Processor time of a process and its threads; its worker, which nobody asks anything, is none of it."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def row_of(
    written: list[float], told: list[list[tuple[int, float]]], share: float, hop_s: float
) -> dict[str, Any]:
    """Delays and losses."""
    delays = np.array([when - written[number] for lines in told for number, when in lines]) * 1000
    counts = [Counter(number for number, _ in lines) for lines in told]
    p50, p95 = np.percentile(delays, [50, 95]) if len(delays) else (np.nan, np.nan)
    return {
        "viewers": len(told),
        "lines": len(written),
        "hop_s": hop_s,
        "delay_ms": {
            "p50": round(p50, 1),
            "p95": round(p95, 1),
            "max": round(float(delays.max(initial=0)), 1),
        },
        "lost": sum(len(written) - len(own) for own in counts),
        "twice": sum(count - 1 for own in counts for count in own.values()),
        "share": round(share, 4),
    }


def as_text(row: dict[str, Any]) -> str:
    """The row as a line of a table."""
    delay = row["delay_ms"]
    return (
        f"{row['viewers']} viewers, {row['lines']} lines every {row['hop_s']:g} s: delay p50 {delay['p50']} ms, "
        f"p95 {delay['p95']} ms, max {delay['max']} ms; lost {row['lost']}, twice {row['twice']}; "
        f"{row['share']:.1%} of one core"
    )


if __name__ == "__main__":
    main()
