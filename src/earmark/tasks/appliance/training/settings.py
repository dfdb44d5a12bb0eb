"""What a training is asked for: the models by name, and every setting that decides its numbers.

Models on columns have one classifier per device. ``C`` is the usual inverse strength of the L2 penalty on one weight
vector; `earmark.models.linear` has a vector per class, so its ``strength`` is half of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from earmark.audio.augment import PRESETS, Augmentation, preset
from earmark.errors import UsageError
from earmark.models.constraints import closest
from earmark.tasks.appliance.layers import BAND_LEVEL, REL_LEVEL, RMS_DBFS
from earmark.tasks.appliance.protocols import DEFAULT_PROTOCOL, LEAKY, PROTOCOLS

__all__ = ["BASELINES", "MODELS", "Model", "TrainSettings"]


@dataclass(frozen=True)
class Model:
    """A model by its name.

    Parameters
    ----------
    features : str
        Feature set that it reads.
    columns : tuple of str
        The columns it takes of it; empty for all.
    leave_out, leave_out_hidden : tuple of str
        Patterns of columns that it does not take, for any device or for one that another device can hide.
    c : float
        Default inverse strength of the penalty, per window, or per recording if `counts_recordings`.
    counts_recordings : bool
        Whether the penalty stands against as many rows as there are recordings: windows of a steady recording are
        nearly copies of each other, and so are no evidence of their own.
    max_iterations : int
    balanced : bool
        Whether on and off count the same.
    estimator : str
        By default, a key of `ESTIMATORS`.
    is_relative : bool
        Whether it also reads each column less what the recording usually sounds like.
    trees : mapping
        Default parameters of the trees.
    network : str or None
        Name of the network that reads the rows of a window; None for models on columns.
    """

    features: str
    columns: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    leave_out_hidden: tuple[str, ...] = ()
    counts_recordings: bool = False
    c: float = 1.0
    max_iterations: int = 1000
    balanced: bool = True
    estimator: str = "logistic"
    is_relative: bool = False
    trees: Mapping[str, Any] = field(default_factory=dict)
    network: str | None = None

    @property
    def needs_floor(self) -> bool:
        """Whether ``rel_level`` is among its columns."""
        return self.network is None and (not self.columns or REL_LEVEL in self.columns)


ABSOLUTE_LEVELS = ("appliance.level.*", f"{BAND_LEVEL}*")
"""What a machine that another one hides is not told by. It adds so little to the floor that the floor of another night
looks like it; its place in the spectrum stays.
"""

SMALL_TREES = {"n_trees": 150, "max_depth": 3, "learning_rate": 0.08, "subsample": 0.7, "colsample": 0.3}
"""For few recordings: shallow, each on some of the columns, and no rounds to choose."""

MODELS: dict[str, Model] = {
    "level": Model("level", columns=(RMS_DBFS, REL_LEVEL)),
    "spectral": Model("spectral", leave_out_hidden=ABSOLUTE_LEVELS, counts_recordings=True),
    "relative": Model("spectral", c=0.06, estimator="mean", is_relative=True, trees=SMALL_TREES),
    "logmel256": Model("logmel256"),
    "g1": Model("g1", max_iterations=2000, balanced=False),
    "cnn": Model("fbank", network="cnn"),
    "beats": Model("tokens", network="attention"),
    "beats-gru": Model("tokens", network="gru"),
}

BASELINES = ("g1", "logmel256", "spectral")
"""Models that every run is printed beside, on the same windows."""

COPIES = 4
"""Altered token sets of a window that are cached for training."""

ALTERING = ("preset", "copies", "gain_db", "eq", "mix")
"""What `TrainSettings.augment` may hold."""

ESTIMATORS = {"logistic": "logistic", "trees": "xgboost", "mean": "ensemble"}
"""``--estimator`` -> registered name; ``mean`` is that of the other two."""


@dataclass(frozen=True)
class TrainSettings:
    """Everything that decides the numbers of a training; part of its key.

    Parameters
    ----------
    model : str
        A key of `MODELS`.
    protocol : str
        As in `earmark.tasks.appliance.protocols`.
    val_daypart : str or None
        The group that protocol ``single`` selects and scores on.
    estimator : {"logistic", "trees", "mean"}
        Empty for the model's.
    c : float or None
        Inverse strength of the penalty; None for the model's.
    features : str or None
        Another feature set than the model's.
    only_device : str or None
        Train this device alone.
    lengths : mapping of device to float
        Seconds at the end of a window that the device is heard in; see `earmark.tasks.appliance.lengths`.
    masked_loss : float
        What a window counts for a device that a running one masks: 0 nothing, 1 as much as any other.
    trees : mapping
        Parameters of the trees.
    network : mapping
        Settings of a network, as `earmark.models.acoustic.settings` has them.
    augment : mapping
        How training windows of a network are altered: ``preset``, one of `earmark.audio.augment.PRESETS`, and what
        replaces its ``gain_db``, ``eq`` and ``mix``; with a frozen encoder ``copies`` (4), 0 for new ones each epoch.
    from_run : str or None
        Run whose heads stage 2 starts from, so that stage 1 is not trained.
    full_state : bool
        Keep all of the encoder's weights in the run.
    protocol_settings : mapping
        Of the protocol, such as ``k`` or ``gap_s``.
    seed : int
    """

    model: str = "spectral"
    protocol: str = DEFAULT_PROTOCOL
    val_daypart: str | None = None
    estimator: str = ""
    c: float | None = None
    features: str | None = None
    only_device: str | None = None
    lengths: Mapping[str, float] = field(default_factory=dict)
    masked_loss: float = 0.25
    trees: Mapping[str, Any] = field(default_factory=dict)
    network: Mapping[str, Any] = field(default_factory=dict)
    augment: Mapping[str, Any] = field(default_factory=dict)
    from_run: str | None = None
    full_state: bool = False
    protocol_settings: Mapping[str, Any] = field(default_factory=dict)
    seed: int = 42

    def __post_init__(self) -> None:
        if not self.estimator and self.model in MODELS:
            object.__setattr__(self, "estimator", self.kind.estimator)
        problems = list(_problems(self))
        if problems:
            raise UsageError(f"This training cannot be done: {'; '.join(problems)}.")

    @property
    def kind(self) -> Model:
        """The declaration of its model."""
        return MODELS[self.model]

    @property
    def view(self) -> str:
        """The feature set that it reads."""
        return self.features or self.kind.features

    @property
    def augment_preset(self) -> str:
        """The recipe by which windows are altered; ``g3`` where only a detail of it is given."""
        return str(self.augment.get("preset", "g3" if self.augment else "none"))

    @property
    def augmentation(self) -> Augmentation:
        """What is done to training windows."""
        given = {name: self.augment.get(name) for name in ("gain_db", "eq", "mix")}
        return preset(self.augment_preset, **given)

    @property
    def unfreeze_blocks(self) -> int:
        """Last blocks of the encoder that learn in a second stage; 0 without one."""
        return int(self.network.get("unfreeze_blocks", 0))

    @property
    def is_leaky(self) -> bool:
        """Whether windows of one recording are on both sides."""
        return self.protocol == LEAKY

    def small(self, model: str) -> TrainSettings:
        """The same training of a small model on columns, by default settings and without what only networks have."""
        return replace(
            self,
            model=model,
            estimator="logistic",
            features=None,
            c=None,
            trees={},
            network={},
            augment={},
            from_run=None,
            full_state=False,
        )

    def record(self) -> dict[str, Any]:
        """Plain values, of types that JSON and TOML know; what is None is left out."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> TrainSettings:
        """The inverse of `record`; names that it does not know are left out."""
        known = {item.name for item in fields(cls)}
        return cls(**{name: value for name, value in record.items() if name in known})


