"""Tempos of DEAM's songs from a table that was extracted elsewhere: they cannot be told from openSMILE tables.

A table is CSV with a column for the song (``track_id``, ``song_id`` or ``id``) and one for the tempo in BPM
(``tempo``, ``tempo_bpm`` or ``bpm``). The tempo goes to the manifest's column ``bpm`` and to the tables for other
tools; it makes no zone.
"""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from pathlib import Path

from earmark.errors import UsageError
from earmark.tasks.zones.deam.annotations import DeamSet
from earmark.tasks.zones.text import decode_text, normalised, positive_number

__all__ = ["add_tempos", "read_tempos"]

_SYNONYMS = {"track_id": ("track_id", "song_id", "id"), "tempo": ("tempo", "tempo_bpm", "bpm")}


def read_tempos(path: str | Path) -> dict[str, float]:
    """Tempo in BPM of each song of a table; rows without a positive tempo are left out.

    Raises
    ------
    UsageError
        No such file, no text, or columns are missing; all are named.
    """
    path = Path(path)
    if not path.is_file():
        raise UsageError(f"there is no table of tempos `{path}`. Expected a CSV file. Correct --tempo-csv.")
    rows = [row for row in csv.reader(io.StringIO(decode_text(path.read_bytes(), str(path)))) if row]
    header = [normalised(cell) for cell in rows[0]] if rows else []
    place = {
        name: next((header.index(one) for one in synonyms if one in header), None)
        for name, synonyms in _SYNONYMS.items()
    }
    song, tempo = place["track_id"], place["tempo"]
    if song is None or tempo is None:
        missing = [f"`{name}`" for name, at in place.items() if at is None]
        raise UsageError(
            f"`{path}` has no column {' and no column '.join(missing)}; its header is {', '.join(header) or 'empty'}. "
            "Expected CSV with `track_id` and `tempo`. Correct it."
        )
    tempos = {
        row[song].strip(): positive_number(row[tempo]) for row in rows[1:] if len(row) > max(song, tempo)
    }
    return {name: bpm for name, bpm in tempos.items() if bpm is not None}


def add_tempos(deam: DeamSet, tempos: dict[str, float]) -> DeamSet:
    """The songs with their tempos, and a warning that counts those without."""
    tracks = tuple(replace(track, tempo_bpm=tempos.get(track.id)) for track in deam.tracks)
    without = sum(track.tempo_bpm is None for track in tracks)
    warning = (f"{without} songs of DEAM are not in the table of tempos",) if without else ()
    return replace(deam, tracks=tracks, warnings=(*deam.warnings, *warning))
