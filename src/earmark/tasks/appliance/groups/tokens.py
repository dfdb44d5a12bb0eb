"""Groups ``appliance.tokens`` and ``appliance.token_stats``: what BEATs makes of a window, by the user's checkpoint.

Conventions: one row per token, time first (37 x 8 of 6 s, low bands to high); float16, in which a window of 6 s takes
0.45 MB. The key of the cache holds the content, the window, the code of filter bank and encoder, and the checkpoint's
digest, so that overlapping epochs, folds and trainings never encode a window twice. Each window is encoded by itself on
one thread: it has the same bits from a file, a stream and live.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.kaldi_fbank import FRAME_LENGTH, FRAME_SHIFT, n_fbank_frames
from earmark.errors import UsageError
from earmark.features.group import FeatureGroup, feature_group
from earmark.models.beats.checkpoint import BeatsCheckpoint
from earmark.models.beats.config import BeatsConfig
from earmark.tasks.appliance.groups.fbank import fbank
from earmark.tasks.appliance.schema import SAMPLE_RATE

if TYPE_CHECKING:
    from earmark.models.beats.encoder import BeatsEncoder

__all__ = ["TOKEN_STATS", "WIDTH", "encoder_of", "token_groups", "tokens", "tokens_bytes"]

BASE = BeatsConfig()
"""The published size; its patches and width are what the columns promise."""

WIDTH = BASE.encoder_embed_dim
SHORTEST_S = (FRAME_LENGTH + (BASE.input_patch_size - 1) * FRAME_SHIFT) / SAMPLE_RATE

NO_CHECKPOINT = (
    "BEATs has no checkpoint; expected one. Give --beats-checkpoint, or set appliance.beats in earmark.toml, or "
    "EARMARK_BEATS, to its path."
)


@feature_group(
    "appliance.tokens",
    columns=tuple(f"unit_{unit:03d}" for unit in range(WIDTH)),
    sample_rate=SAMPLE_RATE,
    kind="embedding",
    min_duration_s=SHORTEST_S,
    lookahead_s=0.0,
    reuses=(fbank,),
    dtype="float16",
    depends_on=(BeatsConfig,),
)
def tokens(clip: Clip, checkpoint: BeatsCheckpoint | None = None) -> NDArray[np.float32]:
    """Tokens of a window, shape (n_tokens, 768)."""
    if checkpoint is None:
        raise UsageError(NO_CHECKPOINT)
    encoder = encoder_of(checkpoint)
    import torch

    from earmark.models.sequence.device import repeatable

    with torch.inference_mode(), repeatable(0):
        found: NDArray[np.float32] = encoder.encode(torch.from_numpy(fbank.on(clip))[None])[0].numpy()
    return found


def _token_stats(clip: Clip, *, tokens: FeatureGroup) -> NDArray[np.float32]:
    """Mean, then maximum over the tokens, shape (1536,)."""
    rows = tokens.on(clip).astype(np.float32)
    return np.concatenate([rows.mean(axis=0), rows.max(axis=0)])


TOKEN_STATS: FeatureGroup = feature_group(
    "appliance.token_stats",
    columns=tuple(f"{pool}_{unit:03d}" for pool in ("mean", "max") for unit in range(WIDTH)),
    sample_rate=SAMPLE_RATE,
    min_duration_s=SHORTEST_S,
    lookahead_s=0.0,
    parameters={"tokens": tokens},
    reuses=(tokens,),
    depends_on=(BeatsConfig,),
)(_token_stats)


def token_groups(checkpoint: BeatsCheckpoint) -> tuple[FeatureGroup, FeatureGroup]:
    """`tokens` and `TOKEN_STATS` by a checkpoint."""
    rows = tokens.with_parameters(checkpoint=checkpoint)
    return rows, replace(TOKEN_STATS, parameters={"tokens": rows}, reuses=(rows,))


def tokens_bytes(n_windows: int, window_s: float) -> int:
    """What the tokens of so many windows take in the cache, bytes."""
    return 2 * WIDTH * n_windows * BASE.n_tokens(n_fbank_frames(round(window_s * SAMPLE_RATE)))


@lru_cache(maxsize=1)
def encoder_of(checkpoint: BeatsCheckpoint) -> BeatsEncoder:
    """The network, loaded once per process: the file has 360 MB.

    Raises
    ------
    UsageError
        As of `BeatsCheckpoint.load`; or its tokens are of another width or number than the columns promise.
    """
    # By the class: the walk that fingerprints code follows names, and an object counts as what it says of itself.
    encoder = BeatsCheckpoint.load(checkpoint)
    found = (encoder.config.encoder_embed_dim, encoder.config.input_patch_size)
    if found != (WIDTH, BASE.input_patch_size):
        raise UsageError(
            f"{checkpoint.path} makes tokens of {found[0]} units from patches of {found[1]}; expected {WIDTH} and "
            f"{BASE.input_patch_size}. Give a published checkpoint of the base size."
        )
    return encoder
