"""From arousal and valence to a zone: the rules, their thresholds, and the file that changes them.

Arousal `a` and valence `v` are on the scale of the annotations, 1 to 9 by default. Three rules exist:

============  =====================================================================================
simple        a < yellow_max: YELLOW; a > purple_min: PURPLE; else GREEN
plan          as simple, but PURPLE also needs v > valence_min (the default)
advanced      a <= yellow_max and v >= yellow_valence_min: YELLOW; a >= purple_min, or
              a >= purple_alt_min and v <= purple_alt_valence_max: PURPLE; else GREEN
============  =====================================================================================

A *preset* is a named pair (yellow_max, purple_min) of the rule `simple`. The *five-way* display splits YELLOW
into chill and dark and PURPLE into euphoric and aggressive, the former of each from ``five_way.valence_min``.

A number that is missing or off its scale has no zone: it raises, and never falls through to GREEN. The
digest of a mapping changes exactly when a threshold that decides zones does, so that labels can carry it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from earmark.errors import InputError, UsageError
from earmark.tasks.zones.labels import CLASSES

if TYPE_CHECKING:
    import yaml

__all__ = ["FIVE_WAY_ZONES", "STRATEGIES", "ZoneMapping", "default_yaml", "yaml_text"]

YELLOW, GREEN, PURPLE = CLASSES
FIVE_WAY_ZONES = ("YELLOW_CHILL", "YELLOW_DARK", "GREEN", "PURPLE_EUPHORIC", "PURPLE_AGGRESSIVE")
"""Names of the five-way display, from rest to energy."""
_FIVE_WAY = {YELLOW: ("YELLOW_DARK", "YELLOW_CHILL"), PURPLE: ("PURPLE_AGGRESSIVE", "PURPLE_EUPHORIC")}

Pair: TypeAlias = tuple[float, float]

_THRESHOLDS: dict[str, dict[str, float]] = {
    "plan": {"yellow_max": 4.0, "purple_min": 6.0, "valence_min": 4.5},
    "simple": {"yellow_max": 4.0, "purple_min": 6.0},
    "advanced": {
        "yellow_max": 4.5,
        "yellow_valence_min": 4.0,
        "purple_min": 6.0,
        "purple_alt_min": 5.0,
        "purple_alt_valence_max": 3.5,
    },
    "five_way": {"valence_min": 4.5},
}
STRATEGIES = ("plan", "simple", "advanced")
"""Names of the rules; the first is the default."""
_SCALES: dict[str, Pair] = {"arousal": (1.0, 9.0), "valence": (1.0, 9.0)}
_PRESETS: dict[str, Pair] = {
    "conservative": (3.5, 6.5),
    "balanced": (4.0, 6.0),
    "aggressive": (4.5, 5.5),
    "dj_focused": (3.8, 6.2),
    "production": (4.0, 5.7),
}
_COMMENTS = {
    "simple": "a < yellow_max: YELLOW; a > purple_min: PURPLE; else GREEN",
    "plan": "as simple, but PURPLE also needs v > valence_min",
    "advanced": "YELLOW needs v >= yellow_valence_min; PURPLE also from purple_alt_min where v is low",
    "five_way": "display only: from valence_min YELLOW is chill and PURPLE euphoric, else dark and aggressive",
    "presets": "pairs [yellow_max, purple_min] for simple",
}
_SHOWN = 3  # positions quoted of values that have no zone


@dataclass(frozen=True)
class ZoneMapping:
    """A rule from arousal and valence to a zone; build it with `default`, `read` or `with_thresholds`.

    Parameters
    ----------
    strategy : {"plan", "simple", "advanced"}
    scales : mapping of "arousal" and "valence" to (low, high)
        Values outside have no zone.
    thresholds : mapping of rule to mapping of threshold to float
        Of every rule, and of ``five_way``.
    presets : mapping of name to (yellow_max, purple_min)
    file : str or None
        Where it was read from; no part of what it is.

    Examples
    --------
    >>> mapping = ZoneMapping.default()
    >>> mapping.zone(6.5, 5.0), mapping.zone(6.5, 4.5), mapping.zone(3.9, 5.0)
    ('PURPLE', 'GREEN', 'YELLOW')
    """

    strategy: str = STRATEGIES[0]
    scales: Mapping[str, Pair] = field(default_factory=lambda: dict(_SCALES))
    thresholds: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: dict(_THRESHOLDS))
    presets: Mapping[str, Pair] = field(default_factory=lambda: dict(_PRESETS))
    file: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        problems = list(_inconsistencies(self))
        if problems:
            raise _refusal(self.file or "the zone mapping", problems)

    @classmethod
    def default(cls) -> ZoneMapping:
        """The rule `plan` with its own thresholds."""
        return cls()

    @classmethod
    def read(cls, path: str | Path) -> ZoneMapping:
        """Read a mapping from YAML; what the file leaves out keeps its default.

        Raises
        ------
        UsageError
            No such file, no YAML, unknown or repeated keys, values of the wrong kind, thresholds that
            contradict each other or lie off the scale: all problems in one message.
        """
        document = _load(Path(path))
        problems: list[str] = []
        strategy = _read_strategy(document, problems)
        scales = _read_pairs(document, "scales", _SCALES, problems, others_allowed=False)
        presets = _read_pairs(document, "presets", _PRESETS, problems, others_allowed=True)
        thresholds = {name: _read_numbers(document, name, problems) for name in _THRESHOLDS}
        known = ("scales", "mapping_strategy", *_THRESHOLDS, "presets")
        problems += [f"unknown key `{key}`{_closest(key, known)}" for key in document if key not in known]
        if problems:
            raise _refusal(str(path), problems)
        return cls(strategy, scales, thresholds, presets, str(path))

    def with_thresholds(
        self,
        *,
        yellow_max: float | None = None,
        purple_min: float | None = None,
        valence_min: float | None = None,
        strategy: str | None = None,
        preset: str | None = None,
    ) -> ZoneMapping:
        """The mapping with what the command line said, which wins over the file.

        Without a `strategy`, a preset selects `simple`; thresholds keep the strategy of the file, and where
        there is no file they select `simple`, or `plan` if `valence_min` is among them.

        Raises
        ------
        UsageError
            An unknown strategy or preset; a preset or `valence_min` for a strategy that has none.
        """
        given = {"yellow_max": yellow_max, "purple_min": purple_min, "valence_min": valence_min}
        changes = {name: value for name, value in given.items() if value is not None}
        chosen = strategy or self._implied_strategy(changes, preset)
        if chosen not in STRATEGIES:
            raise UsageError(
                f"there is no mapping strategy {chosen!r}{_closest(chosen, STRATEGIES)}. Expected one of "
                f"{', '.join(STRATEGIES)}."
            )
        base = dict(self.thresholds[chosen])
        if preset is not None:
            base |= self._preset(preset, chosen)
        if unknown := [name for name in changes if name not in base]:
            raise UsageError(
                f"strategy `{chosen}` has no threshold `{unknown[0]}`; it has {', '.join(base)}. Choose the "
                "strategy `plan`, or set the thresholds in a mapping file."
            )
        return replace(self, strategy=chosen, thresholds={**self.thresholds, chosen: base | changes})

    def zone(self, arousal: float, valence: float) -> str:
        """Zone of one pair; raises `InputError` for a number that is missing or off its scale."""
        return str(self.zones(arousal, valence)[()])

    def zones(self, arousal: ArrayLike, valence: ArrayLike) -> NDArray[np.str_]:
        """Zones of many pairs.

        Parameters
        ----------
        arousal, valence : array of float, shape (...)

        Returns
        -------
        ndarray of str, shape (...)

        Raises
        ------
        InputError
            Values that are missing or off their scale, with how many and where the first ones are.
        """
        a, v = np.broadcast_arrays(np.asarray(arousal, float), np.asarray(valence, float))
        self._require_on_scale("arousal", a)
        self._require_on_scale("valence", v)
        yellow, purple = _RULES[self.strategy](a, v, self.thresholds[self.strategy])
        return np.where(yellow, YELLOW, np.where(purple, PURPLE, GREEN))

    def problem(self, arousal: float, valence: float) -> str | None:
        """Why a pair has no zone, as a phrase, or None if it has one."""
        for name, value in (("arousal", arousal), ("valence", valence)):
            low, high = self.scales[name]
            if not math.isfinite(value):
                return f"{name} is missing"
            if not low <= value <= high:
                return f"{name} {value:g} is off the scale {low:g} to {high:g}"
        return None

    def five_way(self, arousal: float, valence: float, zone: str | None = None) -> str:
        """Name in the five-way display.

        Parameters
        ----------
        arousal, valence : float
        zone : str, optional
            Zone that was decided otherwise, e.g. by a classifier; by default that of this mapping. One
            without a split (GREEN, UNCERTAIN) is given back.

        Raises
        ------
        InputError
            A number is missing or off its scale.
        """
        own = self.zone(arousal, valence)
        decided = own if zone is None else zone
        if decided not in _FIVE_WAY:
            return decided
        return _FIVE_WAY[decided][valence >= self.thresholds["five_way"]["valence_min"]]

    def digest(self) -> str:
        """32 hexadecimal digits over what decides zones: scales, strategy and its thresholds."""
        text = json.dumps(self.describe(), sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def describe(self) -> dict[str, Any]:
        """What decides zones, as a JSON object."""
        return {
            "strategy": self.strategy,
            "thresholds": dict(self.thresholds[self.strategy]),
            "scales": {name: list(pair) for name, pair in self.scales.items()},
        }

    def _implied_strategy(self, changes: Mapping[str, float], preset: str | None) -> str:
        if preset is not None:
            return "simple"
        if not changes or self.file is not None:
            return self.strategy
        return "plan" if "valence_min" in changes else "simple"

    def _preset(self, name: str, strategy: str) -> dict[str, float]:
        if name not in self.presets:
            raise UsageError(
                f"there is no mapping preset {name!r}{_closest(name, self.presets)}. Expected one of "
                f"{', '.join(self.presets)}."
            )
        if strategy != "simple":
            raise UsageError(
                f"preset `{name}` was given for the strategy `{strategy}`; presets belong to `simple`. "
                "Leave one of the two out."
            )
        return dict(zip(("yellow_max", "purple_min"), self.presets[name], strict=True))

    def _require_on_scale(self, name: str, values: NDArray[np.float64]) -> None:
        low, high = self.scales[name]
        bad = np.flatnonzero(~((values >= low) & (values <= high)).ravel())
        if len(bad):
            first = ", ".join(f"{values.ravel()[i]:g} at {i}" for i in bad[:_SHOWN])
            raise InputError(
                f"{len(bad)} of {values.size} values of {name} have no zone: {first}. Expected numbers from "
                f"{low:g} to {high:g}. Leave these rows out, or correct the scale in the mapping."
            )


def default_yaml() -> str:
    """Text of a mapping file with every default, to be edited."""
    return yaml_text(ZoneMapping.default())


def yaml_text(mapping: ZoneMapping, remarks: Sequence[str] = ()) -> str:
    """Text of a file that `ZoneMapping.read` makes the same mapping of; `remarks` are further comments at its head."""
    lines = [
        "# How arousal a and valence v become zones. Thresholds on the command line win over this file.",
        *(f"# {remark}" for remark in remarks),
        "scales: {" + ", ".join(f"{name}: {_flow(pair)}" for name, pair in mapping.scales.items()) + "}",
        f"mapping_strategy: {mapping.strategy}  # {' | '.join(STRATEGIES)}",
    ]
    for name, values in mapping.thresholds.items():
        pairs = ", ".join(f"{key}: {value}" for key, value in values.items())
        lines += [f"# {_COMMENTS[name]}", f"{name}: {{{pairs}}}"]
    lines += [f"# {_COMMENTS['presets']}", "presets:"]
    lines += [f"  {name}: {_flow(pair)}" for name, pair in mapping.presets.items()]
    return "\n".join(lines) + "\n"


def _flow(pair: Pair) -> str:
    return f"[{pair[0]:g}, {pair[1]:g}]"


def _simple(a: NDArray[Any], v: NDArray[Any], t: Mapping[str, float]) -> tuple[NDArray[Any], NDArray[Any]]:
    return a < t["yellow_max"], a > t["purple_min"]


def _plan(a: NDArray[Any], v: NDArray[Any], t: Mapping[str, float]) -> tuple[NDArray[Any], NDArray[Any]]:
    return a < t["yellow_max"], (a > t["purple_min"]) & (v > t["valence_min"])


def _advanced(a: NDArray[Any], v: NDArray[Any], t: Mapping[str, float]) -> tuple[NDArray[Any], NDArray[Any]]:
    dark = (a >= t["purple_alt_min"]) & (v <= t["purple_alt_valence_max"])
    return (a <= t["yellow_max"]) & (v >= t["yellow_valence_min"]), (a >= t["purple_min"]) | dark


_RULES = {"simple": _simple, "plan": _plan, "advanced": _advanced}


def _load(path: Path) -> dict[Any, Any]:
    """The document of a file as a mapping."""
    import yaml

    from earmark.tasks.zones.text import decode_text

    if not path.is_file():
        raise UsageError(f"there is no mapping file `{path}`. Expected a YAML file. Correct --mapping.")
    try:
        document = yaml.load(decode_text(path.read_bytes(), str(path)), Loader=_unique_keys())
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        where = " ".join(str(error).split())
        raise UsageError(f"`{path}` is not YAML ({where}). Expected keys and values. Correct it.") from error
    if not isinstance(document, dict):
        raise UsageError(
            f"`{path}` holds {type(document).__name__}, expected keys such as `mapping_strategy`. Correct it."
        )
    return document


def _unique_keys() -> type[yaml.SafeLoader]:
    """PyYAML's safe loader, but a key that occurs twice is an error and not the last one's value."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            keys = [key.value for key, _ in node.value]
            if repeated := sorted({str(key) for key in keys if keys.count(key) > 1}):
                raise yaml.constructor.ConstructorError(
                    None, None, f"key `{repeated[0]}` occurs more than once", node.start_mark
                )
            return dict(super().construct_mapping(node, deep))

    return Loader


