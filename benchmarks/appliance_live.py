"""`earmark live appliance` for minutes at real pace: answers lost or told twice, unplugging, share of a core.

    python benchmarks/appliance_live.py [MINUTES] [--room FOLDER] [--models level,spectral,cnn] [--beats] [--json]

Detectors are trained on the recordings of FOLDER, by default of a generated room. Each then hears them, one after the
other, from a named pipe of raw samples, and `spectral` also from a sound device: the monitor of a null sink of a sound
server of this script's own (needs ``pulseaudio pulseaudio-utils libasound2-plugins libportaudio2`` and the package
sounddevice; skipped with a word without). In the middle nobody writes into the pipes for ``AWAY_S`` seconds, and the
sound server is away as long. ``--beats`` adds a minute of BEATs of the published size with random weights, alone.

* ``lost``: indices of windows that no line told; of pipes also windows that were written and never answered.
* ``twice``: lines that told a window again although it was heard.
* ``share``: processor time from the first line to the last, by the time between them; ``all`` from the start of the
  process on, which imports and loads.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import appliance_rooms

AWAY_S = 20.0
PIECE_S = 0.1
BEATS_S = 60.0
RATE = appliance_rooms.SAMPLE_RATE
SERVER_NEEDS = ("pulseaudio", "paplay")


@dataclass
class Heard:
    """A process of `live`, and the lines that it told."""

    name: str
    process: subprocess.Popen[str]
    lines: list[dict[str, Any]] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    written: list[int] = field(default_factory=list)
    """Samples of each time that somebody wrote."""

    def listen(self) -> None:
        """Keep every line with the processor time until then; returns when the process ends."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.cpu_s.append(_cpu_s(self.process.pid))
            self.lines.append(json.loads(line))


