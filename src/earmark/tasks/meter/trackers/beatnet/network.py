"""The network of BeatNet: a convolution over bands, a linear layer, two recurrent layers, three classes.

Needs torch. The names of its tensors are those of the published weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earmark.models.sequence.device import repeatable
from earmark.tasks.meter.trackers.beatnet.spectrogram import N_FEATURES

KERNEL = 10
CHANNELS = 2
WIDTH = 150
N_LAYERS = 2
N_CLASSES = 3  # beat, downbeat, neither


class BeatNet(nn.Module):
    """Features (n_frames, 272) to logits (n_frames, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(1, CHANNELS, KERNEL)
        self.linear0 = nn.Linear(CHANNELS * ((N_FEATURES - KERNEL + 1) // 2), WIDTH)
        self.lstm = nn.LSTM(WIDTH, WIDTH, N_LAYERS, batch_first=True)
        self.linear = nn.Linear(WIDTH, N_CLASSES)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        convolved = torch.relu(self.conv1(features[:, None, :]))
        pooled = nn.functional.max_pool1d(convolved, 2).flatten(1)
        heard, _ = self.lstm(self.linear0(pooled)[None])
        logits: torch.Tensor = self.linear(heard[0])
        return logits


def beatnet_activation(features: NDArray[np.float32], state: Mapping[str, Any]) -> NDArray[np.float64]:
    """Probabilities of beat and downbeat, float64, shape (n_frames, 2).

    Raises
    ------
    RuntimeError
        From torch, if the names or shapes of the tensors are others.
    """
    network = BeatNet()
    network.load_state_dict(dict(state))
    network.eval()
    with torch.inference_mode(), repeatable(0):
        probability = torch.softmax(network(torch.from_numpy(features)), dim=1)
    return probability[:, :2].numpy().astype(np.float64)
