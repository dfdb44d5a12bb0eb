"""Networks as sequence models: their parameters, presets and files; torch is imported to fit, predict or export.

Kept as ``model.safetensors``. Prediction runs in batches on one thread, so a window's numbers do not depend on how busy
the machine is; a window alone and in a batch may differ in the last bits of float32.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.data.windows import Windows
from earmark.errors import MissingExtraError, UsageError
from earmark.models.constraints import Choice, Flag, Interval, Parameter
from earmark.models.estimator import Floats
from earmark.models.neural import Widths
from earmark.models.sequence.balance import BALANCING
from earmark.models.sequence.base import (
    N_CLASSES,
    SequenceEstimator,
    SequenceFit,
    SequencePrediction,
    finite_inputs,
    in_batches,
)
from earmark.models.sequence.levels import level_positions

if TYPE_CHECKING:
    from earmark.models.sequence.networks.heads import SequenceNetwork

__all__ = ["TRAINER_PARAMETERS", "DeepLob", "HybridCnnLstm", "MultiPatch", "NetworkEstimator", "Tlob"]

MODEL_FILE = "model.safetensors"
_PREDICTED_AT_ONCE = 256
_NOT_LEARNED = (".running_mean", ".running_var", "absent", "return_scale")

LOSSES = ("ce", "ce_smoothing", "focal", "focal_smoothing", "asymmetric")

_SHARE = Interval(float, 0, 1, open_high=True)
_POSITIVE = Interval(float, 0, open_low=True)

TRAINER_PARAMETERS: Mapping[str, Parameter] = {
    "epochs": Parameter(150, Interval(int, 1, 500), "epochs at most"),
    "batch_size": Parameter(64, Interval(int, 2, 4096), "windows per batch"),
    "accumulation": Parameter(4, Interval(int, 1, 64), "batches per step of the optimiser"),
    "learning_rate": Parameter(5e-5, _POSITIVE, "AdamW's largest step size"),
    "weight_decay": Parameter(0.01, Interval(float, 0), "decoupled shrinkage of matrices"),
    "clip_norm": Parameter(1.0, _POSITIVE, "largest norm of a step's gradient"),
    "schedule": Parameter(
        "cosine_warm_restarts", Choice(("cosine_warm_restarts", "constant")), "course of the rate"
    ),
    "restart_epochs": Parameter(10, Interval(int, 1), "epochs of the first cosine"),
    "restart_factor": Parameter(2, Interval(int, 1), "length of each cosine over the one before"),
    "learning_rate_floor": Parameter(1e-7, Interval(float, 0), "least step size"),
    "dropout": Parameter(0.4, Interval(float, 0, 0.9), "share of units silenced in training"),
    "loss": Parameter("focal_smoothing", Choice(LOSSES), "loss of the direction"),
    "label_smoothing": Parameter(0.1, Interval(float, 0, 0.5), "share of the target given to all classes"),
    "focal_gamma": Parameter(1.5, Interval(float, 0), "how much easy windows count less"),
    "noise": Parameter(0.01, Interval(float, 0, 0.1), "standard deviation of noise on prepared inputs"),
    "mixup_alpha": Parameter(0.2, Interval(float, 0), "shape of the mixing share; 0 mixes nothing"),
    "mixup_probability": Parameter(0.3, Interval(float, 0, 1), "share of batches that are mixed"),
    "balance": Parameter("none", Choice(BALANCING), "how classes are balanced in training"),
    "balance_ratio": Parameter(
        1.0,
        Interval(float, 0, 1, open_low=True),
        "smaller classes' size against larger ones' after resampling",
    ),
    "early_stopping_epochs": Parameter(
        20, Interval(int, 0, 100), "epochs without a better validation loss before stopping; 0 never stops"
    ),
    "early_stopping_delta": Parameter(1e-4, Interval(float, 0), "least improvement that counts"),
    "stop_on_collapse": Parameter(True, Flag(), "stop when nearly all predictions stay one class"),
    "checkpoint_every": Parameter(10, Interval(int, 1), "epochs between kept weights"),
    "mixed_precision": Parameter(False, Flag(), "compute in bfloat16 where that is safe"),
    "deterministic": Parameter(False, Flag(), "refuse kernels that do not repeat, as some of a GPU's"),
    "device": Parameter("auto", Choice(("auto", "cpu", "cuda")), "where to compute; auto is a GPU if any"),
    "n_threads": Parameter(1, Interval(int, 1, 256), "threads of the CPU in training"),
    "seed": Parameter(42, Interval(int, 0, 2**31 - 1), "seed of weights, order, noise and dropout"),
}

_TRANSFORMER = {
    "width": Parameter(256, Interval(int, 8, 2048), "numbers per token"),
    "layers": Parameter(6, Interval(int, 1, 48), "transformer blocks"),
    "n_heads": Parameter(8, Interval(int, 1, 64), "attention heads; divides the width"),
    "skip": Parameter(0.1, _SHARE, "stochastic depth of the last block"),
}


class NetworkEstimator(SequenceEstimator):
    """A network, made anew from its sizes and filled with its tensors.

    Attributes
    ----------
    architecture : (module, class)
        Of `networks`.
    sizes : tuple of str
        Parameters that the network is built from.
    preset_windows : mapping
        Rows of a window that a preset is meant for, where that is not the default.
    """

    extras: ClassVar[tuple[tuple[str, str], ...]] = (("torch", "torch"), ("safetensors", "torch"))
    distributions: ClassVar[tuple[str, ...]] = ("torch",)
    files: ClassVar[tuple[str, ...]] = (MODEL_FILE,)
    length_parameter: ClassVar[str | None] = "epochs"
    architecture: ClassVar[tuple[str, str]]
    sizes: ClassVar[tuple[str, ...]]
    preset_windows: ClassVar[Mapping[str, int]] = {}

    def __init__(self, **params: Any) -> None:
        super().__init__(**params)
        width = self.params.get("width", 2 * self.params.get("lstm_width", 0))
        heads = self.params.get("n_heads", 1)
        if width % heads:
            raise UsageError(
                f"Model `{self.name}` has a width of {width} and {heads} heads; expected heads that divide the width. "
                "Change `n_heads`."
            )
        self.tensors: dict[str, Floats] = {}
        self.best_epoch = -1
        self.ended = ""
        self._built: SequenceNetwork | None = None

    @property
    def length(self) -> int | None:
        """Epochs up to the one whose weights were kept."""
        return self.best_epoch + 1 if self.tensors else None

    @property
    def n_parameters(self) -> int:
        """Numbers that the fit has learned."""
        return sum(array.size for name, array in self.tensors.items() if not name.endswith(_NOT_LEARNED))

    def count_parameters(self, columns: Sequence[str], window: int, n_classes: int = N_CLASSES) -> int:
        """Numbers that a fit on such windows would learn."""
        return sum(weight.numel() for weight in self._build(columns, window, n_classes).parameters())

    def network(self) -> SequenceNetwork:
        """The fitted network in evaluation mode, on the CPU."""
        if self._built is None:
            import torch

            built = self._build(self.columns, self.window, self.n_classes)
            tensors = {name: torch.from_numpy(array.copy()) for name, array in self.tensors.items()}
            missing, strange = built.load_state_dict(tensors, strict=False)
            lacking = [name for name in missing if not name.endswith("num_batches_tracked")]
            if lacking or strange:
                raise ValueError(f"{MODEL_FILE} lacks {lacking[:3]} and has unknown {strange[:3]}")
            self._built = built.eval()
        return self._built

    def onnx_bytes(self) -> bytes:
        """The fitted network as an ONNX model."""
        from earmark.models.sequence.export import network_to_onnx

        return network_to_onnx(self.network().cpu())

    def _fit(self, request: SequenceFit) -> None:
        self._require_mixable(request)
        with self._torch():
            from earmark.models.sequence.device import repeatable
            from earmark.models.sequence.trainer import train_network
        params = self.params
        with repeatable(params["seed"], n_threads=params["n_threads"], deterministic=params["deterministic"]):
            network = self._build(self.columns, self.window, self.n_classes)
            trained = train_network(network, request, self.present, params)
        self.tensors, self.best_epoch = trained.tensors, trained.best_epoch
        self.history, self.ended, self._built = trained.history, trained.ended, None

    def _predict(self, windows: Windows) -> SequencePrediction:
        with self._torch():
            import torch

            from earmark.models.sequence.device import on_device, repeatable
        device = on_device(self.params["device"])
        network = self.network().to(device)

        def answer(chosen: slice) -> Floats:
            inputs = torch.from_numpy(finite_inputs(windows, chosen)).to(device)
            return np.asarray(network(inputs).cpu().numpy())

        with repeatable(self.params["seed"]), torch.no_grad():
            output = np.concatenate(list(in_batches(len(windows), _PREDICTED_AT_ONCE, answer)))
        return split_output(output)

    def _save(self, folder: Path) -> dict[str, Any]:
        from safetensors.numpy import save

        write_bytes_atomic(folder / MODEL_FILE, save(self.tensors))
        return {"best_epoch": self.best_epoch, "ended": self.ended}

    def _load(self, folder: Path, state: Mapping[str, Any]) -> None:
        with self._torch():
            from safetensors import SafetensorError
            from safetensors.numpy import load
        try:
            self.tensors = load((folder / MODEL_FILE).read_bytes())
        except SafetensorError as error:
            raise ValueError(f"{MODEL_FILE} is damaged: {error}") from error
        self.best_epoch, self.ended = int(state["best_epoch"]), str(state["ended"])

    def _build(self, columns: Sequence[str], window: int, n_classes: int) -> SequenceNetwork:
        with self._torch():
            module = importlib.import_module(f"{__package__}.networks.{self.architecture[0]}")
        sizes = {name: self.params[name] for name in (*self.sizes, "dropout")}
        built: SequenceNetwork = getattr(module, self.architecture[1])(
            window, len(columns), n_classes, **sizes, **self._positions(columns)
        )
        return built

    def _positions(self, columns: Sequence[str]) -> dict[str, Any]:
        """Which columns are book levels, for networks that read them."""
        return {"positions": level_positions(columns, self.params["levels"])} if self.reads_levels else {}

    def _require_mixable(self, request: SequenceFit) -> None:
        if self.reads_levels and self.params["balance"] == "smote":
            raise UsageError(
                f"balance is 'smote' and `{self.name}` reads raw prices, which cannot be mixed between windows. "
                "Choose 'oversample' or class weights."
            )

    def _torch(self) -> _NeedsTorch:
        return _NeedsTorch(self.name)


class _NeedsTorch:
    """Turns a failing import inside the block into a hint at the extra."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, ModuleNotFoundError) and error.name in ("torch", "safetensors"):
            raise MissingExtraError(error.name, "torch", f"Model `{self.name}`") from error


