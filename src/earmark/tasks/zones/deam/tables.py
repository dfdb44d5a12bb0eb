"""DEAM with its zones as tables for other tools: all songs, and a division into training, validation, test.

The division is by groups (artist, album, equal audio) and keeps the shares of the zones; it is drawn anew
from its seed and has nothing to do with the sealed test set. Columns of extremes over time are not written.
Annotations are DEAM's: its terms of use apply to what is made from them.
"""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from earmark.data.assignment import visiting_order
from earmark.data.balance import balanced_subset
from earmark.data.manifest import Manifest
from earmark.data.parquet import write_bytes_atomic
from earmark.errors import UsageError
from earmark.tasks.zones.deam.annotations import DeamSet, DeamTrack
from earmark.tasks.zones.labels import CLASSES

__all__ = ["TABLE_COLUMNS", "TABLE_FILES", "write_deam_tables"]

TABLE_FILES = ("deam_complete.csv", "train.csv", "val.csv", "test.csv", "metadata.json")
TABLE_COLUMNS = (
    *("track_id", "path", "zone", "arousal", "valence", "arousal_std", "valence_std", "tempo"),
    *("artist", "album", "title", "genre", "group"),
)
_PARTS = ("train", "val", "test")


def write_deam_tables(
    deam: DeamSet,
    manifest: Manifest,
    *,
    folder: str | Path,
    seed: int = 42,
    val_size: float = 0.1,
    test_size: float = 0.1,
) -> tuple[Path, ...]:
    """Write `TABLE_FILES`.

    Parameters
    ----------
    deam : DeamSet
    manifest : Manifest
        Says which songs are kept and how they are grouped.
    folder : path
        Created if needed.
    seed : int
    val_size, test_size : float
        Shares of the songs, close to which whole groups come.

    Returns
    -------
    tuple of Path
        In the order of `TABLE_FILES`.

    Raises
    ------
    UsageError
        The shares are not between 0 and 1, or leave nothing to train on.
    """
    if not (0 < val_size < 1 and 0 < test_size < 1 and val_size + test_size < 1):
        raise UsageError(
            f"the tables were asked for with shares of {val_size:g} for validation and {test_size:g} for the test; "
            "expected two numbers above 0 that leave songs to train on, such as 0.1 and 0.1. Correct them."
        )
    group_of = dict(manifest.table.select("id", "group").iter_rows())
    tracks = [track for track in deam.tracks if track.item_id in group_of]
    groups = [group_of[track.item_id] for track in tracks]
    part_of = _parts(tracks, groups, {"test": test_size, "val": val_size}, seed)
    folder = Path(folder)
    for name, part in zip(TABLE_FILES[:-1], (None, *_PARTS), strict=True):
        rows = [
            _row(track, group)
            for track, group in zip(tracks, groups, strict=True)
            if part in (None, part_of[group])
        ]
        write_bytes_atomic(folder / name, _csv(rows))
    about = _about(deam, tracks, [part_of[group] for group in groups], seed)
    write_bytes_atomic(folder / TABLE_FILES[-1], (json.dumps(about, indent=1) + "\n").encode())
    return tuple(folder / name for name in TABLE_FILES)


def _parts(
    tracks: Sequence[DeamTrack], groups: Sequence[str], shares: Mapping[str, float], seed: int
) -> dict[str, str]:
    """Part of each group: the test is drawn first, validation from what it leaves, the rest trains."""
    names = sorted(set(groups))
    position = {name: index for index, name in enumerate(names)}
    counts = np.zeros((len(names), len(CLASSES) + 1))
    for track, group in zip(tracks, groups, strict=True):
        counts[position[group], [CLASSES.index(track.zone), -1]] += 1
    total = counts.sum(axis=0)
    part_of = dict.fromkeys(names, "train")
    order = visiting_order(names, seed)
    for part, share in shares.items():
        free = np.array([index for index in order if part_of[names[index]] == "train"], dtype=np.intp)
        chosen = balanced_subset(counts[free], share * total, np.arange(len(free)))
        part_of |= {names[index]: part for index in free[chosen]}
    return part_of


def _row(track: DeamTrack, group: str) -> dict[str, Any]:
    of = {name: getattr(track, name) for name in TABLE_COLUMNS if hasattr(track, name)}
    of |= {"track_id": track.id, "path": track.path, "tempo": track.tempo_bpm, "group": group}
    return {name: "" if _is_missing(of[name]) else of[name] for name in TABLE_COLUMNS}


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, TABLE_COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue().encode()


def _about(deam: DeamSet, tracks: Sequence[DeamTrack], parts: Sequence[str], seed: int) -> dict[str, Any]:
    zones = {part: Counter[str]() for part in _PARTS}
    for track, part in zip(tracks, parts, strict=True):
        zones[part][track.zone] += 1
    return {
        "folder": str(deam.folder),
        "mapping": {**deam.mapping.describe(), "digest": deam.mapping.digest()},
        "seed": seed,
        "tracks": len(tracks),
        "rejected": len(deam.rejected),
        "parts": {part: {zone: zones[part][zone] for zone in CLASSES} for part in _PARTS},
        "columns": list(TABLE_COLUMNS),
        "warnings": list(deam.warnings),
    }
