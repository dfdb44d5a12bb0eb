"""AdamW with one rate for the head and one for an encoder's blocks; both rise along a line and fall along a cosine.

References: Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019; same, "SGDR", ICLR 2017.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from earmark.models.acoustic.fitted import ENCODER
from earmark.models.acoustic.settings import HeadSettings

__all__ = ["optimiser", "warm_up", "warmed_cosine"]

LARGEST_WARMUP, WARMUP_SHARE = 200, 0.1


def warmed_cosine(step: int, n_steps: int, warmup: int) -> float:
    """Share of the largest rate at a step, from 0: a line over `warmup` steps, then half a cosine to 0 at the end."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, n_steps - warmup)))


def warm_up(settings: HeadSettings, n_steps: int) -> int:
    """Steps in which the rate rises."""
    if settings.warmup_steps is not None:
        return settings.warmup_steps
    return min(LARGEST_WARMUP, round(WARMUP_SHARE * n_steps))


def optimiser(network: nn.Module, settings: HeadSettings) -> torch.optim.AdamW:
    """AdamW at the rates of head and blocks; it shrinks matrices, not biases and norms."""
    blocks: list[nn.Parameter] = []
    head: list[nn.Parameter] = []
    for name, weight in network.named_parameters():
        if weight.requires_grad:
            (blocks if name.startswith(ENCODER) else head).append(weight)
    groups = []
    for weights, largest in ((head, settings.lr_head), (blocks, settings.lr_blocks)):
        for decay, is_matrix in ((settings.weight_decay, True), (0.0, False)):
            chosen = [weight for weight in weights if (weight.ndim >= 2) is is_matrix]
            groups.append({"params": chosen, "weight_decay": decay, "largest": largest})
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=settings.lr_head)
