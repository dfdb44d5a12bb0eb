"""A checkpoint of MERT's form with random weights: right in width and depth, small where that is free."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from earmark.tasks.meter.mert.network import Mert

POSITION = "encoder.pos_conv_embed.conv"


def small_network(n_channels: int = 8, width: int = 48, inner: int = 32, n_layers: int = 3) -> Mert:
    """Random weights; gains and biases of the norms too, so that none can be left out unseen."""
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = Mert(n_channels, width, inner, n_layers)
        for name, parameter in network.named_parameters():
            if "layer_norm" in name or name.endswith(".bias"):
                torch.nn.init.normal_(parameter, mean=1.0 if name.endswith("weight") else 0.0, std=0.3)
    return network.eval()


def published(network: Mert) -> dict[str, Any]:
    """Its tensors as they are published: the positions weight-normed, and one of the training."""
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    weight = tensors.pop(f"{POSITION}.weight")
    tensors[f"{POSITION}.weight_g"] = weight.norm(dim=(0, 1), keepdim=True)
    tensors[f"{POSITION}.weight_v"] = 3.0 * weight
    tensors["masked_spec_embed"] = torch.zeros(weight.shape[0])
    return tensors


def write_checkpoint(path: Path) -> Path:
    """12 layers of 768 units with narrow convolutions and feed-forward parts, 120 MB."""
    tensors = published(small_network(8, 768, 16, 12))
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    else:
        torch.save(tensors, path)
    return path
