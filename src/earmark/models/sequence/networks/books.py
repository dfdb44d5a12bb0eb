"""What models of raw order books compute from prices and volumes before they learn.

Conventions: books have shape (n, steps, levels, 4) = bid price, bid volume, ask price, ask volume, raw, best level
first; 0 is a missing level. Prices become basis points from the mid of the same step, volumes ln(1 + v). The
auxiliary features come from raw prices and volumes; a step's change is against the step before, 0 at the first.

Reference of the flow: Cont, Kukanov, Stoikov, "The price impact of order book events", J. Financial Econometrics 12,
2014.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["AUXILIARY", "auxiliary_features", "mid_price", "normalised_levels", "split_levels"]

AUXILIARY = (
    "spread_bps",
    "mid_change_bps",
    "micro_price_offset_bps",
    "imbalance_1",
    "imbalance_5",
    "imbalance_all",
    "best_level_flow",
    "volume_change",
)
"""Names of the auxiliary features, in order."""

BPS = 1e4
_TINY = 1e-12


def split_levels(columns: Tensor) -> Tensor:
    """Books of level columns, shape (n, steps, 4 * levels), level after level."""
    n, steps, width = columns.shape
    return columns.reshape(n, steps, width // 4, 4)


def mid_price(books: Tensor) -> Tensor:
    """Mean of the best prices, shape (n, steps)."""
    return (books[..., 0, 0] + books[..., 0, 2]) / 2


def normalised_levels(books: Tensor) -> Tensor:
    """Levels as basis points and logarithms, same shape; 0 where a level is missing."""
    mid = mid_price(books)[..., None, None]
    prices, volumes = books[..., 0::2], books[..., 1::2]
    offset = torch.where(prices > 0, (prices - mid) / mid.clamp_min(_TINY) * BPS, 0.0)
    logarithm = torch.log1p(volumes.clamp_min(0.0))
    return torch.stack([offset[..., 0], logarithm[..., 0], offset[..., 1], logarithm[..., 1]], dim=-1)


def auxiliary_features(books: Tensor) -> Tensor:
    """The features named in `AUXILIARY`, shape (n, steps, 8)."""
    bid, bid_volume, ask, ask_volume = (books[..., 0, field] for field in range(4))
    mid = mid_price(books)
    unit = mid.clamp_min(_TINY) / BPS
    micro = (bid * ask_volume + ask * bid_volume) / (bid_volume + ask_volume).clamp_min(_TINY)
    volume = books[..., 1::2].sum(dim=(-1, -2))
    features = [
        (ask - bid) / unit,
        _change(mid) / unit,
        torch.where(bid_volume + ask_volume > 0, (micro - mid) / unit, 0.0),
        *(_imbalance(books[..., :depth, :]) for depth in (1, 5, books.shape[2])),
        _best_level_flow(bid, bid_volume, ask, ask_volume),
        _change(torch.log1p(volume)),
    ]
    return torch.stack(features, dim=-1)


def _change(series: Tensor) -> Tensor:
    """Difference to the step before, 0 at the first."""
    return torch.cat([torch.zeros_like(series[:, :1]), series[:, 1:] - series[:, :-1]], dim=1)


def _imbalance(books: Tensor) -> Tensor:
    """(bid volume - ask volume) / both, in [-1, 1]; 0 for an empty book."""
    bid, ask = books[..., 1].sum(dim=-1), books[..., 3].sum(dim=-1)
    return (bid - ask) / (bid + ask).clamp_min(_TINY)


def _best_level_flow(bid: Tensor, bid_volume: Tensor, ask: Tensor, ask_volume: Tensor) -> Tensor:
    """Order-flow imbalance of the best levels over the volumes it is made of, in [-1, 1]."""

    def side(price: Tensor, volume: Tensor, better: int) -> tuple[Tensor, Tensor]:
        step = (price[:, 1:] - price[:, :-1]) * better
        return volume[:, 1:] * (step >= 0), volume[:, :-1] * (step <= 0)

    bid_in, bid_out = side(bid, bid_volume, 1)
    ask_in, ask_out = side(ask, ask_volume, -1)
    total = (bid_in + bid_out + ask_in + ask_out).clamp_min(_TINY)
    flow = (bid_in - bid_out - ask_in + ask_out) / total
    return torch.cat([torch.zeros_like(bid[:, :1]), flow], dim=1)
