"""Import of the earlier program's feature store: a folder with ``features.pkl`` and two JSON files.

``features.pkl``
    a pickled table (a data frame, a dictionary of columns, a list of rows) with ``audio_path``,
    ``zone_label``, ``features_list``; the last holds a list, tuple, array, or an object with one attribute
    per feature. It is read by `inert_pickle`, which runs nothing.
``checkpoint_metadata.json``
    name -> epoch, algorithm, metrics, timestamp, model_path.
``training_history.json``
    algorithm -> ``epochs`` and ``metrics`` {name: values}, numbers only.
``<algorithm>_epoch_<n>_<YYYYMMDD>_<HHMMSS>.pkl``
    models; listed, never opened.

Rows go into the group `IMPORTED_GROUP` of the cache under a fingerprint of their own, so that they never mix
with features computed here, and only after a sample has been computed again and agrees.
"""

from __future__ import annotations

import dataclasses
import json
import math
import random
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xxhash

from earmark.cache.adopt import Difference, differences
from earmark.cache.inert_objects import Record, finished_array
from earmark.cache.inert_pickle import MAX_BYTES, read_inert
from earmark.cache.records import IMPORTED_GROUP
from earmark.errors import CacheError, InputError

if TYPE_CHECKING:
    from earmark.cache.entries import FeatureCache

__all__ = [
    "Checkpoint",
    "ImportReport",
    "LegacyFolder",
    "LegacyProblem",
    "LegacyRow",
    "import_rows",
    "read_folder",
    "read_table",
]

Vector = np.ndarray[Any, np.dtype[np.float32]]

COLUMNS: Final = ("audio_path", "zone_label", "features_list")
SAMPLE_FRACTION: Final = 0.05
SAMPLE_LEAST: Final = 5
JSON_MAX_BYTES: Final = 64 << 20
MODEL_FILE: Final = re.compile(r"(?P<algorithm>.+)_epoch_(?P<epoch>\d+)_(?P<time>\d{8}_\d{6})\.pkl")


@dataclasses.dataclass(frozen=True)
class LegacyRow:
    """One row of the old table: path and label as written, features with their names."""

    audio_path: str
    zone_label: str
    columns: tuple[str, ...]
    values: Vector


@dataclasses.dataclass(frozen=True)
class LegacyProblem:
    """A row or file that could not be used, and why; ``row`` counts from 0 and is -1 for a whole file."""

    row: int
    place: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """One line of ``checkpoint_metadata.json``."""

    name: str
    algorithm: str
    epoch: int
    metrics: dict[str, float]
    timestamp: str
    model_path: str


@dataclasses.dataclass(frozen=True)
class LegacyFolder:
    """What the folder holds; ``lengths`` counts rows by vector length, ``labels`` by label."""

    rows: tuple[LegacyRow, ...]
    problems: tuple[LegacyProblem, ...]
    lengths: dict[int, int]
    labels: dict[str, int]
    checkpoints: tuple[Checkpoint, ...]
    history: dict[str, dict[str, tuple[float, ...]]]
    model_files: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class ImportReport:
    """What `import_rows` did: refused when a recomputed value differed, and then nothing was stored."""

    imported: int
    refused: bool
    compared: int
    differences: tuple[Difference, ...]
    problems: tuple[LegacyProblem, ...]
    fingerprints: dict[str, int]


@dataclasses.dataclass(frozen=True)
class _Version:
    """Stands for the code that computed imported rows, of which only the columns are known."""

    digest: bytes
    parts: tuple[dict[str, Any], ...]


def read_folder(folder: Path, columns_by_length: Mapping[int, Sequence[str]]) -> LegacyFolder:
    """Read the earlier program's folder.

    Parameters
    ----------
    folder : Path
        Holds ``features.pkl``; the other files may be absent.
    columns_by_length : mapping of int to sequence of str
        Names of the features by vector length.

    Raises
    ------
    CacheError
        There is no ``features.pkl``, or it is not a table or holds something that is refused.
    """
    table = folder / "features.pkl"
    if not table.is_file():
        raise CacheError(
            f"There is no features.pkl in {folder}. Expected the old cache folder. Name that folder."
        )
    rows, problems = read_table(table, columns_by_length)
    checkpoints, wrong = _read_checkpoints(folder / "checkpoint_metadata.json")
    history, odd = _read_history(folder / "training_history.json")
    return LegacyFolder(
        rows=tuple(rows),
        problems=(*problems, *wrong, *odd),
        lengths=dict(sorted(Counter(len(row.values) for row in rows).items())),
        labels=dict(sorted(Counter(row.zone_label for row in rows).items())),
        checkpoints=tuple(checkpoints),
        history=history,
        model_files=tuple(sorted(path.name for path in folder.iterdir() if MODEL_FILE.fullmatch(path.name))),
    )


