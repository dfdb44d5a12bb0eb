"""Training: resumed bit for bit, the best epoch restored, patience, collapse, and what is told of each epoch."""

from __future__ import annotations

import logging
import math
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from fit_sequence import fit
from sequence_settings import make
from window_tables import windows

from earmark.errors import UsageError
from earmark.models.sequence.base import StopTraining

torch = pytest.importorskip("torch")

from earmark.models.schedule import cosine_rate  # noqa: E402
from earmark.models.sequence.augment import mix_up  # noqa: E402
from earmark.models.sequence.losses import Targets, direction_loss, total_loss  # noqa: E402
from earmark.models.sequence.monitor import collapse_grade, macro_f1  # noqa: E402
from earmark.models.sequence.networks.heads import Outputs  # noqa: E402


def parts(n=50):
    found = windows(n=n)
    early = found.table.time_ms[found.ends] < found.table.time_ms[int(0.7 * n)]
    return found.take(early), found.take(~early)


def assert_equal_fits(one, other):
    assert one.history == other.history
    assert one.best_epoch == other.best_epoch
    assert one.tensors.keys() == other.tensors.keys()
    for name, array in one.tensors.items():
        np.testing.assert_array_equal(array, other.tensors[name])


def test_an_interrupted_fit_continues_bit_for_bit(tmp_path):
    def interrupt(entry):
        if entry["epoch"] == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, interrupt)
    seen = []
    resumed = fit(tmp_path, seen.append)
    assert_equal_fits(resumed, fit(None))
    assert [int(entry["epoch"]) for entry in seen] == list(range(8))
    names = {path.name for path in tmp_path.iterdir()}
    assert {"last.state", "best_loss.safetensors", "best_f1.safetensors", "epoch_0002.safetensors"} <= names


