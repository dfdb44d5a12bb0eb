"""What is searched: settings of a training in groups, with their ranges.

Groups stand in the order in which they are searched, the most influential first; the winner of a group is frozen before
the next is searched. Names are those of `TrainConfig`. A range is meant for a kind of model: rates of networks are not
rates of trees.

Two settings of the trainer are not searched. `embargo_pct` and the fractions decide which windows are *scored*, so
their best value would be the one that leaves the easiest windows.

The barriers of ``triple_barrier`` decide what the classes *mean*; their trials are compared by a score that is 0 for
guessing whatever the shares of the classes (`Group.metric`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from earmark.errors import UsageError
from earmark.models.constraints import closest

__all__ = [
    "GROUPS",
    "Choices",
    "Decimal",
    "Dimension",
    "Group",
    "Whole",
    "around",
    "group_named",
    "groups_for",
    "settings_of",
]

BALANCE = "balance"
"""A dimension of its own: one of the switches, or none, since at most one may be on."""
GRID_STEPS = 4
"""Values per range in a grid search."""


@dataclass(frozen=True)
class Decimal:
    """A range of fractions, ends included; ``log`` spaces it by factors."""

    low: float
    high: float
    log: bool = False

    def grid(self) -> tuple[float, ...]:
        """Evenly spaced values of the range."""
        ends = (math.log(self.low), math.log(self.high)) if self.log else (self.low, self.high)
        values = (ends[0] + (ends[1] - ends[0]) * i / (GRID_STEPS - 1) for i in range(GRID_STEPS))
        return tuple(float(f"{math.exp(v) if self.log else v:.4g}") for v in values)


@dataclass(frozen=True)
class Whole:
    """A range of whole numbers, ends included."""

    low: int
    high: int
    log: bool = False

    def grid(self) -> tuple[int, ...]:
        """Evenly spaced values of the range."""
        values = Decimal(self.low, self.high, self.log).grid()
        return tuple(sorted({min(max(round(value), self.low), self.high) for value in values}))


@dataclass(frozen=True)
class Choices:
    """One of some values."""

    values: tuple[Any, ...]

    def grid(self) -> tuple[Any, ...]:
        """All of them."""
        return self.values


Dimension = Decimal | Whole | Choices


@dataclass(frozen=True)
class Group:
    """Settings that are searched together.

    Attributes
    ----------
    name : str
    space : mapping
        Setting -> range.
    metric : str or None
        By which its trials are compared, where that must not be the search's own.
    requires : mapping
        Settings that must have these values, or the group has no meaning.
    """

    name: str
    space: Mapping[str, Dimension]
    metric: str | None = None
    requires: Mapping[str, Any] | None = None


_NETWORKS = (
    Group(
        "learning_rate",
        {"learning_rate": Decimal(1e-6, 1e-3, log=True), "batch_size": Choices((32, 64, 128, 256))},
    ),
    Group(
        "regularization",
        {
            "weight_decay": Decimal(1e-4, 0.1, log=True),
            "dropout": Decimal(0.1, 0.7),
            "label_smoothing": Decimal(0.0, 0.3),
        },
    ),
    Group(
        "class_balance",
        {
            BALANCE: Choices(("none", "use_class_weights", "use_oversampling", "use_undersampling")),
            "oversample_ratio": Decimal(0.5, 1.0),
            "use_focal_loss": Choices((True, False)),
            "focal_gamma": Decimal(0.5, 3.0),
        },
    ),
    Group(
        "augmentation",
        {"use_augmentation": Choices((True, False)), "gaussian_noise_std": Decimal(0.0, 0.05)},
    ),
    Group("scheduler", {"scheduler_T_0": Whole(5, 30), "scheduler_T_mult": Whole(1, 4)}),
)

_TREES = (
    Group(
        "learning_rate",
        {"learning_rate": Decimal(0.01, 0.3, log=True), "ml_model_config.max_depth": Whole(2, 8)},
    ),
    Group(
        "regularization",
        {
            "ml_model_config.min_child_weight": Decimal(1.0, 50.0, log=True),
            "ml_model_config.subsample": Decimal(0.4, 1.0),
            "ml_model_config.colsample": Decimal(0.2, 1.0),
            "ml_model_config.l2": Decimal(0.1, 100.0, log=True),
        },
    ),
    Group("class_balance", {BALANCE: _NETWORKS[2].space[BALANCE], "oversample_ratio": Decimal(0.5, 1.0)}),
)

_LINEAR = (
    Group("regularization", {"ml_model_config.strength": Decimal(1e-3, 100.0, log=True)}),
    _TREES[2],
)

_BARRIERS = Group(
    "triple_barrier",
    {
        "tb_tp_multiplier": Decimal(0.5, 3.0),
        "tb_sl_multiplier": Decimal(0.5, 2.5),
        "tb_max_holding_period": Whole(6, 72),
    },
    metric="val_mcc",
    requires={"labeling_method": "triple_barrier"},
)

GROUPS: tuple[str, ...] = (*(group.name for group in _NETWORKS), _BARRIERS.name)
"""Names of all groups, in order."""

_NEEDS: Mapping[str, tuple[str, ...]] = {
    "class_weight_method": ("use_class_weights",),
    "oversample_method": ("use_oversampling",),
    "oversample_ratio": ("use_oversampling", "use_undersampling"),
    "focal_gamma": ("use_focal_loss",),
    "gaussian_noise_std": ("use_augmentation",),
}
"""Setting -> switches of which one must be on for it to mean anything."""


def groups_for(model_name: str, settings: Mapping[str, Any]) -> tuple[Group, ...]:
    """The groups that a model has, in order.

    Parameters
    ----------
    model_name : str
    settings : mapping
        In force; a group that `requires` others is left out.

    Raises
    ------
    UsageError
        For a model that has nothing to search.
    """
    from earmark.models.sequence.neural import NetworkEstimator
    from earmark.models.sequence.registry import model_class

    found = model_class(model_name)
    if issubclass(found, NetworkEstimator):
        own: tuple[Group, ...] = _NETWORKS
    else:
        own = {"gbm": _TREES, "logistic": _LINEAR}.get(found.name, ())
    if not own:
        raise UsageError(
            f"Model `{found.name}` has nothing to search. Choose a network, gbm or logistic by --model."
        )
    every = (*own, _BARRIERS)
    return tuple(group for group in every if _is_meant(group, settings))


def group_named(groups: tuple[Group, ...], name: str) -> Group:
    """One of `groups`; raises UsageError with the likely name."""
    for group in groups:
        if group.name == name:
            return group
    names = [group.name for group in groups]
    raise UsageError(
        f"There is no group `{name}`{closest(name, names)} here. Choose one of: {', '.join(names)}."
    )


def settings_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of a training for values of trials: switches set, and what has no meaning beside them left out."""
    from earmark.tasks.market.training.config import BALANCING_SWITCHES

    found = {name: value for name, value in values.items() if name != BALANCE}
    if BALANCE in values:
        found |= {switch: switch == values[BALANCE] for switch in BALANCING_SWITCHES}
    off = {name for name, switches in _NEEDS.items() if all(found.get(s) is False for s in switches)}
    return {name: value for name, value in found.items() if name not in off}


