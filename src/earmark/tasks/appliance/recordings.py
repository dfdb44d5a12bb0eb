"""The recordings of a room: what was on in each, how long it is, where it lies; ``files.csv``.

Whatever is wrong in a folder is told at once: names that do not match, stems that occur twice, files that cannot be
opened, rows of a table that say nothing.
"""

from __future__ import annotations

import csv
import io
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earmark.audio.decode import probe
from earmark.data.parquet import write_bytes_atomic
from earmark.errors import InputError, UsageError
from earmark.tasks.appliance.names import NamePattern, ParsedName, derive, heuristic_name, legacy_name
from earmark.tasks.appliance.schema import DEFAULT_DEVICES, Devices, state_of

__all__ = [
    "AUTO",
    "DEFAULT_SUFFIXES",
    "Found",
    "Naming",
    "Recording",
    "as_fact",
    "devices_named",
    "find_recordings",
    "named_recordings",
    "raise_all",
    "read_files_csv",
    "recording_of",
    "relative",
    "repeated_stems",
    "write_files_csv",
]

AUTO = "auto"
"""The pattern that is derived from the names."""

DEFAULT_SUFFIXES = ("flac", "m4a")
_FIRST = ("path", "duration_sec", "sample_rate")
_LAST = ("state", "daypart", "recording_id")


@dataclass(frozen=True)
class Recording:
    """One file of one room in one steady state, or, with `facts` of None, one in which a machine goes on and off.

    `duration_s`, `sample_rate` and `channels` are those of the file; `take` numbers recordings of the same facts and
    daypart from 1.
    """

    path: Path
    recording_id: str
    facts: Mapping[str, bool] | None
    daypart: str | None
    duration_s: float
    sample_rate: int
    channels: int = 1
    take: int = 1


@dataclass(frozen=True)
class Found:
    """The recordings that could be used, their devices, what is wrong with the others, and the pattern of the names.

    Problems are handed on instead of raised, so that those found later are told in the same message.
    """

    recordings: tuple[Recording, ...]
    devices: Devices
    problems: tuple[str, ...] = ()
    pattern: str | None = None


@dataclass(frozen=True)
class Naming:
    """How names tell what was on: the devices, and what reads one stem.

    `pattern` is the text of the pattern, None for older ways of naming; `expected` says what a name looks like.
    """

    devices: Devices
    read: Callable[[str], ParsedName | None]
    pattern: str | None
    expected: str

    @classmethod
    def of_pattern(cls, text: str, stems: Sequence[str] = ()) -> Naming:
        """Names of a pattern; ``auto`` derives it from `stems`. Errors as of `NamePattern.parse` and `derive`."""
        pattern = derive(stems) if text == AUTO else NamePattern.parse(text)
        devices = devices_named(pattern.devices)
        return cls(devices, pattern.match, pattern.text, f"`{pattern.text}`")

    @classmethod
    def legacy(cls) -> Naming:
        """The four names ``ac_on``, ``fridge_on``, ``all_on``, ``all_off``."""
        return cls(DEFAULT_DEVICES, legacy_name, None, "ac_on, fridge_on, all_on or all_off")

    @classmethod
    def heuristic(cls) -> Naming:
        """Free names with the words ac, fridge, all off, both, ..."""
        return cls(
            DEFAULT_DEVICES, heuristic_name, None, "a name with one of the words ac, fridge, both, none"
        )


def find_recordings(folder: Path, suffixes: Iterable[str] = DEFAULT_SUFFIXES) -> list[Path]:
    """Files of a folder with one of these suffixes, sorted by name; hidden ones are left out.

    Raises
    ------
    UsageError
        There is no such folder, or no such file in it.
    """
    wanted = {f".{suffix.lower().lstrip('.')}" for suffix in suffixes}
    if not folder.is_dir():
        raise UsageError(
            f"there is no folder `{folder}`; expected one with recordings. Correct the path, or record some: "
            "earmark collect appliance"
        )
    listed = [path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    found = sorted((path for path in listed if path.suffix.lower() in wanted), key=lambda path: path.name)
    if not found:
        others = Counter(path.suffix.lower() or path.name for path in listed)
        seen = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(5)) or "nothing"
        raise UsageError(
            f"the folder `{folder}` holds no {' or '.join(sorted(wanted))} file, but {seen}; expected recordings. "
            "Record some (earmark collect appliance), or name another suffix: --ext wav"
        )
    return found


def named_recordings(paths: Sequence[Path], naming: Naming) -> Found:
    """The recordings that files with telling names are; problems are names, equal stems and unreadable files."""
    parsed = {path: naming.read(path.stem) for path in paths}
    problems = [
        f"`{path.name}` does not match {naming.expected}" for path, name in parsed.items() if name is None
    ]
    problems += repeated_stems(paths)
    recordings = []
    for path, name in parsed.items():
        if name is None:
            continue
        try:
            recordings.append(recording_of(path, name.facts, name.daypart, name.take))
        except InputError as error:
            problems.append(str(error))
    return Found(tuple(recordings), naming.devices, tuple(problems), naming.pattern)


