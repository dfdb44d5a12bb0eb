"""Training of the dense network: the only module that imports torch, and only when a network is fitted.

Every random draw of an epoch (order of rows, dropout) comes from a generator seeded by (seed, epoch). So
the state of a fit needs no generator's state: weights, Adam's moments, the best weights, the rate and the
counters are all, and a fit continued from an epoch's end gives the bits of one that was never stopped. One
thread computes, because sums over threads differ in their last bits.

Adam is written out (Kingma and Ba, "Adam", ICLR 2015): the optimiser class of torch takes longer to import
than a small fit takes.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from earmark.errors import UsageError
from earmark.models.checkpoint import Checkpoint, fit_key, read_checkpoint, write_checkpoint
from earmark.models.estimator import Epoch, FitRequest, Floats, Ints
from earmark.models.neural import NORM_EPSILON

__all__ = ["DenseNetwork", "train_network"]

STATE_FILE = "epoch.state"
BETA1, BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8
"""Adam's defaults, from its paper."""


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


@dataclass
class Progress:
    """Counters of a fit; with the tensors, all of its state after an epoch."""

    rate: float
    epoch: int = 0
    step: int = 0
    best_loss: float = math.inf
    best_epoch: int = -1
    since_halving: int = 0
    history: list[Epoch] = field(default_factory=list)


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
    with _repeatable(params["seed"]):
        fit = _Fit(request, params)
        fit.resume()
        while not fit.finished:
            fit.run_epoch()
            fit.keep()
        return fit.best_tensors(), fit.progress.best_epoch, fit.progress.history


