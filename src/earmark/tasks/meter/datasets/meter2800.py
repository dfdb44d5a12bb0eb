"""METER2800: 2800 clips of about 30 s in four classes, divided by its authors.

Lists ``data_{train,val,test}_4_classes.tab`` (a mirror has ``.csv``; lists of two classes exist too) with ``filename``
(``"/MAG/00553.wav"``), ``label`` (``three`` ... ``seven``), ``meter``, ``alt_meter``. The audio lies flat in
``audio/``, as ``SOURCE/stem`` or as ``SOURCE_stem``, with any suffix. Stems repeat across the sources.

References
----------
Abimbola, Kostrzewa, Kasprowski (2023). METER2800: a novel dataset for music time signature detection. Data in Brief.
doi:10.7910/DVN/0CLXBQ
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from earmark.data.policy import GIVEN_PARTS
from earmark.errors import UsageError
from earmark.tasks.meter.datasets.accounting import MISSING_FILE
from earmark.tasks.meter.datasets.audio_files import AudioFiles, without_audio_suffix
from earmark.tasks.meter.datasets.normal_form import MeterRow, class_of, read_rows

__all__ = ["ARCHIVES", "list_of", "read_meter2800"]

ARCHIVES = ("FMA", "GTZAN", "MAG", "OWN")
"""Sources, each an archive of the deposit."""

_DATASET = "meter2800"


def read_meter2800(folder: Path, *, alt_weight: float = 0.0) -> list[MeterRow]:
    """Rows of the three lists in `folder`.

    Parameters
    ----------
    folder : Path
    alt_weight : float
        Weight of the alternative meter in the soft label, in [0, 1); 0 leaves it out. The column keeps it anyway.

    Raises
    ------
    UsageError
        No list is there.
    """
    lists = {part: list_of(folder, part) for part in GIVEN_PARTS}
    found = {part: path for part, path in lists.items() if path is not None}
    if not found:
        raise UsageError(
            f"`{folder}` holds no list of METER2800; expected data_train_4_classes.tab (or .csv), and those of val and "
            "test. Correct the folder, or fetch them: earmark prepare meter --get meter2800"
        )
    rows = [
        _row(path, number, values, part, alt_weight)
        for part, path in found.items()
        for number, values in enumerate(read_rows(path), start=1)
    ]
    return _located(rows, AudioFiles(folder))


def list_of(folder: Path, part: str) -> Path | None:
    """The list of a part: of four classes before that of two, ``.tab`` before the mirror's ``.csv``."""
    names = (f"data_{part}_{n}_classes{suffix}" for n in (4, 2) for suffix in (".tab", ".csv"))
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _row(file: Path, number: int, values: Mapping[str, str], part: str, alt_weight: float) -> MeterRow:
    name = values.get("filename", "")
    source, _, rest = name.strip("/").partition("/")
    stem = without_audio_suffix(PurePosixPath(rest).name)
    row = MeterRow(
        file=str(file),
        number=number,
        name=name,
        dataset=_DATASET,
        source=source.upper(),
        key=f"{source.upper()}/{stem}",
        part=part,
        genre=stem.partition(".")[0] if source.upper() == "GTZAN" else None,
        alt_meter=values.get("alt_meter") or None,
    )
    if not stem:
        return row.rejected("unreadable row", "expected a filename with its source, as /MAG/00553.wav")
    label = class_of(values.get("label", "") or values.get("meter", ""))
    if label is None:
        return row.rejected("unreadable label", f"{values.get('label')!r} is no meter")
    return row.labelled(_with_alternative(label, row.alt_meter, alt_weight))


def _with_alternative(label: str, alternative: str | None, weight: float) -> str:
    other = class_of(alternative or "")
    return f"{label}:1,{other}:{weight:g}" if weight > 0 and other not in (None, label) else label


def _located(rows: list[MeterRow], files: AudioFiles) -> list[MeterRow]:
    """The rows with their files.

    A flat file without its source in the name is of the one source that lists its stem, or, of several, of the one
    that has no file under its own name; where two are left, whose file it is cannot be known.
    """
    own = {row.key: files.find(_own_names(row)) for row in rows if not row.reason}
    open_claims: dict[str, list[str]] = {}
    for key, path in own.items():
        if path is None:
            open_claims.setdefault(_stem(key), []).append(key)
    located = []
    for row in rows:
        if not row.reason:
            claims = open_claims.get(_stem(row.key), [])
            path = own[row.key] or files.find([PurePosixPath(row.name).name])
            row = _with_path(row, path, claims if own[row.key] is None else [])
        located.append(row)
    return located


def _with_path(row: MeterRow, path: Path | None, claims: list[str]) -> MeterRow:
    if path is None:
        return row.rejected(MISSING_FILE, row.name)
    if len(claims) > 1:
        return row.rejected(
            "ambiguous file",
            f"`{path.name}` may be {' or '.join(claims)}; put it into a folder of its source",
        )
    return replace(row, path=str(path))


def _own_names(row: MeterRow) -> tuple[str, str]:
    source, stem = row.key.split("/", 1)
    written = PurePosixPath(row.name).name or stem
    return f"{source}/{written}", f"{source}_{written}"


def _stem(key: str) -> str:
    return key.partition("/")[2].lower()
