"""MERT by its checkpoint: the network against torch's own layers, pieces and pooling by hand, and what is absent."""

from __future__ import annotations

import json
import pickle
from itertools import pairwise

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch")

from random_mert import POSITION, published, small_network, write_checkpoint  # noqa: E402
from torch import nn  # noqa: E402

from earmark.audio.clip import Clip  # noqa: E402
from earmark.errors import UsageError  # noqa: E402
from earmark.features.item import Item  # noqa: E402
from earmark.models.weights import Weights  # noqa: E402
from earmark.tasks.meter.mert.group import mert_group, mert_pieces, pooled_layers  # noqa: E402
from earmark.tasks.meter.mert.network import KERNELS, STRIDES, load_mert  # noqa: E402
from earmark.tasks.meter.task import task  # noqa: E402
from earmark.tasks.meter.training.settings import chosen_view  # noqa: E402
from earmark.tasks.project import Project  # noqa: E402

RATE = 24_000


@pytest.fixture(autouse=True)
def no_checkpoint(monkeypatch):
    monkeypatch.delenv("EARMARK_MERT", raising=False)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("mert") / "model.safetensors")


def noise(duration_s: float, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0.1, 0.2, round(duration_s * RATE)).astype(np.float32)


def by_torch(tensors, samples):
    """The same network out of torch's transformer layer and weight norm, from the published tensors."""
    x = samples[:, None]
    for number, stride in enumerate(STRIDES):
        x = nn.functional.conv1d(
            x, tensors[f"feature_extractor.conv_layers.{number}.conv.weight"], stride=stride
        )
        if number == 0:
            norm = "feature_extractor.conv_layers.0.layer_norm"
            x = nn.functional.instance_norm(x, weight=tensors[f"{norm}.weight"], bias=tensors[f"{norm}.bias"])
        x = nn.functional.gelu(x)
    x = x.transpose(1, 2)
    norm, projection = "feature_projection.layer_norm", "feature_projection.projection"
    x = nn.functional.layer_norm(x, x.shape[-1:], tensors[f"{norm}.weight"], tensors[f"{norm}.bias"])
    x = x @ tensors[f"{projection}.weight"].T + tensors[f"{projection}.bias"]
    width = x.shape[-1]
    position = nn.utils.parametrizations.weight_norm(
        nn.Conv1d(width, width, 128, padding=64, groups=16), dim=2
    )
    position.load_state_dict(
        {
            "bias": tensors[f"{POSITION}.bias"],
            "parametrizations.weight.original0": tensors[f"{POSITION}.weight_g"],
            "parametrizations.weight.original1": tensors[f"{POSITION}.weight_v"],
        }
    )
    x = x + nn.functional.gelu(position(x.transpose(1, 2))[..., : x.shape[1]]).transpose(1, 2)
    norm = "encoder.layer_norm"
    x = nn.functional.layer_norm(x, (width,), tensors[f"{norm}.weight"], tensors[f"{norm}.bias"])
    outputs = []
    for number in range(3):
        own = {
            name.removeprefix(f"encoder.layers.{number}."): tensor
            for name, tensor in tensors.items()
            if name.startswith(f"encoder.layers.{number}.")
        }
        layer = nn.TransformerEncoderLayer(width, 12, 32, dropout=0.0, activation="gelu", batch_first=True)
        parts = [f"attention.{part}_proj" for part in "qkv"]
        layer.load_state_dict(
            {
                "self_attn.in_proj_weight": torch.cat([own[f"{part}.weight"] for part in parts]),
                "self_attn.in_proj_bias": torch.cat([own[f"{part}.bias"] for part in parts]),
                **{
                    f"{theirs}.{kind}": own[f"{ours}.{kind}"]
                    for theirs, ours in (
                        ("self_attn.out_proj", "attention.out_proj"),
                        ("linear1", "feed_forward.intermediate_dense"),
                        ("linear2", "feed_forward.output_dense"),
                        ("norm1", "layer_norm"),
                        ("norm2", "final_layer_norm"),
                    )
                    for kind in ("weight", "bias")
                },
            }
        )
        x = layer.train()(x)  # in training mode torch takes the plain path; nothing is dropped
        outputs.append(x)
    return torch.stack(outputs)


def test_the_network_is_that_of_torchs_own_layers():
    tensors = published(small_network())
    samples = torch.from_numpy(noise(1.0))[None]
    with torch.no_grad():
        ours, theirs = load_mert(tensors)(samples), by_torch(tensors, samples)
    assert ours.shape == (3, 1, 74, 48)
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_both_spellings_of_weight_norm_are_read_and_foreign_tensors_are_not():
    tensors = published(small_network())
    other = dict(tensors)
    for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
        other[f"{POSITION}.parametrizations.weight.{new}"] = other.pop(f"{POSITION}.{old}")
    first, second = load_mert(tensors).state_dict(), load_mert(other).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(RuntimeError):
        load_mert({**tensors, "encoder.layers.0.adapter.weight": torch.zeros(1)})


