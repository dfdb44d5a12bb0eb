"""The published names of the network's tensors, and how they become those of `BeatsEncoder`.

Strict: a tensor that is missing, unknown or of another shape refuses the file. The convolution over positions is
published weight-normed, under the older or the newer names of torch, and is folded here; queries, keys and values
become one product; the bias by distance, which the published network stores with every block, is held once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch

from earmark.errors import UsageError
from earmark.models.beats.config import BeatsConfig
from earmark.models.beats.encoder import BeatsEncoder

__all__ = ["encoder_of"]

Tensors = Mapping[str, torch.Tensor]

_OUTER = (
    ("layer_norm", "patch_norm"),
    ("post_extract_proj", "widen"),
    ("encoder.layer_norm", "norm"),
    ("predictor", "predictor"),
)
_IN_BLOCK = (
    ("self_attn.out_proj", "attention.out"),
    ("self_attn.grep_linear", "attention.gates"),
    ("self_attn_layer_norm", "attention_norm"),
    ("fc1", "feed_forward.inner"),
    ("fc2", "feed_forward.outer"),
    ("final_layer_norm", "final_norm"),
)
_POSITION = "encoder.pos_conv.0"
_WEIGHT_NORM = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)


def encoder_of(config: BeatsConfig, tensors: Tensors) -> BeatsEncoder:
    """The network of a checkpoint, in evaluation mode on the CPU.

    Raises
    ------
    UsageError
        The tensors are not those that the configuration needs; all that are missing or left over are named.
    """
    left = {name: tensor.float() for name, tensor in tensors.items()}
    state = dict(_translated(config, left))
    encoder = BeatsEncoder(config)
    expected = encoder.state_dict()
    problems = [
        *_listed("missing for", sorted(set(expected) - set(state))),
        *_listed("unknown", sorted(left)),
        *_listed(
            "of another shape for",
            [name for name in state.keys() & expected.keys() if state[name].shape != expected[name].shape],
        ),
        *_listed("not placed", sorted(set(state) - set(expected))),
    ]
    if problems:
        raise UsageError(
            f"the tensors of the BEATs checkpoint do not fit its configuration: {'; '.join(problems)}. Expected those "
            "of a published checkpoint. Fetch the file again."
        )
    encoder.load_state_dict(state, strict=True, assign=True)
    return encoder.eval()


def _translated(config: BeatsConfig, left: dict[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """Tensors under our names; each is taken out of `left`."""
    for kind in ("weight", "bias"):
        if (patches := left.pop(f"patch_embedding.{kind}", None)) is not None:
            yield f"patches.projection.{kind}", patches.flatten(1) if kind == "weight" else patches
        for theirs, ours in _OUTER:
            if f"{theirs}.{kind}" in left:
                yield f"{ours}.{kind}", left.pop(f"{theirs}.{kind}")
    yield from _positions(left)
    for number in range(config.encoder_layers):
        yield from _block(left, f"encoder.layers.{number}.", f"layers.{number}.")
    yield from _distance_bias(config, left)


def _positions(left: dict[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    for gain, direction in _WEIGHT_NORM:
        if f"{_POSITION}.{gain}" in left and f"{_POSITION}.{direction}" in left:
            gains, directions = left.pop(f"{_POSITION}.{gain}"), left.pop(f"{_POSITION}.{direction}")
            yield "positions.conv.weight", gains * directions / directions.norm(dim=(0, 1), keepdim=True)
    if f"{_POSITION}.bias" in left:
        yield "positions.conv.bias", left.pop(f"{_POSITION}.bias")


def _block(left: dict[str, torch.Tensor], theirs: str, ours: str) -> Iterator[tuple[str, torch.Tensor]]:
    for kind in ("weight", "bias"):
        names = [f"{theirs}self_attn.{part}_proj.{kind}" for part in "qkv"]
        if all(name in left for name in names):
            yield f"{ours}attention.queries_keys_values.{kind}", torch.cat([left.pop(name) for name in names])
        for published, name in _IN_BLOCK:
            if f"{theirs}{published}.{kind}" in left:
                yield f"{ours}{name}.{kind}", left.pop(f"{theirs}{published}.{kind}")
    if f"{theirs}self_attn.grep_a" in left:
        yield f"{ours}attention.gate_scale", left.pop(f"{theirs}self_attn.grep_a")


def _distance_bias(config: BeatsConfig, left: dict[str, torch.Tensor]) -> Iterator[tuple[str, torch.Tensor]]:
    """The one table that all blocks share, stored with each of them."""
    names = [
        f"encoder.layers.{number}.self_attn.relative_attention_bias.weight"
        for number in range(config.encoder_layers)
    ]
    if not all(name in left for name in names):
        return
    first, *others = [left.pop(name) for name in names]
    if any(not torch.equal(first, other) for other in others):
        raise UsageError(
            "the blocks of the BEATs checkpoint hold different tables of distances; expected one that they share. "
            "Fetch the file again."
        )
    yield "distance_bias.weight", first


def _listed(what: str, names: list[str]) -> list[str]:
    return (
        [f"{what} {', '.join(names[:6])}{f' and {len(names) - 6} more' if len(names) > 6 else ''}"]
        if names
        else []
    )
