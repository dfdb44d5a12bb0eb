"""Figures of an evaluation, as matplotlib figures, PNG files, or SVG to stand inside a page.

Conventions: the object-oriented API and the Agg canvas only, so nothing global changes and threads may
draw; the same numbers give the same bytes (no dates, no version, seeded jitter, fixed identifiers). Classes
are told apart by marker and position as well as colour, so that a figure survives print in grey. In SVG the
ink takes the page's text colour and the background is clear: one figure serves a light and a dark page.
"""

from __future__ import annotations

import html
import io
import re
import threading
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.data.parquet import write_bytes_atomic
from earmark.evaluation.baselines import ComparisonRow
from earmark.evaluation.importance import Importance
from earmark.evaluation.metrics import CoverageCurve, ReliabilityBins
from earmark.evaluation.plane import Plane

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "comparison_figure",
    "confusion_figure",
    "coverage_figure",
    "importance_figure",
    "loss_figure",
    "plane_figure",
    "probability_figure",
    "reliability_figure",
    "save_png",
    "to_svg",
]

# Dark enough to read on white; a value that nothing else uses, so that SVG can swap it for the page's text
# colour.
_INK = "#20242c"
# Middle tones that stand out on white and on near-black.
_ACCENT = "#3f7fbf"
_MUTED = "#8a94a3"
_FALLBACK_COLOURS = ("#3f7fbf", "#d98032", "#3a9a6b", "#b5534f", "#7a68b3", "#8a94a3")
_MARKERS = ("o", "s", "^", "D", "v", "P")

_PNG_DPI = 160
_ERRORS_TITLE = "errors: marker true, colour predicted"

# Settings of the SVG writer can only be given globally: drawing threads take turns.
_WRITER_LOCK = threading.Lock()


def confusion_figure(confusion: ArrayLike, classes: Sequence[str]) -> Figure:
    """Draw the confusion matrix twice: counts, and shares of each true class in per cent.

    Parameters
    ----------
    confusion : array, shape (n_classes, n_classes)
        Counts, rows true and columns predicted.
    classes : sequence of str
        Class names in order.
    """
    counts = np.asarray(confusion, dtype=np.float64)
    support = counts.sum(axis=1, keepdims=True)
    rates = np.divide(counts, support, out=np.zeros_like(counts), where=support > 0)
    side = 1.6 + 0.72 * len(classes)
    figure = _figure(2 * side + 0.8, side + 0.5)
    for position, (title, text) in enumerate(
        [("Counts", [[f"{value:.0f}" for value in row] for row in counts]),
         ("Share of the true class, %", [[f"{100 * value:.0f}" for value in row] for row in rates])]
    ):  # fmt: skip
        axes = figure.add_subplot(1, 2, position + 1)
        _cells(axes, rates, text, classes)
        axes.set_title(title, fontsize=10, color=_INK, loc="left")
    return figure


def reliability_figure(bins: ReliabilityBins, noun: str = "items") -> Figure:
    """Draw accuracy against confidence with the ideal diagonal, and below it how many items (`noun`) each bin holds."""
    figure = _figure(5.0, 5.2)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    filled = bins.count > 0
    upper.plot(
        [0, 1], [0, 1], linestyle="--", color=_MUTED, linewidth=1, label="ideal: as right as it is sure"
    )
    upper.vlines(
        bins.confidence[filled],
        bins.confidence[filled],
        bins.accuracy[filled],
        color=_ACCENT,
        linewidth=4,
        alpha=0.35,
    )
    upper.plot(
        bins.confidence[filled],
        bins.accuracy[filled],
        color=_ACCENT,
        marker="o",
        linewidth=1.5,
        label="this model",
    )
    upper.set(ylabel="accuracy in the bin", xlim=(0, 1), ylim=(-0.03, 1.03))
    upper.legend(loc="upper left", fontsize=8, frameon=False, labelcolor=_INK)
    width = np.diff(bins.edges)
    lower.bar(bins.edges[:-1], bins.count, width=0.92 * width, align="edge", color=_ACCENT)
    for left, span, count in zip(bins.edges, width, bins.count, strict=False):
        if count:
            lower.text(
                left + 0.46 * span, count, f"{count}", ha="center", va="bottom", fontsize=8, color=_INK
            )
    lower.set(xlabel="confidence (probability of the predicted class)", ylabel=noun, xlim=(0, 1))
    lower.set_ylim(0, 1.3 * max(1, bins.count.max(initial=0)))
    _tidy(upper, lower)
    return figure


