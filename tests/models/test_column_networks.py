"""Networks on columns: layers by the book, soft targets, balance, mixing of blocks, repeatable and resumable fits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_tables import QUICK, blobs

torch = pytest.importorskip("torch")

from earmark.errors import UsageError  # noqa: E402
from earmark.models.augment_rows import MIXES, Augmentation  # noqa: E402
from earmark.models.column_blocks import block_of_columns  # noqa: E402
from earmark.models.column_training import NETWORKS, class_factors, focal_loss  # noqa: E402
from earmark.models.registry import load_estimator, make  # noqa: E402
from earmark.models.soft_rows import spread_rows  # noqa: E402

NAMES = ("residual_mlp", "ft_transformer", "hybrid")


def fitted(name: str, **params):
    X, y = blobs(80)
    given = {
        key: params.pop(key) for key in ("checkpoint", "on_epoch", "targets", "columns") if key in params
    }
    return make(name, **(QUICK[name] | params)).fit(X[:60], y[:60], validation=(X[60:], y[60:]), **given)


@pytest.mark.parametrize("name", NAMES)
def test_numpy_prediction_equals_torch(name):
    X, _ = blobs(40)
    model = fitted(name)
    peer = NETWORKS[name](6, 3, model.block, model.get_params())
    peer.load_state_dict({key: torch.from_numpy(value) for key, value in model.tensors.items()}, strict=False)
    peer.eval()
    with torch.no_grad():
        sigmoids = torch.sigmoid(peer(torch.from_numpy(X))).numpy()
    expected = sigmoids / sigmoids.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(model.predict_proba(X), expected, atol=2e-5)


def test_the_encoder_layer_is_torchs_own():
    """Beside torch's post-norm encoder layer with the same weights."""
    from earmark.models.column_modules import _EncoderLayer

    torch.manual_seed(0)
    own = _EncoderLayer({"width": 16, "n_heads": 4, "dropout_scale": 1.0}).eval()
    peer = torch.nn.TransformerEncoderLayer(16, 4, 64, activation="gelu", batch_first=True).train()
    for module in peer.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    peer.self_attn.dropout = 0.0
    names = {
        "self_attn.in_proj_weight": "mix.weight",
        "self_attn.in_proj_bias": "mix.bias",
        "self_attn.out_proj": "out",
        "linear1": "wide",
        "linear2": "narrow",
        "norm1": "norms.0",
        "norm2": "norms.1",
    }
    state = own.state_dict()
    peer.load_state_dict(
        {
            key: state[
                next(
                    ours + key.removeprefix(theirs)
                    for theirs, ours in names.items()
                    if key.startswith(theirs)
                )
            ]
            for key in peer.state_dict()
        }
    )
    X = torch.randn(5, 7, 16)
    np.testing.assert_allclose(own(X).detach().numpy(), peer(X).detach().numpy(), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "params", "n_columns", "millions"),
    [
        ("residual_mlp", {"hidden": 512, "n_blocks": 2}, 2985, 2.18),
        ("ft_transformer", {}, 2985, 0.78),
    ],
)
def test_sizes_are_those_that_are_known(name, params, n_columns, millions):
    whole = make(name, **params).get_params()
    network = NETWORKS[name](n_columns, 6, block_of_columns(10, n_columns), whole)
    assert sum(w.numel() for w in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.006)


def test_no_dropout_exceeds_a_half():
    network = NETWORKS["residual_mlp"](
        6, 3, np.zeros(6, np.int64), make("mlp", dropout_scale=9.0).get_params()
    )
    shares = {m.p for m in network.modules() if isinstance(m, torch.nn.Dropout)}
    assert shares == {0.5}
    plain = NETWORKS["residual_mlp"](6, 3, np.zeros(6, np.int64), make("mlp").get_params())
    assert sorted(m.p for m in plain.modules() if isinstance(m, torch.nn.Dropout)) == [0.15, 0.2, 0.25, 0.3]


