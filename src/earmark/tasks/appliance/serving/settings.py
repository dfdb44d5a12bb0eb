"""How a stream is decided and a microphone heard: every setting, its value and where that came from.

A setting comes from the first that names it: a flag, the file ``live.toml``, the run's ``thresholds.yaml``, what is
built in. Names are those of the file::

    input_sr = 16000        # Hz of the device
    window_sec = 6.0
    hop_sec = 1.5
    agg_window_n = 7        # of the decoder `median`
    ac_on = 0.95            # <name>_on and <name>_off for each device; fr is the fridge
    ac_off = 0.75
    fr_on = 0.75
    fr_off = 0.45
    debounce_k = 2
    sd_device = ""          # number, name or part of a name
    max_lag_sec = 15.0
    decoder = "hmm"         # or median, events, votes
    preset = "g3"           # in place of all of these but the limits

A window has the length that the model was trained on; another is refused where the engine is made.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from earmark.errors import UsageError
from earmark.models.constraints import closest
from earmark.tasks.appliance.decoding.presets import DECODERS, Rule, Settings, default_rule, preset
from earmark.tasks.appliance.schema import Devices, short_key
from earmark.tasks.appliance.thresholds_file import Thresholds

__all__ = [
    "BUILT_IN",
    "LIVE_FILE",
    "LiveSettings",
    "Origin",
    "limit_keys",
    "read_live_toml",
    "resolve",
    "template",
]

LIVE_FILE = "live.toml"
BUILT_IN: Mapping[str, Any] = {"input_sr": 44_100, "sd_device": "", "max_lag_sec": 30.0}
"""Of what no run knows; limits and decoders have theirs in `decoding`."""

FLAG, FILE, RUN, DEFAULT = "flag", LIVE_FILE, "thresholds of the run", "built in"
_PLAIN: Mapping[str, type | tuple[type, ...]] = {
    "input_sr": int,
    "window_sec": (int, float),
    "hop_sec": (int, float),
    "agg_window_n": int,
    "debounce_k": int,
    "sd_device": (str, int),
    "max_lag_sec": (int, float),
    "decoder": str,
    "preset": str,
}


@dataclass(frozen=True)
class Origin:
    """A setting as it is shown: name, value, and where it came from."""

    setting: str
    value: Any
    origin: str


@dataclass(frozen=True)
class LiveSettings:
    """What was resolved.

    Parameters
    ----------
    rule : Rule
    input_sr : int
        Hz.
    sd_device : str or int
        "" is the default device.
    max_lag_sec : float
    origins : tuple of Origin
        One per setting, in the order of the file.
    """

    rule: Rule
    input_sr: int
    sd_device: str | int
    max_lag_sec: float
    origins: tuple[Origin, ...]


def limit_keys(devices: Devices) -> dict[str, tuple[str, str]]:
    """Name of a setting -> device and field of its limits: ``fr_on`` is ``t_on`` of the fridge."""
    return {
        f"{short_key(name)}_{side}": (name, f"t_{side}") for name in devices.names for side in ("on", "off")
    }


def read_live_toml(path: Path, devices: Devices) -> dict[str, Any]:
    """The settings in a file.

    Raises
    ------
    UsageError
        It is missing, no TOML, or holds names or values that are none; all of them are told.
    """
    try:
        found = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(
            f"`{path}` cannot be read ({error}). Expected TOML with settings of `live`."
        ) from error
    limits = limit_keys(devices)
    kinds = {**_PLAIN, **dict.fromkeys(limits, (int, float))}
    problems = [
        f"`{name}` is not a setting{closest(name, tuple(kinds))}"
        if name not in kinds
        else f"`{name}` is {value!r}"
        for name, value in found.items()
        if name not in kinds or isinstance(value, bool) or not isinstance(value, kinds[name])
    ]
    if problems:
        raise UsageError(f"`{path}`: {'; '.join(problems)}. Expected {', '.join(kinds)}. Correct the file.")
    return found


def resolve(
    thresholds: Thresholds, flags: Mapping[str, Any], file: Mapping[str, Any] | None = None
) -> LiveSettings:
    """All settings, each from the first that names it.

    Parameters
    ----------
    thresholds : Thresholds
        Of the run.
    flags : mapping of setting to value
        Without those that were not given.
    file : mapping of setting to value, optional
        From `read_live_toml`.

    Raises
    ------
    UsageError
        An unknown decoder, preset or device; a value out of its range; a flag that the decoder does not read.
    """
    file = file or {}
    limits = limit_keys(thresholds.devices)
    unknown = [name for name in flags if name not in _PLAIN and name not in limits]
    if unknown:
        raise UsageError(
            f"{', '.join(unknown)}: the model knows {', '.join(thresholds.devices.names)}. Name one of these devices."
        )
    asked = {**file, **flags}
    rule, base = _base(thresholds, asked)
    rule = _with_windows(rule, asked)
    rule = _with_counts(rule, asked, flags)
    rule = _with_limits(rule, asked, limits, thresholds.devices)
    plain = {name: asked.get(name, value) for name, value in BUILT_IN.items()}
    origins = _origins(rule, plain, thresholds, flags, file, base)
    return LiveSettings(rule, origins=tuple(origins), **plain)


def _base(thresholds: Thresholds, asked: Mapping[str, Any]) -> tuple[Rule, str]:
    """The rule before single settings, and where it comes from."""
    if "preset" in asked:
        return preset(asked["preset"]), f"preset {asked['preset']}"
    own = thresholds.rule
    if asked.get("decoder", own.name) == own.name:
        return own, RUN
    chosen = default_rule(asked["decoder"], window_s=own.window_s, hop_s=own.hop_s)
    return replace(chosen, windows_s=own.windows_s, limits=own.limits, others=own.others), RUN


def _with_windows(rule: Rule, asked: Mapping[str, Any]) -> Rule:
    window_s = float(asked.get("window_sec", rule.window_s))
    return replace(rule, window_s=window_s, hop_s=float(asked.get("hop_sec", rule.hop_s)))


_COUNTS = {"agg_window_n": "n", "debounce_k": "debounce_k"}


def _with_counts(rule: Rule, asked: Mapping[str, Any], flags: Mapping[str, Any]) -> Rule:
    """N and K; a file may hold those of another decoder than the one in use, a flag may not."""
    known = {one.name for one in fields(rule.settings)}
    for name, field in _COUNTS.items():
        if name in flags and field not in known:
            raise UsageError(
                f"--{name.replace('_', '-')} is of the decoder `median`; this one is `{rule.name}`. "
                "Add --decoder median, or leave it out."
            )
    changed: dict[str, Any] = {
        field: asked[name] for name, field in _COUNTS.items() if name in asked and field in known
    }
    settings: Settings = replace(rule.settings, **changed)
    return replace(rule, settings=settings)


def _with_limits(
    rule: Rule, asked: Mapping[str, Any], keys: Mapping[str, tuple[str, str]], devices: Devices
) -> Rule:
    own = rule.limits_of(devices)
    for device in devices.names:
        changed = {
            field: float(asked[key]) for key, (name, field) in keys.items() if name == device and key in asked
        }
        own[device] = replace(own[device], **changed)
    return rule.with_limits(own)


def _origins(
    rule: Rule,
    plain: Mapping[str, Any],
    thresholds: Thresholds,
    flags: Mapping[str, Any],
    file: Mapping[str, Any],
    base: str,
) -> Iterable[Origin]:
    devices = thresholds.devices
    values: dict[str, Any] = {
        "decoder": rule.name,
        **plain,
        "window_sec": rule.window_s,
        "hop_sec": rule.hop_s,
        **{name: getattr(rule.settings, field, None) for name, field in _COUNTS.items()},
        **{
            key: getattr(rule.limits_of(devices)[name], field)
            for key, (name, field) in limit_keys(devices).items()
        },
    }
    for name, value in values.items():
        if value is None:
            continue  # the decoder has no such setting
        inherited = DEFAULT if name in BUILT_IN else base
        yield Origin(name, value, FLAG if name in flags else FILE if name in file else inherited)


def template(*, input_sr: int = 16_000) -> str:
    """A ``live.toml`` to begin with: no limits, so that those of the run hold."""
    return (
        "# How `earmark live appliance` hears. A flag goes before a line here, a line before the run's thresholds.\n"
        f"input_sr = {input_sr}\n"
        'sd_device = ""  # number, name or part of a name; see earmark live appliance --list-devices\n'
        "max_lag_sec = 15.0\n"
        "# Limits per device replace the calibrated ones of the run, e.g. ac_on = 0.95, ac_off = 0.75, fr_on = 0.75\n"
        f'# Decoders: {", ".join(DECODERS)}; e.g. decoder = "median", agg_window_n = 7, debounce_k = 2\n'
    )
