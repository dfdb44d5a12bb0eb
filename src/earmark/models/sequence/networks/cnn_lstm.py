"""Convolutions over time, a bidirectional LSTM, and attention over what it says.

Columns are channels and kernels slide along time. Three residual blocks with growing kernels halve the time axis each;
the LSTM and the attention then read the shortened sequence, summarised by its mean and its last step.

References: He et al., "Deep residual learning for image recognition", CVPR 2016; Hochreiter and Schmidhuber, "Long
short-term memory", Neural Computation 9, 1997.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from earmark.models.sequence.networks.heads import SequenceNetwork
from earmark.models.sequence.networks.transformer import Attention

__all__ = ["CnnLstmNetwork", "ResidualBlock"]

KERNELS = (3, 5, 7)
"""Of the blocks, in turn."""


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut of width 1, then every second step of time: (n, channels, steps)."""

    def __init__(self, n_in: int, n_out: int, kernel: int) -> None:
        super().__init__()
        self.first = nn.Conv1d(n_in, n_out, kernel, padding=kernel // 2, bias=False)
        self.second = nn.Conv1d(n_out, n_out, kernel, padding=kernel // 2, bias=False)
        self.shortcut = nn.Conv1d(n_in, n_out, 1)
        self.norm_first, self.norm_second = nn.BatchNorm1d(n_out), nn.BatchNorm1d(n_out)

    def forward(self, series: Tensor) -> Tensor:
        """Series of half the steps."""
        hidden = functional.relu(self.norm_first(self.first(series)))
        hidden = functional.relu(self.norm_second(self.second(hidden)) + self.shortcut(series))
        # A pool of a single step would leave none.
        return functional.max_pool1d(hidden, 2) if hidden.shape[-1] > 1 else hidden


class CnnLstmNetwork(SequenceNetwork):
    """See the module's description; ``channels`` has one width per block."""

    def __init__(
        self,
        window: int,
        n_columns: int,
        n_classes: int,
        *,
        channels: Sequence[int],
        lstm_width: int,
        lstm_layers: int,
        n_heads: int,
        dropout: float,
    ) -> None:
        width = 2 * lstm_width
        super().__init__(window, n_columns, n_classes, 2 * width, dropout)
        widths = [n_columns, *channels]
        self.blocks = nn.Sequential(
            *(
                ResidualBlock(a, b, KERNELS[min(place, len(KERNELS) - 1)])
                for place, (a, b) in enumerate(pairwise(widths))
            )
        )
        self.lstm = nn.LSTM(
            channels[-1],
            lstm_width,
            lstm_layers,
            batch_first=True,
            bidirectional=True,
            dropout=dropout if lstm_layers > 1 else 0.0,
        )
        self.norm = nn.LayerNorm(width)
        self.attention = Attention(width, n_heads)

    def encode(self, prepared: Tensor) -> Tensor:
        """Mean and last step of the attended sequence, shape (n, 4 * lstm_width)."""
        short = self.blocks(prepared.transpose(1, 2)).transpose(1, 2)
        hidden = self.norm(self.lstm(short)[0])
        hidden = hidden + self.attention(hidden)
        return torch.cat([hidden.mean(dim=1), hidden[:, -1]], dim=1)
