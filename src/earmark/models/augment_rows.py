"""Rows of standardised columns made a little different for each epoch (torch).

In this order: whole blocks set to 0, which is their mean (as where a source of columns is absent); a gain per row;
Gaussian noise; then rows are mixed, with their targets in the same shares:

================= ======================================================================================
``cutmix``        whole blocks come from a partner row: what belongs together stays together
``cutmix_range``  one run of neighbouring columns comes from the partner, wherever blocks begin
``mixup``         the sum of both rows in shares
``none``          rows stay as they are
================= ======================================================================================

Shares are drawn from Beta(1, 1). Those of CutMix are then what was really taken, counted in columns.

References: Yun et al., "CutMix", ICCV 2019; Zhang et al., "mixup", ICLR 2018.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["MIXES", "Augmentation"]

MIXES = ("cutmix", "cutmix_range", "mixup", "none")


@dataclass(frozen=True)
class Augmentation:
    """What is done to the rows of a batch; random numbers come from torch's generator.

    Parameters
    ----------
    block : Tensor of int64, shape (n_columns,)
        The block of each column.
    mix : str
        One of `MIXES`.
    gain : float
        Rows are scaled by 1 - gain ... 1 + gain.
    noise : float
        Standard deviation of the noise; columns have 1.
    block_dropout : float
        Share of (row, block) pairs set to 0.
    """

    block: Tensor
    mix: str
    gain: float
    noise: float
    block_dropout: float

    def apply(self, X: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Changed rows, shape (n, n_columns), and their targets, shape (n, n_codes)."""
        if self.block_dropout:
            n_blocks = int(self.block.max()) + 1
            X = X * (torch.rand(len(X), n_blocks) >= self.block_dropout)[:, self.block]
        if self.gain:
            X = X * (1 + self.gain * (2 * torch.rand(len(X), 1) - 1))
        if self.noise:
            X = X + self.noise * torch.randn_like(X)
        if self.mix == "none" or len(X) < 2:
            return X, targets
        partner = torch.randperm(len(X))
        taken = self._taken(X.shape[1])
        share = taken.mean()
        return X + taken * (X[partner] - X), targets + share * (targets[partner] - targets)

    def _taken(self, n_columns: int) -> Tensor:
        """How much of each column comes from the partner, shape (n_columns,)."""
        share = float(torch.rand(()))  # Beta(1, 1)
        if self.mix == "mixup":
            return torch.full((n_columns,), share)
        taken = torch.zeros(n_columns)
        if self.mix == "cutmix_range":
            length = round(share * n_columns)
            start = int(torch.randint(n_columns - length + 1, ()))
            taken[start : start + length] = 1
            return taken
        # Blocks in random order, as long as no more than the share is taken: a block is never cut.
        for block in torch.randperm(int(self.block.max()) + 1):
            own = self.block == block
            if int(taken.sum()) + int(own.sum()) <= share * n_columns:
                taken[own] = 1
        return taken
