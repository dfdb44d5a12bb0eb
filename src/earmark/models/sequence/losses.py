"""The loss of networks: direction, confidence and return, each against its own target.

total = 1.0 direction + 0.5 confidence + 0.3 return. The confidence head learns whether the likeliest class is right
(binary cross-entropy), the return head the movement of the price in units of its standard deviation in training (Huber
loss, so that a jump does not outweigh the rest; 0 where the movement is unknown). All losses are per row.

References: Szegedy et al., "Rethinking the inception architecture", CVPR 2016 (smoothing); Lin et al., "Focal loss for
dense object detection", ICCV 2017; Ridnik et al., "Asymmetric loss for multi-label classification", ICCV 2021.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from earmark.models.sequence.networks.heads import Outputs

__all__ = ["Targets", "direction_loss", "total_loss"]

DIRECTION_WEIGHT, CONFIDENCE_WEIGHT, RETURN_WEIGHT = 1.0, 0.5, 0.3

ASYMMETRIC_GAMMA = 4.0
"""Focus of the asymmetric loss on confident mistakes (Ridnik et al.)."""

_CERTAIN = 1 - 1e-6
"""Largest probability of a wrong class whose complement's logarithm is taken."""


@dataclass(frozen=True)
class Targets:
    """Of n rows: class among the present ones (n,), movement in units of its scale (n,), NaN where unknown."""

    code: Tensor
    movement: Tensor

    def at(self, rows: Tensor) -> Targets:
        """Targets in another order."""
        return Targets(self.code[rows], self.movement[rows])


def direction_loss(kind: str, logits: Tensor, code: Tensor, *, smoothing: float, gamma: float) -> Tensor:
    """Loss of the direction, shape (n,).

    Parameters
    ----------
    kind : {"ce", "ce_smoothing", "focal", "focal_smoothing", "asymmetric"}
    logits : Tensor, shape (n, k)
    code : Tensor of int64, shape (n,)
    smoothing : float
        Share of the target that goes to all classes alike, for the kinds named so.
    gamma : float
        Exponent of (1 - p) of the focal kinds, and of the right class in ``asymmetric``.
    """
    logs = functional.log_softmax(logits, dim=1)
    right = logs.gather(1, code[:, None]).squeeze(1)
    if kind == "asymmetric":
        return _asymmetric(logs, right, code, gamma)
    spread = smoothing if kind.endswith("smoothing") else 0.0
    loss = -(1 - spread) * right - spread * logs.mean(dim=1)
    return loss * (1 - right.exp()) ** gamma if kind.startswith("focal") else loss


def total_loss(
    outputs: Outputs, targets: Targets, present: Tensor, *, kind: str, smoothing: float, gamma: float
) -> Tensor:
    """Weighted sum of the three losses, shape (n,).

    `present` holds the classes that training has, ascending; the others' logits take no part.
    """
    logits = outputs.logits[:, present]
    direction = direction_loss(kind, logits, targets.code, smoothing=smoothing, gamma=gamma)
    right = (logits.detach().argmax(dim=1) == targets.code).to(logits.dtype)
    confidence = functional.binary_cross_entropy_with_logits(outputs.confidence, right, reduction="none")
    known = torch.isfinite(targets.movement)
    movement = torch.where(known, targets.movement, 0.0)
    missed = functional.huber_loss(outputs.scaled_return, movement, reduction="none") * known
    return DIRECTION_WEIGHT * direction + CONFIDENCE_WEIGHT * confidence + RETURN_WEIGHT * missed


def _asymmetric(logs: Tensor, right: Tensor, code: Tensor, gamma: float) -> Tensor:
    """Right class: -(1 - p)^gamma ln p; every wrong one: -p^4 ln(1 - p), so confident mistakes weigh most."""
    p = logs.exp()
    wrong = p**ASYMMETRIC_GAMMA * -torch.log1p(-p.clamp_max(_CERTAIN))
    wrong = wrong.scatter(1, code[:, None], 0.0).sum(dim=1)
    return -((1 - right.exp()) ** gamma) * right + wrong