def _read_strategy(document: Mapping[Any, Any], problems: list[str]) -> str:
    strategy = document.get("mapping_strategy", STRATEGIES[0])
    if strategy not in STRATEGIES:
        names = ", ".join(STRATEGIES)
        problems.append(
            f"`mapping_strategy` is {strategy!r}{_closest(strategy, STRATEGIES)}, expected one of {names}"
        )
    return str(strategy)


def _read_numbers(document: Mapping[Any, Any], section: str, problems: list[str]) -> dict[str, float]:
    """Thresholds of one rule: numbers under known names."""
    default = _THRESHOLDS[section]
    found = _section(document, section, problems)
    for key, value in found.items():
        if key not in default:
            problems.append(f"unknown key `{section}.{key}`{_closest(key, default)}")
        elif not _is_number(value):
            problems.append(f"`{section}.{key}` is {value!r}, expected a number")
    good = {key: float(value) for key, value in found.items() if key in default and _is_number(value)}
    return default | good


def _read_pairs(
    document: Mapping[Any, Any],
    section: str,
    default: Mapping[str, Pair],
    problems: list[str],
    *,
    others_allowed: bool,
) -> dict[str, Pair]:
    """Pairs of numbers by name; a user may add presets, but no scales."""
    pairs = dict(default)
    for key, value in _section(document, section, problems).items():
        if not others_allowed and key not in default:
            problems.append(f"unknown key `{section}.{key}`{_closest(key, default)}")
        elif not isinstance(value, list) or len(value) != 2 or not all(map(_is_number, value)):
            problems.append(f"`{section}.{key}` is {value!r}, expected two numbers such as [4.0, 6.0]")
        elif not value[0] <= value[1] or (section == "scales" and value[0] == value[1]):
            problems.append(f"`{section}.{key}` is {value!r}, expected the lower number first")
        else:
            pairs[str(key)] = (float(value[0]), float(value[1]))
    return pairs


