"""Toy windows and an encoder for the tests of acoustic networks; as a script, a fit that another process kills.

python acoustic_fits.py CHECKPOINT STAGE: a line per epoch, slowly.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from earmark.models.acoustic.settings import HeadSettings
from earmark.models.acoustic.trainer import Validation, fine_tune, fit_head

DEVICES = ("ac", "fridge")
N_BINS, N_FRAMES, WIDTH = 12, 32, 8
QUICK = {"epochs": 4, "batch_size": 8, "lr_head": 3e-3}


class TinyEncoder(nn.Module):
    """Four frames to a token, then blocks with dropout; counts its calls, and the modes they ran in."""

    def __init__(self, n_blocks: int = 3) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(5)
            self.patch = nn.Linear(4 * N_BINS, WIDTH)
            self.layers = nn.ModuleList(
                nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.GELU(), nn.Dropout(0.1)) for _ in range(n_blocks)
            )
        self.n_calls = 0
        self.modes: set[tuple[bool, ...]] = set()

    @property
    def n_blocks(self) -> int:
        return len(self.layers)

    def blocks(self, last: int):
        return list(self.layers)[self.n_blocks - last :]

    def encode(self, fbank: torch.Tensor) -> torch.Tensor:
        self.n_calls += len(fbank)
        self.modes.add(tuple(module.training for module in (self.patch, *self.layers)))
        x = self.patch(fbank.reshape(len(fbank), -1, 4 * N_BINS))
        for layer in self.layers:
            x = x + layer(x)
        return x


def toy(n: int = 48, seed: int = 0, n_devices: int = 2):
    """Filter banks in which device k lifts bin 3 k, labels, and recordings of one state each."""
    rng = np.random.default_rng(seed)
    y = np.stack([(np.arange(n) >> k) % 2 for k in range(n_devices)], axis=1).astype(np.float32)
    banks = rng.normal(size=(n, N_FRAMES, N_BINS)).astype(np.float32)
    banks[:, :, : 3 * n_devices : 3] += y[:, None, :]
    recordings = ["".join(f"{int(on)}" for on in row) for row in y]
    return banks, y, recordings


def tokens_of(encoder: TinyEncoder, banks: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return encoder.eval().encode(torch.from_numpy(banks)).numpy()


def stage_1(checkpoint=None, on_epoch=None, **settings):
    encoder, (banks, y, recordings) = TinyEncoder(), toy()
    tokens = tokens_of(encoder, banks)
    return fit_head(
        tokens,
        y,
        devices=DEVICES,
        masks=(("ac", "fridge"),),
        settings=HeadSettings(**{**QUICK, **settings}),
        validation=Validation(tokens[::3], y[::3], recordings[::3]),
        on_epoch=on_epoch,
        checkpoint=checkpoint,
        encoder_sha256="ab",
    )


def stage_2(start=None, checkpoint=None, on_epoch=None, encoder=None, unfreeze=1, **settings):
    banks, y, recordings = toy()
    start = stage_1() if start is None else start
    found = HeadSettings(**{**QUICK, **settings}).stage_2(unfreeze)
    return fine_tune(
        start,
        TinyEncoder() if encoder is None else encoder,
        banks,
        y,
        masks=(("ac", "fridge"),),
        settings=found if "lr_blocks" not in settings else HeadSettings.of({**found.to_dict(), **settings}),
        validation=Validation(banks[::3], y[::3], recordings[::3]),
        on_epoch=on_epoch,
        checkpoint=checkpoint,
    )


def slowly(entry) -> None:
    print(entry["stage"], entry["epoch"], flush=True)
    time.sleep(0.2)


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    if sys.argv[2] == "1":
        stage_1(folder, slowly, epochs=12)
    else:
        stage_2(checkpoint=folder, on_epoch=slowly, epochs=12)
