"""The network of BEATs: patches of the filter bank, a convolution over positions, a transformer.

Needs torch. Every number comes from the checkpoint's `BeatsConfig`.

Conventions: filter banks (batch, n_frames, 128), scaled as the checkpoint was trained; tokens (batch, n_tokens, width),
time first: the patches of one stretch of frames, low bands to high, then those of the next. In evaluation mode a row of
a batch is what it is alone. What is trained is only what is in training mode; the published decay of rates from block
to block is left to who trains.

How it is made fast: one product gives queries, keys and values; the bias by distance is looked up once per length and
shared by all blocks, as it is in training; attention runs in torch's fused kernel, row by row of the batch, so that the
gated bias of a row (12 x 296 x 296 for 6 s) stays in the cache of the processor.

References: S. Chen et al., BEATs, 2022, arXiv:2212.09058; H. Wang et al., DeepNet, 2022 (weighted residuals); Z. Chi et
al., XLM-E, 2022 (gated relative positions); C. Raffel et al., T5, 2020 (buckets of distances).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional

from earmark.audio.kaldi_fbank import N_MELS, normalised_fbank
from earmark.errors import UsageError
from earmark.models.beats.config import BeatsConfig

__all__ = ["BeatsEncoder", "distance_buckets", "token_padding"]

GATE_PARTS = 4
"""Numbers that are summed to one gate; a head's query makes two gates."""


class Patches(nn.Module):
    """Squares of the filter bank, each to one vector: a convolution whose stride is its kernel, as one product."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.side, self.n_bands = config.input_patch_size, config.n_bands
        self.projection = nn.Linear(self.side**2, config.embed_dim, bias=config.conv_bias)

    def forward(self, fbank: torch.Tensor) -> torch.Tensor:
        n_steps = fbank.shape[1] // self.side
        kept = fbank[:, : n_steps * self.side, : self.n_bands * self.side]
        squares = kept.reshape(-1, n_steps, self.side, self.n_bands, self.side).transpose(2, 3)
        out: torch.Tensor = self.projection(squares.reshape(-1, n_steps * self.n_bands, self.side**2))
        return out


class Positions(nn.Module):
    """Where a token stands, by a convolution over its neighbours."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        kernel, width = config.conv_pos, config.encoder_embed_dim
        self.conv = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=config.conv_pos_groups)
        self.surplus = 1 - kernel % 2  # an even kernel gives a token too many at the end

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found = self.conv(x.transpose(1, 2))
        if self.surplus:
            found = found[..., :-1]
        return functional.gelu(found).transpose(1, 2)


class Attention(nn.Module):
    """Self-attention, biased by the distance between tokens as far as each query lets it through."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        width, n_heads = config.encoder_embed_dim, config.encoder_attention_heads
        self.n_heads, self.dropout = n_heads, config.attention_dropout
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.gates = nn.Linear(config.head_dim, 2 * GATE_PARTS) if config.gru_rel_pos else None
        if self.gates is not None:
            self.gate_scale = nn.Parameter(torch.ones(1, n_heads, 1, 1))

    def forward(
        self, x: torch.Tensor, bias: torch.Tensor | None, padding: torch.Tensor | None
    ) -> torch.Tensor:
        parts = self.queries_keys_values(x).reshape(*x.shape[:2], 3, self.n_heads, -1)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4).unbind(0)
        gate = None if bias is None else self._gate(queries)
        heard = [
            self._attend(
                queries[rows], keys[rows], values[rows], _mask(bias, _of(gate, rows), _of(padding, rows))
            )
            for rows in _row_by_row(x)
        ]
        out: torch.Tensor = self.out(torch.cat(heard).transpose(1, 2).flatten(2))
        return out

    def _attend(
        self, queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, mask: torch.Tensor | None
    ) -> torch.Tensor:
        dropped = self.dropout if self.training else 0.0
        return functional.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, dropout_p=dropped
        )

    def _gate(self, queries: torch.Tensor) -> torch.Tensor | None:
        """How much of the bias each query takes, (batch, n_heads, n_tokens, 1)."""
        if self.gates is None:
            return None
        opened = torch.sigmoid(self.gates(queries).reshape(*queries.shape[:-1], 2, GATE_PARTS).sum(-1))
        update, reset = opened[..., :1], opened[..., 1:]
        gate: torch.Tensor = update * (reset * self.gate_scale - 1.0) + 2.0
        return gate


class FeedForward(nn.Module):
    """Two layers with a wider one between."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        width, inner, name = config.encoder_embed_dim, config.encoder_ffn_embed_dim, config.activation_fn
        self.inner = nn.Linear(width, inner)
        self.outer = nn.Linear(inner, width)
        self.activation, self.dropout = _ACTIVATIONS[name], config.activation_dropout

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bent = functional.dropout(self.activation(self.inner(x)), self.dropout, self.training)
        out: torch.Tensor = self.outer(bent)
        return out


