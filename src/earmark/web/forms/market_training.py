"""The form of ``earmark train market``: every setting of a training, by its one declaration (`TrainConfig`).

The page's defaults are those of the preset ``page``. What differs from the chosen preset becomes ``--set
NAME=VALUE``, so that a form that sends all of its fields asks for no more than was changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, get_args, get_origin

from pydantic import TypeAdapter, ValidationError

from earmark.errors import UsageError
from earmark.web.forms.form import Field, FormError, Kind

__all__ = ["FLAGS", "PAGE", "presets", "setting_words", "training_fields"]

PAGE = "page"
FLAGS = (
    "resume",
    "reuse",
    "mlflow",
    "dry_run",
    "watch",
    "schedule",
    "drift_every",
    "performance_every",
    "once",
)
"""Options of the command that are no settings of a training."""

_PATHS = ("data_path", "mlflow_uri")
_KINDS: tuple[tuple[type, Kind], ...] = ((bool, "switch"), (int, "integer"), (float, "number"))


def training_fields() -> list[Field]:
    """A field per setting, with the page's default."""
    from earmark.tasks.market.training.config import describe_fields

    return [_field(row) for row in describe_fields()]


def presets() -> dict[str, dict[str, Any]]:
    """Preset -> the default of every field under it."""
    from earmark.tasks.market.training.config import describe_fields
    from earmark.tasks.market.training.presets import PRESETS

    declared = {row["name"]: row["default"] for row in describe_fields()}
    return {
        preset: {name: _shown(value) for name, value in (declared | dict(own) | {"preset": preset}).items()}
        for preset, own in PRESETS.items()
    }


def setting_words(texts: Mapping[str, str]) -> list[str]:
    """``["--preset=page", "--set=epochs=5"]`` for what was filled in.

    Parameters
    ----------
    texts : mapping
        Setting -> its text; paths are checked already.

    Raises
    ------
    FormError
        Values out of range beside their field, settings that contradict each other under the empty name.
    """
    preset = texts.get("preset") or PAGE
    known = presets()
    if preset not in known:
        raise FormError({"preset": f"There is no preset `{preset}`. Choose one of: {', '.join(known)}."})
    given = {name: text for name, text in texts.items() if text != "" and name != "preset"}
    values = _read(given)
    defaults = _defaults(preset)
    changed = {name: value for name, value in values.items() if value != defaults.get(name)}
    _check_together(preset, changed)
    return [f"--preset={preset}", *(f"--set={name}={_word(value)}" for name, value in changed.items())]


@cache
def _defaults(preset: str) -> Mapping[str, Any]:
    shown = presets()[preset]
    return _read({name: value for name, value in shown.items() if value != "" and name != "preset"})


def _read(texts: Mapping[str, Any]) -> dict[str, Any]:
    """Values of their declared types."""
    values, errors = {}, {}
    for name, text in texts.items():
        try:
            values[name] = _value(name, text)
        except ValidationError as error:
            errors[name] = error.errors()[0]["msg"].removeprefix("Value error, ") + "."
        except (UsageError, ValueError) as error:
            errors[name] = str(error)
    if errors:
        raise FormError(errors)
    return values


def _value(name: str, text: Any) -> Any:
    from earmark.tasks.market.training.config import TrainConfig

    field = TrainConfig.model_fields[name]
    value = text
    if dict in (field.annotation, get_origin(field.annotation)) and isinstance(text, str):
        value = _object(text)
    return getattr(TrainConfig(**{name: value}), name)


def _object(text: str) -> Any:
    try:
        return TypeAdapter(dict[str, Any]).validate_json(text)
    except ValidationError:
        raise ValueError(f'`{text}` is not a JSON object. Write one, e.g. {{"preset": "large"}}.') from None


def _check_together(preset: str, changed: Mapping[str, Any]) -> None:
    from earmark.tasks.market.training.config import train_config

    try:
        train_config({"preset": preset}, changed)
    except UsageError as error:
        raise FormError({"": str(error)}) from None


def _word(value: Any) -> str:
    """A value as ``--set`` reads it back: JSON, and text as it is where JSON would not take it for something else."""
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except ValueError:
        return value
    return json.dumps(value)


def _field(row: Mapping[str, Any]) -> Field:
    from earmark.web.forms.making import label_of

    name, limits = row["name"], row["limits"]
    default = PAGE if name == "preset" else _shown(row["page"])
    choices = tuple(row["choices"] or _choices(name))
    return Field(
        name=name,
        label=label_of(name),
        help=row["help"],
        kind=_kind(name, choices),
        default=default if default != "" else None,
        minimum=limits.get("ge", limits.get("gt")),
        maximum=limits.get("le", limits.get("lt")),
        choices=choices,
        placeholder='{"name": value}' if isinstance(row["default"], dict) else "",
        is_above="gt" in limits,
        is_below="lt" in limits,
        option="--preset" if name == "preset" else f"--set {name}",
    )


def _choices(name: str) -> tuple[str, ...]:
    from earmark.models.sequence.registry import SEQUENCE_MODELS
    from earmark.tasks.market.training.presets import PRESETS

    return {"preset": tuple(PRESETS), "model_name": tuple(SEQUENCE_MODELS)}.get(name, ())


def _kind(name: str, choices: tuple[str, ...]) -> Kind:
    from earmark.tasks.market.training.config import TrainConfig

    if choices:
        return "choice"
    if name in _PATHS:
        return "path"
    annotation = TrainConfig.model_fields[name].annotation
    types = (annotation, *(get_args(annotation) if get_origin(annotation) not in (tuple, Literal) else ()))
    return next((kind for known, kind in _KINDS if known in types), "text")


def _shown(value: Any) -> Any:
    """A default as a form shows it."""
    if value is None or value == {} or value == ():
        return ""
    if isinstance(value, dict):
        return json.dumps(value)
    return ",".join(map(str, value)) if isinstance(value, tuple) else value
