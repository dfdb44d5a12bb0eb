"""The network of Beat This!: convolutions with attention over frequency and time, then a rotary transformer.

Needs torch. The names of its tensors are those of the published checkpoints, of which there are two sizes.

Conventions: spectrograms (batch, n_frames, 128) to logits of beat and downbeat, each (batch, n_frames); a downbeat is a
beat, so the beat's logit is the sum of both outputs. In the front end tensors are (batch, channels, bands, frames).

References: F. Foscarin, J. Schlueter, G. Widmer, ISMIR 2024; J. Su et al., RoFormer, 2021 (rotary positions, pairs of
neighbouring channels, base 10 000); B. Zhang, R. Sennrich, Root mean square layer normalization, 2019.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from earmark.tasks.meter.trackers.beat_this.spectrogram import N_MELS

HEAD_WIDTH = 32
STEM_CHANNELS = 32
N_FRONT_BLOCKS = 3
ROTARY_BASE = 10_000.0


class RMSNorm(nn.Module):
    """Each vector scaled to the length of its learned gain."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.scale = width**0.5
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = nn.functional.normalize(x, dim=-1) * self.scale * self.gamma
        return out


class Rotary(nn.Module):
    """Turns pairs of neighbouring channels by an angle that grows with the place in the sequence."""

    def __init__(self) -> None:
        super().__init__()
        exponents = torch.arange(0, HEAD_WIDTH, 2)[: HEAD_WIDTH // 2].float() / HEAD_WIDTH
        self.freqs = nn.Parameter(1.0 / ROTARY_BASE**exponents, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        angles = torch.arange(x.shape[-2], device=x.device, dtype=self.freqs.dtype)[:, None] * self.freqs
        cos, sin = angles.cos().repeat_interleave(2, -1), angles.sin().repeat_interleave(2, -1)
        even, odd = x[..., 0::2], x[..., 1::2]
        turned = torch.stack((-odd, even), dim=-1).flatten(-2)
        return x * cos + turned * sin


class FeedForward(nn.Module):
    """Two layers, four times as wide between, normed before."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            RMSNorm(width),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Identity(),  # dropout of the training; the names of the layers count on it
            nn.Linear(4 * width, width),
            nn.Identity(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.net(x)
        return out


class Attention(nn.Module):
    """Self-attention with rotary positions and a gate for each head, normed before."""

    def __init__(self, width: int, rotary: Rotary) -> None:
        super().__init__()
        self.n_heads = width // HEAD_WIDTH
        self.rotary_embed = rotary
        self.norm = RMSNorm(width)
        self.to_qkv = nn.Linear(width, 3 * width, bias=False)
        self.to_gates = nn.Linear(width, self.n_heads)
        self.to_out = nn.Sequential(nn.Linear(width, width, bias=False), nn.Identity())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(x)
        split = self.to_qkv(x).unflatten(-1, (3, self.n_heads, HEAD_WIDTH)).permute(2, 0, 3, 1, 4)
        query, key, value = split
        heard = nn.functional.scaled_dot_product_attention(
            self.rotary_embed(query), self.rotary_embed(key), value
        )
        gated = heard * self.to_gates(x).sigmoid().transpose(1, 2)[..., None]
        out: torch.Tensor = self.to_out(gated.transpose(1, 2).flatten(2))
        return out


class PartialTransformer(nn.Module):
    """Attention over the bands of each frame, then over the frames of each band."""

    def __init__(self, channels: int, rotary: Rotary) -> None:
        super().__init__()
        self.attnF, self.ffF = Attention(channels, rotary), FeedForward(channels)
        self.attnT, self.ffT = Attention(channels, rotary), FeedForward(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch = len(x)
        bands = x.permute(0, 3, 2, 1).flatten(0, 1)
        bands = bands + self.attnF(bands)
        bands = bands + self.ffF(bands)
        frames = bands.unflatten(0, (batch, -1)).transpose(1, 2).flatten(0, 1)
        frames = frames + self.attnT(frames)
        frames = frames + self.ffT(frames)
        out: torch.Tensor = frames.unflatten(0, (batch, -1)).permute(0, 3, 1, 2)
        return out


class FrontEnd(nn.Module):
    """Spectrogram (batch, n_frames, 128) to (batch, n_frames, width)."""

    def __init__(self, width: int, rotary: Rotary) -> None:
        super().__init__()
        channels = STEM_CHANNELS * 2**N_FRONT_BLOCKS
        n_bands = N_MELS // 4 // 2**N_FRONT_BLOCKS
        self.stem = Stem()
        self.blocks = nn.Sequential(
            *(_front_block(STEM_CHANNELS * 2**i, rotary) for i in range(N_FRONT_BLOCKS))
        )
        self.linear = nn.Linear(channels * n_bands, width)

    def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
        x = self.blocks(self.stem(spectrogram))
        out: torch.Tensor = self.linear(x.permute(0, 3, 1, 2).flatten(2))
        return out


class Stem(nn.Module):
    """Spectrogram (batch, n_frames, 128) to (batch, 32, 32, n_frames)."""

    def __init__(self) -> None:
        super().__init__()
        self.bn1d = nn.BatchNorm1d(N_MELS)
        self.conv2d = nn.Conv2d(1, STEM_CHANNELS, (4, 3), stride=(4, 1), padding=(0, 1), bias=False)
        self.bn2d = nn.BatchNorm2d(STEM_CHANNELS)

    def forward(self, spectrogram: torch.Tensor) -> torch.Tensor:
        scaled = self.bn1d(spectrogram.transpose(1, 2))[:, None]
        return nn.functional.gelu(self.bn2d(self.conv2d(scaled)))


def _front_block(channels: int, rotary: Rotary) -> nn.Sequential:
    """Attention, then half the bands and twice the channels."""
    return nn.Sequential(
        OrderedDict(
            partial=PartialTransformer(channels, rotary),
            conv2d=nn.Conv2d(channels, 2 * channels, (2, 3), stride=(2, 1), padding=(0, 1), bias=False),
            norm=nn.BatchNorm2d(2 * channels),
            activation=nn.GELU(),
        )
    )


class Transformer(nn.Module):
    """Blocks of attention and feed-forward layers, normed at the end."""

    def __init__(self, width: int, n_layers: int, rotary: Rotary) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([Attention(width, rotary), FeedForward(width)]) for _ in range(n_layers)
        )
        self.norm = RMSNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        attention: nn.Module
        feed_forward: nn.Module
        for attention, feed_forward in self.layers:  # type: ignore[misc]
            x = x + attention(x)
            x = x + feed_forward(x)
        out: torch.Tensor = self.norm(x)
        return out


class SumHead(nn.Module):
    """Logits of beat and downbeat; what speaks for a downbeat speaks for a beat."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.beat_downbeat_lin = nn.Linear(width, 2)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        beat, downbeat = self.beat_downbeat_lin(x).unbind(-1)
        return beat + downbeat, downbeat


class BeatThis(nn.Module):
    """The whole network; `width` is 512 in the final checkpoints, 128 in the small ones."""

    def __init__(self, width: int = 512, n_layers: int = 6) -> None:
        super().__init__()
        rotary = Rotary()
        self.frontend = FrontEnd(width, rotary)
        self.transformer_blocks = Transformer(width, n_layers, rotary)
        self.task_heads = SumHead(width)

    def forward(self, spectrogram: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        beat, downbeat = self.task_heads(self.transformer_blocks(self.frontend(spectrogram)))
        return beat, downbeat


def load_beat_this(checkpoint: Mapping[str, Any]) -> BeatThis:
    """The network of a published checkpoint, ready to answer: its size follows from its tensors.

    Raises
    ------
    KeyError, RuntimeError
        Tensors are missing or have other shapes.
    """
    state = {_published(name): value for name, value in checkpoint.get("state_dict", checkpoint).items()}
    width = state["task_heads.beat_downbeat_lin.weight"].shape[1]
    numbers = [re.match(r"transformer_blocks\.layers\.(\d+)\.", name) for name in state]
    n_layers = 1 + max(int(number[1]) for number in numbers if number)
    network = BeatThis(width, n_layers)
    network.load_state_dict(state)
    return network.eval()


def _published(name: str) -> str:
    """Without the prefixes of the trainer and of compilation."""
    return name.replace("_orig_mod.", "").removeprefix("model.")