class Block(nn.Module):
    """Attention, then the feed-forward part, each beside a residual."""

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.attention, self.feed_forward = Attention(config), FeedForward(config)
        self.attention_norm = nn.LayerNorm(config.encoder_embed_dim)
        self.final_norm = nn.LayerNorm(config.encoder_embed_dim)
        self.norm_first, self.dropout = config.layer_norm_first, config.dropout
        self.residual_weight, self.layer_drop = config.residual_weight, config.encoder_layerdrop

    def forward(
        self, x: torch.Tensor, bias: torch.Tensor | None, padding: torch.Tensor | None
    ) -> torch.Tensor:
        if self.training and self.layer_drop and float(torch.rand(())) <= self.layer_drop:
            return x
        if self.norm_first:
            x = x + self._dropped(self.attention(self.attention_norm(x), bias, padding))
            return x + self._dropped(self.feed_forward(self.final_norm(x)))
        x = self.attention_norm(self.residual_weight * x + self._dropped(self.attention(x, bias, padding)))
        out: torch.Tensor = self.final_norm(self.residual_weight * x + self._dropped(self.feed_forward(x)))
        return out

    def _dropped(self, x: torch.Tensor) -> torch.Tensor:
        return functional.dropout(x, self.dropout, self.training)


class BeatsEncoder(nn.Module):
    """Filter banks to tokens.

    Parameters
    ----------
    config : BeatsConfig

    Attributes
    ----------
    predictor : nn.Linear or None
        The classifier of a fine-tuned checkpoint; others have none.
    """

    buckets: torch.Tensor

    def __init__(self, config: BeatsConfig) -> None:
        super().__init__()
        self.config = config
        width = config.encoder_embed_dim
        self.patches, self.patch_norm = Patches(config), nn.LayerNorm(config.embed_dim)
        self.widen = nn.Linear(config.embed_dim, width) if config.embed_dim != width else nn.Identity()
        self.positions, self.norm = Positions(config), nn.LayerNorm(width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.encoder_layers))
        if config.relative_position_embedding:
            self.distance_bias = nn.Embedding(config.num_buckets, config.encoder_attention_heads)
            self.register_buffer("buckets", distance_buckets(config), persistent=False)
        self.predictor = nn.Linear(width, config.predictor_class) if config.finetuned_model else None

    @property
    def n_blocks(self) -> int:
        """Blocks of the transformer."""
        return len(self.layers)

    def blocks(self, last: int) -> Sequence[nn.Module]:
        """The last so many blocks, for who trains them on.

        Raises
        ------
        UsageError
            There are fewer.
        """
        if not 0 <= last <= self.n_blocks:
            raise UsageError(
                f"{last} blocks of the encoder were asked for; it has {self.n_blocks}. Give a number up to that."
            )
        return list(self.layers)[self.n_blocks - last :]

    def encode(self, fbank: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        """Tokens of scaled filter banks.

        Parameters
        ----------
        fbank : Tensor, shape (batch, n_frames, 128)
        padding : Tensor of bool, shape (batch, n_frames), optional
            True where a row was filled up. Attention passes the tokens by that lie in it, see `token_padding`; what
            comes out for them means nothing.

        Returns
        -------
        Tensor, shape (batch, n_tokens, width)

        Raises
        ------
        UsageError
            Another shape, or fewer frames than one patch has.
        """
        return self.upper(self.lower(fbank, padding, last=0), padding, last=0)

    forward = encode

    def lower(self, fbank: torch.Tensor, padding: torch.Tensor | None = None, *, last: int) -> torch.Tensor:
        """What enters the last so many blocks: all that need not be computed again while only those are trained."""
        x = self.widen(self.patch_norm(self.patches(self._checked(fbank))))
        x = functional.dropout(x, self.config.dropout_input, self.training)
        masked = None if padding is None else token_padding(padding, x.shape[1])
        if masked is not None:
            x = x.masked_fill(masked[..., None], 0.0)
        x = x + self.positions(x)
        if not self.config.layer_norm_first:
            x = self.norm(x)
        x = functional.dropout(x, self.config.dropout, self.training)
        return self._through(list(self.layers)[: self.n_blocks - len(self.blocks(last))], x, masked)

    def upper(self, states: torch.Tensor, padding: torch.Tensor | None = None, *, last: int) -> torch.Tensor:
        """Tokens from what `lower` gave for the same number of blocks."""
        masked = None if padding is None else token_padding(padding, states.shape[1])
        x = self._through(self.blocks(last), states, masked)
        out: torch.Tensor = self.norm(x) if self.config.layer_norm_first else x
        return out

    def encode_waveforms(self, samples: torch.Tensor, *, sample_rate: int) -> torch.Tensor:
        """Tokens of recordings of one length.

        Parameters
        ----------
        samples : Tensor, shape (batch, n_samples)
            Mono, in [-1, 1].
        sample_rate : int
            Must be the 16 000 Hz of the filter bank.

        Returns
        -------
        Tensor, shape (batch, n_tokens, width)

        Raises
        ------
        UsageError
            Another shape or rate. A batch of waveforms is never taken for the channels of one.
        """
        if samples.ndim != 2:
            raise UsageError(
                f"waveforms have shape {tuple(samples.shape)}; expected (batch, n_samples). Average channels first."
            )
        fbank = normalised_fbank(samples.detach().cpu().numpy(), sample_rate)
        return self.encode(torch.from_numpy(fbank).to(samples.device))

    def probabilities(self, tokens: torch.Tensor, padding: torch.Tensor | None = None) -> torch.Tensor:
        """What the classifier of a fine-tuned checkpoint says of tokens, shape (batch, predictor_class).

        Raises
        ------
        UsageError
            The checkpoint is not fine-tuned.
        """
        if self.predictor is None:
            raise UsageError(
                "this BEATs checkpoint has no classifier; expected a fine-tuned one. Train a head on its tokens."
            )
        dropped = functional.dropout(tokens, self.config.predictor_dropout, self.training)
        logits: torch.Tensor = self.predictor(dropped)
        if padding is None:
            return torch.sigmoid(logits.mean(dim=1))
        heard = ~token_padding(padding, tokens.shape[1])[..., None]
        return torch.sigmoid((logits * heard).sum(dim=1) / heard.sum(dim=1))

    def _through(
        self, layers: Sequence[nn.Module], x: torch.Tensor, padding: torch.Tensor | None
    ) -> torch.Tensor:
        bias = self._bias(x.shape[1]) if self.config.relative_position_embedding and layers else None
        for layer in layers:
            x = layer(x, bias, padding)
        return x

    def _bias(self, n_tokens: int) -> torch.Tensor:
        """What distances add to attention, (1, n_heads, n_tokens, n_tokens), the attending token first."""
        furthest = self.config.max_distance
        places = torch.arange(n_tokens, device=self.buckets.device)
        distances = (places[None] - places[:, None]).clamp(-furthest, furthest) + furthest
        found: torch.Tensor = self.distance_bias(self.buckets[distances])
        return found.permute(2, 0, 1)[None].contiguous()

    def _checked(self, fbank: torch.Tensor) -> torch.Tensor:
        side = self.config.input_patch_size
        if fbank.ndim != 3 or fbank.shape[2] != N_MELS or fbank.shape[1] < side:
            raise UsageError(
                f"the filter bank has shape {tuple(fbank.shape)}; expected (batch, n_frames, {N_MELS}) with {side} "
                "frames or more. Give a longer window, one row per recording."
            )
        return fbank


def distance_buckets(config: BeatsConfig) -> torch.Tensor:
    """Bucket of each distance from ``-max_distance`` to ``max_distance`` tokens; further ones are in those of the ends.

    Half of the buckets are for tokens behind; of each half, the first half holds one distance each, the rest grows by
    a ratio.

    Returns
    -------
    Tensor of int64, shape (2 max_distance + 1,)
    """
    half = config.num_buckets // 2
    single = half // 2
    distances = torch.arange(-config.max_distance, config.max_distance + 1)
    away = distances.abs()
    growth = torch.log(away.clamp(min=1).float() / single) / math.log(config.max_distance / single)
    shared = (single + (growth * (half - single)).long()).clamp(max=half - 1)
    return torch.where(away < single, away, shared) + half * (distances > 0)


def token_padding(padding: torch.Tensor, n_tokens: int) -> torch.Tensor:
    """Which tokens lie in frames that were filled up, shape (batch, n_tokens).

    The rule of the published network: frames are dealt out to tokens in equal runs, the rest at the end left out, and
    a token is padding where its whole run is.
    """
    n_each = padding.shape[1] // n_tokens
    return padding[:, : n_each * n_tokens].reshape(-1, n_tokens, n_each).all(dim=-1)


def _mask(
    bias: torch.Tensor | None, gate: torch.Tensor | None, padding: torch.Tensor | None
) -> torch.Tensor | None:
    """What is added to attention; None where nothing is."""
    mask = bias if bias is None or gate is None else gate * bias
    if padding is None:
        return mask
    hidden = padding[:, None, None]
    if mask is None:
        return torch.zeros(hidden.shape, device=hidden.device).masked_fill(hidden, -math.inf)
    return mask.masked_fill(hidden, -math.inf)


def _of(rows_of: torch.Tensor | None, rows: slice) -> torch.Tensor | None:
    return None if rows_of is None else rows_of[rows]


def _row_by_row(x: torch.Tensor) -> Iterator[slice]:
    """The rows of a batch one by one on a CPU; all at once on a GPU, and where the graph must serve any batch."""
    if x.is_cuda or torch.onnx.is_in_onnx_export():
        yield slice(None)
        return
    for row in range(len(x)):
        yield slice(row, row + 1)


def _gelu_by_tanh(x: torch.Tensor) -> torch.Tensor:
    return functional.gelu(x, approximate="tanh")


def _unchanged(x: torch.Tensor) -> torch.Tensor:
    return x


_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "relu": functional.relu,
    "gelu": functional.gelu,
    "gelu_fast": _gelu_by_tanh,
    "gelu_accurate": _gelu_by_tanh,
    "tanh": torch.tanh,
    "linear": _unchanged,
}
