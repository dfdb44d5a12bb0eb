"""The dense network: numpy prediction equals torch, epochs resume bit for bit, early stopping keeps the
best.
"""

from __future__ import annotations

import logging

import numpy as np
import pytest
from model_tables import blobs

from earmark.errors import UsageError
from earmark.models.neural import NeuralNetwork
from earmark.models.registry import make

torch = pytest.importorskip("torch")

SMALL = {"layers": [16, 8], "epochs": 15}


class Killed(BaseException):
    """Stands for a process that dies between two epochs."""


def network(**params) -> NeuralNetwork:
    model = make("neural", **(SMALL | params))
    assert isinstance(model, NeuralNetwork)
    return model


def split():
    X, y = blobs(90, seed=3)
    return X[:60], y[:60], (X[60:], y[60:])


def killed_at(epoch: int, checkpoint, **params) -> None:
    def stop(entry):
        if entry["epoch"] == epoch:
            raise Killed

    X, y, validation = split()
    with pytest.raises(Killed):
        network(**params).fit(X, y, validation=validation, checkpoint=checkpoint, on_epoch=stop)


def test_numpy_prediction_equals_torch(table):
    from earmark.models.neural_training import DenseNetwork

    X, y = table
    model = network().fit(X, y)
    peer = DenseNetwork(6, (16, 8), 3, 0.3)
    peer.load_state_dict(
        {name: torch.from_numpy(value) for name, value in model.tensors.items()}, strict=False
    )
    peer.eval()
    with torch.no_grad():
        expected = torch.softmax(peer(torch.from_numpy(X)), dim=1).numpy()
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=1e-5)


def test_the_adam_step_equals_torchs():
    """Three full-batch steps without dropout, beside torch's own optimiser."""
    from earmark.models.neural_training import DenseNetwork

    X, y = blobs(32)
    model = network(epochs=3, dropout=0.0, batch_size=64).fit(X, y)
    torch.manual_seed(42)
    peer = DenseNetwork(6, (16, 8), 3, 0.0)
    optimiser = torch.optim.Adam(peer.parameters(), lr=1e-3)
    for _ in range(3):
        loss = torch.nn.functional.cross_entropy(peer(torch.from_numpy(X)), torch.from_numpy(y))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    for name, value in peer.state_dict().items():
        if value.is_floating_point():
            np.testing.assert_allclose(model.tensors[name], value.numpy(), atol=2e-5, err_msg=name)


@pytest.mark.parametrize("epoch", [0, 6, 13])
def test_a_killed_fit_continues_to_the_same_model(epoch, tmp_path):
    X, y, validation = split()
    whole = network().fit(X, y, validation=validation)
    killed_at(epoch, tmp_path)
    seen = []
    resumed = network().fit(X, y, validation=validation, checkpoint=tmp_path, on_epoch=seen.append)
    assert resumed.history == whole.history and resumed.length == whole.length
    assert seen == whole.history
    for name, value in whole.tensors.items():
        np.testing.assert_array_equal(resumed.tensors[name], value)


def test_a_resumed_fit_does_not_repeat_epochs(tmp_path, monkeypatch):
    from earmark.models import neural_training

    killed_at(9, tmp_path)  # epoch 9 ran, its state was not yet written
    run = []
    original = neural_training._Fit.run_epoch
    monkeypatch.setattr(neural_training._Fit, "run_epoch", lambda fit: (run.append(1), original(fit))[1])
    X, y, validation = split()
    network().fit(X, y, validation=validation, checkpoint=tmp_path)
    assert len(run) == 15 - 9


def test_a_state_of_another_fit_is_not_continued(tmp_path):
    killed_at(6, tmp_path)
    X, y, validation = split()
    for changed, params in (((X + 1), {}), (X, {"seed": 7})):
        plain = network(**params).fit(changed, y, validation=validation)
        beside = network(**params).fit(changed, y, validation=validation, checkpoint=tmp_path)
        np.testing.assert_array_equal(beside.predict_proba(X), plain.predict_proba(X))


def test_a_torn_state_starts_over_and_says_so(tmp_path, caplog):
    killed_at(6, tmp_path)
    state = tmp_path / "epoch.state"
    state.write_bytes(state.read_bytes()[:-100])
    X, y, validation = split()
    with caplog.at_level(logging.WARNING):
        resumed = network().fit(X, y, validation=validation, checkpoint=tmp_path)
    assert "damaged" in caplog.text
    np.testing.assert_array_equal(
        resumed.predict_proba(X), network().fit(X, y, validation=validation).predict_proba(X)
    )


def test_early_stopping_keeps_the_best_epoch():
    X, y, validation = split()
    validation = (validation[0], np.random.default_rng(0).permutation(validation[1]))  # nothing to learn
    model = network(epochs=200, early_stopping_epochs=5, learning_rate=0.01).fit(X, y, validation=validation)
    losses = [entry["validation_loss"] for entry in model.history]
    assert model.length == int(np.argmin(losses)) + 1
    assert len(losses) == model.length + 5
    p = model.predict_proba(validation[0])
    loss = -np.mean(np.log(p[np.arange(len(p)), validation[1]]))
    assert loss == pytest.approx(min(losses), rel=1e-4)


def test_the_rate_is_halved_down_to_its_floor():
    X, y, validation = split()
    validation = (validation[0], np.random.default_rng(0).permutation(validation[1]))
    model = network(
        epochs=60, early_stopping_epochs=60, halving_epochs=4, learning_rate=0.01, learning_rate_floor=0.002
    ).fit(X, y, validation=validation)
    rates = [entry["learning_rate"] for entry in model.history]
    assert rates[0] == 0.01 and set(rates) <= {0.01, 0.005, 0.0025, 0.002} and rates[-1] == 0.002


def test_without_validation_all_epochs_run_and_the_last_is_kept(table):
    model = network(early_stopping_epochs=1).fit(*table)
    assert len(model.history) == 15 and model.length == 15


@pytest.mark.parametrize("n", [33, 65])
def test_a_last_batch_of_one_row_is_no_trouble(n):
    X, y = blobs(n)
    assert np.isfinite(network(epochs=2).fit(X, y).predict_proba(X)).all()


def test_a_network_that_diverges_says_so(table):
    with pytest.raises(UsageError, match="diverged at a learning rate of 1e"):
        network(learning_rate=1e30).fit(*table)


def test_weight_decay_shrinks_dense_weights(table):
    plain, decayed = (network(weight_decay=decay, learning_rate=0.01).fit(*table) for decay in (0.0, 1.0))
    norm = [sum(np.sum(v**2) for k, v in m.tensors.items() if "dense" in k) for m in (plain, decayed)]
    assert norm[1] < norm[0]


def test_the_callers_generator_and_threads_are_left_alone(table):
    torch.manual_seed(5)
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    network(epochs=2).fit(*table)
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads
