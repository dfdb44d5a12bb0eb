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
from earmark.models.beats.encoder import BeatsEncoder, distance_buckets, token_padding  # noqa: E402
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


@torch.inference_mode()
def test_padded_tokens_are_passed_by_as_in_another_implementation():
    loaded = checkpoint(small_cfg())
    other = independent(loaded)
    if other is None:
        pytest.skip("speechbrain is not installed. Run: pip install --no-deps speechbrain")
    ours = encoder_of(BeatsConfig.of(loaded["cfg"]), loaded["model"])
    fbank = fbanks(2, 320)
    padding = torch.arange(320)[None] >= torch.tensor([[320], [208]])
    hidden = token_padding(padding, 160)
    assert hidden.sum(dim=1).tolist() == [0, 56]
    difference = ours.encode(fbank, padding) - independent_tokens(other, fbank, padding)
    assert difference[~hidden].abs().max() < 1e-4
    louder = fbank.masked_fill(padding[..., None], 3.0)
    torch.testing.assert_close(ours.encode(louder, padding)[~hidden], ours.encode(fbank, padding)[~hidden])


@torch.inference_mode()
@pytest.mark.parametrize("n_rows", [1, 2, 3, 4, 5])
def test_a_batch_of_waveforms_is_never_taken_for_channels(small, n_rows):
    samples = np.random.default_rng(n_rows).normal(0, 0.1, (n_rows, 16_000)).astype(np.float32)
    together = small.encode_waveforms(torch.from_numpy(samples), sample_rate=16_000)
    assert together.shape == (n_rows, 48, 48)
    for row, tokens in zip(samples, together, strict=True):
        alone = small.encode_waveforms(torch.from_numpy(row)[None], sample_rate=16_000)[0]
        torch.testing.assert_close(tokens, alone, atol=1e-5, rtol=0)
        bank = torch.from_numpy(normalised_fbank(row, 16_000))[None]
        torch.testing.assert_close(tokens, small.encode(bank)[0], atol=1e-5, rtol=0)
    with pytest.raises(UsageError, match=r"expected \(batch, n_samples\)"):
        small.encode_waveforms(torch.from_numpy(samples)[None], sample_rate=16_000)
    with pytest.raises(UsageError, match="44100 Hz"):
        small.encode_waveforms(torch.from_numpy(samples), sample_rate=44_100)


@torch.inference_mode()
def test_what_frozen_blocks_gave_can_be_kept(small):
    fbank = fbanks(2, 100)
    assert small.n_blocks == 3
    for last in range(4):
        states = small.lower(fbank, last=last)
        assert torch.equal(small.upper(states, last=last), small.encode(fbank))
    assert list(small.blocks(2)) == list(small.layers)[1:]
    with pytest.raises(UsageError, match="4 blocks of the encoder were asked for; it has 3"):
        small.blocks(4)


def test_frozen_blocks_get_no_gradient_and_drop_nothing():
    loaded = checkpoint(small_cfg(dropout=0.5, attention_dropout=0.5, encoder_layerdrop=0.5))
    encoder = encoder_of(BeatsConfig.of(loaded["cfg"]), loaded["model"]).requires_grad_(False)
    fbank = fbanks(1, 64)
    before = encoder.encode(fbank)
    for block in encoder.blocks(1):
        block.requires_grad_(True)
    tokens = encoder.encode(fbank)
    torch.testing.assert_close(tokens, before)
    tokens.square().sum().backward()
    moved = {name.split(".")[1] for name, weight in encoder.named_parameters() if weight.grad is not None}
    assert moved == {"2"}
    encoder.blocks(1)[0].train()
    torch.manual_seed(0)
    drawn = [encoder.encode(fbank) for _ in range(8)]
    assert any(not torch.equal(one, before) for one in drawn)
    assert torch.equal(encoder.lower(fbank, last=1), encoder.lower(fbank, last=1))


def test_distances_share_buckets_as_published():
    config = BeatsConfig(relative_position_embedding=True, num_buckets=320, max_distance=800)
    buckets = distance_buckets(config)
    at = {distance: int(buckets[distance + 800]) for distance in (-800, -80, -79, -1, 0, 1, 79, 80, 799, 800)}
    assert at == {-800: 159, -80: 80, -79: 79, -1: 1, 0: 0, 1: 161, 79: 239, 80: 240, 799: 319, 800: 319}
    assert (buckets[801:].diff() >= 0).all()


