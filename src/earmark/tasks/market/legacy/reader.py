"""One batch of legacy files as rows of the feature store and as labels; whatever is doubtful is refused with a reason.

What older files lack is taken from where it stands: a time from the metadata of the same index, ``signal`` for
``signal_type``, null for the two Aroon columns. Nothing is guessed: a direction that the declared coding does not have
refuses the batch.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from earmark.errors import InputError, UsageError
from earmark.orderbook.catalog import FEATURE_NAMES
from earmark.store.times import EARLIEST_MS
from earmark.tasks.market.legacy.layout import CODINGS, HORIZONS, MANIFEST, WIDTHS, BatchFiles

if TYPE_CHECKING:
    import polars as pl

__all__ = ["Batch", "batch_hash", "check_coding", "read_batch", "row_times", "stubs_of"]


@dataclass(frozen=True, eq=False)
class Batch:
    """A batch that was read.

    Parameters
    ----------
    rows : polars.DataFrame
        Rows of the feature store, origin ``migrated``, sorted by time, each time once.
    labels : polars.DataFrame
        Rows of a label set; empty where the files have no labels.
    read : int
        Rows in the files.
    rejected : tuple of str
        Reasons, one per row that was left out.
    duplicates : int
        Rows whose time another row of the batch has; the last is taken.
    """

    rows: pl.DataFrame
    labels: pl.DataFrame
    read: int
    rejected: tuple[str, ...]
    duplicates: int


def read_batch(files: BatchFiles, coding: str = "-1/0/1") -> Batch:
    """Read and check one batch.

    Raises
    ------
    InputError
        A file is missing or broken, the counts differ, the width is none of 110 and 112, or a direction is not of
        the coding.
    """
    import polars as pl

    features = _features(files.features)
    labels, samples = stubs_of(files)
    if not len(features) == len(labels) == len(samples):
        raise InputError(
            f"{files.id}: {len(features)} rows of features, {len(labels)} labels, {len(samples)} samples of metadata; "
            "expected equal counts. Restore the files."
        )
    times = row_times(labels, samples)
    rejected = tuple(f"row {i}: {fault}" for i, fault in enumerate(times) if isinstance(fault, str))
    kept = [i for i, time in enumerate(times) if not isinstance(time, str)]
    stamps = pl.Series("timestamp", [times[i] for i in kept], dtype=pl.Int64)
    rows = _rows(files.symbol, stamps, features[kept], [labels[i] for i in kept], [samples[i] for i in kept])
    known = _labels(files, stamps, [labels[i] for i in kept], coding)
    unique = rows.unique("timestamp", keep="last").sort("timestamp")
    return Batch(
        unique,
        known.unique("timestamp", keep="last").sort("timestamp"),
        len(labels),
        rejected,
        len(rows) - len(unique),
    )


def batch_hash(files: BatchFiles) -> str:
    """SHA-256 over the contents of the three files; absent ones count as such."""
    digest = hashlib.sha256()
    for path in files.paths:
        content = hashlib.sha256(path.read_bytes()).digest() if path.is_file() else b"absent"
        digest.update(path.parent.name.encode() + content)
    return digest.hexdigest()


def check_coding(symbol_folder: Path, coding: str) -> None:
    """Refuse a coding that the folder's own manifest contradicts.

    Raises
    ------
    UsageError
    """
    path = symbol_folder / MANIFEST
    if not path.is_file():
        return
    declared = json.loads(path.read_bytes()).get("coding")
    if declared != coding:
        raise UsageError(
            f"`{path}` declares the coding {declared}, not {coding}. Run again with --coding={declared}"
        )


def stubs_of(files: BatchFiles) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Label stubs and metadata samples of a batch.

    Raises
    ------
    InputError
    """
    labels, metadata = _json(files.labels), _json(files.metadata)
    samples = metadata.get("samples") if isinstance(metadata, dict) else None
    for path, value in ((files.labels, labels), (files.metadata, samples)):
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in value):
            raise InputError(
                f"`{path}` has no list of samples. Expected one object per row. Restore the file."
            )
    return labels, samples  # type: ignore[return-value]


def row_times(labels: Sequence[Mapping[str, Any]], samples: Sequence[Mapping[str, Any]]) -> list[int | str]:
    """Time of each row in ms, or what is wrong with it."""
    return [
        _time(label["timestamp"] if label.get("timestamp") is not None else sample.get("timestamp"))
        for label, sample in zip(labels, samples, strict=True)
    ]


