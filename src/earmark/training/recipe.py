"""What is trained, in full: every setting that changes the numbers, and the key that names a training.

The key is a hash of recipe, data, code and library versions. Two trainings with one key give the same
model, so a finished run is found by it and a killed one continues under it. Code counts without comments,
docstrings and layout.
"""

from __future__ import annotations

import ast
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from earmark.models.classifier import Classifier
from earmark.models.registry import canonical_name, estimator_class, make
from earmark.training.strategy import Strategy

__all__ = ["Recipe", "code_hash", "digest", "distribution_versions", "library_versions"]

_CODE = (
    "models",
    *(
        f"training/{name}.py"
        for name in ("alignment", "blend", "crossval", "fit", "folds", "strategy", "weights")
    ),
)
"""What decides the numbers of a training, relative to the package."""


@dataclass(frozen=True)
class Recipe:
    """An algorithm with its settings.

    Attributes
    ----------
    algorithm : str
        Registered name or alias of an estimator.
    params : dict
        Parameters that differ from the estimator's defaults.
    preprocess : dict
        Parameters of `Preprocess` that differ from its defaults.
    class_weight : {"balanced"}, optional
    validation_fraction : float
        Share of each training part held out for early stopping.
    seed : int
        Of the inner splits, and of the estimator unless `params` has one.
    strategy : Strategy
        How rows of another source take part.
    """

    algorithm: str
    params: Mapping[str, Any] = field(default_factory=dict)
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    class_weight: str | None = None
    validation_fraction: float = 0.2
    seed: int = 42
    strategy: Strategy = field(default_factory=Strategy)

    def __post_init__(self) -> None:
        object.__setattr__(self, "algorithm", canonical_name(self.algorithm))
        object.__setattr__(self, "params", dict(self.params))
        object.__setattr__(self, "preprocess", dict(self.preprocess))

    def make(self, classes: Sequence[str]) -> Classifier:
        """A new, unfitted classifier."""
        seeded = {"seed": self.seed} if "seed" in estimator_class(self.algorithm).parameters else {}
        return Classifier.make(
            self.algorithm, classes=classes, preprocess=dict(self.preprocess), **(seeded | dict(self.params))
        )

    def members(self) -> tuple[Recipe, ...]:
        """The recipes a blend of algorithms or of strategies is made from, each with everything else equal; empty
        for other recipes.
        """
        if self.strategy.members():
            return tuple(replace(self, strategy=strategy) for strategy in self.strategy.members())
        if self.algorithm != "ensemble":
            return ()
        params = make("ensemble", **({"seed": self.seed} | dict(self.params))).get_params()
        return tuple(
            replace(self, algorithm=name, params=_prefixed(params, name)) for name in params["members"]
        )

    def fixed_weights(self) -> tuple[float, ...] | None:
        """Weights of the members where they are given, None where they are searched."""
        if self.strategy.members():
            return self.strategy.fixed_weights
        weights: tuple[float, ...] | None = self.make(("a", "b")).estimator.get_params()["weights"]
        return weights

    def settings(self) -> dict[str, Any]:
        """Everything, with the estimator's and the preprocessing's defaults spelled out: what a run
        records.
        """
        classifier = self.make(("a", "b"))
        params, preprocess = classifier.estimator.get_params(), classifier.preprocess.get_params()
        return asdict(self) | {"params": params, "preprocess": preprocess}

    def versions(self) -> dict[str, str]:
        """Versions of everything the numbers depend on, members of an ensemble included."""
        return library_versions(self.algorithm, *(member.algorithm for member in self.members()))

    def key(self, data: Mapping[str, str]) -> str:
        """Hash of settings, data hashes, code and library versions: 32 hexadecimal digits."""
        return digest([self.settings(), dict(data), code_hash(), self.versions()])


def digest(value: Any) -> str:
    """BLAKE2b-128 of the canonical JSON of `value`, as 32 hexadecimal digits."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


@lru_cache(maxsize=2)
def code_hash(parts: tuple[str, ...] = _CODE) -> str:
    """Hash of the code that decides a training's numbers, without comments, docstrings and layout.

    `parts` are folders, without those below them, and files of the package; default those of training on rows.
    """
    package = Path(__file__).parents[1]
    files = [path for part in parts for path in (sorted((package / part).glob("*.py")) or [package / part])]
    return digest([[path.name, _normal_form(path)] for path in files])


def library_versions(*algorithms: str) -> dict[str, str]:
    """Versions of Python, earmark and the distributions that the algorithms' numbers depend on."""
    return distribution_versions(
        *(name for algorithm in algorithms for name in estimator_class(algorithm).distributions)
    )


def distribution_versions(*names: str) -> dict[str, str]:
    """Versions of Python, earmark, NumPy and of distributions; ``a|b`` is the first that is installed."""
    found = {"python": platform.python_version(), "earmark": metadata.version("earmark")}
    for name in ("numpy", *dict.fromkeys(names)):
        for candidate in name.split("|"):
            try:
                found[candidate] = metadata.version(candidate)
                break
            except metadata.PackageNotFoundError:
                continue
    return found


def _normal_form(path: Path) -> str:
    tree = ast.parse(path.read_bytes())
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if (
            isinstance(body, list)
            and body
            and isinstance(body[0], ast.Expr)
            and isinstance(body[0].value, ast.Constant)
        ):
            del body[0]
    return ast.dump(tree)


def _prefixed(params: Mapping[str, Any], member: str) -> dict[str, Any]:
    start = f"{member}__"
    return {name.removeprefix(start): value for name, value in params.items() if name.startswith(start)}
