"""File names that say what was on: ``ac-on-fridge-off-day.m4a``.

A *pattern* is ``NAME-(on|off)`` once or more, then ``(a|b|...)``, the dayparts, joined by ``-``; a name matches it in
full, in lower case, and may end in the number of a take, ``-2``. The words before ``(on|off)`` are the devices, in the
order of every output. `derive` finds the pattern of names that share one.

Two older ways of naming are read only where the user asks for them: `legacy_name`, four fixed names, and
`heuristic_name`, whole words of a free name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from earmark.errors import UsageError
from earmark.tasks.appliance.schema import DEVICE_NAME, STATE_WORDS

__all__ = ["DEFAULT_PATTERN", "NamePattern", "ParsedName", "derive", "heuristic_name", "legacy_name"]

DEFAULT_PATTERN = "ac-(on|off)-fridge-(on|off)-(day|night)"

_FACT = "(on|off)"
_GROUPS = re.compile(r"\(([^()]+)\)")
_STEM = re.compile(r"((?:[a-z][a-z0-9_]*-(?:on|off)-)+)([a-z][a-z0-9_]*)(?:-[0-9]+)?")
_LEGACY = {"ac_on": (1, 0), "fridge_on": (0, 1), "all_on": (1, 1), "all_off": (0, 0)}
_WORDS = {"ac": "ac", "fridge": "fridge", "refrigerator": "fridge"}
_WHOLE = {("all", "off"): (0, 0), ("none",): (0, 0), ("all", "on"): (1, 1), ("both",): (1, 1)}
_DAYPARTS = ("day", "night")


@dataclass(frozen=True)
class ParsedName:
    """What a name says: the fact of each device, the daypart if it tells one, the number of the take (1: the first)."""

    facts: Mapping[str, bool]
    daypart: str | None = None
    take: int = 1


@dataclass(frozen=True)
class NamePattern:
    """A pattern of names; make one by `parse`.

    Examples
    --------
    >>> pattern = NamePattern.parse("washer-(on|off)-(day|night)")
    >>> pattern.devices, pattern.dayparts
    (('washer',), ('day', 'night'))
    >>> pattern.match("washer-on-night-2")
    ParsedName(facts={'washer': True}, daypart='night', take=2)
    >>> pattern.name({"washer": False}, "day", take=3)
    'washer-off-day-3'
    """

    devices: tuple[str, ...]
    dayparts: tuple[str, ...]
    _expression: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        facts = "-".join(f"{name}-(on|off)" for name in self.devices)
        expression = re.compile(f"{facts}-({'|'.join(self.dayparts)})(?:-([0-9]+))?")
        object.__setattr__(self, "_expression", expression)

    @classmethod
    def parse(cls, text: str) -> NamePattern:
        """The pattern that `text` spells.

        Raises
        ------
        UsageError
            It is none; the message says which part is wrong.
        """
        *facts, last = text.split("-")
        problems = [] if facts else ["it names no device"]
        devices, states = facts[::2], facts[1::2]
        problems += [f"`{word}` stands where {_FACT} was expected" for word in states if word != _FACT]
        problems += [f"`{devices[-1]}` is not followed by {_FACT}"] if len(facts) % 2 else []
        problems += [
            f"`{name}` is no name of a device"
            for name in devices
            if not DEVICE_NAME.fullmatch(name) or name in STATE_WORDS
        ]
        problems += [f"`{name}` occurs twice" for name, count in Counter(devices).items() if count > 1]
        found = _GROUPS.fullmatch(last)
        dayparts = found[1].split("|") if found else []
        if last == _FACT or not dayparts or not all(DEVICE_NAME.fullmatch(word) for word in dayparts):
            problems.append(f"it ends in `{last}`, not in the dayparts, e.g. (day|night)")
        if problems:
            raise UsageError(
                f"the pattern `{text}` cannot be used: {'; '.join(problems)}. Expected NAME-(on|off), once or more, "
                f"then the dayparts, joined by `-`, as in `{DEFAULT_PATTERN}`; or `auto`."
            )
        return cls(tuple(devices), tuple(dayparts))

    @property
    def text(self) -> str:
        """The pattern as `parse` reads it."""
        return "-".join([*(f"{name}-{_FACT}" for name in self.devices), f"({'|'.join(self.dayparts)})"])

    def match(self, stem: str) -> ParsedName | None:
        """What a file's stem says; None where it does not match in full."""
        found = self._expression.fullmatch(stem)
        if found is None:
            return None
        *words, daypart, take = found.groups()
        facts = {name: word == "on" for name, word in zip(self.devices, words, strict=True)}
        return ParsedName(facts, daypart, int(take) if take else 1)

    def name(self, facts: Mapping[str, bool], daypart: str, *, take: int = 1) -> str:
        """The stem of a recording; the first take bears no number.

        Raises
        ------
        UsageError
            A fact is missing or of another device, or the daypart is not one of the pattern.
        """
        if set(facts) != set(self.devices) or daypart not in self.dayparts:
            raise UsageError(
                f"{', '.join(facts) or 'no device'} and `{daypart}` make no name of the pattern `{self.text}`; "
                f"expected {', '.join(self.devices)} and one of {', '.join(self.dayparts)}."
            )
        words = [f"{name}-{STATE_WORDS[facts[name]]}" for name in self.devices]
        return "-".join([*words, daypart, *([str(take)] if take > 1 else [])])


