"""The rules by which a movement becomes down, neutral or up.

==================== ============================================================================ ==============
name                 a movement counts from                                                       horizon in
==================== ============================================================================ ==============
fixed                a threshold, which symbols and horizons may have of their own                seconds
volatility           max(0.03 %, 1.2 ATR / price)                                                 seconds
sqrt_time            0.10 % x sqrt(horizon / 60 s)                                                seconds
cost                 fees and half the spread: what a trade must earn before it earns anything    seconds
rolling_sigma        max(0.02 %, deviation of the last 20 one-row returns)                        rows
triple_barrier       the barrier that is met first, 1.5 ATR above, 1.0 ATR below                  seconds
triple_barrier_lob   the same at 1.2 deviations of the last 20 one-row returns                    rows
==================== ============================================================================ ==============

A rule is a frozen value: its parameters and the code that it runs name the label set. Fractions throughout: 0.001 is
0.1 %. Everything a threshold is made of is known at the sample.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar, TypeAlias

import numpy as np

from earmark.errors import UsageError
from earmark.tasks.market.labels.barriers import Barriers, Tie, first_barrier
from earmark.tasks.market.labels.movement import Match, among_samples, on_track, row_segments, states_ahead
from earmark.tasks.market.labels.series import (
    GAP,
    OK,
    UNKNOWN,
    Float64,
    Horizon,
    Outcome,
    PricePath,
    Samples,
    direction_of,
)
from earmark.tasks.market.labels.trailing import day_median, trailing_sigma

__all__ = [
    "BARRIER_PRESETS",
    "RULES",
    "BarrierRule",
    "Cost",
    "Fixed",
    "LobBarrier",
    "MovementRule",
    "RollingSigma",
    "Rule",
    "SqrtTime",
    "TripleBarrier",
    "Volatility",
    "label_samples",
    "parameters_of",
    "with_parameters",
]

BAR_MS = 60_000


@dataclass(frozen=True)
class Fixed:
    """A threshold for all, overridden by ``(symbol or "", seconds or 0, threshold)``; the most specific wins."""

    name: ClassVar[str] = "fixed"
    unit: ClassVar[str] = "s"
    threshold: float = 0.001
    overrides: tuple[tuple[str, int, float], ...] = ()

    def thresholds(self, samples: Samples, horizon: Horizon) -> float:
        """Of the symbol and horizon; a symbol's own goes before a horizon's."""
        chosen = self.threshold
        for symbol, length, value in sorted(self.overrides, key=lambda one: (one[0] != "", one[1] != 0)):
            if symbol in ("", samples.symbol) and length in (0, horizon.length):
                chosen = value
        return chosen


@dataclass(frozen=True)
class Volatility:
    """Multiples of the average true range at the sample, with a floor."""

    name: ClassVar[str] = "volatility"
    unit: ClassVar[str] = "s"
    atr_mult: float = 1.2
    min_movement: float = 0.0003

    def thresholds(self, samples: Samples, _horizon: Horizon) -> Float64:
        """NaN where the range is not known."""
        return np.maximum(
            self.min_movement, self.atr_mult * _needed(samples.atr, "atr", self.name) / samples.price
        )


@dataclass(frozen=True)
class SqrtTime:
    """A movement that grows with the square root of the horizon, as that of a random walk does."""

    name: ClassVar[str] = "sqrt_time"
    unit: ClassVar[str] = "s"
    per_minute: float = 0.001
    scaling: bool = True

    def thresholds(self, _samples: Samples, horizon: Horizon) -> float:
        """The same for all samples."""
        return self.per_minute * float(np.sqrt(horizon.length / 60)) if self.scaling else self.per_minute


@dataclass(frozen=True)
class Cost:
    """What a round trip costs: fees as a fraction of the price, and half the spread at the sample."""

    name: ClassVar[str] = "cost"
    unit: ClassVar[str] = "s"
    fees: float = 0.0011

    def thresholds(self, samples: Samples, _horizon: Horizon) -> Float64:
        """NaN where the spread is not known."""
        return self.fees + _needed(samples.spread, "spread", self.name) / (2 * samples.price)


@dataclass(frozen=True)
class RollingSigma:
    """Multiples of the deviation of the last one-row returns, with a floor."""

    name: ClassVar[str] = "rolling_sigma"
    unit: ClassVar[str] = "n"
    sigmas: float = 1.0
    min_movement: float = 0.0002
    window: int = 20

    def thresholds(self, samples: Samples, _horizon: Horizon) -> Float64:
        """Returns do not reach over gaps; before there are two of them, the floor."""
        return np.fmax(self.min_movement, self.sigmas * _row_sigma(samples, self.window))


@dataclass(frozen=True)
class TripleBarrier:
    """Barriers in multiples of the average true range, which is at least `atr_floor` of the price.

    `max_hold` bars of a minute are the horizon where none is named. With `vol_scaling` widths are multiplied by r, with
    `dynamic_holding` the time limit is divided by it: r = sigma / its median of the day before, within 0.5 .. 2.
    """

    name: ClassVar[str] = "triple_barrier"
    unit: ClassVar[str] = "s"
    tp_mult: float = 1.5
    sl_mult: float = 1.0
    max_hold: int = 24
    symmetric: bool = False
    tie: Tie | None = None
    vol_scaling: bool = False
    dynamic_holding: bool = False
    atr_floor: float = 0.001

    def barriers(self, samples: Samples, horizon: Horizon) -> Barriers:
        """Around each sample's price; without a known range its floor."""
        atr = np.full(len(samples), np.nan) if samples.atr is None else samples.atr
        width = np.fmax(atr, self.atr_floor * samples.price)
        needs_ratio = self.vol_scaling or self.dynamic_holding
        ratio = self._ratio(samples) if needs_ratio else np.ones(len(samples))
        if self.vol_scaling:
            width = width * ratio
        hold = np.full(len(samples), horizon.ms, np.int64)
        if self.dynamic_holding:
            hold = np.maximum(np.rint(hold / BAR_MS / ratio), 1).astype(np.int64) * BAR_MS
        down = self.tp_mult if self.symmetric else self.sl_mult
        return Barriers(samples.price + self.tp_mult * width, samples.price - down * width, hold)

    def _ratio(self, samples: Samples) -> Float64:
        sigma = _needed(samples.sigma, "sigma", "triple_barrier with vol_scaling or dynamic_holding")
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = np.clip(sigma / day_median(samples.time_ms, sigma), 0.5, 2.0)
        return np.where(np.isnan(ratio), 1.0, ratio)  # nothing to compare with yet: as it is


