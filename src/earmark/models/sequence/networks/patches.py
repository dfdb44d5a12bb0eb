"""A vision transformer that reads a window as a picture of patches: some steps of some columns each.

Reference: Dosovitskiy et al., "An image is worth 16x16 words", ICLR 2021.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from earmark.models.sequence.networks.heads import SequenceNetwork
from earmark.models.sequence.networks.transformer import stack

__all__ = ["PatchNetwork"]

PATCH_STEPS, PATCH_COLUMNS = 5, 16
"""A patch: steps of time by columns."""


class PatchNetwork(SequenceNetwork):
    """Patches, a class token and learned positions; windows are padded with zeros, in time at the start."""

    def __init__(
        self,
        window: int,
        n_columns: int,
        n_classes: int,
        *,
        width: int,
        layers: int,
        n_heads: int,
        skip: float,
        dropout: float,
    ) -> None:
        super().__init__(window, n_columns, n_classes, width, dropout)
        self.padding = (0, -n_columns % PATCH_COLUMNS, -window % PATCH_STEPS, 0)
        n_patches = -(-window // PATCH_STEPS) * -(-n_columns // PATCH_COLUMNS)
        self.embed = nn.Linear(PATCH_STEPS * PATCH_COLUMNS, width)
        self.token = nn.Parameter(torch.zeros(1, 1, width))
        self.position = nn.Parameter(torch.empty(1, n_patches + 1, width))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.blocks = stack(layers, width, n_heads, 4 * width, dropout=0.0, skip=skip)
        self.norm = nn.LayerNorm(width)

    def encode(self, prepared: Tensor) -> Tensor:
        """The class token, shape (n, width)."""
        picture = functional.pad(prepared, self.padding)
        n, steps, columns = picture.shape
        patches = picture.reshape(
            n, steps // PATCH_STEPS, PATCH_STEPS, columns // PATCH_COLUMNS, PATCH_COLUMNS
        )
        patches = patches.transpose(2, 3).flatten(3).flatten(1, 2)
        tokens = torch.cat([self.token.expand(patches.shape[0], -1, -1), self.embed(patches)], dim=1)
        encoding: Tensor = self.norm(self.blocks(tokens + self.position)[:, 0])
        return encoding
