"""BEATs by its checkpoint: our network against one of another hand, the file's traps, rows of a batch alone."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from published_beats import (  # noqa: E402
    PUBLISHED_CFG,
    checkpoint,
    independent,
    independent_tokens,
    small_cfg,
    write_checkpoint,
)

from earmark.audio.kaldi_fbank import normalised_fbank  # noqa: E402
from earmark.errors import UsageError  # noqa: E402
from earmark.models.beats.checkpoint import BeatsCheckpoint  # noqa: E402
from earmark.models.beats.config import BeatsConfig  # noqa: E402
from earmark.models.beats.encoder import distance_buckets, token_padding  # noqa: E402
from earmark.models.beats.official import encoder_of  # noqa: E402

FORMS = {
    "as published": {},
    "norm first": {"layer_norm_first": True, "deep_norm": False},
    "no gate": {"gru_rel_pos": False},
    "no distances": {"gru_rel_pos": False, "relative_position_embedding": False},
    "tanh GELU, odd kernel": {"activation_fn": "gelu_accurate", "conv_pos": 7, "conv_bias": True},
    "ReLU": {"activation_fn": "relu", "encoder_attention_heads": 6},
    "patch width kept": {"embed_dim": 48, "encoder_layers": 1},
}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small():
    loaded = checkpoint(small_cfg())
    return encoder_of(BeatsConfig.of(loaded["cfg"]), loaded["model"])


def fbanks(n_rows, n_frames, seed=0):
    return torch.randn(n_rows, n_frames, 128, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS.keys())
def test_tokens_are_those_of_another_implementation(form):
    loaded = checkpoint(small_cfg(**form))
    other = independent(loaded)
    if other is None:
        pytest.skip("speechbrain is not installed. Run: pip install --no-deps speechbrain")
    ours = encoder_of(BeatsConfig.of(loaded["cfg"]), loaded["model"])
    fbank = fbanks(2, 598)
    expected = independent_tokens(other, fbank)
    if form.get("layer_norm_first"):
        expected = other.encoder.layer_norm(expected)  # the published network norms here, that one forgets to
    assert (ours.encode(fbank) - expected).abs().max() < 1e-4
