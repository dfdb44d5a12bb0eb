"""Sequence models by name; the module of a model is imported when it is asked for, not before."""

from __future__ import annotations

import importlib
import importlib.util
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.errors import MissingExtraError, RunError, UsageError
from earmark.models.constraints import canonical, closest

if TYPE_CHECKING:
    from earmark.models.sequence.base import SequenceEstimator

__all__ = ["ALIASES", "SEQUENCE_MODELS", "canonical_name", "load", "make", "model_class"]

SEQUENCE_MODELS: dict[str, tuple[str, str]] = {
    "majority": ("baselines", "Majority"),
    "last_direction": ("baselines", "LastDirection"),
    "logistic": ("linear", "WindowLogistic"),
    "gbm": ("trees", "WindowTrees"),
    "hybrid_cnn_lstm": ("neural", "HybridCnnLstm"),
    "mpd": ("neural", "MultiPatch"),
    "tlob": ("neural", "Tlob"),
    "deeplob": ("neural", "DeepLob"),
}
"""Name -> module of this package and class."""

ALIASES: dict[str, str] = {
    "cnn_lstm": "hybrid_cnn_lstm",
    "xgboost": "gbm",
    "xgb": "gbm",
    "vit": "mpd",
}


def canonical_name(name: str) -> str:
    """The registered name behind a name or alias; raises as `canonical`."""
    return canonical(name, SEQUENCE_MODELS, ALIASES, "sequence model")


def model_class(name: str) -> type[SequenceEstimator]:
    """The class registered under `name` (or an alias of it)."""
    module, attribute = SEQUENCE_MODELS[canonical_name(name)]
    found: type[SequenceEstimator] = getattr(importlib.import_module(f"{__package__}.{module}"), attribute)
    return found


def make(name: str, *, preset: str | None = None, **params: Any) -> SequenceEstimator:
    """A new, unfitted model.

    Parameters
    ----------
    name : str
        A key of `SEQUENCE_MODELS` or of `ALIASES`.
    preset : str, optional
        A size of that model, e.g. ``large``.
    **params
        Parameters; they win over the preset, and those given by neither take their defaults.

    Raises
    ------
    UsageError
        For an unknown name, preset or parameter, or a value that breaks its constraint.
    MissingExtraError
        If it needs a package that is not installed.
    """
    found = model_class(name)
    for package, extra in found.extras:
        if importlib.util.find_spec(package) is None:
            raise MissingExtraError(package, extra, f"Model `{found.name}`")
    if preset is not None and preset not in found.presets:
        raise UsageError(
            f"Model `{found.name}` has no preset `{preset}`{closest(preset, found.presets)}. Choose one of: "
            f"{', '.join(found.presets) or 'none, it has no sizes'}."
        )
    chosen = {} if preset is None else dict(found.presets[preset])
    return found(**(chosen | params))


def load(folder: str | Path) -> SequenceEstimator:
    """The model that was saved in `folder`, of whichever kind.

    Raises
    ------
    RunError
        If the folder holds no readable model.
    """
    path = Path(folder) / "sequence.json"
    try:
        name = json.loads(path.read_text(encoding="utf-8"))["name"]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"`{path}` cannot be read ({error}); a saved model has one. Train again, or name another folder."
        ) from error
    return model_class(name).load(folder)
