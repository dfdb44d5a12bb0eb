"""Window probabilities with and without each device, and the limits that were chosen among them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from earmark.tasks.appliance.thresholds_file import Thresholds

if TYPE_CHECKING:
    import polars as pl
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["thresholds_figure"]

N_BINS = 40
_ON, _OFF, _LINE = "#d98032", "#3f7fbf", "#20242c"


def thresholds_figure(rows: pl.DataFrame, thresholds: Thresholds) -> Figure:
    """A histogram per device; counts on a logarithmic axis, since the windows in the middle are few.

    Parameters
    ----------
    rows : polars.DataFrame
        As from `earmark.tasks.appliance.thresholds.choose.scored_rows`.
    thresholds : Thresholds
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = thresholds.devices.names
    figure = Figure(figsize=(6.4, 0.6 + 2.1 * len(names)), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(len(names), squeeze=False)[:, 0], names, strict=True):
        _histogram(axes, rows, name)
        _limits(axes, thresholds, name)
        axes.legend(fontsize=7, frameon=False, loc="upper center", ncols=3)
    axes.set_xlabel("probability of on, per window", fontsize=8)
    return figure


def _histogram(axes: Axes, rows: pl.DataFrame, name: str) -> None:
    truth, p = rows[f"y_{name}"].to_numpy() == 1, rows[f"p_{name}"].to_numpy()
    bins = np.linspace(0, 1, N_BINS + 1).tolist()
    axes.hist(p[~truth], bins, color=_OFF, alpha=0.6, label=f"off ({(~truth).sum()})")
    axes.hist(p[truth], bins, color=_ON, alpha=0.6, hatch="//", label=f"on ({truth.sum()})")
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(0, 8 * len(rows))  # room for the legend
    axes.set_xlim(0, 1)
    axes.set_title(name, fontsize=9, loc="left")
    axes.set_ylabel("windows", fontsize=8)
    axes.tick_params(labelsize=7)


def _limits(axes: Axes, thresholds: Thresholds, name: str) -> None:
    limits = thresholds.rule.limits_of(thresholds.devices)[name]
    axes.axvline(thresholds.t[name], color=_LINE, linewidth=1.5, label=f"t {thresholds.t[name]:.3f}")
    for text, value, style in (("on", limits.t_on, "--"), ("off", limits.t_off, ":")):
        axes.axvline(value, color=_LINE, linewidth=1, linestyle=style, label=f"t_{text} {value:.3f}")
