"""Training of the dense network: imports torch, so it is imported when a network is fitted and not before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from earmark.models.estimator import Epoch, FitRequest, Floats
from earmark.models.network_fit import NetworkFit, repeatable
from earmark.models.neural import NORM_EPSILON

__all__ = ["DenseNetwork", "train_network"]


class DenseNetwork(nn.Module):
    """Input batch-norm, then dense-ReLU-norm-dropout per layer, then a dense layer of logits."""

    def __init__(self, n_features: int, layers: tuple[int, ...], n_codes: int, dropout: float) -> None:
        super().__init__()
        widths = (n_features, *layers)
        self.norms = nn.ModuleList(nn.BatchNorm1d(width, eps=NORM_EPSILON) for width in widths)
        self.dense = nn.ModuleList(nn.Linear(a, b) for a, b in zip(widths, (*layers, n_codes), strict=True))
        self.dropout = dropout

    def forward(self, X: Tensor) -> Tensor:
        """Logits, shape (n, n_codes)."""
        hidden = self.norms[0](X)
        for dense, norm in zip(self.dense, list(self.norms)[1:], strict=False):
            hidden = functional.dropout(norm(functional.relu(dense(hidden))), self.dropout, self.training)
        logits: Tensor = self.dense[-1](hidden)
        return logits


def train_network(
    request: FitRequest, params: Mapping[str, Any]
) -> tuple[dict[str, Floats], int, list[Epoch]]:
    """Fit a network, continuing from the request's checkpoint if that holds a state of the same fit.

    Parameters
    ----------
    request : FitRequest
    params : mapping
        Parameters of `NeuralNetwork`, all of them.

    Returns
    -------
    tensors : dict of ndarray, float32
        Weights and running statistics of the epoch that is kept.
    best_epoch : int
    history : list of dict
        Per epoch ``epoch``, ``training_loss``, ``learning_rate`` and, with validation rows,
        ``validation_loss``.
    """
    with repeatable(params["seed"]):
        return _Fit(request, params).run()


class _Fit(NetworkFit):
    """Cross-entropy; the rate is halved while the loss stands still."""

    def __init__(self, request: FitRequest, params: Mapping[str, Any]) -> None:
        network = DenseNetwork(
            request.X.shape[1], tuple(params["layers"]), request.n_codes, params["dropout"]
        )
        super().__init__(network, request, params)

    def _losses(self, rows: Tensor) -> Tensor:
        return functional.cross_entropy(self.network(self.X[rows]), self.y[rows], reduction="none")

    def _scores(self) -> Epoch:
        if self.request.validation is None:
            return {}
        X, y = (torch.from_numpy(array) for array in self.request.validation)
        return {"validation_loss": float(functional.cross_entropy(self.network(X), y))}

    def _follow(self, entry: Epoch) -> None:
        """Keep the weights if they are the best, halve the rate if they have not been for long."""
        progress, watched = self.progress, self.request.validation is not None
        loss = entry.get("validation_loss", entry["training_loss"])
        if loss < progress.best_loss:
            progress.best_loss, progress.since_halving = loss, 0
        else:
            progress.since_halving += 1
        # Without validation rows the loss is that of training, which says nothing of which epoch is best:
        # the last is kept.
        if not watched or progress.since_halving == 0:
            self.keep_weights()
        if progress.since_halving >= self.params["halving_epochs"]:
            progress.rate = max(progress.rate / 2, self.params["learning_rate_floor"])
            progress.since_halving = 0