def around(group: Group, best: Mapping[str, Any], factor: float = 3.0, share: float = 0.25) -> Group:
    """The group with its ranges narrowed around known good values.

    Parameters
    ----------
    group : Group
    best : mapping
        Setting -> value; ranges of others stay.
    factor : float
        Ranges by factors reach from value / factor to value x factor.
    share : float
        Other ranges reach so much of their width to either side. Choices stay at the value.
    """
    space = {
        name: _narrowed(dimension, best[name], factor, share) if name in best else dimension
        for name, dimension in group.space.items()
    }
    return replace(group, space=space)


def _is_meant(group: Group, settings: Mapping[str, Any]) -> bool:
    return all(settings.get(name) == value for name, value in (group.requires or {}).items())


def _narrowed(dimension: Dimension, value: Any, factor: float, share: float) -> Dimension:
    if isinstance(dimension, Choices):
        return Choices((value,)) if value in dimension.values else dimension
    reach = share * (dimension.high - dimension.low)
    low, high = (value / factor, value * factor) if dimension.log else (value - reach, value + reach)
    low, high = max(low, dimension.low), min(high, dimension.high)
    if low > high:
        return dimension
    if isinstance(dimension, Whole):
        return replace(dimension, low=math.floor(low), high=math.ceil(high))
    return replace(dimension, low=low, high=high)
