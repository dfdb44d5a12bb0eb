"""BEATs of the published size with random weights: forward passes of ours, of another implementation and of ONNX files.

Windows of 6 s, one thread, all in one run and in turn, so that another load on the machine falls on all alike; the
figures are medians over `--repeat` rounds and their ratios. Needs the extras torch and onnx, and speechbrain, of which
one module is loaded: ``pip install --no-deps speechbrain``.

    python benchmarks/appliance_beats.py --repeat 5
    python benchmarks/appliance_beats.py --batches 1 --skip-onnx
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "models"))

N_FRAMES = 598


def main() -> None:
    """Print one JSON object per batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 32])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--skip-onnx", action="store_true")
    arguments = parser.parse_args()
    import torch

    torch.set_num_threads(1)
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        contenders = _contenders(Path(folder), with_onnx=not arguments.skip_onnx)
        for n_rows in arguments.batches:
            print(json.dumps(_measured(contenders, n_rows, arguments.repeat)), flush=True)


def _contenders(folder: Path, *, with_onnx: bool) -> Mapping[str, Callable[[np.ndarray], Any]]:
    """Name -> filter banks to tokens."""
    import torch
    from published_beats import PUBLISHED_CFG, checkpoint, independent, independent_tokens

    from earmark.models.beats.config import BeatsConfig
    from earmark.models.beats.official import encoder_of

    loaded = checkpoint(PUBLISHED_CFG)
    ours = encoder_of(BeatsConfig.of(loaded["cfg"]), loaded["model"])
    found: dict[str, Callable[[np.ndarray], Any]] = {
        "earmark": lambda banks: ours.encode(torch.from_numpy(banks)).numpy()
    }
    other = independent(loaded)
    if other is not None:
        found["speechbrain"] = lambda banks: independent_tokens(other, torch.from_numpy(banks)).numpy()
    if with_onnx:
        found |= _onnx_sessions(ours, folder)
    return found


def _onnx_sessions(encoder: Any, folder: Path) -> Mapping[str, Callable[[np.ndarray], Any]]:
    import torch

    from earmark.models.acoustic.export import OPSET
    from earmark.models.onnx_files import session, traced
    from earmark.models.sequence.export import quantise

    free = {"fbank": {0: "batch", 1: "n_frames"}, "tokens": {0: "batch", 1: "n_tokens"}}
    example = torch.zeros(1, N_FRAMES, 128)
    path = folder / "fp32.onnx"
    path.write_bytes(traced(encoder, example, names=("fbank", "tokens"), free=free, opset=OPSET))
    opened = {"onnx fp32": session(path), "onnx int8": session(quantise(path, folder / "int8.onnx"))}

    def asked(one: Any) -> Callable[[np.ndarray], Any]:
        return lambda banks: one.run(["tokens"], {"fbank": banks})[0]

    return {name: asked(one) for name, one in opened.items()}


def _measured(
    contenders: Mapping[str, Callable[[np.ndarray], Any]], n_rows: int, repeat: int
) -> dict[str, Any]:
    """Seconds per window, how often as fast as ours each other is, and its largest difference to ours."""
    banks = np.random.default_rng(0).normal(size=(n_rows, N_FRAMES, 128)).astype(np.float32)
    own = contenders["earmark"](banks)
    differences = {name: float(np.abs(answer(banks) - own).max()) for name, answer in contenders.items()}
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(repeat):
        for name, answer in contenders.items():
            start = time.perf_counter()
            answer(banks)
            taken[name].append(time.perf_counter() - start)
    medians = {name: float(np.median(seconds)) for name, seconds in taken.items()}
    return {
        "batch": n_rows,
        "s_per_window": {name: round(median / n_rows, 4) for name, median in medians.items()},
        "speed_over_earmark": {
            name: round(medians["earmark"] / median, 3) for name, median in medians.items()
        },
        "difference": {name: float(f"{difference:.2g}") for name, difference in differences.items()},
    }


if __name__ == "__main__":
    main()
