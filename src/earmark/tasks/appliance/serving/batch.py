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

__all__ = ["Batch", "FileAnswer"]

Probabilities = NDArray[np.float32]

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
    """

    path: str
    model: Model
    p: Probabilities
    seconds: float

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
    """

    model: Model
    cache: FeatureCache | None = None
    workers: int | None = None
    hop_s: float | None = None
    progress: ProgressCallback | None = None

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
        found: dict[str, Probabilities | Failed] = {}
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
            uri: one if isinstance(one, Failed) else FileAnswer(uri, self.model, one, each_s)
            for uri, one in found.items()
        }

    def _extracted(self, uris: Sequence[str]) -> dict[str, Probabilities | Failed]:
        lengths = Extractor([LENGTH], self.cache, workers=self.workers or 0).run(_items(uris))
        found: dict[str, Probabilities | Failed] = {
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

    def _of_table(self, uri: str, names: Sequence[str], table: FeatureTable) -> Probabilities | Failed:
        wanted = set(names)
        for failure in table.failures:
            if failure.id in wanted:
                return Failed(uri, failure.error)
        place = {id: row for row, id in enumerate(table.ids)}
        rows = _rows(table, [place[name] for name in names])
        return self.model.detector.probabilities(rows, _one_recording(len(rows)))

    def _windows(self, uri: str, n_samples: int) -> list[str]:
        recording, part = split_fragment(uri)
        offset_s = 0.0 if part is None else part.start_s
        spans = (self.grid.span_s(number) for number in range(self.grid.count(n_samples)))
        return [fragment(recording, offset_s + start_s, offset_s + end_s) for start_s, end_s in spans]

    def _streamed(self, uri: str) -> Probabilities | Failed:
        """A long recording, or a part of one, read as it is decoded."""
        ring, detector = Ring(self.grid, uri), self.model.detector
        rows: list[Probabilities] = []
        tables: list[FeatureTable] = []  # of models that compare each window with the whole recording
        try:
            for block in blocks_of_file(uri, self.grid.sample_rate):
                for window in ring.push(block):
                    if detector.needs_reference:
                        tables.append(table_of_clips([window.clip], detector.groups))
                    else:
                        rows.append(detector.probabilities([window.clip])[0])
        except EarmarkError as problem:
            return Failed(uri, str(problem))
        if tables:
            return detector.probabilities(joined(tables), _one_recording(len(tables)))
        return np.stack(rows) if rows else Failed(uri, str(_too_short(uri, ring.n_heard, self.grid)))


def _one_recording(n_windows: int) -> OfRecordings:
    return OfRecordings(np.zeros(n_windows, np.int64))


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
