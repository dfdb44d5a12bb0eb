"""`predict`: the state of the room in each recording, by the medians of its windows.

Windows go through the feature cache, several files at a time. A recording of more than 20 minutes is read as a stream
is, window by window, so memory does not grow with it, and nothing of it is cached; the numbers are the same.

Conventions: probabilities are those of the detector, no decoder comes between; the median of an even number is the mean
of the two in the middle; a median equal to its threshold is on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earmark.audio.decode import probe
from earmark.audio.fragment import fragment, split_fragment
from earmark.audio.spool import SPOOL_S
from earmark.cache.entries import FeatureCache
from earmark.errors import EarmarkError, InputError, TooShortError, UsageError
from earmark.features.extractor import Extractor
from earmark.features.item import Item
from earmark.features.progress import ProgressCallback
from earmark.features.table import FeatureTable, joined
from earmark.inference.inputs import expand_inputs
from earmark.inference.prediction import Failed
from earmark.tasks.appliance.detector import table_of_clips
from earmark.tasks.appliance.references import OfRecordings
from earmark.tasks.appliance.schema import state_of
from earmark.tasks.appliance.serving.engine import grid_of
from earmark.tasks.appliance.serving.length import LENGTH, n_samples_of
from earmark.tasks.appliance.serving.lines import p_fields
from earmark.tasks.appliance.serving.model import Model
from earmark.tasks.appliance.serving.ring import Grid, Ring
from earmark.tasks.appliance.serving.stream import blocks_of_file
from earmark.tasks.appliance.serving.timeline import bands_of, segments_of

__all__ = ["Batch", "FileAnswer"]

Probabilities = NDArray[np.float32]
Doubles = NDArray[np.float64]

FILES_AT_ONCE = 32
WINDOWS_WORTH_WORKERS = 400
"""Fewer are done sooner in this process: a worker costs seconds of imports, a window milliseconds."""


@dataclass(frozen=True)
class FileAnswer:
    """The answer about one recording.

    Parameters
    ----------
    path : str
    model : Model
    p : ndarray, float32, shape (n_windows, n_devices)
    seconds : float
        What reading it took, its share where files were read together.
    hop_s : float
        Between windows.
    bands : ndarray, float64, shape (n_windows, 26), or None
        Third octaves of the windows, where the model reads them and they were kept.
    """

    path: str
    model: Model
    p: Probabilities
    seconds: float
    hop_s: float
    bands: Doubles | None = None

    @property
    def medians(self) -> dict[str, float]:
        """Device -> median over the windows."""
        middle = np.median(self.p.astype(np.float64), axis=0)
        return dict(zip(self.model.detector.devices.names, middle.tolist(), strict=True))

    @property
    def facts(self) -> dict[str, bool]:
        """Device -> whether it is on."""
        return self.model.thresholds.facts(self.medians)

    @property
    def status(self) -> str:
        """The public state."""
        return state_of(self.facts, self.model.detector.devices)

    def document(self) -> dict[str, Any]:
        """The JSON object: the state, and the median of each device."""
        devices = self.model.detector.devices
        return {"status": self.status, **p_fields(devices, tuple(self.medians.values()))}

    def timeline(self) -> list[dict[str, Any]]:
        """When each device ran: ``device``, ``on_s``, ``off_s``; `earmark.tasks.appliance.serving.timeline`."""
        detector = self.model.detector
        return segments_of(
            self.p, self.bands, detector.devices.names, window_s=detector.window_s, hop_s=self.hop_s
        )

    def details(self) -> dict[str, Any]:
        """What ``--details`` adds."""
        facts, thresholds = self.facts, self.model.thresholds.t
        return {
            "path": self.path,
            **{f"{name}_on": facts[name] for name in facts},
            "n_windows": len(self.p),
            **{f"margin_{name}": round(p - thresholds[name], 6) for name, p in self.medians.items()},
            "masked": sorted({hides for by, hides in self.model.detector.devices.masks if facts[by]}),
            "seconds": round(self.seconds, 4),
        }


@dataclass(frozen=True, eq=False)
class Heard:
    """Probabilities of all windows of a recording, and their third octaves where they are at hand."""

    p: Probabilities
    bands: Doubles | None = None


@dataclass(frozen=True)
class Batch:
    """Answers recordings.

    Parameters
    ----------
    model : Model
    cache : FeatureCache or None
        None computes everything and keeps nothing.
    workers : int or None
        As of `Extractor`.
    hop_s : float or None
        Between windows; None is that of the run.
    keeps_bands : bool
        Keep the third octaves of windows also of recordings that are read as a stream, for their timeline.
    """

    model: Model
    cache: FeatureCache | None = None
    workers: int | None = None
    hop_s: float | None = None
    progress: ProgressCallback | None = None
    keeps_bands: bool = False

    @property
    def grid(self) -> Grid:
        """Where the windows of a recording lie."""
        own = grid_of(self.model.detector, self.model.thresholds.rule)
        return own if self.hop_s is None else Grid(own.window_s, self.hop_s, own.sample_rate)

    def files(self, sources: Sequence[str]) -> Iterator[FileAnswer | Failed]:
        """Answer files, folders, lists, patterns and URIs, one outcome per input, in order.

        Raises
        ------
        UsageError
            No source was given.
        """
        if not sources:
            raise UsageError("no recording was given; name audio files or folders.")
        entries = iter(expand_inputs(sources))
        while batch := list(islice(entries, FILES_AT_ONCE)):
            known = self._answered([one for one in batch if isinstance(one, str)])
            yield from (one if isinstance(one, Failed) else known[one] for one in batch)

    def _answered(self, uris: Sequence[str]) -> dict[str, FileAnswer | Failed]:
        started = time.perf_counter()
        found: dict[str, Heard | Failed] = {}
        short = []
        for uri in dict.fromkeys(uris):
            try:
                is_long = probe(split_fragment(uri)[0]).duration_s > SPOOL_S
            except InputError as problem:
                found[uri] = Failed(uri, str(problem))
                continue
            if is_long:
                found[uri] = self._streamed(uri)
            else:
                short.append(uri)
        found |= self._extracted(short)
        each_s = (time.perf_counter() - started) / max(1, len(uris))
        return {
            uri: one
            if isinstance(one, Failed)
            else FileAnswer(uri, self.model, one.p, each_s, self.grid.hop_s, one.bands)
            for uri, one in found.items()
        }

    def _extracted(self, uris: Sequence[str]) -> dict[str, Heard | Failed]:
        lengths = Extractor([LENGTH], self.cache, workers=self.workers or 0).run(_items(uris))
        found: dict[str, Heard | Failed] = {
            failure.uri: Failed(failure.uri, failure.error) for failure in lengths.failures
        }
        windows: dict[str, list[str]] = {}
        for uri, row in zip(lengths.ids, lengths.values, strict=True):
            windows[uri] = self._windows(uri, n_samples_of(row))
            if not windows[uri]:
                found[uri] = Failed(uri, str(_too_short(uri, n_samples_of(row), self.grid)))
        wanted = list(dict.fromkeys(window for of_file in windows.values() for window in of_file))
        if not wanted:
            return found
        is_little = self.workers is None and len(wanted) < WINDOWS_WORTH_WORKERS
        workers = 0 if is_little else self.workers
        extractor = Extractor(self.model.detector.groups, self.cache, workers=workers)
        table = extractor.run(_items(wanted), progress=self.progress)
        return found | {
            uri: self._of_table(uri, names, table) for uri, names in windows.items() if uri not in found
        }

    def _of_table(self, uri: str, names: Sequence[str], table: FeatureTable) -> Heard | Failed:
        wanted = set(names)
        for failure in table.failures:
            if failure.id in wanted:
                return Failed(uri, failure.error)
        place = {id: row for row, id in enumerate(table.ids)}
        rows = _rows(table, [place[name] for name in names])
        return self._heard(rows)

    def _heard(self, whole: FeatureTable) -> Heard:
        """The answer to all windows of one recording."""
        reference = OfRecordings(np.zeros(len(whole), np.int64))
        return Heard(self.model.detector.probabilities(whole, reference), bands_of(whole))

    def _windows(self, uri: str, n_samples: int) -> list[str]:
        recording, part = split_fragment(uri)
        offset_s = 0.0 if part is None else part.start_s
        spans = (self.grid.span_s(number) for number in range(self.grid.count(n_samples)))
        return [fragment(recording, offset_s + start_s, offset_s + end_s) for start_s, end_s in spans]

    def _streamed(self, uri: str) -> Heard | Failed:
        """A long recording, or a part of one, read as it is decoded."""
        ring, detector = Ring(self.grid, uri), self.model.detector
        rows: list[Probabilities] = []
        tables: list[FeatureTable] = []  # where a window must be compared with the whole recording
        needs_columns = detector.needs_reference or self.keeps_bands
        needs_columns &= all(group.kind == "vector" for group in detector.groups)
        try:
            for block in blocks_of_file(uri, self.grid.sample_rate):
                for window in ring.push(block):
                    if needs_columns:
                        tables.append(table_of_clips([window.clip], detector.groups))
                    else:
                        rows.append(detector.probabilities([window.clip])[0])
        except EarmarkError as problem:
            return Failed(uri, str(problem))
        if tables:
            return self._heard(joined(tables))
        return Heard(np.stack(rows)) if rows else Failed(uri, str(_too_short(uri, ring.n_heard, self.grid)))


def _items(uris: Sequence[str]) -> list[Item]:
    return [Item(uri, uri) for uri in uris]


def _rows(table: FeatureTable, rows: Sequence[int]) -> FeatureTable:
    """Some rows of a table."""
    return FeatureTable(
        tuple(table.ids[row] for row in rows),
        table.columns,
        table.values[list(rows)],
        arrays={name: [of_group[row] for row in rows] for name, of_group in table.arrays.items()},
    )


def _too_short(uri: str, n_samples: int, grid: Grid) -> TooShortError:
    return TooShortError(
        f"`{uri}` lasts {n_samples / grid.sample_rate:.2f} s; expected at least one window of {grid.window_s:g} s. "
        "Record longer."
    )