def read_table(
    path: Path, columns_by_length: Mapping[int, Sequence[str]]
) -> tuple[list[LegacyRow], list[LegacyProblem]]:
    """Rows of a pickled table, and the rows that could not be used; see `read_folder`."""
    if path.stat().st_size > MAX_BYTES:
        raise CacheError(
            f"{path} has {path.stat().st_size} bytes. Expected at most {MAX_BYTES}. Is it the right file?"
        )
    rows, problems = [], []
    for index, (place, label, features) in enumerate(_table_rows(read_inert(path.read_bytes()), path)):
        place, label, features = finished_array(place), finished_array(label), finished_array(features)
        try:
            if not isinstance(place, str) or not place:
                raise ValueError(f"audio_path is a {type(place).__name__}, expected text")
            names, values = _vector(features, columns_by_length)
            rows.append(LegacyRow(place, _label(label), names, values))
        except ValueError as error:
            problems.append(LegacyProblem(index, place if isinstance(place, str) else "", str(error)))
    return rows, problems


def import_rows(
    cache: FeatureCache,
    folder: LegacyFolder,
    locate: Callable[[str], Path | None],
    recompute: Callable[[Sequence[LegacyRow], Sequence[Path]], Sequence[np.ndarray[Any, Any]]],
    *,
    tolerance: float,
    seed: int = 0,
) -> ImportReport:
    """Store the rows whose audio is at hand as group ``imported``, after recomputing a sample of them.

    Parameters
    ----------
    locate : callable
        From an old ``audio_path`` to the file as it is now, ``None`` when it is gone.
    recompute : callable
        From rows and their files to vectors in the rows' columns; NaN where the formula has changed and
        nothing can be compared. 5 % of the rows, at least 5, are asked for (all when there are fewer).
    tolerance : float
        As in `earmark.cache.adopt.adopt`, relative.

    Raises
    ------
    CacheError
        No row's audio file is at hand, so nothing can be compared.
    """
    located = [(row, locate(row.audio_path)) for row in folder.rows]
    at_hand = [(row, path) for row, path in located if path is not None]
    problems = [LegacyProblem(-1, row.audio_path, "no audio file") for row, path in located if path is None]
    identities = cache.identify_many([path for _, path in at_hand])
    usable = []
    for (row, path), identity in zip(at_hand, identities, strict=True):
        if isinstance(identity, InputError):
            problems.append(LegacyProblem(-1, row.audio_path, str(identity)))
        else:
            usable.append((row, path, identity))
    if not usable:
        raise CacheError(
            f"None of the {len(folder.rows)} rows has an audio file here, so none can be checked or used. "
            "Expected the recordings that the table was computed from. Say where they are."
        )
    chosen = random.Random(seed).sample(
        usable, min(len(usable), max(SAMPLE_LEAST, math.ceil(SAMPLE_FRACTION * len(usable))))
    )
    fresh = recompute([row for row, _, _ in chosen], [path for _, path, _ in chosen])
    found: list[Difference] = []
    for (row, _, identity), new in zip(chosen, fresh, strict=True):
        found += _mismatches(row, identity, np.asarray(new, np.float32), tolerance)
    if found:
        return ImportReport(0, True, len(chosen), tuple(found), tuple(problems), {})
    stored = _store(cache, [(row, identity) for row, _, identity in usable])
    return ImportReport(sum(stored.values()), False, len(chosen), (), tuple(problems), stored)


def _mismatches(row: LegacyRow, identity: bytes, new: Vector, tolerance: float) -> list[Difference]:
    compared = ~np.isnan(new) if new.shape == row.values.shape else slice(None)
    names = np.array(row.columns)[compared].tolist() if new.shape == row.values.shape else row.columns
    return differences(identity, names, row.values[compared], new[compared], tolerance)


