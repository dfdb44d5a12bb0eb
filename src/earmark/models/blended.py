"""A weighted mean of fitted estimators of any kind, also of one kind fitted on different rows.

Unlike an ensemble it has no parameters of its own and is never fitted: it is made `of` members, saved and loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

from earmark.errors import UsageError
from earmark.models.constraints import Parameter
from earmark.models.ensemble import WEIGHTS_FILE, same_shape, scaled, weighted_mean
from earmark.models.estimator import Estimator, FitRequest, Floats, FoldEstimator
from earmark.models.registry import load_estimator

__all__ = ["Blended"]


class Blended(FoldEstimator):
    """Members and their weights, which sum to 1."""

    name: ClassVar[str] = "blended"
    files: ClassVar[tuple[str, ...]] = (WEIGHTS_FILE,)
    parameters: ClassVar[Mapping[str, Parameter]] = {}

    members: tuple[Estimator, ...] = ()
    weights: tuple[float, ...] = ()

    @classmethod
    def of(cls, members: Sequence[Estimator], weights: Sequence[float]) -> Self:
        """A blend of fitted members, which must have been fitted on the same classes and columns."""
        found = cls()
        found.n_classes, found.n_features, found.present = same_shape(members)
        found.members, found.weights = tuple(members), scaled(weights)
        return found

    @property
    def needs(self) -> tuple[tuple[str, str], ...]:
        """What the members need."""
        return tuple(need for member in self.members for need in member.needs)

    def _fit(self, request: FitRequest) -> None:
        raise UsageError(
            f"a blend was to be fitted on {len(request.y)} rows; expected fitted members. Fit these, and use `of`."
        )

    def _predict(self, X: Floats) -> Floats:
        mixed = weighted_mean([member.predict_proba(X) for member in self.members], self.weights)
        return mixed[:, self.present]

    def _save(self, folder: Path) -> None:
        for position, member in enumerate(self.members):
            member.save(folder / "members" / str(position))
        (folder / WEIGHTS_FILE).write_text(json.dumps(self.weights) + "\n", encoding="utf-8")

    def _load(self, folder: Path) -> None:
        self.weights = tuple(json.loads((folder / WEIGHTS_FILE).read_text(encoding="utf-8")))
        positions = range(len(self.weights))
        self.members = tuple(load_estimator(folder / "members" / str(position)) for position in positions)
