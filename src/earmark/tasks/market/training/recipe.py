"""What a configuration asks of the model: its parameters, its scaling, and the key that names a training.

A setting reaches the model under the model's own name for it (`SETTING_OF`). Settings that a model does not have are
refused where they were changed, and left alone where they are a default. Trees and other models take from a preset
nothing that was meant for networks: only what was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from earmark.errors import UsageError
from earmark.models.constraints import Choice, Interval, Parameter, check_parameters, closest
from earmark.models.sequence.classifier import Scaling, SequenceClassifier
from earmark.models.sequence.neural import TRAINER_PARAMETERS, NetworkEstimator
from earmark.models.sequence.registry import model_class
from earmark.tasks.market.level_series import LEVELS_VIEW

if TYPE_CHECKING:
    from earmark.tasks.market.training.config import TrainConfig

__all__ = ["DATA_PARAMETERS", "SeriesRecipe", "data_setting", "series_recipe", "view_of"]

NETWORK_SETTINGS: Mapping[str, str] = {
    "epochs": "epochs",
    "batch_size": "batch_size",
    "learning_rate": "learning_rate",
    "weight_decay": "weight_decay",
    "early_stopping_patience": "early_stopping_epochs",
    "lr_scheduler": "schedule",
    "scheduler_T_0": "restart_epochs",
    "scheduler_T_mult": "restart_factor",
    "dropout": "dropout",
    "label_smoothing": "label_smoothing",
    "gaussian_noise_std": "noise",
    "focal_gamma": "focal_gamma",
}
"""Setting -> parameter of a network."""

OTHER_SETTINGS: Mapping[str, tuple[str, ...]] = {
    "epochs": ("n_trees",),
    "early_stopping_patience": ("early_stopping_rounds",),
    "learning_rate": ("learning_rate",),
}
"""Setting -> parameters of other models, of which each has at most one."""

NETWORK_SWITCHES = ("use_focal_loss", "use_augmentation")

DATA_PARAMETERS: Mapping[str, Parameter] = {
    "stride": Parameter(1, Interval(int, 1, 10_000), "rows from window to window"),
    "every": Parameter(1, Interval(int, 1, 10_000), "steps of 3 s from row to row of the view levels"),
    "coding": Parameter("-1/0/1", Choice(("-1/0/1", "0/1/2")), "how legacy files write directions"),
    "holdout_days": Parameter(30.0, Interval(float, 0, open_low=True), "newest days to seal"),
    "scaling": Parameter("pooled", Choice(("pooled", "per_symbol", "none")), "how columns are scaled"),
    "rolling_statistic": Parameter("median", Choice(("median", "mean")), "centre of the rolling form"),
}


@dataclass(frozen=True)
class SeriesRecipe:
    """A model with all that decides its numbers, but for the data.

    Attributes
    ----------
    algorithm : str
    size : str or None
        Preset of the model, e.g. ``large``.
    params : dict
        Parameters that differ from those of the size.
    scaling : Scaling
    """

    algorithm: str
    size: str | None
    params: Mapping[str, Any]
    scaling: Scaling

    def make(self, classes: tuple[str, ...], schema: str = "") -> SequenceClassifier:
        """A new, unfitted classifier."""
        return SequenceClassifier.make(
            self.algorithm,
            classes=classes,
            scaling=self.scaling,
            schema=schema,
            preset=self.size,
            **self.params,
        )

    def settings(self) -> dict[str, Any]:
        """Everything, defaults spelled out."""
        found = model_class(self.algorithm)
        size = {} if self.size is None else dict(found.presets[self.size])
        defaults = {name: spec.default for name, spec in found.parameters.items()}
        return {
            "algorithm": self.algorithm,
            "params": defaults | size | dict(self.params),
            "scaling": asdict(self.scaling),
        }


def series_recipe(config: TrainConfig) -> SeriesRecipe:
    """What `config` asks of its model.

    Raises
    ------
    UsageError
        A setting was changed that the model does not have, or a free-form one is unknown or out of range.
    """
    found = model_class(config.model_name)
    size = config.ml_model_config.get("preset")
    if size is not None and size not in found.presets:
        raise UsageError(
            f"Model `{found.name}` has no size `{size}`{closest(str(size), found.presets)}. Choose one of: "
            f"{', '.join(found.presets) or 'none, it has no sizes'}."
        )
    is_network = issubclass(found, NetworkEstimator)
    params = _network_params(config) if is_network else _other_params(config, found.parameters)
    if "seed" in found.parameters:
        params["seed"] = config.seed
    params |= _balance(config, found.parameters)
    params |= _free_form(config, found.name, found.parameters, set(params))
    check_parameters(f"Model `{found.name}`", found.parameters, params)
    check_parameters("data_config", DATA_PARAMETERS, config.data_config)
    return SeriesRecipe(found.name, size, params, _scaling(config))


def view_of(config: TrainConfig) -> str | None:
    """The view that was asked for, or that the model needs; None leaves the choice to what is stored."""
    needed = LEVELS_VIEW if model_class(config.model_name).reads_levels else None
    return config.view or needed


def data_setting(config: TrainConfig, name: str) -> Any:
    """A free-form setting of the data, or its default."""
    return config.data_config.get(name, DATA_PARAMETERS[name].default)


def _network_params(config: TrainConfig) -> dict[str, Any]:
    params = {theirs: getattr(config, ours) for ours, theirs in NETWORK_SETTINGS.items()}
    loss = "focal" if config.use_focal_loss else "ce"
    params["loss"] = f"{loss}_smoothing" if config.label_smoothing > 0 else loss
    if not config.use_augmentation:
        params |= {"noise": 0.0, "mixup_probability": 0.0}
    unused = [
        f"{setting} needs {switch}"
        for setting, switch in (("focal_gamma", "use_focal_loss"), ("gaussian_noise_std", "use_augmentation"))
        if setting in config.changed and not getattr(config, switch)
    ]
    if unused:
        raise UsageError(f"{'; '.join(unused)}, which is off. Switch it on, or leave the setting out.")
    return params


def _other_params(config: TrainConfig, declared: Mapping[str, Parameter]) -> dict[str, Any]:
    params, without = {}, []
    for ours in (*NETWORK_SETTINGS, *NETWORK_SWITCHES):
        theirs = next((name for name in OTHER_SETTINGS.get(ours, ()) if name in declared), None)
        if theirs is not None and ours in config.given:
            params[theirs] = getattr(config, ours)
        elif theirs is None and ours in config.changed:
            without.append(ours)
    if without:
        raise UsageError(
            f"Model `{config.model_name}` has no {', '.join(without)}; networks have. Leave the setting out, or choose "
            f"another model. Its own parameters go to ml_model_config: {', '.join(sorted(declared)) or 'none'}."
        )
    return params


def _balance(config: TrainConfig, declared: Mapping[str, Parameter]) -> dict[str, Any]:
    """The one way of balancing, under the model's names; models without any are told apart from those that have."""
    switches = ("use_class_weights", "use_oversampling", "use_undersampling")
    if "balance" not in declared:
        asked = [
            name
            for name in (*switches, "oversample_ratio")
            if name in config.changed and getattr(config, name)
        ]
        if asked:
            raise UsageError(
                f"Model `{config.model_name}` balances nothing, and {asked[0]} was given. Leave it out."
            )
        return {}
    method = "none"
    if config.use_class_weights:
        method = config.class_weight_method
    elif config.use_oversampling:
        method = "smote" if config.oversample_method == "smote" else "oversample"
    elif config.use_undersampling:
        method = "undersample"
    resampled = method in ("smote", "oversample", "undersample")
    needs = (
        ("class_weight_method", config.use_class_weights, "use_class_weights"),
        ("oversample_method", config.use_oversampling, "use_oversampling"),
        ("oversample_ratio", resampled, "use_oversampling or use_undersampling"),
    )
    unused = [
        f"{name} needs {switch}" for name, is_on, switch in needs if name in config.changed and not is_on
    ]
    if unused:
        raise UsageError(f"{'; '.join(unused)}, which is off. Switch it on, or leave the setting out.")
    return {"balance": method} | ({"balance_ratio": config.oversample_ratio} if resampled else {})


