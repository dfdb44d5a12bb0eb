"""Networks built, filled with weights, and applied to windows; imports torch.

A batch of windows that differ in length is filled up with zeros at the end, and a mask tells what is real.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from earmark.errors import RunError, UsageError
from earmark.models.acoustic.cnn import ConvolutionNetwork
from earmark.models.acoustic.heads import AttentionHead, GruHead
from earmark.models.acoustic.inputs import Array, Inputs
from earmark.models.acoustic.settings import HeadSettings
from earmark.models.sequence.device import on_device, repeatable

__all__ = ["EncoderAndHead", "build", "each_alone", "fill", "own_encoder", "padded", "state"]

Floats = npt.NDArray[np.float32]


class EncoderAndHead(nn.Module):
    """Filter banks through an encoder to a head.

    Parameters
    ----------
    encoder : Module
        With ``encode`` of `earmark.models.acoustic.fitted.Encoder`.
    head : Module
    """

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head

    def forward(self, fbanks: Tensor, mask: Tensor | None = None) -> Tensor:
        """Logits, shape (batch, n_devices)."""
        if mask is not None:
            raise UsageError(
                "Windows of a batch differ in length; an encoder that learns reads windows of one length. "
                "Prepare windows of one length."
            )
        logits: Tensor = self.head(self.encoder.encode(fbanks))  # type: ignore[operator]
        return logits


def build(settings: HeadSettings, width: int, n_devices: int) -> nn.Module:
    """A network with weights drawn from torch's generator."""
    if settings.network == "cnn":
        return ConvolutionNetwork(n_devices)
    if settings.network == "gru":
        return GruHead(width, n_devices)
    return AttentionHead(width, n_devices, settings.pool)


def own_encoder(encoder: Any) -> Any:
    """A copy whose weights may change, all frozen and in eval mode."""
    copied = copy.deepcopy(encoder)
    return copied.requires_grad_(False).eval()


def fill(module: Any, tensors: Mapping[str, Floats], *, partly: bool = False) -> Any:
    """The module with these weights, in eval mode.

    Raises
    ------
    RunError
        A tensor is of no such module or of another shape, or (unless `partly`) one is missing.
    """
    given = {name: torch.from_numpy(array.copy()) for name, array in tensors.items()}
    try:
        missing, unexpected = module.load_state_dict(given, strict=False)
    except RuntimeError as error:
        raise RunError(f"The weights do not fit the network: {error}. Train it again.") from error
    absent = [] if partly else [name for name in missing if not name.endswith("num_batches_tracked")]
    if absent or unexpected:
        raise RunError(
            f"The weights do not fit the network: missing {sorted(absent)}, unknown {sorted(unexpected)}. "
            "Train it again."
        )
    return module.eval()


def state(module: Any, *, trained_only: bool = False) -> dict[str, Tensor]:
    """Copies of weights and running statistics, on the CPU; torch's count of batches is not used.

    With `trained_only`, only those weights that learn.
    """
    if trained_only:
        found = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
    else:
        found = module.state_dict()
    weights = {name: tensor.detach() for name, tensor in found.items() if tensor.is_floating_point()}
    return {
        name: t.to("cpu", copy=True, memory_format=torch.contiguous_format) for name, t in weights.items()
    }


def each_alone(network: Any, inputs: Inputs, n_devices: int, device: str = "cpu") -> Floats:
    """Logits of windows, each computed by itself on one thread, shape (n, n_devices)."""
    found = np.empty((len(inputs), n_devices), dtype=np.float32)
    where = on_device(device)
    network.to(where).eval()
    with repeatable(0), torch.inference_mode():
        for row in range(len(inputs)):
            window, _ = padded([inputs[row]])
            found[row] = network(window.to(where))[0].cpu().numpy()
    return found


def padded(windows: Sequence[Array]) -> tuple[Tensor, Tensor | None]:
    """A batch (batch, n, width) of float32, and which of its rows are real, (batch, n); None if all are.

    Raises
    ------
    UsageError
        A window that is not (n, width) with n > 0.
    """
    for window in windows:
        if window.ndim != 2 or not window.size:
            raise UsageError(
                f"A window's input has shape {window.shape}; expected (n frames or tokens, width), not empty. "
                "Give each window by itself."
            )
    lengths = [len(window) for window in windows]
    if len(set(lengths)) == 1:
        return torch.from_numpy(np.stack(windows).astype(np.float32)), None
    batch = np.zeros((len(windows), max(lengths), windows[0].shape[1]), dtype=np.float32)
    for row, window in zip(batch, windows, strict=True):
        row[: len(window)] = window
    real = np.arange(max(lengths)) < np.array(lengths)[:, None]
    return torch.from_numpy(batch), torch.from_numpy(real)
