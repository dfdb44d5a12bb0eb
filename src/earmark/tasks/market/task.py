"""The declaration of `market`: three directions of the mid price, from rows of the feature store.

Its rows are a series through time, so its verbs are commands of its own (`earmark.cli.market`); what is general,
the runs, the ledger of the sealed period, promotion, is shared with every task.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from earmark.tasks.task import Task

if TYPE_CHECKING:
    from collections.abc import Mapping

    from earmark.cache.fingerprint import Fingerprint
    from earmark.tasks.project import Project

__all__ = ["CLASSES", "task"]

CLASSES = ("down", "neutral", "up")
"""Class 0, 1, 2: SELL, HOLD, BUY."""


def _session_groups(project: Project) -> Mapping[str, Fingerprint]:
    from earmark.tasks.market.extraction.caching import groups_now

    return groups_now(project.root)


task = Task(
    name="market",
    classes=CLASSES,
    metric="macro_f1",
    item_noun="samples",
    class_colours={"down": "#b2442f", "neutral": "#8a8a8a", "up": "#2f7d5b"},
    is_series=True,
    session_groups=_session_groups,
)
