"""Named selections of columns over feature groups: what a model is trained on, and what `extract` fills."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from earmark.errors import UsageError
from earmark.features.group import FeatureGroup

__all__ = ["FeatureSet"]


@dataclass(frozen=True)
class FeatureSet:
    """Groups to compute and, of their columns, the ones to use.

    Parameters
    ----------
    name : str
        What the command line calls it.
    groups : tuple of FeatureGroup
    selection : tuple of str or None
        Full names (``group.column``) in order; None takes all columns of all vector groups.
    description : str
        One line for listings.
    """

    name: str
    groups: tuple[FeatureGroup, ...]
    selection: tuple[str, ...] | None = None
    description: str = ""

    def __post_init__(self) -> None:
        offered = set(_vector_columns(self.groups))
        unknown = [name for name in self.selection or () if name not in offered]
        if unknown:
            raise UsageError(
                f"feature set `{self.name}` selects {', '.join(unknown[:5])}, which its groups do not make."
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """Full names of the selected columns, in order; empty for a set of frames only."""
        return self.selection if self.selection is not None else tuple(_vector_columns(self.groups))


def _vector_columns(groups: Sequence[FeatureGroup]) -> list[str]:
    return [name for group in groups if group.kind == "vector" for name in group.column_names]