class _Fit:
    """A network, its optimiser's moments and its counters."""

    def __init__(self, request: FitRequest, params: Mapping[str, Any]) -> None:
        self.request, self.params = request, params
        self.network = DenseNetwork(
            request.X.shape[1], tuple(params["layers"]), request.n_codes, params["dropout"]
        )
        inherited = {} if request.start is None else request.start.tensors
        if inherited:
            tensors = {name: torch.from_numpy(array.copy()) for name, array in inherited.items()}
            self.network.load_state_dict(tensors, strict=False)
        self.weights = dict(self.network.named_parameters())
        self.moments = {name: (torch.zeros_like(w), torch.zeros_like(w)) for name, w in self.weights.items()}
        self.best = self._state()
        self.progress = Progress(rate=params["learning_rate"])
        self.X, self.y = torch.from_numpy(request.X), torch.from_numpy(request.y)
        self.row_weight = None if request.sample_weight is None else torch.from_numpy(request.sample_weight)
        self.key = fit_key(
            params,
            request.X,
            request.y,
            request.sample_weight,
            *(request.validation or (None, None)),
            *inherited.values(),
        )

    @property
    def finished(self) -> bool:
        done, patience = self.progress, self.params["early_stopping_epochs"]
        stale = self.request.validation is not None and done.epoch - 1 - done.best_epoch >= patience
        return done.epoch >= self.params["epochs"] or (done.epoch > 0 and stale)

    def run_epoch(self) -> None:
        progress = self.progress
        torch.manual_seed(_epoch_seed(self.params["seed"], progress.epoch))
        self.network.train()
        order = torch.randperm(len(self.y))
        losses = [self._step(rows) * len(rows) for rows in _batches(order, self.params["batch_size"])]
        entry: Epoch = {
            "epoch": progress.epoch,
            "training_loss": sum(losses) / len(order),
            "learning_rate": progress.rate,
        }
        if self.request.validation is not None:
            entry["validation_loss"] = self._validation_loss(*self.request.validation)
        self._follow(entry.get("validation_loss", entry["training_loss"]))
        progress.history.append(entry)
        progress.epoch += 1
        if self.request.on_epoch is not None:
            self.request.on_epoch(entry)

    def best_tensors(self) -> dict[str, Floats]:
        return {name: tensor.numpy().copy() for name, tensor in self.best.items()}

    def keep(self) -> None:
        """Write the state after this epoch."""
        if self.request.checkpoint is None:
            return
        arrays = {f"now.{name}": tensor.numpy() for name, tensor in self._state().items()}
        arrays |= {f"best.{name}": tensor.numpy() for name, tensor in self.best.items()}
        for name, (first, second) in self.moments.items():
            arrays |= {f"first.{name}": first.numpy(), f"second.{name}": second.numpy()}
        record = {"key": self.key, "progress": asdict(self.progress)}
        write_checkpoint(self.request.checkpoint / STATE_FILE, Checkpoint(arrays, record))

    def resume(self) -> None:
        """Continue from the checkpoint, if it is of this fit."""
        folder = self.request.checkpoint
        found = None if folder is None else read_checkpoint(folder / STATE_FILE, self.key)
        if found is None:
            return
        tensors = {name: torch.from_numpy(array.copy()) for name, array in found.arrays.items()}
        self.network.load_state_dict(_under(tensors, "now."), strict=False)
        self.best = _under(tensors, "best.")
        self.moments = {name: (tensors[f"first.{name}"], tensors[f"second.{name}"]) for name in self.weights}
        self.progress = Progress(**found.record["progress"])
        for entry in self.progress.history:
            if self.request.on_epoch is not None:
                self.request.on_epoch(entry)

    def _state(self) -> dict[str, Tensor]:
        """Copies of weights and running statistics; torch's count of batches is not used."""
        state = self.network.state_dict()
        return {name: tensor.clone() for name, tensor in state.items() if tensor.is_floating_point()}

    def _step(self, rows: Tensor) -> float:
        losses = functional.cross_entropy(self.network(self.X[rows]), self.y[rows], reduction="none")
        if self.row_weight is not None:
            weight = self.row_weight[rows]
            losses = losses * weight / weight.mean().clamp_min(1e-12)
        loss = losses.mean()
        gradients = torch.autograd.grad(loss, list(self.weights.values()))
        self._adam(gradients)
        return float(loss.detach())

    @torch.no_grad()
    def _adam(self, gradients: tuple[Tensor, ...]) -> None:
        progress, decay = self.progress, self.params["weight_decay"]
        progress.step += 1
        first_scale, second_scale = 1 - BETA1**progress.step, 1 - BETA2**progress.step
        for (name, weight), gradient in zip(self.weights.items(), gradients, strict=True):
            first, second = self.moments[name]
            first.lerp_(gradient, 1 - BETA1)
            second.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            if decay and name.startswith("dense") and name.endswith("weight"):
                weight.mul_(1 - progress.rate * decay)
            scale = (second / second_scale).sqrt_().add_(ADAM_EPSILON)
            weight.addcdiv_(first, scale, value=-progress.rate / first_scale)

    @torch.no_grad()
    def _validation_loss(self, X: Floats, y: Ints) -> float:
        self.network.eval()
        return float(functional.cross_entropy(self.network(torch.from_numpy(X)), torch.from_numpy(y)))

    def _follow(self, loss: float) -> None:
        """Keep the weights if they are the best, halve the rate if they have not been for long."""
        progress, watched = self.progress, self.request.validation is not None
        if not math.isfinite(loss):
            raise UsageError(
                f"The network's loss is {loss} after epoch {progress.epoch}: it diverged at a learning "
                f"rate of {progress.rate:g}. "
                "Lower `learning_rate`."
            )
        if loss < progress.best_loss:
            progress.best_loss, progress.since_halving = loss, 0
        else:
            progress.since_halving += 1
        # Without validation rows the loss is that of training, which says nothing of which epoch is best:
        # the last is kept.
        if not watched or progress.since_halving == 0:
            progress.best_epoch, self.best = progress.epoch, self._state()
        if progress.since_halving >= self.params["halving_epochs"]:
            progress.rate, progress.since_halving = (
                max(progress.rate / 2, self.params["learning_rate_floor"]),
                0,
            )


@contextmanager
def _repeatable(seed: int) -> Iterator[None]:
    """Seeded, on one thread; the caller's generator and thread count are restored."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def _epoch_seed(seed: int, epoch: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{epoch}".encode(), digest_size=7).digest(), "big")


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Rows in batches; a last batch of one row joins the one before, because batch-norm has no variance of
    one row.
    """
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