def coverage_figure(curve: CoverageCurve, noun: str = "items") -> Figure:
    """Draw accuracy against coverage: what is gained by answering only where the model is sure; `noun` as above."""
    figure = _figure(5.0, 3.4)
    axes = figure.subplots()
    percent = 100 * curve.coverage
    axes.plot(percent, 100 * curve.accuracy, color=_ACCENT, linewidth=1.8)
    if curve.accuracy.size:
        overall = 100 * curve.accuracy[-1]
        axes.axhline(overall, linestyle="--", color=_MUTED, linewidth=1)
        axes.text(
            99, overall - 2, f"all {noun}: {overall:.0f} %", ha="right", va="top", fontsize=8, color=_INK
        )
    axes.set(
        xlabel=f"coverage: share of {noun} answered, most confident first, %", ylabel="accuracy of these, %"
    )
    axes.set(xlim=(0, 100), ylim=(0, 103))
    _tidy(axes)
    return figure


def importance_figure(importance: Sequence[Importance], metric: str, *, top: int = 20) -> Figure:
    """Draw the most important features as bars with the standard deviation over permutations.

    Parameters
    ----------
    importance : sequence of Importance
        Most important first.
    metric : str
        What dropped, in words.
    top : int, default 20
        How many to show.
    """
    shown = list(importance[:top])[::-1]
    figure = _figure(6.4, 0.9 + 0.24 * max(len(shown), 2))
    axes = figure.subplots()
    place = np.arange(len(shown))
    values = [row.importance for row in shown]
    axes.barh(place, values, height=0.72, color=[_ACCENT if value > 0 else _MUTED for value in values])
    axes.errorbar(
        values, place, xerr=[row.spread for row in shown], fmt="none", ecolor=_INK, elinewidth=1, capsize=2
    )
    axes.axvline(0, color=_INK, linewidth=0.8)
    axes.set_yticks(place, [row.feature for row in shown])
    axes.set(xlabel=f"drop of {metric} when scrambled (mean ± s.d.)", ylim=(-0.6, len(shown) - 0.4))
    _tidy(axes, grid="x")
    return figure


def loss_figure(history: Sequence[Mapping[str, float]], best_epoch: int | None = None) -> Figure:
    """Draw the losses of training and validation over the epochs of a fit, and mark the epoch that was kept."""
    figure = _figure(5.0, 3.4)
    axes = figure.subplots()
    for key, label, colour in (
        ("training_loss", "training", _MUTED),
        ("validation_loss", "validation", _ACCENT),
    ):
        points = [(entry["epoch"], entry[key]) for entry in history if key in entry]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, color=colour, linewidth=1.8, marker=".")
    if best_epoch is not None:
        axes.axvline(best_epoch, linestyle="--", color=_INK, linewidth=1, label="kept")
    axes.set(xlabel="epoch", ylabel="loss")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False, labelcolor=_INK)
    _tidy(axes)
    return figure


def probability_figure(
    y: ArrayLike, p: ArrayLike, classes: Sequence[str], colours: Mapping[str, str] | None = None
) -> Figure:
    """Draw, for each true class, which probability its items were given for each class.

    Parameters
    ----------
    y : array of int, shape (n_items,)
        True classes.
    p : array, shape (n_items, n_classes)
        Probabilities.
    classes : sequence of str
        Class names in order.
    colours : mapping of str to str, optional
        ``#RRGGBB`` per class.
    """
    truth, probabilities = np.asarray(y), np.asarray(p, dtype=np.float64)
    figure = _figure(2.0 * len(classes) + 1.0, 3.4)
    panels = np.atleast_1d(figure.subplots(1, len(classes), sharey=True))
    generator = np.random.default_rng(0)
    for k, (axes, label) in enumerate(zip(panels, classes, strict=True)):
        rows = probabilities[truth == k]
        for j, colour in enumerate(_class_colours(classes, colours)):
            _strip(axes, j, rows[:, j], colour, generator)
        axes.set_title(f"true {label} (n = {len(rows)})", fontsize=9, color=_INK)
        axes.set_xticks(range(len(classes)), classes, rotation=30 if max(map(len, classes)) > 5 else 0)
        axes.set(ylim=(-0.03, 1.03), xlim=(-0.6, len(classes) - 0.4))
    panels[0].set_ylabel("probability given")
    _tidy(*panels, grid="y")
    return figure


