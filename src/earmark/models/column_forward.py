"""Logits of the networks on columns without torch: matrix products in float64.

Weights are named as in the modules of `earmark.models.column_modules`. In float64 a row alone gives the same float32
probabilities as in a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.models.estimator import Ints

__all__ = ["NORM_EPSILON", "ft_transformer_logits", "head_widths", "hybrid_logits", "residual_logits"]

Doubles = npt.NDArray[np.float64]
Weights = Mapping[str, Doubles]

NORM_EPSILON = 1e-5
"""Added to variances in norms."""


def head_widths(hidden: int) -> tuple[int, int]:
    """Units of the two layers between a trunk of `hidden` units and the logits."""
    return max(int(0.4 * hidden), 64), max(int(0.2 * hidden), 32)


def residual_logits(X: Doubles, weights: Weights, block: Ints, params: Mapping[str, Any]) -> Doubles:
    """Logits of the residual network, shape (n, n_codes)."""
    hidden = _trunk(X, weights, params)
    for layer in ("head.0", "head.1"):
        hidden = np.maximum(_linear(hidden, weights, layer), 0.0)
    return _linear(hidden, weights, "head.2")


def ft_transformer_logits(X: Doubles, weights: Weights, block: Ints, params: Mapping[str, Any]) -> Doubles:
    """Logits of the transformer, shape (n, n_codes)."""
    return _linear(_layer_norm(_encoder(X, weights, block, params), weights, "norm"), weights, "logits")


def hybrid_logits(X: Doubles, weights: Weights, block: Ints, params: Mapping[str, Any]) -> Doubles:
    """Logits of the hybrid, shape (n, n_codes)."""
    both = np.concatenate([_trunk(X, weights, params), _encoder(X, weights, block, params)], axis=1)
    hidden = np.maximum(_linear(_layer_norm(both, weights, "norm"), weights, "head"), 0.0)
    return _linear(hidden, weights, "logits")


def _trunk(X: Doubles, weights: Weights, params: Mapping[str, Any]) -> Doubles:
    hidden = _normed_layer(X, weights, "trunk.enter")
    for number in range(params["n_blocks"]):
        hidden = hidden + _normed_layer(hidden, weights, f"trunk.blocks.{number}")
    return hidden


def _encoder(X: Doubles, weights: Weights, block: Ints, params: Mapping[str, Any]) -> Doubles:
    W, bias = weights["encoder.tokens.weight"], weights["encoder.tokens.bias"]
    answer = np.broadcast_to(weights["encoder.tokens.answer"], (len(X), 1, W.shape[1]))
    parts = [X[:, block == number] @ W[block == number] for number in range(len(bias))]
    tokens = np.concatenate([answer, np.stack(parts, axis=1) + bias], axis=1)
    for number in range(params["n_layers"]):
        tokens = _encoder_layer(tokens, weights, f"encoder.layers.{number}", params["n_heads"])
    return np.asarray(tokens[:, 0])


def _encoder_layer(X: Doubles, weights: Weights, name: str, n_heads: int) -> Doubles:
    from scipy.special import erf

    X = _layer_norm(X + _attended(X, weights, name, n_heads), weights, f"{name}.norms.0")
    wide = _linear(X, weights, f"{name}.wide")
    gelu = wide * (1 + erf(wide / np.sqrt(2))) / 2
    return _layer_norm(X + _linear(gelu, weights, f"{name}.narrow"), weights, f"{name}.norms.1")


def _attended(X: Doubles, weights: Weights, name: str, n_heads: int) -> Doubles:
    n, n_tokens, width = X.shape
    split = _linear(X, weights, f"{name}.mix").reshape(n, n_tokens, 3, n_heads, width // n_heads)
    query, key, value = split.transpose(2, 0, 3, 1, 4)
    scores = query @ key.swapaxes(-1, -2) / np.sqrt(query.shape[-1])
    odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
    joined = (odds / odds.sum(axis=-1, keepdims=True) @ value).transpose(0, 2, 1, 3)
    return _linear(joined.reshape(n, n_tokens, width), weights, f"{name}.out")


def _normed_layer(X: Doubles, weights: Weights, name: str) -> Doubles:
    """Linear, batch norm with the running statistics, ReLU."""
    scale = weights[f"{name}.norm.weight"] / np.sqrt(weights[f"{name}.norm.running_var"] + NORM_EPSILON)
    hidden = _linear(X, weights, f"{name}.linear") - weights[f"{name}.norm.running_mean"]
    return np.maximum(hidden * scale + weights[f"{name}.norm.bias"], 0.0)


def _layer_norm(X: Doubles, weights: Weights, name: str) -> Doubles:
    spread = np.sqrt(X.var(axis=-1, keepdims=True) + NORM_EPSILON)
    normed = (X - X.mean(axis=-1, keepdims=True)) / spread
    return np.asarray(normed * weights[f"{name}.weight"] + weights[f"{name}.bias"])


def _linear(X: Doubles, weights: Weights, name: str) -> Doubles:
    return X @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
