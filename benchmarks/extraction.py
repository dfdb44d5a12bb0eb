"""What the full zones set costs, in one run: against a naive librosa script, decode + one STFT, two
processes, memory.

    python benchmarks/extraction.py [FILES...] [--json] [--repeat N]

All times are CPU seconds of one warm process with one thread, the least of N rounds; the sides of a ratio are
measured in turn within each round, so a busy machine disturbs both. Only the scaling over processes is wall
time.
"""

from __future__ import annotations

import os

# One thread: the libraries read these when they are imported.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import argparse  # noqa: E402
import json  # noqa: E402
import subprocess  # noqa: E402
import sys  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable, Sequence  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import numpy as np  # noqa: E402

SAMPLE_RATE = 22_050
SOURCE_RATE = 44_100
TRACK_S = 180
LONG_TRACK_S = 600
N_SCALING_TRACKS = 64  # enough to outweigh the second that a process takes to start
N_SCALING_ROUNDS = 2


def main() -> int:
    """Measure, print, return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="audio files; by default generated ones, mp3 and flac")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--repeat", type=int, default=5, help="rounds per figure")
    parser.add_argument("--skip", nargs="*", default=[], choices=["naive", "scaling", "memory"])
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(json.dumps(own_memory(arguments.memory_of)))
        return 0
    with tempfile.TemporaryDirectory() as folder:
        files = arguments.files or [
            str(path) for path in write_tracks(Path(folder), TRACK_S, ("mp3", "flac"))
        ]
        result: dict[str, Any] = {"tracks": {}}
        for file in files:
            result["tracks"][Path(file).name] = measure(file, arguments.repeat, "naive" not in arguments.skip)
        if "scaling" not in arguments.skip:
            result["scaling"] = scaling(files[0], Path(folder))
        if "memory" not in arguments.skip:
            long_file = next(iter(write_tracks(Path(folder), LONG_TRACK_S, ("flac",))))
            result["memory"] = memory(str(long_file))
    print(json.dumps(result, indent=2) if arguments.json else as_text(result))
    return 0


def measure(file: str, repeat: int, with_naive: bool) -> dict[str, Any]:
    """CPU times, ratios and agreement for one file."""
    from earmark.audio.decode import decode

    clip = decode(file, sample_rate=SAMPLE_RATE)
    sides: dict[str, Callable[[], object]] = {
        "decode": lambda: decode(file, sample_rate=SAMPLE_RATE),
        "decode_stft": lambda: plain_stft(decode(file, sample_rate=SAMPLE_RATE).samples),
        "earmark": lambda: full_set(decode(file, sample_rate=SAMPLE_RATE)),
    }
    result: dict[str, Any] = {"duration_s": round(clip.duration_s, 1)}
    first = cpu_seconds(sides["earmark"])
    times = least(sides, repeat)
    times["earmark_first_call"] = first
    result["ratio_to_decode_stft"] = times["earmark"] / times["decode_stft"]
    if with_naive:
        result["agreement"] = compare(file, times)
        result["naive_over_earmark"] = times["naive"] / times["earmark"]
        result["naive_over_earmark_decoded"] = (times["naive"] - times["librosa_load"]) / (
            times["earmark"] - times["decode"]
        )
        result["librosa_load_over_decode"] = times["librosa_load"] / times["decode"]
    result["cpu_s"] = {name: round(value, 4) for name, value in times.items()}
    return result


def compare(file: str, times: dict[str, float]) -> dict[str, float]:
    """Time librosa's side, twice because its first call compiles; relative difference of each column."""
    import naive

    for _ in range(2):
        start = time.process_time()
        clip = naive.load(file)
        times["librosa_load"] = time.process_time() - start
        theirs = full_set(clip)
        times["naive"] = time.process_time() - start
    ours = full_set(own_clip(clip.samples, SAMPLE_RATE))
    difference = {name: relative(ours[name], theirs[name]) for name in ours}
    floored = naive.floored_contrast(clip.samples).astype(np.float64)
    for name, values in (("mean", floored.mean(axis=0)), ("std", floored.std(axis=0))):
        for band, value in enumerate(values):
            column = f"zones.contrast.spectral_contrast_{name}_{band}"
            difference[f"{column} (same floor)"] = relative(ours[column], value)
    return difference


