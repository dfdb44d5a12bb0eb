"""A small convolutional network on a filter bank: 24 thousand weights for two devices.

Conventions: filter banks (batch, n_frames, n_bins), normalised, frames of 10 ms; a mask (batch, n_frames) is True where
a frame is real. Three halvings leave one step per 80 ms; at least 8 frames are needed.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

__all__ = ["LEAST_FRAMES", "ConvolutionNetwork"]

CHANNELS = (16, 32, 64)
DROPOUT = 0.2
LEAST_FRAMES = 2 ** len(CHANNELS)


class ConvolutionNetwork(nn.Module):
    """Blocks of 3x3 convolution, batch norm, ReLU and 2x2 max pooling; then mean and maximum, dropout, linear."""

    def __init__(self, n_devices: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2)
            )
            for n_in, n_out in zip((1, *CHANNELS), CHANNELS, strict=False)
        )
        self.dropout = nn.Dropout(DROPOUT)
        self.head = nn.Linear(2 * CHANNELS[-1], n_devices)
        # Channels last in memory: the processor's convolutions of few channels are two to three times as fast.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, fbanks: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits, shape (batch, n_devices)."""
        x = fbanks.unsqueeze(1)
        for block in self.blocks:
            x = block(x)
            if mask is not None:
                mask = mask[:, 1::2]  # a pooled frame is real if both of its halves are, as alone
                x = x * mask[:, None, :, None]  # what follows a window is zeros to the next block, as alone
        logits: Tensor = self.head(self.dropout(_mean_and_max(x, mask)))
        return logits


def _mean_and_max(x: Tensor, mask: Tensor | None) -> Tensor:
    """Over time and frequency, shape (batch, 2 * channels); what is masked is 0, and no value is below."""
    n = x.shape[2] if mask is None else mask.sum(dim=1, keepdim=True)
    mean = x.sum(dim=(2, 3)) / (n * x.shape[3])
    return torch.cat([mean, x.amax(dim=(2, 3))], dim=1)
