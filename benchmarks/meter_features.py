"""What the 1449 audio columns of the meter task cost, in one run: against a naive librosa script, and decode + STFT.

    python benchmarks/meter_features.py [FILES...] [--json] [--repeat N]

Default is one generated clip of 30 s, flac. All times are CPU seconds of one warm process with one thread, the least of
N rounds; the sides of a ratio are measured in turn within each round, so a busy machine disturbs both. The first
round of the naive script, which fills librosa's own caches, does not count.
"""

from __future__ import annotations

import os

# One thread: the libraries read these when they are imported.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import argparse  # noqa: E402
import json  # noqa: E402
import tempfile  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

SAMPLE_RATE = 22_050
CLIP_S = 30.0
Side = Callable[[], object]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="*", help="audio files; by default a generated one")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--repeat", type=int, default=7, help="rounds")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        files = arguments.files or [str(write_clip(Path(folder) / "generated.flac"))]
        results = {Path(file).name: measure(file, arguments.repeat) for file in files}
    print(json.dumps(results, indent=2) if arguments.json else as_text(results))


def measure(file: str, repeat: int) -> dict[str, float]:
    """Milliseconds of CPU time of every side, and the ratios."""
    import naive_meter
    from earmark.audio.clip import Clip
    from earmark.audio.cqt import cqt_chroma
    from earmark.audio.decode import decode
    from earmark.audio.front_end import front_end
    from earmark.tasks.meter.groups.audio_v6 import AUDIO

    samples = decode(file, sample_rate=SAMPLE_RATE).samples
    ready = front_end(Clip(samples, SAMPLE_RATE))
    sides: dict[str, Side] = {
        "columns_naive": lambda: naive_meter.audio_features(samples),
        "columns": lambda: AUDIO(Clip(samples, SAMPLE_RATE)),
        "chroma_naive": lambda: naive_meter.librosa.feature.chroma_cqt(y=ready.samples, sr=SAMPLE_RATE),
        # with the pass that finds the tuning, as in the naive call; and beside other columns, which need that pass too
        "chroma": lambda: cqt_chroma(Clip(ready.samples, SAMPLE_RATE)),
        "chroma_alone": lambda: cqt_chroma(ready),
        "decode_and_stft": lambda: plain_stft(decode(file, sample_rate=SAMPLE_RATE).samples),
        "decode_and_columns": lambda: AUDIO(decode(file, sample_rate=SAMPLE_RATE)),
    }
    times = least(sides, repeat)
    return {
        "duration_s": len(samples) / SAMPLE_RATE,
        **{f"{name}_ms": 1000 * seconds for name, seconds in times.items()},
        "columns_ratio": times["columns_naive"] / times["columns"],
        "chroma_ratio": times["chroma_naive"] / times["chroma"],
        "chroma_alone_ratio": times["chroma_naive"] / times["chroma_alone"],
        "columns_over_decode_and_stft": times["decode_and_columns"] / times["decode_and_stft"],
    }


def least(sides: dict[str, Side], repeat: int) -> dict[str, float]:
    """Least CPU seconds of each side over rounds in which all take turns; a first round warms up."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeat + 1):
        for name, side in sides.items():
            start = time.process_time()
            side()
            times[name].append(time.process_time() - start)
    return {name: min(values[1:]) for name, values in times.items()}


def plain_stft(samples: np.ndarray) -> np.ndarray:
    """One STFT as a user would write it with scipy."""
    from scipy.fft import rfft

    framed = np.lib.stride_tricks.sliding_window_view(np.pad(samples, 1024), 2048)[::512]
    return np.abs(rfft(framed * np.hanning(2048).astype(np.float32), axis=1))


def write_clip(path: Path) -> Path:
    """Accented bars of three struck chords over noise."""
    import soundfile

    rng = np.random.default_rng(1)
    t = np.arange(int(CLIP_S * SAMPLE_RATE)) / SAMPLE_RATE
    beat = t * 132 / 60
    accent = np.where(beat.astype(int) % 3 == 0, 1.0, 0.5) * np.exp(-3 * (beat % 1.0))
    chord = sum(np.sign(np.sin(2 * np.pi * 110 * 2 ** (k / 12) * t)) for k in (0, 4, 7, 12)) * 0.1
    noise = rng.standard_normal(len(t)) * (0.3 * np.exp(-18 * (beat % 1.0)) + 0.002)
    soundfile.write(path, np.clip(accent * (chord + noise), -1, 1), SAMPLE_RATE)
    return path


def as_text(results: dict[str, dict[str, float]]) -> str:
    """A small table for each file."""
    lines = []
    for name, row in results.items():
        lines += [
            f"{name}, {row['duration_s']:.1f} s, milliseconds of CPU time",
            f"  1449 columns   naive {row['columns_naive_ms']:8.1f}   earmark {row['columns_ms']:7.1f}   "
            f"ratio {row['columns_ratio']:5.1f}",
            f"  CQT chroma     naive {row['chroma_naive_ms']:8.1f}   earmark {row['chroma_ms']:7.1f}   "
            f"ratio {row['chroma_ratio']:5.1f}",
            f"    its own part                          {row['chroma_alone_ms']:7.1f}   "
            f"ratio {row['chroma_alone_ratio']:5.1f}",
            f"  decode + columns {row['decode_and_columns_ms']:.1f}, "
            f"decode + one STFT {row['decode_and_stft_ms']:.1f}: "
            f"{row['columns_over_decode_and_stft']:.2f} times",
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
