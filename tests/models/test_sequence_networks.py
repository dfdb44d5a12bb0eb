"""Networks: convolutions run over time, auxiliary features come from raw prices, sizes are those documented."""

from __future__ import annotations

import numpy as np
import pytest
from sequence_settings import NETWORKS, make, windows_for

from earmark.models.sequence import registry
from earmark.models.sequence.levels import level_columns
from earmark.orderbook.catalog import FEATURE_NAMES

torch = pytest.importorskip("torch")

from earmark.models.sequence.networks.books import (  # noqa: E402
    AUXILIARY,
    auxiliary_features,
    normalised_levels,
)


@pytest.mark.parametrize(
    ("name", "preset", "millions"),
    [
        ("hybrid_cnn_lstm", "base", 1.14),
        ("mpd", "base", 4.8),
        ("tlob", "base", 0.75),
        ("deeplob", "base", 0.14),
    ],
)
def test_sizes_are_those_documented(name, preset, millions):
    model = registry.make(name, preset=preset)
    columns = level_columns(model.params["levels"]) if model.reads_levels else FEATURE_NAMES
    assert model.count_parameters(columns, 60) == pytest.approx(millions * 1e6, rel=0.05)


def test_convolutions_take_columns_as_channels_and_run_over_time():
    model = make("hybrid_cnn_lstm", epochs=1).fit(windows_for("hybrid_cnn_lstm", n=30))
    network = model.network()
    assert network.blocks[0].first.in_channels == len(model.columns)
    X = torch.randn(2, model.window, len(model.columns))
    assert not torch.allclose(network(X), network(X.flip(1)))


@pytest.mark.parametrize("name", NETWORKS)
def test_a_window_alone_and_in_a_batch(name):
    windows = windows_for(name, n=30)
    model = make(name, epochs=1).fit(windows)
    together = model.predict(windows).probabilities
    alone = np.concatenate([model.predict(windows.take(np.array([i]))).probabilities for i in range(5)])
    np.testing.assert_allclose(alone, together[:5], atol=1e-5)
    assert model.n_parameters == model.count_parameters(model.columns, model.window)


def book(*steps):
    """One window: each step a list of (bid price, bid volume, ask price, ask volume)."""
    return torch.tensor([[[list(level) for level in step] for step in steps]], dtype=torch.float64)


def test_auxiliary_features_by_hand():
    first = [(99.0, 2.0, 101.0, 6.0), (98.0, 2.0, 102.0, 2.0)]
    second = [(99.5, 3.0, 101.0, 5.0), (98.0, 2.0, 102.0, 2.0)]
    found = dict(zip(AUXILIARY, auxiliary_features(book(first, second))[0].T, strict=True))
    mid = 100.25
    np.testing.assert_allclose(found["spread_bps"], [200, 1.5 / mid * 1e4])
    np.testing.assert_allclose(found["mid_change_bps"], [0, 0.25 / mid * 1e4])
    micro = (99.0 * 6 + 101.0 * 2) / 8
    np.testing.assert_allclose(found["micro_price_offset_bps"][0], (micro - 100) / 100 * 1e4)
    np.testing.assert_allclose(found["imbalance_1"], [-0.5, -0.25])
    np.testing.assert_allclose(found["imbalance_5"], [-4 / 12, -2 / 12])
    # The bid rose: all of its 3 came in. The ask stayed: 5 in, 6 out.
    np.testing.assert_allclose(found["best_level_flow"], [0, (3 - 5 + 6) / (3 + 5 + 6)])


def test_book_inputs_have_no_unit_and_their_range():
    generator = torch.Generator().manual_seed(0)
    tick = torch.rand((4, 12, 5), generator=generator, dtype=torch.float64).cumsum(-1) * 0.01
    volumes = torch.rand((4, 12, 5, 2), generator=generator, dtype=torch.float64) * 50
    books = torch.stack([100 - tick, volumes[..., 0], 100 + tick, volumes[..., 1]], dim=-1)
    dearer = books.clone()
    dearer[..., 0::2] *= 1e6
    torch.testing.assert_close(auxiliary_features(dearer), auxiliary_features(books))
    torch.testing.assert_close(normalised_levels(dearer), normalised_levels(books))
    aux = auxiliary_features(books)
    assert (aux[..., 0] >= 0).all()
    assert (aux[..., 3:7].abs() <= 1).all()
    assert (normalised_levels(books)[..., 0] <= 0).all()
    assert (normalised_levels(books)[..., 2] >= 0).all()


def test_missing_levels_and_empty_books_are_finite():
    books = torch.zeros(2, 6, 3, 4)
    books[0, :, 0] = torch.tensor([99.0, 1.0, 101.0, 1.0])
    assert (normalised_levels(books)[0, :, 1:] == 0).all()
    assert torch.isfinite(normalised_levels(books)).all()
    assert torch.isfinite(auxiliary_features(books)).all()


def test_single_rows_and_odd_widths():
    for name in ("hybrid_cnn_lstm", "mpd", "tlob", "deeplob"):
        windows = windows_for(name, n=20, length=1)
        assert len(make(name, epochs=1).fit(windows).predict(windows)) == len(windows)
