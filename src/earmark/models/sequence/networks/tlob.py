"""A transformer of raw order books at three time scales.

Each step's levels go through convolutions along the levels, best to worst; with the auxiliary features they become the
step's token. Means over the last 5 and 15 steps give tokens of slower scales; the transformer reads all of them.

Reference: Berti and Kasneci, "TLOB: a novel transformer model with dual attention for price trend prediction with limit
order book data", arXiv:2502.15757, 2025 (the idea of a transformer over book levels; the layout here is its own).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from earmark.models.sequence.networks.books import (
    AUXILIARY,
    auxiliary_features,
    normalised_levels,
    split_levels,
)
from earmark.models.sequence.networks.heads import SequenceNetwork
from earmark.models.sequence.networks.transformer import stack

__all__ = ["TlobNetwork"]

SCALES = (1, 5, 15)
"""Steps of time per token."""

CONVOLUTIONS = (32, 64, 128)
"""Channels along the levels."""


class TlobNetwork(SequenceNetwork):
    """See the module's description; ``positions`` are the level columns in the windows."""

    positions: Tensor

    def __init__(
        self,
        window: int,
        n_columns: int,
        n_classes: int,
        *,
        positions: Sequence[int],
        width: int,
        layers: int,
        n_heads: int,
        skip: float,
        dropout: float,
    ) -> None:
        super().__init__(window, n_columns, n_classes, width, dropout)
        self.register_buffer("positions", torch.tensor(positions), persistent=False)
        self.n_levels = len(positions) // 4
        self.norm_input = nn.BatchNorm1d(len(positions) + len(AUXILIARY))
        steps = zip((4, *CONVOLUTIONS[:-1]), CONVOLUTIONS, strict=True)
        self.levels = nn.Sequential(
            *(layer for a, b in steps for layer in (nn.Conv1d(a, b, 3, padding=1), nn.GELU()))
        )
        self.embed = nn.Linear(CONVOLUTIONS[-1] + len(AUXILIARY), width)
        self.scales = [scale for scale in SCALES if scale <= window]
        n_tokens = sum(window // scale for scale in self.scales)
        self.position = nn.Parameter(torch.empty(1, n_tokens, width))
        nn.init.trunc_normal_(self.position, std=0.02)
        self.blocks = stack(layers, width, n_heads, 3 * width, dropout=dropout / 2, skip=skip)
        self.norm = nn.LayerNorm(width)

    def prepare(self, windows: Tensor) -> Tensor:
        """Normalised levels beside auxiliary features, shape (n, window, 4 * levels + 8)."""
        books = split_levels(windows[..., self.positions])
        return torch.cat([normalised_levels(books).flatten(2), auxiliary_features(books)], dim=-1)

    def encode(self, prepared: Tensor) -> Tensor:
        """Mean over tokens and the last step's, shape (n, width)."""
        normed = self.norm_input(prepared.transpose(1, 2)).transpose(1, 2)
        levels, auxiliary = normed[..., : 4 * self.n_levels], normed[..., 4 * self.n_levels :]
        pictures = levels.flatten(0, 1).unflatten(1, (self.n_levels, 4)).transpose(1, 2)
        seen = self.levels(pictures).mean(dim=-1).unflatten(0, (-1, self.window))
        tokens = self.embed(torch.cat([seen, auxiliary], dim=-1))
        tokens = torch.cat([self._slowed(tokens, scale) for scale in self.scales], dim=1)
        read: Tensor = self.norm(self.blocks(tokens + self.position))
        return read.mean(dim=1) + read[:, self.window - 1]

    def _slowed(self, tokens: Tensor, scale: int) -> Tensor:
        """Means over `scale` steps, counted back from the last; what is left over at the start is not read."""
        if scale == 1:
            return tokens
        kept = tokens[:, self.window % scale :].transpose(1, 2)
        return functional.avg_pool1d(kept, scale).transpose(1, 2)
