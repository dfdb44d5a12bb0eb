"""One stage of a fit: epochs over batches, the best of them kept, its state written after each.

Every random draw of an epoch comes from generators seeded by (seed, epoch). So weights, moments, best weights and
counters are the whole state of a fit, and one continued after a kill gives the bits of one that was never stopped.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from earmark.errors import UsageError
from earmark.models.acoustic.fitted import ENCODER
from earmark.models.acoustic.inputs import Fixed, Inputs, Source
from earmark.models.acoustic.loss import cell_losses, cell_weights, pos_weight
from earmark.models.acoustic.networks import EncoderAndHead, fill, padded, state
from earmark.models.acoustic.optimiser import optimiser, warm_up, warmed_cosine
from earmark.models.acoustic.selection import measures, recording_weights
from earmark.models.acoustic.settings import HeadSettings
from earmark.models.checkpoint import Checkpoint, fit_key, read_checkpoint, write_checkpoint
from earmark.models.network_fit import batches, epoch_seed
from earmark.models.sequence.device import on_device

__all__ = ["Epoch", "Job", "OnEpoch", "StageFit", "Validation"]

VALIDATION_BATCH = 64

Epoch = dict[str, Any]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
OnEpoch = Callable[[Epoch], None]


@dataclass(frozen=True)
class Validation:
    """Windows that tell the best epoch; each recording counts the same.

    Parameters
    ----------
    inputs : Inputs
        As of training, never augmented.
    y : ndarray of float, shape (n, n_devices)
        Labels, NaN where unknown.
    recordings : sequence of str
        Recording of each window.
    measure : callable, optional
        Further figures of the probabilities (n, n_devices) for the epoch's entry; they select nothing.
    """

    inputs: Inputs
    y: Floats
    recordings: Sequence[str]
    measure: Callable[[Floats], Mapping[str, float]] | None = None


@dataclass(frozen=True)
class Job:
    """What a stage is given."""

    source: Source
    y: Floats
    devices: tuple[str, ...]
    settings: HeadSettings
    masks: tuple[tuple[str, str], ...]
    weights: Doubles | None
    validation: Validation | None
    on_epoch: OnEpoch | None
    checkpoint: Path | None

    def mask_positions(self) -> list[tuple[int, int]]:
        return [(self.devices.index(by), self.devices.index(hides)) for by, hides in self.masks]

    def cells(self, y: Floats, rows: Doubles | None) -> Tensor:
        """Weights of labels in the loss."""
        found = cell_weights(y, rows=rows, masks=self.mask_positions(), hidden=self.settings.masked_loss)
        return torch.from_numpy(found.astype(np.float32))

    def key(self, stage: int, start: Mapping[str, Floats]) -> str:
        """Of all that decides the numbers of the stage."""
        checked = self.validation
        others = (
            ()
            if checked is None
            else (checked.y, np.frombuffer("\n".join(checked.recordings).encode(), np.uint8))
        )
        parts = {
            "stage": stage,
            "settings": self.settings.to_dict(),
            "devices": self.devices,
            "masks": self.masks,
            "inputs": self.source.identity,
            "validation": None if checked is None else Fixed(checked.inputs).identity,
        }
        return fit_key(parts, self.y, self.weights, *others, *start.values())


@dataclass
class _Progress:
    """Counters of a fit; with the tensors, all of its state after an epoch."""

    epoch: int = 0
    step: int = 0
    best_score: float | None = None
    best_loss: float = 0.0
    best_epoch: int = -1
    history: list[Epoch] = field(default_factory=list)


class StageFit:
    """A network, its optimiser, its data and its counters."""

    def __init__(self, network: nn.Module, job: Job, *, stage: int) -> None:
        self.job, self.settings, self.stage = job, job.settings, stage
        self.device = on_device(job.settings.device)
        self.network = network.to(self.device)
        self.y, self.cells = torch.from_numpy(job.y), job.cells(job.y, job.weights)
        self.positive = torch.from_numpy(pos_weight(job.y, self.cells.numpy())).to(self.device)
        if job.validation is not None:
            rows = recording_weights(np.asarray(job.validation.recordings))
            self.validation_cells = job.cells(job.validation.y, rows)
        self.optimiser = optimiser(network, job.settings)
        self.n_steps = job.settings.epochs * len(_batched(len(job.y), job.settings.batch_size))
        self.warmup = warm_up(job.settings, self.n_steps)
        self.progress = _Progress()
        self.best = self._trained()
        self.key = job.key(stage, {name: t.numpy() for name, t in state(network).items()})

    def run(self) -> None:
        """All epochs that are left."""
        if not self._resume() and self.stage == 2 and self.job.validation is not None:
            self._weigh_start()
        while not self.finished:
            self._run_epoch()
            self._keep()
            self._report(self.progress.history[-1])

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or none was better for long."""
        done = self.progress
        stale = self.job.validation is not None and done.epoch - 1 - done.best_epoch >= self.settings.patience
        return (
            done.epoch >= min(self.settings.epochs, self.settings.stop_after or self.settings.epochs) or stale
        )

    def best_arrays(self) -> dict[str, Floats]:
        """Weights and running statistics of the epoch that is kept."""
        return {name: tensor.numpy().copy() for name, tensor in self.best.items()}

    def _run_epoch(self) -> None:
        progress = self.progress
        torch.manual_seed(epoch_seed(self.settings.seed, progress.epoch))
        _to_training(self.network)
        order = batches(torch.randperm(len(self.y)), self.settings.batch_size)
        losses = [self._step(rows) * len(rows) for rows in order]
        entry: Epoch = {"stage": self.stage, "epoch": progress.epoch, "train_loss": sum(losses) / len(self.y)}
        entry |= {"lr": self._rate(self.settings.lr_head)} | self._validate()
        _require_finite(entry, self.settings)
        self._follow(entry)
        progress.history.append(entry)
        progress.epoch += 1

    def _step(self, rows: Tensor) -> float:
        for group in self.optimiser.param_groups:
            group["lr"] = self._rate(group["largest"])
        inputs, mask = self._batch(self.job.source.batch(rows.numpy(), self.progress.epoch))
        y, cells = self.y[rows].to(self.device), self.cells[rows].to(self.device)
        loss = cell_losses(self.network(inputs, mask), y, cells, self.positive).mean()
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.progress.step += 1
        return float(loss.detach())

    def _rate(self, largest: float) -> float:
        return largest * warmed_cosine(self.progress.step, self.n_steps, self.warmup)

    def _batch(self, windows: Sequence[Any]) -> tuple[Tensor, Tensor | None]:
        inputs, mask = padded(windows)
        return inputs.to(self.device), None if mask is None else mask.to(self.device)

    @torch.no_grad()
    def _validate(self) -> Epoch:
        """Loss and measures on the validation windows."""
        checked = self.job.validation
        if checked is None:
            return {}
        self.network.eval()
        source, logits = Fixed(checked.inputs, "validation"), []
        for rows in _batched(len(checked.y), VALIDATION_BATCH):
            logits.append(self.network(*self._batch(source.batch(rows, 0))).cpu())
        found, y = torch.cat(logits), torch.from_numpy(checked.y)
        loss = cell_losses(found, y, self.validation_cells, self.positive.cpu()).mean()
        p = found.sigmoid().numpy()
        more = {} if checked.measure is None else dict(checked.measure(p))
        return (
            {"val_loss": float(loss)}
            | measures(p, checked.y, np.asarray(checked.recordings), self.job.devices)
            | more
        )

    def _weigh_start(self) -> None:
        """What stage 2 has to beat: the score of its start, and the loss before the first step."""
        entry: Epoch = {"stage": self.stage, "epoch": -1} | self._validate()
        self.progress.best_score, self.progress.best_loss = (
            _score(entry, self.settings.select),
            entry["val_loss"],
        )
        self.progress.history.append(entry)
        self._report(entry)

    def _follow(self, entry: Epoch) -> None:
        """Keep the weights of now if they are the best."""
        progress = self.progress
        if self.job.validation is None:
            progress.best_epoch, self.best = progress.epoch, self._trained()
            return
        score, loss = _score(entry, self.settings.select), entry["val_loss"]
        if progress.best_score is None or (score, -loss) > (progress.best_score, -progress.best_loss):
            progress.best_score, progress.best_loss = score, loss
            progress.best_epoch, self.best = progress.epoch, self._trained()

    def _trained(self) -> dict[str, Tensor]:
        """What is kept: the head, and the blocks of an encoder that learn."""
        if not isinstance(self.network, EncoderAndHead):
            return state(self.network)
        blocks = state(self.network.encoder, trained_only=True)
        return state(self.network.head) | {ENCODER + name: tensor for name, tensor in blocks.items()}

    def _report(self, entry: Epoch) -> None:
        if self.job.on_epoch is not None:
            self.job.on_epoch(entry)

    def _keep(self) -> None:
        """Write the state after this epoch."""
        if self.job.checkpoint is None:
            return
        arrays = {f"now.{name}": tensor.numpy() for name, tensor in self._trained().items()}
        arrays |= {f"best.{name}": tensor.numpy() for name, tensor in self.best.items()}
        for name, weight in self._learning().items():
            moments = self.optimiser.state.get(weight)
            if not moments:  # of a block that was passed over in every step so far
                continue
            arrays |= {
                f"first.{name}": _array(moments["exp_avg"]),
                f"second.{name}": _array(moments["exp_avg_sq"]),
                f"step.{name}": _array(moments["step"]).reshape(1),
            }
        record = {"key": self.key, "progress": asdict(self.progress)}
        write_checkpoint(self._state_file(self.job.checkpoint), Checkpoint(arrays, record))

    def _resume(self) -> bool:
        """Continue from the checkpoint, if it is of this fit."""
        folder = self.job.checkpoint
        found = None if folder is None else read_checkpoint(self._state_file(folder), self.key)
        if found is None:
            return False
        under = partial(_under, found.arrays)
        _fill_trained(self.network, under("now."))
        self.best = {name: torch.from_numpy(array) for name, array in under("best.").items()}
        self.progress = _Progress(**found.record["progress"])
        first, second, steps = under("first."), under("second."), under("step.")
        for name, weight in self._learning().items():
            if name not in steps:
                continue
            self.optimiser.state[weight] = {
                # its own: a block that is passed over takes no step
                "step": torch.tensor(float(steps[name][0])),
                "exp_avg": torch.from_numpy(first[name]).to(self.device),
                "exp_avg_sq": torch.from_numpy(second[name]).to(self.device),
            }
        for entry in self.progress.history:
            self._report(entry)
        return True

    def _learning(self) -> dict[str, nn.Parameter]:
        return {name: weight for name, weight in self.network.named_parameters() if weight.requires_grad}

    def _state_file(self, folder: Path) -> Path:
        return folder / f"stage_{self.stage}.state"


