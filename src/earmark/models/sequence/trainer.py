"""Training of a network on windows.

AdamW over accumulated batches, gradients clipped by norm, a cosine rate with warm restarts, early stopping on the
validation loss; the weights of the best epoch are restored (without validation windows: of the last). Batches are
gathered from the windows as they are needed, so a memory-mapped table stays on the disk.

Every random draw of an epoch comes from generators seeded by (seed, epoch). So weights, moments, best weights and
counters are the whole state of a fit, and a fit continued after a kill gives the bits of one that was never stopped.
Sums over threads differ in their last bits: the default of one thread gives the same numbers whatever the machine is
doing; another count is faster and repeats only with itself.

Checkpoints, in the folder that is given: ``last.state`` (what a killed fit continues from), ``best_loss.safetensors``,
``best_f1.safetensors`` and ``epoch_NNNN.safetensors`` every so many epochs.

References: Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019; same, "SGDR: stochastic gradient
descent with warm restarts", ICLR 2017.
"""

from __future__ import annotations

import hashlib
import logging
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xxhash
from torch import Tensor

from earmark.data.parquet import write_bytes_atomic
from earmark.data.windows import Windows
from earmark.errors import UsageError
from earmark.models.checkpoint import Checkpoint, fit_key, read_checkpoint, write_checkpoint
from earmark.models.estimator import Epoch, Floats, Ints
from earmark.models.sequence.augment import add_noise, mix_up
from earmark.models.sequence.balance import Draws, balanced_draws
from earmark.models.sequence.base import SequenceFit, StopTraining, finite_inputs
from earmark.models.sequence.device import on_device
from earmark.models.sequence.losses import Targets, total_loss
from earmark.models.sequence.monitor import collapse_grade, epoch_rate, macro_f1
from earmark.models.sequence.networks.heads import Outputs, SequenceNetwork

__all__ = ["Trained", "train_network"]

log = logging.getLogger(__name__)

STATE_FILE = "last.state"
VALIDATION_BATCH = 256

COLLAPSE_WARM_UP, COLLAPSE_PATIENCE = 5, 3
"""Epochs in which no collapse stops a fit, and severe epochs in a row that do afterwards."""

Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Trained:
    """Weights that are kept, the epoch they are of, the history, and why training ended."""

    tensors: dict[str, Floats]
    best_epoch: int
    history: list[Epoch]
    ended: str


@dataclass
class Progress:
    """Counters of a fit; with the tensors, all of its state after an epoch."""

    epoch: int = 0
    step: int = 0
    best_loss: float = math.inf
    best_epoch: int = -1
    stale: int = 0
    best_f1: float = -1.0
    severe: int = 0
    ended: str = ""
    history: list[Epoch] = field(default_factory=list)


def train_network(
    network: SequenceNetwork, request: SequenceFit, present: Ints, params: Mapping[str, Any]
) -> Trained:
    """Train a network whose weights are drawn, continuing from the request's checkpoint if it is of the same fit.

    Parameters
    ----------
    network : SequenceNetwork
    request : SequenceFit
    present : ndarray of int64
        Classes of the training windows, ascending.
    params : mapping
        Parameters of `neural.NetworkEstimator`, all of them.
    """
    fit = _Fit(network, request, present, params)
    fit.resume()
    while not fit.progress.ended:
        fit.run_epoch()
        fit.keep()
        fit.report(fit.progress.history[-1])
    tensors = {name: tensor.cpu().numpy().copy() for name, tensor in fit.best.items()}
    return Trained(tensors, fit.progress.best_epoch, fit.progress.history, fit.progress.ended)


