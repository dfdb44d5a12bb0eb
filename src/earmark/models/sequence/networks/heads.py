"""What all networks share: preparation of inputs, the three heads, and the one output that is read and exported.

A network is prepared input -> encoding -> heads. `prepare` turns raw windows into what is learned from (book levels
into basis points); noise and mixing in training apply after it, so that prices of two symbols are never mixed.

The output is one matrix, shape (n, n_classes + 2): probabilities, confidence, expected return.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from earmark.models.sequence.base import ABSENT_LOGIT

__all__ = ["Heads", "Outputs", "SequenceNetwork"]


class Outputs(NamedTuple):
    """Of n windows: logits (n, n_classes), logit of the confidence (n,), return in units of its scale (n,)."""

    logits: Tensor
    confidence: Tensor
    scaled_return: Tensor


class Heads(nn.Module):
    """Three linear maps of one encoding."""

    def __init__(self, width: int, n_classes: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.direction = nn.Linear(width, n_classes)
        self.confidence = nn.Linear(width, 1)
        self.expected_return = nn.Linear(width, 1)

    def forward(self, encoding: Tensor) -> Outputs:
        """Outputs of encodings, shape (n, width)."""
        kept = self.dropout(encoding)
        return Outputs(
            self.direction(kept), self.confidence(kept).squeeze(-1), self.expected_return(kept).squeeze(-1)
        )


class SequenceNetwork(nn.Module):
    """Base of the networks; ``width`` of the encoding is the subclass's.

    Parameters
    ----------
    window, n_columns : int
        Rows and columns of a window; others are refused.
    n_classes : int
    width : int
        Of the encoding.
    dropout : float
    """

    absent: Tensor
    return_scale: Tensor

    def __init__(self, window: int, n_columns: int, n_classes: int, width: int, dropout: float) -> None:
        super().__init__()
        self.window, self.n_columns = window, n_columns
        self.heads = Heads(width, n_classes, dropout)
        self.register_buffer("absent", torch.zeros(n_classes))
        self.register_buffer("return_scale", torch.ones(()))

    def set_targets(self, present: list[int], return_scale: float) -> None:
        """Note which classes training has, and the unit of the return head."""
        self.absent.fill_(ABSENT_LOGIT)
        self.absent[present] = 0.0
        self.return_scale.fill_(return_scale)

    def prepare(self, windows: Tensor) -> Tensor:
        """What is learned from, given windows of shape (n, window, n_columns)."""
        return windows

    @abstractmethod
    def encode(self, prepared: Tensor) -> Tensor:
        """Encoding, shape (n, width)."""

    def answer(self, prepared: Tensor) -> Outputs:
        """What the heads say of prepared windows."""
        outputs: Outputs = self.heads(self.encode(prepared))
        return outputs

    def forward(self, windows: Tensor) -> Tensor:
        """Probabilities, confidence and expected return of raw windows, shape (n, n_classes + 2)."""
        outputs = self.answer(self.prepare(windows))
        probabilities = torch.softmax(outputs.logits + self.absent, dim=1)
        confidence = torch.sigmoid(outputs.confidence).unsqueeze(1)
        expected = (outputs.scaled_return * self.return_scale).unsqueeze(1)
        return torch.cat([probabilities, confidence, expected], dim=1)