def _section(document: Mapping[Any, Any], section: str, problems: list[str]) -> Mapping[Any, Any]:
    found = document.get(section, {})
    if isinstance(found, dict):
        return found
    problems.append(f"`{section}` is {found!r}, expected keys and values")
    return {}


def _inconsistencies(mapping: ZoneMapping) -> Iterator[str]:
    """Thresholds in use that are off their scale or leave no room for GREEN; other rules may be of another scale."""
    for section in (mapping.strategy, "five_way"):
        values = mapping.thresholds[section]
        for name, value in values.items():
            low, high = mapping.scales["valence" if "valence" in name else "arousal"]
            if not low <= value <= high:
                yield f"`{section}.{name}` is {value:g}, expected a value on the scale {low:g} to {high:g}"
        if "yellow_max" in values and values["yellow_max"] > values["purple_min"]:
            yield (
                f"`{section}` has yellow_max {values['yellow_max']:g} above purple_min {values['purple_min']:g}"
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _closest(name: object, known: Any) -> str:
    from earmark.models.constraints import closest

    return closest(str(name), known)


def _refusal(name: str, problems: list[str]) -> UsageError:
    return UsageError(
        f"`{name}` cannot be used: {'; '.join(problems)}. Correct it. A file with every default, explained: "
        "earmark prepare zones --mapping-template zone_mapping.yaml"
    )