@pytest.mark.parametrize(
    ("duration_s", "lengths_s"),
    [
        (2.0, [2.0]),
        (5.9, [5.0]),
        (6.0, [5.0, 1.0]),
        (12.5, [5.0, 5.0, 2.5]),
        (30.0, [5.0] * 6),
        (47.0, [5.0] * 6),
    ],
)
def test_pieces_of_five_seconds_of_the_middle(duration_s, lengths_s):
    samples = np.arange(round(duration_s * RATE), dtype=np.float32)
    pieces = mert_pieces(samples)
    assert [len(piece) / RATE for piece in pieces] == lengths_s
    first = max(0.0, (duration_s - 30.0) / 2) * RATE
    assert pieces[0][0] == first
    assert all(later[0] == former[-1] + 1 for former, later in pairwise(pieces))


def test_pooling_is_the_mean_of_the_means_and_the_maximum_of_the_maxima():
    network, samples = small_network(), noise(6.5)
    by_hand = []
    with torch.no_grad():
        for piece in (samples[: 5 * RATE], samples[5 * RATE :]):
            standard = (piece - piece.mean()) / np.sqrt(piece.var() + 1e-7)
            by_hand.append(network(torch.from_numpy(standard)[None])[:, 0].numpy())
    means = (by_hand[0].mean(axis=1) + by_hand[1].mean(axis=1)) / 2
    maxima = np.maximum(by_hand[0].max(axis=1), by_hand[1].max(axis=1))
    np.testing.assert_allclose(
        pooled_layers(samples, network), np.concatenate([means, maxima], axis=1), rtol=1e-4, atol=1e-5
    )


def test_loudness_and_offset_do_not_count_and_silence_is_finite():
    network, samples = small_network(), noise(2.0)
    loud = pooled_layers(4.0 * samples + 0.5, network)
    np.testing.assert_allclose(pooled_layers(samples, network), loud, rtol=1e-3, atol=1e-4)
    assert np.isfinite(pooled_layers(np.zeros(2 * RATE, np.float32), network)).all()


def test_a_layer_is_a_row_of_the_record_and_costs_no_other_record(checkpoint):
    weights = Weights.of(checkpoint)
    third, fourth = mert_group(weights, 3), mert_group(weights, 4)
    (record,) = third.reuses
    clip = Clip(noise(2.0), RATE)
    rows = record(clip)
    assert rows.shape == (12, 1536)
    np.testing.assert_array_equal(third(clip), rows[3])
    np.testing.assert_array_equal(fourth(clip), rows[4])
    assert third.fingerprint().digest != fourth.fingerprint().digest
    assert record.fingerprint().digest == fourth.reuses[0].fingerprint().digest
    again = pickle.loads(pickle.dumps(third))  # noqa: S301 - as workers get it
    assert again.fingerprint().digest == third.fingerprint().digest


def test_what_a_project_extracts_is_what_the_group_gives_and_the_file_may_move(tmp_path, checkpoint):
    (tmp_path / "earmark.toml").write_text(f"[meter]\nmert = {json.dumps(str(checkpoint))}\n")
    project = Project.open("meter", tmp_path)
    for name, width in (("mert1536", 1536), ("g2985", 2985), ("g3166", 3166)):
        assert len(project.task.features(name).columns) == width
    assert [group.name for group in project.task.phases["mert"]] == ["meter.mert_layers", "meter.mert"]
    assert project.task.features().name == task.default_features
    soundfile.write(tmp_path / "a.wav", noise(3.0), RATE, subtype="FLOAT")
    item = Item("a", str(tmp_path / "a.wav"))
    table = project.extract(project.task.features("mert1536").groups, [item], workers=0)
    (mert,) = project.task.features("mert1536").groups
    np.testing.assert_array_equal(table.select(mert.column_names).values[0], mert(Clip(noise(3.0), RATE)))
    moved = tmp_path / "moved.safetensors"
    moved.symlink_to(checkpoint)
    assert mert_group(Weights.of(moved)).fingerprint().digest == mert.fingerprint().digest


def test_without_a_checkpoint_nothing_stands_in_for_mert(tmp_path):
    project = Project.open("meter", tmp_path)
    assert project.task is task
    with pytest.raises(UsageError, match=r"g3166.*EARMARK_MERT"):
        project.task.features("g3166")
    with pytest.raises(UsageError, match=r"mert1536.*CC BY-NC"):
        chosen_view(project, None, mert_only=True)
    with pytest.raises(UsageError, match=r"meter\.mert in earmark.toml"):
        task.configured(project.effective).features("mert1536")


@pytest.mark.parametrize("suffix", [".safetensors", ".bin"])
def test_files_that_are_no_checkpoint_are_refused(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"no tensors")
    with pytest.raises(UsageError, match="no safetensors file|no file of plain tensors"):
        mert_group(Weights.of(path))(Clip(noise(2.0), RATE))
    tensors = published(small_network())
    if suffix == ".bin":
        torch.save(tensors, path)
        with pytest.raises(UsageError, match="3 layers of 48 units; expected 12 of 768"):
            mert_group(Weights.of(path))(Clip(noise(2.0), RATE))


def test_a_file_that_changes_after_it_was_chosen_is_refused(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"one")
    group = mert_group(Weights.of(path))
    path.write_bytes(b"other")
    with pytest.raises(UsageError, match="has changed since"):
        group(Clip(noise(2.0), RATE))
    path.unlink()
    with pytest.raises(UsageError, match="cannot be read"):
        group(Clip(noise(2.0), RATE))


def test_strides_make_75_frames_per_second():
    assert np.prod(STRIDES) == RATE // 75
    assert len(KERNELS) == len(STRIDES)
