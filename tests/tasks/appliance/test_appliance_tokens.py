"""Tokens of BEATs as feature groups: cached once as float16, keyed by the checkpoint's content, absent without one."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch")

from wide_beats import write_wide_checkpoint  # noqa: E402

from earmark.audio.clip import Clip  # noqa: E402
from earmark.audio.fragment import fragment  # noqa: E402
from earmark.cache.entries import FeatureCache  # noqa: E402
from earmark.errors import UsageError  # noqa: E402
from earmark.features.extractor import Extractor  # noqa: E402
from earmark.features.group import fingerprints  # noqa: E402
from earmark.features.item import Item  # noqa: E402
from earmark.models.beats.checkpoint import BeatsCheckpoint  # noqa: E402
from earmark.models.beats.encoder import BeatsEncoder  # noqa: E402
from earmark.tasks.appliance.configured import project_beats  # noqa: E402
from earmark.tasks.appliance.groups.fbank import fbank  # noqa: E402
from earmark.tasks.appliance.groups.tokens import WIDTH, token_groups, tokens, tokens_bytes  # noqa: E402
from earmark.tasks.appliance.task import task  # noqa: E402
from earmark.tasks.project import Project  # noqa: E402

RATE = 16_000


@pytest.fixture(autouse=True)
def no_checkpoint(monkeypatch):
    monkeypatch.delenv("EARMARK_BEATS", raising=False)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write_wide_checkpoint(tmp_path_factory.mktemp("beats") / "BEATs.pt")


@pytest.fixture(scope="module")
def checkpoint(path):
    return BeatsCheckpoint.open(path)


@pytest.fixture
def windows(tmp_path):
    """Windows of 6 s, 1.5 s apart, of a recording of 9 s."""
    noise = np.random.default_rng(3).normal(0, 0.05, 9 * RATE).astype(np.float32)
    soundfile.write(tmp_path / "room.wav", noise, RATE, subtype="FLOAT")
    uri = str(tmp_path / "room.wav")
    return noise, [Item(f"room@{start}", fragment(uri, start, start + 6.0)) for start in (0.0, 1.5, 3.0)]


def test_a_window_is_encoded_once_whoever_asks_and_has_the_same_bits_live(
    tmp_path, checkpoint, windows, monkeypatch
):
    noise, items = windows
    rows, stats = token_groups(checkpoint)
    calls = []
    encode = BeatsEncoder.encode
    monkeypatch.setattr(BeatsEncoder, "encode", lambda self, *given: calls.append(1) or encode(self, *given))
    with FeatureCache(tmp_path / "cache") as cache:
        first = Extractor([rows], cache, workers=0).run(items)
        assert len(calls) == 3
        again = Extractor([rows, stats], cache, workers=0).run(items)
    assert len(calls) == 3
    assert again.computed == {"appliance.tokens": 0, "appliance.token_stats": 3}
    found = first.frames("appliance.tokens")
    assert found[0].dtype == np.float16
    assert found[0].shape == (296, WIDTH)
    assert found[0].nbytes == tokens_bytes(1, 6.0) == 454_656
    for number, kept in enumerate(again.frames("appliance.tokens")):
        live = Clip(noise[24_000 * number :][:96_000], RATE)
        np.testing.assert_array_equal(rows.on(live), kept)
        wide = kept.astype(np.float32)
        np.testing.assert_array_equal(
            again.values[number], np.concatenate([wide.mean(axis=0), wide.max(axis=0)])
        )


@torch.inference_mode()
def test_tokens_are_what_the_encoder_says_of_the_waveform(checkpoint):
    samples = np.random.default_rng(1).normal(0.2, 0.1, (3, RATE)).astype(np.float32)
    rows, _ = token_groups(checkpoint)
    encoder = checkpoint.load()
    together = encoder.encode_waveforms(torch.from_numpy(samples), sample_rate=RATE).numpy()
    assert together.shape == (3, 48, WIDTH)  # 8 for each 160 ms
    for row, expected in zip(samples, together, strict=True):
        clip = Clip(row, RATE)
        np.testing.assert_allclose(rows.on(clip), expected, atol=2e-3, rtol=1e-3)
        from_bank = encoder.encode(torch.from_numpy(fbank.on(clip))[None])[0].numpy()
        np.testing.assert_allclose(from_bank, expected, atol=1e-5)


def test_the_key_is_the_content_of_the_checkpoint_not_its_place(tmp_path, path, checkpoint):
    copied = tmp_path / "elsewhere.pt"
    copied.write_bytes(path.read_bytes())
    other = write_wide_checkpoint(tmp_path / "other.pt", seed=9)

    def keys(chosen):
        found = fingerprints(token_groups(BeatsCheckpoint.open(chosen)))
        return {name: one.digest for name, one in found.items()}

    assert keys(path) == keys(copied)
    assert all(keys(path)[name] != digest for name, digest in keys(other).items())
    parts = fingerprints(token_groups(checkpoint))["appliance.token_stats"].parts
    for code in (
        "kaldi_fbank._log_energies",
        "encoder.Attention._gate",
        "config.BeatsConfig.residual_weight",
    ):
        assert any(part.name.endswith(code) for part in parts), code


def test_features_of_a_project_with_and_without_a_checkpoint(tmp_path, path, monkeypatch):
    with pytest.raises(
        UsageError, match="no feature set 'tokens' here: BEATs has no checkpoint.*--beats-checkpoint"
    ):
        Project.open(task, tmp_path).task.features("tokens")
    monkeypatch.setenv("EARMARK_BEATS", str(path))
    assert Project.open(task, tmp_path).task.features("tokens").groups[0].name == tokens.name
    missing = Project.open(task, tmp_path, {"appliance.beats": str(path)})
    assert project_beats(missing.effective, {}) == BeatsCheckpoint.open(path)
    with pytest.raises(UsageError, match="nowhere.pt cannot be read"):
        Project.open(task, tmp_path, {"appliance.beats": "nowhere.pt"})
    with pytest.raises(UsageError, match="BEATs has no checkpoint"):
        tokens(Clip(np.zeros(RATE, np.float32), RATE))


def test_another_width_is_refused(tmp_path):
    narrow = BeatsCheckpoint.open(write_wide_checkpoint(tmp_path / "narrow.pt", encoder_embed_dim=48))
    with pytest.raises(UsageError, match="tokens of 48 units from patches of 16; expected 768"):
        token_groups(narrow)[0](Clip(np.zeros(RATE, np.float32), RATE))