def own_clip(samples: np.ndarray, sample_rate: int) -> Any:
    """A clip of the very samples that librosa saw."""
    from earmark.audio.clip import Clip

    return Clip(samples, sample_rate)


def full_set(clip: Any) -> dict[str, float]:
    """All columns of the full zones set."""
    from earmark.tasks.zones.feature_sets import FEATURE_SETS

    values: dict[str, float] = {}
    for group in FEATURE_SETS["full55"].groups:
        row = np.asarray(group.function(clip), dtype=np.float64)
        values.update(zip(group.column_names, row.tolist(), strict=True))
    return values


def plain_stft(samples: np.ndarray) -> None:
    """Window and FFT of every frame with scipy, in blocks that stay in the cache; nothing is kept."""
    from scipy.fft import rfft

    window = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(2048) / 2048)).astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(np.pad(samples, 1024), 2048)[::512]
    for start in range(0, len(frames), 128):
        rfft(frames[start : start + 128] * window, axis=1)


def scaling(file: str, folder: Path) -> dict[str, float]:
    """Least wall time of the extractor over copies of a track by one process and by two, their start included."""
    from earmark.features import Item
    from earmark.features.extractor import Extractor
    from earmark.tasks.zones.feature_sets import FEATURE_SETS

    items = []
    for i in range(N_SCALING_TRACKS):
        copy = folder / f"copy{i}{Path(file).suffix}"
        copy.write_bytes(Path(file).read_bytes())
        items.append(Item(id=str(i), uri=str(copy)))
    seconds = {1: float("inf"), 2: float("inf")}
    control = dict(seconds)
    for _ in range(N_SCALING_ROUNDS + 1):  # the first compiles, and its times are replaced
        for workers in seconds:
            extractor = Extractor(FEATURE_SETS["full55"].groups, workers=workers)
            seconds[workers] = min(seconds[workers], wall_seconds(lambda run=extractor.run: run(items)))
            control[workers] = min(control[workers], wall_seconds(lambda n=workers: burn(n)))
    return {
        "one_process_s": seconds[1],
        "two_processes_s": seconds[2],
        "ratio": seconds[1] / seconds[2],
        "ratio_of_a_loop_that_only_counts": control[1] / control[2],
    }


def burn(n_processes: int) -> None:
    """The same amount of counting in one process or shared by two: what the machine has to give just now."""
    script = f"for _ in range({4 // n_processes}): sum(range(30_000_000))"
    processes = [subprocess.Popen([sys.executable, "-S", "-c", script]) for _ in range(n_processes)]
    for process in processes:
        process.wait()


def memory(long_file: str) -> dict[str, Any]:
    """Peak memory of a fresh process on the long track, and growth over many rounds."""
    command = [sys.executable, __file__, "--memory-of", long_file]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def own_memory(file: str) -> dict[str, Any]:
    """Peak resident memory of this process after one pass, and resident memory after each of ten more (Linux)."""
    from earmark.audio.decode import decode

    full_set(decode(file, sample_rate=SAMPLE_RATE))
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    peak = int(status["VmHWM"].split()[0]) / 1024
    resident = []
    for _ in range(10):
        full_set(decode(file, sample_rate=SAMPLE_RATE))
        resident.append(round(int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20))
    return {"track_s": LONG_TRACK_S, "peak_mib": round(peak), "resident_after_each_mib": resident}