def main() -> None:
    """Train, listen, count, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("minutes", nargs="?", type=float, default=10.0)
    parser.add_argument("--room", type=Path)
    parser.add_argument("--models", default="level,spectral,cnn")
    parser.add_argument("--beats", action="store_true")
    parser.add_argument(
        "--folder", type=Path, help="work here and keep the runs (default: a temporary folder)"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        rows = measure(given.folder or Path(temporary), Path(temporary), given)
    print(json.dumps(rows, indent=2) if given.json else as_text(rows))


def measure(folder: Path, temporary: Path, given: argparse.Namespace) -> list[dict[str, Any]]:
    """A row per process; runs are kept in `folder`."""
    files = appliance_rooms.prepared(folder / "room", given.room)
    runs = {model: trained(folder / "room", model) for model in given.models.split(",")}
    samples = np.concatenate([_decoded(path) for path in files])
    words = {model: [folder / "room", "--run", run.name] for model, run in runs.items()}
    rows = [
        row_of(heard) for heard in heard_for(60 * given.minutes, temporary, samples, words, with_device=True)
    ]
    if given.beats:
        words = {"beats": beats_words(folder / "beats")}
        rows += [row_of(heard) for heard in heard_for(BEATS_S, temporary, samples, words, with_device=False)]
    return rows


def trained(project: Path, model: str, *options: str) -> Path:
    """A run with thresholds."""
    run = appliance_rooms.trained(project, model, *options)
    appliance_rooms.earmark(project, "thresholds", "appliance", "--run", run.name)
    return run


def beats_words(project: Path) -> list[Any]:
    """A run of BEATs with random weights, trained on 20 s of each state."""
    import torch

    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "models"))
    from published_beats import PUBLISHED_CFG, checkpoint

    from earmark.tasks.appliance.generator.files import write_steady
    from earmark.tasks.appliance.generator.scene import SyntheticRoom

    project.mkdir(parents=True, exist_ok=True)
    write_steady(project / "samples", SyntheticRoom(), duration_s=20.0)
    appliance_rooms.prepared(project, project / "samples", "--seal", "none")
    weights = project / "random.pt"
    torch.save(checkpoint(PUBLISHED_CFG), weights)
    options = ("--beats-checkpoint", str(weights), "--epochs", "1", "--val-daypart", "night")
    run = trained(project, "beats", *options)
    return [project, "--run", run.name, "--beats-checkpoint", str(weights)]


def heard_for(
    seconds: float, folder: Path, samples: np.ndarray, words: dict[str, list[Any]], *, with_device: bool
) -> list[Heard]:
    """All at the same time: a pipe for each, and the sound device for `spectral`."""
    threads, found = [], []
    with contextlib.ExitStack() as stack:
        for name, (project, *options) in words.items():
            pipe = folder / f"{name}.pcm"
            os.mkfifo(pipe)
            options += ["--input", str(pipe), "--pcm", "s16le", "--sample-rate", str(RATE)]
            one = Heard(name, stack.enter_context(_started(project, options)))
            threads.append(threading.Thread(target=_write, args=(pipe, samples, seconds, one)))
            found.append(one)
        if with_device and "spectral" in words:
            if missing := _missing():
                print(f"no sound device: {missing} is not there", file=sys.stderr)
            else:
                server = stack.enter_context(_served(folder / "sound", samples))
                project, *options = words["spectral"]
                one = Heard("spectral, sound device", stack.enter_context(_started(project, options, server)))
                threads.append(threading.Thread(target=server.unplug, args=(seconds,)))
                found.append(one)
        listeners = [threading.Thread(target=one.listen) for one in found]
        for thread in (*threads, *listeners):
            thread.start()
        for thread in threads:
            thread.join()
        time.sleep(3.0)  # what is on its way may arrive
        for one in found:
            one.process.send_signal(signal.SIGTERM)  # SIGINT is ignored where a shell put us behind
        for thread in listeners:
            thread.join()
    return found


def row_of(heard: Heard) -> dict[str, Any]:
    """What the lines of a process say."""
    lines = heard.lines
    told = {line["window_index"] for line in lines}
    n_missing = max(told) - min(told) + 1 - len(told)
    # A line that nothing was heard names the last window, as often as it is told.
    indices = [line["window_index"] for line in lines if line["health"] != "disconnected"]
    hop = round(1.5 * RATE)
    due = sum(max(0, (n - 4 * hop) // hop + 1) for n in heard.written)
    span_s = lines[-1]["timestamp"] - lines[0]["timestamp"]
    away = [line for line in lines if line["health"] == "disconnected"]
    return {
        "what": heard.name,
        "minutes": span_s / 60,
        "lines": len(lines),
        "windows": len(told),
        "lost": n_missing + (max(0, due - len(told)) if heard.written else 0),
        "twice": len(indices) - len(set(indices)),
        "seconds_away": away[-1]["timestamp"] - away[0]["timestamp"] if away else 0.0,
        "lines_away": len(away),
        "share": (heard.cpu_s[-1] - heard.cpu_s[0]) / span_s,
        "all_cpu_s": heard.cpu_s[-1],
        "process_ms": {q: float(np.quantile(_times_ms(lines), q)) for q in (0.5, 0.99)},
        "exit": heard.process.returncode,
    }


class SoundServer:
    """A sound server in a folder of its own, with one null sink, and a player."""

    def __init__(self, folder: Path, samples: np.ndarray) -> None:
        import soundfile

        folder.mkdir(mode=0o700)
        (folder / ".asoundrc").write_text(
            "pcm.!default pulse\nctl.!default pulse\npcm.pulse { type pulse }\n"
        )
        self._song = folder / "room.wav"
        soundfile.write(self._song, samples, RATE, subtype="PCM_24")
        self._socket = folder / "socket"
        own = {"HOME": folder, "XDG_RUNTIME_DIR": folder}
        self._without = os.environ | {name: str(value) for name, value in own.items()}
        self.environment = self._without | {"PULSE_SERVER": f"unix:{self._socket}"}
        self._children: list[subprocess.Popen[bytes]] = []
        self.start()

    def start(self) -> None:
        """The server, and the player once it answers."""
        protocol = f"module-native-protocol-unix auth-anonymous=1 socket={self._socket}"
        words = ["--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no", "-n", f"--load={protocol}"]
        words.append("--load=module-null-sink sink_name=room")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        self._children = [subprocess.Popen(["pulseaudio", *words], env=self._without, **quiet)]
        while not self._socket.exists():
            time.sleep(0.1)
        player = subprocess.Popen(["paplay", "--device=room", self._song], env=self.environment, **quiet)
        self._children.append(player)

    def stop(self) -> None:
        """End both."""
        for child in reversed(self._children):
            child.terminate()
            child.wait()

    def unplug(self, seconds: float) -> None:
        """Go away in the middle of so many seconds; returns at their end."""
        time.sleep((seconds - AWAY_S) / 2)
        self.stop()
        time.sleep(AWAY_S)
        self.start()
        time.sleep((seconds - AWAY_S) / 2)


@contextlib.contextmanager
def _served(folder: Path, samples: np.ndarray) -> Iterator[SoundServer]:
    server = SoundServer(folder, samples)
    try:
        yield server
    finally:
        server.stop()


@contextlib.contextmanager
def _started(
    project: Path, options: list[str], server: SoundServer | None = None
) -> Iterator[subprocess.Popen[str]]:
    line = appliance_rooms.command(project, "live", "appliance", *options, "--quiet")
    environment = None if server is None else server.environment
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def _write(pipe: Path, samples: np.ndarray, seconds: float, heard: Heard) -> None:
    """Half of the time, nothing for a while, the other half; real pace."""
    pcm = np.clip(np.round(samples * 32768), -32768, 32767).astype("<i2")
    at = 0
    for turn in range(2):
        with pipe.open("wb", buffering=0) as out:
            started, n_end, n = time.monotonic(), round((seconds - AWAY_S) / 2 * RATE), 0
            while n < n_end:
                piece = pcm[at : at + min(round(PIECE_S * RATE), n_end - n)]
                out.write(piece.tobytes())
                n, at = n + len(piece), (at + len(piece)) % len(pcm)
                time.sleep(max(0.0, started + n / RATE - time.monotonic()))
        heard.written.append(n)
        if not turn:
            time.sleep(AWAY_S)


def _missing() -> str | None:
    """A part of the sound device that is not installed."""
    try:
        import sounddevice  # noqa: F401
    except (ImportError, OSError):
        return "sounddevice, or PortAudio"
    return next((name for name in SERVER_NEEDS if shutil.which(name) is None), None)


def _decoded(path: Path) -> np.ndarray:
    from earmark.audio.decode import decode

    return decode(str(path), sample_rate=RATE).samples


def _cpu_s(pid: int) -> float:
    """Processor seconds of a process, its threads included."""
    words = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def _times_ms(lines: list[dict[str, Any]]) -> list[float]:
    return [line["process_ms"] for line in lines if line["process_ms"] > 0]


def as_text(rows: list[dict[str, Any]]) -> str:
    """For people."""
    lines = [
        f"{'what':24} {'minutes':>7} {'windows':>7} {'lost':>5} {'twice':>5} {'away':>7} "
        f"{'share of a core':>15} {'window, median':>14} {'p99':>9}"
    ]
    for row in rows:
        median, p99 = row["process_ms"].values()
        lines.append(
            f"{row['what']:24} {row['minutes']:7.1f} {row['windows']:7} {row['lost']:5} {row['twice']:5} "
            f"{row['seconds_away']:5.1f} s {row['share']:15.2%} {median:11.1f} ms {p99:6.1f} ms"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
