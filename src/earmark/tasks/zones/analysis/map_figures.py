"""Figures of the valence-arousal plane; `earmark.tasks.zones.analysis.maps` says what each shows.

Names stand in dark ink on the zone's colour, which reads on all three, and each zone has a marker of its own, so that
nothing depends on telling yellow from green. Values of thresholds stand outside the frame, where they cover nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from earmark.tasks.zones.analysis.mood_plane import Plane, Points, zone_of
from earmark.tasks.zones.labels import CLASSES, ZONES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["KINDS", "band_map", "density_map", "flat_map"]

Box = tuple[float, float, float, float]

INK, MUTED = "#20242c", "#8a94a3"
COLOURS = {zone.name: zone.colour for zone in ZONES}
MARKERS = dict(zip(CLASSES, ("o", "s", "^"), strict=True))
YELLOW, GREEN, PURPLE = CLASSES
MOODS = {
    (0, 1): "tense, angry, nervous",
    (1, 1): "excited, happy, elated",
    (0, 0): "sad, gloomy, tired",
    (1, 0): "calm, relaxed, content",
}
"""By corner (valence, arousal), from low 0 to high 1: the circumplex of affect, Russell 1980."""
HEXAGONS = 26
BIN_WIDTH = 0.25


def flat_map(plane: Plane, annotated: Points, placed: Points, zones: NDArray[np.str_]) -> Figure:
    """Draw the five-way zones as rectangles with the tracks that have a position.

    Parameters
    ----------
    plane : Plane
    annotated, placed : Points
        Auxiliary and training tracks; may be empty.
    zones : ndarray of str
        Labels of all training tracks, with or without a position.
    """
    figure, axes = _blank(plane, 8.6, 7.4)
    for region, box in plane.rectangles.items():
        _rectangle(axes, plane, region, box)
    _thresholds(axes, plane, valence=True)
    _moods(axes, plane)
    axes.scatter(annotated.valence, annotated.arousal, s=6, color=INK, alpha=0.30, linewidths=0, zorder=2)
    _training_points(axes, placed)
    for region, box in plane.rectangles.items():
        _region_name(axes, plane, region, box)
    handles = [_dot(axes, annotated)] if len(annotated) else []
    _legend(figure, [*_patches(axes, zones), *handles], placed)
    return figure


def band_map(plane: Plane, annotated: Points, placed: Points, zones: NDArray[np.str_]) -> Figure:
    """Draw the three zones as bands of arousal, and beside them how many tracks lie where; as `flat_map`."""
    figure, axes = _blank(plane, 10.2, 6.6, beside=True)
    counts = figure.add_subplot(1, 3, 3, sharey=axes)
    for zone, (low, high) in plane.bands.items():
        for panel in (axes, counts):
            panel.axhspan(low, high, color=COLOURS[zone], alpha=0.22, linewidth=0)
    _thresholds(axes, plane, valence=False)
    axes.scatter(annotated.valence, annotated.arousal, s=6, color=INK, alpha=0.30, linewidths=0, zorder=2)
    _training_points(axes, placed)
    for zone, (low, high) in plane.bands.items():
        _named(axes, plane.valence[0] + 0.15, (low + high) / 2, zone, zone, ha="left")
    _band_counts(counts, plane, annotated, placed, zones)
    handles = [_dot(axes, annotated)] if len(annotated) else []
    _legend(figure, [*_patches(axes, zones), *handles], placed)
    return figure


def density_map(plane: Plane, annotated: Points, placed: Points, zones: NDArray[np.str_]) -> Figure:
    """Draw how densely the auxiliary tracks lie, with the training tracks on top; as `flat_map`."""
    figure, axes = _blank(plane, 9.0, 7.0)
    if len(annotated):
        cells = axes.hexbin(
            annotated.valence,
            annotated.arousal,
            gridsize=HEXAGONS,
            extent=(*plane.valence, *plane.arousal),
            mincnt=1,
            cmap="Blues",
            linewidths=0.2,
        )
        cells.set_clim(0, None)
        bar = figure.colorbar(cells, ax=axes, shrink=0.75, pad=0.02)
        bar.set_label(f"{annotated.name} tracks per cell", fontsize=9, color=INK)
        bar.ax.tick_params(labelsize=8, colors=INK)
    _thresholds(axes, plane, valence=True)
    _training_points(axes, placed)
    for region, (left, bottom, right, top) in plane.rectangles.items():
        at_top = region.startswith(PURPLE)
        height = top - 0.2 if at_top else bottom + 0.2 if region.startswith(YELLOW) else (bottom + top) / 2
        across = (left + right) / 2 if region != GREEN else left + 0.15
        _named(
            axes, across, height, region, zone_of(region), ha="center" if region != GREEN else "left", size=8
        )
    _legend(figure, _patches(axes, zones), placed)
    return figure


KINDS: dict[str, Callable[[Plane, Points, Points, NDArray[np.str_]], Any]] = {
    "2d": flat_map,
    "bands": band_map,
    "density": density_map,
}
"""Maps by the name that the command line knows."""


def _blank(plane: Plane, width: float, height: float, *, beside: bool = False) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot(1, 3, (1, 2)) if beside else figure.add_subplot()
    axes.set(xlim=plane.valence, ylim=plane.arousal, xlabel="valence: unpleasant to pleasant")
    axes.set_ylabel("arousal: calm to excited")
    _plain(axes)
    return figure, axes


def _plain(axes: Axes) -> None:
    axes.spines[:].set_color(MUTED)
    axes.tick_params(colors=INK, labelsize=8)
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set(color=INK, fontsize=10)


def _rectangle(axes: Axes, plane: Plane, region: str, box: Box) -> None:
    from matplotlib.patches import Rectangle

    left, bottom, right, top = box
    shade = 0.34 if region in ("YELLOW_CHILL", "PURPLE_EUPHORIC", GREEN) else 0.18
    axes.add_patch(
        Rectangle(
            (left, bottom),
            right - left,
            top - bottom,
            facecolor=COLOURS[zone_of(region)],
            alpha=shade,
            linewidth=0,
        )
    )
    if plane.label_of(region) != zone_of(region):
        axes.add_patch(
            Rectangle(
                (left, bottom), right - left, top - bottom, fill=False, hatch="//", alpha=0.55, linewidth=0,
                edgecolor=COLOURS[plane.label_of(region)],
            )
        )  # fmt: skip


def _region_name(axes: Axes, plane: Plane, region: str, box: Box) -> None:
    left, bottom, right, top = box
    label = plane.label_of(region)
    if region == GREEN:  # its middle is where most tracks lie
        _named(axes, left + 0.15, (bottom + top) / 2, region, GREEN, ha="left", size=11)
        return
    _named(axes, (left + right) / 2, (bottom + top) / 2, region, zone_of(region), size=11)
    if label != zone_of(region):
        axes.annotate(
            f"labelled {label} by the rule `{plane.mapping.strategy}`",
            ((left + right) / 2, (bottom + top) / 2), (0, -20), textcoords="offset points", ha="center", va="center",
            fontsize=7.5, color=INK, bbox=_box("white"), zorder=5,
        )  # fmt: skip


def _named(
    axes: Axes, x: float, y: float, text: str, zone: str, *, ha: Any = "center", size: float = 10
) -> None:
    """A name in ink on the zone's colour: dark on each of the three by 5 to 1 and more."""
    axes.text(
        x, y, text.replace("_", " "), ha=ha, va="center", fontsize=size, fontweight="bold", color="#111111",
        bbox=_box(COLOURS[zone]), zorder=5,
    )  # fmt: skip


