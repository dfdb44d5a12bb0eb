"""`prepare appliance`: recordings to ``files.csv``, ``windows.parquet``, the manifest and its sealed part.

``files.csv`` and ``windows.parquet`` are for people and other programs. The verbs after this one read the manifest,
which also has the outliers, and in which the labels of the sealed windows are missing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.manifest import Manifest
from earmark.data.seal import SPLITS_FILE, seal
from earmark.data.splits import Splits
from earmark.errors import UsageError
from earmark.features.progress import ProgressCallback
from earmark.store.lock import in_turn
from earmark.tasks.appliance.importer import (
    Imported,
    Source,
    Trimming,
    import_recordings,
    room_table,
    windows_rows,
)
from earmark.tasks.appliance.labels import labelled_recordings
from earmark.tasks.appliance.names import DEFAULT_PATTERN, NamePattern, derive
from earmark.tasks.appliance.recordings import (
    AUTO,
    DEFAULT_SUFFIXES,
    Found,
    Naming,
    find_recordings,
    named_recordings,
    raise_all,
    read_files_csv,
    write_files_csv,
)
from earmark.tasks.appliance.room import ROOM_FILE, Room
from earmark.tasks.appliance.schema import Devices
from earmark.tasks.appliance.sealing import Sealing, caveats, plan_seal
from earmark.tasks.appliance.segments import read_scenes
from earmark.tasks.appliance.task import sealed_columns
from earmark.tasks.appliance.windows import DROP_TOP_SHARE, DropBy, Windowing, window_table, write_windows

if TYPE_CHECKING:
    import polars as pl

    from earmark.tasks.project import Project

__all__ = ["PrepareOptions", "Prepared", "prepare"]

MANIFESTS = "manifests"
SEAL_ON = "machine_src"
MOST_FOLDS = 5


@dataclass(frozen=True)
class PrepareOptions:
    """What `prepare appliance` was asked for; one field per option of the command line.

    Parameters
    ----------
    folder : Path
        Of the recordings.
    pattern : str
        Of their names; ``auto`` derives it.
    naming : {"pattern", "legacy", "heuristic"}
    labels, segments, table : Path or None
        Tables in place of telling names; see `earmark.tasks.appliance.labels` and `.segments`.
    device_name : str or None
        Of the machine of `segments`.
    priority : tuple of str
    masks : tuple of (by, hides) or None
        None keeps those that are known of the devices.
    windowing : Windowing
    drop_top_share : float or None
        None sets 1 % aside, and none of recordings with switches: there the loudest windows are those to learn.
    drop_by : {"rms", "flux", "rms+flux"}
    skip_short : bool
    only : {"files", "windows"} or None
        Write just the one table, or start from it.
    files_manifest, windows_manifest : Path or None
    seal : {"auto", "none"}
    seal_s, gap_s : float or None
        None keeps those of the room, else takes the usual ones.
    seal_on : str or None
        Column of the table of recordings whose equal values are sealed together; None is ``machine_src``, where the
        table has it. With a name that is no column, such as ``file``, each recording is drawn alone.
    reseal_reason : str or None
    ffmpeg_mono : bool
        Levels of ``windows.parquet`` as FFmpeg's own down-mix of stereo gives them, 3.01 dB higher.
    dry_run : bool
        Read, measure and divide, write nothing.
    """

    folder: Path = Path("samples")
    suffixes: tuple[str, ...] = DEFAULT_SUFFIXES
    pattern: str = DEFAULT_PATTERN
    naming: str = "pattern"
    labels: Path | None = None
    segments: Path | None = None
    table: Path | None = None
    device_name: str | None = None
    priority: tuple[str, ...] = ()
    masks: tuple[tuple[str, str], ...] | None = None
    windowing: Windowing = field(default_factory=Windowing)
    drop_top_share: float | None = None
    drop_by: DropBy = "rms"
    skip_short: bool = False
    only: str | None = None
    files_manifest: Path | None = None
    windows_manifest: Path | None = None
    seal: str = "auto"
    seal_s: float | None = None
    gap_s: float | None = None
    seal_on: str | None = None
    reseal_reason: str | None = None
    ffmpeg_mono: bool = False
    dry_run: bool = False

    @property
    def trimming(self) -> Trimming:
        """Which windows are set aside."""
        usual = DROP_TOP_SHARE if self.segments is None else 0.0
        return Trimming(usual if self.drop_top_share is None else self.drop_top_share, self.drop_by)


@dataclass(frozen=True)
class Prepared:
    """What was found and written: a row per recording, the parts, what to know, the files."""

    devices: Devices
    pattern: str | None
    rows: tuple[dict[str, Any], ...]
    parts: dict[str, int]
    seal: str
    warnings: tuple[str, ...]
    skipped: tuple[str, ...]
    files: tuple[Path, ...]


def prepare(project: Project, options: PrepareOptions, progress: ProgressCallback | None = None) -> Prepared:
    """Read the recordings of a room and write its tables; nothing is written where anything is wrong.

    Raises
    ------
    UsageError
        Every problem of names, tables and files, in one message.
    SealError
        Sealed windows would be released.
    """
    found = _found(project, options)
    warnings = caveats([source.recording for source in found.sources])
    if options.only == "files":
        return _only_files(project, options, found)
    imported, skipped = import_recordings(
        found.sources,
        options.windowing,
        options.trimming,
        project.cache.identify,
        known_problems=found.problems,
        skip_short=options.skip_short,
        progress=progress,
    )
    devices, files = found.devices, tuple[Path, ...]()
    with _writing_alone(project, options):
        sealing = plan_seal(
            [each.hashed(options.seal_on or SEAL_ON) for each in imported],
            wanted=options.seal,
            earlier=_earlier_sealing(project, options),
            seal_s=options.seal_s,
            gap_s=options.gap_s,
            seed=project.settings.seed,
        )
        table = room_table(imported, devices, options.windowing, sealing, project.cache.identify_many)
        room = _room(options, found, sealing)
        manifest = Manifest(table, root=project.root)
        splits = _splits(project, manifest, devices, reseal=bool(options.reseal_reason))
        if not options.dry_run:
            files = _write(project, options, imported, room, manifest, splits)
    split = {row["id"]: row["split"] for row in splits.rows().values()}
    rows = tuple(_account(each, manifest.table, split) for each in imported)
    parts = Counter(split.values())
    told = (*warnings, *_own_warnings(splits))
    return Prepared(
        devices, found.pattern, rows, dict(parts), sealing.sentence(parts["test"]), told, skipped, files
    )


def _writing_alone(project: Project, options: PrepareOptions) -> AbstractContextManager[None]:
    """Of two at once the second builds on what the first has sealed, and their files do not mix."""
    if options.dry_run:
        return nullcontext()
    project.data_folder.mkdir(parents=True, exist_ok=True)
    return in_turn(project.data_folder)


@dataclass(frozen=True)
class _Sources:
    """What is to be imported, and what is wrong already."""

    sources: list[Source]
    devices: Devices
    pattern: str | None
    problems: tuple[str, ...]


def _found(project: Project, options: PrepareOptions) -> _Sources:
    """The recordings that the options name, in whichever way."""
    if options.segments is not None:
        scenes, device, problems = read_scenes(
            options.segments, options.table, options.folder, options.device_name
        )
        sources = [Source(each.recording, each.on_spans, each.free) for each in scenes]
        return _Sources(sources, Devices((device,)), None, problems)
    found = _steady(project, options)
    masks = found.devices.masks if options.masks is None else options.masks
    devices = Devices(found.devices.names, options.priority, masks)
    return _Sources([Source(each) for each in found.recordings], devices, found.pattern, found.problems)


def _steady(project: Project, options: PrepareOptions) -> Found:
    if options.only == "windows":
        found = read_files_csv(_files_path(project, options), project.root)
        stems = [each.recording_id for each in found.recordings]
        return replace(found, pattern=_pattern_of(stems, options.pattern))
    if options.labels is not None:
        return labelled_recordings(options.labels, options.folder)
    paths = find_recordings(options.folder, options.suffixes)
    return named_recordings(paths, _naming(options, [path.stem for path in paths]))


def _pattern_of(stems: Sequence[str], text: str) -> str | None:
    """The pattern, if all of these names have it: a table may also hold recordings with names of another kind."""
    if text == AUTO:
        return derive(stems).text
    pattern = NamePattern.parse(text)
    return pattern.text if all(pattern.match(stem) for stem in stems) else None


def _naming(options: PrepareOptions, stems: Sequence[str]) -> Naming:
    older = {"legacy": Naming.legacy, "heuristic": Naming.heuristic}
    return older[options.naming]() if options.naming in older else Naming.of_pattern(options.pattern, stems)


def _room(options: PrepareOptions, found: _Sources, sealing: Sealing) -> Room:
    cut = options.windowing
    return Room(found.devices, found.pattern, cut.window_s, cut.hop_s, cut.sample_rate, sealing.to_json())


def _earlier_sealing(project: Project, options: PrepareOptions) -> Sealing | None:
    path = project.data_folder / ROOM_FILE
    if options.reseal_reason or not path.is_file():
        return None
    return Sealing.from_json(Room.from_file(path).seal)


def _splits(project: Project, manifest: Manifest, devices: Devices, *, reseal: bool) -> Splits:
    earlier = project.data_folder / SPLITS_FILE
    previous = Splits.read(earlier) if earlier.is_file() and not reseal else None
    training = manifest.table.filter(manifest.table["part"] == "train")
    n_groups = training["seal_group"].n_unique()
    if n_groups < 2:
        raise UsageError(
            f"{n_groups} recordings are left to train; expected at least 2, one with each device on and one with it "
            "off. Add recordings, or seal nothing: --seal none"
        )
    policy = replace(
        project.split_policy, n_folds=min(MOST_FOLDS, n_groups), sealed_columns=sealed_columns(devices)
    )
    return Splits.make(manifest, policy, previous=previous, reseal=reseal)


def _own_warnings(splits: Splits) -> tuple[str, ...]:
    """Those of the division that say something here: its folds are not those that the task trains on."""
    return tuple(text for text in splits.warnings if "parts: some parts lack it" not in text)


def _only_files(project: Project, options: PrepareOptions, found: _Sources) -> Prepared:
    raise_all(found.problems, "Correct or remove these files.")
    recordings = [source.recording for source in found.sources]
    path = _files_path(project, options)
    if not options.dry_run:
        write_files_csv(path, recordings, found.devices, project.root)
    rows = tuple(
        {"recording": each.recording_id, "daypart": each.daypart, "seconds": round(each.duration_s, 3)}
        for each in recordings
    )
    files = () if options.dry_run else (path,)
    return Prepared(found.devices, found.pattern, rows, {}, "", caveats(recordings), (), files)


def _write(
    project: Project,
    options: PrepareOptions,
    imported: Sequence[Imported],
    room: Room,
    manifest: Manifest,
    splits: Splits,
) -> tuple[Path, ...]:
    files = []
    if options.only is None:
        files.append(_files_path(project, options))
        write_files_csv(files[0], [each.recording for each in imported], room.devices, project.root)
    files += _write_windows(project, options, imported, room, manifest.table)
    room.write(project.data_folder)
    seal(project.data_folder, manifest, splits, reseal_reason=options.reseal_reason)
    project.cache.flush()
    return (*files, project.data_folder)


def _write_windows(
    project: Project, options: PrepareOptions, imported: Sequence[Imported], room: Room, table: pl.DataFrame
) -> list[Path]:
    """``windows.parquet`` with the windows that were kept, and ``windows_all.parquet`` with ``outlier``."""
    import polars as pl

    if options.ffmpeg_mono:
        table = table.with_columns(pl.col("rms") * _ffmpeg_gain(imported, table))
    paths = {each.recording.recording_id: each.recording.path for each in imported}
    rows = windows_rows(table, paths, project.root)
    everything = window_table(rows, room.devices.names).with_columns(rows["outlier"])
    kept_path = options.windows_manifest or project.effective.path("data") / MANIFESTS / "windows.parquet"
    all_path = kept_path.with_name(f"{kept_path.stem}_all{kept_path.suffix}")
    write_windows(kept_path, everything.filter(~pl.col("outlier")).drop("outlier"))
    write_windows(all_path, everything)
    return [kept_path, all_path]


def _ffmpeg_gain(imported: Sequence[Imported], table: pl.DataFrame) -> pl.Series:
    """FFmpeg sums two channels at 0.7071 each, where the mean has 0.5: the root of 2."""
    import polars as pl

    many = [each.recording.path.name for each in imported if each.recording.channels > 2]
    if many:
        raise UsageError(
            f"{', '.join(many)} have more than two channels, whose down-mix by FFmpeg is not reproduced; expected "
            "one or two. Leave --mono ffmpeg out."
        )
    return pl.Series(np.where(table["channels"] == 2, np.sqrt(2.0), 1.0))


def _account(each: Imported, table: pl.DataFrame, split: dict[str, str]) -> dict[str, Any]:
    """One recording: its state, its windows by part, the median level of all of them."""
    rows = table.filter(table["recording_id"] == each.recording.recording_id)
    parts = Counter(split[id] for id in rows["id"])
    labels = [label for label in rows["label"].unique(maintain_order=True) if label is not None]
    return {
        "recording": each.recording.recording_id,
        "state": labels[0] if len(labels) == 1 else " / ".join(sorted(labels)),
        "daypart": each.recording.daypart,
        "seconds": round(each.measured.duration_s, 3),
        "channels": each.recording.channels,
        "windows": rows.height,
        "outliers": int(each.outlier.sum()),
        "train": parts["train"],
        "test": parts["test"],
        "gap": parts["purged"],
        "median_dbfs": round(20 * float(np.log10(max(np.median(each.measured.rms), 1e-8))), 2),
    }


def _files_path(project: Project, options: PrepareOptions) -> Path:
    return options.files_manifest or project.effective.path("data") / MANIFESTS / "files.csv"
