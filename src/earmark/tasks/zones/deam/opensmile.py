"""Track features from openSMILE tables, for songs whose audio is not there.

A table is CSV with semicolons: ``frameTime`` and 260 columns, a row per 0.5 s. Each of 65 descriptors (the
ComParE set: 60 ms windows every 10 ms, smoothed, suffix ``_sma``) and its slope (``_sma_de``) has the mean
(``_amean``) and the standard deviation (``_stddev``) inside the half second. Notation: ``r`` is
``pcm_RMSenergy_sma_amean``, one value per frame.

=========================  ======================================================================
column                     from
=========================  ======================================================================
zero_crossing_rate         mean of ``pcm_zcr_sma_amean``
low_energy                 share of frames with r below its mean
rms_energy                 mean of r
spectral_rolloff           mean of ``pcm_fftMag_spectralRollOff90.0_sma_amean``
brightness                 mean of the share of auditory bands 20 to 25 in bands 0 to 25
spectral_centroid          mean of ``pcm_fftMag_spectralCentroid_sma_amean``
mfcc_k_mean, mfcc_k_std    ``pcm_fftMag_mfcc_sma[k]``, k = 1 to 5: mean, and total spread
energy_variance            total spread of the RMS energy; std of r without its ``_stddev``
drop_strength              P90 of the absolute ``pcm_RMSenergy_sma_de_amean``
drop_contrast_mean,        breakdown -> drop events of r, frame level
drop_count, drop_intensity
tempo                      missing: it cannot be told from half seconds
=========================  ======================================================================

The total spread joins what varies inside frames and between them: sqrt(mean(stddev^2) + var(amean)).

What is not in a table is missing (NaN), never 0: also every statistic of a column with an unreadable cell.
Columns have the names of the group ``zones.common``, whose definitions they share but not always the units;
`COMPARABLE` says which may be pooled with it as they are.

References: Eyben et al., "Recent developments in openSMILE", ACM Multimedia 2013; Weninger et al., "On the
acoustics of emotion in audio", Frontiers in Psychology 4, 2013 (the ComParE set).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from earmark.errors import InputError, SchemaError
from earmark.features.item import Item
from earmark.features.table import FeatureTable, ItemFailure
from earmark.tasks.zones.deam.annotations import refuse_annotations
from earmark.tasks.zones.drops import FRAME_LEVEL, find_drops
from earmark.tasks.zones.features import common
from earmark.tasks.zones.frames import FRAME_S
from earmark.tasks.zones.measures import p90

__all__ = [
    "COMMON_COLUMNS",
    "COMPARABLE",
    "EXTRA_COLUMNS",
    "FRAME_COLUMNS",
    "opensmile_row",
    "opensmile_table",
    "read_frames",
    "require_columns",
]

Frames: TypeAlias = Mapping[str, NDArray[np.float64]]

COMMON_COLUMNS = tuple(f"{common.name}.{column}" for column in common.columns)
"""What a table of other sources can be joined with, in the order of the group."""
EXTRA_COLUMNS = tuple(
    f"zones.opensmile.{column}"
    for column in ("spectral_flux", "spectral_flatness", "pitch", "pitch_confidence")
)
"""What openSMILE has beyond: flux, 1/(1 + |harmonicity|), mean f0 of voiced frames in Hz, voicing.

A rate of onsets is not among them: the share of energy changes above their own third quartile is a quarter
of the frames for every track, and half seconds tell no other.
"""

_SELF_RELATIVE = {"tempo", "low_energy", "drop_contrast_mean", "drop_intensity"}
COMPARABLE: Mapping[str, bool] = {
    name: name.rpartition(".")[2] in _SELF_RELATIVE for name in (*COMMON_COLUMNS, *EXTRA_COLUMNS)
}
"""Whether a column of a table may stand beside the same column made from audio.

