"""`check lookahead`: prove on real or generated audio that no frame column sees further ahead than it declares."""

from __future__ import annotations

from collections.abc import Sequence

from earmark.audio.decode import decode
from earmark.errors import UsageError
from earmark.features.group import FeatureGroup
from earmark.features.lookahead import CUTS, LookaheadRow, check_lookahead
from earmark.tasks.probe import PROBE_S, probe
from earmark.tasks.project import Project

__all__ = ["lookahead"]


def lookahead(project: Project, sources: Sequence[str] = ()) -> list[LookaheadRow]:
    """Check every ``frames`` group of the task on the given files, or on a generated probe.

    Raises
    ------
    UsageError
        The task has no frame groups: there is nothing that could see ahead within an item.
    """
    groups = [group for group in project.task.all_groups if group.kind == "frames"]
    if not groups:
        raise UsageError(
            f"task `{project.task.name}` has no frame groups, so there is no look-ahead to check."
        )
    rows: list[LookaheadRow] = []
    for group in groups:
        clips = [decode(source, sample_rate=group.sample_rate) for source in sources] or [
            probe(group.sample_rate, _probe_s(group))
        ]
        for clip in clips:
            rows.extend(check_lookahead(group, clip))
    return rows


def _probe_s(group: FeatureGroup) -> float:
    """Long enough that the shortest beginning that is compared still holds the signal that the group needs."""
    return max(PROBE_S, 1.1 * group.min_duration_s / min(CUTS))
