"""A fitted network: probabilities of windows, and its files.

Conventions: probabilities float32 (n, n_devices), devices in the order they were fitted in. Each window is computed by
itself on one thread, so that it gets the same bits alone, in any batch and in a stream.

Files: ``head.safetensors`` is what stands behind an encoder, pooling and head (of the CNN its last layer);
``model.safetensors`` all that was trained, with a record of how to build it, and with `full_state` the frozen part of
the encoder too. Neither executes anything when read.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import MissingExtraError, RunError, UsageError
from earmark.models.acoustic.inputs import Inputs
from earmark.models.acoustic.settings import HeadSettings

__all__ = ["HEAD_FILE", "MODEL_FILE", "Encoder", "FittedHead"]

HEAD_FILE, MODEL_FILE = "head.safetensors", "model.safetensors"
ENCODER = "encoder."
"""Prefix of tensors that belong to the encoder."""

VERSION = 1
Floats = npt.NDArray[np.float32]
Tensors = dict[str, Floats]


class Encoder(Protocol):
    """What is asked of an encoder, which is a torch module."""

    @property
    def n_blocks(self) -> int: ...

    def encode(self, fbank: Any) -> Any:
        """Tokens (batch, n_tokens, width) of filter banks (batch, n_frames, n_bins)."""
        ...

    def blocks(self, last: int) -> Sequence[Any]:
        """The last transformer blocks, as modules."""
        ...


@dataclass(frozen=True)
class FittedHead:
    """A network that was fitted, and how.

    Parameters
    ----------
    devices : tuple of str
    width : int
        Of an input: bins of a filter bank, or components of a token.
    settings : HeadSettings
        Of the last stage.
    tensors : dict of ndarray
        Weights and running statistics by name; those of encoder blocks that learned begin with ``encoder.``.
    best_epoch : int
        The epoch that is kept, from 0; of the stage that is kept.
    history : list of dict
        One entry per epoch, of all stages.
    encoder_sha256 : str
        Of the encoder's weights that the tokens are from; empty without one.
    encoder : Encoder, optional
        Needed only if blocks of it learned: the inputs are filter banks then.
    """

    devices: tuple[str, ...]
    width: int
    settings: HeadSettings
    tensors: Tensors
    best_epoch: int
    history: list[dict[str, Any]] = field(default_factory=list)
    encoder_sha256: str = ""
    encoder: Encoder | None = None

    @property
    def tunes_encoder(self) -> bool:
        """Whether blocks of the encoder learned, so that inputs are filter banks and not tokens."""
        return self.settings.unfreeze_blocks > 0

    @property
    def head_tensors(self) -> Tensors:
        """Weights and running statistics without the encoder's."""
        return {name: array for name, array in self.tensors.items() if not name.startswith(ENCODER)}

    @property
    def best_entry(self) -> dict[str, Any]:
        """The entry of the history whose weights are kept."""
        stage = 2 if self.tunes_encoder else 1
        return next(e for e in self.history if (e["stage"], e["epoch"]) == (stage, self.best_epoch))

    @cached_property
    def network(self) -> Any:
        """The torch module in eval mode: inputs (batch, n, width) to logits (batch, n_devices)."""
        from earmark.models.acoustic.networks import EncoderAndHead, build, fill, own_encoder

        head = fill(build(self.settings, self.width, len(self.devices)), self.head_tensors)
        if not self.tunes_encoder:
            return head
        if self.encoder is None:
            raise RunError(
                "This model learned blocks of its encoder, and no encoder was given; expected the one whose weights "
                f"have SHA-256 {self.encoder_sha256 or '(unknown)'}. Give its checkpoint."
            )
        blocks = {
            name.removeprefix(ENCODER): a for name, a in self.tensors.items() if name.startswith(ENCODER)
        }
        return EncoderAndHead(fill(own_encoder(self.encoder), blocks, partly=True), head).eval()

    def logits(self, inputs: Inputs, *, device: str = "cpu") -> Floats:
        """Logits of windows, shape (n, n_devices).

        Parameters
        ----------
        inputs : Inputs
            Windows by position, each (n frames or tokens, width).
        device : str
            Where torch computes.

        Raises
        ------
        UsageError
            Inputs of another width than the network was fitted on.
        """
        try:
            from earmark.models.acoustic.networks import each_alone
        except ModuleNotFoundError as error:
            raise MissingExtraError(error.name or "torch", "torch", "A network") from None

        if not self.tunes_encoder and len(inputs) and inputs[0].shape[-1] != self.width:
            raise UsageError(
                f"Inputs have {inputs[0].shape[-1]} columns; this model was fitted on {self.width}. "
                "Compute them with the features of its card."
            )
        return each_alone(self.network, inputs, len(self.devices), device)

    def probabilities(self, inputs: Inputs, *, device: str = "cpu") -> Floats:
        """Probability that each device is on, uncalibrated, shape (n, n_devices)."""
        from scipy.special import expit

        return np.asarray(expit(self.logits(inputs, device=device).astype(np.float64)), dtype=np.float32)

    def card(self) -> dict[str, Any]:
        """Facts of the network for a model's card; ``n_parameters`` counts no encoder."""
        return {
            "network": self.settings.network,
            "pool": self.settings.pool if self.settings.network == "attention" else None,
            "n_parameters": int(
                sum(a.size for name, a in self.head_tensors.items() if "running_" not in name)
            ),
            "input_width": self.width,
            "devices": list(self.devices),
            "masked_loss": self.settings.masked_loss,
            "encoder_sha256": self.encoder_sha256 or None,
            "encoder_blocks_trained": self.settings.unfreeze_blocks,
            "best_epoch": self.best_epoch,
            "epochs_run": len(self.history),
            "seed": self.settings.seed,
        }

    def save(self, folder: Path, *, full_state: bool = False) -> None:
        """Write ``head.safetensors`` and ``model.safetensors``, each whole or not at all.

        Parameters
        ----------
        folder : Path
            Made if absent.
        full_state : bool
            Store the whole encoder too, so that its checkpoint's weights are not needed again.
        """
        record = {
            "version": VERSION,
            "devices": list(self.devices),
            "width": self.width,
            "settings": self.settings.to_dict(),
            "best_epoch": self.best_epoch,
            "history": self.history,
            "encoder_sha256": self.encoder_sha256,
        }
        tensors = dict(self.tensors)
        if full_state:
            tensors = self._encoder_state() | tensors
        head = {
            name: array for name, array in self.tensors.items() if not name.startswith((ENCODER, "blocks."))
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(folder / HEAD_FILE, _packed(head, record))
        write_bytes_atomic(folder / MODEL_FILE, _packed(tensors, record))

    @classmethod
    def load(cls, folder: Path, *, encoder: Encoder | None = None) -> FittedHead:
        """Read what `save` wrote.

        Parameters
        ----------
        folder : Path
        encoder : Encoder, optional
            Needed if blocks of it learned; its weights are replaced by the stored ones.

        Raises
        ------
        RunError
            The file is missing, is not one of these, or is of a later version.
        """
        tensors, record = _unpacked(folder / MODEL_FILE)
        return cls(
            tuple(record["devices"]),
            record["width"],
            HeadSettings.of(record["settings"]),
            tensors,
            record["best_epoch"],
            record["history"],
            record["encoder_sha256"],
            encoder,
        )

    def _encoder_state(self) -> Tensors:
        from earmark.models.acoustic.networks import state

        if self.encoder is None:
            raise UsageError(
                "The full state holds an encoder, and this model has none. Leave `full_state` out."
            )
        return {ENCODER + name: tensor.numpy() for name, tensor in state(self.encoder).items()}


def _packed(tensors: Mapping[str, Floats], record: Mapping[str, Any]) -> bytes:
    from safetensors.numpy import save

    contiguous = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
    packed: bytes = save(contiguous, metadata={"earmark": json.dumps(record)})
    return packed


def _unpacked(path: Path) -> tuple[Tensors, dict[str, Any]]:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError as error:
        raise MissingExtraError("safetensors", "torch", "A network's file") from error
    if not path.is_file():
        raise RunError(f"There is no `{path}`; expected the weights of a trained network. Train it again.")
    try:
        with safe_open(path, "numpy") as file:
            record = json.loads((file.metadata() or {})["earmark"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no iterator)
    except (SafetensorError, KeyError, ValueError) as error:
        raise RunError(
            f"`{path}` is no network of this program ({error}); expected safetensors with its record. Train it again."
        ) from error
    if record["version"] > VERSION:
        raise RunError(
            f"`{path}` is of version {record['version']}; this program reads up to {VERSION}. Update earmark."
        )
    return tensors, record