True only for shares and ratios within one track, where units and gain cancel, and for the tempo, which comes
from audio or is missing. All else needs a mapping that is fitted on training rows first: openSMILE works at
the file's own rate, so that its zero crossings are per sample of 1/44 100 s, and centroid and roll-off reach
to 22 kHz where ours end at 11; its RMS is averaged over smoothed windows and not the root of a mean square;
cepstrum and auditory bands have filter banks and logarithms of their own; its slope is per 10 ms. A count of
drops grows with the length of the excerpt.
"""

_RMS, _RMS_STD = "pcm_RMSenergy_sma_amean", "pcm_RMSenergy_sma_stddev"
_RMS_SLOPE = "pcm_RMSenergy_sma_de_amean"
_MEANS = {
    "zero_crossing_rate": "pcm_zcr_sma_amean",
    "rms_energy": _RMS,
    "spectral_rolloff": "pcm_fftMag_spectralRollOff90.0_sma_amean",
    "spectral_centroid": "pcm_fftMag_spectralCentroid_sma_amean",
    "spectral_flux": "pcm_fftMag_spectralFlux_sma_amean",
    "pitch_confidence": "voicingFinalUnclipped_sma_amean",
}
_PITCH = "F0final_sma_amean"
_HARMONICITY = "pcm_fftMag_spectralHarmonicity_sma_amean"
_CEPSTRUM = tuple(f"pcm_fftMag_mfcc_sma[{k}]" for k in range(1, 6))
_BANDS = tuple(f"audSpec_Rfilt_sma[{band}]_amean" for band in range(26))
_HIGH_BANDS = slice(20, 26)
_OPTIONAL = frozenset({_RMS_STD})
FRAME_COLUMNS = (
    *_MEANS.values(),
    _RMS_STD,
    _RMS_SLOPE,
    _PITCH,
    _HARMONICITY,
    *(f"{name}_{statistic}" for name in _CEPSTRUM for statistic in ("amean", "stddev")),
    *_BANDS,
)
"""The columns of a table that are read; the one that may be absent is the spread of the RMS energy."""
_EPSILON = 1e-6


def opensmile_table(items: Sequence[Item], columns: Sequence[str] = COMMON_COLUMNS) -> FeatureTable:
    """Features of several tables.

    Parameters
    ----------
    items : sequence of Item
        Their URIs are paths of openSMILE tables.
    columns : sequence of str
        Of `COMMON_COLUMNS` and `EXTRA_COLUMNS`, in the order of the answer.

    Returns
    -------
    FeatureTable
        Float32, NaN for what a table cannot say. Items whose table cannot be used are in ``failures``.

    Raises
    ------
    SchemaError
        A column that openSMILE cannot give, or an annotation among the columns.
    """
    refuse_annotations(columns)
    if unknown := [name for name in columns if name not in COMPARABLE]:
        raise SchemaError(
            f"{len(unknown)} columns cannot be made from openSMILE tables: {', '.join(unknown[:8])}. "
            f"Expected columns of `{common.name}` or `zones.opensmile`. Choose the feature set common22."
        )
    rows: dict[str, list[float]] = {}
    failures = []
    for item in items:
        try:
            row = opensmile_row(item.uri)
            rows[item.id] = [row[name] for name in columns]
        except InputError as error:
            failures.append(ItemFailure(item.id, item.uri, str(error), type(error).__name__))
    values = np.array(list(rows.values()), dtype=np.float32).reshape(len(rows), len(columns))
    return FeatureTable(tuple(rows), tuple(columns), values, tuple(failures))


def opensmile_row(path: str | Path) -> dict[str, float]:
    """Features of one table, by the names of `COMMON_COLUMNS` and `EXTRA_COLUMNS`; NaN where missing.

    Raises
    ------
    InputError
        The file cannot be read as such a table, or lacks columns; all are named.
    """
    frames = read_frames(path)
    level, spread = frames[_RMS], frames.get(_RMS_STD)
    found = {name: float(frames[column].mean()) for name, column in _MEANS.items()}
    found["brightness"] = _brightness(frames)
    for k, name in enumerate(_CEPSTRUM, start=1):
        found[f"mfcc_{k}_mean"] = float(frames[f"{name}_amean"].mean())
        found[f"mfcc_{k}_std"] = _total_std(frames[f"{name}_amean"], frames[f"{name}_stddev"])
    found["energy_variance"] = _total_std(level, spread) if spread is not None else float(level.std())
    found["drop_strength"] = p90(np.abs(frames[_RMS_SLOPE]))
    found |= _level_statistics(level)
    found["spectral_flatness"] = float((1 / (1 + np.abs(frames[_HARMONICITY]))).mean())
    voiced = frames[_PITCH][frames[_PITCH] > 0]
    found["pitch"] = float(voiced.mean()) if len(voiced) else np.nan
    return {name: found.get(name.rpartition(".")[2], np.nan) for name in COMPARABLE}


def read_frames(path: str | Path) -> dict[str, NDArray[np.float64]]:
    """The columns `FRAME_COLUMNS` of a table, each of shape (n_frames,); cells that are no number are NaN.

    Raises
    ------
    InputError
        As `opensmile_row`.
    """
    import polars as pl

    names = require_columns(path)
    _require_whole_rows(Path(path), len(names))
    places = [names.index(name) for name in FRAME_COLUMNS if name in names]
    try:
        table = pl.read_csv(path, separator=";", columns=places, infer_schema=False, quote_char=None)
    except pl.exceptions.PolarsError as error:
        raise _unreadable(path, str(error)) from error
    numbers = table.select(pl.all().str.strip_chars().cast(pl.Float64, strict=False).fill_null(np.nan))
    columns = {name.strip(): numbers[name].to_numpy() for name in numbers.columns}
    return {name: np.where(np.isfinite(values), values, np.nan) for name, values in columns.items()}


def require_columns(path: str | Path) -> list[str]:
    """Column names of a table, from its first line alone.

    Raises
    ------
    InputError
        The file cannot be read, or columns of `FRAME_COLUMNS` are missing; all are named.
    """
    try:
        with Path(path).open("rb") as file:
            names = [name.strip() for name in file.readline().decode("utf-8-sig").split(";")]
    except (OSError, UnicodeDecodeError) as error:
        raise _unreadable(path, str(error)) from error
    missing = [name for name in FRAME_COLUMNS if name not in names and name not in _OPTIONAL]
    if missing:
        raise InputError(
            f"`{path}` lacks {len(missing)} columns: {', '.join(missing)}. Expected an openSMILE table of the ComParE "
            "set, with semicolons. Unpack it again, or give the audio."
        )
    return names


def _require_whole_rows(path: Path, n_columns: int) -> None:
    """Raise an InputError for a table without frames, or one that was cut short or shifted."""
    lines = path.read_bytes().rstrip().split(b"\n")
    if len(lines) < 2:
        raise _unreadable(path, "it holds no frames")
    for number, line in enumerate(lines, start=1):
        if line.count(b";") + 1 != n_columns:
            found = line.count(b";") + 1
            raise _unreadable(path, f"line {number} has {found} cells and the header {n_columns}")


def _unreadable(path: str | Path, reason: str) -> InputError:
    return InputError(
        f"`{path}` cannot be read as an openSMILE table ({reason}). Expected CSV with semicolons, a row per "
        f"{FRAME_S:g} s. Unpack it again."
    )


def _brightness(frames: Frames) -> float:
    bands = np.stack([frames[name] for name in _BANDS])
    return float((bands[_HIGH_BANDS].sum(axis=0) / (bands.sum(axis=0) + _EPSILON)).mean())


def _total_std(means: NDArray[np.float64], stds: NDArray[np.float64]) -> float:
    """Spread over all the time that frames cover, from their means and spreads (law of total variance)."""
    return float(np.sqrt(np.square(stds).mean() + means.var()))


def _level_statistics(level: NDArray[np.float64]) -> dict[str, float]:
    """Low energy and drops of the frame RMS; all missing if a frame is."""
    if np.isnan(level).any():
        return {}
    events = find_drops(level, frame_s=FRAME_S, rule=FRAME_LEVEL)
    return {
        "low_energy": float((level < level.mean()).mean()),
        "drop_contrast_mean": events.contrast_mean,
        "drop_count": float(len(events)),
        "drop_intensity": events.intensity,
    }