def comparison_figure(rows: Sequence[ComparisonRow], metric: str, words: str) -> Figure:
    """Draw the model's score and its baselines' with their intervals, one line each."""
    shown = [row for row in rows if metric in row.metrics][::-1]
    figure = _figure(6.4, 0.9 + 0.34 * max(len(shown), 2))
    axes = figure.subplots()
    for place, row in enumerate(shown):
        score, own = row.metrics[metric], row.behind is None
        colour = _ACCENT if own else _MUTED
        axes.hlines(place, score.low, score.high, color=colour, linewidth=3 if own else 2)
        axes.plot(
            score.value, place, marker="D" if own else "o", markersize=7, color=colour, markeredgecolor=_INK
        )
        if own:
            axes.axvline(score.value, color=_ACCENT, linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(shown)), ["this model" if row.behind is None else row.name for row in shown])
    axes.set(xlabel=f"{words}, with 95 % interval", ylim=(-0.6, len(shown) - 0.4))
    _tidy(axes, grid="x")
    return figure


def plane_figure(
    plane: Plane, y: ArrayLike, p: ArrayLike, classes: Sequence[str], colours: Mapping[str, str] | None = None
) -> Figure:
    """Draw items in the plane of their first two principal components: labels, predictions, errors.

    Parameters
    ----------
    plane : Plane
        The items' places.
    y : array of int, shape (n_items,)
        True classes.
    p : array, shape (n_items, n_classes)
        Probabilities.
    classes : sequence of str
        Class names in order.
    colours : mapping of str to str, optional
        ``#RRGGBB`` per class.
    """
    truth, probabilities = np.asarray(y), np.asarray(p)
    answer = probabilities.argmax(axis=1) if len(truth) else truth
    wrong = truth != answer
    figure = _figure(10.2, 3.9)
    panels = dict(
        zip(
            ("labels", "predictions", _ERRORS_TITLE),
            figure.subplots(1, 3, sharex=True, sharey=True),
            strict=True,
        )
    )
    inks = _class_colours(classes, colours)
    everything: NDArray[np.bool_] = np.ones(len(truth), dtype=bool)
    _scatter(panels["labels"], plane, truth, truth, everything, inks)
    _scatter(panels["predictions"], plane, answer, answer, everything, inks)
    right = plane.points[~wrong]
    panels[_ERRORS_TITLE].scatter(right[:, 0], right[:, 1], s=9, color=_MUTED, alpha=0.35, linewidths=0)
    _scatter(panels[_ERRORS_TITLE], plane, truth, answer, wrong, inks)
    for title, axes in panels.items():
        axes.set_title(title, fontsize=9, color=_INK, loc="left")
        axes.set_xlabel(f"component 1 ({100 * plane.explained[0]:.0f} % of the variance)")
    panels["labels"].set_ylabel(f"component 2 ({100 * plane.explained[1]:.0f} %)")
    style: dict[str, Any] = {"edgecolors": _INK, "linewidths": 0.3}
    handles = [
        panels["labels"].scatter([], [], marker=_MARKERS[k % len(_MARKERS)], color=ink, label=name, **style)
        for k, (name, ink) in enumerate(zip(classes, inks, strict=True))
    ]
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(classes),
        fontsize=8,
        frameon=False,
        labelcolor=_INK,
    )
    _tidy(*panels.values())
    return figure


def save_png(figure: Figure, path: str | Path, *, dpi: int = _PNG_DPI) -> Path:
    """Write a figure as PNG on white, whole or not at all; returns the path."""
    buffer = io.BytesIO()
    settings = {"format": "png", "dpi": dpi, "facecolor": "white"}
    _write(figure, buffer, {}, **settings, metadata={"Software": None})
    write_bytes_atomic(path, buffer.getvalue())
    return Path(path)


def to_svg(figure: Figure, name: str, label: str) -> str:
    """Give a figure as an SVG element for a page.

    Parameters
    ----------
    figure : Figure
        Drawn on a clear background, its ink in the page's text colour.
    name : str
        Distinguishes the identifiers of several figures of one page; the same name gives the same bytes.
    label : str
        What the figure shows, for readers who do not see it.
    """
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    writer = {"svg.hashsalt": name, "svg.fonttype": "none"}
    _write(figure, buffer, writer, format="svg", transparent=True, metadata=nothing)
    element = buffer.getvalue()
    element = element[element.index("<svg") :]
    head, _, body = element.partition(">")
    head = re.sub(r'\s(width|height|version|xmlns:xlink)="[^"]*"', "", head)
    body = body.replace("xlink:href", "href").replace(_INK, "currentColor")
    # Identifiers such as `patch_3` repeat in every figure of a page; only those that are referred to stay.
    used = set(re.findall(r"#([\w.-]+)", body))
    body = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else "", body)
    return f'{head} class="figure" role="img" aria-label="{html.escape(label)}">{body}'.strip()