def _free_form(
    config: TrainConfig, model: str, declared: Mapping[str, Parameter], taken: set[str]
) -> dict[str, Any]:
    """Parameters of ``ml_model_config`` and ``trainer_config``; those that have a setting of their own are refused."""
    of_trainer = set(declared) & set(TRAINER_PARAMETERS)
    own_loss = {"loss"} if config.trainer_config.get("loss") == "asymmetric" else set()
    chosen: dict[str, Any] = {}
    for field, allowed in (
        ("ml_model_config", set(declared) - of_trainer - taken | {"preset"}),
        ("trainer_config", of_trainer - taken | own_loss),
    ):
        for name, value in getattr(config, field).items():
            if name not in allowed:
                owner = (
                    " has a setting of its own" if name in taken else f" is unknown{closest(name, allowed)}"
                )
                raise UsageError(
                    f"{field}: `{name}`{owner}; model `{model}` takes {', '.join(sorted(allowed)) or 'nothing'} there."
                )
            if name != "preset":
                chosen[name] = tuple(value) if isinstance(value, list) else value
    return chosen


def _scaling(config: TrainConfig) -> Scaling:
    form = "rolling" if config.use_rolling_normalization else data_setting(config, "scaling")
    return Scaling(
        form=form,
        missing=config.missing,
        rolling_window=config.rolling_window_size,
        rolling_statistic=data_setting(config, "rolling_statistic"),
    )