def _box(colour: str) -> dict[str, Any]:
    return {"boxstyle": "round,pad=0.3", "facecolor": colour, "edgecolor": "none", "alpha": 0.9}


def _thresholds(axes: Axes, plane: Plane, *, valence: bool) -> None:
    """Dashed lines, with their values outside the frame where they cover nothing."""
    for level in (plane.yellow_max, plane.purple_min):
        axes.axhline(level, color=INK, linestyle="--", linewidth=1, zorder=3)
        axes.annotate(
            f"{level:g}", (1, level), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
            va="center", fontsize=8, color=INK,
        )  # fmt: skip
    if valence:
        axes.axvline(plane.valence_split, color=INK, linestyle="--", linewidth=1, zorder=3)
        axes.annotate(
            f"{plane.valence_split:g}", (plane.valence_split, 1), (0, 4), xycoords=("data", "axes fraction"),
            textcoords="offset points", ha="center", fontsize=8, color=INK,
        )  # fmt: skip


def _moods(axes: Axes, plane: Plane) -> None:
    for (across, up), words in MOODS.items():
        axes.annotate(
            words, (across, up), (8 if across == 0 else -8, 8 if up == 0 else -8), xycoords="axes fraction",
            textcoords="offset points", ha="left" if across == 0 else "right", va="bottom" if up == 0 else "top",
            fontsize=9, fontstyle="italic", color=INK, zorder=4,
        )  # fmt: skip