class HybridCnnLstm(NetworkEstimator):
    """Convolutions over time, a bidirectional LSTM and attention."""

    name: ClassVar[str] = "hybrid_cnn_lstm"
    architecture: ClassVar[tuple[str, str]] = ("cnn_lstm", "CnnLstmNetwork")
    sizes: ClassVar[tuple[str, ...]] = ("channels", "lstm_width", "lstm_layers", "n_heads")
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "channels": Parameter((32, 64, 128), Widths(), "channels of each residual block"),
        "lstm_width": Parameter(128, Interval(int, 4, 2048), "units of the LSTM per direction"),
        "lstm_layers": Parameter(2, Interval(int, 1, 8), "layers of the LSTM"),
        "n_heads": Parameter(4, Interval(int, 1, 64), "attention heads; divides twice the LSTM's width"),
        **TRAINER_PARAMETERS,
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "base": {},
        "large": {"channels": (64, 128, 256), "lstm_width": 256},
        "tiny": {"channels": (16, 32), "lstm_width": 16, "lstm_layers": 1, "n_heads": 2},
    }


class MultiPatch(NetworkEstimator):
    """A vision transformer on patches of 5 steps by 16 columns."""

    name: ClassVar[str] = "mpd"
    architecture: ClassVar[tuple[str, str]] = ("patches", "PatchNetwork")
    sizes: ClassVar[tuple[str, ...]] = ("width", "layers", "n_heads", "skip")
    parameters: ClassVar[Mapping[str, Parameter]] = {**_TRANSFORMER, **TRAINER_PARAMETERS}
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "base": {},
        "tiny": {"width": 128, "layers": 3, "n_heads": 4},
        "large": {"width": 512, "layers": 12, "n_heads": 16},
    }