def recording_of(
    path: Path, facts: Mapping[str, bool] | None, daypart: str | None = None, take: int = 1
) -> Recording:
    """A recording with what its header says.

    Raises
    ------
    InputError
        It cannot be opened, or tells no length.
    """
    info = probe(path)
    if not info.duration_s > 0:
        raise InputError(
            f"`{path}` tells no length ({info.duration_s} s); expected the seconds of its audio. Convert it anew."
        )
    return Recording(path, path.stem, facts, daypart, info.duration_s, info.sample_rate, info.channels, take)


def raise_all(problems: Sequence[str], remedy: str) -> None:
    """Raise one UsageError with all problems, one per line; nothing without any."""
    if problems:
        count = "a problem" if len(problems) == 1 else f"{len(problems)} problems"
        listed = "\n".join(f"  {problem.rstrip('.')}." for problem in problems)
        raise UsageError(f"the recordings have {count}:\n{listed}\n{remedy}")


def write_files_csv(path: Path, recordings: Sequence[Recording], devices: Devices, root: Path) -> None:
    """Write ``files.csv``: a row per recording, sorted by name; paths are relative to `root`, with ``/``."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*_FIRST, *devices.names, *_LAST])
    for recording in sorted(recordings, key=lambda each: each.recording_id):
        facts = recording.facts or {}
        writer.writerow(
            [
                relative(recording.path, root),
                f"{recording.duration_s:.6f}",
                recording.sample_rate,
                *(int(facts[name]) if name in facts else "" for name in devices.names),
                state_of(facts, devices) if facts else "",
                recording.daypart or "",
                recording.recording_id,
            ]
        )
    write_bytes_atomic(path, text.getvalue().encode())


def read_files_csv(path: Path, root: Path) -> Found:
    """Recordings and devices of a ``files.csv``, whose paths are relative to `root`.

    Raises
    ------
    UsageError
        It is missing, or has other columns.
    """
    rows, columns = _table(path)
    devices = devices_named(_device_columns(path, columns))
    problems, recordings = [], []
    for number, row in enumerate(rows, start=2):
        try:
            facts = {name: as_fact(row[name]) for name in devices.names}
            if row["state"] != state_of(facts, devices):
                raise ValueError(f"state `{row['state']}`, which its devices do not make")
            recordings.append(_of_row(row, facts, root))
        except (ValueError, TypeError, InputError) as error:
            problems.append(f"row {number} of {path.name} (`{row.get('path')}`) has {error}")
    problems += repeated_stems([recording.path for recording in recordings])
    return Found(tuple(recordings), devices, tuple(problems))


def relative(path: Path, root: Path) -> str:
    """A path as the tables spell it: relative to the project, with ``/``."""
    return Path(os.path.relpath(path.absolute(), root)).as_posix()


def _of_row(row: Mapping[str, str], facts: Mapping[str, bool], root: Path) -> Recording:
    path = root / row["path"]
    stored = recording_of(path, facts, row["daypart"] or None)
    take = path.stem.rsplit("-", 1)[-1]
    return Recording(
        path,
        row["recording_id"],
        facts,
        stored.daypart,
        stored.duration_s,
        stored.sample_rate,
        stored.channels,
        int(take) if take.isdigit() else 1,
    )


def _table(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    if not path.is_file():
        raise UsageError(
            f"there is no table of recordings at `{path}`. Write it: earmark prepare appliance SAMPLES --only files"
        )
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        return list(reader), list(reader.fieldnames or ())


def _device_columns(path: Path, columns: Sequence[str]) -> tuple[str, ...]:
    names = tuple(columns[len(_FIRST) : -len(_LAST)])
    if tuple(columns[: len(_FIRST)]) != _FIRST or tuple(columns[-len(_LAST) :]) != _LAST or not names:
        raise UsageError(
            f"`{path}` has the columns {', '.join(columns)}; expected {', '.join(_FIRST)}, one per device, "
            f"{', '.join(_LAST)}. Write it again: earmark prepare appliance SAMPLES --only files"
        )
    return names


def as_fact(value: Any) -> bool:
    """The fact that a cell of 0 or 1 states; a ValueError for any other."""
    if str(value).strip() not in ("0", "1"):
        raise ValueError(f"{value!r} where 0 or 1 was expected")
    return str(value).strip() == "1"


def devices_named(names: tuple[str, ...]) -> Devices:
    """Devices with the masks that are known of them."""
    masks = DEFAULT_DEVICES.masks if set(DEFAULT_DEVICES.names) <= set(names) else ()
    return Devices(names, masks=masks)


def repeated_stems(paths: Sequence[Path]) -> list[str]:
    """What is wrong where two files have one stem."""
    named: dict[str, list[str]] = defaultdict(list)
    for path in paths:
        named[path.stem].append(f"`{path.name}`")
    return [
        f"{' and '.join(names)} have one stem, which names a recording"
        for names in named.values()
        if len(names) > 1
    ]
