"""Pictures of an evaluation: probabilities over time, calibration, ROC, SNR, delays. PNG, so that a page holds them.

On and off differ by line style and position as well as colour.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.tasks.appliance.evaluation.changes import ChangeScores
from earmark.tasks.appliance.evaluation.scenes import ADAPTED, Seconds
from earmark.tasks.appliance.evaluation.scored import Scored
from earmark.tasks.appliance.evaluation.scores import ECE_BINS
from earmark.tasks.appliance.evaluation.timing import on_spans_of
from earmark.tasks.appliance.schema import Devices

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["calibration_picture", "delay_picture", "roc_picture", "snr_picture", "time_picture"]

_INK, _MUTED = "#20242c", "#8a94a3"
_COLOURS = ("#3f7fbf", "#d98032", "#3a9a6b", "#7a68b3", "#b5534f", "#8a94a3")
_COLUMNS = 2
_MOST_RECORDINGS = 24
_DPI = 110
_PAGE_IN = 7.4
"""Width of a page: a narrower picture would be blown up to it."""


def time_picture(scored: Scored, thresholds: Mapping[str, float], seconds: Seconds | None = None) -> bytes:
    """Probability of each device over each recording, its threshold dashed, and when it truly is on as a bar above.

    With `seconds` also what is known only afterwards: the probability once the recording has taught its two states.
    """
    names = list(dict.fromkeys(scored.rows.recordings.tolist()))[:_MOST_RECORDINGS]
    n_rows = -(-len(names) // _COLUMNS)
    figure = _figure(10.0, 0.7 + 1.35 * n_rows)
    panels = figure.subplots(n_rows, _COLUMNS, sharey=True, squeeze=False).ravel()
    spans = on_spans_of(scored) if scored.has_switches else {}
    for axes, name in zip(panels, names, strict=False):
        _recording(axes, scored, name, thresholds, spans.get(name))
        if seconds is not None:
            own = seconds.recording == name
            p = seconds.p[ADAPTED][own]
            axes.plot(seconds.second[own] + 0.5, p, ":", color=_COLOURS[1], linewidth=1.3, label=ADAPTED)
    for axes in panels[len(names) :]:
        axes.set_axis_off()
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=len(labels), fontsize=8, frameon=False)
    figure.supxlabel("middle of the window, s", fontsize=8)
    return _png(figure)


def calibration_picture(y: npt.ArrayLike, p: npt.ArrayLike, devices: Devices) -> bytes:
    """Share of windows that are on against the probability given, in bins of equal width; dots grow with the bin."""
    truth, values = np.asarray(y) == 1, np.asarray(p, dtype=np.float64)
    figure = _figure(3.4 * len(devices) + 0.4, 3.4)
    for k, (axes, name) in enumerate(zip(_row_of(figure, len(devices)), devices.names, strict=True)):
        bins = np.minimum((values[:, k] * ECE_BINS).astype(np.int64), ECE_BINS - 1)
        n = np.bincount(bins, minlength=ECE_BINS)
        full = n > 0
        given, on = (np.bincount(bins, x, ECE_BINS)[full] / n[full] for x in (values[:, k], truth[:, k]))
        axes.plot([0, 1], [0, 1], "--", color=_MUTED, linewidth=1)
        axes.set_box_aspect(1)
        axes.plot(given, on, color=_COLOURS[k % len(_COLOURS)], linewidth=1)
        axes.scatter(given, on, s=12 + 160 * n[full] / n.max(), color=_COLOURS[k % len(_COLOURS)], alpha=0.7)
        axes.set(
            xlim=(-0.03, 1.03), ylim=(-0.03, 1.03), xlabel="probability of on", ylabel="share that is on"
        )
        axes.set_title(name, fontsize=9, loc="left")
    return _png(figure)


def roc_picture(
    curves: Mapping[str, Sequence[tuple[str, npt.NDArray[np.bool_], npt.NDArray[np.float64]]]],
) -> bytes:
    """ROC curves; per panel, named by its device, the curves of several models as (name, truth, probability)."""
    from sklearn.metrics import roc_auc_score, roc_curve

    figure = _figure(3.6 * len(curves) + 0.4, 3.6)
    for axes, (title, models) in zip(_row_of(figure, len(curves)), curves.items(), strict=True):
        axes.plot([0, 1], [0, 1], "--", color=_MUTED, linewidth=1)
        axes.set_box_aspect(1)
        for k, (name, truth, p) in enumerate(models):
            false, hit, _ = roc_curve(truth, p)
            label = f"{name} {roc_auc_score(truth, p):.3f}"
            axes.plot(false, hit, color=_COLOURS[k % len(_COLOURS)], linewidth=1.0 if k else 2.2, label=label)
        axes.set(
            xlabel="share of off called on", ylabel="share of on called on", xlim=(-0.02, 1), ylim=(0, 1.02)
        )
        axes.set_title(title, fontsize=9, loc="left")
        axes.legend(fontsize=7, frameon=False, loc="lower right", title="AUROC", title_fontsize=7)
    return _png(figure)


def snr_picture(rows: Sequence[Mapping[str, Any]], by: str) -> bytes:
    """AUROC by the second, a group of bars for each value of a column, with intervals where there are some."""
    own = [row for row in rows if row["by"] in ("", by)]
    values, ways = (list(dict.fromkeys(row[name] for row in own)) for name in ("value", "way"))
    figure = _figure(1.6 + 1.1 * len(values), 3.4)
    axes = figure.subplots()
    width = 0.8 / len(ways)
    for k, way in enumerate(ways):
        for row in (one for one in own if one["way"] == way):
            place = values.index(row["value"]) + (k - (len(ways) - 1) / 2) * width
            label = way if row["value"] == values[0] else None
            axes.bar(
                place,
                row["auroc"],
                width * 0.92,
                color=_COLOURS[k],
                hatch=("", "//", "..")[k % 3],
                label=label,
            )
            if np.isfinite(row["low"]):
                axes.vlines(place, row["low"], row["high"], color=_INK, linewidth=1.2)
    axes.axhline(0.5, color=_MUTED, linewidth=1, linestyle="--")
    axes.set_xticks(range(len(values)), values, rotation=20 if max(map(len, values)) > 6 else 0)
    axes.set(ylim=(0.4, 1.0), ylabel="AUROC by the second", xlabel=by.replace("_", " "))
    figure.legend(loc="outside upper center", ncols=len(ways), fontsize=8, frameon=False)
    return _png(figure)


def delay_picture(scores: ChangeScores, devices: Devices) -> bytes:
    """How long after a switch it was told, per device and direction."""
    from matplotlib.ticker import MaxNLocator

    figure = _figure(3.4 * len(devices) + 0.4, 2.8)
    longest = max(float(scores.delays_s().max(initial=1.0)), 1.0)
    bins = np.linspace(0, np.ceil(longest), 21).tolist()
    for axes, name in zip(_row_of(figure, len(devices)), devices.names, strict=True):
        for kind, colour, hatch in (("on", _COLOURS[1], "//"), ("off", _COLOURS[0], "")):
            delays_s = scores.delays_s(name, kind)
            axes.hist(delays_s, bins, color=colour, alpha=0.6, hatch=hatch, label=f"{kind} ({len(delays_s)})")
        axes.set(xlabel="delay, s", ylabel="switches")
        axes.yaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_title(name, fontsize=9, loc="left")
        axes.legend(fontsize=7, frameon=False)
    return _png(figure)


def _recording(
    axes: Axes,
    scored: Scored,
    name: str,
    thresholds: Mapping[str, float],
    spans: Sequence[tuple[float, float]] | None,
) -> None:
    at = np.flatnonzero(scored.rows.recordings == name)
    table = scored.rows.table[at.tolist()]
    middle = (table["start_sec"].to_numpy() + table["end_sec"].to_numpy()) / 2
    order = np.argsort(middle)
    for k, device in enumerate(scored.devices.names):
        colour, style = _COLOURS[k % len(_COLOURS)], ("-", "-.", ":")[k % 3]
        axes.plot(middle[order], scored.p[at, k][order], style, color=colour, linewidth=1.3, label=device)
        axes.axhline(thresholds[device], color=colour, linewidth=0.8, linestyle="--")
        bars = spans if spans is not None else _truly_on(middle[order], scored.rows.y[at, k][order])
        for on, off in bars:
            axes.hlines(1.1 + 0.09 * k, on, off, color=colour, linewidth=3)
    axes.set_ylim(-0.05, 1.15 + 0.09 * len(scored.devices))
    axes.set_yticks([0, 0.5, 1])
    axes.set_title(name, fontsize=8, loc="left")
    _tidy(axes)


def _truly_on(middle: npt.NDArray[np.float64], y: npt.NDArray[np.int64]) -> list[tuple[float, float]]:
    on = np.flatnonzero(y == 1)
    return [(float(middle[on[0]]), float(middle[on[-1]]))] if len(on) else []


def _row_of(figure: Figure, n: int) -> Sequence[Axes]:
    panels: Sequence[Axes] = figure.subplots(1, n, squeeze=False)[0]
    for axes in panels:
        _tidy(axes)
    return panels


def _tidy(axes: Axes) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.tick_params(labelsize=7)
    axes.xaxis.label.set_fontsize(8)
    axes.yaxis.label.set_fontsize(8)
    axes.grid(True, color=_MUTED, alpha=0.25, linewidth=0.6)
    axes.set_axisbelow(True)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(width, _PAGE_IN), height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    """The same figure gives the same bytes: no version in the file."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=_DPI, facecolor="white", metadata={"Software": None})
    return content.getvalue()
