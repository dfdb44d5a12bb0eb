"""Windows of a recording: where they start, how loud they are, which are outliers; ``windows.parquet``.

A recording is decoded once, to mono at one rate. Windows start at multiples of the hop while the whole window fits;
nothing else is cut off at either end. `rms` is the root of the mean square of a window, in float64.

Outliers are footsteps, clanks and speech: per recording the ``round(n * share)`` windows of the highest RMS, or flux,
or mean rank of the two; of equal ones the earliest. They stay in the manifest, marked: training leaves them out, and a
score without them flatters.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from earmark.audio.clip import Clip
from earmark.audio.decode import decode
from earmark.audio.fragment import Span
from earmark.audio.spool import SPOOL_S, Spool, spool
from earmark.data.parquet import write_bytes_atomic
from earmark.errors import TooShortError, UsageError
from earmark.tasks.appliance.schema import HOP_S, SAMPLE_RATE, WINDOW_S

if TYPE_CHECKING:
    import polars as pl

__all__ = [
    "DROP_TOP_SHARE",
    "DropBy",
    "Measured",
    "Windowing",
    "measure",
    "outliers",
    "window_rms",
    "window_table",
    "write_windows",
]

DROP_TOP_SHARE = 0.01
"""Share of a recording's windows that are set aside; 0.01 to 0.02 is advised."""

DropBy = Literal["rms", "flux", "rms+flux"]

_PIECE_S = 600.0
_DECIMALS = 6