@pytest.mark.parametrize("newer_names", [False, True])
def test_a_checkpoint_of_either_weight_norm_gives_the_same_network(newer_names, small):
    loaded = checkpoint(small_cfg(), newer_names=newer_names)
    made = encoder_of(BeatsConfig.of(loaded["cfg"]), loaded["model"])
    for name, tensor in small.state_dict().items():
        assert torch.equal(tensor, made.state_dict()[name]), name


@torch.inference_mode()
def test_a_classifier_only_of_a_tuned_checkpoint(small, tmp_path):
    tuned = BeatsCheckpoint.open(write_checkpoint(tmp_path / "tuned.pt", finetuned_model=True)).load()
    assert small.predictor is None
    with pytest.raises(UsageError, match="no classifier; expected a fine-tuned one"):
        small.probabilities(small.encode(fbanks(1, 32)))
    tokens = tuned.encode(fbanks(2, 32))
    expected = torch.sigmoid((tokens @ tuned.predictor.weight.T + tuned.predictor.bias).mean(dim=1))
    torch.testing.assert_close(tuned.probabilities(tokens), expected)
    padding = torch.arange(32)[None] >= torch.tensor([[32], [16]])
    half = tuned.probabilities(tokens, padding)[1]
    torch.testing.assert_close(half, tuned.probabilities(tokens[1:, :8])[0])


def test_a_file_is_known_by_its_content(tmp_path):
    path = write_checkpoint(tmp_path / "BEATs.pt")
    opened = BeatsCheckpoint.open(path)
    assert opened.known_name is None
    assert opened.sha256 in str(opened.warning)
    assert opened.contents()[0] == BeatsConfig.of(small_cfg())
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(UsageError, match="has changed since it was chosen"):
        opened.load()
    with pytest.raises(UsageError, match="cannot be read"):
        BeatsCheckpoint.open(tmp_path / "none.pt")


class _Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_hostile_pickle_is_refused_unexecuted(tmp_path):
    loaded = {**checkpoint(small_cfg()), "extra": _Hostile(tmp_path / "owned")}
    torch.save(loaded, tmp_path / "hostile.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(loaded["extra"], protocol=2))
    for name in ("hostile.pt", "plain.pt"):
        with pytest.raises(UsageError, match="is no file of plain tensors"):
            BeatsCheckpoint.open(tmp_path / name).load()
    assert not (tmp_path / "owned").exists()


def _without(name):
    return lambda loaded: loaded["model"].pop(name)


def _cfg(**changes):
    return lambda loaded: loaded["cfg"].update(changes)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_without("layer_norm.bias"), "missing for patch_norm.bias"),
        (
            _without("encoder.layers.1.self_attn.k_proj.bias"),
            "unknown encoder.layers.1.self_attn.q_proj.bias",
        ),
        (lambda loaded: loaded["model"].update(mask=torch.zeros(3)), "unknown mask"),
        (_cfg(encoder_ffn_embed_dim=65), r"of another shape for layers.*feed_forward"),
        (_cfg(encoder_layers=2), "unknown encoder.layers.2"),
        (_cfg(finetuned_model=True), "missing for predictor.bias, predictor.weight"),
        (
            lambda loaded: loaded["model"]["encoder.layers.2.self_attn.relative_attention_bias.weight"].add_(
                1.0
            ),
            "different tables of distances",
        ),
        (_cfg(encoder_attention_heads=5), "encoder_attention_heads 5 does not divide encoder_embed_dim 48"),
        (_cfg(activation_fn="swish"), "activation_fn 'swish'"),
        (_cfg(layer_norm_first=True), "deep_norm together with layer_norm_first"),
        (_cfg(conv_pos="wide"), "conv_pos='wide'"),
        (_cfg(embed_dim=0), "embed_dim below 1"),
        (lambda loaded: loaded.pop("cfg"), "is no BEATs checkpoint"),
        (lambda loaded: loaded["model"].update(note="x"), "is no BEATs checkpoint"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(spoil, message, tmp_path):
    loaded = checkpoint(small_cfg())
    spoil(loaded)
    torch.save(loaded, tmp_path / "spoilt.pt")
    with pytest.raises(UsageError, match=message):
        BeatsCheckpoint.open(tmp_path / "spoilt.pt").load()


def test_the_published_size_has_ninety_million_weights():
    config = BeatsConfig.of(PUBLISHED_CFG)
    assert (config.n_tokens(598), config.n_tokens(98)) == (296, 48)
    with torch.device("meta"):
        encoder = BeatsEncoder(config)
    assert 90e6 < sum(weight.numel() for weight in encoder.parameters()) < 91e6
