"""What a BEATs checkpoint says of its network: the ``cfg`` beside its tensors.

Names and defaults are those of the published configuration class; a checkpoint that leaves a value out means the
default, and every tensor is then checked against it as it is loaded.

Reference: S. Chen et al., BEATs: Audio Pre-Training with Acoustic Tokenizers, 2022, arXiv:2212.09058.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from earmark.audio.kaldi_fbank import N_MELS
from earmark.errors import UsageError

__all__ = ["ACTIVATIONS", "BeatsConfig"]

ACTIVATIONS = ("relu", "gelu", "gelu_fast", "gelu_accurate", "tanh", "linear")
"""Of the published code, all but the gated unit, which no published checkpoint has."""

_COUNTS = (
    "input_patch_size",
    "embed_dim",
    "encoder_layers",
    "encoder_embed_dim",
    "encoder_ffn_embed_dim",
    "encoder_attention_heads",
    "conv_pos",
    "conv_pos_groups",
    "num_buckets",
    "max_distance",
    "predictor_class",
)


@dataclass(frozen=True)
class BeatsConfig:
    """Hyper-parameters of the network.

    Parameters
    ----------
    input_patch_size, embed_dim, conv_bias
        Side of a patch in frames and bands, channels of a patch, whether its convolution has a bias.
    encoder_layers, encoder_embed_dim, encoder_ffn_embed_dim, encoder_attention_heads, activation_fn
        Blocks, width of a token, width of the feed-forward part, heads, one of `ACTIVATIONS`.
    layer_norm_first, deep_norm
        Norms before each half of a block; or after, with residuals weighted by ``(2 encoder_layers)^(1/4)``.
    conv_pos, conv_pos_groups
        Kernel and groups of the convolution over positions.
    relative_position_embedding, num_buckets, max_distance, gru_rel_pos
        Bias of attention by distance in tokens, its buckets, the distance of the last one, whether queries gate it.
    dropout, attention_dropout, activation_dropout, dropout_input, encoder_layerdrop, predictor_dropout
        Probabilities, at work in what is in training mode only.
    finetuned_model, predictor_class
        Whether the network ends in a classifier, and of how many classes.

    Raises
    ------
    UsageError
        Values that no network can have; all are named.
    """

    input_patch_size: int = 16
    embed_dim: int = 512
    conv_bias: bool = False
    encoder_layers: int = 12
    encoder_embed_dim: int = 768
    encoder_ffn_embed_dim: int = 3072
    encoder_attention_heads: int = 12
    activation_fn: str = "gelu"
    layer_norm_first: bool = False
    deep_norm: bool = False
    conv_pos: int = 128
    conv_pos_groups: int = 16
    relative_position_embedding: bool = False
    num_buckets: int = 320
    max_distance: int = 1280
    gru_rel_pos: bool = False
    dropout: float = 0.1
    attention_dropout: float = 0.1
    activation_dropout: float = 0.0
    dropout_input: float = 0.0
    encoder_layerdrop: float = 0.0
    predictor_dropout: float = 0.1
    finetuned_model: bool = False
    predictor_class: int = 527

    def __post_init__(self) -> None:
        problems = [problem for wrong, problem in self._checks() if wrong]
        if problems:
            raise UsageError(
                f"the configuration of the BEATs checkpoint cannot be built: {'; '.join(problems)}. "
                "Expected that of a published checkpoint. Fetch the file again."
            )

    @classmethod
    def of(cls, cfg: Mapping[str, Any]) -> BeatsConfig:
        """Of a checkpoint's ``cfg``; what only training reads is passed over.

        Raises
        ------
        UsageError
            A value is of another kind than the network's, or out of range.
        """
        known = {field.name: field.default for field in fields(cls)}
        given = {name: value for name, value in cfg.items() if name in known}
        wrong = [name for name, value in given.items() if not _is_like(value, known[name])]
        if wrong:
            told = ", ".join(f"{name}={given[name]!r}" for name in wrong)
            raise UsageError(
                f"the configuration of the BEATs checkpoint holds {told}; expected numbers, truths and names as in a "
                "published one. Fetch the file again."
            )
        return cls(**given)

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.encoder_embed_dim // self.encoder_attention_heads

    @property
    def n_bands(self) -> int:
        """Patches side by side over the bands of the filter bank."""
        return N_MELS // self.input_patch_size

    @property
    def residual_weight(self) -> float:
        """Weight of what bypasses each half of a block."""
        return float((2 * self.encoder_layers) ** 0.25) if self.deep_norm else 1.0

    def n_tokens(self, n_frames: int) -> int:
        """Tokens of so many frames of the filter bank; frames that fill no patch are left out."""
        return n_frames // self.input_patch_size * self.n_bands

    def _checks(self) -> tuple[tuple[bool, str], ...]:
        low = [name for name in _COUNTS if getattr(self, name) < 1]
        if low:
            return ((True, f"{', '.join(low)} below 1"),)
        rates = [field.name for field in fields(self) if "drop" in field.name]
        return (
            (not 1 <= self.input_patch_size <= N_MELS, f"input_patch_size {self.input_patch_size}"),
            (
                self.encoder_embed_dim % self.encoder_attention_heads != 0,
                f"encoder_attention_heads {self.encoder_attention_heads} does not divide encoder_embed_dim "
                f"{self.encoder_embed_dim}",
            ),
            (
                self.encoder_embed_dim % self.conv_pos_groups != 0,
                f"conv_pos_groups {self.conv_pos_groups} does not divide encoder_embed_dim {self.encoder_embed_dim}",
            ),
            (self.activation_fn not in ACTIVATIONS, f"activation_fn {self.activation_fn!r}"),
            (self.deep_norm and self.layer_norm_first, "deep_norm together with layer_norm_first"),
            (
                self.gru_rel_pos and not self.relative_position_embedding,
                "gru_rel_pos without relative positions",
            ),
            (
                self.relative_position_embedding and not 4 <= self.num_buckets < 4 * self.max_distance,
                f"num_buckets {self.num_buckets} with max_distance {self.max_distance}",
            ),
            (
                any(not 0 <= getattr(self, rate) < 1 for rate in rates),
                f"one of {', '.join(rates)} outside [0, 1)",
            ),
        )


def _is_like(value: Any, default: Any) -> bool:
    """Whether a value of the file is of the default's kind; 1 and 0 stand for truths, whole numbers for rates."""
    if isinstance(default, bool):
        return isinstance(value, bool) or value in (0, 1)
    if isinstance(default, int):
        return isinstance(value, int) and not isinstance(value, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, str)