@dataclass(frozen=True)
class LobBarrier:
    """Barriers in multiples of the deviation of the last one-row returns, over a number of rows."""

    name: ClassVar[str] = "triple_barrier_lob"
    unit: ClassVar[str] = "n"
    sigmas: float = 1.2
    min_movement: float = 0.0002
    window: int = 20
    max_rows: int = 60
    tie: ClassVar[None] = None

    def barriers(self, samples: Samples, horizon: Horizon) -> Barriers:
        """Around each sample's price, until the row that the horizon names."""
        width = self.sigmas * np.fmax(self.min_movement, _row_sigma(samples, self.window)) * samples.price
        rows = np.arange(len(samples)) + min(horizon.length, self.max_rows)
        missing = np.iinfo(np.int64).max // 4  # beyond any record: the horizon is not reached
        until = np.append(samples.time_ms, missing)[np.minimum(rows, len(samples))]
        return Barriers(samples.price + width, samples.price - width, until - samples.time_ms)


MovementRule: TypeAlias = Fixed | Volatility | SqrtTime | Cost | RollingSigma
BarrierRule: TypeAlias = TripleBarrier | LobBarrier
Rule: TypeAlias = MovementRule | BarrierRule

RULES: dict[str, type[Rule]] = {
    rule.name: rule for rule in (Fixed, Volatility, SqrtTime, Cost, RollingSigma, TripleBarrier, LobBarrier)
}
"""Name -> rule; `fixed_threshold` is another name of `fixed`."""

