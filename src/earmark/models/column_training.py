"""Training of the networks on columns: imports torch, so it is imported when one is fitted and not before.

The loss is binary cross-entropy per class, so that a row may belong to several classes in part; with `focal_gamma` g it
is weighted by (1 - p)^g, p what the target was given. A class counts as its rows are rare: ``pos_weight`` multiplies
the loss of its targets by (rows without it / rows with it), 0.5 to 10; ``sampler`` draws rows with replacement, each
class as often. Both together count a rare class twice, and its probabilities come out too large.

The epoch that is kept is the one with the best balanced accuracy (or accuracy) on the validation rows, among equals
the one with the least loss.

References: Lin et al., "Focal loss for dense object detection", ICCV 2017.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from earmark.models import column_modules
from earmark.models.augment_rows import Augmentation
from earmark.models.estimator import Epoch, FitRequest, Floats, Ints
from earmark.models.network_fit import NetworkFit, repeatable
from earmark.models.schedule import cosine_rate
from earmark.models.soft_rows import one_hot

__all__ = ["NETWORKS", "class_factors", "focal_loss", "train_columns"]

NETWORKS: Mapping[str, Callable[[int, int, Ints, Mapping[str, Any]], nn.Module]] = {
    "residual_mlp": column_modules.ResidualNetwork,
    "ft_transformer": column_modules.FTTransformerNetwork,
    "hybrid": column_modules.HybridNetwork,
}

LEAST_FACTOR, LARGEST_FACTOR = 0.5, 10.0
"""Limits of a class's factor in the loss."""


def train_columns(
    name: str, request: FitRequest, block: Ints, params: Mapping[str, Any]
) -> tuple[dict[str, Floats], int, list[Epoch]]:
    """Fit a network, continuing from the request's checkpoint if that holds a state of the same fit.

    Parameters
    ----------
    name : str
        A key of `NETWORKS`.
    request : FitRequest
    block : ndarray of int64, shape (n_columns,)
        The block of each column.
    params : mapping
        Parameters of `earmark.models.column_networks.ColumnNetwork` and of the network, all of them.

    Returns
    -------
    tensors : dict of ndarray, float32
    best_epoch : int
    history : list of dict
        Per epoch ``epoch``, ``training_loss``, ``training_accuracy`` (on rows as they were changed), ``learning_rate``
        and, with validation rows, ``validation_loss``, ``validation_accuracy``, ``validation_balanced_accuracy``.
    """
    with repeatable(params["seed"]):
        return _Fit(name, request, block, params).run()


class _Fit(NetworkFit):
    def __init__(self, name: str, request: FitRequest, block: Ints, params: Mapping[str, Any]) -> None:
        network = NETWORKS[name](request.X.shape[1], request.n_codes, block, params)
        given = request.targets
        targets = one_hot(request.y, request.n_codes) if given is None else given
        super().__init__(network, request, params, targets, block)
        self.targets = torch.from_numpy(targets)
        wanted = params["balance"] in ("pos_weight", "both")
        self.factors = torch.from_numpy(class_factors(targets)) if wanted else None
        counts = np.bincount(request.y, minlength=request.n_codes)
        self.draw_weight = torch.from_numpy(1.0 / counts[request.y])
        self.augmentation = Augmentation(
            torch.from_numpy(block), params["mix"], params["gain"], params["noise"], params["block_dropout"]
        )
        self.right = 0.0

    def _order(self) -> Tensor:
        self.right = 0.0
        if self.params["balance"] in ("sampler", "both"):
            return torch.multinomial(self.draw_weight, len(self.y), replacement=True)
        return super()._order()

    def _losses(self, rows: Tensor) -> Tensor:
        X, targets = self.augmentation.apply(self.X[rows], self.targets[rows])
        logits = self.network(X)
        self.right += float((logits.detach().argmax(dim=1) == targets.argmax(dim=1)).sum())
        return focal_loss(logits, targets, self.factors, self.params["focal_gamma"]).mean(dim=1)

    def _scores(self) -> Epoch:
        found: Epoch = {"training_accuracy": self.right / len(self.y)}
        if self.request.validation is None:
            return found
        X, y = self.request.validation
        logits = self.network(torch.from_numpy(X))
        targets = torch.from_numpy(one_hot(y, self.request.n_codes))
        loss = focal_loss(logits, targets, self.factors, self.params["focal_gamma"]).mean()
        right = logits.argmax(dim=1).numpy() == y
        recalls = np.bincount(y, right)[np.unique(y)] / np.bincount(y)[np.unique(y)]
        return found | {
            "validation_loss": float(loss),
            "validation_accuracy": float(right.mean()),
            "validation_balanced_accuracy": float(recalls.mean()),
        }

    def _follow(self, entry: Epoch) -> None:
        progress, params = self.progress, self.params
        if self.request.validation is None:
            self.keep_weights()  # the training loss says nothing of which epoch is best: the last is kept
        else:
            rank = (entry[f"validation_{params['select_by']}"], -entry["validation_loss"])
            if rank > (progress.best_score, -progress.best_loss):
                progress.best_score, progress.best_loss = rank[0], -rank[1]
                self.keep_weights()
        progress.rate = cosine_rate(
            progress.epoch + 1,
            rate=params["learning_rate"],
            floor=0.0,
            period=params["restart_epochs"],
            factor=params["restart_factor"],
        )


def class_factors(targets: Floats) -> Floats:
    """What a target of each class counts, shape (n_codes,): rows without it / rows with it, 0.5 to 10."""
    with_it = targets.sum(axis=0, dtype=np.float64)
    factors = (len(targets) - with_it) / np.maximum(with_it, 1e-9)
    return np.asarray(np.clip(factors, LEAST_FACTOR, LARGEST_FACTOR), dtype=np.float32)


def focal_loss(logits: Tensor, targets: Tensor, factors: Tensor | None, gamma: float) -> Tensor:
    """Binary cross-entropy of each row and class, shape (n, n_codes); plain for gamma 0."""
    losses = functional.binary_cross_entropy_with_logits(
        logits, targets, reduction="none", pos_weight=factors
    )
    if not gamma:
        return losses
    p = torch.sigmoid(logits)
    return losses * (1 - (targets * p + (1 - targets) * (1 - p))) ** gamma
