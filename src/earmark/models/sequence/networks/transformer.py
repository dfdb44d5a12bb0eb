"""Transformer blocks: attention and dense layers, each after a layer norm, with stochastic depth.

References: Vaswani et al., "Attention is all you need", NeurIPS 2017; Huang et al., "Deep networks with stochastic
depth", ECCV 2016.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Attention", "TransformerBlock", "stack"]


class Attention(nn.Module):
    """Self-attention over tokens, shape (n, tokens, width)."""

    def __init__(self, width: int, n_heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.n_heads, self.size = n_heads, width // n_heads
        self.dropout = dropout
        self.query_key_value = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Attended tokens, same shape."""
        split = self.query_key_value(tokens).unflatten(-1, (3, self.n_heads, self.size))
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        attended = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout if self.training else 0.0
        )
        mixed: Tensor = self.project(attended.transpose(1, 2).flatten(2))
        return mixed


class TransformerBlock(nn.Module):
    """Attention, then two dense layers; in training a window skips a branch with probability `skip`."""

    def __init__(self, width: int, n_heads: int, hidden: int, dropout: float, skip: float) -> None:
        super().__init__()
        self.norm_attention = nn.LayerNorm(width)
        self.attention = Attention(width, n_heads, dropout)
        self.norm_dense = nn.LayerNorm(width)
        self.dense = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, width)
        )
        self.skip = skip

    def forward(self, tokens: Tensor) -> Tensor:
        """Tokens of the same shape."""
        tokens = tokens + self._thinned(self.attention(self.norm_attention(tokens)))
        return tokens + self._thinned(self.dense(self.norm_dense(tokens)))

    def _thinned(self, branch: Tensor) -> Tensor:
        if not self.training or self.skip == 0:
            return branch
        kept = torch.rand(len(branch), 1, 1, device=branch.device) >= self.skip
        return branch * kept / (1 - self.skip)


def stack(
    layers: int, width: int, n_heads: int, hidden: int, *, dropout: float, skip: float
) -> nn.Sequential:
    """Blocks whose `skip` grows linearly from 0 to the one given."""
    rates = [skip * layer / max(1, layers - 1) for layer in range(layers)]
    return nn.Sequential(*(TransformerBlock(width, n_heads, hidden, dropout, rate) for rate in rates))
