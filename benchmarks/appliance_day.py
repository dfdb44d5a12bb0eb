"""A day of one room through `earmark stream appliance`: false events, memory, speed.

    python benchmarks/appliance_day.py [ROOM] [SCENES] [--hours 24] [--val-daypart DAYPART] [--stream WORDS] [--json]

ROOM holds recordings with pattern names (``ac-on-fridge-off-day.m4a``), by default a generated one; SCENES other
recordings, which are heard between the room's and whose truth for this room's devices is not known. The day is one flac
file: recordings of the room in a random order, each repeated for 3 to 18 minutes, three scenes after each. A detector
is trained on ROOM first; with ``--val-daypart night`` it learns from the other recordings alone, and what is heard
by night is new to it.

A *stretch* is one recording's repetitions. A switch in a stretch is late or false unless it comes in the first
``SETTLE_S`` seconds, and the state at the end of a stretch is right or wrong. Switches of the fridge under a running
air conditioner change no public state; they are counted apart. Memory is the resident set of the whole process.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import appliance_rooms

SETTLE_S = 30.0
REPEATS = (1, 6)
SCENES_BETWEEN = 3
N_MEMORY = 10


@dataclass(frozen=True)
class Stretch:
    """Seconds of the day in which nothing switches."""

    recording: str
    start_s: float
    end_s: float
    facts: dict[str, bool]


@dataclass
class Memory:
    """Resident megabytes, sampled once a second."""

    samples: list[float] = field(default_factory=list)

    def watch(self, process: subprocess.Popen[bytes]) -> None:
        """Sample until the process ends."""
        page_bytes = 4096
        while process.poll() is None:
            statm = Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()
            if len(statm) > 1 and int(statm[1]):
                self.samples.append(int(statm[1]) * page_bytes / 1e6)
            time.sleep(1.0)

    def points(self) -> list[float]:
        """`N_MEMORY` samples, equally spaced, the first after a tenth of the time."""
        last = len(self.samples) - 1
        return [round(self.samples[round(last * k / N_MEMORY)], 1) for k in range(1, N_MEMORY + 1)]


def main() -> None:
    """Train, write the day, stream it, count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("room", nargs="?", type=Path)
    parser.add_argument("scenes", nargs="?", type=Path)
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--model", default="spectral")
    parser.add_argument("--val-daypart", help="learn from the other recordings alone")
    parser.add_argument("--stream", default="", help='further words for stream, such as "--decoder hmm"')
    parser.add_argument(
        "--folder", type=Path, help="work here and keep the files (default: a temporary folder)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        result = measure(given, given.folder or Path(temporary))
    print(json.dumps(result, indent=2) if given.json else as_text(result))


def measure(given: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All figures."""
    folder.mkdir(parents=True, exist_ok=True)
    recordings = appliance_rooms.prepared(folder, given.room)
    side = ["--val-daypart", given.val_daypart] if given.val_daypart else []
    run = appliance_rooms.trained(folder, given.model, *side)
    appliance_rooms.earmark(folder, "thresholds", "appliance", "--run", run.name)
    scenes = sorted(given.scenes.rglob("*.flac")) if given.scenes else []
    day = folder / "day.flac"
    stretches = write_day(day, recordings, scenes, given.hours, given.seed)
    heard = stream(folder, run, day, given.stream.split())
    with (folder / "events.csv").open(encoding="utf-8") as file:
        events = [(float(row["t_end_s"]), row["device"], row["kind"] == "on") for row in csv.DictReader(file)]
    by_recording = {name: counted(rows, events) for name, rows in _by_recording(stretches).items()}
    return {
        "hours": given.hours,
        "steady_hours": sum(one.end_s - one.start_s for one in stretches) / 3600,
        "stretches": len(stretches),
        "all": counted(stretches, events),
        "by_recording": by_recording,
        "events": len(events),
        **heard,
    }


def write_day(
    path: Path, recordings: list[Path], scenes: list[Path], hours: float, seed: int
) -> list[Stretch]:
    """Write the day block by block; gives its stretches."""
    import soundfile

    rng = np.random.default_rng(seed)
    stretches: list[Stretch] = []
    others = _shuffled(scenes, rng)
    rate = appliance_rooms.SAMPLE_RATE
    n_end, n = round(hours * 3600 * rate), 0
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16", format="FLAC") as file:
        for recording in _shuffled(recordings, rng):
            samples = _decoded(recording)
            start = n
            for _ in range(int(rng.integers(REPEATS[0], REPEATS[1] + 1))):
                file.write(samples)
                n += len(samples)
            facts = appliance_rooms.facts_of(recording)
            stretches.append(Stretch(recording.stem, start / rate, n / rate, facts))
            for _ in range(SCENES_BETWEEN if scenes else 0):
                scene = _decoded(next(others))
                file.write(scene)
                n += len(scene)
            if n >= n_end:
                return stretches
    raise AssertionError("the recordings are repeated without end")


def stream(folder: Path, run: Path, day: Path, words: list[str]) -> dict[str, Any]:
    """Hear the day in a process of its own."""
    import soundfile

    told = folder / "told.json"
    line = appliance_rooms.command(
        folder,
        "stream",
        "appliance",
        str(day),
        "--run",
        run.name,
        "--log-events",
        str(folder / "events.csv"),
        "--initial-state",
        "off",
    )
    memory, started = Memory(), time.perf_counter()
    with told.open("wb") as output, subprocess.Popen([*line, "--quiet", *words], stdout=output) as process:
        memory.watch(process)
    if process.returncode:
        raise SystemExit(f"stream ended with {process.returncode}")
    elapsed_s = time.perf_counter() - started
    duration_s = soundfile.info(day).duration
    answers = json.loads(told.read_text(encoding="utf-8"))["events"]
    indices = [one["window_index"] for one in answers]
    return {
        "windows": len(answers),
        "windows_lost": indices[-1] - indices[0] + 1 - len(set(indices)),
        "windows_twice": len(indices) - len(set(indices)),
        "memory_mb": memory.points(),
        "memory_most_mb": round(max(memory.samples), 1),
        "seconds": elapsed_s,
        "times_real_time": duration_s / elapsed_s,
        "real_time_factor": elapsed_s / duration_s,
    }


def counted(stretches: list[Stretch], events: list[tuple[float, str, bool]]) -> dict[str, Any]:
    """Switches behind the first seconds of stretches, and states at their ends."""
    public = hidden = wrong = 0
    right_s = total_s = 0.0
    for stretch in stretches:
        truth = appliance_rooms.state_of(stretch.facts)
        facts = dict.fromkeys(appliance_rooms.DEVICES, False)
        facts |= {device: is_on for t_s, device, is_on in events if t_s <= stretch.start_s + SETTLE_S}
        before_s, state = stretch.start_s + SETTLE_S, appliance_rooms.state_of(facts)
        total_s += stretch.end_s - before_s
        for t_s, device, is_on in events:
            if not before_s < t_s <= stretch.end_s:
                continue
            facts[device] = is_on
            right_s += (t_s - before_s) * (state == truth)
            before_s, told = t_s, appliance_rooms.state_of(facts)
            public, hidden = public + (told != state), hidden + (told == state)
            state = told
        right_s += (stretch.end_s - before_s) * (state == truth)
        wrong += state != truth
    return {
        "false_events": public,
        "of_no_effect": hidden,
        "stretches": len(stretches),
        "wrong_at_the_end": wrong,
        "time_right": right_s / total_s if total_s else float("nan"),
    }


def _by_recording(stretches: list[Stretch]) -> dict[str, list[Stretch]]:
    names = sorted({one.recording for one in stretches})
    return {name: [one for one in stretches if one.recording == name] for name in names}


def _shuffled(paths: list[Path], rng: np.random.Generator) -> Iterator[Path]:
    """All in a random order, then all in another one, without end."""
    while paths:
        yield from (paths[number] for number in rng.permutation(len(paths)))


def _decoded(path: Path) -> np.ndarray:
    from earmark.audio.decode import decode

    return decode(str(path), sample_rate=appliance_rooms.SAMPLE_RATE).samples


def as_text(result: dict[str, Any]) -> str:
    """For people."""
    lines = [
        f"{result['hours']:g} h, {result['steady_hours']:.1f} h of them steady in {result['stretches']} stretches; "
        f"{result['windows']} windows told, {result['windows_lost']} lost, {result['windows_twice']} twice",
        f"{result['times_real_time']:.0f} times real time (factor {result['real_time_factor']:.5f}), "
        f"{result['seconds']:.0f} s",
        f"memory, MB, after each tenth: {result['memory_mb']}; most {result['memory_most_mb']}",
        f"{'recording':26} {'stretches':>9} {'false events':>12} {'of no effect':>12} {'wrong at end':>12} "
        f"{'time right':>10}",
    ]
    for name, row in (result["by_recording"] | {"all": result["all"]}).items():
        lines.append(
            f"{name:26} {row['stretches']:9} {row['false_events']:12} {row['of_no_effect']:12} "
            f"{row['wrong_at_the_end']:12} {row['time_right']:10.2%}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
