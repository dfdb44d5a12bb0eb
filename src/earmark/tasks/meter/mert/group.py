"""Groups ``meter.mert_layers`` and ``meter.mert``: what the layers of MERT make of a clip, pooled over time.

All layers are computed and stored once; ``meter.mert`` reads one of them, so another layer costs nothing.

Conventions: 24 kHz; the middle 30 s in pieces of 5 s that do not overlap, a rest shorter than 1 s left out; each piece
of mean 0 and variance 1, as the network was trained. Of each layer the means over time come first, averaged over the
pieces, then the maxima. Layers count from 0, the first of the transformer. The clip does not pass the front end: the
network has heard whole recordings, lows included.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.errors import MissingExtraError, UsageError
from earmark.features.group import FeatureGroup, feature_group
from earmark.models.weights import Weights
from earmark.tasks.meter.schema import MERT_LAYER, MIN_DURATION_S, WINDOW_S

__all__ = ["MERT", "N_LAYERS", "WIDTH", "mert_group", "mert_layers", "mert_pieces", "pooled_layers"]

Float32 = NDArray[np.float32]

SAMPLE_RATE = 24_000
PIECE_S = 5.0
SHORTEST_PIECE_S = 1.0
N_LAYERS = 12
WIDTH = 768
SMALLEST_VARIANCE = 1e-7

COLUMNS = tuple(f"{pool}_{unit:03d}" for pool in ("mean", "max") for unit in range(WIDTH))


@feature_group(
    "meter.mert_layers",
    columns=COLUMNS,
    sample_rate=SAMPLE_RATE,
    kind="embedding",
    min_duration_s=MIN_DURATION_S,
)
def mert_layers(clip: Clip, weights: Weights | None = None) -> Float32:
    """A row per transformer layer, shape (12, 1536)."""
    if weights is None:
        raise UsageError(
            "MERT has no checkpoint; expected one. Set meter.mert in earmark.toml, or EARMARK_MERT, to its path."
        )
    return pooled_layers(clip.samples, _network(weights))


def _mert(clip: Clip, *, layers: FeatureGroup, layer: int) -> Float32:
    """The row of one layer, shape (1536,)."""
    row: Float32 = layers.on(clip)[layer]
    return row


MERT: FeatureGroup = feature_group(
    "meter.mert",
    columns=COLUMNS,
    sample_rate=SAMPLE_RATE,
    min_duration_s=MIN_DURATION_S,
    parameters={"layers": mert_layers, "layer": MERT_LAYER},
    reuses=(mert_layers,),
)(_mert)


def mert_group(weights: Weights, layer: int = MERT_LAYER) -> FeatureGroup:
    """`MERT` by a checkpoint; the first group in its `reuses` is that of all layers."""
    layers = mert_layers.with_parameters(weights=weights)
    return replace(MERT, parameters={"layers": layers, "layer": layer}, reuses=(layers,))


def mert_pieces(samples: Float32) -> list[Float32]:
    """The middle 30 s in pieces of 5 s, the last one of 1 s at least."""
    n_heard, n_piece = round(WINDOW_S * SAMPLE_RATE), round(PIECE_S * SAMPLE_RATE)
    first = max(0, (len(samples) - n_heard) // 2)
    heard = samples[first : first + n_heard]
    pieces = [heard[start : start + n_piece] for start in range(0, len(heard), n_piece)]
    return [piece for piece in pieces if len(piece) >= SHORTEST_PIECE_S * SAMPLE_RATE]


def pooled_layers(samples: Float32, network: Any) -> Float32:
    """Means and maxima over time of all layers, shape (n_layers, 2 width)."""
    import torch

    from earmark.models.sequence.device import repeatable

    means, maxima = [], []
    with torch.inference_mode(), repeatable(0):
        for piece in mert_pieces(samples):
            layers = network(torch.from_numpy(_standard(piece))[None])[:, 0].numpy()
            means.append(layers.mean(axis=1, dtype=np.float64))
            maxima.append(layers.max(axis=1))
    pooled = np.concatenate([np.mean(means, axis=0), np.max(maxima, axis=0)], axis=1)
    return pooled.astype(np.float32)


def _standard(piece: Float32) -> Float32:
    wide = piece.astype(np.float64)
    scaled: Float32 = ((wide - wide.mean()) / np.sqrt(wide.var() + SMALLEST_VARIANCE)).astype(np.float32)
    return scaled


@lru_cache(maxsize=1)
def _network(weights: Weights) -> Any:
    """Loaded once per process: the file has 380 MB."""
    tensors = _tensors(weights)
    from earmark.tasks.meter.mert.network import load_mert

    try:
        network = load_mert(tensors)
    except (AttributeError, KeyError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"{weights.path} does not hold the tensors of MERT ({str(error).splitlines()[0]}); expected those of "
            "MERT-v1-95M. Fetch it again."
        ) from error
    n_layers, width = len(network.encoder.layers), len(network.encoder.layer_norm.weight)
    if (n_layers, width) != (N_LAYERS, WIDTH):
        raise UsageError(
            f"{weights.path} has {n_layers} layers of {width} units; expected {N_LAYERS} of {WIDTH}. "
            "Fetch MERT-v1-95M."
        )
    return network


def _tensors(weights: Weights) -> dict[str, Any]:
    """The file's tensors; nothing in it is executed."""
    try:
        import torch  # noqa: F401
        from safetensors import SafetensorError
        from safetensors.torch import load
    except ImportError as error:
        raise MissingExtraError(error.name or "torch", "torch", "MERT") from None
    if not weights.path.endswith(".safetensors"):
        return weights.load()
    try:
        tensors: dict[str, Any] = load(weights.content())
    except SafetensorError as error:
        raise UsageError(
            f"{weights.path} is no safetensors file ({error}); expected one. Fetch it again."
        ) from error
    return tensors
