"""The files of an earlier collector, ``data/ml_training``, and how a direction is written in them.

::

    {SYM}/features/{YYYY-MM-DD}_batch_{NNNN}.npy     float32, (N, 110) or (N, 112)
    {SYM}/labels/{YYYY-MM-DD}_batch_{NNNN}.json      N label stubs
    {SYM}/metadata/{YYYY-MM-DD}_batch_{NNNN}.json    {"batch_info": ..., "samples": [N]}
    {SYM}/_manifest.json                             coding, widths and SHA-256, where earmark wrote them

The date is that of saving, UTC; NNNN counts the batches of that day from 0001. Directions are -1, 0, 1 for down,
neutral, up, unless a file's coding is declared to be 0, 1, 2.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from earmark.errors import UsageError

__all__ = [
    "CODINGS",
    "HORIZONS",
    "LABEL_KEYS",
    "MANIFEST",
    "SAMPLE_KEYS",
    "WIDTHS",
    "BatchFiles",
    "coded",
    "find_batches",
    "next_number",
]

HORIZONS = ("10s", "30s", "60s")
SIGNALS = ("signal_type", "signal_confidence", "signal_strength")

LABEL_KEYS = (
    *(f"future_direction_{horizon}" for horizon in HORIZONS),
    *(f"future_movement_{horizon}" for horizon in HORIZONS),
    "timestamp",
    "current_mid_price",
    "current_imbalance",
    *SIGNALS,
)
SAMPLE_KEYS = ("timestamp", "symbol", "mid_price", "spread", "imbalance", *SIGNALS, "feature_count")

CODINGS: dict[str, tuple[int, int, int]] = {"-1/0/1": (-1, 0, 1), "0/1/2": (0, 1, 2)}
"""Name of a coding -> what stands for class 0, 1, 2."""

WIDTHS = (110, 112)
MANIFEST = "_manifest.json"

_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})_batch_(\d{4,})")


@dataclass(frozen=True, order=True)
class BatchFiles:
    """The three files of a batch, which may not all be there."""

    symbol_folder: Path
    date: str
    number: int

    @property
    def symbol(self) -> str:
        """Name of the folder."""
        return self.symbol_folder.name

    @property
    def name(self) -> str:
        """``2025-01-31_batch_0001``."""
        return f"{self.date}_batch_{self.number:04d}"

    @property
    def id(self) -> str:
        """``BTCUSDT/2025-01-31_batch_0001``."""
        return f"{self.symbol}/{self.name}"

    @property
    def features(self) -> Path:
        """The array."""
        return self.symbol_folder / "features" / f"{self.name}.npy"

    @property
    def labels(self) -> Path:
        """The label stubs."""
        return self.symbol_folder / "labels" / f"{self.name}.json"

    @property
    def metadata(self) -> Path:
        """The samples' metadata."""
        return self.symbol_folder / "metadata" / f"{self.name}.json"

    @property
    def paths(self) -> tuple[Path, Path, Path]:
        """Features, labels, metadata."""
        return self.features, self.labels, self.metadata


def find_batches(source: str | Path, symbols: tuple[str, ...] = ()) -> list[BatchFiles]:
    """All batches that have any file, by symbol, date and number.

    Raises
    ------
    UsageError
        The folder does not exist.
    """
    source = Path(source)
    if not source.is_dir():
        raise UsageError(
            f"There is no folder `{source}`. Expected {{SYM}}/features/*.npy and so on in it. Name it by --source DIR"
        )
    folders = [
        path for path in sorted(source.iterdir()) if path.is_dir() and (not symbols or path.name in symbols)
    ]
    return sorted({batch for folder in folders for batch in _batches_in(folder)})


def next_number(symbol_folder: Path, date: str) -> int:
    """Next free number of a day; a number that any of the three folders has is taken."""
    return max((batch.number for batch in _batches_in(symbol_folder) if batch.date == date), default=0) + 1


def coded(direction: int | None, coding: str = "-1/0/1") -> int | None:
    """A class 0, 1, 2 as it is written in a file; None stays."""
    return None if direction is None else CODINGS[coding][direction]


def _batches_in(symbol_folder: Path) -> Iterator[BatchFiles]:
    for part, suffix in (("features", ".npy"), ("labels", ".json"), ("metadata", ".json")):
        for path in (symbol_folder / part).glob(f"*{suffix}"):
            match = _NAME.fullmatch(path.stem)
            if match:
                yield BatchFiles(symbol_folder, match[1], int(match[2]))