@pytest.mark.slow
def test_a_killed_fit_continues_bit_for_bit(tmp_path):
    command = [sys.executable, str(Path(__file__).with_name("fit_sequence.py")), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        while process.stdout.readline().strip() != "3":
            assert process.poll() is None
        os.kill(process.pid, signal.SIGKILL)
    assert_equal_fits(fit(tmp_path), fit(None))


def test_the_state_of_another_fit_is_not_continued(tmp_path):
    train, validation = parts()
    make("mpd", epochs=2).fit(train, validation, checkpoint=tmp_path)
    longer = make("mpd", epochs=2, seed=7).fit(train, validation, checkpoint=tmp_path)
    assert_equal_fits(longer, make("mpd", epochs=2, seed=7).fit(train, validation))


def test_the_best_epoch_is_restored():
    train, validation = parts()
    model = make("mpd", epochs=25, learning_rate=0.01).fit(train, validation)
    losses = [entry["validation_loss"] for entry in model.history]
    assert model.length == int(np.argmin(losses)) + 1 < len(losses)
    accuracy = (model.predict(validation).direction == validation.y).mean()
    assert accuracy == model.history[model.best_epoch]["validation_accuracy"]


def test_patience_stops_and_zero_never_does():
    train, validation = parts()
    settings = {"epochs": 12, "learning_rate": 1e-9, "stop_on_collapse": False}
    stopped = make("mpd", early_stopping_epochs=3, **settings).fit(train, validation)
    assert (len(stopped.history), stopped.ended) == (4, "early stopping")
    endless = make("mpd", early_stopping_epochs=0, **settings).fit(train, validation)
    assert (len(endless.history), endless.ended) == (12, "all epochs")


def test_a_collapse_is_told_and_stops_only_after_the_warm_up(caplog):
    train, validation = parts()
    mostly = train.take((train.y == 1) | (np.arange(len(train)) % 17 == 0))
    settings = {"epochs": 12, "learning_rate": 1e-3}
    with caplog.at_level(logging.WARNING):
        stopped = make("mpd", **settings).fit(mostly, validation)
    assert "mode collapse" in caplog.text
    assert (len(stopped.history), stopped.ended) == (8, "mode collapse")
    assert [collapse_grade(share) for share in (0.7, 0.75, 0.9, 0.99)] == ["", "mild", "severe", "total"]
    assert make("mpd", stop_on_collapse=False, **settings).fit(mostly, validation).ended == "all epochs"


def test_events_of_each_epoch_and_a_stop_that_is_asked_for():
    train, validation = parts()
    seen = []

    def note(entry):
        seen.append(entry)
        if len(seen) == 3:
            raise StopTraining

    model = make("mpd").fit(train, validation, on_epoch=note)
    assert (len(model.history), model.ended) == (3, "asked to stop")
    for name in (
        "training_loss",
        "validation_loss",
        "training_accuracy",
        "validation_accuracy",
        "learning_rate",
    ):
        assert all(math.isfinite(entry[name]) for entry in seen)
    assert all(0 <= entry["validation_macro_f1"] <= 1 for entry in seen)


def test_a_diverging_fit_says_so():
    train, _ = parts()
    with pytest.raises(UsageError, match="diverged"):
        make("hybrid_cnn_lstm", learning_rate=1e30, clip_norm=1e30).fit(train)


def test_smote_of_raw_prices_is_refused():
    from sequence_settings import windows_for

    with pytest.raises(UsageError, match="cannot be mixed"):
        make("tlob", balance="smote").fit(windows_for("tlob", n=30))


def test_the_rate_follows_cosines_that_restart():
    def rate(epoch):
        return cosine_rate(epoch, rate=1.0, floor=0.1, period=10, factor=2)

    assert rate(0) == rate(10) == rate(30) == 1.0
    assert rate(5) == pytest.approx(0.55)
    assert rate(20) == pytest.approx(0.55)
    assert rate(9) == pytest.approx(0.1 + 0.45 * (1 + math.cos(math.pi * 0.9)))


def test_macro_f1_by_hand():
    y, said = np.array([0, 0, 0, 2, 2, 2]), np.array([0, 0, 2, 2, 1, 1])
    # F1 of 0: precision 1, recall 2/3; of 1: nothing right; of 2: precision 1/2, recall 1/3.
    assert macro_f1(y, said) == pytest.approx((0.8 + 0.0 + 0.4) / 3)
    assert macro_f1(y, y) == 1.0


def test_direction_losses_against_torch_and_by_hand():
    torch.manual_seed(0)
    logits, code = torch.randn(50, 3), torch.randint(0, 3, (50,))
    cross = torch.nn.functional.cross_entropy

    def loss(kind, **settings):
        return direction_loss(kind, logits, code, **({"smoothing": 0.1, "gamma": 1.5} | settings))

    torch.testing.assert_close(loss("ce"), cross(logits, code, reduction="none"))
    torch.testing.assert_close(
        loss("ce_smoothing"), cross(logits, code, reduction="none", label_smoothing=0.1)
    )
    torch.testing.assert_close(loss("focal", gamma=0.0), loss("ce"))
    p = logits.softmax(1).gather(1, code[:, None]).squeeze(1)
    torch.testing.assert_close(loss("focal"), -((1 - p) ** 1.5) * p.log())
    sure = torch.tensor([[9.0, 0.0, 0.0], [3.0, 3.0, 0.0]])
    confident, torn = direction_loss("asymmetric", sure, torch.tensor([1, 1]), smoothing=0.0, gamma=1.0)
    assert confident > 5 * torn


def test_each_head_learns_from_its_own_target():
    logits = torch.tensor([[2.0, 0.0, 0.0], [0.0, 0.0, 3.0]], requires_grad=True)
    confidence = torch.zeros(2, requires_grad=True)
    expected = torch.zeros(2, requires_grad=True)
    targets = Targets(torch.tensor([0, 0]), torch.tensor([0.5, math.nan]))
    outputs = Outputs(logits, confidence, expected)
    total = total_loss(outputs, targets, torch.arange(3), kind="ce", smoothing=0.0, gamma=0.0)
    direction = torch.nn.functional.cross_entropy(logits, targets.code, reduction="none")
    huber = torch.tensor([0.5 * 0.5**2, 0.0])
    torch.testing.assert_close(total, direction + 0.5 * math.log(2) + 0.3 * huber)
    total.sum().backward()
    assert confidence.grad[0] < 0 < confidence.grad[1]  # right, then wrong
    assert expected.grad[0] < 0
    assert expected.grad[1] == 0  # unknown


def test_mixing_keeps_the_share_it_names():
    inputs = torch.randn(16, 4, 2)
    mixed = mix_up(inputs, alpha=0.2, probability=1.0, rng=np.random.default_rng(0))
    assert mixed.partner is not None
    torch.testing.assert_close(mixed.inputs, mixed.share * inputs + (1 - mixed.share) * inputs[mixed.partner])
    assert mix_up(inputs, alpha=0.2, probability=0.0, rng=np.random.default_rng(0)).inputs is inputs