def _time(value: Any) -> int | str:
    try:
        if isinstance(value, str):
            moment = datetime.fromisoformat(value)
            value = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        number = float(value)
    except (TypeError, ValueError):
        return f"its time is {value!r}"
    if not math.isfinite(number):
        return f"its time is {value!r}"
    ms = round(number if number > 1e10 else number * 1000)
    return ms if ms >= EARLIEST_MS else f"its time is {value!r}, before 2020"


def _features(path: Path) -> npt.NDArray[np.float32]:
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"`{path}` is missing; its json files stand alone. Restore it.") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"`{path}` is not a readable npy file ({error}). Restore it.") from error
    if (
        not isinstance(array, np.ndarray)
        or array.ndim != 2
        or array.shape[1] not in WIDTHS
        or array.dtype.kind != "f"
    ):
        shape, dtype = getattr(array, "shape", None), getattr(array, "dtype", None)
        raise InputError(
            f"`{path}` holds {dtype} of shape {shape}; expected floats of shape (n, 110) or (n, 112)."
        )
    return array.astype(np.float32, copy=False)


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        raise InputError(
            f"`{path}` is missing. Restore it: a batch is features, labels and metadata."
        ) from None
    except ValueError as error:
        raise InputError(f"`{path}` is not readable JSON ({error}). Restore it.") from error


def _rows(
    symbol: str,
    stamps: pl.Series,
    features: npt.NDArray[np.float32],
    labels: Sequence[Mapping[str, Any]],
    samples: Sequence[Mapping[str, Any]],
) -> pl.DataFrame:
    import polars as pl

    table = pl.DataFrame({"symbol": pl.Series([symbol] * len(stamps), dtype=pl.String), "timestamp": stamps})
    there = FEATURE_NAMES[: features.shape[1]]
    values = [pl.Series(name, features[:, i]) for i, name in enumerate(there)]
    absent = [pl.Series(name, [None] * len(stamps), dtype=pl.Float32) for name in FEATURE_NAMES[len(there) :]]

    def number(name: str, other: str, dtype: Any = pl.Float64) -> pl.Series:
        found = [_number(a.get(name)) if a.get(name) is not None else _number(b.get(other)) for a, b in pairs]
        return pl.Series(name, found, dtype=dtype)

    pairs = list(zip(labels, samples, strict=True))
    signal = [
        a.get("signal_type") or b.get("signal_type") or a.get("signal") or b.get("signal") for a, b in pairs
    ]
    return table.with_columns(
        *values,
        *absent,
        number("current_mid_price", "mid_price"),
        number("current_imbalance", "imbalance"),
        number("spread", "spread"),
        pl.Series("signal_type", [None if s is None else str(s) for s in signal], dtype=pl.String),
        number("signal_confidence", "signal_confidence"),
        number("signal_strength", "signal_strength"),
        pl.Series("origin", ["migrated"] * len(stamps), dtype=pl.String),
    )


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _labels(
    files: BatchFiles, stamps: pl.Series, labels: Sequence[Mapping[str, Any]], coding: str
) -> pl.DataFrame:
    """Directions as classes with status ok; rows without any are left out."""
    import polars as pl

    classes = {code: place for place, code in enumerate(CODINGS[coding])}
    table = pl.DataFrame(
        {"symbol": pl.Series([files.symbol] * len(stamps), dtype=pl.String), "timestamp": stamps}
    )
    for horizon in HORIZONS:
        raw = [label.get(f"future_direction_{horizon}") for label in labels]
        strange = sorted({str(value) for value in raw if value is not None and value not in classes})
        if strange:
            raise InputError(
                f"`{files.labels}` has the direction {', '.join(strange)}, which the coding {coding} does not have. "
                "Declare the true one by --coding"
            )
        direction = pl.Series([None if value is None else classes[value] for value in raw], dtype=pl.Int8)
        movement = [_number(label.get(f"future_movement_{horizon}")) for label in labels]
        end = pl.col("timestamp") + 1000 * int(horizon.removesuffix("s"))
        known = direction.is_not_null()
        table = table.with_columns(
            direction.alias(f"future_direction_{horizon}"),
            pl.Series(f"future_movement_{horizon}", movement, dtype=pl.Float64),
            pl.when(known).then(end).alias(f"label_end_ms_{horizon}"),
            pl.when(known).then(pl.lit("ok")).otherwise(pl.lit("gap")).alias(f"label_status_{horizon}"),
        )
    return table.filter(pl.any_horizontal(pl.col([f"future_direction_{h}" for h in HORIZONS]).is_not_null()))
