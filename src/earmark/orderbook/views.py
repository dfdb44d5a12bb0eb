"""Views of the market's features: which columns a model sees, by the name of the view.

======== ===== ================================================================================================
v1_110   110   features 1-110, the width of migrated files
v1_112   112   all features; the default
v1_187   187   with 60 lags and 15 derived columns, computed from sample rows (`earmark.orderbook.lagged`)
v2       175   dimensionless, with the candle still open, flow at the best prices and trade statistics
======== ===== ================================================================================================
"""

from __future__ import annotations

from earmark.errors import UsageError
from earmark.orderbook.catalog import DUPLICATES, FEATURE_NAMES, V2_NAMES

__all__ = ["DEFAULT_VIEW", "DERIVED_NAMES", "LAGGED_FEATURES", "LAGS", "LAG_NAMES", "VIEWS", "view_columns"]

LAGS = (1, 2, 4, 8)
"""In sample intervals."""

LAGGED_FEATURES = (
    "imbalance_5",
    "depth_imbalance_ratio",
    "imbalance_10",
    "volume_delta_5",
    "gap_size",
    "momentum_10",
    "update_frequency",
    "quote_intensity",
    "rsi_28",
    "roc",
    "orderbook_volatility",
    "bid_ask_spread_rel",
    "effective_spread",
    "trade_arrival_rate",
    "smart_money_index",
)

LAG_NAMES = {f"{name}_lag{lag}": name for name in LAGGED_FEATURES for lag in LAGS}
"""Column -> the feature that it repeats from earlier, in order."""

DERIVED_NAMES = (
    "imbalance_5_change",
    "imbalance_5_change_pct",
    "imbalance_5_momentum",
    "imbalance_ratio_5_10",
    "imbalance_vol_adjusted",
    "imbalance_volume_weighted",
    "spread_change",
    "spread_momentum",
    "rsi_diff",
    "rsi_14_momentum",
    "composite_signal",
    "smart_money_momentum",
    "smart_money_acceleration",
    "trade_quote_ratio",
    "volatility_regime",
)

VIEWS: dict[str, tuple[str, ...]] = {
    "v1_110": FEATURE_NAMES[:110],
    "v1_112": FEATURE_NAMES,
    "v1_187": (*FEATURE_NAMES, *LAG_NAMES, *DERIVED_NAMES),
    "v2": V2_NAMES,
}
"""View -> its columns in order."""

DEFAULT_VIEW = "v1_112"

_REPEATED = {
    *DUPLICATES,
    *(f"v2_{name}" for name in DUPLICATES),
    *(lag for lag, name in LAG_NAMES.items() if name in DUPLICATES),
}


def view_columns(view: str = DEFAULT_VIEW, *, drop_duplicates: bool = False) -> tuple[str, ...]:
    """Columns of a view in order.

    Parameters
    ----------
    view : str, default "v1_112"
    drop_duplicates : bool, default False
        Leave out the twelve features that repeat another one, and what is made from them alone.

    Raises
    ------
    UsageError
        No view of that name.

    Examples
    --------
    >>> len(view_columns()), len(view_columns(drop_duplicates=True))
    (112, 100)
    """
    if view not in VIEWS:
        raise UsageError(
            f"There is no view {view!r} of the market's features; choose one of {', '.join(VIEWS)}."
        )
    return tuple(name for name in VIEWS[view] if not (drop_duplicates and name in _REPEATED))
