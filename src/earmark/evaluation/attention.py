"""What the answer token of a transformer on columns attends to: a share per layer, head and block of columns.

Computed from the saved weights with the layers of `earmark.models.column_forward`, so it is what the prediction does.
Shares of a head sum to 1 over the tokens; the first token is the answer's own, the others are the blocks in order.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import UsageError
from earmark.models.classifier import Classifier
from earmark.models.column_forward import _encoder_layer, _linear
from earmark.models.column_networks import ColumnNetwork

__all__ = ["ANSWER", "answer_attention", "has_attention", "token_names"]

Doubles = NDArray[np.float64]

ANSWER = "answer"
"""Name of the first token."""


def has_attention(classifier: object) -> bool:
    """Whether there is a transformer in it."""
    estimator = getattr(classifier, "estimator", None)
    return isinstance(estimator, ColumnNetwork) and "encoder.tokens.weight" in estimator.tensors


def answer_attention(classifier: Classifier, X: NDArray[np.float32], columns: Sequence[str]) -> Doubles:
    """Mean attention of the answer token over rows, shape (n_layers, n_heads, n_tokens).

    Parameters
    ----------
    classifier : Classifier
        Around an ``ft_transformer`` or a ``hybrid``.
    X : ndarray, shape (n, n_columns), n > 0
    columns : sequence of str

    Raises
    ------
    UsageError
        The model has no attention.
    """
    network = _network(classifier)
    prepared = classifier.preprocess.transform(X[:, classifier.align(columns)]).astype(np.float64)
    weights: dict[str, Doubles] = {name: value.astype(np.float64) for name, value in network.tensors.items()}
    tokens, n_heads = _tokens(prepared, weights, network.block), int(network.params["n_heads"])
    found = []
    for number in range(network.params["n_layers"]):
        name = f"encoder.layers.{number}"
        found.append(_of_answer(tokens, weights, name, n_heads))
        tokens = _encoder_layer(tokens, weights, name, n_heads)
    return np.stack(found)


def token_names(classifier: Classifier) -> list[str]:
    """The tokens: `ANSWER`, then each block by what the names of its columns begin with."""
    network, kept = _network(classifier), classifier.preprocess.kept
    blocks = [
        [name for name, block in zip(kept, network.block, strict=True) if block == number]
        for number in range(int(network.block.max()) + 1)
    ]
    return [ANSWER, *(_shared_start(names) for names in blocks)]


def _network(classifier: Classifier) -> ColumnNetwork:
    estimator = classifier.estimator
    if not has_attention(classifier):
        raise UsageError(
            f"A model of {estimator.name} attends to nothing; expected ft_transformer or hybrid."
        )
    assert isinstance(estimator, ColumnNetwork)
    return estimator


def _tokens(X: Doubles, weights: dict[str, Doubles], block: NDArray[np.int64]) -> Doubles:
    """The answer's token and one per block, shape (n, n_tokens, width)."""
    W, bias = weights["encoder.tokens.weight"], weights["encoder.tokens.bias"]
    answer = np.broadcast_to(weights["encoder.tokens.answer"], (len(X), 1, W.shape[1]))
    parts = [X[:, block == number] @ W[block == number] for number in range(len(bias))]
    return np.concatenate([answer, np.stack(parts, axis=1) + bias], axis=1)


def _of_answer(X: Doubles, weights: dict[str, Doubles], name: str, n_heads: int) -> Doubles:
    """Attention of the first token in one layer, mean over rows, shape (n_heads, n_tokens)."""
    n, n_tokens, width = X.shape
    split = _linear(X, weights, f"{name}.mix").reshape(n, n_tokens, 3, n_heads, width // n_heads)
    query, key = split[:, 0, 0], split[:, :, 1]
    scores = np.einsum("nhd,nthd->nht", query, key) / np.sqrt(width // n_heads)
    odds = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray((odds / odds.sum(axis=-1, keepdims=True)).mean(axis=0))


def _shared_start(names: Sequence[Any]) -> str:
    first, last = min(names), max(names)
    n = next(
        (i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last))
    )
    return str(first[:n]).rstrip("_.0") or str(first)
