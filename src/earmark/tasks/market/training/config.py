"""`TrainConfig`: every setting of a training of `market`, declared once.

The command's flags, `--set`, config files, the HTTP fields of `POST /train` and the page all read this declaration:
name, default, range and help. A setting works or is refused; none is read and forgotten.

Which settings were given matters beside their values: a preset's learning rate for networks is not meant for trees, one
that was given is. So `train_config` keeps the names that were given as ``model_fields_set``, and a recorded
configuration is its preset plus those.

Conventions: names are those of the HTTP fields; durations have their unit in the name; shares are fractions.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from earmark.errors import UsageError
from earmark.models.constraints import closest
from earmark.tasks.market.training.presets import PRESETS

__all__ = ["BALANCING_SWITCHES", "TrainConfig", "describe_fields", "train_config", "without_password"]

BALANCING_SWITCHES = ("use_class_weights", "use_oversampling", "use_undersampling")
"""At most one is on; switching one on switches off those that were on by default."""

OptionalDate = str | None


def _text_list(value: object) -> object:
    """Read ``"A, b"`` as ``("A", "B")``."""
    parts = value.split(",") if isinstance(value, str) else value
    if isinstance(parts, list | tuple):
        return tuple(str(part).strip().upper() for part in parts if str(part).strip())
    return value


class TrainConfig(BaseModel):
    """All settings of a training; make one by `train_config`."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    preset: str | None = Field(default=None, description="Set of defaults: " + ", ".join(PRESETS) + ".")

    model_name: str = Field(default="hybrid_cnn_lstm", description="Model, by its registered name.")
    epochs: int = Field(default=150, ge=1, le=500, description="Epochs at most.")
    batch_size: int = Field(default=128, ge=8, le=512, description="Windows per batch.")
    learning_rate: float = Field(default=5e-5, gt=0, le=1, description="Largest step size of AdamW.")
    weight_decay: float = Field(default=0.01, ge=0, le=1, description="Decoupled shrinkage of the weights.")
    early_stopping_patience: int = Field(
        default=20, ge=0, le=100, description="Epochs without a better validation loss; 0: off."
    )
    lr_scheduler: Literal["cosine_warm_restarts", "constant"] = Field(
        default="cosine_warm_restarts", description="Course of the learning rate."
    )
    scheduler_T_0: int = Field(default=10, ge=1, le=500, description="Epochs of the first cosine.")  # noqa: N815
    scheduler_T_mult: int = Field(default=2, ge=1, le=10, description="Length of each cosine over the last.")  # noqa: N815
    dropout: float = Field(default=0.4, ge=0, le=0.9, description="Share of units silenced in training.")
    label_smoothing: float = Field(
        default=0.1, ge=0, le=0.5, description="Share of the target for all classes."
    )
    use_augmentation: bool = Field(default=True, description="Add noise and mix windows in training.")
    gaussian_noise_std: float = Field(
        default=0.01, ge=0, le=0.1, description="Standard deviation of the noise, where augmentation is on."
    )
    use_focal_loss: bool = Field(default=True, description="Focal loss in place of cross-entropy.")
    focal_gamma: float = Field(default=1.5, ge=0, le=10, description="How much easy windows count less.")

    use_class_weights: bool = Field(default=False, description="Weigh rare classes more.")
    class_weight_method: Literal["balanced", "inverse", "effective"] = Field(
        default="balanced", description="How class weights follow from counts."
    )
    use_oversampling: bool = Field(default=True, description="Draw rare classes more often.")
    oversample_method: Literal["random", "smote"] = Field(
        default="random", description="Repeat windows, or mix neighbours."
    )
    oversample_ratio: float = Field(
        default=1.0, gt=0, le=1, description="Rare classes' size against the largest after resampling."
    )
    use_undersampling: bool = Field(default=False, description="Draw common classes less often.")

    use_purging: bool = Field(
        default=True, description="Leave out training windows that reach over a border."
    )
    use_embargo: bool = Field(default=True, description="Leave out what follows a border.")
    embargo_pct: float = Field(default=0.02, ge=0, le=0.1, description="Embargo as a share of the span.")
    use_rolling_normalization: bool = Field(
        default=False, description="Scale by trailing rows of the symbol."
    )
    rolling_window_size: int = Field(default=500, ge=100, le=2000, description="Rows of that scaling.")

    data_source: Literal["feature_store", "legacy"] = Field(
        default="feature_store", description="Where rows are; legacy files are migrated first."
    )
    data_path: str | None = Field(
        default=None,
        min_length=1,
        description="Folder of the legacy files, within the project or allowed folders.",
    )
    use_fallback: bool = Field(
        default=True, description="Take legacy files where the feature store has no rows."
    )
    symbols: tuple[str, ...] = Field(default=(), description="Contracts with commas between; all by default.")
    days: float | None = Field(default=None, gt=0, description="Only the newest so many days.")
    start_date: OptionalDate = Field(default=None, description="First UTC day or ISO time.")
    end_date: OptionalDate = Field(default=None, description="Last UTC day or ISO time, included.")
    horizon_s: int | None = Field(
        default=None, ge=1, description="Seconds ahead of the label; 60, of triple_barrier its time limit."
    )
    sequence_length: int = Field(default=60, ge=1, le=1000, description="Rows of a window.")
    view: Literal["v1_110", "v1_112", "v1_187", "v2", "levels"] | None = Field(
        default=None,
        description="Columns that the model is given; default levels for models of order books, else v1_112, or v1_110 "
        "where the rows have no more.",
    )
    missing: Literal["drop", "zero", "median"] = Field(
        default="drop", description="What becomes of windows with missing values."
    )
    feature_group: str | None = Field(
        default=None, min_length=1, description="Group of the feature store; default that of the settings."
    )
    allow_mixed_origin: bool = Field(default=False, description="Mix rows of different origins.")

    label_set: str | None = Field(
        default=None, min_length=1, description="Id of a label set, in place of a labelling method."
    )
    labeling_method: Literal["fixed_threshold", "triple_barrier"] = Field(
        default="fixed_threshold", description="Rule of the labels."
    )
    tb_tp_multiplier: float = Field(default=1.5, ge=0.5, le=5, description="Upper barrier in ATR.")
    tb_sl_multiplier: float = Field(default=1.0, ge=0.5, le=5, description="Lower barrier in ATR.")
    tb_max_holding_period: int = Field(default=24, ge=6, le=100, description="Time limit in minutes.")

    use_cpcv: bool = Field(default=False, description="Also train on combinatorial purged splits.")
    cpcv_n_splits: int = Field(default=6, ge=3, le=12, description="Groups of those splits.")
    cpcv_n_test_splits: int = Field(default=2, ge=1, le=4, description="Groups that a split tests.")
    calculate_pbo: bool = Field(default=False, description="Estimate the probability of overfitting.")

    export_onnx: bool = Field(default=True, description="Write the model as ONNX, too.")
    int8: bool = Field(default=False, description="Write it with 8-bit weights, too.")
    auto_promote: bool = Field(default=True, description="Promote the run where it passes the gate.")
    min_accuracy: float = Field(default=0.80, ge=0, le=1, description="Accuracy that the gate asks for.")
    seed: int = Field(default=42, ge=0, le=2**31 - 1, description="Seed of everything that is drawn.")
    mlflow_uri: str | None = Field(
        default=None, min_length=1, description="Where MLflow tracks; default: nowhere."
    )

    ml_model_config: dict[str, Any] = Field(
        default_factory=dict, description="Parameters of the model's size, or its `preset`."
    )
    trainer_config: dict[str, Any] = Field(
        default_factory=dict, description="Further parameters of the trainer."
    )
    data_config: dict[str, Any] = Field(default_factory=dict, description="Further parameters of the data.")

    _symbols = field_validator("symbols", mode="before")(_text_list)

    @field_validator("model_name")
    @classmethod
    def _known_model(cls, name: str) -> str:
        from earmark.models.sequence.registry import canonical_name

        return canonical_name(name)

    @property
    def horizon(self) -> int:
        """Seconds ahead of the label, in force."""
        if self.horizon_s is not None:
            return self.horizon_s
        return 60 * self.tb_max_holding_period if self.labeling_method == "triple_barrier" else 60

    @property
    def given(self) -> frozenset[str]:
        """Names of the settings that were given, not taken from the preset or the defaults."""
        return frozenset(self.model_fields_set - {"preset"})

    @property
    def changed(self) -> frozenset[str]:
        """Those of them whose value is not that of the preset or default: a form sends all of its fields."""
        defaults = dict(_declared_defaults())
        defaults |= PRESETS[self.preset] if self.preset is not None else {}
        return frozenset(name for name in self.given if getattr(self, name) != defaults[name])

    def record(self) -> dict[str, Any]:
        """All settings in force, as plain values: what a run keeps, which is no place for a password."""
        found = self.model_dump(mode="json")
        return found | {"mlflow_uri": None if self.mlflow_uri is None else without_password(self.mlflow_uri)}

    def given_record(self) -> dict[str, Any]:
        """Preset and given settings: `train_config` of them is this configuration again."""
        names = {"preset"} | set(self.given)
        return self.model_dump(mode="json", include=names)


