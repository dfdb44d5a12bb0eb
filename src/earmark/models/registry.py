"""Estimators by name; the module of an estimator is imported when it is asked for, not before."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import MissingExtraError, RunError
from earmark.models.constraints import canonical

if TYPE_CHECKING:
    from earmark.models.estimator import Estimator

__all__ = ["ALIASES", "ESTIMATORS", "canonical_name", "estimator_class", "load_estimator", "make"]

ESTIMATORS: dict[str, tuple[str, str]] = {
    "xgboost": ("earmark.models.xgboost", "XGBoost"),
    "neural_network": ("earmark.models.neural", "NeuralNetwork"),
    "ensemble": ("earmark.models.ensemble", "Ensemble"),
    "random_forest": ("earmark.models.forest", "RandomForest"),
    "logistic": ("earmark.models.linear", "Logistic"),
    "ordinal": ("earmark.models.linear", "Ordinal"),
    "residual_mlp": ("earmark.models.column_networks", "ResidualMLP"),
    "ft_transformer": ("earmark.models.column_networks", "FTTransformer"),
    "hybrid": ("earmark.models.column_networks", "Hybrid"),
}
"""Name -> module and class."""

_MADE: dict[str, tuple[str, str]] = {"blended": ("earmark.models.blended", "Blended")}
"""The same for estimators that are made of fitted ones: they can be loaded, not asked for."""

ALIASES: dict[str, str] = {
    "xgb": "xgboost",
    "neural": "neural_network",
    "nn": "neural_network",
    "randomforest": "random_forest",
    "rf": "random_forest",
    "mlp": "residual_mlp",
    "ftt": "ft_transformer",
}


def canonical_name(name: str) -> str:
    """The registered name behind a name or alias; raises as `canonical`."""
    return canonical(name, ESTIMATORS, ALIASES, "estimator")


def estimator_class(name: str) -> type[Estimator]:
    """The class registered under `name` (or an alias of it)."""
    module, attribute = _MADE.get(name) or ESTIMATORS[canonical_name(name)]
    found: type[Estimator] = getattr(importlib.import_module(module), attribute)
    return found


def make(name: str, **params: Any) -> Estimator:
    """A new, unfitted estimator.

    Parameters
    ----------
    name : str
        A key of `ESTIMATORS` or of `ALIASES`.
    **params
        Parameters of that estimator; those not given take their defaults.

    Raises
    ------
    UsageError
        For an unknown name or parameter, or a value that breaks its constraint; all problems in one message.
    MissingExtraError
        If fitting it needs a package that is not installed.

    Examples
    --------
    >>> make("logistic", strength=2.0).get_params()["strength"]
    2.0
    """
    found = estimator_class(name)(**params)
    for package, extra in found.needs:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, extra, f"Training `{canonical_name(name)}`")
    return found


def load_estimator(folder: str | Path) -> Estimator:
    """The estimator that was saved in `folder`, of whichever kind.

    Raises
    ------
    RunError
        If the folder holds no readable ``estimator.json``.
    """
    path = Path(folder) / "estimator.json"
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["name"]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"`{path}` cannot be read ({error}); a saved estimator has one. Train again, or name "
            "another folder."
        ) from error
    return estimator_class(name).load(folder)
