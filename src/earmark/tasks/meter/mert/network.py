"""The network of MERT: strided convolutions over samples, then a transformer as in HuBERT.

Needs torch. The names of its tensors are those of the published MERT-v1-95M.

Conventions: samples (batch, n_samples) at 24 kHz, each row of mean 0 and variance 1, to one frame per 320 samples. What
enters the first transformer layer is no output: row 0 is what the first layer gives.

References: Y. Li et al., MERT, ICLR 2024; W.-N. Hsu et al., HuBERT, 2021; T. Salimans, D. Kingma, Weight
normalization, 2016.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

__all__ = ["Mert", "load_mert"]

KERNELS = (10, 3, 3, 3, 3, 2, 2)
STRIDES = (5, 2, 2, 2, 2, 2, 2)
N_HEADS = 12
POSITION_KERNEL = 128
POSITION_GROUPS = 16

_POSITION = "encoder.pos_conv_embed.conv"
_WEIGHT_NORM = (
    (f"{_POSITION}.weight_g", f"{_POSITION}.weight_v"),
    (f"{_POSITION}.parametrizations.weight.original0", f"{_POSITION}.parametrizations.weight.original1"),
)
_OF_TRAINING = ("masked_spec_embed",)


class Convolution(nn.Module):
    """A convolution without bias; the first one is normed over time, channel by channel."""

    def __init__(self, n_in: int, n_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(n_in, n_out, kernel, stride, bias=False)
        self.layer_norm = nn.GroupNorm(n_out, n_out) if n_in == 1 else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.gelu(self.layer_norm(self.conv(x)))


class Convolutions(nn.Module):
    """Samples to frames, (batch, channels, n_frames)."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        widths = (1, *[n_channels] * (len(KERNELS) - 1))
        self.conv_layers = nn.ModuleList(
            Convolution(n_in, n_channels, kernel, stride)
            for n_in, kernel, stride in zip(widths, KERNELS, STRIDES, strict=True)
        )

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        x = samples[:, None]
        for layer in self.conv_layers:
            x = layer(x)
        return x


class Projection(nn.Module):
    """From the channels of the convolutions to the width of the transformer."""

    def __init__(self, n_channels: int, width: int) -> None:
        super().__init__()
        self.layer_norm = nn.LayerNorm(n_channels)
        self.projection = nn.Linear(n_channels, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.projection(self.layer_norm(x))
        return out


class Position(nn.Module):
    """Where a frame stands, by a convolution over its neighbours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(
            width, width, POSITION_KERNEL, padding=POSITION_KERNEL // 2, groups=POSITION_GROUPS
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        # An even kernel gives a frame too many at the end.
        return nn.functional.gelu(self.conv(x.transpose(1, 2))[..., :-1]).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention of `N_HEADS` heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(width, width), nn.Linear(width, width)
        self.v_proj, self.out_proj = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = (
            part(x).unflatten(-1, (N_HEADS, -1)).transpose(1, 2)
            for part in (self.q_proj, self.k_proj, self.v_proj)
        )
        heard = nn.functional.scaled_dot_product_attention(q, k, v)
        out: torch.Tensor = self.out_proj(heard.transpose(1, 2).flatten(-2))
        return out


class FeedForward(nn.Module):
    """Two layers with a wider one between."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.intermediate_dense = nn.Linear(width, inner)
        self.output_dense = nn.Linear(inner, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.output_dense(nn.functional.gelu(self.intermediate_dense(x)))
        return out


class Layer(nn.Module):
    """A transformer layer, normed after each half."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(width), FeedForward(width, inner)
        self.layer_norm, self.final_layer_norm = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer_norm(x + self.attention(x))
        out: torch.Tensor = self.final_layer_norm(x + self.feed_forward(x))
        return out


class Transformer(nn.Module):
    """The outputs of all layers, (n_layers, batch, n_frames, width)."""

    def __init__(self, width: int, inner: int, n_layers: int) -> None:
        super().__init__()
        self.pos_conv_embed, self.layer_norm = Position(width), nn.LayerNorm(width)
        self.layers = nn.ModuleList(Layer(width, inner) for _ in range(n_layers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.layer_norm(x + self.pos_conv_embed(x))
        outputs = []
        for layer in self.layers:
            x = layer(x)
            outputs.append(x)
        return torch.stack(outputs)


class Mert(nn.Module):
    """Samples to the outputs of all transformer layers.

    Parameters
    ----------
    n_channels, width, inner, n_layers : int
        Channels of the convolutions, width of the transformer and of its feed-forward parts, layers; those of
        MERT-v1-95M are the defaults.
    """

    def __init__(
        self, n_channels: int = 512, width: int = 768, inner: int = 3072, n_layers: int = 12
    ) -> None:
        super().__init__()
        self.feature_extractor = Convolutions(n_channels)
        self.feature_projection = Projection(n_channels, width)
        self.encoder = Transformer(width, inner, n_layers)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        frames = self.feature_extractor(samples).transpose(1, 2)
        out: torch.Tensor = self.encoder(self.feature_projection(frames))
        return out


def load_mert(tensors: Mapping[str, Any]) -> Mert:
    """The network of a checkpoint, as wide and deep as its tensors say.

    Raises
    ------
    KeyError, RuntimeError
        Tensors are missing, or there are others.
    """
    state = {name: tensor for name, tensor in tensors.items() if name not in _OF_TRAINING}
    for gain, direction in _WEIGHT_NORM:
        if gain in state:
            state[f"{_POSITION}.weight"] = _normed(state.pop(gain), state.pop(direction))
    width, n_channels = state["feature_projection.projection.weight"].shape
    inner = len(state["encoder.layers.0.feed_forward.intermediate_dense.bias"])
    n_layers = sum(name.endswith(".final_layer_norm.weight") for name in state)
    network = Mert(n_channels, width, inner, n_layers)
    network.load_state_dict(state)
    return network.eval()


def _normed(gain: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """The weight of a convolution that was normed for each place of its kernel."""
    weight: torch.Tensor = gain * direction / direction.norm(dim=(0, 1), keepdim=True)
    return weight
