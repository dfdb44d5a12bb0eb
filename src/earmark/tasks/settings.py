"""Settings of a project: `earmark.toml`, the environment and the command line, in one checked object.

Conventions
-----------
A setting has a dotted name, ``split.test_fraction``. Its value comes from the first of these that names it:

1. the command line (``--workers 2``),
2. the environment (``EARMARK_WORKERS=2``; ``EARMARK_SPLIT_TEST_FRACTION=0.3`` for a nested one),
3. ``earmark.toml`` in the project folder,
4. the default below.

``None`` as a default means "as the task declares". Paths are relative to the project folder. An unknown key
is an error, and all errors are reported together. The JSON schema of the file is `json_schema`;
``earmark schema`` prints it, and it is published as ``docs/reference/earmark.schema.json``.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, ValidationError

from earmark.errors import UsageError
from earmark.tasks.appliance.settings import ApplianceSettings
from earmark.tasks.market.settings import MarketSettings
from earmark.tasks.meter.settings import MeterSettings
from earmark.tasks.section import Names, Section

__all__ = [
    "SETTINGS_FILE",
    "EffectiveSettings",
    "PredictSettings",
    "Settings",
    "SplitSettings",
    "TrainSettings",
    "environment_name",
    "json_schema",
    "load_settings",
    "setting_fields",
    "unknown_variables",
]

SETTINGS_FILE = "earmark.toml"
_ENVIRONMENT_PREFIX = "EARMARK_"
_OTHER_VARIABLES = frozenset(
    {
        "EARMARK_BEATNET",
        "EARMARK_BEATS",
        "EARMARK_BEAT_THIS",
        "EARMARK_DEBUG",
        "EARMARK_EVENTS",
        "EARMARK_MERT",
        "EARMARK_WEB_TOKEN",
    }
)
_SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"

Scalar = bool | int | float | str


class SplitSettings(Section):
    """How `prepare` divides the manifest; then fixed in `splits.parquet`."""

    test_fraction: float | None = Field(
        default=None, gt=0, lt=1, description="Share of items sealed as the test set."
    )
    folds: int | None = Field(
        default=None, ge=2, le=100, description="Folds of cross-validation on the rest."
    )
    group_on: str | None = Field(
        default=None, min_length=1, description="Manifest column that must not straddle a split."
    )
    stratify_on: str | None = Field(
        default=None, min_length=1, description="Manifest column whose shares are kept."
    )


class TrainSettings(Section):
    """How `train` and `grid` fit."""

    metric: str | None = Field(
        default=None, min_length=1, description="Metric that ranks runs, e.g. balanced_accuracy."
    )
    epochs: int | None = Field(
        default=None, ge=1, description="Largest number of passes of a neural network."
    )
    batch_size: int | None = Field(default=None, ge=1, description="Items per step of a neural network.")
    allow_pseudo: bool = Field(
        default=False, description="Train on labels that a rule made; their scores are marked."
    )
    parameters: dict[str, dict[str, Scalar]] = Field(
        default_factory=dict,
        description="Per algorithm, estimator parameters that replace the task's, e.g. xgboost.max_depth.",
    )


class PredictSettings(Section):
    """How `predict` decides."""

    run: str | None = Field(
        default=None, min_length=1, description="Run to predict with; default: the newest."
    )
    threshold: float | None = Field(
        default=None, ge=0, le=1, description="Confidence below which there is no decision."
    )


class Settings(Section):
    """All settings of a project; see the module's docstring for where each value comes from."""

    task: str | None = Field(
        default=None, min_length=1, description="Built-in or installed task, or a file of yours."
    )
    data: Path = Field(default=Path("data"), description="Folder of manifest, splits and datasets.")
    cache: Path = Field(default=Path(".earmark/cache"), description="Folder of the feature cache.")
    runs: Path = Field(default=Path("runs"), description="Folder of the runs.")
    workers: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default="auto", description='Worker processes; "auto": one per usable CPU.'
    )
    cluster: str | None = Field(default=None, description="Scheduler for extraction, e.g. dask://host:8786.")
    seed: int = Field(default=42, ge=0, description="Seed of every random choice.")
    features: Names | None = Field(default=None, description="Feature sets to extract and train on.")
    algorithms: Names | None = Field(default=None, description="Estimators to train.")
    split: SplitSettings = Field(
        default=SplitSettings(), description="Division into folds and sealed test set."
    )
    train: TrainSettings = Field(default=TrainSettings(), description="Fitting.")
    predict: PredictSettings = Field(default=PredictSettings(), description="Decision.")
    appliance: ApplianceSettings = Field(
        default=ApplianceSettings(), description="Detection of machines in a room."
    )
    market: MarketSettings = Field(default=MarketSettings(), description="Collection of market data.")
    meter: MeterSettings = Field(default=MeterSettings(), description="Answers about meter.")

    @property
    def n_workers(self) -> int:
        """Number of worker processes, with "auto" resolved to the CPUs this process may use."""
        return usable_cpus() if self.workers == "auto" else self.workers