def _to_training(network: nn.Module) -> None:
    """Training mode where weights learn: frozen parts keep their dropout off and their statistics."""
    if not isinstance(network, EncoderAndHead):
        network.train()
        return
    network.eval()
    network.head.train()
    for module in network.encoder.modules():
        weights = list(module.parameters())
        if weights and all(weight.requires_grad for weight in weights):
            module.train()


def _fill_trained(network: nn.Module, arrays: Mapping[str, Floats]) -> None:
    if isinstance(network, EncoderAndHead):
        blocks = _under(arrays, ENCODER)
        fill(network.encoder, blocks, partly=True)
        network, arrays = (
            network.head,
            {name: a for name, a in arrays.items() if not name.startswith(ENCODER)},
        )
    fill(network, arrays)


def _score(entry: Epoch, select: str) -> float:
    """What is to be largest; an epoch that cannot be measured is never better by it, only by its loss."""
    score = -float(entry["val_loss"]) if select == "val_loss" else float(entry[select])
    return score if math.isfinite(score) else -math.inf


def _require_finite(entry: Epoch, settings: HeadSettings) -> None:
    for name in ("train_loss", "val_loss"):
        if not math.isfinite(entry.get(name, 0.0)):
            raise UsageError(
                f"The network's {name} is {entry[name]} after epoch {entry['epoch']}: it diverged at a rate of "
                f"{settings.lr_head:g}. Lower `lr_head`."
            )


def _batched(n: int, size: int) -> list[Any]:
    return [rows.numpy() for rows in batches(torch.arange(n), size)]


def _array(tensor: Tensor) -> Floats:
    return np.ascontiguousarray(tensor.detach().cpu().numpy())


def _under(arrays: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): a for name, a in arrays.items() if name.startswith(prefix)}