def _training_points(axes: Axes, placed: Points) -> None:
    for zone, marker in MARKERS.items():
        own = placed.zone == zone
        axes.scatter(
            placed.valence[own], placed.arousal[own], s=30, marker=marker, color=COLOURS[zone], edgecolors=INK,
            linewidths=0.6, zorder=4,
        )  # fmt: skip


def _band_counts(
    axes: Axes, plane: Plane, annotated: Points, placed: Points, zones: NDArray[np.str_]
) -> None:
    """Histogram of arousal, auxiliary tracks first; how many tracks each band holds, in words."""
    shown = annotated if len(annotated) else placed
    edges = np.arange(plane.arousal[0], plane.arousal[1] + BIN_WIDTH, BIN_WIDTH)
    heights, _ = np.histogram(shown.arousal, edges)
    axes.barh(edges[:-1], heights, height=0.9 * BIN_WIDTH, align="edge", color=MUTED, zorder=2)
    axes.set_xlim(0, 2.1 * max(1, heights.max(initial=0)))
    for zone, (low, high) in plane.bands.items():
        lines = [
            f"{int(np.char.startswith(plane.regions(points.arousal, points.valence), zone).sum())} {points.name}"
            for points in (annotated, placed)
            if len(points)
        ]
        lines.append(f"{int((zones == zone).sum())} labelled {zone}")
        axes.annotate(
            "\n".join(lines), (1, (low + high) / 2), (-6, 0), xycoords=("axes fraction", "data"),
            textcoords="offset points", ha="right", va="center", fontsize=8.5, color=INK, bbox=_box("white"), zorder=5,
        )  # fmt: skip
    if len(shown):
        axes.set_xlabel(f"{shown.name} tracks per {BIN_WIDTH:g} of arousal")
    else:
        axes.set(xlabel="no track has an arousal", xticks=[])
    axes.tick_params(labelleft=False)
    _plain(axes)


def _patches(axes: Axes, zones: NDArray[np.str_]) -> list[Any]:
    return [
        axes.scatter(
            [], [], s=46, marker=marker, color=COLOURS[zone], edgecolors=INK, linewidths=0.6,
            label=f"{zone}: {int((zones == zone).sum())} training tracks",
        )
        for zone, marker in MARKERS.items()
    ]  # fmt: skip


def _dot(axes: Axes, annotated: Points) -> Any:
    return axes.scatter(
        [], [], s=12, color=INK, alpha=0.5, linewidths=0, label=f"{len(annotated)} {annotated.name} tracks"
    )


def _legend(figure: Figure, handles: list[Any], placed: Points) -> None:
    """Below the map: zones with the number of labelled tracks, and what is not drawn."""
    note = "" if len(placed) else "; without a position on the plane, not drawn"
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), fontsize=8, frameon=False, labelcolor=INK,
        title=f"training tracks by label{note}", title_fontsize=8,
    )  # fmt: skip
