"""Labels in legacy json files, for programs that read them there: copies below a folder, or in place with a backup.

The price after a sample is that of another sample of the same symbol, also one of another batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import InputError, UsageError
from earmark.features.progress import Progress
from earmark.store.label_sets import coverage
from earmark.tasks.market.labels.rules import label_samples
from earmark.tasks.market.labels.series import Horizon, Outcome, Samples
from earmark.tasks.market.legacy.layout import BatchFiles, coded, find_batches
from earmark.tasks.market.legacy.reader import check_coding, row_times, stubs_of
from earmark.tasks.market.legacy.writer import json_bytes

if TYPE_CHECKING:
    from earmark.tasks.market.labels.label import LabelRequest

__all__ = ["LegacyLabels", "label_folder"]

BACKUP = ".backup"


@dataclass(frozen=True)
class LegacyLabels:
    """What was labelled; `rejected` are batches that could not be read, with the reason."""

    files: int
    rows: int
    coverage: list[dict[str, Any]]
    rejected: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For the command."""
        return {
            "files": self.files,
            "rows": self.rows,
            "coverage": self.coverage,
            "rejected": list(self.rejected),
        }


def label_folder(
    source: str | Path,
    request: LabelRequest,
    *,
    coding: str = "-1/0/1",
    output: Path | None = None,
    in_place: bool = False,
    dry_run: bool = False,
    tell: Callable[[Progress], None] | None = None,
) -> LegacyLabels:
    """Label the json files of all symbols.

    Parameters
    ----------
    source : str or Path
        ``data/ml_training``.
    request : LabelRequest
        Rule, horizons, match, tolerance and symbols.
    coding : str
        How directions are written.
    output : Path, optional
        Copies go to ``{SYM}/labels/`` below it.
    in_place : bool
        Replace the files; the originals stay as ``.json.backup``.
    dry_run : bool
        Write nothing.
    tell : callable, optional
        Told of each symbol.

    Raises
    ------
    UsageError
        Not exactly one of `output`, `in_place` and `dry_run`, or no batch.
    """
    if (output is not None) + in_place + dry_run != 1:
        raise UsageError(
            "Where labels go was not said once. Give one of --output DIR, --in-place and --dry-run"
        )
    batches = find_batches(source, request.symbols)
    if not batches:
        raise UsageError(f"There is no batch in `{source}`. Name the folder of the symbols by --source DIR")
    rows: list[dict[str, Any]] = []
    rejected: list[str] = []
    n_files = n_rows = 0
    symbols = [(name, list(group)) for name, group in groupby(batches, key=lambda batch: batch.symbol)]
    for done, (symbol, ours) in enumerate(symbols, 1):
        check_coding(ours[0].symbol_folder, coding)
        labelled = _Symbol(symbol, ours, request, rejected)
        if not dry_run:
            for files, stubs in labelled.stubs(coding):
                _write(files, stubs, output)
                n_files += 1
        n_rows += len(labelled.samples)
        rows += labelled.coverage()
        if tell is not None:
            tell(Progress("label", done, len(symbols), len(rejected), f"{symbol}: {len(ours)} batches"))
    return LegacyLabels(n_files, n_rows, rows, tuple(rejected))


class _Symbol:
    """All batches of one symbol as one series, and its labels."""

    def __init__(
        self, symbol: str, batches: Sequence[BatchFiles], request: LabelRequest, rejected: list[str]
    ) -> None:
        self.horizons = request.horizons
        self._batches: list[tuple[BatchFiles, list[dict[str, Any]], list[int | None]]] = []
        prices: dict[int, float] = {}
        for files in batches:
            try:
                self._batches.append((files, *_stubs(files, prices)))
            except InputError as error:
                rejected.append(str(error))
        stamps = sorted(prices)
        self.samples = Samples(
            symbol, np.array(stamps, np.int64), np.array([prices[time] for time in stamps], float)
        )
        self._place = {time: place for place, time in enumerate(stamps)}
        self._outcomes: dict[Horizon, Outcome] = {
            horizon: label_samples(
                request.rule,
                self.samples,
                horizon,
                tolerance_ms=int(request.tolerance_s * 1000),
                match=request.match,
            )
            for horizon in request.horizons
        }

    def stubs(self, coding: str) -> list[tuple[BatchFiles, list[dict[str, Any]]]]:
        """The label stubs of each batch, with labels."""
        return [
            (
                files,
                [
                    stub if time is None else {**stub, **self._labels(self._place[time], coding)}
                    for stub, time in zip(stubs, times, strict=True)
                ],
            )
            for files, stubs, times in self._batches
        ]

    def coverage(self) -> list[dict[str, Any]]:
        """As of a label set."""
        import polars as pl

        columns: dict[str, pl.Series] = {}
        for horizon, outcome in self._outcomes.items():
            columns |= outcome.columns(horizon)
        table = pl.DataFrame({"symbol": [self.samples.symbol] * len(self.samples), **columns})
        return coverage(table)

    def _labels(self, place: int, coding: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for horizon, outcome in self._outcomes.items():
            direction = int(outcome.direction[place])
            found[f"future_direction_{horizon}"] = coded(direction if direction >= 0 else None, coding)
            found[f"future_movement_{horizon}"] = float(outcome.movement[place]) if direction >= 0 else None
        return found


def _stubs(files: BatchFiles, prices: dict[int, float]) -> tuple[list[dict[str, Any]], list[int | None]]:
    """Label stubs and times of a batch; adds its prices, the last of a time counts."""
    stubs, samples = stubs_of(files)
    if len(stubs) != len(samples):
        raise InputError(
            f"{files.id}: {len(stubs)} labels and {len(samples)} samples; expected equal counts."
        )
    times = [None if isinstance(time, str) else time for time in row_times(stubs, samples)]
    for stub, sample, time in zip(stubs, samples, times, strict=True):
        price = stub.get("current_mid_price") or sample.get("mid_price")
        if time is not None:
            prices[time] = float(price) if isinstance(price, int | float) else float("nan")
    return stubs, times


def _write(files: BatchFiles, stubs: list[dict[str, Any]], output: Path | None) -> None:
    if output is not None:
        write_bytes_atomic(output / files.symbol / "labels" / files.labels.name, json_bytes(stubs))
        return
    backup = files.labels.with_name(files.labels.name + BACKUP)
    if not backup.exists():  # the first copy is the original
        write_bytes_atomic(backup, files.labels.read_bytes())
    write_bytes_atomic(files.labels, json_bytes(stubs))