def _store(cache: FeatureCache, rows: Sequence[tuple[LegacyRow, bytes]]) -> dict[str, int]:
    """Put the rows under one fingerprint per column list; returns digest in hexadecimal -> number of rows."""
    versions: dict[tuple[str, ...], list[tuple[LegacyRow, bytes]]] = {}
    for row, identity in rows:
        versions.setdefault(row.columns, []).append((row, identity))
    stored = {}
    for columns, members in versions.items():
        digest = xxhash.xxh3_128_digest(json.dumps([IMPORTED_GROUP, *columns]).encode())
        cache.put_many([(digest, identity, row.values) for row, identity in members])
        parts = ({"kind": "import", "name": "features.pkl", "columns": list(columns)},)
        cache.record(
            IMPORTED_GROUP,
            _Version(digest, parts),
            columns=columns,
            seconds=0.0,
            bytes=sum(row.values.nbytes for row, _ in members),
        )
        stored[digest.hex()] = len({identity for _, identity in members})
    return stored


def _table_rows(table: Any, path: Path) -> Iterator[tuple[Any, Any, Any]]:
    """(audio_path, zone_label, features_list) of each row, whatever the table is made of."""
    if isinstance(table, Record) and table.name == "DataFrame":
        table = _frame_columns(table)
    if isinstance(table, dict) and all(name in table for name in COLUMNS):
        columns = [_items(finished_array(table[name])) for name in COLUMNS]
        if len({len(column) for column in columns}) != 1:
            raise CacheError(
                f"The columns of {path} differ in length. Expected a table. Make a fresh copy of the file."
            )
        yield from zip(*columns, strict=True)
        return
    rows = table.values() if isinstance(table, dict) else table
    if not isinstance(table, (dict, list, tuple)):
        raise CacheError(
            f"{path} holds a {type(table).__name__}. Expected a table with {', '.join(COLUMNS)}."
        )
    for row in rows:
        content = row.state if isinstance(row, Record) else row
        if isinstance(content, dict) and all(name in content for name in COLUMNS):
            yield content[COLUMNS[0]], content[COLUMNS[1]], content[COLUMNS[2]]
        elif isinstance(content, (list, tuple)) and len(content) == len(COLUMNS):
            yield content[0], content[1], content[2]
        else:
            raise CacheError(f"{path} is not a table with {', '.join(COLUMNS)}. Is it the right file?")


def _items(column: Any) -> Sequence[Any]:
    """The values of a column that is a list, an array, or a dictionary by row number."""
    if isinstance(column, dict):
        return list(column.values())
    if isinstance(column, np.ndarray):
        return column.tolist() if column.ndim == 1 else list(column)
    if isinstance(column, (list, tuple)):
        return column
    raise CacheError(
        f"A column of the pickled table is a {type(column).__name__}. Expected a list or an array."
    )


def _frame_columns(frame: Record) -> dict[str, Any]:
    """Column name -> values of a pandas data frame, from its block manager in any layout since pandas 0.14."""
    manager = frame.state.get("_mgr", frame.state.get("_data"))
    if not isinstance(manager, Record):
        raise CacheError("The data frame in the pickle has no block manager. Save it with pandas 1 or 2.")
    if manager.arguments:
        blocks = [(block.arguments[0], block.arguments[1]) for block in manager.arguments[0]]
        axes = manager.arguments[1]
    else:
        layout = manager.values[3]["0.14.1"]
        blocks = [(block["values"], block["mgr_locs"]) for block in layout["blocks"]]
        axes = layout["axes"]
    names = _axis_names(axes[0])
    columns: dict[str, Any] = {}
    for values, places in blocks:
        array = finished_array(values)
        if not isinstance(array, np.ndarray):
            raise CacheError(
                "The data frame in the pickle has a column of a pandas extension type. Expected object columns. "
                "Convert it with .astype(object) where it can be opened."
            )
        for line, place in zip(array, _positions(places, len(names)), strict=True):
            columns[names[place]] = line
    return columns


def _axis_names(axis: Any) -> list[str]:
    content = axis.arguments[1] if isinstance(axis, Record) and len(axis.arguments) > 1 else None
    names = finished_array(content.get("data")) if isinstance(content, dict) else None
    if not isinstance(names, np.ndarray):
        raise CacheError(
            "The columns of the data frame in the pickle have no names. Expected " + ", ".join(COLUMNS)
        )
    return [name if isinstance(name, str) else "" for name in names.tolist()]


def _positions(places: Any, count: int) -> list[int]:
    if isinstance(places, slice):
        return list(range(*places.indices(count)))
    if isinstance(places, Record) and places.arguments:
        return _positions(places.arguments[0], count)
    return [int(place) for place in finished_array(places)]