class _Fit:
    """A network, its optimiser, its data and its counters."""

    def __init__(
        self, network: SequenceNetwork, request: SequenceFit, present: Ints, params: Mapping[str, Any]
    ) -> None:
        self.request, self.params, self.classes = request, params, present
        self.device = on_device(params["device"])
        self.network = network.to(self.device)
        self.present = torch.from_numpy(present).to(self.device)
        self.draws = _drawn(request, params)
        scale = _movement_scale(request.train)
        network.set_targets(present.tolist(), scale)
        self.targets = self._targets(
            request.train.y[self.draws.first], self.draws.movement(request.train), scale
        )
        self.validation = _known(request.validation, present)
        if self.validation is not None:
            self.validation_targets = self._targets(self.validation.y, self.validation.movement, scale)
        self.optimiser = _optimiser(network, params)
        self.progress = Progress()
        self.best = self._state()
        self.key = _fit_key(network, request, params)

    def run_epoch(self) -> None:
        """One pass over the draws, then over the validation windows."""
        progress, params = self.progress, self.params
        seed = _epoch_seed(params["seed"], progress.epoch)
        torch.manual_seed(seed)
        rng = np.random.default_rng(seed)
        rate = epoch_rate(params, progress.epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        self.network.train()
        batches = _batches(rng.permutation(len(self.draws)), params["batch_size"])
        size = params["accumulation"]
        sums = [self._step(batches[start : start + size], rng) for start in range(0, len(batches), size)]
        entry: Epoch = {"epoch": progress.epoch, "learning_rate": rate}
        entry["training_loss"], entry["training_accuracy"] = (np.sum(sums, axis=0) / len(self.draws)).tolist()
        if self.validation is not None:
            entry |= self._validate()
        _require_finite(entry)
        progress.history.append(entry)
        self._follow(entry)
        progress.epoch += 1
        if not progress.ended and progress.epoch >= params["epochs"]:
            progress.ended = "all epochs"

    def report(self, entry: Epoch) -> None:
        """Tell the caller of an epoch; it may ask to stop."""
        if self.request.on_epoch is None:
            return
        try:
            self.request.on_epoch(entry)
        except StopTraining:
            self.progress.ended = "asked to stop"

    def keep(self) -> None:
        """Write the state after this epoch, and the weights that are to be kept beside it."""
        folder, progress = self.request.checkpoint, self.progress
        if folder is None:
            return
        now = self._state()
        arrays = {f"now.{name}": tensor for name, tensor in now.items()}
        arrays |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        for name, weight in self.network.named_parameters():
            state = self.optimiser.state[weight]
            arrays |= {f"first.{name}": state["exp_avg"], f"second.{name}": state["exp_avg_sq"]}
        record = {"key": self.key, "progress": asdict(progress)}
        write_checkpoint(folder / STATE_FILE, Checkpoint(_numpy(arrays), record))
        if self.validation is not None and progress.stale == 0:
            _write_weights(folder / "best_loss.safetensors", now)
        if progress.history[-1].get("validation_macro_f1", -1.0) == progress.best_f1:
            _write_weights(folder / "best_f1.safetensors", now)
        if progress.epoch % self.params["checkpoint_every"] == 0:
            _write_weights(folder / f"epoch_{progress.epoch:04d}.safetensors", now)

    def resume(self) -> None:
        """Continue from the checkpoint, if it is of this fit."""
        folder = self.request.checkpoint
        found = None if folder is None else read_checkpoint(folder / STATE_FILE, self.key)
        if found is None:
            return
        tensors = {name: torch.from_numpy(a.copy()).to(self.device) for name, a in found.arrays.items()}
        self.network.load_state_dict(_under(tensors, "now."), strict=False)
        self.best = _under(tensors, "best.")
        self.progress = Progress(**found.record["progress"])
        for name, weight in self.network.named_parameters():
            self.optimiser.state[weight] = {
                "step": torch.tensor(float(self.progress.step)),
                "exp_avg": tensors[f"first.{name}"],
                "exp_avg_sq": tensors[f"second.{name}"],
            }
        for entry in self.progress.history:
            self.report(entry)

    def _step(self, batches: list[Ints], rng: np.random.Generator) -> tuple[float, float]:
        """One step of the optimiser over accumulated batches: the sums of losses and of right answers."""
        n_rows = sum(len(rows) for rows in batches)
        loss_sum = right_sum = 0.0
        self.optimiser.zero_grad(set_to_none=True)
        for rows in batches:
            loss, right = self._batch_loss(rows, rng)
            torch.autograd.backward(loss / n_rows)
            loss_sum, right_sum = loss_sum + float(loss.detach()), right_sum + right
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.params["clip_norm"])
        self.optimiser.step()
        self.progress.step += 1
        return loss_sum, right_sum

    def _batch_loss(self, rows: Ints, rng: np.random.Generator) -> tuple[Tensor, float]:
        """Weighted sum of the losses of the draws at `rows`, and how many directions were right."""
        params, chosen = self.params, torch.from_numpy(rows).to(self.device)
        windows = torch.from_numpy(self.draws.inputs(self.request.train, rows)).to(self.device)
        with self._precision():
            prepared = add_noise(self.network.prepare(windows), params["noise"])
            mixed = mix_up(
                prepared, alpha=params["mixup_alpha"], probability=params["mixup_probability"], rng=rng
            )
            outputs = self.network.answer(mixed.inputs)
        targets = self.targets.at(chosen)
        losses = self._losses(outputs, targets)
        if mixed.partner is not None:
            other = self._losses(outputs, targets.at(mixed.partner))
            losses = mixed.share * losses + (1 - mixed.share) * other
        weight = torch.from_numpy(self.draws.weight[rows]).to(self.device)
        right = outputs.logits.detach()[:, self.present].argmax(dim=1) == targets.code
        return (losses * weight).sum(), float(right.sum())

    @torch.no_grad()
    def _validate(self) -> Epoch:
        """Loss, accuracy, macro-F1 and the share of the commonest prediction, on the validation windows."""
        windows = self.validation
        assert windows is not None
        self.network.eval()
        loss, said = 0.0, []
        for start in range(0, len(windows), VALIDATION_BATCH):
            rows = slice(start, start + VALIDATION_BATCH)
            inputs = torch.from_numpy(finite_inputs(windows, rows)).to(self.device)
            with self._precision():
                outputs = self.network.answer(self.network.prepare(inputs))
            target = Targets(self.validation_targets.code[rows], self.validation_targets.movement[rows])
            loss += float(self._losses(outputs, target).sum())
            said.append(outputs.logits[:, self.present].argmax(dim=1).cpu().numpy())
        predicted = self.classes[np.concatenate(said)]
        return {
            "validation_loss": loss / len(windows),
            "validation_accuracy": float((predicted == windows.y).mean()),
            "validation_macro_f1": macro_f1(windows.y, predicted),
            "largest_share": float(np.bincount(predicted).max() / len(predicted)),
        }

    def _follow(self, entry: Epoch) -> None:
        """Keep the weights if they are the best, and end the fit if it no longer gets anywhere."""
        progress, patience = self.progress, self.params["early_stopping_epochs"]
        if self.validation is None:
            # The training loss says nothing of which epoch is best: the last is kept.
            progress.best_epoch, self.best = progress.epoch, self._state()
            return
        loss = entry["validation_loss"]
        better = loss < progress.best_loss - self.params["early_stopping_delta"]
        progress.stale = 0 if better else progress.stale + 1
        if better:
            progress.best_loss, progress.best_epoch, self.best = loss, progress.epoch, self._state()
        progress.best_f1 = max(progress.best_f1, entry["validation_macro_f1"])
        if patience and progress.stale >= patience:
            progress.ended = "early stopping"
        self._watch_collapse(entry["largest_share"])

    def _watch_collapse(self, share: float) -> None:
        progress, grade = self.progress, collapse_grade(share)
        if grade:
            log.warning(
                "Epoch %d: %.0f %% of the validation predictions are one class (%s mode collapse); balancing or a "
                "lower learning rate may help.",
                progress.epoch,
                100 * share,
                grade,
            )
        past_warm_up = progress.epoch >= COLLAPSE_WARM_UP
        progress.severe = progress.severe + 1 if past_warm_up and grade in ("severe", "total") else 0
        if self.params["stop_on_collapse"] and progress.severe >= COLLAPSE_PATIENCE:
            progress.ended = "mode collapse"

    def _losses(self, outputs: Outputs, targets: Targets) -> Tensor:
        params = self.params
        return total_loss(
            Outputs(*(part.float() for part in outputs)),
            targets,
            self.present,
            kind=params["loss"],
            smoothing=params["label_smoothing"],
            gamma=params["focal_gamma"],
        )

    def _precision(self) -> Any:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.params["mixed_precision"])

    def _targets(self, y: Ints, movement: Floats, scale: float) -> Targets:
        code = torch.from_numpy(np.searchsorted(self.classes, y)).to(self.device)
        return Targets(code, torch.from_numpy(movement / np.float32(scale)).to(self.device))

    def _state(self) -> Tensors:
        """Copies of weights and running statistics; torch's count of batches is not used."""
        state = self.network.state_dict()
        return {name: tensor.clone() for name, tensor in state.items() if tensor.is_floating_point()}


