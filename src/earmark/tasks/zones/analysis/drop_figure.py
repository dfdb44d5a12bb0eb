"""The figure of the drop analysis: drops by zone, scores with and without them, their worth, the sweep.

Zones are told apart by position and name as well as colour; boxes show quartiles and median, whiskers the 5th and
95th percentile, points all tracks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from earmark.evaluation.importance import Importance
    from earmark.tasks.zones.analysis.drop_sweep import DropSweep

__all__ = ["drop_figure"]

INK, MUTED, ACCENT = "#20242c", "#8a94a3", "#3f7fbf"
TOP_COLUMNS = 8


def drop_figure(
    shown: Mapping[str, NDArray[Any]],
    y: NDArray[Any],
    classes: Sequence[str],
    colours: Mapping[str, str],
    scores: Sequence[Mapping[str, Any]],
    metric: str,
    importance: Sequence[Importance],
    sweep: DropSweep,
) -> Figure:
    """Draw the six panels.

    Parameters
    ----------
    shown : mapping of title to ndarray, shape (n,)
        Three quantities to compare between zones.
    y : ndarray of int, shape (n,)
        Zones, positions in `classes`.
    classes, colours
        Names of the zones in order, and ``#RRGGBB`` by name.
    scores : sequence of dict
        ``columns``, the metric, ``low``, ``high`` of each column set.
    metric : str
        The metric's name.
    importance : sequence of Importance
        Of drop columns; the first eight are shown.
    sweep : DropSweep
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.5, 7.4), layout="constrained")
    upper, lower = figure.subfigures(2, 1, squeeze=False).ravel()
    for axes, (title, values) in zip(upper.subplots(1, len(shown)), shown.items(), strict=True):
        _boxes(axes, values, y, classes, colours)
        _tidy(axes, title, grid="y")
    left, middle, right = lower.subplots(1, 3, width_ratios=[1, 1, 1.25])
    _scores(left, scores, metric)
    _importance(middle, importance, metric)
    _sweep(right, sweep)
    return figure


def _boxes(
    axes: Axes, values: NDArray[Any], y: NDArray[Any], classes: Sequence[str], colours: Mapping[str, str]
) -> None:
    generator = np.random.default_rng(0)
    for place, name in enumerate(classes):
        own = values[y == place]
        if not len(own):
            continue
        colour = colours.get(name, MUTED)
        axes.boxplot(
            own,
            positions=[place],
            widths=0.55,
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            boxprops={"facecolor": colour, "alpha": 0.55, "edgecolor": INK},
            medianprops={"color": INK, "linewidth": 1.8},
            whiskerprops={"color": INK},
            capprops={"color": INK},
        )
        spread = place + generator.uniform(-0.2, 0.2, len(own))
        axes.scatter(spread, own, s=9, color=INK, alpha=0.45, linewidths=0, zorder=3)
    labels = [f"{name}\nn = {int((y == place).sum())}" for place, name in enumerate(classes)]
    axes.set_xticks(range(len(classes)), labels)
    axes.set_xlim(-0.6, len(classes) - 0.4)
    lowest, highest = float(np.min(values, initial=0.0)), float(np.max(values, initial=0.0))
    margin = 0.04 * max(highest - lowest, 1e-6)
    axes.set_ylim(lowest - margin, highest + margin)


def _scores(axes: Axes, scores: Sequence[Mapping[str, Any]], metric: str) -> None:
    for place, row in enumerate(reversed(scores)):
        axes.hlines(place, row["low"], row["high"], color=ACCENT, linewidth=3)
        axes.plot(row[metric], place, marker="D", color=ACCENT, markeredgecolor=INK, markersize=7)
        axes.annotate(
            f"{row[metric]:.2f}", (row[metric], place), (0, 9), textcoords="offset points", ha="center",
            fontsize=8, color=INK,
        )  # fmt: skip
    names = [f"{row['columns']}\n({row['n_columns']})" for row in reversed(scores)]
    axes.set_yticks(range(len(scores)), names)
    axes.set_ylim(-0.6, len(scores) - 0.3)
    axes.set_xlabel(f"{metric.replace('_', ' ')} out of fold, with 95 % interval")
    _tidy(axes, "scores of column sets, same folds", grid="x")


def _importance(axes: Axes, importance: Sequence[Importance], metric: str) -> None:
    top = list(importance[:TOP_COLUMNS])[::-1]
    place = np.arange(len(top))
    values = [row.importance for row in top]
    axes.barh(place, values, height=0.7, color=[ACCENT if value > 0 else MUTED for value in values])
    axes.errorbar(values, place, xerr=[row.spread for row in top], fmt="none", ecolor=INK, elinewidth=1)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_yticks(place, [row.feature.removeprefix("zones.") for row in top])
    axes.locator_params(axis="x", nbins=4)
    axes.set_xlabel(f"drop of {metric.replace('_', ' ')} when scrambled (± s.d.)")
    _tidy(axes, "worth of drop columns", grid="x")


def _sweep(axes: Axes, sweep: DropSweep) -> None:
    """The objective over two thresholds, at the best third one, with the default and the best marked."""
    best, default = sweep.best, sweep.rules[0]
    known = {
        (rule.threshold_std, rule.min_contrast): float(score)
        for rule, score in zip(sweep.rules, sweep.scores, strict=True)
        if rule.max_rise_s == best.max_rise_s
    }
    across, up = (sorted({key[axis] for key in known}) for axis in (0, 1))
    grid = np.array([[known.get((std, contrast), np.nan) for std in across] for contrast in up])
    axes.imshow(grid, origin="lower", aspect="auto", cmap="Blues", interpolation="nearest")
    middle = (np.nanmin(grid, initial=1) + np.nanmax(grid, initial=0)) / 2
    for row, column in np.argwhere(~np.isnan(grid)):
        point = (across[column], up[row])
        marks = ("*" if point == (best.threshold_std, best.min_contrast) else "") + (
            "d"
            if (*point, best.max_rise_s) == (default.threshold_std, default.min_contrast, default.max_rise_s)
            else ""
        )
        colour = "#ffffff" if grid[row, column] > middle else INK
        weight = "bold" if marks else "normal"
        axes.text(
            column, row, f"{grid[row, column]:.2f}{marks}", ha="center", va="center", fontsize=7, color=colour,
            fontweight=weight,
        )  # fmt: skip
    axes.set_xticks(range(len(across)), [f"{value:g}" for value in across])
    axes.set_yticks(range(len(up)), [f"{value:g}" for value in up])
    marks = "* best, d default" if best.max_rise_s == default.max_rise_s else "* best"
    axes.set(xlabel=f"threshold, standard deviations ({marks})", ylabel="least contrast")
    name = "F1 on planted drops" if sweep.objective == "f1" else "AUC purple over yellow"
    _tidy(axes, f"{name}, rise within {best.max_rise_s:g} s", grid=None)


def _tidy(axes: Axes, title: str, grid: Any) -> None:
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom") and grid is not None)
        spine.set_color(INK)
    axes.set_title(title, fontsize=9.5, color=INK, loc="left")
    axes.tick_params(colors=INK, labelsize=8)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, fontsize=8.5)
    if grid is not None:
        axes.grid(True, axis=grid, color=MUTED, alpha=0.25, linewidth=0.8)
        axes.set_axisbelow(True)