def _label(label: Any) -> str:
    if isinstance(label, (str, int)):
        return str(label)
    raise ValueError(f"zone_label is a {type(label).__name__}, expected text")


def _vector(features: Any, columns_by_length: Mapping[int, Sequence[str]]) -> tuple[tuple[str, ...], Vector]:
    """Names and values of one row's features; raises ValueError with what is wrong."""
    if isinstance(features, Record):
        features = features.state
    if isinstance(features, dict):
        return _named_vector(features, columns_by_length)
    if isinstance(features, np.ndarray):
        features = features.reshape(-1).tolist()
    if not isinstance(features, (list, tuple)):
        raise ValueError(f"features_list is a {type(features).__name__}, expected numbers")
    if len(features) not in columns_by_length:
        known = ", ".join(str(length) for length in sorted(columns_by_length))
        raise ValueError(f"{len(features)} features, expected one of {known}")
    values = [_number(value, str(index)) for index, value in enumerate(features)]
    return tuple(columns_by_length[len(features)]), np.array(values, np.float32)


def _named_vector(
    features: Mapping[str, Any], columns_by_length: Mapping[int, Sequence[str]]
) -> tuple[tuple[str, ...], Vector]:
    """Of an object with named features: the longest known list of columns that it has, else all its numbers."""
    for length in sorted(columns_by_length, reverse=True):
        names = tuple(columns_by_length[length])
        if all(name in features for name in names):
            return names, np.array([_number(features[name], name) for name in names], np.float32)
    numbers = {name: value for name, value in features.items() if _is_number(finished_array(value))}
    if len(numbers) not in columns_by_length:
        known = ", ".join(str(length) for length in sorted(columns_by_length))
        raise ValueError(f"{len(numbers)} named numbers, expected one of {known}")
    return tuple(numbers), np.array([_number(value, name) for name, value in numbers.items()], np.float32)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) or (
        isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "fiub"
    )


def _number(value: Any, name: str) -> float:
    value = finished_array(value)
    if not _is_number(value):
        raise ValueError(f"feature {name} is a {type(value).__name__}, expected a number")
    return float(value.reshape(-1)[0]) if isinstance(value, np.ndarray) else float(value)


def _read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file, empty when there is no file."""
    if not path.exists():
        return {}
    if path.stat().st_size > JSON_MAX_BYTES:
        raise CacheError(f"{path} has {path.stat().st_size} bytes. Expected at most {JSON_MAX_BYTES}.")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise CacheError(
            f"{path} is not JSON: {error}. Expected an object. Correct or remove the file."
        ) from error
    if not isinstance(content, dict):
        raise CacheError(
            f"{path} holds a {type(content).__name__}. Expected an object. Correct or remove the file."
        )
    return content


def _read_checkpoints(path: Path) -> tuple[list[Checkpoint], list[LegacyProblem]]:
    checkpoints, problems = [], []
    for name, line in _read_json(path).items():
        try:
            checkpoints.append(
                Checkpoint(
                    name=name,
                    algorithm=str(line["algorithm"]),
                    epoch=int(line["epoch"]),
                    metrics={str(key): float(value) for key, value in line.get("metrics", {}).items()},
                    timestamp=str(line.get("timestamp", "")),
                    model_path=str(line.get("model_path", "")),
                )
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            problems.append(LegacyProblem(-1, f"{path.name}: {name}", f"not a checkpoint: {error!r}"))
    return checkpoints, problems


def _read_history(path: Path) -> tuple[dict[str, dict[str, tuple[float, ...]]], list[LegacyProblem]]:
    """algorithm -> {"epochs": ..., metric: ...}; what is not a list of numbers becomes a problem."""
    history: dict[str, dict[str, tuple[float, ...]]] = {}
    problems = []
    for algorithm, content in _read_json(path).items():
        metrics = content.get("metrics", {}) if isinstance(content, dict) else None
        if not isinstance(content, dict) or not isinstance(metrics, dict):
            problems.append(LegacyProblem(-1, f"{path.name}: {algorithm}", "expected epochs and metrics"))
            continue
        history[algorithm] = {}
        for name, values in {"epochs": content.get("epochs", []), **metrics}.items():
            if isinstance(values, list) and all(type(value) in (int, float) for value in values):
                history[algorithm][name] = tuple(float(value) for value in values)
            else:
                problems.append(
                    LegacyProblem(-1, f"{path.name}: {algorithm}.{name}", "not a list of numbers")
                )
    return history, problems
