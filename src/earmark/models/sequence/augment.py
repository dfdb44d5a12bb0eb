"""Augmentation of training batches, after inputs are prepared: Gaussian noise and MixUp.

Reference: Zhang et al., "mixup: beyond empirical risk minimization", ICLR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

__all__ = ["Mixed", "add_noise", "mix_up"]


@dataclass(frozen=True)
class Mixed:
    """A batch in which row i is ``share`` of itself and the rest row ``partner[i]``; no partner, no mixing."""

    inputs: Tensor
    share: float = 1.0
    partner: Tensor | None = None


def add_noise(inputs: Tensor, deviation: float) -> Tensor:
    """Inputs with independent noise of that standard deviation, drawn from torch's generator."""
    return inputs + deviation * torch.randn_like(inputs) if deviation else inputs


def mix_up(inputs: Tensor, *, alpha: float, probability: float, rng: np.random.Generator) -> Mixed:
    """With `probability`, mix each row with another of the batch, in a share drawn from Beta(alpha, alpha).

    The losses of both rows' targets are to be mixed in the same share.
    """
    if rng.random() >= probability or alpha == 0:
        return Mixed(inputs)
    share = float(rng.beta(alpha, alpha))
    partner = torch.from_numpy(rng.permutation(len(inputs))).to(inputs.device)
    return Mixed(share * inputs + (1 - share) * inputs[partner], share, partner)
