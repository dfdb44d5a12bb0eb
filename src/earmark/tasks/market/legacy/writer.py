"""Batches of samples as npy and json files, for programs that read that layout.

The number of a batch is taken by creating its labels file, which fails where another writer was first; the array
comes last, so a batch that has one is whole.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import UsageError
from earmark.store.lock import in_turn
from earmark.store.part_files import check_symbol
from earmark.tasks.market.legacy.layout import (
    HORIZONS,
    LABEL_KEYS,
    MANIFEST,
    SAMPLE_KEYS,
    WIDTHS,
    BatchFiles,
    coded,
    next_number,
)

__all__ = ["LegacyWriter", "json_bytes"]

CODING = "-1/0/1"

# Names in rows of the feature store -> names in metadata files.
_OTHER_NAMES = {"mid_price": "current_mid_price", "imbalance": "current_imbalance"}


class LegacyWriter:
    """Writes batches below a folder.

    Parameters
    ----------
    storage_path : str or Path
        ``data/ml_training``.
    """

    def __init__(self, storage_path: str | Path = "data/ml_training") -> None:
        self.root = Path(storage_path)

    def write(
        self,
        symbol: str,
        features: npt.NDArray[np.floating[Any]],
        samples: Sequence[Mapping[str, Any]],
        *,
        saved: datetime | None = None,
    ) -> BatchFiles:
        """Write one batch.

        Parameters
        ----------
        symbol : str
        features : ndarray, shape (n, 110 or 112)
            Stored as float32.
        samples : sequence of mapping
            n rows with ``timestamp`` (ms), prices and signals; a ``future_direction_10s`` of class 0, 1, 2 is written
            as -1, 0, 1, and what is absent as null.
        saved : datetime, optional
            Default: now. Its UTC date names the files.

        Returns
        -------
        BatchFiles
            Where the three files are.

        Raises
        ------
        UsageError
            Shapes that do not fit.
        """
        check_symbol(symbol)
        if (
            features.ndim != 2
            or len(features) != len(samples)
            or features.shape[1] not in WIDTHS
            or not len(samples)
        ):
            raise UsageError(
                f"A batch of {symbol} has features of shape {features.shape} and {len(samples)} samples; expected "
                f"(n, {' or '.join(map(str, WIDTHS))}) and n >= 1 samples."
            )
        saved = (saved or datetime.now(UTC)).astimezone(UTC)
        folder = self.root / symbol
        for part in ("features", "labels", "metadata"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        with in_turn(folder):
            batch = _reserve(folder, saved.strftime("%Y-%m-%d"), json_bytes([_stub(row) for row in samples]))
            metadata = json_bytes(_metadata(symbol, batch, features, samples, saved))
            write_bytes_atomic(batch.metadata, metadata)
            write_bytes_atomic(batch.features, _npy_bytes(features))
            _declare(batch, features.shape)
        return batch


def json_bytes(value: Any) -> bytes:
    """JSON with an indent of two; what is no number becomes null."""
    return json.dumps(_plain(value), indent=2, allow_nan=False).encode()


def _reserve(folder: Path, date: str, labels: bytes) -> BatchFiles:
    """The next free batch, with its labels written whole."""
    while True:
        batch = BatchFiles(folder, date, next_number(folder, date))
        handle, temporary = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=batch.labels.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(labels)
                file.flush()
                os.fsync(file.fileno())
            Path(temporary).chmod(0o644)
            batch.labels.hardlink_to(temporary)  # unlike a rename, refuses a name that is taken
        except FileExistsError:
            continue
        finally:
            Path(temporary).unlink(missing_ok=True)
        return batch


def _stub(row: Mapping[str, Any]) -> dict[str, Any]:
    directions = {f"future_direction_{h}": coded(row.get(f"future_direction_{h}")) for h in HORIZONS}
    return {key: directions[key] if key in directions else row.get(key) for key in LABEL_KEYS}


def _metadata(
    symbol: str,
    batch: BatchFiles,
    features: npt.NDArray[np.floating[Any]],
    samples: Sequence[Mapping[str, Any]],
    saved: datetime,
) -> dict[str, Any]:
    facts = {"symbol": symbol, "feature_count": int(features.shape[1])}
    return {
        "batch_info": {
            "symbol": symbol,
            "batch_number": batch.number,
            "sample_count": len(samples),
            "timestamp": saved.isoformat(),
            "feature_shape": list(features.shape),
        },
        "samples": [
            {
                key: facts[key] if key in facts else row.get(key, row.get(_OTHER_NAMES.get(key, key)))
                for key in SAMPLE_KEYS
            }
            for row in samples
        ],
    }


def _npy_bytes(features: npt.NDArray[np.floating[Any]]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(features, dtype="<f4"), allow_pickle=False)
    return buffer.getvalue()


def _declare(batch: BatchFiles, shape: tuple[int, ...]) -> None:
    """Enter the batch in the folder's manifest."""
    path = batch.symbol_folder / MANIFEST
    known: dict[str, Any] = (
        json.loads(path.read_bytes()) if path.is_file() else {"coding": CODING, "batches": {}}
    )
    hashes = {file.parent.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in batch.paths}
    known["batches"][batch.name] = {"rows": shape[0], "width": shape[1], "sha256": hashes}
    write_bytes_atomic(path, json_bytes(known))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    return None if isinstance(value, float) and not math.isfinite(value) else value
