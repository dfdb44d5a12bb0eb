"""Maps of the valence-arousal plane: where the zones lie, and where the tracks do.

==========  =================================================================================================
map         shows
==========  =================================================================================================
`2d`        the five-way zones as rectangles, thresholds as dashed lines, moods in the corners, the tracks
`bands`     the three zones as bands of arousal, and how many tracks each band holds
`density`   how densely the auxiliary, annotated tracks (DEAM) lie, with the training tracks on top
==========  =================================================================================================

Conventions: valence across, arousal up, both on the scale of the annotations (1 to 9). Auxiliary tracks are those
that only train and carry ``ann.arousal`` and ``ann.valence``. Training tracks appear where a model has given them a
position or they are annotated themselves, and otherwise only by their zone, in the counts. Sealed test tracks are
never drawn.

The rectangles are those of the display. The rule that makes labels may differ inside one of them (`plan` calls high
arousal with low valence GREEN); such a rectangle is hatched and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.errors import UsageError
from earmark.evaluation.plots import save_png
from earmark.tasks.task import Analysis, AnalysisRequest
from earmark.tasks.zones.analysis.map_figures import KINDS
from earmark.tasks.zones.analysis.mood_plane import Plane, Points, zone_of
from earmark.tasks.zones.deam.mapping import FIVE_WAY_ZONES
from earmark.tasks.zones.labels import CLASSES

__all__ = ["annotated_positions", "zone_map"]

DPI = 300
ANNOTATIONS = ("ann.arousal", "ann.valence")


def zone_map(request: AnalysisRequest) -> Analysis:
    """Draw one map for a run; options: ``map`` (`KINDS`), ends of the axes, thresholds, ``mapping``, ``positions``.

    Parameters
    ----------
    request : AnalysisRequest
        ``positions`` in its options is a mapping of track id to (arousal, valence), e.g. a regression's answers.

    Raises
    ------
    UsageError
        An unknown kind of map, or ranges and thresholds that do not fit together.
    """
    kind = str(request.options.get("map", "2d"))
    if kind not in KINDS:
        raise UsageError(f"there is no map {kind!r}; expected one of {', '.join(KINDS)}.")
    plane = Plane.of_options(request.options)
    annotated, placed = _annotated(request), _placed(request)
    zones = np.asarray(request.dataset.classes)[request.dataset.y]
    figure = KINDS[kind](plane, annotated, placed, zones)
    path = save_png(figure, request.folder / f"map_{kind}.png", dpi=DPI)
    sentences = tuple(_sentences(plane, annotated, placed, zones))
    return Analysis(
        f"Zones on the valence-arousal plane ({kind})",
        sentences,
        {"map_counts.csv": _counts(plane, annotated, placed, zones)},
        (path,),
    )


def _annotated(request: AnalysisRequest) -> Points:
    """Auxiliary tracks with annotations of arousal and valence."""
    found, labels = (
        annotated_positions(request),
        dict(request.project.manifest.table.select("id", "label").rows()),
    )
    ids = [id for id in request.project.splits.auxiliary_ids if id in found]
    return _points([(*found[id], labels[id]) for id in ids], "auxiliary")


def _placed(request: AnalysisRequest) -> Points:
    """Training tracks that a model gave a position, or that are annotated themselves."""
    positions = {**annotated_positions(request), **(request.options.get("positions") or {})}
    data = request.dataset
    rows = [
        (*positions[id], data.classes[k]) for id, k in zip(data.ids, data.y, strict=True) if id in positions
    ]
    return _points(rows, "training")


def annotated_positions(request: AnalysisRequest) -> dict[str, tuple[float, float]]:
    """Arousal and valence by id, of the manifest's rows that have both."""
    table = request.project.manifest.table
    if not set(ANNOTATIONS) <= set(table.columns):
        return {}
    rows = table.select("id", *ANNOTATIONS).drop_nulls(list(ANNOTATIONS)).rows()
    return {id: (arousal, valence) for id, arousal, valence in rows}


def _points(rows: Sequence[tuple[Any, ...]], name: str) -> Points:
    """Points of rows of arousal, valence and label; those that are not numbers are left out."""
    numbers = np.array([row[:2] for row in rows], dtype=np.float64).reshape(-1, 2)
    labels = np.array([str(row[2]) for row in rows], dtype=np.str_)
    good = np.isfinite(numbers).all(axis=1)
    return Points(numbers[good, 0], numbers[good, 1], labels[good], name)


def _counts(plane: Plane, annotated: Points, placed: Points, zones: NDArray[np.str_]) -> list[dict[str, Any]]:
    """Tracks in each rectangle; the labels of training tracks know three zones only."""
    regions = [plane.regions(points.arousal, points.valence) for points in (annotated, placed)]
    rows: list[dict[str, Any]] = []
    for name in (*FIVE_WAY_ZONES, *(zone for zone in CLASSES if zone not in FIVE_WAY_ZONES)):
        inside = [int(np.char.startswith(own, name).sum()) for own in regions]
        labelled = int((zones == name).sum()) if name in CLASSES else None
        rows.append(
            {
                "zone": name,
                "auxiliary": inside[0],
                "training_placed": inside[1],
                "training_labelled": labelled,
            }
        )
    return rows


def _sentences(plane: Plane, annotated: Points, placed: Points, zones: NDArray[np.str_]) -> list[str]:
    counts = ", ".join(f"{zone} {int((zones == zone).sum())}" for zone in CLASSES)
    found = [f"Training tracks by their labels: {counts}."]
    if not len(annotated):
        found.append(
            "No auxiliary track carries arousal and valence (`ann.arousal`, `ann.valence`), so none is drawn."
        )
    else:
        own = [zone_of(region) for region in plane.regions(annotated.arousal, annotated.valence)]
        moved = int((np.asarray(own) != annotated.zone).sum())
        found.append(
            f"{len(annotated)} auxiliary tracks are drawn; {moved} of them carry another label than the rectangle "
            f"they lie in."
        )
    if not len(placed):
        found.append(
            "No training track has a place on the plane, by a model or by annotation: they are counted, not drawn."
        )
    outside = annotated.n_outside(plane) + placed.n_outside(plane)
    if outside:
        found.append(f"{outside} tracks lie beyond the ends of the axes.")
    return found