@dataclass(frozen=True)
class EffectiveSettings:
    """Settings with, for each dotted name, where its value came from.

    Attributes
    ----------
    root : Path
        Project folder; relative paths of the settings start here.
    settings : Settings
        The checked values.
    sources : mapping of str to str
        Dotted name -> ``"default"``, ``"earmark.toml"``, a variable's name or ``"command line"``.
    """

    root: Path
    settings: Settings
    sources: Mapping[str, str]

    def path(self, name: str) -> Path:
        """Absolute path of the setting ``name`` (``data``, ``cache`` or ``runs``)."""
        relative: Path = getattr(self.settings, name)
        return (self.root / relative).absolute()

    def rows(self) -> Iterator[tuple[str, Any, str]]:
        """Yield (dotted name, value, source) of every setting, in the order of the file."""
        for name in setting_fields():
            value: Any = self.settings
            for part in name.split("."):
                value = getattr(value, part)
            yield name, value, self.sources[name]


def load_settings(
    root: str | Path = ".",
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] | None = None,
    file: str | Path | None = None,
) -> EffectiveSettings:
    """Read the settings of the project in ``root``.

    Parameters
    ----------
    root : path, default "."
        Project folder. Without an ``earmark.toml`` in it, the defaults hold.
    overrides : mapping of str to object, optional
        Dotted names given on the command line; a value of None means "not given".
    environ : mapping of str to str, optional
        Environment, default ``os.environ``.
    file : path, optional
        Read instead of ``earmark.toml``, and must exist; YAML where its suffix says so.

    Returns
    -------
    EffectiveSettings

    Raises
    ------
    UsageError
        The file is not TOML, or a key is unknown, or a value is refused; all such problems in one message.

    Examples
    --------
    >>> load_settings(overrides={"workers": 2}, environ={}).settings.n_workers
    2
    """
    root = Path(root)
    environ = os.environ if environ is None else environ
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    layers: list[tuple[str, Mapping[str, object]]] = [
        (
            SETTINGS_FILE if file is None else Path(file).name,
            _flatten(_read_file(root / SETTINGS_FILE) if file is None else _read_named(Path(file))),
        ),
        *_environment_layers(environ),
        ("command line", given),
    ]
    values: dict[str, object] = {}
    sources = dict.fromkeys(setting_fields(), "default")
    for source, layer in layers:
        values.update(layer)
        sources.update(dict.fromkeys(layer, source))
    return EffectiveSettings(
        root, _validate(values, sources), {name: sources[name] for name in setting_fields()}
    )


def setting_fields() -> dict[str, str]:
    """Dotted name -> description of every setting, in the order of the file."""
    return dict(_walk(Settings, ""))


def environment_name(name: str) -> str:
    """Environment variable of the setting with dotted name ``name``."""
    return _ENVIRONMENT_PREFIX + name.replace(".", "_").upper()


def unknown_variables(environ: Mapping[str, str] | None = None) -> list[str]:
    """``EARMARK_*`` variables that name no setting: probably typing mistakes."""
    known = {environment_name(name) for name in setting_fields()} | _OTHER_VARIABLES
    return sorted(
        name for name in (environ or os.environ) if name.startswith(_ENVIRONMENT_PREFIX) and name not in known
    )