class Tlob(NetworkEstimator):
    """A transformer of raw order books at three time scales."""

    name: ClassVar[str] = "tlob"
    reads_levels: ClassVar[bool] = True
    architecture: ClassVar[tuple[str, str]] = ("tlob", "TlobNetwork")
    sizes: ClassVar[tuple[str, ...]] = ("width", "layers", "n_heads", "skip")
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "levels": Parameter(20, Interval(int, 1, 500), "levels per side"),
        **_TRANSFORMER,
        "width": Parameter(128, Interval(int, 8, 2048), "numbers per token"),
        "layers": Parameter(4, Interval(int, 1, 48), "transformer blocks"),
        **TRAINER_PARAMETERS,
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "base": {},
        "tiny": {"width": 64, "layers": 2, "n_heads": 4},
        "hft": {"levels": 10, "width": 64, "layers": 2, "n_heads": 4},
    }
    preset_windows: ClassVar[Mapping[str, int]] = {"hft": 30}


class DeepLob(NetworkEstimator):
    """DeepLOB: convolutions over levels, an inception block and an LSTM."""

    name: ClassVar[str] = "deeplob"
    reads_levels: ClassVar[bool] = True
    architecture: ClassVar[tuple[str, str]] = ("deeplob", "DeepLobNetwork")
    sizes: ClassVar[tuple[str, ...]] = ("channels", "lstm_width")
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "levels": Parameter(10, Interval(int, 1, 500), "levels per side"),
        "channels": Parameter(32, Interval(int, 1, 512), "channels of a convolution"),
        "lstm_width": Parameter(64, Interval(int, 4, 2048), "units of the LSTM"),
        **TRAINER_PARAMETERS,
    }
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "base": {},
        "tiny": {"channels": 8, "lstm_width": 16},
    }


def split_output(output: Floats) -> SequencePrediction:
    """The parts of a network's output, shape (m, n_classes + 2)."""
    return SequencePrediction(output[:, :-2], output[:, -2], output[:, -1])
