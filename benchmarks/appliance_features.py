"""What the feature sets of the appliance task cost, in one run: against a naive librosa script, and decode + STFT.

    python benchmarks/appliance_features.py [FILE] [--json] [--repeat N]

A window is 6 s; a live stream has one every 1.5 s, so ``share`` is the part of one core that a set takes live. Default
is three minutes of generated hum and noise, flac. All times are CPU seconds of one warm process with one thread, the
least of N rounds; the sides of a ratio are measured in turn within each round, so a busy machine disturbs both. The
first round, which fills librosa's own caches, does not count.
"""

from __future__ import annotations

import os

# One thread: the libraries read these when they are imported.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")

import argparse  # noqa: E402
import json  # noqa: E402
import tempfile  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402

import naive_appliance  # noqa: E402
from meter_features import Side, least, plain_stft  # noqa: E402

SAMPLE_RATE = 16_000
WINDOW_S, HOP_S = 6.0, 1.5
RECORDING_S = 180.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", help="a recording; by default a generated one")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--repeat", type=int, default=7, help="rounds")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = arguments.file or str(write_recording(Path(folder) / "generated.flac"))
        result = {"sets": measure_sets(file, arguments.repeat), "recording": measure_recording(file)}
    print(json.dumps(result, indent=2) if arguments.json else as_text(result))


def measure_sets(file: str, repeat: int) -> dict[str, dict[str, float]]:
    """Of each feature set: milliseconds for a window, windows a second, share of a core live, ratio to the script."""
    from earmark.audio.clip import Clip
    from earmark.audio.decode import decode
    from earmark.tasks.appliance.views import VIEWS

    samples = decode(file, sample_rate=SAMPLE_RATE).samples[: int(WINDOW_S * SAMPLE_RATE)]
    sides: dict[str, Side] = {}
    for name, view in VIEWS.items():
        plain = [getattr(naive_appliance, group.name.partition(".")[2]) for group in view.groups]
        sides[f"{name} naive"] = lambda plain=plain: [function(samples) for function in plain]
        sides[name] = lambda view=view: _rows(view.groups, Clip(samples, SAMPLE_RATE))
    times = least(sides, repeat)
    return {
        name: {
            "ms": 1000 * times[name],
            "windows_per_s": 1 / times[name],
            "share": times[name] / HOP_S,
            "ratio": times[f"{name} naive"] / times[name],
        }
        for name in VIEWS
    }


def measure_recording(file: str) -> dict[str, float]:
    """A whole recording: its decoding and all its `spectral` windows over its decoding and one STFT."""
    from earmark.audio.clip import Clip
    from earmark.audio.decode import decode
    from earmark.tasks.appliance.views import VIEWS

    def windows() -> None:
        samples, length = decode(file, sample_rate=SAMPLE_RATE).samples, int(WINDOW_S * SAMPLE_RATE)
        for start in range(0, samples.size - length + 1, int(HOP_S * SAMPLE_RATE)):
            _rows(VIEWS["spectral"].groups, Clip(samples[start : start + length], SAMPLE_RATE))

    times = least(
        {
            "decode": lambda: decode(file, sample_rate=SAMPLE_RATE),
            "decode_and_stft": lambda: plain_stft(decode(file, sample_rate=SAMPLE_RATE).samples),
            "decode_and_spectral": windows,
        },
        3,
    )
    return {
        **{f"{name}_ms": 1000 * seconds for name, seconds in times.items()},
        "spectral_over_stft": times["decode_and_spectral"] / times["decode_and_stft"],
    }


def _rows(groups: tuple[object, ...], clip: object) -> list[np.ndarray]:
    return [group(clip) for group in groups]  # type: ignore[operator]


def write_recording(path: Path) -> Path:
    """A compressor's hum over the noise of a room."""
    import soundfile

    rng = np.random.default_rng(1)
    t = np.arange(int(RECORDING_S * SAMPLE_RATE)) / SAMPLE_RATE
    hum = sum(np.sin(2 * np.pi * 100 * h * t) / h for h in range(1, 8))
    soundfile.write(path, 0.003 * hum + 0.003 * rng.standard_normal(t.size), SAMPLE_RATE)
    return path


def as_text(result: dict[str, dict[str, dict[str, float]]]) -> str:
    """A small table."""
    lines = [f"{'set':10} {'ms/window':>10} {'windows/s':>10} {'live share':>11} {'script/earmark':>15}"]
    lines += [
        f"{name:10} {row['ms']:10.2f} {row['windows_per_s']:10.0f} {row['share']:11.2%} {row['ratio']:15.1f}"
        for name, row in result["sets"].items()
    ]
    row = result["recording"]
    lines.append(
        f"recording: decode {row['decode_ms']:.0f} ms, with one STFT {row['decode_and_stft_ms']:.0f} ms, with every "
        f"spectral window {row['decode_and_spectral_ms']:.0f} ms, ratio {row['spectral_over_stft']:.1f}"
    )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