def write_tracks(folder: Path, seconds: int, suffixes: Sequence[str]) -> list[Path]:
    """A generated track in several formats."""
    import soundfile

    audio = synthesize(seconds)
    paths = []
    for suffix in suffixes:
        path = folder / f"generated_{seconds}s.{suffix}"
        with soundfile.SoundFile(path, "w", SOURCE_RATE, 2) as file:
            for start in range(0, len(audio), 1 << 16):
                file.write(audio[start : start + (1 << 16)])
        paths.append(path)
    return paths


def synthesize(seconds: int, seed: int = 7) -> np.ndarray:
    """Stereo dance music: kick, hats, bass, detuned chords and a noise floor, with a breakdown in each minute."""
    rng = np.random.default_rng(seed)
    n = seconds * SOURCE_RATE
    t = np.arange(n, dtype=np.float32) / SOURCE_RATE
    beat = np.mod(t * (126 / 60), 1.0).astype(np.float32)
    loud = np.where(np.mod(t, 60.0) < 45.0, 1.0, 0.15).astype(np.float32)
    kick = np.sin(60.0 * np.exp(-12.0 * beat) + 2 * np.pi * 50.0 * beat) * np.exp(-7.0 * beat) * loud
    hats = rng.standard_normal(n, dtype=np.float32) * np.exp(-30.0 * np.mod(beat + 0.5, 1.0)) * 0.3
    root_hz = 55.0 * 2.0 ** (np.array([0, 3, -4, 5])[(t / 4).astype(int) % 4] / 12.0)
    phase = 2 * np.pi * np.cumsum(root_hz) / SOURCE_RATE
    bass = np.tanh(3.0 * np.sin(phase)).astype(np.float32) * (0.3 + 0.7 * beat) * 0.4
    left, right = np.zeros(n, np.float32), np.zeros(n, np.float32)
    for step in (12, 19, 24, 28, 36):
        saw = 0.5 - np.mod(phase * (2.0 ** (step / 12.0) / (2 * np.pi)), 1.0)
        left += (saw * 0.12).astype(np.float32)
        right += np.roll(saw * 0.12, 441).astype(np.float32)
    noise = rng.standard_normal((n, 2), dtype=np.float32) * 0.003
    shared = kick + hats * loud + bass
    return (np.stack([left + shared, right + shared], axis=1) * 0.35 + noise).astype(np.float32)


def least(sides: dict[str, Callable[[], object]], repeat: int) -> dict[str, float]:
    """Least CPU time of each side, measured in turn."""
    times = {name: [cpu_seconds(run)] for name, run in sides.items()}
    for _ in range(repeat - 1):
        for name, run in sides.items():
            times[name].append(cpu_seconds(run))
    return {name: min(values) for name, values in times.items()}


def cpu_seconds(run: Callable[[], object]) -> float:
    """CPU time of one call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def wall_seconds(run: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def relative(a: float, b: float) -> float:
    """Difference relative to the second number."""
    return abs(a - b) / max(abs(b), 1e-9)


def as_text(result: dict[str, Any]) -> str:
    """The figures as lines."""
    lines = []
    for name, track in result["tracks"].items():
        lines.append(f"{name} ({track['duration_s']} s)")
        lines += [
            f"  {key:<28}{value:8.2f} x"
            for key, value in track.items()
            if isinstance(value, float) and key != "duration_s"
        ]
        lines.append("  CPU seconds: " + ", ".join(f"{k} {v:.3f}" for k, v in track["cpu_s"].items()))
        worst = sorted(track.get("agreement", {}).items(), key=lambda pair: -pair[1])
        if worst:
            within = sum(value <= 1e-3 for _, value in worst)
            lines.append(f"  columns within 1e-3 of librosa: {within} of {len(worst)}; largest differences:")
            lines += [f"    {column:<60}{value:.1e}" for column, value in worst[:6]]
    for part in ("scaling", "memory"):
        if part in result:
            lines.append(f"{part}: " + ", ".join(f"{k} {v}" for k, v in result[part].items()))
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