class KilledError(Exception):
    """What a fit is stopped with."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("balance", ["pos_weight", "sampler"])
def test_a_killed_fit_continues_to_the_same_model(name, balance, tmp_path):
    def stop(entry):
        if entry["epoch"] == 7:
            raise KilledError

    whole = fitted(name, balance=balance)
    with pytest.raises(KilledError):
        fitted(name, balance=balance, checkpoint=tmp_path, on_epoch=stop)
    seen = []
    resumed = fitted(name, balance=balance, checkpoint=tmp_path, on_epoch=seen.append)
    assert resumed.history == whole.history == seen and resumed.length == whole.length
    for key, value in whole.tensors.items():
        np.testing.assert_array_equal(resumed.tensors[key], value)


def test_a_fit_repeats_bit_for_bit_whatever_the_threads():
    code = (
        "import hashlib, torch; torch.set_num_threads(2)\n"
        "from test_column_networks import fitted, blobs\n"
        "p = fitted('hybrid', hidden=128, width=32, n_heads=2).predict_proba(blobs(40)[0])\n"
        "print(hashlib.sha256(p.tobytes()).hexdigest())"
    )
    ran = [
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
        for _ in range(2)
    ]
    assert ran[0].stdout == ran[1].stdout != ""


@pytest.mark.parametrize("name", ["residual_mlp", "ft_transformer"])
def test_targets_of_two_classes_give_both_a_share(name):
    X, y = blobs(48)
    targets = np.eye(3, dtype=np.float32)[y]
    hard = make(name, **QUICK[name] | {"epochs": 40}).fit(X, y)
    targets[y == 0, 1] = 0.9
    soft = make(name, **QUICK[name] | {"epochs": 40}).fit(X, y, targets=targets)
    own = y == 0
    assert soft.predict_proba(X)[own, 1].mean() > hard.predict_proba(X)[own, 1].mean() + 0.1


def test_a_class_that_only_targets_name_is_learned():
    X, _ = blobs(40, n_classes=2)
    y = np.arange(40) % 2
    targets = np.zeros((40, 3), np.float32)
    targets[np.arange(40), y] = 1
    targets[y == 1, 2] = 0.9
    p = make("mlp", **QUICK["residual_mlp"]).fit(X, y, n_classes=3, targets=targets).predict_proba(X)
    assert p[y == 1, 2].mean() > 0.2
    trees = make("xgboost", n_trees=20).fit(X, y, n_classes=3, targets=targets).predict_proba(X)
    assert trees[y == 1, 2].mean() > 0.3 > trees[y == 0, 2].mean()


@given(
    st.lists(
        st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=3, max_size=3).filter(any),
        min_size=1,
        max_size=9,
    )
)
def test_spread_rows_keep_the_weight_of_each_row(rows):
    targets = np.float32(rows)
    X = np.arange(len(rows), dtype=np.float32)[:, None]
    weight = np.arange(1, len(rows) + 1, dtype=np.float32)
    spread, y, shares = spread_rows(X, weight, targets)
    back = np.zeros_like(targets)
    np.add.at(back, (spread[:, 0].astype(int), y), shares)
    np.testing.assert_allclose(
        back, weight[:, None] * targets / targets.sum(axis=1, keepdims=True), rtol=1e-6
    )


@pytest.mark.parametrize(
    ("targets", "match"),
    [
        (np.ones((4, 3)), r"shape \(4, 3\)"),
        (np.full((5, 3), 1.5), r"\[0, 1\]"),
        (np.zeros((5, 3)), "above 0 in every row"),
    ],
)
def test_bad_targets_are_refused(targets, match):
    X, y = blobs(5)
    with pytest.raises(UsageError, match=match):
        make("xgboost").fit(X, y, n_classes=3, targets=targets.astype(np.float32))


def test_class_factors_by_hand():
    targets = np.zeros((100, 3), np.float32)
    targets[:80, 0] = targets[80:, 1] = 1
    targets[:1, 2] = 0.5
    np.testing.assert_allclose(class_factors(targets), [0.5, 4.0, 10.0])


def test_focal_loss_by_hand():
    logits, targets = torch.tensor([[0.0, 2.0]]), torch.tensor([[1.0, 0.0]])
    p = 1 / (1 + np.exp(-2.0))
    plain = np.array([np.log(2), -np.log(1 - p)])
    np.testing.assert_allclose(focal_loss(logits, targets, None, 0.0)[0], plain, rtol=1e-5)
    np.testing.assert_allclose(focal_loss(logits, targets, None, 2.0)[0], plain * [0.25, p**2], rtol=1e-5)
    np.testing.assert_allclose(
        focal_loss(logits, targets, torch.tensor([3.0, 9.0]), 0.0)[0], plain * [3, 1], rtol=1e-5
    )


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("seed", range(8))
def test_rows_are_mixed_in_the_shares_of_their_targets(mix, seed):
    """Rows of one constant each: what came from where can be read off."""
    block = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2, 2, 2])
    X = torch.arange(6.0)[:, None].expand(6, 10)
    targets = torch.eye(6)
    torch.manual_seed(seed)
    mixed, shares = Augmentation(block, mix, 0.0, 0.0, 0.0).apply(X, targets)
    np.testing.assert_allclose(shares.sum(dim=1), 1, atol=1e-6)
    np.testing.assert_allclose(mixed.mean(dim=1), shares @ torch.arange(6.0), atol=1e-5)
    if mix == "cutmix":
        assert all(len(set(row[block == b].tolist())) == 1 for row in mixed for b in range(3))
    if mix == "cutmix_range":
        foreign = (mixed != X).any(dim=0).nonzero().flatten()
        assert len(foreign) in (0, int(foreign.max() - foreign.min()) + 1 if len(foreign) else 0)
    if mix == "none":
        torch.testing.assert_close(mixed, X)


def test_gain_noise_and_dropped_blocks():
    torch.manual_seed(0)
    block = torch.tensor([0, 0, 1, 1])
    X, targets = torch.ones(2000, 4), torch.zeros(2000, 2)
    gained, _ = Augmentation(block, "none", 0.05, 0.0, 0.0).apply(X, targets)
    assert 0.95 <= float(gained.min()) < 0.952 and 1.048 < float(gained.max()) <= 1.05
    assert float(gained.std(dim=1).max()) < 1e-6
    noisy, _ = Augmentation(block, "none", 0.0, 0.02, 0.0).apply(X, targets)
    assert float(noisy.std()) == pytest.approx(0.02, rel=0.05)
    dropped, _ = Augmentation(block, "none", 0.0, 0.0, 0.3).apply(X, targets)
    assert float((dropped == 0).float().mean()) == pytest.approx(0.3, abs=0.03)
    assert torch.equal(dropped[:, 0], dropped[:, 1]) and torch.equal(dropped[:, 2], dropped[:, 3])


def test_blocks_by_number_and_by_name():
    np.testing.assert_array_equal(block_of_columns(3, 7), [0, 0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(block_of_columns(12, 3), [0, 1, 2])
    columns = ("a.acf_t1_0", "a.acf_t2_0", "b.x", "a.acf_t1_1", "a.mfcc", "b.y", "a.tgram")
    plan = (("a.acf_t1",), ("a.acf_t2",), ("a.mfcc", "a.tgram"))
    np.testing.assert_array_equal(block_of_columns(plan, 7, columns), [0, 1, 2, 0, 3, 2, 3])


def test_columns_that_are_dropped_leave_the_other_blocks_whole(tmp_path):
    from earmark.models.classifier import Classifier

    X, y = blobs(40)
    X[:, 1] = 7.0
    columns = ("a.p0", "a.p1", "a.q0", "b.x", "b.y", "b.z")
    plan = (("a.p",), ("a.q",))
    model = Classifier.make("ftt", classes="abc", **QUICK["ft_transformer"] | {"blocks": plan}).fit(
        X, y, columns
    )
    np.testing.assert_array_equal(model.estimator.block, [0, 1, 2, 2, 2])
    model.save(tmp_path)
    np.testing.assert_array_equal(load_estimator(tmp_path).block, [0, 1, 2, 2, 2])


def test_the_epoch_is_chosen_by_balanced_accuracy_and_patience_ends_the_fit():
    X, y = blobs(80)
    validation = (X[60:], np.random.default_rng(0).permutation(y[60:]))
    model = make("mlp", hidden=16, epochs=200, early_stopping_epochs=4, learning_rate=0.01).fit(
        X[:60], y[:60], validation=validation
    )
    scores = [(entry["validation_balanced_accuracy"], -entry["validation_loss"]) for entry in model.history]
    assert model.length == scores.index(max(scores)) + 1
    assert len(scores) == model.length + 4
    said = model.predict_proba(validation[0]).argmax(axis=1)
    recalls = [np.mean(said[validation[1] == c] == c) for c in range(3)]
    assert np.mean(recalls) == pytest.approx(max(scores)[0])


def test_the_rate_starts_over_after_50_and_then_100_epochs():
    model = make("mlp", hidden=4, epochs=152, mix="none").fit(*blobs(8))
    rates = np.array([entry["learning_rate"] for entry in model.history])
    assert rates[[0, 50, 150]] == pytest.approx(8e-4) and rates[25] == rates[100] == pytest.approx(4e-4)
    assert rates[49] < 2e-6 and rates[149] < 1e-6


def test_a_rare_class_is_found_by_either_balance_and_both_overdoes_it():
    generator = np.random.default_rng(0)
    y = (np.arange(400) % 20 == 0).astype(np.int64)
    X = generator.normal(size=(400, 4)).astype(np.float32)
    X[:, 0] += 1.5 * y
    mean = {}
    for balance in ("none", "pos_weight", "sampler", "both"):
        model = make(
            "mlp", hidden=32, epochs=30, mix="none", learning_rate=3e-3, balance=balance, batch_size=32
        )
        mean[balance] = model.fit(X, y).predict_proba(X)[:, 1].mean()
    assert mean["none"] < mean["pos_weight"] < mean["both"] and mean["none"] < mean["sampler"] < mean["both"]
    assert mean["none"] == pytest.approx(0.05, abs=0.03)


def test_heads_must_divide_the_width():
    with pytest.raises(UsageError, match="`width` is 128 and `n_heads` is 3"):
        make("ftt", n_heads=3)


def test_loading_needs_no_torch(tmp_path):
    fitted("hybrid").save(tmp_path)
    code = (
        "import sys; from earmark.models.registry import load_estimator; import numpy as np\n"
        f"load_estimator({str(tmp_path)!r}).predict_proba(np.zeros((2, 6), np.float32))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
