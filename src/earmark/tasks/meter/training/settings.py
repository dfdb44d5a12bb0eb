"""Settings of a training of meters in the words of its command line, as the parameters of estimators."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.errors import UsageError
from earmark.models.registry import canonical_name, estimator_class
from earmark.tasks.meter.training.token_plans import TOKEN_PLANS

if TYPE_CHECKING:
    from earmark.tasks.project import Project

__all__ = [
    "FOCAL_GAMMA",
    "MODELS",
    "NAMED",
    "NETWORKS",
    "PARAMETER_OF",
    "NamedModel",
    "chosen_view",
    "estimator_parameters",
    "model_algorithm",
    "named_model",
    "seed_of",
    "seed_summary",
]

MODELS: Mapping[str, str] = {
    "boosting": "xgboost",
    "mlp": "residual_mlp",
    "ftt": "ft_transformer",
    "hybrid": "hybrid",
    "ensemble": "ensemble",
    "forest": "random_forest",
    "logistic": "logistic",
}
"""Model -> estimator; ``boosting`` needs no torch."""


@dataclass(frozen=True)
class NamedModel:
    """A model that belongs to one feature set, and its parameters where the command line gives no other."""

    algorithm: str
    view: str
    parameters: Mapping[str, Any]


NAMED: Mapping[str, NamedModel] = {
    "onset": NamedModel("residual_mlp", "a1449", {"focal_gamma": 2.0}),
    "fusion": NamedModel(
        "residual_mlp",
        "fusion72",
        # 72 -> 64 -> 64 -> 32 -> 6, and one cosine over all epochs.
        {
            "hidden": 64,
            "n_blocks": 0,
            "learning_rate": 1e-3,
            "weight_decay": 1e-4,
            "early_stopping_epochs": 30,
            "restart_epochs": 200,
        },
    ),
}
"""``onset`` is what ``fusion`` builds on; see `earmark.tasks.meter.onset_runs`."""

NETWORKS = ("residual_mlp", "ft_transformer", "hybrid")
"""They learn soft targets, and need torch."""

ENSEMBLE_MEMBERS = NETWORKS[:2]

FOCAL_GAMMA = 2.0
"""Of ``--focal``."""

PARAMETER_OF: Mapping[str, str] = {
    "lr": "learning_rate",
    "batch_size": "batch_size",
    "epochs": "epochs",
    "hidden": "hidden",
    "n_blocks": "n_blocks",
    "dropout_scale": "dropout_scale",
    "aug_mode": "mix",
    "n_heads": "n_heads",
    "balance": "balance",
    "block_dropout": "block_dropout",
}
"""Option -> parameter of the estimators that have it."""


def model_algorithm(model: str) -> str:
    """The estimator behind a model's short name, or behind its own."""
    named = named_model(model)
    return named.algorithm if named else MODELS.get(model.strip().lower()) or canonical_name(model)


def named_model(model: str) -> NamedModel | None:
    """One of `NAMED`; None for a model of any features."""
    return NAMED.get(model.strip().lower())


def estimator_parameters(algorithm: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of an estimator for options that were given; None counts as not given.

    Besides `PARAMETER_OF`: ``focal`` (bool), ``token_split`` (a key of `TOKEN_PLANS`), ``n_tokens`` (of ``uniform``),
    ``metric`` (``val_accuracy`` or ``val_balanced``: what chooses the epoch).

    Raises
    ------
    UsageError
        The estimator has no parameter for an option; all such options in one message.
    """
    wanted = {
        PARAMETER_OF[name]: value
        for name, value in given.items()
        if name in PARAMETER_OF and value is not None
    }
    if given.get("focal"):
        wanted["focal_gamma"] = FOCAL_GAMMA
    if given.get("token_split") is not None or given.get("n_tokens") is not None:
        wanted["blocks"] = _plan(given.get("token_split") or "uniform", given.get("n_tokens"))
    if given.get("metric") is not None:
        wanted["select_by"] = "accuracy" if given["metric"] == "val_accuracy" else "balanced_accuracy"
    if algorithm == "ensemble":
        return _of_members(wanted)
    known = estimator_class(algorithm).parameters
    foreign = [name for name in wanted if name not in known]
    if foreign:
        raise UsageError(
            f"Model {algorithm} has no {', '.join(foreign)}; it has {', '.join(known)}. Leave the option out, or "
            "choose another --model."
        )
    if "blocks" in known and "blocks" not in wanted:
        wanted["blocks"] = TOKEN_PLANS["v4"]
    return wanted


def _plan(name: str, n_tokens: int | None) -> Any:
    if name not in TOKEN_PLANS:
        raise UsageError(f"There is no token plan {name!r}; expected one of {', '.join(TOKEN_PLANS)}.")
    if n_tokens is not None and name != "uniform":
        raise UsageError(
            f"--n-tokens {n_tokens} is of --token-split uniform; {name} has its own number. Drop one."
        )
    return n_tokens or TOKEN_PLANS[name]


def _of_members(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Parameters of an ensemble of the networks: each member takes what it knows."""
    found: dict[str, Any] = {"members": list(ENSEMBLE_MEMBERS)}
    for member in ENSEMBLE_MEMBERS:
        known = estimator_class(member).parameters
        own = {
            "blocks": TOKEN_PLANS["v4"],
            **{name: value for name, value in wanted.items() if name in known},
        }
        found |= {f"{member}__{name}": value for name, value in own.items()}
    unused = [
        name for name in wanted if not any(name in estimator_class(m).parameters for m in ENSEMBLE_MEMBERS)
    ]
    if unused:
        raise UsageError(f"No member of the ensemble has {', '.join(unused)}. Leave the option out.")
    return found


def chosen_view(
    project: Project,
    view: str | None,
    *,
    no_mert: bool = False,
    mert_only: bool = False,
    no_beats: bool = False,
) -> str | None:
    """The feature set that the options name; None for the project's own choice.

    Raises
    ------
    UsageError
        Two options that name different ones.
    """
    asked = {
        "--features": view,
        "--mert-only": "mert1536" if mert_only else None,
        "--no-mert": "a1449" if no_mert else None,
        "--no-beat-features": "a1449" if no_beats else None,
    }
    named = {option: name for option, name in asked.items() if name}
    if len(set(named.values())) > 1:
        raise UsageError(f"{', '.join(named)} name different features. Give one of them.")
    if not named:
        return None
    chosen = next(iter(named.values()))
    if chosen == NAMED["fusion"].view and chosen not in project.task.feature_sets:
        raise UsageError(
            f"`{chosen}` needs an onset model, and the project has none; expected a run of it. "
            "Train one: earmark train meter --model onset"
        )
    return project.task.features(chosen).name


def seed_of(algorithm: str, seed: int) -> dict[str, int]:
    """The parameter that sets an estimator's seed; none where nothing is drawn, so that all seeds give one run."""
    return {"seed": seed} if "seed" in estimator_class(algorithm).parameters else {}


def seed_summary(scores: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation over seeds (0 for one)."""
    return float(np.mean(scores)), float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
