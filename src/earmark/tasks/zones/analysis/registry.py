"""The analyses of the zones task by name; each loads what it needs when it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from earmark.tasks.task import Analysis, AnalysisRequest

__all__ = ["ANALYSES"]


def _drops(request: AnalysisRequest) -> Analysis:
    from earmark.tasks.zones.analysis.drop_analysis import drop_analysis

    return drop_analysis(request)


def _map(request: AnalysisRequest) -> Analysis:
    from earmark.tasks.zones.analysis.maps import annotated_positions, zone_map
    from earmark.tasks.zones.five_way import training_positions

    if "positions" in request.options:
        return zone_map(request)
    # Annotated rows have a place of their own; a model that was trained on them must not move them.
    unplaced = set(request.dataset.ids) - set(annotated_positions(request))
    positions, note = training_positions(request.project, unplaced)
    drawn = zone_map(replace(request, options={**request.options, "positions": positions}))
    return replace(drawn, sentences=(*drawn.sentences, *([note] if note else [])))


ANALYSES: Mapping[str, Callable[[AnalysisRequest], Analysis]] = {"drops": _drops, "map": _map}
"""``drops``: `earmark.tasks.zones.analysis.drop_analysis`; ``map``: `earmark.tasks.zones.analysis.maps`."""
