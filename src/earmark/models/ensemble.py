"""A weighted mean of the probabilities of several estimators.

Members share one preprocessing and one set of rows. Weights come from a grid of steps of 0.1 in which every
member has at least 0.1; the search takes the best value of a metric, and among equals the weights nearest
to the start (0.6 to the first of two, equal shares otherwise), so that a few rows do not push it to an
edge.

`Ensemble.fit` chooses weights on its validation rows; on out-of-fold probabilities `earmark.training.blend`
chooses them, and `earmark.models.blended` joins fitted members.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np

from earmark.errors import UsageError
from earmark.models.constraints import Interval, Optional, Parameter, closest
from earmark.models.estimator import Estimator, FitRequest, Floats, FoldEstimator, Ints
from earmark.models.registry import ALIASES, ESTIMATORS, canonical_name, estimator_class, load_estimator

__all__ = [
    "Ensemble",
    "accuracy",
    "same_shape",
    "scaled",
    "search_weights",
    "start_weights",
    "weight_grid",
    "weighted_mean",
]

WEIGHTS_FILE = "weights.json"
STEPS = 10
"""Weights are multiples of 1 / STEPS."""


@dataclass(frozen=True)
class Members:
    """Registered names of estimators, each once, none of them an ensemble."""

    def accepts(self, value: Any) -> bool:
        """Whether every name is registered and none repeats."""
        if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
            return False
        known = {**{name: name for name in ESTIMATORS}, **ALIASES}
        names = [known.get(name) for name in value]
        plain = None not in names and "ensemble" not in names
        return 0 < len(names) <= STEPS and plain and len(set(names)) == len(names)

    def describe(self) -> str:
        """The words of the error message."""
        single = ", ".join(name for name in ESTIMATORS if name != "ensemble")
        return f"a list of different estimators out of {single}"

    def invalid_examples(self) -> list[Any]:
        """Empty, repeated, unknown, nested, and no list."""
        return [(), ("xgboost", "xgb"), ("boosting",), ("ensemble",), "xgboost", None, (1, 2)]


@dataclass(frozen=True)
class Weights:
    """Positive finite numbers."""

    def accepts(self, value: Any) -> bool:
        """Whether every weight is a positive finite number."""
        share = Interval(float, 0, open_low=True)
        return (
            isinstance(value, (list, tuple))
            and len(value) > 0
            and all(share.accepts(weight) for weight in value)
        )

    def describe(self) -> str:
        """The words of the error message."""
        return "a list of positive numbers, one per member"

    def invalid_examples(self) -> list[Any]:
        """Zero, negative, no numbers, and no list."""
        return [(0.0, 1.0), (-0.5, 1.5), ("a", "b"), 0.6, ()]


class Ensemble(FoldEstimator):
    """Weighted mean of members' probabilities.

    Parameters
    ----------
    members : sequence of str
        Registered names, each once; default xgboost and neural_network.
    weights : sequence of float, optional
        One per member, positive; scaled to sum 1. Without them they are chosen on the validation rows by
        accuracy; without validation rows they are the start weights.
    seed : int
        Given to each member that has a seed of its own, unless set for it.
    **params
        ``<member>__<parameter>``, e.g. ``xgboost__max_depth``.
    """

    name: ClassVar[str] = "ensemble"
    files: ClassVar[tuple[str, ...]] = (WEIGHTS_FILE,)
    stops_early: ClassVar[bool] = True
    learns_targets: ClassVar[bool] = True
    parameters: ClassVar[Mapping[str, Parameter]] = {
        "members": Parameter(("xgboost", "neural_network"), Members(), "estimators to blend"),
        "weights": Parameter(None, Optional(Weights()), "share of each member; none searches them"),
        "seed": Parameter(42, Interval(int, 0, 2**31 - 1), "seed of members without one of their own"),
    }

    members: list[Estimator]
    weights: tuple[float, ...]

    def __init__(self, **params: Any) -> None:
        own = {name: value for name, value in params.items() if "__" not in name}
        super().__init__(**own)
        self._configure({name: value for name, value in params.items() if "__" in name})

    @property
    def needs(self) -> tuple[tuple[str, str], ...]:
        """What the members need."""
        return tuple(need for member in self.members for need in member.needs)

    def get_params(self) -> dict[str, Any]:
        """Own parameters and, as ``<member>__<parameter>``, those of the members."""
        nested = {f"{m.name}__{key}": value for m in self.members for key, value in m.get_params().items()}
        return dict(self.params) | nested

    def set_params(self, **params: Any) -> Self:
        """Change parameters; changing `members` resets those of members that leave."""
        kept = self.get_params() | params
        names = {canonical_name(name) for name in kept["members"]}
        staying = {
            key: value for key, value in kept.items() if "__" not in key or key.split("__")[0] in names
        }
        fresh = type(self)(**staying)
        self.params, self.members = fresh.params, fresh.members
        return self

    def _configure(self, nested: Mapping[str, Any]) -> None:
        self.params["members"] = tuple(canonical_name(name) for name in self.params["members"])
        names, weights = self.params["members"], self.params["weights"]
        self.params["weights"] = None if weights is None else tuple(float(weight) for weight in weights)
        if weights is not None and len(weights) != len(names):
            raise UsageError(
                f"Estimator `ensemble`: {len(weights)} weights for {len(names)} members. Give one per member."
            )
        of_member: dict[str, dict[str, Any]] = {name: {} for name in names}
        for key, value in nested.items():
            member, _, parameter = key.partition("__")
            if member not in of_member:
                raise UsageError(
                    f"Estimator `ensemble`: `{key}` names no "
                    f"member{closest(member, names)}. Members: {', '.join(names)}."
                )
            of_member[member][parameter] = value
        self.members = []
        for name in names:
            found = estimator_class(name)
            seeded = {"seed": self.params["seed"]} if "seed" in found.parameters else {}
            self.members.append(found(**(seeded | of_member[name])))
        self.weights = start_weights(len(names)) if weights is None else scaled(weights)

    def _fit(self, request: FitRequest) -> None:
        for member in self.members:
            folder = None if request.checkpoint is None else request.checkpoint / member.name
            member.fit(
                request.X,
                request.y,
                n_classes=request.n_codes,
                sample_weight=request.sample_weight,
                validation=request.validation,
                checkpoint=folder,
                on_epoch=request.on_epoch,
                targets=request.targets,
                columns=request.columns,
            )
        if self.params["weights"] is None and request.validation is not None:
            X, y = request.validation
            self.weights = search_weights([m.predict_proba(X) for m in self.members], y, accuracy, "higher")

    def _predict(self, X: Floats) -> Floats:
        # The members know only the classes present, renumbered.
        return weighted_mean([member.predict_proba(X) for member in self.members], self.weights)

    def _save(self, folder: Path) -> None:
        for member in self.members:
            member.save(folder / "members" / member.name)
        (folder / WEIGHTS_FILE).write_text(json.dumps(self.weights) + "\n", encoding="utf-8")

    def _load(self, folder: Path) -> None:
        self.members = [load_estimator(folder / "members" / name) for name in self.params["members"]]
        self.weights = tuple(json.loads((folder / WEIGHTS_FILE).read_text(encoding="utf-8")))


def same_shape(members: Sequence[Estimator]) -> tuple[int, int, Ints]:
    """Number of classes, of columns, and the classes present, on which fitted members must agree."""
    shapes = {(m.n_classes, m.n_features, tuple(m.present.tolist())) for m in members}
    if len(shapes) > 1:
        raise UsageError(
            "The members were fitted on different data: (classes, columns, classes present) "
            f"{sorted(shapes)}. Fit them on the same rows with the same preprocessing."
        )
    first = members[0]
    return first.n_classes, first.n_features, first.present


def start_weights(n_members: int) -> tuple[float, ...]:
    """0.6 and 0.4 for two members, equal shares otherwise."""
    return (0.6, 0.4) if n_members == 2 else (1 / n_members,) * n_members


def weight_grid(n_members: int) -> list[tuple[float, ...]]:
    """All weights in steps of 0.1 that sum to 1 with at least 0.1 each; those nearest to the start come
    first.
    """
    if not 1 <= n_members <= STEPS:
        raise UsageError(f"An ensemble has {n_members} members, expected 1 to {STEPS}.")
    shares = itertools.product(range(1, STEPS + 1), repeat=n_members - 1)
    points = [(*head, STEPS - sum(head)) for head in shares if sum(head) < STEPS]
    start = start_weights(n_members)
    grid = [tuple(share / STEPS for share in point) for point in points]

    def distance(weights: tuple[float, ...]) -> float:
        return round(sum((w - s) ** 2 for w, s in zip(weights, start, strict=True)), 9)

    return sorted(grid, key=distance)


def search_weights(
    members: Sequence[Floats], y: Ints, function: Callable[..., Any], direction: Literal["higher", "lower"]
) -> tuple[float, ...]:
    """The grid's weights with the best ``function(y, blended probabilities)``; among equals those nearest
    to the start.
    """
    sign = 1.0 if direction == "higher" else -1.0
    grid = weight_grid(len(members))
    scores = [sign * float(function(y, weighted_mean(members, weights))) for weights in grid]
    return grid[int(np.argmax(np.nan_to_num(scores, nan=-np.inf)))]


def weighted_mean(members: Sequence[Floats], weights: Sequence[float]) -> Floats:
    """Sum of weight x probabilities, float32; summed in float64 and scaled so that rows sum to 1."""
    mixed = sum(weight * p.astype(np.float64) for weight, p in zip(weights, members, strict=True))
    return np.asarray(mixed / np.sum(mixed, axis=1, keepdims=True), dtype=np.float32)


def accuracy(y: Ints, probabilities: Floats) -> float:
    """Share of rows whose most probable class is the true one."""
    return float(np.mean(np.argmax(probabilities, axis=1) == y))


def scaled(weights: Sequence[float]) -> tuple[float, ...]:
    """Weights divided by their sum."""
    return tuple(float(weight) / sum(weights) for weight in weights)
