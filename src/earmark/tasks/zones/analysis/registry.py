"""The analyses of the zones task by name; each loads what it needs when it is run."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from earmark.tasks.task import Analysis, AnalysisRequest

__all__ = ["ANALYSES"]


def _drops(request: AnalysisRequest) -> Analysis:
    from earmark.tasks.zones.analysis.drop_analysis import drop_analysis

    return drop_analysis(request)


def _map(request: AnalysisRequest) -> Analysis:
    from earmark.tasks.zones.analysis.maps import zone_map

    return zone_map(request)


ANALYSES: Mapping[str, Callable[[AnalysisRequest], Analysis]] = {"drops": _drops, "map": _map}
"""``drops``: `earmark.tasks.zones.analysis.drop_analysis`; ``map``: `earmark.tasks.zones.analysis.maps`."""