def train_config(*layers: Mapping[str, Any]) -> TrainConfig:
    """The configuration of layers of settings, from the weakest to the strongest.

    Parameters
    ----------
    *layers : mapping
        Names and values, e.g. of a file, of ``--set`` and of flags. `preset` may stand in any of them. Values may be
        text, as of a command line. Free-form settings (``trainer_config.clip_norm``) may be dotted.

    Raises
    ------
    UsageError
        Unknown names with the likely ones, values out of range, two ways of balancing in one layer, and settings that
        contradict each other or do not apply to the model.
    """
    from earmark.tasks.market.training.recipe import series_recipe

    given: dict[str, Any] = {}
    switched: dict[str, bool] = {}
    for layer in layers:
        nested = _nested(layer)
        switched = _switched(switched, nested)
        given = _merged(given, nested) | switched
    preset = given.get("preset")
    if preset is not None and preset not in PRESETS:
        raise UsageError(
            f"There is no preset `{preset}`{closest(str(preset), PRESETS)}. Choose one of: {', '.join(PRESETS)}."
        )
    defaults = _merged({}, PRESETS[preset]) if preset is not None else {}
    if any(switched.values()):
        defaults |= dict.fromkeys(BALANCING_SWITCHES, False)
    try:
        checked = TrainConfig(**_merged(defaults, given))
    except ValidationError as error:
        raise UsageError(_problems(error)) from None
    values = {name: getattr(checked, name) for name in TrainConfig.model_fields}
    if "sequence_length" not in given:
        values |= _window_of_size(checked)
    config = TrainConfig.model_construct(_fields_set=set(given), **values)
    _check_together(config)
    series_recipe(config)
    return config


