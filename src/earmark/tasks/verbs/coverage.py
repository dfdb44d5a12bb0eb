"""How far the cache covers a task's phases: of the prepared items, how many have all groups of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from earmark.errors import InputError
from earmark.features.group import FeatureGroup
from earmark.features.item import Item
from earmark.tasks.project import Project

__all__ = ["ENOUGH", "PhaseCoverage", "coverage"]

ENOUGH = 0.95


@dataclass(frozen=True)
class PhaseCoverage:
    """Items of one phase: `cached` have all its groups, `failed` a recorded failure of the current code, of `items`."""

    phase: str
    groups: tuple[str, ...]
    cached: int
    failed: int
    items: int

    @property
    def share(self) -> float:
        """Of the items, 0 to 1; 1 of none."""
        return self.cached / self.items if self.items else 1.0

    @property
    def to_compute(self) -> int:
        """Items that are neither cached nor known to fail."""
        return self.items - self.cached - self.failed

    @property
    def verdict(self) -> str:
        """``OK`` above 95 %, else ``LOW``."""
        return "OK" if self.share > ENOUGH else "LOW"

    def to_row(self) -> dict[str, object]:
        """For tables and JSON."""
        return {
            "phase": self.phase,
            "cached": f"{self.cached}/{self.items}",
            "percent": round(100 * self.share, 1),
            "to_compute": self.to_compute,
            "failed": self.failed,
            "verdict": self.verdict,
        }


def coverage(
    project: Project,
    items: Sequence[Item] | None = None,
    phases: Mapping[str, Sequence[FeatureGroup]] | None = None,
) -> list[PhaseCoverage]:
    """Coverage of the task's phases over the prepared items, or over other items and phases. Nothing is computed.

    An item whose content cannot be read counts as failed.
    """
    chosen = project.task.phases if phases is None else phases
    chosen_items = project.items() if items is None else items
    found = project.cache.identify_many([item.uri for item in chosen_items])
    known = [identity for identity in found if not isinstance(identity, InputError)]
    every = {group.name: group for groups in chosen.values() for group in groups}
    digests = project.digests(list(every.values()))
    unreadable = len(found) - len(known)
    return [
        _phase(project, name, [(group.name, digests[group.name]) for group in groups], known, unreadable)
        for name, groups in chosen.items()
    ]


def _phase(
    project: Project, name: str, groups: Sequence[tuple[str, bytes]], known: Sequence[bytes], unreadable: int
) -> PhaseCoverage:
    has = np.array([project.cache.has_many(digest, known) for _, digest in groups], dtype=bool)
    failing = {identity for _, digest in groups for identity in _failed(project, digest, known)}
    cached = int(has.all(axis=0).sum()) if len(known) else 0
    return PhaseCoverage(
        name, tuple(group for group, _ in groups), cached, len(failing) + unreadable, len(known) + unreadable
    )


def _failed(project: Project, digest: bytes, known: Sequence[bytes]) -> list[bytes]:
    return [identity for identity in known if project.cache.failure(digest, identity) is not None]