def _problems(settings: TrainSettings) -> list[str]:
    problems = []
    if settings.model not in MODELS:
        problems.append(
            f"there is no model `{settings.model}`{closest(settings.model, MODELS)}; choose one of {', '.join(MODELS)}"
        )
    if settings.model in MODELS and settings.estimator not in ESTIMATORS:
        problems.append(f"the estimator is `{settings.estimator}`, expected {' or '.join(ESTIMATORS)}")
    if settings.protocol not in PROTOCOLS:
        problems.append(
            f"there is no protocol `{settings.protocol}`{closest(settings.protocol, PROTOCOLS)}; choose one of "
            f"{', '.join(PROTOCOLS)}"
        )
    if not 0 <= settings.masked_loss <= 1:
        problems.append(f"the masked loss is {settings.masked_loss}, expected 0 to 1")
    if settings.c is not None and not settings.c > 0:
        problems.append(f"C is {settings.c}, expected a positive number")
    if settings.seed < 0:
        problems.append(f"the seed is {settings.seed}, expected 0 or more")
    if settings.model in MODELS:
        problems += _network_problems(settings)
    return problems


def _network_problems(settings: TrainSettings) -> list[str]:
    kind, name = settings.kind, settings.model
    unknown = [key for key in settings.augment if key not in ALTERING]
    chosen = settings.augment_preset
    has_encoder = kind.network is not None and kind.features == "tokens"
    refused = {
        f"there is no setting {', '.join(unknown)} of altered windows; choose among {', '.join(ALTERING)}": unknown,
        f"there is no augmentation `{chosen}`; choose one of {', '.join(PRESETS)}": chosen not in PRESETS,
        f"`{name}` has no epochs in which windows could be altered": (
            settings.augment and kind.network is None
        ),
        f"`{name}` has no encoder; --unfreeze-blocks and --full-state are of beats and beats-gru": (
            (settings.unfreeze_blocks or settings.full_state) and not has_encoder
        ),
        "--from goes on from heads with a second stage, and there is none; give --unfreeze-blocks N": (
            settings.from_run and not settings.unfreeze_blocks
        ),
        f"`{name}` compares whole windows with their recording; leave --lengths out, or choose --model spectral": (
            settings.lengths and kind.is_relative
        ),
        "altered windows and second stages are of the whole window; leave --lengths out": (
            settings.lengths and (settings.augment or settings.unfreeze_blocks or settings.full_state)
        ),
    }
    return [problem for problem, is_so in refused.items() if is_so]
