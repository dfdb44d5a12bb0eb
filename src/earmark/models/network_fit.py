"""A fit of a torch network on rows that can be stopped after any epoch and repeats bit for bit.

Every random draw of an epoch (order of rows, dropout, noise) comes from a generator seeded by (seed, epoch). So the
state of a fit needs no generator's state: weights, Adam's moments, the best weights and the counters are all, and a fit
continued from an epoch's end gives the bits of one that was never stopped. One thread computes, because sums over
threads differ in their last bits.

Adam is written out (Kingma and Ba, "Adam", ICLR 2015; decoupled decay of matrices: Loshchilov and Hutter, ICLR 2019):
the optimiser class of torch takes longer to import than a small fit takes.
"""

from __future__ import annotations

import hashlib
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from earmark.errors import UsageError
from earmark.models.checkpoint import Checkpoint, fit_key, read_checkpoint, write_checkpoint
from earmark.models.estimator import Epoch, FitRequest, Floats

__all__ = ["NetworkFit", "Progress", "batches", "epoch_seed", "repeatable"]

STATE_FILE = "epoch.state"
BETA1, BETA2, ADAM_EPSILON = 0.9, 0.999, 1e-8
"""Adam's defaults, from its paper."""


@dataclass
class Progress:
    """Counters of a fit; with the tensors, all of its state after an epoch."""

    rate: float
    epoch: int = 0
    step: int = 0
    best_loss: float = math.inf
    best_score: float = -math.inf
    best_epoch: int = -1
    since_halving: int = 0
    history: list[Epoch] = field(default_factory=list)


class NetworkFit(ABC):
    """A network, its optimiser's moments and its counters; a subclass says what a batch's loss is, and what is best.

    Parameters
    ----------
    network : Module
        Its weights are drawn.
    request : FitRequest
    params : mapping
        ``learning_rate``, ``weight_decay``, ``batch_size``, ``epochs``, ``early_stopping_epochs``, ``seed``, and
        what the subclass reads.
    *identity : ndarray
        What else than rows and parameters decides the fit.
    """

    def __init__(
        self, network: nn.Module, request: FitRequest, params: Mapping[str, Any], *identity: Any
    ) -> None:
        self.network, self.request, self.params = network, request, params
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
            *identity,
        )

    @abstractmethod
    def _losses(self, rows: Tensor) -> Tensor:
        """Loss of each of these training rows, shape (n_rows,)."""

    @abstractmethod
    def _scores(self) -> Epoch:
        """What is measured after an epoch, beside the training loss."""

    @abstractmethod
    def _follow(self, entry: Epoch) -> None:
        """Keep the weights if they are the best, and set what the next epoch needs."""

    def _order(self) -> Tensor:
        """The rows of an epoch, in the order they are learned from."""
        return torch.randperm(len(self.y))

    def run(self) -> tuple[dict[str, Floats], int, list[Epoch]]:
        """Fit, continuing from the request's checkpoint: tensors that are kept, their epoch, and the history."""
        self.resume()
        while not self.finished:
            self.run_epoch()
            self.keep()
        return self.best_tensors(), self.progress.best_epoch, self.progress.history

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or none was better for long."""
        done, patience = self.progress, self.params["early_stopping_epochs"]
        stale = self.request.validation is not None and done.epoch - 1 - done.best_epoch >= patience
        return done.epoch >= self.params["epochs"] or (done.epoch > 0 and stale)

    def run_epoch(self) -> None:
        """One pass over the rows."""
        progress = self.progress
        torch.manual_seed(epoch_seed(self.params["seed"], progress.epoch))
        self.network.train()
        order = self._order()
        losses = [self._step(rows) * len(rows) for rows in batches(order, self.params["batch_size"])]
        entry: Epoch = {
            "epoch": progress.epoch,
            "training_loss": sum(losses) / len(order),
            "learning_rate": progress.rate,
        }
        self.network.eval()
        with torch.no_grad():
            entry |= self._scores()
        self._require_finite(entry.get("validation_loss", entry["training_loss"]))
        self._follow(entry)
        progress.history.append(entry)
        progress.epoch += 1
        if self.request.on_epoch is not None:
            self.request.on_epoch(entry)

    def best_tensors(self) -> dict[str, Floats]:
        """Weights and running statistics of the epoch that is kept."""
        return {name: tensor.numpy().copy() for name, tensor in self.best.items()}

    def keep_weights(self) -> None:
        """The weights of now are the best."""
        self.progress.best_epoch, self.best = self.progress.epoch, self._state()

    def keep(self) -> None:
        """Write the state after this epoch."""
        if self.request.checkpoint is None:
            return
        arrays = {f"now.{name}": tensor.numpy() for name, tensor in self._state().items()}
        arrays |= {f"best.{name}": tensor.numpy() for name, tensor in self.best.items()}
        for name, (first, second) in self.moments.items():
            arrays |= {f"first.{name}": first.numpy(), f"second.{name}": second.numpy()}
        # JSON has no infinity, where scores begin.
        counters = {name: value for name, value in asdict(self.progress).items() if value not in _INFINITE}
        record = {"key": self.key, "progress": counters}
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
        losses = self._losses(rows)
        if self.row_weight is not None:
            weight = self.row_weight[rows]
            losses = losses * weight / weight.mean().clamp_min(1e-12)
        loss = losses.mean()
        self._adam(torch.autograd.grad(loss, list(self.weights.values())))
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
            if decay and weight.ndim >= 2:
                weight.mul_(1 - progress.rate * decay)
            scale = (second / second_scale).sqrt_().add_(ADAM_EPSILON)
            weight.addcdiv_(first, scale, value=-progress.rate / first_scale)

    def _require_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise UsageError(
                f"The network's loss is {loss} after epoch {self.progress.epoch}: it diverged at a learning "
                f"rate of {self.progress.rate:g}. Lower `learning_rate`."
            )


_INFINITE = (math.inf, -math.inf)


@contextmanager
def repeatable(seed: int) -> Iterator[None]:
    """Seeded, on one thread; the caller's generator and thread count are restored."""
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.set_num_threads(1)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            torch.set_num_threads(threads)


def epoch_seed(seed: int, epoch: int) -> int:
    """Seed of the generators of an epoch."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{epoch}".encode(), digest_size=7).digest(), "big")


def batches(order: Tensor, size: int) -> list[Tensor]:
    """Rows in batches; a last batch of one row joins the one before, because batch-norm has no variance of
    one row.
    """
    found = [order[start : start + size] for start in range(0, len(order), size)]
    if len(found) > 1 and len(found[-1]) == 1:
        found[-2:] = [torch.cat(found[-2:])]
    return found


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
