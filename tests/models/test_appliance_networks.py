"""Networks on tokens and filter banks: padding, pooling, loss, files."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from acoustic_fits import DEVICES, QUICK, stage_1, stage_2, toy
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from earmark.errors import RunError, UsageError
from earmark.models.acoustic.fitted import FittedHead
from earmark.models.acoustic.loss import cell_losses, cell_weights, pos_weight
from earmark.models.acoustic.networks import build, padded
from earmark.models.acoustic.pooling import TokenPooling
from earmark.models.acoustic.selection import auroc, file_f1, margin, measures, recording_weights
from earmark.models.acoustic.settings import PARAMETERS, HeadSettings
from earmark.models.acoustic.trainer import fit_head

NETWORKS = [
    HeadSettings(pool="attention"),
    HeadSettings(pool="mean"),
    HeadSettings(pool="mean+max"),
    HeadSettings(network="gru"),
    HeadSettings(network="cnn"),
]


def network_of(chosen, width=16, n_devices=2):
    torch.manual_seed(3)
    return build(chosen, width, n_devices).eval()


@pytest.mark.parametrize("chosen", NETWORKS, ids=lambda s: f"{s.network}-{s.pool}")
@pytest.mark.parametrize("n_devices", [1, 2, 3])
def test_windows_of_any_lengths_give_in_a_batch_what_they_give_alone(chosen, n_devices):
    network, rng = network_of(chosen, n_devices=n_devices), np.random.default_rng(0)
    windows = [rng.normal(size=(n, 16)).astype(np.float32) for n in (48, 9, 47, 8, 48)]
    with torch.inference_mode():
        alone = torch.cat([network(padded([window])[0]) for window in windows])
        for n in range(1, 6):
            together = network(*padded(windows[:n]))
            np.testing.assert_allclose(together, alone[:n], atol=2e-6)


def test_a_batch_of_waveform_like_windows_is_never_taken_for_channels():
    network = network_of(NETWORKS[-1])
    windows = np.random.default_rng(0).normal(size=(2, 40, 16)).astype(np.float32)
    with torch.inference_mode():
        both = network(torch.from_numpy(windows))
    assert both.shape == (2, 2) and not np.allclose(both[0], both[1])
    with pytest.raises(UsageError, match=r"shape \(40,\); expected"):
        padded([windows[0, :, 0]])


def test_attention_weighs_tokens_by_the_softmax_of_their_scores():
    pooling = TokenPooling(2, "attention")
    with torch.no_grad():
        pooling.score.weight.copy_(torch.tensor([[1.0, 0.0]]))
        pooling.score.bias.zero_()
        tokens = torch.tensor([[[0.0, 1.0], [np.log(3.0), 5.0], [9.0, 9.0]]], dtype=torch.float32)
        found = pooling(tokens, torch.tensor([[True, True, False]]))
    np.testing.assert_allclose(found[0], [0.75 * np.log(3.0), 0.25 * 1 + 0.75 * 5], rtol=1e-6)


def test_the_cnn_has_the_published_size():
    weights = sum(weight.numel() for weight in network_of(NETWORKS[-1], 128).parameters())
    assert weights == 23_778  # 24 thousand


@given(
    st.lists(
        st.tuples(st.sampled_from([0.0, 1.0, np.nan]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=9
    ),
    st.floats(0, 1),
    st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_the_loss_is_the_textbook_sum(labels, hidden, seed):
    y = np.array(labels, dtype=np.float32)
    rows = np.random.default_rng(seed).uniform(0.1, 3, len(y))
    logits = np.random.default_rng(seed).normal(size=y.shape)
    weights = cell_weights(y, rows=rows, masks=[(0, 1)], hidden=hidden)
    positive = pos_weight(y, weights)
    found = cell_losses(*(torch.from_numpy(np.float32(a)) for a in (logits, y, weights, positive)))
    scale = np.mean([rows[i] for i, k in np.ndindex(y.shape) if np.isfinite(y[i, k])])
    for i, k in np.ndindex(y.shape):
        p = 1 / (1 + np.exp(-logits[i, k]))
        one = (
            -(positive[k] * y[i, k] * np.log(p) + (1 - y[i, k]) * np.log(1 - p))
            if np.isfinite(y[i, k])
            else 0.0
        )
        factor = hidden if k == 1 and y[i, 0] == 1 else 1.0
        assert float(found[i, k]) == pytest.approx(factor * rows[i] / scale * one, rel=1e-4, abs=1e-6)


def test_pos_weight_is_negatives_over_positives_in_weight():
    y = np.array([[1, 1], [1, 0], [0, 1], [0, 0], [0, 0]], np.float32)
    assert pos_weight(y, np.ones_like(y)).tolist() == [1.5, 1.5]
    masked = cell_weights(y, masks=[(0, 1)], hidden=0.25)
    assert pos_weight(y, masked).tolist() == [1.5, pytest.approx(2.25 / 1.25)]
    balanced = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    assert pos_weight(balanced, cell_weights(balanced, masks=[(0, 1)], hidden=0.25)).tolist() == [1.0, 1.0]
    assert pos_weight(np.ones((2, 1), np.float32), np.ones((2, 1))).tolist() == [1.0]


def test_the_gradient_of_a_hidden_device_scales_with_its_weight():
    y = torch.tensor([[1.0, 1.0]])
    gradients = []
    for hidden in (0.0, 0.25, 1.0):
        logits = torch.zeros(1, 2, requires_grad=True)
        cells = torch.from_numpy(cell_weights(y.numpy(), masks=[(0, 1)], hidden=hidden).astype(np.float32))
        cell_losses(logits, y, cells, torch.ones(2)).sum().backward()
        gradients.append(logits.grad[0].tolist())
    assert gradients == [[-0.5, 0.0], [-0.5, -0.125], [-0.5, -0.5]]
    reference = functional.binary_cross_entropy_with_logits(torch.zeros(1, 2), y)
    assert float(reference) == pytest.approx(np.log(2))


def test_labels_that_are_all_unknown_are_refused():
    with pytest.raises(UsageError, match="None of the 4 labels counts"):
        cell_weights(np.full((2, 2), np.nan, np.float32))


def test_measures_of_a_table_counted_by_hand():
    p = np.array([[0.9, 0.2], [0.8, 0.6], [0.3, 0.6], [0.1, 0.9]], np.float32)
    y = np.array([[1, 0], [1, 0], [0, 1], [0, np.nan]], np.float32)
    found = measures(p, y, np.array(list("aabc")), DEVICES)
    assert found["auroc"] == pytest.approx((1.0 + 0.75) / 2)
    assert found["margin"] == pytest.approx(min(0.85 - 0.3, 0.6 - 0.4))
    assert (found["f1_ac"], found["f1_fridge"], found["mean_f1"]) == (1.0, 0.0, 0.5)
    assert np.isnan(auroc(p[:2, 0], y[:2, 0])) and np.isnan(margin(np.ones(2), np.ones(2, bool)))
    assert np.isnan(file_f1(np.zeros(1), np.array([False]), 0.5))
    assert recording_weights(np.array(list("aaab"))).tolist() == [2 / 3] * 3 + [2.0]


@pytest.mark.parametrize("network", ["attention", "gru", "cnn"])
def test_saved_and_read_again_it_gives_the_same_bits(tmp_path, network):
    banks, y, _ = toy(16)
    fitted = fit_head(
        banks, y, devices=DEVICES, settings=HeadSettings(**{**QUICK, "network": network, "epochs": 1})
    )
    fitted.save(tmp_path)
    again = FittedHead.load(tmp_path)
    assert (again.probabilities(banks) == fitted.probabilities(banks)).all()
    assert again.card() == fitted.card() and again.history == fitted.history
    assert (
        (tmp_path / "head.safetensors").stat().st_size
        <= (tmp_path / "model.safetensors").stat().st_size
        < 5e6
    )
    one_by_one = np.concatenate([again.probabilities(banks[k : k + 1]) for k in range(len(banks))])
    assert (one_by_one == fitted.probabilities(banks)).all()


def test_the_pooling_is_in_the_head_file(tmp_path):
    from safetensors.numpy import load_file

    fitted = stage_1(epochs=1)
    fitted.save(tmp_path)
    head = load_file(tmp_path / "head.safetensors")
    assert {"pooling.score.weight", "pooling.score.bias", "head.1.weight", "head.4.bias"} <= set(head)
    assert all((head[name] == fitted.tensors[name]).all() for name in fitted.tensors)


def test_the_full_state_brings_the_encoder(tmp_path):
    from acoustic_fits import TinyEncoder

    tuned = stage_2(stage_1(epochs=1), lr_blocks=1e-2)
    assert tuned.tunes_encoder
    with torch.no_grad():
        stranger = TinyEncoder()
        stranger.patch.weight.zero_()
    banks, _, _ = toy(6)
    for full, encoder in ((False, TinyEncoder()), (True, stranger)):
        tuned.save(tmp_path, full_state=full)
        again = FittedHead.load(tmp_path, encoder=encoder)
        assert (again.probabilities(banks) == tuned.probabilities(banks)).all()
    with pytest.raises(
        RunError, match="no encoder was given; expected the one whose weights have SHA-256 ab"
    ):
        FittedHead.load(tmp_path).probabilities(banks)
    assert not stranger.patch.weight.any()  # the caller's encoder is left alone


def test_a_hostile_or_foreign_file_is_refused(tmp_path):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    with pytest.raises(RunError, match="There is no"):
        FittedHead.load(tmp_path)
    for content in (pickle.dumps(Hostile()), b"", b"\xff" * 99):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(RunError, match="no network of this program"):
            FittedHead.load(tmp_path)
    assert not (tmp_path / "executed").exists()


def test_inputs_of_another_width_are_refused():
    with pytest.raises(UsageError, match="Inputs have 12 columns; this model was fitted on 8"):
        stage_1(epochs=1).probabilities(toy(1)[0])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, parameter in PARAMETERS.items()
        for value in parameter.constraint.invalid_examples()
    ],
)
def test_every_setting_is_checked(name, value):
    with pytest.raises(UsageError, match=name):
        HeadSettings(**{name: value})
