"""The words of the task: devices, states, columns and the constants of a window.

A *device* is a steady machine: a fact, on or off. The facts of all devices fold into one public *state* by
priority: the first device in `Devices.priority` that is on gives ``<device>-on``. A *daypart* is the group of
recordings that a split keeps on one side, ``day`` and ``night`` by default. A *take* is one of several recordings
of the same facts in the same daypart.

Times are seconds from the start of a recording; a window is ``[start, start + WINDOW_S)`` at `SAMPLE_RATE`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from earmark.errors import UsageError

__all__ = [
    "DEFAULT_DEVICES",
    "FILE_COLUMNS",
    "FREE_COLUMNS",
    "HOP_S",
    "MANIFEST_COLUMNS",
    "SAMPLE_RATE",
    "WINDOW_S",
    "Devices",
    "hidden_by",
    "none_on",
    "short_key",
    "state_of",
    "states",
    "window_id",
]

SAMPLE_RATE = 16_000
"""Hz. Every feature of the task is defined at this rate."""

WINDOW_S = 6.0
HOP_S = 1.5

DEVICE_NAME = re.compile(r"[a-z][a-z0-9_]*")
STATE_WORDS = ("off", "on")
"""Word of a fact by its value 0 or 1."""

FILE_COLUMNS = ("path", "duration_sec", "sample_rate", "state", "daypart", "recording_id")
"""Columns of ``files.csv``; those of the devices stand before ``state``."""

FREE_COLUMNS = (
    "recording_id",
    "daypart",
    "start_sec",
    "end_sec",
    "rms",
    "outlier",
    "duration_s",
    "channels",
    "take",
    "recording_hash",
    "part",
    "seal_group",
)
"""Columns that the manifest of every room has beside ``id``, ``uri``, ``group``, ``label`` and the devices."""

MANIFEST_COLUMNS = ("id", "uri", "group", "label", "content_hash", *FREE_COLUMNS)

RESERVED_NAMES = frozenset(
    {
        *MANIFEST_COLUMNS,
        *FILE_COLUMNS,
        *("split", "fold", "auxiliary", "file", "time", "t", "status", "state", "stable", "p", "on", "off"),
        *("both", "all", "none", "part_on", "on_spans"),
    }
)
"""No device has such a name: it would be a column or a state of another meaning."""

_SHORT_KEYS = {"fridge": "fr"}
_NONE_ON = {1: "{0}-off", 2: "both-off"}


@dataclass(frozen=True)
class Devices:
    """The machines of a room.

    Parameters
    ----------
    names : tuple of str
        In the order of every output.
    priority : tuple of str, optional
        Which of several that are on gives the state, first wins; by default the order of `names`.
    masks : tuple of (by, hides), optional
        While `by` runs, `hides` is hardly heard.

    Raises
    ------
    UsageError
        No name, a name twice, one that cannot be a column, or a priority or mask of other names; all together.
    """

    names: tuple[str, ...]
    priority: tuple[str, ...] = ()
    masks: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        names = tuple(self.names)
        object.__setattr__(self, "names", names)
        object.__setattr__(self, "priority", tuple(self.priority) or names)
        object.__setattr__(self, "masks", tuple((by, hides) for by, hides in self.masks))
        problems = [*_name_problems(names), *_role_problems(names, self.priority, self.masks)]
        if problems:
            raise UsageError(
                f"the devices {', '.join(names) or '(none)'} cannot be used: {'; '.join(problems)}. "
                "Expected names such as `ac` or `washer_2`, each once, and priority and masks made of them."
            )

    def __len__(self) -> int:
        return len(self.names)


def state_of(facts: Mapping[str, bool], devices: Devices) -> str:
    """The public state of what is on.

    Examples
    --------
    >>> state_of({"ac": True, "fridge": True}, DEFAULT_DEVICES)
    'ac-on'
    >>> state_of({"ac": False, "fridge": False}, DEFAULT_DEVICES)
    'both-off'
    """
    for name in devices.priority:
        if facts[name]:
            return f"{name}-on"
    return none_on(devices)


def hidden_by(facts: Mapping[str, bool], devices: Devices) -> frozenset[str]:
    """Devices that cannot be judged while these run, since one of these hides them.

    Examples
    --------
    >>> sorted(hidden_by({"ac": True, "fridge": False}, DEFAULT_DEVICES))
    ['fridge']
    """
    return frozenset(hides for by, hides in devices.masks if facts.get(by))


def none_on(devices: Devices) -> str:
    """The state in which nothing runs: ``<device>-off`` for one device, ``both-off`` for two, else ``all-off``."""
    return _NONE_ON.get(len(devices), "all-off").format(devices.names[0])


def states(devices: Devices) -> tuple[str, ...]:
    """Every public state: devices by priority, last that nothing runs."""
    return (*(f"{name}-on" for name in devices.priority), none_on(devices))


def short_key(device: str) -> str:
    """How keys of thresholds and settings spell a device: ``fr`` is the fridge, any other has its full name."""
    return _SHORT_KEYS.get(device, device)


def window_id(recording_id: str, start_s: float) -> str:
    """Id of a window in the manifest: ``ac-on-fridge-off-day@1.500``."""
    return f"{recording_id}@{start_s:.3f}"


def _name_problems(names: Sequence[str]) -> list[str]:
    problems = [] if names else ["there is none"]
    for name in dict.fromkeys(names):
        if not DEVICE_NAME.fullmatch(name) or name in STATE_WORDS:
            problems.append(f"{name!r} is no name of a device")
        elif name in RESERVED_NAMES:
            problems.append(f"`{name}` is the name of a column or state")
        if list(names).count(name) > 1:
            problems.append(f"`{name}` occurs twice")
    return problems


def _role_problems(
    names: Sequence[str], priority: Sequence[str], masks: Sequence[tuple[str, str]]
) -> list[str]:
    problems = []
    if sorted(priority) != sorted(names):
        problems.append(f"the priority is {', '.join(priority)}, not an order of the names")
    problems += [
        f"the mask {by}:{hides} does not name two of them"
        for by, hides in masks
        if by not in names or hides not in names or by == hides
    ]
    return problems


DEFAULT_DEVICES = Devices(("ac", "fridge"), masks=(("ac", "fridge"),))
"""The blower hides the compressor, which adds 0.2 to 0.4 dB under it."""
