"""From recordings to rows: every window of a room with its label, level and identity, as one manifest.

Each recording is decoded once, to measure its windows. What is wrong with any of them is told together, after all
have been tried.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.audio.fragment import fragment
from earmark.errors import InputError, TooShortError
from earmark.features.progress import Progress, ProgressCallback
from earmark.tasks.appliance.recordings import Recording, raise_all, relative
from earmark.tasks.appliance.schema import Devices, state_of, window_id
from earmark.tasks.appliance.sealing import Hashed, Sealing
from earmark.tasks.appliance.segments import Spans, on_share, on_within
from earmark.tasks.appliance.windows import DropBy, Measured, Windowing, measure, outliers

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Imported", "Source", "Trimming", "import_recordings", "room_table", "windows_rows"]

_REMEDY = (
    "Replace these files or take them out of the folder; --skip-short leaves out those that are too short."
)

Identify = Callable[[str], bytes]


@dataclass(frozen=True)
class Source:
    """A recording to import; with `on_spans` one in which the only device goes on and off, and free columns."""

    recording: Recording
    on_spans: Spans | None = None
    free: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Trimming:
    """Which windows are outliers: a share of each recording, by RMS, flux or both."""

    share: float
    by: DropBy = "rms"


@dataclass(frozen=True)
class Imported:
    """A recording with its windows: the hash of its content, what was measured, and which windows are outliers."""

    source: Source
    content: str
    measured: Measured
    outlier: np.ndarray

    @property
    def recording(self) -> Recording:
        """The recording."""
        return self.source.recording

    def hashed(self, group_on: str | None = None) -> Hashed:
        """What sealing asks of it; `group_on` names a free column whose equal values stay on one side."""
        machine = next(
            (value for name, value in self.source.free.items() if name.startswith("machine")), None
        )
        group = self.source.free.get(group_on) if group_on else None
        return Hashed(
            self.recording,
            self.content,
            self.measured.duration_s,
            None if machine is None else str(machine),
            None if group is None else str(group),
        )


def import_recordings(
    sources: Sequence[Source],
    windowing: Windowing,
    trimming: Trimming,
    identify: Identify,
    *,
    known_problems: Sequence[str] = (),
    skip_short: bool = False,
    progress: ProgressCallback | None = None,
) -> tuple[list[Imported], tuple[str, ...]]:
    """Decode and measure recordings; what was wrong before is told with what is wrong now.

    Returns
    -------
    list of Imported
    tuple of str
        Paths of recordings that are shorter than a window and were left out, with `skip_short`.

    Raises
    ------
    UsageError
        Recordings that cannot be decoded, are too short, or hold equal bytes; all of them in one message.
    """
    imported: list[Imported] = []
    problems = list(known_problems)
    skipped: list[str] = []
    for done, source in enumerate(sources, start=1):
        path = source.recording.path
        try:
            measured = measure(path, windowing, with_flux=trimming.by != "rms")
            outlier = outliers(measured.rms, measured.flux, share=trimming.share, by=trimming.by)
            imported.append(Imported(source, identify(str(path)).hex(), measured, outlier))
        except TooShortError as error:
            (skipped if skip_short else problems).append(str(error))
        except InputError as error:
            problems.append(str(error))
        if progress is not None:
            progress(Progress("recordings", done, len(sources)))
    problems += _equal_audio(imported)
    if not imported and not problems:
        problems = ["every recording is shorter than one window", *skipped]
    raise_all(problems, _REMEDY)
    return imported, tuple(skipped)


def room_table(
    imported: Sequence[Imported],
    devices: Devices,
    windowing: Windowing,
    sealing: Sealing,
    identify_many: Callable[[Sequence[str]], list[bytes | InputError]],
) -> pl.DataFrame:
    """The manifest's table: a row per window of every recording, outliers included, in the order of time.

    Columns are those of `earmark.tasks.appliance.schema.MANIFEST_COLUMNS`, one of 0 and 1 per device, and for
    recordings with switches ``part_on``, ``on_spans`` (on, off, on, off, ... in seconds) and the free columns.
    """
    import polars as pl

    tables = [_recording_table(each, devices, windowing, sealing) for each in imported]
    table = pl.concat(tables, how="diagonal_relaxed")
    contents = identify_many(table["uri"].to_list())
    lost = [content for content in contents if isinstance(content, InputError)]
    if lost:  # a file that vanished since it was measured
        raise lost[0]
    hashes = [content.hex() for content in contents if isinstance(content, bytes)]
    return table.with_columns(pl.Series("content_hash", hashes, dtype=pl.String))


def windows_rows(table: pl.DataFrame, paths: Mapping[str, Path], root: Path) -> pl.DataFrame:
    """The table with ``path``, relative to `root`, for ``windows.parquet``; `paths` by recording."""
    import polars as pl

    spelled = {name: relative(path, root) for name, path in paths.items()}
    return table.with_columns(
        pl.col("recording_id").replace_strict(spelled, return_dtype=pl.String).alias("path")
    )


def _recording_table(
    each: Imported, devices: Devices, windowing: Windowing, sealing: Sealing
) -> pl.DataFrame:
    import polars as pl

    recording, starts = each.recording, each.measured.starts_s.tolist()
    ends = [round(start + windowing.window_s, 6) for start in starts]
    parts = [sealing.part(each.content, start, end) for start, end in zip(starts, ends, strict=True)]
    group = [f"{recording.recording_id}#{part}" for part in parts] if sealing.is_same_recording else None
    n = len(starts)
    columns: dict[str, Any] = {
        "id": [window_id(recording.recording_id, start) for start in starts],
        "uri": [fragment(str(recording.path.absolute()), *span) for span in zip(starts, ends, strict=True)],
        "group": [recording.recording_id] * n,
        **_labels(each.source, devices, starts, ends),
        "recording_id": [recording.recording_id] * n,
        "daypart": pl.Series([recording.daypart] * n, dtype=pl.String),
        "start_sec": starts,
        "end_sec": ends,
        "rms": each.measured.rms,
        "outlier": each.outlier,
        "duration_s": [each.measured.duration_s] * n,
        "channels": [recording.channels] * n,
        "take": [recording.take] * n,
        "recording_hash": [each.content] * n,
        "part": parts,
        "seal_group": group or [recording.recording_id] * n,
        **{name: [value] * n for name, value in each.source.free.items()},
    }
    return pl.DataFrame(columns)


def _labels(
    source: Source, devices: Devices, starts: Sequence[float], ends: Sequence[float]
) -> dict[str, Any]:
    """Label and device columns of one recording's windows; missing in windows with a switch."""
    import polars as pl

    facts = source.recording.facts
    if facts is not None:
        values = {name: pl.Series([int(facts[name])] * len(starts), dtype=pl.Int64) for name in devices.names}
        return {"label": [state_of(facts, devices)] * len(starts), **values}
    spans, (device,) = source.on_spans or (), devices.names
    shares = [on_share(spans, *window) for window in zip(starts, ends, strict=True)]
    known = [int(share) if share in (0.0, 1.0) else None for share in shares]
    labels = [None if on is None else state_of({device: bool(on)}, devices) for on in known]
    within = [on_within(spans, *window) for window in zip(starts, ends, strict=True)]
    return {
        "label": pl.Series(labels, dtype=pl.String),
        device: pl.Series(known, dtype=pl.Int64),
        "part_on": shares,
        "on_spans": pl.Series(
            [[t for span in spans for t in span] for spans in within], dtype=pl.List(pl.Float64)
        ),
    }


def _equal_audio(imported: Sequence[Imported]) -> list[str]:
    by_content: dict[str, list[str]] = defaultdict(list)
    for each in imported:
        by_content[each.content].append(each.recording.path.name)
    return [
        f"{' and '.join(f'`{name}`' for name in names)} hold the same bytes: one recording under several names"
        for names in by_content.values()
        if len(names) > 1
    ]
