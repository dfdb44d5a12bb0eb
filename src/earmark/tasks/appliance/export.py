"""A trained run as ONNX: a folder that answers wherever onnxruntime runs, or the file of its head alone.

``full`` writes a run's folder of its own, for `predict`, `stream` and `live` with ``--run FOLDER`` on a machine without
torch and without the encoder's checkpoint::

    run.toml  card.json  thresholds.yaml   as of the run; the thresholds name the exported model
    model/model.onnx  model/layer.json     audio to logits, and their calibration

``head`` writes one file: tokens to logits, or of a model on columns, columns to logits and probabilities. In full such
a model needs no export: its run is that folder, without torch as it is.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.audio.kaldi_fbank import FRAME_SHIFT, SAMPLE_RATE, n_fbank_frames
from earmark.errors import UsageError
from earmark.models.acoustic.export import OPSET, export_network
from earmark.models.onnx_files import Exported
from earmark.models.weights import Weights
from earmark.tasks.appliance.detector import CARD_FILE, Detector
from earmark.tasks.appliance.layers import MODEL_FOLDER, ColumnsLayer, HeadLayer, Layer
from earmark.tasks.appliance.lengths import LengthsLayer
from earmark.tasks.appliance.onnx_layer import MODEL_FILE, OnnxLayer
from earmark.tasks.appliance.thresholds_file import THRESHOLDS_FILE, Thresholds
from earmark.training.runs import RUN_FILE

if TYPE_CHECKING:
    from earmark.models.beats.encoder import BeatsEncoder

__all__ = ["ExportOptions", "default_target", "export_run"]

FRAMES_PER_S = SAMPLE_RATE / FRAME_SHIFT


@dataclass(frozen=True)
class ExportOptions:
    """How the file is made.

    Parameters
    ----------
    opset, batch, dynamic
        As of `export_network`.
    n : int, optional
        Tokens or frames of a fixed ``head``; None for those of a window.
    window_s : float, optional
        Seconds of that window; None for the detector's.
    frames_per_s, input_dim, normalize
        What other tools let one choose; here a model has them, and other values are refused.
    """

    opset: int = OPSET
    batch: int = 1
    dynamic: bool = True
    n: int | None = None
    window_s: float | None = None
    frames_per_s: float | None = None
    input_dim: int | None = None
    normalize: bool = True


def default_target(run: Path, mode: str) -> Path:
    """Where an export lies if nobody says: inside the run."""
    return run / "onnx" / ("full" if mode == "full" else "head.onnx")


def export_run(
    run: Path, target: Path, *, mode: str = "full", options: ExportOptions | None = None
) -> Exported:
    """Write a run's network as ONNX, checked against it.

    Parameters
    ----------
    run : Path
        Folder of a detector.
    target : Path
        A new folder for ``full``, a file for ``head``.
    mode : {"full", "head"}
    options : ExportOptions, optional

    Raises
    ------
    UsageError
        The target exists, the model has no ONNX form, or the file's answers differ; nothing is written.
    RunError
        The folder holds no detector, or thresholds of another one.
    """
    options = options or ExportOptions()
    detector = Detector.load(run)
    layer = detector.layer
    if isinstance(layer, LengthsLayer):
        raise UsageError(
            f"`{run.name}` hears machines in windows of several lengths, each with a model of its own; expected one "
            "model. Train without --lengths to export, or copy the run."
        )
    _require_own(layer, mode, options)
    if isinstance(layer, ColumnsLayer):
        return _columns(detector, layer, target, options)
    assert isinstance(layer, HeadLayer)
    if mode == "head":
        return _network(detector, layer, target, mode, options)
    if target.exists():
        raise UsageError(f"`{target}` exists; expected a new folder. Name another, or remove it.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as scratch:
        folder = Path(scratch, target.name)
        exported = _network(detector, layer, folder / MODEL_FOLDER / MODEL_FILE, mode, options)
        _complete(folder, run, detector, layer)
        folder.rename(target)
    return replace(exported, path=target)


def _require_own(layer: Layer, mode: str, options: ExportOptions) -> None:
    """Raise UsageError where the model has no such form, or is asked for what it was not trained with."""
    problems = []
    if not isinstance(layer, ColumnsLayer | HeadLayer):
        problems.append(
            "this run has no ONNX form: its devices have windows of several lengths, or it is one already"
        )
    if isinstance(layer, ColumnsLayer) and mode == "full":
        problems.append("a model on columns runs without torch as it is: copy the run, or export --mode head")
    if options.frames_per_s not in (None, FRAMES_PER_S):
        problems.append(
            f"--frames-per-s {options.frames_per_s:g}: a filter bank has {FRAMES_PER_S:g} a second"
        )
    width = layer.head.width if isinstance(layer, HeadLayer) else None
    if options.input_dim is not None and options.input_dim != width:
        problems.append(
            f"--input-dim {options.input_dim}: the model's inputs have {width or 'its own columns'}"
        )
    if not options.normalize:
        problems.append("--no-normalize: it was trained on scaled inputs, and answers by no others")
    if problems:
        raise UsageError(f"This cannot be exported: {'; '.join(problems)}. Leave it out.")


def _columns(detector: Detector, layer: ColumnsLayer, path: Path, options: ExportOptions) -> Exported:
    from earmark.models.multilabel_onnx import export_multilabel

    facts = {"window_s": detector.window_s, "hop_s": detector.hop_s, "floor_dbfs": layer.floor_dbfs}
    return export_multilabel(
        layer.model,
        path,
        metadata=facts | {"run": detector.hash},
        opset=options.opset,
        batch=None if options.dynamic else options.batch,
    )


def _network(detector: Detector, layer: HeadLayer, path: Path, mode: str, options: ExportOptions) -> Exported:
    encoder = None
    if layer.checkpoint is not None and not layer.head.tunes_encoder:
        encoder = layer.checkpoint.load()
    return export_network(
        layer.head,
        path,
        mode=mode,
        n=options.n or _length(options.window_s, detector, mode, encoder),
        encoder=encoder,
        metadata=_facts(detector, layer),
        opset=options.opset,
        batch=options.batch,
        dynamic=options.dynamic,
    )


def _length(window_s: float | None, detector: Detector, mode: str, encoder: BeatsEncoder | None) -> int:
    """Samples of a window for ``full``; its frames or tokens for ``head``."""
    n_samples = detector.n_samples if window_s is None else round(window_s * detector.sample_rate)
    if mode == "full":
        return n_samples
    n_frames = n_fbank_frames(n_samples)
    return n_frames if encoder is None else encoder.config.n_tokens(n_frames)


def _facts(detector: Detector, layer: HeadLayer) -> dict[str, Any]:
    return {
        "window_s": detector.window_s,
        "hop_s": detector.hop_s,
        "calibration": [platt.to_dict() for platt in layer.calibration],
        "run": detector.hash,
    }


def _complete(folder: Path, run: Path, detector: Detector, layer: HeadLayer) -> None:
    """What makes the folder of a file the folder of a run."""
    weights = Weights.of(folder / MODEL_FOLDER / MODEL_FILE)
    OnnxLayer(weights, detector.devices.names, layer.calibration).save(folder)
    for name in (RUN_FILE, CARD_FILE):
        shutil.copyfile(run / name, folder / name)
    if (run / THRESHOLDS_FILE).is_file():
        chosen = Thresholds.of_run(run, detector.devices, detector.hash)
        replace(chosen, model=Detector.load(folder).hash).write(folder / THRESHOLDS_FILE)