def derive(stems: Sequence[str]) -> NamePattern:
    """The pattern that most names share; its dayparts are those that occur, sorted.

    Raises
    ------
    UsageError
        No name has the form of a pattern, or names have other devices or another order; all are listed.
    """
    found = {stem: _STEM.fullmatch(stem) for stem in stems}
    devices = {stem: tuple(match[1].split("-")[:-1:2]) for stem, match in found.items() if match}
    if not devices:
        raise UsageError(
            f"no pattern can be derived from the names {_listed(list(stems))}. Expected names such as "
            "`ac-on-fridge-off-day`. Rename them, or say what was on in a table: --labels FILE."
        )
    usual = Counter(devices.values()).most_common(1)[0][0]
    others = [stem for stem in stems if devices.get(stem) != usual]
    if others:
        raise UsageError(
            f"{len(others)} of {len(stems)} names do not have the devices {', '.join(usual)} in this order: "
            f"{_listed(others)}. Expected one list of devices in one room. Rename or move these files."
        )
    dayparts = {match[2] for match in found.values() if match}
    return NamePattern(usual, tuple(sorted(dayparts)))


def legacy_name(stem: str) -> ParsedName | None:
    """What one of the four names of an earlier program says; None for any other. They tell no daypart."""
    if stem not in _LEGACY:
        return None
    ac, fridge = _LEGACY[stem]
    return ParsedName({"ac": bool(ac), "fridge": bool(fridge)})


def heuristic_name(stem: str) -> ParsedName | None:
    """What the words of a free name say of air conditioner and fridge; None where they say nothing.

    Words are what stands between ``-``, ``_`` and spaces, never a part of one: ``background_fridge`` has no ``ac``. A
    device that is named is on unless ``off`` follows it; one that is not named is off.

    Examples
    --------
    >>> heuristic_name("background_fridge").facts
    {'ac': False, 'fridge': True}
    """
    words = tuple(re.split(r"[-_ ]+", stem.lower()))
    named = {
        _WORDS[word]: words[at + 1 : at + 2] != ("off",) for at, word in enumerate(words) if word in _WORDS
    }
    whole = [facts for phrase, facts in _WHOLE.items() if _contains(words, phrase)]
    if len(whole) + bool(named) != 1:
        return None  # nothing, or `all_off` beside `fridge`: two answers are none
    ac, fridge = whole[0] if whole else (named.get("ac", False), named.get("fridge", False))
    dayparts = [word for word in words if word in _DAYPARTS]
    return ParsedName({"ac": bool(ac), "fridge": bool(fridge)}, dayparts[0] if len(dayparts) == 1 else None)


def _contains(words: Sequence[str], phrase: tuple[str, ...]) -> bool:
    return any(tuple(words[at : at + len(phrase)]) == phrase for at in range(len(words)))


def _listed(stems: Sequence[str], n: int = 20) -> str:
    more = f" and {len(stems) - n} more" if len(stems) > n else ""
    return ", ".join(f"`{stem}`" for stem in stems[:n]) + more
