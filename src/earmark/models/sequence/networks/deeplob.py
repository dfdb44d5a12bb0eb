"""DeepLOB: convolutions that pair price with volume, bid with ask, then all levels; an inception block; an LSTM.

Reference: Zhang, Zohren, Roberts, "DeepLOB: deep convolutional neural networks for limit order books", IEEE Trans.
Signal Processing 67, 2019. Differences: convolutions along time keep the number of steps (padded at both ends), and
batch norm follows each.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from earmark.models.sequence.networks.books import normalised_levels, split_levels
from earmark.models.sequence.networks.heads import SequenceNetwork

__all__ = ["DeepLobNetwork"]

SLOPE = 0.01
"""Of the leaky rectifier."""


class DeepLobNetwork(SequenceNetwork):
    """``channels`` of the convolutions, twice as many in each inception branch; ``lstm_width`` of the LSTM."""

    positions: Tensor

    def __init__(
        self,
        window: int,
        n_columns: int,
        n_classes: int,
        *,
        positions: Sequence[int],
        channels: int,
        lstm_width: int,
        dropout: float,
    ) -> None:
        super().__init__(window, n_columns, n_classes, lstm_width, dropout)
        self.register_buffer("positions", torch.tensor(positions), persistent=False)
        self.n_levels = len(positions) // 4
        self.norm_input = nn.BatchNorm1d(len(positions))
        self.pairs = _reduced(1, channels, 2)
        self.sides = _reduced(channels, channels, 2)
        self.levels = _reduced(channels, channels, self.n_levels)
        branch = 2 * channels
        self.short = nn.Sequential(_along_time(channels, branch, 1), _along_time(branch, branch, 3))
        self.long = nn.Sequential(_along_time(channels, branch, 1), _along_time(branch, branch, 5))
        self.pooled = nn.Sequential(nn.MaxPool2d((3, 1), 1, (1, 0)), _along_time(channels, branch, 1))
        self.lstm = nn.LSTM(3 * branch, lstm_width, batch_first=True)

    def prepare(self, windows: Tensor) -> Tensor:
        """Normalised levels, shape (n, window, 4 * levels)."""
        books = split_levels(windows[..., self.positions])
        return normalised_levels(books).flatten(2)

    def encode(self, prepared: Tensor) -> Tensor:
        """Last state of the LSTM, shape (n, lstm_width)."""
        picture = self.norm_input(prepared.transpose(1, 2)).transpose(1, 2).unsqueeze(1)
        picture = self.levels(self.sides(self.pairs(picture)))
        branches = torch.cat([self.short(picture), self.long(picture), self.pooled(picture)], dim=1)
        last: Tensor = self.lstm(branches.squeeze(-1).transpose(1, 2))[0][:, -1]
        return last


def _along_time(n_in: int, n_out: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(n_in, n_out, (kernel, 1), padding=(kernel // 2, 0), bias=False),
        nn.BatchNorm2d(n_out),
        nn.LeakyReLU(SLOPE),
    )


def _reduced(n_in: int, n_out: int, columns: int) -> nn.Sequential:
    """`columns` neighbouring columns become one, then two convolutions along time."""
    joined = nn.Sequential(
        nn.Conv2d(n_in, n_out, (1, columns), stride=(1, columns), bias=False),
        nn.BatchNorm2d(n_out),
        nn.LeakyReLU(SLOPE),
    )
    return nn.Sequential(joined, _along_time(n_out, n_out, 3), _along_time(n_out, n_out, 3))
