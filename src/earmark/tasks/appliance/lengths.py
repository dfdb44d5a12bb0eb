"""Devices that are heard in windows of several lengths, all of which end at the same time.

A blower is told by two seconds of sound, a compressor under it needs six; and a window answers a switch only once most
of it lies behind it. So a device may be given the last seconds of the room's window: the same clip, cut once more.

* `last_group`: a feature group of the last seconds of a window. It is a group like any other, computed from the whole
  window's clip and cached under the window, so files, streams and live come the same way.
* `LengthsLayer`: a layer per length, each on features of that length; a device is answered by the layer of its own.

Conventions: seconds count back from the end of the window; a device that nobody names has the whole window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import methodcaller
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.audio.clip import Clip
from earmark.errors import UsageError
from earmark.features.group import FeatureGroup
from earmark.features.table import FeatureTable
from earmark.models.constraints import closest

if TYPE_CHECKING:
    from earmark.models.estimator import Floats
    from earmark.models.platt import Platt
    from earmark.tasks.appliance.layers import Layer
    from earmark.tasks.appliance.schema import Devices

__all__ = ["LengthsLayer", "Part", "groups_of_parts", "last", "last_group", "parts_of", "table_of_part"]


@dataclass(frozen=True)
class Part:
    """The devices that are heard in windows of one length; `seconds` is None for the whole window."""

    seconds: float | None
    devices: tuple[str, ...]

    @property
    def name(self) -> str:
        """As folders and groups are called: ``last_2000_ms``."""
        return "whole" if self.seconds is None else f"last_{round(1000 * self.seconds)}_ms"

    def group(self, group: FeatureGroup) -> FeatureGroup:
        """The group as this part hears it."""
        return group if self.seconds is None else last_group(group, self.seconds)


def parts_of(lengths: Mapping[str, float], devices: Devices, window_s: float) -> tuple[Part, ...]:
    """Devices by the length of their windows, the whole window first.

    Raises
    ------
    UsageError
        A name that is no device, or a length that is not above 0 and at most the window.
    """
    problems = [
        f"there is no device `{name}`{closest(name, devices.names)}"
        for name in lengths
        if name not in devices.names
    ]
    problems += [f"{name} has {s:g} s" for name, s in lengths.items() if not 0 < s <= window_s]
    if problems:
        raise UsageError(
            f"--lengths cannot be used: {'; '.join(problems)}. Expected {', '.join(devices.names)}, each with more "
            f"than 0 s and at most the {window_s:g} s of the prepared windows."
        )
    own = {name: lengths.get(name, window_s) for name in devices.names}
    by_length = sorted(set(own.values()), reverse=True)
    return tuple(
        Part(None if s == window_s else s, tuple(name for name in own if own[name] == s)) for s in by_length
    )


def last(clip: Clip, *, seconds: float) -> Clip:
    """The last seconds of a clip; ask for it by ``clip.memo``, so that all groups of it share their work."""
    n = round(seconds * clip.sample_rate)
    return Clip(clip.samples[max(0, len(clip.samples) - n) :], clip.sample_rate, clip.uri)


def last_group(group: FeatureGroup, seconds: float) -> FeatureGroup:
    """A group of the last seconds of what the group is of: its columns, under a name of its own."""
    return replace(
        group,
        name=f"{group.name}.{Part(seconds, ()).name}",
        function=_of_last,
        parameters={"seconds": seconds, "group": group},
        min_duration_s=0.0,  # that of the group holds for the shorter clip
        reuses=(),  # what it builds on is of the shorter clip, which no cache holds
    )


def _of_last(clip: Clip, *, seconds: float, group: FeatureGroup) -> np.ndarray:
    return group.on(clip.memo(last, seconds=seconds))


def groups_of_parts(groups: Sequence[FeatureGroup], parts: Sequence[Part]) -> tuple[FeatureGroup, ...]:
    """What must be extracted of a window for all parts."""
    return tuple(part.group(group) for part in parts for group in groups)


def table_of_part(table: FeatureTable, groups: Sequence[FeatureGroup], part: Part) -> FeatureTable:
    """The features of one part, under the names that `groups` have."""
    heard = {group.name: part.group(group) for group in groups}
    vectors = [group for group in groups if group.kind == "vector"]
    columns = [column for group in vectors for column in heard[group.name].column_names]
    chosen = table.select(columns)
    return replace(
        chosen,
        columns=tuple(column for group in vectors for column in group.column_names),
        arrays={
            group.name: table.frames(heard[group.name].name) for group in groups if group.kind != "vector"
        },
    )


@dataclass(frozen=True)
class LengthsLayer:
    """A layer per length of window.

    Parameters
    ----------
    parts : tuple of (Part, Layer)
        The layer of each answers all devices; its own are taken.
    names : tuple of str
        All devices, in order.
    """

    parts: tuple[tuple[Part, Layer], ...]
    names: tuple[str, ...]

    @property
    def groups(self) -> tuple[FeatureGroup, ...]:
        """What must be extracted of a window."""
        return tuple(part.group(group) for part, layer in self.parts for group in layer.groups)

    @property
    def calibration(self) -> tuple[Platt, ...]:
        """Of each device."""
        of = {
            name: layer.calibration[self.names.index(name)]
            for part, layer in self.parts
            for name in part.devices
        }
        return tuple(of[name] for name in self.names)

    @property
    def needs_reference(self) -> bool:
        """Whether one of its layers does."""
        return any(layer.needs_reference for _, layer in self.parts)

    def raw(self, table: FeatureTable) -> Floats:
        """Raw probabilities, shape (n, n_devices)."""
        return self._taken(
            [layer.raw(table_of_part(table, layer.groups, part)) for part, layer in self.parts]
        )

    def calibrate(self, raw: Floats) -> Floats:
        """Raw probabilities as calibrated ones."""
        return self._taken([layer.calibrate(raw) for _, layer in self.parts])

    def with_calibration(self, calibration: Sequence[Platt]) -> LengthsLayer:
        """The same layers with another calibration."""
        return self._each(methodcaller("with_calibration", calibration))

    def on_floor(self, floor_dbfs: float) -> LengthsLayer:
        """The same over another floor."""
        return self._each(methodcaller("on_floor", floor_dbfs))

    def save(self, folder: Path) -> None:
        """Write each part into a folder below ``model/``, and what they are into ``model/layer.json``."""
        from earmark.tasks.appliance.layers import MODEL_FOLDER, write_record

        for part, layer in self.parts:
            place = folder / MODEL_FOLDER / part.name
            place.mkdir(parents=True)
            layer.save(place)
        record = {
            "names": list(self.names),
            "parts": [[part.seconds, list(part.devices)] for part, _ in self.parts],
        }
        write_record(folder, self.groups, record)

    @classmethod
    def load(cls, folder: Path, record: Mapping[str, Any], beats: str | None = None) -> LengthsLayer:
        """Read what `save` wrote; `record` is the content of ``model/layer.json``, `beats` as of `load_layer`."""
        from earmark.tasks.appliance.layers import MODEL_FOLDER, load_layer

        parts = [Part(seconds, tuple(devices)) for seconds, devices in record["parts"]]
        loaded = tuple((part, load_layer(folder / MODEL_FOLDER / part.name, beats)) for part in parts)
        return cls(loaded, tuple(record["names"]))

    def _taken(self, answers: Sequence[Floats]) -> Floats:
        """Of each part's answers the columns of its own devices."""
        found = np.empty_like(answers[0])
        for (part, _), answer in zip(self.parts, answers, strict=True):
            own = [self.names.index(name) for name in part.devices]
            found[:, own] = answer[:, own]
        return found

    def _each(self, change: Callable[[Layer], Layer]) -> LengthsLayer:
        return replace(self, parts=tuple((part, change(layer)) for part, layer in self.parts))