def _window_of_size(config: TrainConfig) -> dict[str, int]:
    """The length of window that a size of a model is made for."""
    from earmark.models.sequence.registry import model_class

    windows = getattr(model_class(config.model_name), "preset_windows", {})
    size = str(config.ml_model_config.get("preset"))
    return {"sequence_length": windows[size]} if size in windows else {}


def describe_fields() -> list[dict[str, Any]]:
    """Name, kind, default, default of the page, limits, choices and help of every setting."""
    page = PRESETS["page"]
    rows = []
    for name, field in TrainConfig.model_fields.items():
        default = field.get_default(call_default_factory=True)
        limits = {
            bound: getattr(item, bound)
            for item in field.metadata
            for bound in ("ge", "gt", "le", "lt")
            if hasattr(item, bound)
        }
        choices = _choices(field.annotation)
        rows.append(
            {
                "name": name,
                "default": default,
                "page": page.get(name, default),
                "limits": limits,
                "choices": choices,
                "help": field.description,
            }
        )
    return rows


@cache
def _declared_defaults() -> Mapping[str, Any]:
    return {row["name"]: row["default"] for row in describe_fields()}


def _choices(annotation: Any) -> list[str] | None:
    """The values of a choice, also of one that may be left open."""
    kinds = (annotation, *get_args(annotation))
    return next((list(get_args(kind)) for kind in kinds if get_origin(kind) is Literal), None)


def without_password(uri: str) -> str:
    """``postgresql://user:secret@host/db`` -> ``postgresql://...@host/db``."""
    head, separator, tail = uri.rpartition("@")
    return f"{head.partition('://')[0]}://...{separator}{tail}" if separator else uri


def _nested(layer: Mapping[str, Any]) -> dict[str, Any]:
    """``{"trainer_config.clip_norm": 2}`` as ``{"trainer_config": {"clip_norm": 2}}``."""
    found: dict[str, Any] = {}
    for name, value in layer.items():
        head, _, rest = name.partition(".")
        found = _merged(found, {head: {rest: value}} if rest else {head: value})
    return found


def _merged(lower: Mapping[str, Any], upper: Mapping[str, Any]) -> dict[str, Any]:
    """`upper` over `lower`; tables are merged key by key."""
    found = {name: dict(value) if isinstance(value, Mapping) else value for name, value in lower.items()}
    for name, value in upper.items():
        both = isinstance(value, Mapping) and isinstance(found.get(name), Mapping)
        found[name] = {**found[name], **value} if both else value
    return found


