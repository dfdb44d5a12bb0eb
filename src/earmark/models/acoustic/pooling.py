"""Tokens of a window folded into one vector; padded tokens count for nothing.

Conventions: tokens (batch, n_tokens, width); a mask (batch, n_tokens) is True where a token is real, None where all
are.

Reference: Yang et al., "Hierarchical attention networks for document classification", NAACL 2016; here with a linear
score.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["TokenPooling", "masked_max", "masked_mean"]


class TokenPooling(nn.Module):
    """One vector of the tokens.

    Parameters
    ----------
    width : int
        Of a token.
    kind : str
        ``attention``: a linear score per token, softmax over tokens, weighted sum. ``mean``. ``mean+max``: both, in a
        row.
    """

    def __init__(self, width: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.width_out = 2 * width if kind == "mean+max" else width
        self.score = nn.Linear(width, 1) if kind == "attention" else None

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        """Vectors, shape (batch, width_out)."""
        if self.score is not None:
            return self._attended(tokens, self.score(tokens).squeeze(-1), mask)
        mean = masked_mean(tokens, mask)
        return mean if self.kind == "mean" else torch.cat([mean, masked_max(tokens, mask)], dim=-1)

    @staticmethod
    def _attended(tokens: Tensor, scores: Tensor, mask: Tensor | None) -> Tensor:
        if mask is not None:
            scores = scores.masked_fill(~mask, -torch.inf)
        return torch.einsum("bn,bnw->bw", scores.softmax(dim=-1), tokens)


def masked_mean(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the real tokens, shape (batch, width)."""
    if mask is None:
        return tokens.mean(dim=1)
    real = mask.unsqueeze(-1).to(tokens.dtype)
    return (tokens * real).sum(dim=1) / real.sum(dim=1)


def masked_max(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Largest of the real tokens in each component, shape (batch, width)."""
    if mask is not None:
        tokens = tokens.masked_fill(~mask.unsqueeze(-1), -torch.inf)
    return tokens.amax(dim=1)
