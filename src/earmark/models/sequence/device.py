"""Where torch computes, and under which settings its numbers repeat."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from earmark.errors import UsageError

__all__ = ["on_device", "repeatable"]


def on_device(name: str) -> torch.device:
    """The device of that name; ``auto`` is the first GPU, else the CPU."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device is 'cuda' and torch finds no GPU; expected one. Choose 'cpu' or 'auto'.")
    return torch.device(name)


@contextmanager
def repeatable(seed: int, *, n_threads: int = 1, deterministic: bool = False) -> Iterator[None]:
    """Seeded, on so many threads; the caller's generators and settings are restored."""
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng():
        torch.set_num_threads(n_threads)
        torch.manual_seed(seed)
        if deterministic:
            os.environ.setdefault(
                "CUBLAS_WORKSPACE_CONFIG", ":4096:8"
            )  # what its deterministic kernels ask for
            torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(strict)
