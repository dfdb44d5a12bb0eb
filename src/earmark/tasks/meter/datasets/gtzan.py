"""GTZAN with meters: beats of GTZAN-Rhythm, or the table of tempi and meters of METER2800's authors.

* ``*.beats`` files of GTZAN-Rhythm, one per clip (``gtzan_blues_00000.beats``): a time in seconds and a beat number per
  line. The meter is the length of most bars; the downbeats are kept.
* ``genres_tempos.csv`` without a line of names: path, tempo in BPM, meter, alternative.

Of these clips 91 % are said to be in METER2800, whose division rules; equal audio is found and stays in one part.

References
----------
Marchand, Peeters (2015). GTZAN-Rhythm: extending the GTZAN test-set with beat, downbeat and swing annotations. ISMIR.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from earmark.errors import UsageError
from earmark.tasks.meter.datasets.accounting import MISSING_FILE
from earmark.tasks.meter.datasets.audio_files import AudioFiles, without_audio_suffix
from earmark.tasks.meter.datasets.normal_form import MeterRow, class_of, read_rows

__all__ = ["read_gtzan"]

TABLE_FILE = "genres_tempos.csv"
SOURCE = "GTZAN_RHYTHM"
_COLUMNS = ("path", "tempo", "meter", "alternative")
_NAME = re.compile(r"(?:gtzan[_.])?(?P<genre>[a-z]+)[._](?P<number>\d{5})$")


def read_gtzan(folder: Path) -> list[MeterRow]:
    """Rows of the beat files below `folder`, or else of its table.

    Raises
    ------
    UsageError
        Neither is there.
    """
    files = AudioFiles(folder)
    beats = sorted(folder.rglob("*.beats"))
    if beats:
        return [_of_beats(path, number, files) for number, path in enumerate(beats, start=1)]
    table = next(iter(sorted(folder.rglob(TABLE_FILE))), None)
    if table is None:
        raise UsageError(
            f"`{folder}` holds neither *.beats files of GTZAN-Rhythm nor {TABLE_FILE}; expected one of them beside the "
            "audio. Correct the folder."
        )
    return [
        _of_table(table, number, values, files)
        for number, values in enumerate(read_rows(table, _COLUMNS), start=1)
    ]


def _of_table(table: Path, number: int, values: dict[str, str], files: AudioFiles) -> MeterRow:
    row = _row(str(table), number, values["path"])
    if row.reason:
        return row
    label = class_of(values["meter"])
    if label is None:
        said = f"the meter {values['meter']!r}, which no class covers" if values["meter"] else "no meter"
        return row.rejected("no class", f"the table gives {said}")
    alternative = values.get("alternative") or None
    return _located(
        replace(row, alt_meter=alternative, tempo_bpm=values["tempo"] or None).labelled(label), files
    )


def _of_beats(path: Path, number: int, files: AudioFiles) -> MeterRow:
    row = _row(str(path), number, path.stem)
    beats = _read_beats(path)
    if row.reason:
        return row
    if beats is None:
        return row.rejected("unreadable label", "expected a time and a beat number in each line")
    length = _bar_length(beats)
    label = class_of(str(length))
    if label is None:
        return row.rejected("no class", f"bars of {length} beats" if length else "no whole bar is annotated")
    downbeats = " ".join(f"{time:g}" for time, position in beats if position == 1)
    return _located(replace(row, downbeats=downbeats).labelled(label), files)


def _bar_length(beats: list[tuple[float, int]]) -> int:
    """Beats in most bars, 0 without a whole bar."""
    lengths = Counter(last for (_, last), (_, first) in pairwise(beats) if first == 1 and last > 0)
    return lengths.most_common(1)[0][0] if lengths else 0


def _row(file: str, number: int, name: str) -> MeterRow:
    match = _NAME.search(without_audio_suffix(Path(name).name).lower())
    genre, stem = (match["genre"], f"{match['genre']}.{match['number']}") if match else (None, "")
    row = MeterRow(
        file=file,
        number=number,
        name=name,
        dataset="gtzan",
        source=SOURCE,
        key=f"{SOURCE}/{stem}",
        genre=genre,
    )
    return row if match else row.rejected("unreadable row", "expected a name as blues.00000")


def _located(row: MeterRow, files: AudioFiles) -> MeterRow:
    stem = row.key.partition("/")[2]
    path = files.find(
        [stem, *(f"{folder}{row.genre}/{stem}" for folder in ("", "genres/", "genres_original/"))]
    )
    return replace(row, path=str(path)) if path else row.rejected(MISSING_FILE, f"{stem}.*")


def _read_beats(path: Path) -> list[tuple[float, int]] | None:
    """Times and beat numbers, or None for a file that is not of this form."""
    try:
        lines = [line.split() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        return [(float(line[0]), round(float(line[1]))) for line in lines]
    except (ValueError, IndexError, UnicodeDecodeError):
        return None
