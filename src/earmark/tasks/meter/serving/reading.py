"""What the cache, or else the audio, gives of every window of a recording: rows of features, beats, and evidence.

Everything that an answer says comes of these rows, so it is the same to the last bit whether they were computed now,
found in the cache, or some of each, and whether the samples came from a file or a stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.decode import probe
from earmark.audio.fragment import split_fragment
from earmark.cache.entries import FeatureCache
from earmark.errors import DecodeError
from earmark.features.compute import ItemResult, compute_clip
from earmark.features.extractor import Extractor
from earmark.features.group import FeatureGroup
from earmark.features.item import Item
from earmark.features.progress import ProgressCallback
from earmark.features.table import FeatureTable, ItemFailure
from earmark.tasks.meter.groups.evidence import ACCENTS, EVIDENCE, LENGTH, ONSETS, Length
from earmark.tasks.meter.serving.failures import Failure, code_of
from earmark.tasks.meter.serving.windows import Layout, planned, settled
from earmark.tasks.meter.trackers.registry import Slot
from earmark.tasks.meter.trackers.rows import Beats

__all__ = ["Reader", "Reading", "WindowRows", "first_layout", "groups_to_read", "read_clips", "window_of"]

Array = NDArray[np.float32]

MAX_ROUNDS = 4
"""Of planning: a header that lies is found out in the second, the end of a file in the third."""


@dataclass(frozen=True)
class WindowRows:
    """The rows of one window.

    Parameters
    ----------
    features : FeatureTable
        One row.
    beats : mapping of tracker to Beats
        Of the slots that are not absent.
    """

    features: FeatureTable
    length: Length
    beats: Mapping[str, Beats]
    onsets: Array
    accents: Array


@dataclass(frozen=True)
class Reading:
    """A recording: starts of its windows in seconds, and their rows or why there are none."""

    path: str
    starts_s: tuple[float, ...]
    windows: tuple[WindowRows | ItemFailure, ...]


def groups_to_read(features: Sequence[FeatureGroup], slots: Sequence[Slot]) -> tuple[FeatureGroup, ...]:
    """Every group that an answer reads, once."""
    trackers = [slot.group for slot in slots if slot.group is not None]
    return tuple({group.name: group for group in (*trackers, *EVIDENCE, *features)}.values())


def read_clips(
    clips: Mapping[int, Clip], groups: Sequence[FeatureGroup], slots: Sequence[Slot], uri: str
) -> WindowRows | ItemFailure:
    """Rows of a window whose samples are here already, as the engine computes those of a file.

    Parameters
    ----------
    clips : mapping of rate in Hz to Clip
        The same window at every rate that a group asks for.
    """
    result = ItemResult()
    for rate, clip in clips.items():
        compute_clip(clip, [group for group in groups if group.sample_rate == rate], result)
    for name, error in result.errors.items():
        return ItemFailure(uri, uri, error.message, error.kind, name)
    vectors = [group for group in groups if group.kind == "vector"]
    table = FeatureTable(
        (uri,),
        tuple(column for group in vectors for column in group.column_names),
        np.concatenate([result.arrays[group.name] for group in vectors])[None, :],
        arrays={group.name: [result.arrays[group.name]] for group in groups if group.kind != "vector"},
    )
    return window_of(table, 0, slots)


def window_of(table: FeatureTable, row: int, slots: Sequence[Slot]) -> WindowRows:
    """One row of a table of the groups to read."""
    one = FeatureTable((table.ids[row],), table.columns, table.values[row : row + 1])
    return WindowRows(
        features=one,
        length=Length.of_row(one.select(LENGTH.column_names).values[0]),
        beats={
            slot.name: Beats.of_rows(table.frames(slot.group.name)[row])
            for slot in slots
            if slot.group is not None
        },
        onsets=table.frames(ONSETS.name)[row],
        accents=table.frames(ACCENTS.name)[row],
    )


@dataclass
class Reader:
    """Reads recordings through the engine, several at a time.

    Parameters
    ----------
    groups : sequence of FeatureGroup
        From `groups_to_read`.
    slots : sequence of Slot
    cache : FeatureCache or None
    workers : int or None
        As for `Extractor`.
    """

    groups: Sequence[FeatureGroup]
    slots: Sequence[Slot]
    cache: FeatureCache | None = None
    workers: int | None = None
    progress: ProgressCallback | None = None
    _known: dict[str, WindowRows | ItemFailure] = field(default_factory=dict)

    def read(self, uris: Iterable[str]) -> list[Reading | Failure]:
        """One outcome per input, in order."""
        self._known.clear()
        outcomes: dict[str, Reading | Failure] = {}
        layouts: dict[str, Layout] = {}
        order = list(uris)
        for uri in dict.fromkeys(order):
            layout = first_layout(uri)
            if isinstance(layout, DecodeError):
                outcomes[uri] = Failure.of(uri, layout)
            else:
                layouts[uri] = layout
        for _ in range(MAX_ROUNDS):
            self._extract([uri for layout in layouts.values() for uri in layout.uris])
            renewed = {uri: settled(layout, self._lengths(layout)) for uri, layout in layouts.items()}
            if renewed == layouts:
                break
            layouts = renewed
        outcomes |= {uri: self._reading(layout) for uri, layout in layouts.items()}
        return [outcomes[uri] for uri in order]

    def _extract(self, uris: Sequence[str]) -> None:
        missing = [Item(uri, uri) for uri in dict.fromkeys(uris) if uri not in self._known]
        if not missing:
            return
        extractor = Extractor(self.groups, self.cache, workers=self.workers)
        table = extractor.run(missing, progress=self.progress)
        self._known |= {failure.uri: failure for failure in table.failures}
        self._known |= {uri: window_of(table, row, self.slots) for row, uri in enumerate(table.ids)}

    def _lengths(self, layout: Layout) -> list[int | None]:
        found = [self._known.get(uri) for uri in layout.uris]
        return [one.length.n_samples if isinstance(one, WindowRows) else None for one in found]

    def _reading(self, layout: Layout) -> Reading | Failure:
        windows = tuple(self._known[uri] for uri in layout.uris)
        failures = [one for one in windows if isinstance(one, ItemFailure)]
        if len(failures) == len(windows):
            return Failure(layout.uri, code_of(failures[0].kind), failures[0].error)
        return Reading(layout.uri, layout.starts_s, windows)


def first_layout(uri: str) -> Layout | DecodeError:
    """Windows by the length that a file's header gives, or why it cannot be opened."""
    recording, part = split_fragment(uri)
    try:
        duration_s = probe(recording).duration_s
    except DecodeError as problem:
        return problem
    return planned(uri, duration_s if part is None else min(duration_s, part.end_s) - part.start_s)