def _switched(before: Mapping[str, bool], layer: Mapping[str, Any]) -> dict[str, bool]:
    """The balancing switches after a layer: one that it switches on stands alone."""
    own = {name: layer[name] for name in BALANCING_SWITCHES if name in layer}
    on = [name for name, value in own.items() if str(value).lower() in ("true", "1", "yes", "on")]
    if len(on) > 1:
        raise UsageError(
            f"{' and '.join(on)} are both on; expected one way of balancing at a time. Switch one of them off."
        )
    return dict.fromkeys(BALANCING_SWITCHES, False) | own if on else {**before, **own}


def _check_together(config: TrainConfig) -> None:
    rules = (*_conflicts_of_rows(config), *_conflicts_of_labels(config), *_conflicts_of_the_model(config))
    problems = [sentence for is_broken, sentence in rules if is_broken]
    if problems:
        raise UsageError(
            f"The training configuration contradicts itself: {'; '.join(problems)}. Change one of each."
        )


def _conflicts_of_rows(config: TrainConfig) -> tuple[tuple[bool, str], ...]:
    """Whether two settings contradict each other, and what to say then."""
    from earmark.models.sequence.registry import model_class
    from earmark.tasks.market.level_series import LEVELS_VIEW
    from earmark.tasks.market.training.recipe import view_of

    legacy, view = config.data_source == "legacy", view_of(config)
    return (
        (
            config.days is not None and config.start_date is not None,
            "days and start_date both say where rows begin",
        ),
        (
            config.data_path is not None and not legacy,
            "data_path names a folder of legacy files, and data_source is not legacy",
        ),
        (
            view != LEVELS_VIEW and model_class(config.model_name).reads_levels,
            f"model {config.model_name} reads the view {LEVELS_VIEW}, and view={view} has no levels",
        ),
        (
            "every" in config.data_config and view != LEVELS_VIEW,
            f"data_config.every is the distance of rows of view={LEVELS_VIEW}",
        ),
        (view == LEVELS_VIEW and legacy, f"legacy files have no view={LEVELS_VIEW}"),
        ("embargo_pct" in config.changed and not config.use_embargo, "embargo_pct needs use_embargo"),
    )


def _conflicts_of_labels(config: TrainConfig) -> tuple[tuple[bool, str], ...]:
    changed, triple = config.changed, config.labeling_method == "triple_barrier"
    barriers = sorted(name for name in changed if name.startswith("tb_"))
    return (
        (
            triple and config.horizon_s is not None and "tb_max_holding_period" in changed,
            "horizon_s and tb_max_holding_period both set the time limit of the barriers",
        ),
        (bool(barriers) and not triple, f"{', '.join(barriers)} need labeling_method=triple_barrier"),
        (
            config.label_set is not None and "labeling_method" in changed,
            "label_set and labeling_method both choose the labels",
        ),
    )


def _conflicts_of_the_model(config: TrainConfig) -> tuple[tuple[bool, str], ...]:
    rolling = config.use_rolling_normalization
    return (
        (
            "rolling_window_size" in config.changed and not rolling,
            "rolling_window_size needs use_rolling_normalization",
        ),
        (
            rolling and config.missing != "drop",
            f"use_rolling_normalization leaves first rows without values, and missing={config.missing} makes them up",
        ),
        (
            config.cpcv_n_test_splits >= config.cpcv_n_splits,
            f"cpcv_n_test_splits is {config.cpcv_n_test_splits}, expected fewer than cpcv_n_splits, "
            f"{config.cpcv_n_splits}",
        ),
        (config.int8 and not config.export_onnx, "int8 is a form of the ONNX file, and export_onnx is off"),
    )


def _problems(error: ValidationError) -> str:
    """All of pydantic's findings in one sentence, unknown names with the likely ones."""
    found = []
    for one in error.errors():
        name = ".".join(map(str, one["loc"]))
        if one["type"] == "extra_forbidden":
            found.append(f"there is no setting `{name}`{closest(name, TrainConfig.model_fields)}")
        else:
            what = one["msg"][0].lower() + one["msg"][1:]
            found.append(f"`{name}` is {one['input']!r}: {what}")
    return f"The training configuration: {'; '.join(found)}. All settings: earmark train market --settings"
