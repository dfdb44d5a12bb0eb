"""Ballroom (MTG): 698 dance clips of 30 s, only ever tested on. The dance is the label.

Either ``data_ballroom.tab`` (``filename``, ``genre``, ``meter``) beside the audio, or the folders of the archive, one
per dance. A dance in a style (``Rumba-American``) is that dance. Samba is arguably in 2/4; it counts as 4.

References
----------
Gouyon et al. (2006). An experimental comparison of audio tempo induction algorithms. IEEE TASLP 14(5).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from earmark.errors import UsageError
from earmark.tasks.meter.datasets.accounting import MISSING_FILE
from earmark.tasks.meter.datasets.audio_files import AudioFiles, without_audio_suffix
from earmark.tasks.meter.datasets.normal_form import MeterRow, read_rows

__all__ = ["DANCES", "LIST_FILE", "dance_of", "read_ballroom"]

LIST_FILE = "data_ballroom.tab"

DANCES = {
    **dict.fromkeys(("Waltz", "VienneseWaltz"), "3"),
    **dict.fromkeys(("ChaChaCha", "Jive", "Quickstep", "Rumba", "Samba", "Tango"), "4"),
}
"""Dance -> class."""

SIGNATURES = {"3": "3/4", "4": "4/4"}


def read_ballroom(folder: Path) -> list[MeterRow]:
    """Rows of the list in `folder`, or of its folders of dances.

    Raises
    ------
    UsageError
        Neither is there.
    """
    list_file = folder / LIST_FILE
    files = AudioFiles(folder)
    if list_file.is_file():
        rows = [
            (str(list_file), number, values.get("filename", ""), values.get("genre", ""))
            for number, values in enumerate(read_rows(list_file), start=1)
        ]
    else:
        rows = _of_folders(folder)
    if not rows:
        raise UsageError(
            f"`{folder}` holds neither {LIST_FILE} nor folders of dances ({', '.join(DANCES)}). Correct the folder, "
            "or fetch them: earmark prepare meter --get ballroom"
        )
    return [_row(*row, files) for row in rows]


def _of_folders(folder: Path) -> list[tuple[str, int, str, str]]:
    paths = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and dance_of(path.parent.name) and path.suffix.lower() == ".wav"
    ]
    return [
        (str(folder), number, path.relative_to(folder).as_posix(), path.parent.name)
        for number, path in enumerate(paths, start=1)
    ]


def _row(file: str, number: int, name: str, genre: str, files: AudioFiles) -> MeterRow:
    dance = dance_of(genre)
    stem = without_audio_suffix(Path(name).name)
    row = MeterRow(
        file=file,
        number=number,
        name=name,
        dataset="ballroom",
        source="BALLROOM",
        key=f"BALLROOM/{stem}",
        part="test",
        genre=genre,
    )
    if dance is None:
        return row.rejected("unreadable label", f"{genre!r} is no dance; expected {', '.join(DANCES)}")
    path = files.find([name, Path(name).name, f"{genre}/{Path(name).name}"])
    if path is None:
        return row.labelled(DANCES[dance]).rejected(MISSING_FILE, name)
    return replace(row, path=str(path), signature=SIGNATURES[DANCES[dance]]).labelled(DANCES[dance])


def dance_of(genre: str) -> str | None:
    """The dance of a folder's name, which may add a style, as ``Rumba-American``."""
    name = genre.partition("-")[0].replace(" ", "").lower()
    return next((dance for dance in DANCES if dance.lower() == name), None)
