"""The thresholds of a run, chosen on its out-of-fold windows.

A row of the table is a window that the model of its fold had not seen. A *file* here is a stretch of a recording in
which no device switches: the whole of a steady recording. Windows that were trimmed as too loud take no part, nor do
windows of unknown truth.

Both methods choose both kinds of limits, so that files and streams never disagree by kind:

* ``f1``: t by the grid on file medians; hysteresis of `min_gap` around it;
* ``percentile``: hysteresis by percentiles of windows; t in its middle.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from earmark.errors import SchemaError, SealError, UsageError
from earmark.tasks.appliance.decoding.hmm import HmmSettings
from earmark.tasks.appliance.decoding.limits import Limits
from earmark.tasks.appliance.decoding.presets import Rule
from earmark.tasks.appliance.evaluation.scores import file_medians, positive_f1
from earmark.tasks.appliance.schema import Devices
from earmark.tasks.appliance.thresholds.choice import (
    DECIMALS,
    Percentiles,
    Plateau,
    Tie,
    best_threshold,
    grid_of,
    percentile_limits,
)
from earmark.tasks.appliance.thresholds_file import Thresholds

if TYPE_CHECKING:
    import polars as pl

__all__ = ["PARTS", "Choice", "ChoiceSettings", "choose", "scored_rows"]

PARTS = ("val", "train", "test", "none")
"""``val``: what a fold scored. The names of an earlier system are known, to be refused with a reason."""

Method = Literal["f1", "percentile"]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class ChoiceSettings:
    """How to choose; percentiles 0 to 100, the others probabilities."""

    method: Method = "f1"
    grid_min: float = 0.50
    grid_max: float = 0.95
    grid_step: float = 0.05
    tie: Tie = "middle"
    p_off: float = 96.0
    p_on: float = 12.0
    min_gap: float = 0.10

    def grid(self) -> npt.NDArray[np.float64]:
        """The thresholds that are tried."""
        return grid_of(self.grid_min, self.grid_max, self.grid_step)


@dataclass(frozen=True)
class Choice:
    """Chosen thresholds, a row per device of how they came about, and what to warn of."""

    thresholds: Thresholds
    rows: tuple[dict[str, Any], ...]
    warnings: tuple[str, ...] = field(default=())


def scored_rows(table: pl.DataFrame, devices: Devices, part: str = "val") -> pl.DataFrame:
    """The windows to choose on.

    Parameters
    ----------
    table : polars.DataFrame
        ``out_of_fold.parquet``: recording_id, fold, outlier, ``y_<device>`` (-1 unknown) and ``p_<device>``.
    devices : Devices
    part : str
        ``val``, or the number of one fold.

    Raises
    ------
    SchemaError
        A column is missing.
    SealError
        The sealed test was named.
    UsageError
        Another part, or no window is left.
    """
    import polars as pl

    truths = [f"y_{name}" for name in devices.names]
    needed = ["recording_id", "fold", "outlier", *truths, *(f"p_{name}" for name in devices.names)]
    missing = [name for name in needed if name not in table.columns]
    if missing:
        raise SchemaError(f"the out-of-fold table lacks {', '.join(missing)}. Train again.")
    kept = table.filter(
        ~pl.col("outlier"), *(pl.col(name).is_not_null() & (pl.col(name) >= 0) for name in truths)
    )
    if part != "val":
        kept = kept.filter(pl.col("fold").cast(pl.String) == _fold_of(part, table))
    if not len(kept):
        raise UsageError(
            f"no window of part `{part}` can be chosen on: none of known truth. Train with a protocol that scores some."
        )
    return kept


def choose(
    table: pl.DataFrame,
    devices: Devices,
    settings: ChoiceSettings,
    *,
    part: str = "val",
    rule: Rule | None = None,
    floor_dbfs: float | None = None,
    model: str | None = None,
) -> Choice:
    """Choose the thresholds of every device, each alone.

    Parameters
    ----------
    table, devices, part
        As for `scored_rows`, whose errors are raised.
    settings : ChoiceSettings
    rule : Rule, optional
        Decoder, window and hop of the streams; its limits are replaced, its hold times stay, and the priors of `hmm`
        are those of these windows, every recording counting the same.
    floor_dbfs, model
        Written to the file as they are.

    Raises
    ------
    UsageError
        A device is never on, or never off, in these windows.
    """
    kept = scored_rows(table, devices, part)
    rule = rule or Rule()
    chosen = [_choose_device(kept, name, settings) for name in devices.names]
    limits = {
        one.device: replace(rule.limits_of(devices)[one.device], t_on=one.t_on, t_off=one.t_off)
        for one in chosen
    }
    thresholds = Thresholds(
        devices=devices,
        t={one.device: one.t for one in chosen},
        f1={one.device: one.f1 for one in chosen},
        rule=_with_priors(rule.with_limits(limits), kept, devices),
        floor_dbfs=floor_dbfs,
        model=model,
        chosen={
            "method": settings.method,
            "part": part,
            "n_recordings": kept["recording_id"].n_unique(),
            "n_windows": len(kept),
            "spread": {one.device: [one.lowest, one.highest] for one in chosen},
        },
    )
    warnings = tuple(f"{one.device}: {text}" for one in chosen for text in one.warnings)
    return Choice(thresholds, tuple(one.row() for one in chosen), warnings)


@dataclass(frozen=True)
class _Device:
    """What was chosen for one device; `per_fold` are the same choices on single folds."""

    device: str
    t: float
    f1: float
    t_on: float
    t_off: float
    margin: float
    plateau: tuple[float, float]
    per_fold: tuple[float, ...]
    warnings: tuple[str, ...]

    @property
    def lowest(self) -> float:
        return min(self.per_fold, default=self.t)

    @property
    def highest(self) -> float:
        return max(self.per_fold, default=self.t)

    def row(self) -> dict[str, Any]:
        """As the command shows it."""
        return {
            "device": self.device,
            "t": self.t,
            "f1": self.f1,
            "t_on": self.t_on,
            "t_off": self.t_off,
            "margin": self.margin,
            "plateau_from": self.plateau[0],
            "plateau_to": self.plateau[1],
            "fold_lowest": self.lowest,
            "fold_highest": self.highest,
        }


def _choose_device(kept: pl.DataFrame, name: str, settings: ChoiceSettings) -> _Device:
    truth, p = kept[f"y_{name}"].to_numpy() == 1, kept[f"p_{name}"].to_numpy().astype(np.float64)
    if truth.all() or not truth.any():
        raise UsageError(
            f"`{name}` is never {'off' if truth.all() else 'on'} in these windows; expected recordings of both. "
            "Record the missing state, or train with a protocol that scores it."
        )
    stretches = _stretches(kept)
    medians = file_medians(stretches, truth[:, None], p[:, None])
    y, values = medians.y[:, 0] == 1, medians.p[:, 0]
    plateau = best_threshold(y, values, settings.grid(), settings.tie)
    t, limits, warnings = _limits(plateau, truth, p, settings)
    return _Device(
        device=name,
        t=t,
        f1=positive_f1(y, values >= t),
        t_on=limits.t_on,
        t_off=limits.t_off,
        margin=round(float(values[y].min() - values[~y].max()), DECIMALS),
        plateau=(plateau.low, plateau.high),
        per_fold=_per_fold(kept, name, settings),
        warnings=warnings,
    )


def _limits(
    plateau: Plateau, truth: Bools, p: npt.NDArray[np.float64], settings: ChoiceSettings
) -> tuple[float, Limits, tuple[str, ...]]:
    """Threshold, hysteresis and warnings by the method asked for."""
    if settings.method == "percentile":
        found = _percentiles(truth, p, settings)
        middle = round((found.t_on + found.t_off) / 2, DECIMALS)
        return middle, Limits(found.t_on, found.t_off), (found.warning,) if found.warning else ()
    half = settings.min_gap / 2
    t_on = round(min(1.0, plateau.t + half), DECIMALS)
    return plateau.t, Limits(t_on, round(max(0.0, plateau.t - half), DECIMALS)), ()


def _percentiles(truth: Bools, p: npt.NDArray[np.float64], settings: ChoiceSettings) -> Percentiles:
    return percentile_limits(
        p[~truth], p[truth], p_off=settings.p_off, p_on=settings.p_on, min_gap=settings.min_gap
    )


def _per_fold(kept: pl.DataFrame, name: str, settings: ChoiceSettings) -> tuple[float, ...]:
    """The threshold that each fold alone would give; folds without both states give none."""
    found = []
    for _, rows in kept.group_by("fold", maintain_order=True):
        truth, p = rows[f"y_{name}"].to_numpy() == 1, rows[f"p_{name}"].to_numpy().astype(np.float64)
        if truth.all() or not truth.any():
            continue
        medians = file_medians(_stretches(rows), truth[:, None], p[:, None])
        plateau = best_threshold(medians.y[:, 0] == 1, medians.p[:, 0], settings.grid(), settings.tie)
        found.append(_limits(plateau, truth, p, settings)[0])
    return tuple(found)


def _stretches(rows: pl.DataFrame) -> Sequence[str]:
    """Recording and facts of each window: what `file_medians` takes for a file."""
    facts = [name for name in rows.columns if name.startswith("y_")]
    return ["|".join(map(str, row)) for row in rows.select("recording_id", *facts).iter_rows()]


def _with_priors(rule: Rule, kept: pl.DataFrame, devices: Devices) -> Rule:
    """The rule with the share of on that calibrated probabilities start from; other decoders have none."""
    import polars as pl

    if not isinstance(rule.settings, HmmSettings):
        return rule
    truths = [f"y_{name}" for name in devices.names]
    shares = kept.group_by("recording_id", maintain_order=True).agg(pl.col(truths).mean())
    prior = {name: round(float(shares[f"y_{name}"].to_numpy().mean()), DECIMALS) for name in devices.names}
    return replace(rule, settings=replace(rule.settings, prior=prior))


def _fold_of(part: str, table: pl.DataFrame) -> str:
    folds = [str(fold) for fold in sorted(table["fold"].unique().to_list())]
    if part in folds:
        return part
    if part == "test":
        raise SealError(
            "the sealed test was named to choose thresholds on; a threshold chosen there tests nothing. "
            "Choose on `val`, then run: earmark evaluate appliance --test"
        )
    reason = (
        "a model always looks right on what it learnt"
        if part in PARTS
        else f"this run has the folds {', '.join(folds)}"
    )
    raise UsageError(f"part `{part}` is not for choosing: {reason}. Use `val`, or the number of a fold.")