def _drawn(request: SequenceFit, params: Mapping[str, Any]) -> Draws:
    return balanced_draws(
        params["balance"], request.train, request.weight, ratio=params["balance_ratio"], seed=params["seed"]
    )


def _movement_scale(train: Windows) -> float:
    """Standard deviation of the known movements; 1 where there is none."""
    known = train.movement[np.isfinite(train.movement)].astype(np.float64)
    deviation = float(known.std()) if len(known) else 0.0
    return deviation if deviation > 0 else 1.0


def _known(validation: Windows | None, present: Ints) -> Windows | None:
    """The validation windows of classes that training has: for others no loss tells one epoch from another."""
    if validation is None:
        return None
    known = np.isin(validation.y, present)
    return validation.take(known) if known.any() else None


def _optimiser(network: SequenceNetwork, params: Mapping[str, Any]) -> torch.optim.AdamW:
    """AdamW that shrinks matrices, not biases and norms."""
    weights = list(network.parameters())
    groups = [
        {"params": [w for w in weights if w.ndim >= 2], "weight_decay": params["weight_decay"]},
        {"params": [w for w in weights if w.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=params["learning_rate"])


def _fit_key(network: SequenceNetwork, request: SequenceFit, params: Mapping[str, Any]) -> str:
    digests = [_digest(part) for part in (request.train, request.validation) if part is not None]
    name = {"network": type(network).__name__, "window": network.window}
    return fit_key(dict(params) | name, request.weight, np.frombuffer(b"".join(digests), np.uint8))


def _digest(windows: Windows) -> bytes:
    """Hash of what a fit reads of windows, a stretch of rows at a time."""
    digest = xxhash.xxh3_128("/".join(windows.table.columns).encode())
    for array in (windows.ends, windows.y, windows.movement):
        digest.update(array.tobytes())
    for start in range(0, len(windows.table), 65_536):
        digest.update(np.asarray(windows.table.X[start : start + 65_536]).tobytes())
    first, last = finite_inputs(windows, np.array([0, len(windows) - 1]))
    digest.update(first.tobytes() + last.tobytes())  # the scaling
    return digest.digest()


def _require_finite(entry: Epoch) -> None:
    for name in ("training_loss", "validation_loss"):
        if not math.isfinite(entry.get(name, 0.0)):
            raise UsageError(
                f"The network's {name.replace('_', ' ')} is {entry[name]} after epoch {entry['epoch']:.0f}: it "
                f"diverged at a learning rate of {entry['learning_rate']:g}. Lower `learning_rate`."
            )


def _epoch_seed(seed: int, epoch: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{epoch}".encode(), digest_size=7).digest(), "big")


def _batches(order: Ints, size: int) -> list[Ints]:
    """Rows in batches; a last batch of one row joins the one before, for batch norm has no variance of one row."""
    batches = [order[start : start + size] for start in range(0, len(order), size)]
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [np.concatenate(batches[-2:])]
    return batches


def _under(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _numpy(tensors: Tensors) -> dict[str, Any]:
    return {name: tensor.detach().cpu().contiguous().numpy() for name, tensor in tensors.items()}


def _write_weights(path: Path, tensors: Tensors) -> None:
    from safetensors.numpy import save

    write_bytes_atomic(path, save(_numpy(tensors)))
