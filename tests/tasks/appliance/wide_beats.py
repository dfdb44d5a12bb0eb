"""A checkpoint of BEATs with tokens as wide as published, and little else: two blocks, narrow within, 30 MB."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch

sys.path.append(str(Path(__file__).parents[2] / "models"))
from published_beats import checkpoint, small_cfg


def write_wide_checkpoint(path: Path, *, seed: int = 5, **changes: Any) -> Path:
    """Random weights; `changes` are of the configuration."""
    wide = {"encoder_layers": 2, "encoder_embed_dim": 768, "encoder_attention_heads": 12, **changes}
    torch.save(checkpoint(small_cfg(**wide), seed=seed), path)
    return path
