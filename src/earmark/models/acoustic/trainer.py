"""Training of a head on frozen tokens (stage 1) and of a head with the encoder's last blocks (stage 2).

Stage 2 starts from the weights that stage 1 kept. Only the last blocks, at a low rate, and pooling and head learn; the
rest of the encoder stays frozen and in eval mode. Its result is kept only if it selects better than its start.

Conventions: labels (n, n_devices), 0 or 1, NaN where unknown; masks are pairs (by, hides) of devices. Two fits of the
same inputs on one thread give the same bits, continued after a kill or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from earmark.errors import UsageError
from earmark.models.acoustic.fitted import Encoder, FittedHead
from earmark.models.acoustic.inputs import Inputs, Source, source_of
from earmark.models.acoustic.networks import EncoderAndHead, build, fill, own_encoder
from earmark.models.acoustic.settings import HeadSettings
from earmark.models.acoustic.stage import Job, OnEpoch, StageFit, Validation
from earmark.models.sequence.device import repeatable

__all__ = ["Validation", "fine_tune", "fit_head"]

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]


def fit_head(
    inputs: Inputs | Source,
    y: Floats,
    *,
    devices: Sequence[str],
    settings: HeadSettings = HeadSettings(),  # noqa: B008 (frozen)
    masks: Sequence[tuple[str, str]] = (),
    weights: Doubles | None = None,
    validation: Validation | None = None,
    on_epoch: OnEpoch | None = None,
    checkpoint: Path | None = None,
    encoder_sha256: str = "",
) -> FittedHead:
    """Stage 1: fit a network on inputs as they are given, tokens of a frozen encoder or filter banks.

    Parameters
    ----------
    inputs : Inputs or Source
        Each (n frames or tokens, width); a `Source` may give others in each epoch.
    y : ndarray of float, shape (n, n_devices)
        Labels, 0 or 1, NaN where unknown.
    devices : sequence of str
        Names, in the order of the columns of `y`.
    settings : HeadSettings
    masks : sequence of (str, str)
        Pairs (by, hides) of devices.
    weights : ndarray of float, shape (n,), optional
        Of windows; None counts each the same.
    validation : Validation, optional
        Without, all epochs are run and the last is kept.
    on_epoch : callable, optional
        Is given each epoch's entry, once: ``stage``, ``epoch``, ``train_loss``, ``lr`` and, with validation windows,
        ``val_loss``, ``auroc``, ``margin``, ``mean_f1``, ``f1_<device>``. A continued fit gives the earlier ones again.
    checkpoint : Path, optional
        Folder of the state after each epoch, from which a killed fit continues.
    encoder_sha256 : str
        Of the encoder that the tokens are from.

    Raises
    ------
    UsageError
        Numbers of inputs, labels and devices that differ; no label counts; the fit diverges.
    """
    source = source_of(inputs)
    _check(source, y, devices, masks)
    width = int(source.batch(np.zeros(1, dtype=np.int64), 0)[0].shape[-1])
    with repeatable(settings.seed, n_threads=settings.n_threads):
        network = build(settings, width, len(devices))
        job = Job(
            source, y, tuple(devices), settings, tuple(masks), weights, validation, on_epoch, checkpoint
        )
        fit = StageFit(network, job, stage=1)
        fit.run()
    return FittedHead(
        job.devices,
        width,
        settings,
        fit.best_arrays(),
        fit.progress.best_epoch,
        fit.progress.history,
        encoder_sha256,
    )


def fine_tune(
    start: FittedHead,
    encoder: Encoder,
    inputs: Inputs | Source,
    y: Floats,
    *,
    settings: HeadSettings,
    masks: Sequence[tuple[str, str]] = (),
    weights: Doubles | None = None,
    validation: Validation | None = None,
    on_epoch: OnEpoch | None = None,
    checkpoint: Path | None = None,
) -> FittedHead:
    """Stage 2: go on from a fitted head, with the encoder's last blocks; `start` itself if that selects no better.

    Without validation windows nothing selects: all epochs are run, and the last is kept.

    Parameters
    ----------
    start : FittedHead
        What stage 1 kept.
    encoder : Encoder
        Is copied, not changed.
    inputs : Inputs or Source
        Filter banks, (n_frames, n_bins) each, all of one length; those of `validation` too.
    settings : HeadSettings
        `HeadSettings.stage_2` of the first stage's.
    y, masks, weights, validation, on_epoch, checkpoint
        As in `fit_head`. Entries have ``stage`` 2; the first, of epoch -1, is the start's.
    """
    _check(source_of(inputs), y, start.devices, masks)
    if not 1 <= settings.unfreeze_blocks <= encoder.n_blocks:
        raise UsageError(
            f"unfreeze_blocks is {settings.unfreeze_blocks}; expected 1 to {encoder.n_blocks}, the encoder's blocks. "
            "Choose 1 or 2."
        )
    with repeatable(settings.seed, n_threads=settings.n_threads):
        network = _unfrozen(start, encoder, settings)
        job = Job(
            source_of(inputs),
            y,
            start.devices,
            settings,
            tuple(masks),
            weights,
            validation,
            on_epoch,
            checkpoint,
        )
        fit = StageFit(network, job, stage=2)
        fit.run()
    history = start.history + fit.progress.history
    if fit.progress.best_epoch < 0:
        return replace(start, history=history, encoder=encoder)
    return FittedHead(
        start.devices,
        start.width,
        settings,
        fit.best_arrays(),
        fit.progress.best_epoch,
        history,
        start.encoder_sha256,
        encoder,
    )


def _check(source: Source, y: Floats, devices: Sequence[str], masks: Sequence[tuple[str, str]]) -> None:
    if y.shape != (len(source), len(devices)) or not len(source):
        raise UsageError(
            f"{len(source)} inputs, labels of shape {y.shape} and {len(devices)} devices do not fit; expected one row "
            "per input and one column per device. Prepare the windows again."
        )
    strange = sorted({name for pair in masks for name in pair} - set(devices))
    if strange:
        raise UsageError(
            f"Masks name {', '.join(strange)}; expected pairs out of {', '.join(devices)}. Correct the masks."
        )


def _unfrozen(start: FittedHead, encoder: Encoder, settings: HeadSettings) -> EncoderAndHead:
    """The start's network behind a copy of the encoder, whose last blocks learn."""
    head = fill(build(start.settings, start.width, len(start.devices)), start.head_tensors)
    own = own_encoder(encoder)
    for block in own.blocks(last=settings.unfreeze_blocks):
        block.requires_grad_(True)
    return EncoderAndHead(own, head)