@dataclass(frozen=True)
class Windowing:
    """How recordings are cut.

    Parameters
    ----------
    window_s, hop_s : float
        Seconds, each at least one sample.
    sample_rate : int
        Hz.

    Raises
    ------
    UsageError
        A length is not positive.
    """

    window_s: float = WINDOW_S
    hop_s: float = HOP_S
    sample_rate: int = SAMPLE_RATE

    def __post_init__(self) -> None:
        lengths = (self.window_s, self.hop_s)
        if not all(1 <= length * self.sample_rate < math.inf for length in lengths):
            raise UsageError(
                f"windows of {self.window_s} s every {self.hop_s} s cannot be cut; expected lengths above 0, as "
                f"{WINDOW_S} and {HOP_S}. Correct --window-sec and --hop-sec."
            )

    @property
    def window_samples(self) -> int:
        """Samples of one window."""
        return round(self.window_s * self.sample_rate)

    def starts_s(self, n_samples: int) -> NDArray[np.float64]:
        """Starts of the windows of a recording of `n_samples`, seconds, shape (n_windows,); empty if it is shorter."""
        n_most = max(0, int(n_samples / (self.hop_s * self.sample_rate)) + 2)
        starts = np.round(np.arange(n_most) * self.hop_s, _DECIMALS)
        ends = self.first_samples(starts) + self.window_samples
        return np.asarray(starts[ends <= n_samples])

    def first_samples(self, starts_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """First sample of windows that start at these seconds."""
        return np.round(starts_s * self.sample_rate).astype(np.int64)


@dataclass(frozen=True)
class Measured:
    """The windows of one recording: starts in seconds, RMS, flux where it was asked for; each (n_windows,)."""

    starts_s: NDArray[np.float64]
    rms: NDArray[np.float64]
    flux: NDArray[np.float64] | None
    duration_s: float


def measure(path: str | Path, windowing: Windowing, *, with_flux: bool = False) -> Measured:
    """Decode a recording and measure its windows; one of more than 20 minutes goes through a temporary file.

    Parameters
    ----------
    path : path
    windowing : Windowing
    with_flux : bool
        Also measure `earmark.audio.spectral_flux.mean_flux` of each window.

    Raises
    ------
    DecodeError
        As from `earmark.audio.decode.decode`.
    TooShortError
        It is shorter than one window.
    """
    from earmark.audio.decode import probe

    is_long = probe(path).duration_s > SPOOL_S
    held = (spool if is_long else decode)(str(path), sample_rate=windowing.sample_rate)
    n_samples = held.n_samples if isinstance(held, Spool) else len(held.samples)
    starts = windowing.starts_s(n_samples)
    if not len(starts):
        raise TooShortError(
            f"`{path}` has {n_samples / windowing.sample_rate:.3f} s; expected at least one window of "
            f"{windowing.window_s:g} s. Record more, leave it out with --skip-short, or cut shorter windows."
        )
    rms, flux = np.empty(len(starts)), np.empty(len(starts))
    for rows, piece, offset in _pieces(held, starts, windowing):
        firsts = windowing.first_samples(starts[rows]) - offset
        rms[rows] = window_rms(piece.samples, firsts, windowing.window_samples)
        if with_flux:
            flux[rows] = _window_flux(piece, firsts, windowing.window_samples)
    return Measured(starts, rms, flux if with_flux else None, n_samples / windowing.sample_rate)


def window_rms(samples: NDArray[np.float32], firsts: NDArray[np.int64], n_window: int) -> NDArray[np.float64]:
    """Root mean square of windows ``samples[first : first + n_window]``, shape (n_windows,).

    Overlapping windows share the sums of what they have in common, and a window of zeros is exactly 0.
    """
    edges = np.unique(np.concatenate([firsts, firsts + n_window]))
    squares = np.square(samples, dtype=np.float64)
    sums = np.add.reduceat(squares, edges[:-1])
    sums[-1] = squares[edges[-2] : edges[-1]].sum()  # the last piece ends with the last window
    low, high = np.searchsorted(edges, firsts), np.searchsorted(edges, firsts + n_window)
    totals = np.array([sums[first:last].sum() for first, last in zip(low, high, strict=True)])
    return np.sqrt(totals / n_window)


def outliers(
    rms: NDArray[np.float64],
    flux: NDArray[np.float64] | None = None,
    *,
    share: float = DROP_TOP_SHARE,
    by: DropBy = "rms",
) -> NDArray[np.bool_]:
    """Which windows of one recording are set aside, shape (n_windows,).

    Parameters
    ----------
    rms, flux : ndarray, shape (n_windows,)
        `flux` is needed for `by` other than ``rms``.
    share : float
        0 <= share < 1; 0 sets none aside.

    Raises
    ------
    UsageError
        The share is out of range, or flux is needed and absent.
    """
    if not 0 <= share < 1:
        raise UsageError(
            f"the share of windows to drop is {share}; expected 0 <= share < 1, e.g. 0.01. Correct --drop-top-pct."
        )
    if by != "rms" and flux is None:
        raise UsageError(
            f"windows are to be dropped by {by}, and their flux was not measured; measure it first."
        )
    found = np.zeros(len(rms), dtype=bool)
    height = _height(rms, flux, by)
    found[np.lexsort((np.arange(len(rms)), -height))[: round(len(rms) * share)]] = True
    return found


def write_windows(path: Path, table: pl.DataFrame) -> None:
    """Write a table of windows as Parquet, whole or not at all."""
    buffer = io.BytesIO()
    table.write_parquet(buffer)
    write_bytes_atomic(path, buffer.getvalue())


def _height(rms: NDArray[np.float64], flux: NDArray[np.float64] | None, by: DropBy) -> NDArray[np.float64]:
    if flux is None or by == "rms":
        return rms
    if by == "flux":
        return flux
    from scipy.stats import rankdata

    return np.asarray(rankdata(rms) + rankdata(flux)) / 2.0


def _pieces(
    held: Clip | Spool, starts: NDArray[np.float64], windowing: Windowing
) -> Iterator[tuple[slice, Clip, int]]:
    """Rows of windows, the clip that holds them, and its first sample in the recording."""
    if isinstance(held, Clip):
        yield slice(0, len(starts)), held, 0
        return
    per_piece = max(1, int(_PIECE_S / windowing.hop_s))
    for low in range(0, len(starts), per_piece):
        rows = slice(low, min(low + per_piece, len(starts)))
        first, last = float(starts[rows][0]), float(starts[rows][-1])
        piece = held.cut(Span(first, last + windowing.window_s + windowing.hop_s))
        yield rows, piece, round(first * windowing.sample_rate)


def _window_flux(piece: Clip, firsts: NDArray[np.int64], n_window: int) -> NDArray[np.float64]:
    from earmark.audio.spectral_flux import mean_flux

    windows = (Clip(piece.samples[first : first + n_window], piece.sample_rate) for first in firsts)
    return np.array([mean_flux(window) for window in windows])


def window_table(table: pl.DataFrame, devices: tuple[str, ...]) -> pl.DataFrame:
    """``windows.parquet`` of rows with ``path``: recording, path, start, end, RMS, a column of 0 and 1 per device."""
    import polars as pl

    schema = {
        "recording_id": pl.String,
        "path": pl.String,
        "start_sec": pl.Float64,
        "end_sec": pl.Float64,
        "rms": pl.Float64,
        **dict.fromkeys(devices, pl.Int64),
    }
    return table.select(pl.col(name).cast(kind) for name, kind in schema.items())
