"""Two stages of training: what learns, what is kept, and that a fit repeats and continues bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from acoustic_fits import DEVICES, QUICK, TinyEncoder, stage_1, stage_2, tokens_of, toy

from earmark.errors import UsageError
from earmark.models.acoustic.networks import build, own_encoder
from earmark.models.acoustic.optimiser import optimiser, warm_up, warmed_cosine
from earmark.models.acoustic.settings import HeadSettings
from earmark.models.acoustic.trainer import Validation, fine_tune, fit_head


def assert_equal_fits(a, b):
    assert (a.best_epoch, a.history) == (b.best_epoch, b.history)
    assert a.tensors.keys() == b.tensors.keys()
    assert all((a.tensors[name] == b.tensors[name]).all() for name in a.tensors)


def drawn(settings, width):
    from earmark.models.sequence.device import repeatable

    with repeatable(settings.seed):
        return dict(build(settings, width, 2).named_parameters())


@pytest.mark.parametrize("network", ["attention", "gru", "cnn"])
def test_every_trained_tensor_moves(network):
    banks, y, _ = toy(24)
    settings = HeadSettings(**{**QUICK, "network": network})
    fitted = fit_head(banks, y, devices=DEVICES, settings=settings)
    before = drawn(settings, banks.shape[2])
    still = [
        name for name, weight in before.items() if (fitted.tensors[name] == weight.detach().numpy()).all()
    ]
    assert set(still) <= {"pooling.score.bias"}  # a softmax knows no constant: rounding alone moves it


@pytest.mark.parametrize("n_devices", [1, 3])
def test_any_number_of_devices_is_learned(n_devices):
    banks, y, recordings = toy(64, n_devices=n_devices)
    names = [f"m{k}" for k in range(n_devices)]
    settings = HeadSettings(**{**QUICK, "network": "cnn", "epochs": 8, "lr_head": 1e-2})
    fitted = fit_head(banks, y, devices=names, settings=settings, validation=Validation(banks, y, recordings))
    assert ((fitted.probabilities(banks) >= 0.5) == y).mean() > 0.95
    assert set(fitted.best_entry) >= {"val_loss", "auroc", "margin", "mean_f1", *(f"f1_{n}" for n in names)}


@pytest.mark.parametrize("network", ["attention", "cnn"])
def test_two_runs_are_bit_equal_and_leave_the_global_generator_alone(network):
    import torch

    torch.manual_seed(1)
    first = stage_1(network="attention") if network == "attention" else None
    expected = torch.rand(3)
    torch.manual_seed(1)
    assert (torch.rand(3) == expected).all()
    banks, y, _ = toy(24)
    fits = [
        fit_head(banks, y, devices=DEVICES, settings=HeadSettings(**{**QUICK, "network": network}))
        for _ in range(2)
    ]
    assert_equal_fits(*fits)
    if first is not None:
        assert_equal_fits(first, stage_1())


def test_a_later_and_better_epoch_wins_over_the_first_perfect_one():
    fitted = stage_1(network="gru", epochs=10, select="val_loss")
    perfect = next(entry["epoch"] for entry in fitted.history if entry["mean_f1"] == 1.0)
    losses = [entry["val_loss"] for entry in fitted.history]
    assert fitted.best_epoch == int(np.argmin(losses)) > perfect
    earlier = stage_1(network="gru", epochs=10, select="mean_f1")
    ties = [entry for entry in earlier.history if entry["mean_f1"] == 1.0]
    assert earlier.best_epoch == min(ties, key=lambda entry: entry["val_loss"])["epoch"]


@pytest.mark.parametrize("select", ["auroc", "margin", "mean_f1"])
def test_the_selected_measure_is_the_largest(select):
    fitted = stage_1(epochs=6, select=select)
    assert fitted.best_entry[select] == max(entry[select] for entry in fitted.history)


def test_patience_ends_a_fit_and_an_asked_length_too():
    stuck = stage_1(epochs=40, lr_head=1e-12, warmup_steps=0, patience=3)
    assert len(stuck.history) - 1 - stuck.best_epoch == 3
    banks, y, _ = toy(24)
    settings = HeadSettings(**{**QUICK, "epochs": 9, "stop_after": 2})
    fitted = fit_head(banks, y, devices=DEVICES, settings=settings)
    assert (len(fitted.history), fitted.best_epoch) == (2, 1)


def test_the_rate_rises_to_its_largest_and_falls_to_nothing():
    settings = HeadSettings(epochs=12)
    assert warm_up(settings, 348) == 35 and warm_up(settings, 10_000) == 200
    assert warm_up(HeadSettings(warmup_steps=200), 348) == 200
    rates = [warmed_cosine(step, 348, 35) for step in range(349)]
    assert rates[0] == pytest.approx(1 / 35) and rates[34] == rates[35] == 1.0
    assert (np.diff(rates[:35]) > 0).all() and (np.diff(rates[35:]) < 0).all()
    assert rates[-1] == 0.0 and rates[35 + 313 // 2] == pytest.approx(0.5, abs=0.01)


def test_rows_and_unknown_labels_count_as_weighted():
    banks, y, _ = toy(32)
    settings = HeadSettings(**QUICK)
    half = np.arange(32) % 8 < 4
    weights = np.where(half, 1.0, 0.0)
    unknown = np.where(half[:, None], y, np.nan).astype(np.float32)
    weighted = fit_head(banks, y, devices=DEVICES, settings=settings, weights=weights)
    unlabelled = fit_head(banks, unknown, devices=DEVICES, settings=settings)
    np.testing.assert_allclose(weighted.logits(banks), unlabelled.logits(banks), atol=1e-5)
    assert not np.allclose(
        weighted.logits(banks), fit_head(banks, y, devices=DEVICES, settings=settings).logits(banks)
    )


def test_stage_2_starts_from_stage_1_and_moves_only_the_last_blocks():
    encoder, start = TinyEncoder(), stage_1()
    before = {name: weight.detach().clone() for name, weight in encoder.named_parameters()}
    tuned = stage_2(start, encoder=encoder, unfreeze=2, lr_blocks=1e-2)
    first = tuned.history[len(start.history)]
    assert (first["stage"], first["epoch"]) == (2, -1)
    assert first["val_loss"] == pytest.approx(start.best_entry["val_loss"], abs=1e-5)
    blocks = {name for name in tuned.tensors if name.startswith("encoder.")}
    assert blocks == {f"encoder.layers.{k}.0.{part}" for k in (1, 2) for part in ("weight", "bias")}
    assert all(
        (tuned.tensors[f"encoder.{n}"] != w.numpy()).any()
        for n, w in before.items()
        if f"encoder.{n}" in blocks
    )
    assert all((weight == before[name]).all() for name, weight in encoder.named_parameters())
    assert tuned.best_entry["val_loss"] < first["val_loss"]


def test_frozen_blocks_stay_in_eval_mode(monkeypatch):
    modes: set[tuple[bool, ...]] = set()
    encode = TinyEncoder.encode

    def watched(self, fbank):
        modes.add(tuple(module.training for module in (self.patch, *self.layers)))
        return encode(self, fbank)

    monkeypatch.setattr(TinyEncoder, "encode", watched)
    stage_2(stage_1(epochs=1), unfreeze=1, epochs=1)
    assert modes == {(False,) * 4, (False, False, False, True)}  # validation, training


def test_the_two_rates_and_the_decay_of_matrices_alone():
    from earmark.models.acoustic.networks import EncoderAndHead

    settings = HeadSettings().stage_2(1)
    own = own_encoder(TinyEncoder())
    for block in own.blocks(last=1):
        block.requires_grad_(True)
    groups = optimiser(EncoderAndHead(own, build(settings, 8, 2)), settings).param_groups
    assert {(group["largest"], group["weight_decay"]) for group in groups} == {
        (3e-4, 1e-2),
        (3e-4, 0.0),
        (2e-5, 1e-2),
        (2e-5, 0.0),
    }
    assert all(
        (weight.ndim >= 2) == (group["weight_decay"] > 0) for group in groups for weight in group["params"]
    )


def test_the_state_behind_another_encoder_is_not_continued(tmp_path):
    import torch

    start, other = stage_1(epochs=1), TinyEncoder()
    with torch.no_grad():
        other.patch.weight.mul_(0.5)  # a frozen part
    stage_2(start, checkpoint=tmp_path, epochs=2)
    found = stage_2(start, checkpoint=tmp_path, epochs=2, encoder=other)
    assert_equal_fits(found, stage_2(start, epochs=2, encoder=other))


def test_stage_2_that_selects_no_better_leaves_stage_1():
    start = stage_1(epochs=12, lr_head=1e-2)
    worse = stage_2(start, lr_blocks=10.0, patience=2)
    assert not worse.tunes_encoder and worse.best_entry == start.best_entry
    assert len(worse.history) > len(start.history)
    tokens = tokens_of(TinyEncoder(), toy(5)[0])
    assert (worse.probabilities(tokens) == start.probabilities(tokens)).all()


@pytest.mark.parametrize("unfreeze", [0, 4])
def test_blocks_that_the_encoder_lacks_are_refused(unfreeze):
    with pytest.raises(UsageError, match=f"unfreeze_blocks is {unfreeze}; expected 1 to 3"):
        stage_2(stage_1(epochs=1), unfreeze=unfreeze)


def test_labels_that_do_not_fit_are_refused():
    banks, y, _ = toy(8)
    with pytest.raises(UsageError, match="8 inputs, labels of shape"):
        fit_head(banks, y[:7], devices=DEVICES)
    with pytest.raises(UsageError, match="Masks name pump; expected pairs out of ac, fridge"):
        fit_head(banks, y, devices=DEVICES, masks=[("ac", "pump")])


def test_a_fit_that_diverges_says_so():
    with pytest.raises(UsageError, match="diverged at a rate of"):
        stage_1(lr_head=1e30, warmup_steps=0)


@pytest.mark.parametrize("stage", [1, 2])
def test_a_fit_stopped_after_any_epoch_continues_bit_for_bit(tmp_path, stage):
    class StopError(Exception):
        pass

    def stop_at_2(entry):
        if entry["epoch"] == 2:
            raise StopError

    fit = stage_1 if stage == 1 else stage_2
    with pytest.raises(StopError):
        fit(checkpoint=tmp_path, on_epoch=stop_at_2, network="attention")
    told = []
    again = fit(checkpoint=tmp_path, on_epoch=lambda entry: told.append(entry["epoch"]))
    assert_equal_fits(again, fit())
    assert told == [entry["epoch"] for entry in again.history if entry["stage"] == stage]
    other = fit(checkpoint=tmp_path, seed=7)
    assert_equal_fits(other, fit(seed=7))


@pytest.mark.slow
@pytest.mark.parametrize("stage", [1, 2])
def test_a_killed_fit_continues_bit_for_bit(tmp_path, stage):
    script = Path(__file__).with_name("acoustic_fits.py")
    with subprocess.Popen(
        [sys.executable, script, tmp_path, str(stage)], stdout=subprocess.PIPE, text=True
    ) as process:
        while process.stdout.readline().strip() != f"{stage} 3":
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    fit = stage_1 if stage == 1 else stage_2
    assert_equal_fits(fit(checkpoint=tmp_path, epochs=12), fit(epochs=12))


def test_the_last_block_of_beats_learns_behind_its_head():
    from published_beats import checkpoint, small_cfg

    from earmark.models.beats.config import BeatsConfig
    from earmark.models.beats.official import encoder_of

    loaded = checkpoint(small_cfg())
    encoder = encoder_of(BeatsConfig.of(loaded["cfg"]), loaded["model"])
    rng = np.random.default_rng(0)
    y = np.stack([np.arange(12) % 2, np.arange(12) // 2 % 2], axis=1).astype(np.float32)
    banks = rng.normal(size=(12, 48, 128)).astype(np.float32)
    banks[:, :, 20:40] += y[:, :1, None]
    tokens = tokens_of(encoder, banks)
    checked = [str(k % 4) for k in range(12)]
    settings = HeadSettings(**QUICK)
    start = fit_head(tokens, y, devices=DEVICES, settings=settings, validation=Validation(tokens, y, checked))
    tuned = fine_tune(
        start,
        encoder,
        banks,
        y,
        settings=replace(settings.stage_2(1), lr_blocks=1e-3),
        validation=Validation(banks, y, checked),
    )
    assert tuned.history[len(start.history)]["val_loss"] == pytest.approx(
        start.best_entry["val_loss"], abs=1e-5
    )
    assert {name.split(".")[2] for name in tuned.tensors if name.startswith("encoder.")} == {"2"}
    assert (tuned.probabilities(banks[3:4]) == tuned.probabilities(banks)[3]).all()