BARRIER_PRESETS: dict[str, TripleBarrier] = {
    "default": TripleBarrier(),
    "conservative": TripleBarrier(tp_mult=1.0, sl_mult=1.0, max_hold=12, symmetric=True),
    "aggressive": TripleBarrier(tp_mult=2.0, sl_mult=1.5, max_hold=48),
}


def label_samples(
    rule: Rule,
    samples: Samples,
    horizon: Horizon,
    path: PricePath | None = None,
    *,
    tolerance_ms: int = 10_000,
    match: Match = "nearest",
) -> Outcome:
    """Labels of one symbol's samples at one horizon.

    Parameters
    ----------
    rule : Rule
    samples : Samples
    horizon : Horizon
        In the rule's own unit.
    path : PricePath, optional
        The recorded price; without it other samples are the price: those near the horizon for a movement, all of them
        for barriers.
    tolerance_ms, match
        How another sample stands for the price at the horizon; see `among_samples`.

    Returns
    -------
    Outcome

    Raises
    ------
    UsageError
        A horizon of another unit, or samples that lack what the rule needs.
    """
    if horizon.unit != rule.unit:
        raise UsageError(
            f"The rule `{rule.name}` was given the horizon {horizon}; it counts in `{rule.unit}`."
        )
    if isinstance(rule, TripleBarrier | LobBarrier):
        own = path if path is not None and rule.unit == "s" else _path_of(samples)
        return first_barrier(samples, own, rule.barriers(samples, horizon), tie=rule.tie)
    if rule.unit == "n":
        outcome = states_ahead(samples, horizon.length)
    elif path is None:
        outcome = among_samples(samples, horizon.ms, tolerance_ms, match)
    else:
        outcome = on_track(samples, path, horizon.ms)
    with np.errstate(invalid="ignore", divide="ignore"):  # of samples without a price, whose status says so
        thresholds = rule.thresholds(samples, horizon)
    return _directed(outcome, thresholds)


def parameters_of(rule: Rule) -> dict[str, Any]:
    """The rule as a record: its name and all parameters."""
    return {"method": rule.name, **asdict(rule)}


def with_parameters(rule: Rule, given: dict[str, Any]) -> Rule:
    """The rule with those parameters that are not None.

    Raises
    ------
    UsageError
        A parameter that the rule does not have.
    """
    wanted = {name: value for name, value in given.items() if value is not None}
    unknown = sorted(set(wanted) - set(asdict(rule)))
    if unknown:
        known = ", ".join(asdict(rule))
        raise UsageError(f"The rule `{rule.name}` has no {', '.join(unknown)}. It has: {known}.")
    return replace(rule, **wanted)


def _directed(outcome: Outcome, thresholds: float | Float64) -> Outcome:
    """The outcome with directions; where no threshold is known, there is no label either."""
    direction = direction_of(outcome.movement, thresholds)
    lost = (outcome.status == OK) & (direction == UNKNOWN)
    return replace(
        outcome,
        direction=direction,
        movement=np.where(lost, np.nan, outcome.movement),
        status=np.where(lost, GAP, outcome.status).astype(np.int8),
        lag_ms=np.where(lost, 0, outcome.lag_ms),
        end_ms=np.where(lost, 0, outcome.end_ms),
    )


def _path_of(samples: Samples) -> PricePath:
    steps = np.diff(samples.time_ms)
    return PricePath(
        samples.symbol,
        samples.time_ms,
        np.where(samples.has_price, samples.price, np.nan),
        int(1.5 * np.median(steps)) if len(steps) else 0,
    )


def _row_sigma(samples: Samples, window: int) -> Float64:
    price = np.where(samples.has_price, samples.price, np.nan)
    return trailing_sigma(price, row_segments(samples.time_ms), window)


def _needed(values: Float64 | None, name: str, rule: str) -> Float64:
    if values is None:
        raise UsageError(
            f"The samples have no column for `{name}`, which {rule} needs. "
            "Use a group that has it, or --method fixed."
        )
    return values