def json_schema() -> dict[str, Any]:
    """JSON schema of ``earmark.toml``, for editors and other tools."""
    schema = Settings.model_json_schema()
    return {"$schema": _SCHEMA_DIALECT, **schema, "title": SETTINGS_FILE}


def usable_cpus() -> int:
    """Number of CPUs this process may use, at least 1 (affinity counts where the system tells it)."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def _walk(model: type[BaseModel], prefix: str) -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _walk(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field.description or ""


def _environment_layers(environ: Mapping[str, str]) -> Iterator[tuple[str, Mapping[str, object]]]:
    for name in setting_fields():
        variable = environment_name(name)
        if environ.get(variable):
            yield variable, {name: environ[variable]}


def _read_file(path: Path) -> dict[str, object]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise UsageError(
            f"`{path}` is not UTF-8 text ({error.reason} at byte {error.start}). Save it as UTF-8."
        ) from error
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(
            f"`{path}` is not valid TOML: {error}. Correct it, or see `earmark schema`."
        ) from error


def _read_named(path: Path) -> Mapping[str, object]:
    """Settings of a file that the user named, so one that is not there is an error."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        if not path.is_file():
            raise UsageError(f"there is no settings file `{path}`. Correct the path.")
        return _read_file(path)
    import yaml

    try:
        table = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"`{path}` cannot be read as YAML: {error}. Correct it.") from error
    if not isinstance(table, Mapping) or not all(isinstance(key, str) for key in table):
        raise UsageError(
            f"`{path}` holds {type(table).__name__}, expected names of settings and their values."
        )
    return table


def _flatten(table: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Dotted names of nested tables; a table that is itself a setting (``train.parameters``) stays whole."""
    fields = setting_fields()
    flat: dict[str, object] = {}
    for key, value in table.items():
        name = f"{prefix}{key}"
        is_section = any(field.startswith(f"{name}.") for field in fields)
        if is_section and isinstance(value, Mapping):
            flat.update(_flatten(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def _validate(values: Mapping[str, object], sources: Mapping[str, str]) -> Settings:
    problems = [_unknown(name, sources[name]) for name in values if name not in setting_fields()]
    known = {name: value for name, value in values.items() if name in setting_fields()}
    try:
        settings = Settings.model_validate(_nest(known))
    except ValidationError as error:
        problems += _refused(error.errors(), sources)
    if problems:
        raise UsageError("\n".join(dict.fromkeys(problems)))
    return settings


def _nest(values: Mapping[str, object]) -> dict[str, object]:
    nested: dict[str, Any] = {}
    for name, value in values.items():
        *tables, key = name.split(".")
        table = nested
        for part in tables:
            table = table.setdefault(part, {})
        table[key] = value
    return nested


def _unknown(name: str, source: str) -> str:
    close = difflib.get_close_matches(name, setting_fields(), n=1, cutoff=0.6)
    advice = f"Did you mean `{close[0]}`?" if close else f"Known: {', '.join(setting_fields())}."
    if any(field.startswith(f"{name}.") for field in setting_fields()):
        return f"`{name}` in {source} is one value; a table was expected: `[{name}]`."
    return f"`{name}` in {source} is not a setting. {advice}"


def _refused(errors: Sequence[Mapping[str, Any]], sources: Mapping[str, str]) -> list[str]:
    """One sentence per refused value; the refusals of a union's branches are joined by "or"."""
    expected: dict[tuple[str, str], list[str]] = {}
    for error in errors:
        location = [str(part) for part in error["loc"]]
        prefixes = [".".join(location[:end]) for end in range(len(location), 0, -1)]
        name = next(prefix for prefix in prefixes if prefix in sources)
        what = str(error["msg"]).removeprefix("Input should be ").split(", unable")[0]
        expected.setdefault((name, repr(error["input"])), []).append(what)
    return [
        f"`{name}` is {value} ({sources[name]}); expected: {' or '.join(dict.fromkeys(whats))}."
        for (name, value), whats in expected.items()
    ]
