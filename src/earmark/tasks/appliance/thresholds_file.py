"""``thresholds.yaml`` of a run: where each device counts as on, for files, streams and live alike.

Flat YAML, numbers with four decimals::

    t_ac: 0.7250
    t_fr: 0.6500
    f1_ac: 1.0000
    f1_fridge: 1.0000
    window_s: 6.0000
    hop_s: 1.5000
    floor_dbfs: -58.3000
    model: '3f0c...'
    decoder: {name: hmm, evidence: 1.0000, dwell_s: 600.0000, ...}
    hysteresis:
      ac: {t_on: 0.7750, t_off: 0.6750, on_s: 0.0000, off_s: 0.0000, cooldown_s: 0.0000}
    chosen: {method: f1, ...}

``t_<device>`` (``t_fr`` for the fridge) is where the median of a file counts as on, ``f1_<device>`` how that scored
where it was chosen; ``hysteresis`` and ``decoder`` hold for streams; ``chosen`` tells how all this came about and is
not read. ``model`` is the hash of the detector it was chosen for: another detector is refused. A file without it was
written by hand or by an earlier system. What is absent has the values of `DEFAULT_T`, of `earmark.tasks.appliance.
decoding.limits` and of the default decoder.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import RunError, UsageError
from earmark.models.constraints import closest
from earmark.tasks.appliance.decoding.limits import Limits
from earmark.tasks.appliance.decoding.presets import DECODERS, DEFAULT_DECODER, Rule, Settings
from earmark.tasks.appliance.schema import HOP_S, WINDOW_S, Devices, short_key

__all__ = ["DEFAULT_T", "OTHER_T", "THRESHOLDS_FILE", "Thresholds"]

THRESHOLDS_FILE = "thresholds.yaml"

DEFAULT_T: Mapping[str, float] = {"ac": 0.75}
"""Of a device that the file does not name,"""

OTHER_T = 0.70
"""and of every other one."""

_HEADER = "# Where each device counts as on, for files, streams and live. Written by `earmark thresholds appliance`.\n"
_PLAIN_KEYS = ("window_s", "hop_s", "floor_dbfs", "model", "windows_s", "decoder", "hysteresis", "chosen")


@dataclass(frozen=True)
class Thresholds:
    """What the file says.

    Parameters
    ----------
    devices : Devices
    t : mapping of device to float
        Every device has one.
    f1 : mapping of device to float
        Only of devices it is known of.
    rule : Rule
        How streams decide: decoder, limits, window and hop.
    floor_dbfs : float or None
        Median level of the room with everything off.
    model : str or None
        Hash of the detector.
    chosen : mapping
        How the values were chosen: plain types, for people.
    """

    devices: Devices
    t: Mapping[str, float]
    f1: Mapping[str, float] = field(default_factory=dict)
    rule: Rule = field(default_factory=Rule)
    floor_dbfs: float | None = None
    model: str | None = None
    chosen: Mapping[str, Any] = field(default_factory=dict)

    def facts(self, medians: Mapping[str, float]) -> dict[str, bool]:
        """Which devices are on in a file, by its medians; equal to the threshold is on."""
        return {name: bool(medians[name] >= self.t[name]) for name in self.devices.names}

    def write(self, path: str | Path) -> Path:
        """Write the file, whole or not at all."""
        path = Path(path)
        write_bytes_atomic(path, (_HEADER + _yaml(self.to_document())).encode())
        return path

    @classmethod
    def of_run(cls, folder: str | Path, devices: Devices, model: str) -> Self:
        """The thresholds in a run's folder, of its detector `model`.

        Raises
        ------
        RunError
            As `read`; the run has no thresholds.
        """
        path = Path(folder) / THRESHOLDS_FILE
        if not path.is_file():
            name = Path(folder).name
            raise RunError(
                f"the run `{name}` has no {THRESHOLDS_FILE}. Run: earmark thresholds appliance --run {name}"
            )
        return cls.read(path, devices, model=model)

    @classmethod
    def read(cls, path: str | Path, devices: Devices, *, model: str | None = None) -> Self:
        """The thresholds written at `path`.

        Parameters
        ----------
        path : path
        devices : Devices
            Of the detector.
        model : str, optional
            Its hash; a file that names another one is refused.

        Raises
        ------
        RunError
            No such file, not YAML, unknown keys, values out of range, or the file of another model.
        """
        path = Path(path)
        try:
            found = cls.from_document(_load(path), devices)
        except UsageError as error:
            raise RunError(
                f"`{path}` cannot be used: {error} Correct it, or run: earmark thresholds appliance"
            ) from error
        if model is not None and found.model not in (None, model):
            raise RunError(
                f"`{path}` was chosen for the model {str(found.model)[:12]}; this is the model {model[:12]}. "
                "Run: earmark thresholds appliance --run RUN"
            )
        return found

    def to_document(self) -> dict[str, Any]:
        """The file as plain values, in its order."""
        rule, names = self.rule, self.devices.names
        document: dict[str, Any] = {f"t_{short_key(name)}": float(self.t[name]) for name in names}
        document |= {f"f1_{name}": float(self.f1[name]) for name in names if name in self.f1}
        document |= {"window_s": float(rule.window_s), "hop_s": float(rule.hop_s)}
        if rule.windows_s:
            document["windows_s"] = {name: float(rule.windows_s[name]) for name in rule.windows_s}
        if self.floor_dbfs is not None:
            document["floor_dbfs"] = float(self.floor_dbfs)
        if self.model is not None:
            document["model"] = self.model
        document["decoder"] = {"name": rule.name, **dataclasses.asdict(rule.settings)}
        document["hysteresis"] = {
            name: {key: float(value) for key, value in dataclasses.asdict(limits).items()}
            for name, limits in rule.limits_of(self.devices).items()
        }
        return document | ({"chosen": dict(self.chosen)} if self.chosen else {})

    @classmethod
    def from_document(cls, document: Mapping[str, Any], devices: Devices) -> Self:
        """The inverse of `to_document`; UsageError for what it could not have written."""
        names = devices.names
        keys = [f"t_{short_key(name)}" for name in names] + [f"f1_{name}" for name in names]
        _known(document, (*keys, *_PLAIN_KEYS), "the file")
        model = document.get("model")
        return cls(
            devices=devices,
            t={name: _share(document, f"t_{short_key(name)}", _default_t(name)) for name in names},
            f1={name: _share(document, f"f1_{name}", 0.0) for name in names if f"f1_{name}" in document},
            rule=_rule(document, devices),
            floor_dbfs=_number(document, "floor_dbfs") if "floor_dbfs" in document else None,
            model=None if model is None else str(model),
            chosen=_table(document, "chosen"),
        )


def _default_t(name: str) -> float:
    return DEFAULT_T.get(name, OTHER_T)


def _rule(document: Mapping[str, Any], devices: Devices) -> Rule:
    windows, limits = _table(document, "windows_s"), _table(document, "hysteresis")
    _known(windows, devices.names, "windows_s")
    _known(limits, devices.names, "hysteresis")
    plain = Rule(
        _settings(_table(document, "decoder"), devices),
        window_s=_number(document, "window_s", WINDOW_S, above=0),
        hop_s=_number(document, "hop_s", HOP_S, above=0),
        windows_s={name: _number(windows, name, above=0) for name in windows},
    )
    return plain.with_limits({name: _limits(_table(limits, name), name, plain, devices) for name in limits})


def _limits(record: Mapping[str, Any], name: str, plain: Rule, devices: Devices) -> Limits:
    default = dataclasses.asdict(plain.limits_of(devices)[name])
    _known(record, tuple(default), f"hysteresis.{name}")
    return Limits(**{key: _number(record, key, value) for key, value in default.items()})


def _settings(record: Mapping[str, Any], devices: Devices) -> Settings:
    name = record.get("name", DEFAULT_DECODER)
    if name not in DECODERS:
        raise UsageError(f"`decoder.name` is {name!r}; expected {', '.join(DECODERS)}.")
    default = DECODERS[name]()
    fields = [one.name for one in dataclasses.fields(default)]
    _known(record, ("name", *fields), "decoder")
    given: dict[str, Any] = {}
    for key in record.keys() - {"name"}:
        if key == "prior":
            prior = _table(record, "prior")
            _known(prior, devices.names, "decoder.prior")
            given[key] = {device: _number(prior, device) for device in prior}
        elif isinstance(getattr(default, key), int):
            given[key] = _count(record, key)
        else:
            given[key] = _number(record, key)
    return DECODERS[name](**given)


def _load(path: Path) -> Mapping[str, Any]:
    import yaml

    if not path.is_file():
        raise RunError(f"there is no `{path}`. Run: earmark thresholds appliance --run RUN")
    try:
        text = path.read_text(encoding="utf-8")
        document = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UsageError(f"it is not YAML ({error}).") from error
    if not isinstance(document, dict):
        raise UsageError(f"it holds {type(document).__name__}; expected names and values.")
    if isinstance(document.get("model"), int | float):  # digits alone, unquoted: YAML takes them for a number
        document["model"] = yaml.load(text, Loader=yaml.BaseLoader)["model"]
    return document


def _yaml(document: Mapping[str, Any]) -> str:
    """Block style at the top, one line for each table below; floats with four decimals, the hash in quotes."""
    import yaml

    class Quoted(str):
        pass

    class Dumper(yaml.SafeDumper):
        pass

    Dumper.add_representer(
        Quoted, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:str", str(value), style="'")
    )

    Dumper.add_representer(
        float, lambda dumper, value: dumper.represent_scalar("tag:yaml.org,2002:float", f"{value:.4f}")
    )
    text = yaml.dump(
        {key: Quoted(value) if key == "model" else value for key, value in document.items()},
        Dumper=Dumper,
        sort_keys=False,
        allow_unicode=True,
        width=4000,
        default_flow_style=None,
    )
    return str(text)


def _known(record: Mapping[str, Any], known: tuple[str, ...], where: str) -> None:
    unknown = [f"`{key}`{closest(str(key), known)}" for key in record if key not in known]
    if unknown:
        raise UsageError(f"{where} has the unknown {', '.join(unknown)}; expected {', '.join(known)}.")


def _table(record: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = record.get(key, {})
    if not isinstance(value, Mapping):
        raise UsageError(f"`{key}` is {value!r}; expected names and values.")
    return value


def _number(
    record: Mapping[str, Any], key: str, default: float | None = None, *, above: float | None = None
) -> float:
    value = record.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise UsageError(f"`{key}` is {value!r}; expected a number.")
    if above is not None and value <= above:
        raise UsageError(f"`{key}` is {value:g}; expected more than {above:g}.")
    return float(value)


def _count(record: Mapping[str, Any], key: str) -> int:
    value = record[key]
    if isinstance(value, bool) or not isinstance(value, int):
        raise UsageError(f"`{key}` is {value!r}; expected a whole number.")
    return value


def _share(record: Mapping[str, Any], key: str, default: float) -> float:
    value = _number(record, key, default)
    if not 0 <= value <= 1:
        raise UsageError(f"`{key}` is {value:g}; expected 0 to 1.")
    return value
