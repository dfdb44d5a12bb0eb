"""The networks on columns as torch modules: used to fit them; `earmark.models.column_forward` predicts without torch.

References: He et al., "Deep residual learning", CVPR 2016; Gorishniy et al., "Revisiting deep learning models for
tabular data" (FT-Transformer), NeurIPS 2021; Vaswani et al., "Attention is all you need", NIPS 2017 (post-norm).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from earmark.models.column_forward import NORM_EPSILON, head_widths
from earmark.models.estimator import Ints

__all__ = ["FTTransformerNetwork", "HybridNetwork", "ResidualNetwork"]

Params = Mapping[str, Any]
_LARGEST_DROPOUT = 0.5


def _dropout(share: float, params: Params) -> nn.Dropout:
    return nn.Dropout(min(share * params["dropout_scale"], _LARGEST_DROPOUT))


class _NormedLayer(nn.Module):
    """Linear, batch norm, ReLU, dropout."""

    def __init__(self, n_in: int, n_out: int, dropout: nn.Dropout) -> None:
        super().__init__()
        self.linear, self.norm = nn.Linear(n_in, n_out), nn.BatchNorm1d(n_out, eps=NORM_EPSILON)
        self.dropout = dropout

    def forward(self, X: Tensor) -> Tensor:
        hidden: Tensor = self.dropout(functional.relu(self.norm(self.linear(X))))
        return hidden


class _Trunk(nn.Module):
    """A wide layer, then residual blocks of the same width."""

    def __init__(self, n_features: int, params: Params) -> None:
        super().__init__()
        width = params["hidden"]
        self.enter = _NormedLayer(n_features, width, _dropout(0.30, params))
        self.blocks = nn.ModuleList(
            _NormedLayer(width, width, _dropout(0.25, params)) for _ in range(params["n_blocks"])
        )

    def forward(self, X: Tensor) -> Tensor:
        hidden: Tensor = self.enter(X)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        return hidden


class ResidualNetwork(nn.Module):
    """Trunk, then two ever narrower layers and the logits."""

    def __init__(self, n_features: int, n_codes: int, block: Ints, params: Params) -> None:
        super().__init__()
        self.trunk = _Trunk(n_features, params)
        widths = (params["hidden"], *head_widths(params["hidden"]), n_codes)
        self.head = nn.ModuleList(nn.Linear(a, b) for a, b in pairwise(widths))
        self.dropouts = nn.ModuleList(_dropout(share, params) for share in (0.20, 0.15))

    def forward(self, X: Tensor) -> Tensor:
        """Logits, shape (n, n_codes)."""
        hidden: Tensor = self.trunk(X)
        for linear, dropout in zip(self.head, self.dropouts, strict=False):
            hidden = dropout(functional.relu(linear(hidden)))
        logits: Tensor = self.head[-1](hidden)
        return logits


class _Tokens(nn.Module):
    """One linear token per block of columns, behind a learned one that stands for the answer."""

    def __init__(self, block: Ints, width: int) -> None:
        super().__init__()
        self.columns = [torch.from_numpy((block == b).nonzero()[0]) for b in range(int(block.max()) + 1)]
        bound = torch.tensor([1 / math.sqrt((block == b).sum()) for b in block])
        self.weight = nn.Parameter((2 * torch.rand(len(block), width) - 1) * bound[:, None].float())
        self.bias = nn.Parameter(torch.zeros(len(self.columns), width))
        self.answer = nn.Parameter(0.02 * torch.randn(width))

    def forward(self, X: Tensor) -> Tensor:
        parts = [X[:, own] @ self.weight[own] for own in self.columns]
        tokens = torch.stack(parts, dim=1) + self.bias
        return torch.cat([self.answer.expand(len(X), 1, -1), tokens], dim=1)


class _EncoderLayer(nn.Module):
    """Self-attention and a wide layer, each added to its input and then normed."""

    def __init__(self, params: Params) -> None:
        super().__init__()
        width = params["width"]
        self.n_heads = params["n_heads"]
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width, eps=NORM_EPSILON) for _ in range(2))
        self.dropout = _dropout(0.1, params)

    def forward(self, X: Tensor) -> Tensor:
        X = self.norms[0](X + self.dropout(self._attended(X)))
        wide = self.dropout(functional.gelu(self.wide(X)))
        normed: Tensor = self.norms[1](X + self.dropout(self.narrow(wide)))
        return normed

    def _attended(self, X: Tensor) -> Tensor:
        n, n_tokens, width = X.shape
        split = self.mix(X).reshape(n, n_tokens, 3, self.n_heads, width // self.n_heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        odds = torch.softmax(query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1]), dim=-1)
        joined = (self.dropout(odds) @ value).permute(0, 2, 1, 3).reshape(n, n_tokens, width)
        attended: Tensor = self.out(joined)
        return attended


class _Encoder(nn.Module):
    """Tokens through the layers; the answer's token comes out, shape (n, width)."""

    def __init__(self, block: Ints, params: Params) -> None:
        super().__init__()
        self.tokens = _Tokens(block, params["width"])
        self.layers = nn.ModuleList(_EncoderLayer(params) for _ in range(params["n_layers"]))

    def forward(self, X: Tensor) -> Tensor:
        tokens: Tensor = self.tokens(X)
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens[:, 0]


class FTTransformerNetwork(nn.Module):
    """Encoder, layer norm, logits."""

    def __init__(self, n_features: int, n_codes: int, block: Ints, params: Params) -> None:
        super().__init__()
        self.encoder = _Encoder(block, params)
        self.norm = nn.LayerNorm(params["width"], eps=NORM_EPSILON)
        self.logits = nn.Linear(params["width"], n_codes)

    def forward(self, X: Tensor) -> Tensor:
        """Logits, shape (n, n_codes)."""
        logits: Tensor = self.logits(self.norm(self.encoder(X)))
        return logits


class HybridNetwork(nn.Module):
    """The trunk's and the encoder's outputs side by side, normed, one hidden layer, logits."""

    def __init__(self, n_features: int, n_codes: int, block: Ints, params: Params) -> None:
        super().__init__()
        joint = params["hidden"] + params["width"]
        self.trunk, self.encoder = _Trunk(n_features, params), _Encoder(block, params)
        self.norm = nn.LayerNorm(joint, eps=NORM_EPSILON)
        self.head, self.logits = nn.Linear(joint, joint // 2), nn.Linear(joint // 2, n_codes)
        self.dropout = nn.Dropout(0.2)

    def forward(self, X: Tensor) -> Tensor:
        """Logits, shape (n, n_codes)."""
        joint = self.norm(torch.cat([self.trunk(X), self.encoder(X)], dim=1))
        logits: Tensor = self.logits(self.dropout(functional.relu(self.head(joint))))
        return logits
