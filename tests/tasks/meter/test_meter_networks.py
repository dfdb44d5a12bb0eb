"""The networks: their features against hand-made references, their weights by name, what they hear in real files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from clicked_bars import SAMPLE_RATE, clicked

from earmark.audio.clip import Clip
from earmark.audio.decode import decode
from earmark.errors import UsageError
from earmark.features.group import fingerprints
from earmark.models.weights import Weights
from earmark.tasks.meter.trackers.beat_this.spectrogram import beat_this_spectrogram
from earmark.tasks.meter.trackers.beat_this.tracker import beats_of_logits, in_chunks, pointed_beats
from earmark.tasks.meter.trackers.beatnet.spectrogram import N_FEATURES, beatnet_features
from earmark.tasks.meter.trackers.registry import Slot, beats_of, slots, tracker

torch = pytest.importorskip("torch")

BEATNET_WEIGHTS = Path("../shared/data/weights/beatnet")
SEMAI = Path("../shared/data/meter/audio/symbtr/3/huseyniasiran--seyir--semai--1--rauf_yekta.ogg")
FINAL_PARAMETERS, SMALL_PARAMETERS = 20.3e6, 2.1e6
"""As the authors of Beat This! give them."""


def small_checkpoint(folder: Path) -> Path:
    """Random weights in the layout of a published checkpoint: names of the trainer, settings beside the tensors."""
    from earmark.tasks.meter.trackers.beat_this.network import BeatThis

    torch.manual_seed(1)
    state = {f"model.{name}": value for name, value in BeatThis(128).state_dict().items()}
    path = folder / "small0.ckpt"
    torch.save({"state_dict": state, "hyper_parameters": {"transformer_dim": 128}}, path)
    return path


def test_beatnet_hears_a_tone_in_its_band() -> None:
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    features = beatnet_features(Clip(np.sin(2 * np.pi * 440 * time).astype(np.float32), SAMPLE_RATE))
    assert features.shape == (50, N_FEATURES)
    assert (features >= 0).all()
    level = features[10:40, : N_FEATURES // 2]
    assert len(set(level.argmax(axis=1))) == 1
    assert not features[0, N_FEATURES // 2 :].any()
    assert features[12:40, N_FEATURES // 2 :].max() < 0.05  # a steady tone does not rise


def test_beat_this_hears_what_the_formula_says() -> None:
    samples = np.random.default_rng(0).normal(0, 0.1, 4410).astype(np.float32)
    spectrogram = beat_this_spectrogram(Clip(samples, SAMPLE_RATE))
    assert spectrogram.shape == (11, 128)
    frame = np.pad(samples, 512, mode="reflect")[4 * 441 : 4 * 441 + 1024]
    magnitude = np.abs(np.fft.rfft(frame * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)))) / 32
    # the mel scale in its published form: 15 mels per kHz, then 27 to each factor 6.4
    mels = np.linspace(30 * 3 / 200, 15 + 27 * np.log(11) / np.log(6.4), 130)
    edges = np.where(mels < 15, mels * 200 / 3, 1000 * 6.4 ** ((mels - 15) / 27))
    hertz = np.arange(513) * SAMPLE_RATE / 1024
    for band in (0, 40, 100, 127):
        weight = np.interp(hertz, edges[band : band + 3], [0, 1, 0], left=0, right=0)
        assert spectrogram[4, band] == pytest.approx(np.log1p(1000 * magnitude @ weight), rel=1e-4, abs=1e-5)


def test_beat_this_has_the_published_names_and_sizes() -> None:
    from earmark.tasks.meter.trackers.beat_this.network import BeatThis

    final, small = BeatThis(), BeatThis(128)
    for network, wanted in ((final, FINAL_PARAMETERS), (small, SMALL_PARAMETERS)):
        assert sum(p.numel() for p in network.parameters()) == pytest.approx(wanted, rel=0.01)
    shapes = {name: tuple(value.shape) for name, value in final.state_dict().items()}
    assert shapes["frontend.stem.conv2d.weight"] == (32, 1, 4, 3)
    assert shapes["frontend.blocks.2.partial.attnF.to_qkv.weight"] == (384, 128)
    assert shapes["frontend.blocks.0.partial.ffT.net.4.weight"] == (32, 128)
    assert shapes["frontend.linear.weight"] == (512, 1024)
    assert shapes["transformer_blocks.layers.5.0.rotary_embed.freqs"] == (16,)
    assert shapes["transformer_blocks.layers.0.1.net.0.gamma"] == (512,)
    assert shapes["task_heads.beat_downbeat_lin.weight"] == (2, 512)


def test_rotary_attention_knows_distances_only() -> None:
    from earmark.tasks.meter.trackers.beat_this.network import Rotary

    torch.manual_seed(0)
    query, key = torch.randn(32).expand(40, 32), torch.randn(32).expand(40, 32)
    products = Rotary()(query) @ Rotary()(key).T
    for lag in (0, 3, 11):
        diagonal = torch.diagonal(products, lag)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-4, atol=1e-4)


def test_a_checkpoint_in_the_published_layout_loads_and_repeats(tmp_path: Path) -> None:
    group = tracker("beat_this", {"EARMARK_BEAT_THIS": str(small_checkpoint(tmp_path))})
    assert group is not None
    clip = clicked(np.arange(0.4, 2.9, 0.5), duration_s=3.0)
    np.testing.assert_array_equal(group(clip), group(Clip(clip.samples, SAMPLE_RATE)))


def test_chunks_are_cut_and_joined_at_their_places() -> None:
    def echo(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x[:, :, 0], x[:, :, 1]

    for n_frames in (1, 100, 1488, 1489, 1501, 4000):
        spectrogram = np.random.default_rng(n_frames).random((n_frames, 128), np.float32)
        np.testing.assert_array_equal(in_chunks(echo, spectrogram), spectrogram[:, :2].T.astype(np.float64))


def test_beats_are_peaks_of_the_logits_by_hand() -> None:
    beat, downbeat = np.full(200, -5.0), np.full(200, -5.0)
    beat[[20, 45, 70, 95, 120, 145]] = 3.0
    beat[46] = 3.0  # a plateau is one beat, between its frames
    downbeat[[46, 120]] = 2.0
    beats = beats_of_logits(beat, downbeat)
    assert beats.times_s.tolist() == [0.4, 0.91, 1.4, 1.9, 2.4, 2.9]
    assert beats.positions.tolist() == [3, 1, 2, 3, 1, 2]
    assert beats_of_logits(beat, np.full(200, -5.0)).positions.tolist() == [0] * 6
    assert len(beats_of_logits(np.full(9, -1.0), np.full(9, -1.0))) == 0


@pytest.mark.parametrize("beats_per_bar", [3, 4, 7])
def test_the_bar_pointer_fills_in_what_no_peak_shows(beats_per_bar: int) -> None:
    beat, downbeat = np.full(1000, -5.0), np.full(1000, -5.0)
    frames = np.arange(20, 990, 25)
    for frame, level in ((0, 4.0), (1, 3.5)):  # a network's peak is no single frame
        beat[frames + frame] = level
        downbeat[frames[::beats_per_bar] + frame] = level
    beat[frames[8] : frames[8] + 2] = -2.0  # hardly heard
    beat[frames[22] + 12] = 0.5  # an off-beat that is no beat
    peaks, pointed = beats_of_logits(beat, downbeat), pointed_beats(beat, downbeat)
    heard = pointed.times_s[: len(frames) - 1]  # at the end of the clip a beat may be cut
    np.testing.assert_allclose(heard, frames[:-1] / 50, atol=0.011)
    assert len(peaks) == len(frames)  # one too few, one too many
    assert set(pointed.downbeat_spacings.tolist()) == {beats_per_bar} != set(peaks.downbeat_spacings.tolist())
    assert len(pointed_beats(np.full(9, -9.0), np.full(9, -9.0))) == 0


def test_weights_count_by_content_not_by_path(tmp_path: Path) -> None:
    first, second, other = tmp_path / "a.pt", tmp_path / "b.pt", tmp_path / "c.pt"
    first.write_bytes(b"same")
    second.write_bytes(b"same")
    other.write_bytes(b"other")
    digests = []
    for path in (first, second, other):
        group = tracker("beatnet", {"EARMARK_BEATNET": str(path)})
        assert group is not None
        digests.append(fingerprints([group])[group.name].digest)
    assert digests[0] == digests[1] != digests[2]


def test_hostile_and_changed_weights_are_refused(tmp_path: Path) -> None:
    import pickle

    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "executed",))

    for name, content in (
        ("evil.pt", pickle.dumps(Evil(), protocol=2)),
        ("empty.pt", b""),
        ("text.pt", b"no tensors"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(UsageError, match=r"no file of plain tensors"):
            Weights.of(path).load()
    assert not (tmp_path / "executed").exists()
    changed = Weights.of(path)
    path.write_bytes(b"something else")
    with pytest.raises(UsageError, match=r"has changed"):
        changed.load()


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    clip = clicked(np.arange(0.4, 2.9, 0.5), duration_s=3.0)
    for name, variable in (("beatnet", "EARMARK_BEATNET"), ("beat_this", "EARMARK_BEAT_THIS")):
        group = tracker(name, {variable: str(path)})
        assert group is not None
        with pytest.raises(UsageError, match=r"does not hold the tensors"):
            group(clip)


@pytest.mark.skipif(
    not (BEATNET_WEIGHTS.is_dir() and SEMAI.is_file()), reason="needs weights and a recording"
)
@pytest.mark.parametrize("model", [1, 2, 3])
def test_beatnet_finds_the_beats_of_a_semai(model: int) -> None:
    path = BEATNET_WEIGHTS / f"model_{model}_weights.pt"
    slot: Slot = slots(("beatnet", "absent", "absent"), {"EARMARK_BEATNET": str(path)})[0]
    beats = beats_of(decode(SEMAI, sample_rate=SAMPLE_RATE), slot.group)
    reference = np.arange(5.0, 29.0, 0.5)  # bars of three beats in 1.5 s
    assert (np.abs(beats.times_s - reference[:, np.newaxis]).min(axis=1) < 0.07).mean() > 0.95
    assert np.median(beats.intervals_s) == pytest.approx(0.5, abs=0.02)
