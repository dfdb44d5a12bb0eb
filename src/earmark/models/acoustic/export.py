"""Networks on filter banks and tokens as ONNX: the head alone, or all of it from audio.

=====  =========================================  ==================================================================
mode   input                                      what the graph holds
=====  =========================================  ==================================================================
head   ``tokens`` (batch, n, width); of the CNN,  pooling and head; all of the CNN
       ``fbank`` (batch, n_frames, 128)
full   ``audio`` (batch, n_samples)               filter bank, encoder, pooling and head
=====  =========================================  ==================================================================

The output is ``logits`` (batch, n_devices), before calibration. A file is kept only if it says what the network says,
to 1e-4, on windows with a constant offset among them. Tokens of a frozen encoder pass through float16, as those do that
the head was trained on and is asked with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.audio.kaldi_fbank import N_MELS, SAMPLE_RATE, normalised_fbank
from earmark.data.parquet import write_bytes_atomic
from earmark.errors import UsageError
from earmark.models.acoustic.fitted import FittedHead
from earmark.models.onnx_files import PARITY, Exported, require, session, traced

if TYPE_CHECKING:
    from earmark.models.beats.encoder import BeatsEncoder

__all__ = ["MODES", "OPSET", "export_network"]

MODES = ("head", "full")
OPSET = 17
SEED = 0
Floats = npt.NDArray[np.float32]


def export_network(
    head: FittedHead,
    path: str | Path,
    *,
    mode: str,
    n: int,
    encoder: BeatsEncoder | None = None,
    metadata: Mapping[str, Any] | None = None,
    opset: int = OPSET,
    batch: int = 1,
    dynamic: bool = True,
) -> Exported:
    """Write a fitted network as ONNX, checked against itself.

    Parameters
    ----------
    head : FittedHead
    path : path
    mode : {"head", "full"}
    n : int
        Samples of a window for ``full``, its tokens or frames for ``head``.
    encoder : BeatsEncoder, optional
        Whose tokens the head was trained on; needed by ``full`` of a network on tokens.
    metadata : mapping, optional
        Kept in the file as JSON, beside devices, mode and digest of the encoder.
    opset, batch, dynamic
        Of the file; without `dynamic`, batch and `n` are fixed.

    Returns
    -------
    Exported

    Raises
    ------
    UsageError
        An unknown mode, no encoder where one is needed, or a file that differs by more than 1e-4; nothing is written.
    MissingExtraError
        Without the packages of the extra ``onnx``.
    """
    import torch

    onnx = require("onnx")
    module, name = _module(head, mode, encoder)
    shape = (batch, n) if mode == "full" else (batch, n, head.width)
    free = {name: {0: "batch", 1: "n"}, "logits": {0: "batch"}} if dynamic else None
    data = traced(module, torch.zeros(shape), names=(name, "logits"), free=free, opset=opset)
    model = onnx.load_from_string(data)
    facts = {**head.card(), "mode": mode, "sample_rate": SAMPLE_RATE, "n": n, **(metadata or {})}
    onnx.helper.set_model_props(model, {key: json.dumps(value) for key, value in facts.items()})
    onnx.checker.check_model(model, full_check=True)
    kept = model.SerializeToString()
    rows = _sample(mode, max(batch, 3) if dynamic else batch, shape[1:])
    difference = float(np.abs(_answers(kept, name, rows) - _own(head, mode, encoder, rows)).max())
    if not difference <= PARITY:
        raise UsageError(
            f"The ONNX file differs by {difference:.2g} from the model, expected at most {PARITY:g}. Export with "
            "another opset; nothing was written."
        )
    write_bytes_atomic(path, kept)
    return Exported(Path(path), opset, difference, len(kept))


def _module(head: FittedHead, mode: str, encoder: BeatsEncoder | None) -> tuple[Any, str]:
    """What is traced, and what its input is called."""
    if mode not in MODES:
        raise UsageError(f"mode {mode!r} is unknown; expected {' or '.join(MODES)}. Correct it.")
    hears_bank = head.tunes_encoder or head.settings.network == "cnn"
    if mode == "head":
        if head.tunes_encoder:
            raise UsageError(
                "this network trained blocks of its encoder, so its head is of no use with tokens of another; expected "
                "mode `full`. Export that."
            )
        return head.network.eval(), "fbank" if hears_bank else "tokens"
    from earmark.models.acoustic.from_audio import FromAudio

    if not hears_bank and encoder is None:
        raise UsageError(
            "a network on tokens needs its encoder to be exported in full, and none was given. Give its checkpoint."
        )
    return FromAudio(head.network, None if hears_bank else encoder).eval(), "audio"


def _sample(mode: str, n_rows: int, shape: tuple[int, ...]) -> Floats:
    """Windows to compare on: noise, of audio at several levels, the second one with a constant offset."""
    rows = np.random.default_rng(SEED).normal(size=(n_rows, *shape)).astype(np.float32)
    if mode == "full":
        rows *= (0.02 * 3.0 ** -(np.arange(n_rows) % 4))[:, None].astype(np.float32)
        rows[1:2] += np.float32(0.2)
    return rows


def _answers(model: bytes, name: str, rows: Floats) -> Floats:
    answers: Floats = session(model).run(["logits"], {name: rows})[0]
    return answers


def _own(head: FittedHead, mode: str, encoder: BeatsEncoder | None, rows: Floats) -> Floats:
    """Logits as `predict` computes them."""
    if mode == "head":
        return head.logits(list(rows))
    banks = normalised_fbank(rows, SAMPLE_RATE)
    if encoder is None or head.width == N_MELS or head.tunes_encoder:
        return head.logits(list(banks))
    import torch

    with torch.inference_mode():
        return head.logits([encoder.encode(torch.from_numpy(bank)[None])[0].half().numpy() for bank in banks])