def _write(
    figure: Figure, target: io.BytesIO | io.StringIO, writer: Mapping[str, Any], **settings: Any
) -> None:
    """Write with text taken as it is: names are not formulas, and a glyph the font lacks is drawn as a box."""
    import matplotlib

    with _WRITER_LOCK, matplotlib.rc_context(cast(Any, writer)), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        _lay_out(figure)
        figure.savefig(target, **settings)


def _lay_out(figure: Figure) -> None:
    """Arrange a figure once: matplotlib would draw it all a second time at each writing."""
    from matplotlib.text import Text

    engine = figure.get_layout_engine()
    if engine is None:
        return
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    engine.execute(figure)
    figure.set_layout_engine(None)


def _figure(width: float, height: float) -> Figure:
    """Make an empty figure of a size in inches that lays itself out."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _tidy(*all_axes: Axes, grid: Literal["both", "x", "y"] = "both") -> None:
    """Remove what carries no data, and draw the rest in ink."""
    for axes in all_axes:
        for side, spine in axes.spines.items():
            spine.set_visible(side in ("left", "bottom"))
            spine.set_color(_INK)
        axes.tick_params(colors=_INK, labelsize=8)
        axes.xaxis.label.set(color=_INK, fontsize=9)
        axes.yaxis.label.set(color=_INK, fontsize=9)
        axes.grid(True, axis=grid, color=_MUTED, alpha=0.25, linewidth=0.8)
        axes.set_axisbelow(True)


def _cells(
    axes: Axes, shade: NDArray[np.float64], text: Sequence[Sequence[str]], classes: Sequence[str]
) -> None:
    """Draw a matrix of numbers on cells that darken with ``shade`` (0 to 1), text in the colour that reads
    on it.
    """
    n = len(classes)
    axes.imshow(_tint(shade), aspect="equal", interpolation="nearest")
    for i in range(n):
        for j in range(n):
            colour = "#ffffff" if shade[i, j] > 0.5 else "#111111"
            weight = "bold" if i == j else "normal"
            axes.text(
                j, i, text[i][j], ha="center", va="center", color=colour, fontsize=11, fontweight=weight
            )
    axes.set_xticks(range(n), classes)
    axes.set_yticks(range(n), classes, rotation=90 if max(map(len, classes)) > 3 else 0, va="center")
    axes.set(xlabel="predicted", ylabel="true")
    axes.xaxis.label.set(color=_INK, fontsize=9)
    axes.yaxis.label.set(color=_INK, fontsize=9)
    axes.tick_params(length=0, colors=_INK, labelsize=8)
    axes.spines[:].set_visible(False)


def _tint(shade: NDArray[np.float64]) -> NDArray[np.float64]:
    """From near-white to a deep blue, even in lightness, so that it reads in grey: RGB, shape (..., 3)."""
    light, deep = np.array([0.93, 0.95, 0.98]), np.array([0.06, 0.22, 0.42])
    return np.asarray(light + (deep - light) * np.clip(shade, 0, 1)[..., None])


def _strip(
    axes: Axes, place: int, values: NDArray[np.float64], colour: str, generator: np.random.Generator
) -> None:
    """Draw each value as a point beside its neighbours, and the quartiles as a bar with the median."""
    if not values.size:
        return
    spread = generator.uniform(-0.26, 0.26, values.size)
    marker = _MARKERS[place % len(_MARKERS)]
    axes.scatter(
        place + spread, values, s=13, marker=marker, color=colour, edgecolors=_INK, linewidths=0.3, alpha=0.75
    )
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    axes.vlines(place, low, high, color=_INK, linewidth=2.4)
    axes.hlines(middle, place - 0.3, place + 0.3, color=_INK, linewidth=1.6)


def _scatter(
    axes: Axes,
    plane: Plane,
    marked: NDArray[Any],
    coloured: NDArray[Any],
    shown: NDArray[np.bool_],
    inks: Sequence[str],
) -> None:
    """Draw the items ``shown``, each with the marker of one class and the colour of another."""
    for k in np.unique(marked[shown]):
        rows = np.flatnonzero(shown & (marked == k))
        axes.scatter(
            plane.points[rows, 0],
            plane.points[rows, 1],
            s=15,
            marker=_MARKERS[int(k) % len(_MARKERS)],
            color=[inks[int(one)] for one in coloured[rows]],
            edgecolors=_INK,
            linewidths=0.3,
            alpha=0.8,
        )


def _class_colours(classes: Sequence[str], colours: Mapping[str, str] | None) -> list[str]:
    given = colours or {}
    return [given.get(name, _FALLBACK_COLOURS[k % len(_FALLBACK_COLOURS)]) for k, name in enumerate(classes)]
