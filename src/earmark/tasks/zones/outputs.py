"""What a DJ takes away: predictions as CSV, JSON, JSON lines, and a playlist per zone.

Conventions: all files are UTF-8 with ``\\n``; order is the order of the predictions; each file is written whole or not
at all. A CSV cell or a playlist line is never split by a name: CSV quotes, XSPF escapes, and in M3U and PLS a line
break inside a title becomes a space (a path with a line break cannot be written there, and is refused).

References
----------
.. [1] RFC 8216, section 4 (M3U, ``#EXTINF``); RFC 4180 (CSV); https://www.xspf.org/spec (XSPF 1).
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

from earmark.data.parquet import write_bytes_atomic
from earmark.errors import UsageError
from earmark.inference.prediction import Failed, Prediction
from earmark.tasks.zones.energy import energy_number
from earmark.tasks.zones.labels import CLASSES, UNCERTAIN

__all__ = [
    "CSV_COLUMNS",
    "PLAYLIST_FORMATS",
    "PLAYLIST_MARK",
    "to_csv",
    "to_json",
    "to_json_lines",
    "write_playlists",
    "zone_document",
]

CSV_COLUMNS = ("File", "Path", "Zone", "Confidence", "Tempo (BPM)")
"""Header of the CSV; after it, ``Error`` where at least one input failed."""

FIVE_WAY_COLUMNS = {"Arousal": "arousal", "Valence": "valence", "Five-way zone": "sub_zone"}
"""Columns after these where five-way zones were asked for, and the fields that they show."""

_TOLD_AS_WARNINGS = ("undecided", "sub_zone_missing")

PLAYLIST_FORMATS = ("m3u8", "pls", "xspf")

_SCHEME = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")
_XML_FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
PLAYLIST_MARK = "made by earmark"
"""Stands in every playlist: a file of the same name without it belongs to somebody else."""


def zone_document(outcome: Prediction | Failed) -> dict[str, Any]:
    """Give an outcome as a JSON object: that of any task, and the fields of a zone.

    Returns
    -------
    dict
        ``path``, ``label``, ``confidence``, ``probabilities``, then ``zone`` (the label; always a name),
        ``zone_id`` (0 to 2) and ``energy`` (1 to 10; both null where uncertain), ``sub_zone`` (the five-way zone,
        null unless asked for), ``warnings`` (sentences), and the task's fields: ``tempo_bpm``, ``tempo_confidence``,
        ``method`` and ``run``, with five-way zones also ``arousal``, ``valence`` and ``mapped_zone``; or ``path`` and
        ``error``.
    """
    if isinstance(outcome, Failed):
        return outcome.to_json()
    document = outcome.to_json()
    for told in _TOLD_AS_WARNINGS:
        document.pop(told, None)
    head = {name: document.pop(name) for name in ("path", "label", "confidence", "probabilities")}
    zone_id = CLASSES.index(outcome.label) if outcome.label in CLASSES else None
    energy = None if zone_id is None else energy_number(outcome.probabilities, outcome.label)
    zone = {
        "zone": outcome.label,
        "zone_id": zone_id,
        "energy": energy,
        "sub_zone": document.pop("sub_zone", None),
        "warnings": _warnings(outcome),
    }
    return head | zone | document


def _warnings(outcome: Prediction) -> list[str]:
    """What a reader should know before trusting the answer."""
    told = [str(outcome.extras[name]) for name in _TOLD_AS_WARNINGS if outcome.extras.get(name)]
    no_pulse = outcome.extras.get("tempo_bpm") == 0 and not outcome.extras.get("undecided")
    return [*told, *(["no beat was found: the track has no pulse"] if no_pulse else [])]


def to_json(outcomes: Sequence[Prediction | Failed]) -> str:
    """Give all outcomes as a JSON array, one object per input, in order."""
    return (
        json.dumps([zone_document(one) for one in outcomes], ensure_ascii=False, indent=2, allow_nan=False)
        + "\n"
    )


def to_json_lines(outcomes: Sequence[Prediction | Failed]) -> str:
    """Give one JSON object per line, in order; empty text without outcomes."""
    return "".join(
        json.dumps(zone_document(one), ensure_ascii=False, allow_nan=False) + "\n" for one in outcomes
    )


def to_csv(outcomes: Sequence[Prediction | Failed]) -> str:
    """Give one row per input, in order: `CSV_COLUMNS`, those of five-way zones if they were asked for, and ``Error``
    as a last column if any input failed.
    """
    columns = FIVE_WAY_COLUMNS if any(_has_sub_zone(one) for one in outcomes) else {}
    error = ["Error"] if any(isinstance(one, Failed) for one in outcomes) else []
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*CSV_COLUMNS, *columns, *error])
    for one in outcomes:
        row = [*_csv_row(one), *_extra_cells(one, columns.values())]
        writer.writerow([*row, one.error if isinstance(one, Failed) else ""] if error else row)
    return buffer.getvalue()


def write_playlists(
    outcomes: Sequence[Prediction | Failed],
    folder: str | Path,
    *,
    formats: Sequence[str] = ("m3u8",),
    relative: bool = False,
    force: bool = False,
) -> tuple[Path, ...]:
    """Write a playlist per zone and format: ``YELLOW.m3u8`` and so on.

    Parameters
    ----------
    outcomes : sequence of Prediction or Failed
        Failed inputs are in no list; tracks keep their order.
    folder : path
        Made if absent.
    formats : sequence of str, default ("m3u8",)
        Of `PLAYLIST_FORMATS`.
    relative : bool, default False
        Paths relative to the playlist's folder, for a library that moves as a whole; else absolute. URIs stay.
    force : bool, default False
        Replace files that earmark did not write.

    Returns
    -------
    tuple of Path
        What was written: zones in class order, uncertain last, without zones that got no track. A list that an
        earlier run left for a zone that is now empty is written empty, so that it does not go stale.

    Raises
    ------
    UsageError
        If a format is unknown, a foreign file is in the way (before anything is written), or a path cannot stand
        in a format.
    """
    unknown = [name for name in formats if name not in PLAYLIST_FORMATS]
    if unknown:
        raise UsageError(
            f"There is no playlist format {', '.join(unknown)}; expected some of {', '.join(PLAYLIST_FORMATS)}."
        )
    target = Path(folder)
    by_zone = _by_zone(outcomes)
    texts: dict[Path, str] = {}
    for zone, predictions in by_zone.items():
        for name in dict.fromkeys(formats):
            path = target / f"{zone}.{name}"
            if predictions or path.exists():
                tracks = [_track(one, target if relative else None) for one in predictions]
                texts[path] = _WRITERS[name](zone, tracks)
    if not force:
        _refuse_foreign(texts)
    target.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        _write(path, text)
    return tuple(texts)


@dataclass(frozen=True)
class _Track:
    location: str
    title: str
    artist: str
    duration_s: float | None

    @property
    def display(self) -> str:
        shown = f"{self.artist} - {self.title}" if self.artist else self.title
        return " ".join(shown.split())


def _track(prediction: Prediction, base: Path | None) -> _Track:
    extras = prediction.extras
    path = prediction.path
    if not _SCHEME.match(path):
        absolute = os.path.abspath(path)  # noqa: PTH100 - links stay as the user named them
        path = absolute if base is None else os.path.relpath(absolute, base)
    title = extras.get("title") or Path(prediction.path).stem
    return _Track(path, str(title), str(extras.get("artist") or ""), extras.get("duration_s"))


def _by_zone(outcomes: Sequence[Prediction | Failed]) -> dict[str, list[Prediction]]:
    zones: dict[str, list[Prediction]] = {zone: [] for zone in (*CLASSES, UNCERTAIN)}
    for one in outcomes:
        if isinstance(one, Prediction):
            zones.setdefault(one.label, []).append(one)
    return zones


def _m3u8(zone: str, tracks: Sequence[_Track]) -> str:
    lines = ["#EXTM3U", f"#PLAYLIST:{zone}", f"# {PLAYLIST_MARK}"]
    for track in tracks:
        # -1 is the word for "not known".
        seconds = -1 if track.duration_s is None else round(track.duration_s)
        # A name that begins with `#` would be a comment; `./` keeps it a name.
        location = _one_line(track.location, "m3u8")
        lines += [
            f"#EXTINF:{seconds},{track.display}",
            f"./{location}" if location.startswith("#") else location,
        ]
    return "\n".join(lines) + "\n"


def _pls(zone: str, tracks: Sequence[_Track]) -> str:
    lines = ["[playlist]", f"; {zone}, {PLAYLIST_MARK}"]
    for number, track in enumerate(tracks, start=1):
        seconds = -1 if track.duration_s is None else round(track.duration_s)
        location = _one_line(track.location, "pls")
        lines += [f"File{number}={location}", f"Title{number}={track.display}", f"Length{number}={seconds}"]
    return "\n".join([*lines, f"NumberOfEntries={len(tracks)}", "Version=2"]) + "\n"


def _xspf(zone: str, tracks: Sequence[_Track]) -> str:
    lines = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        '<playlist version="1" xmlns="http://xspf.org/ns/0/">',
        f"  <title>{_xml(zone)}</title>",
        f"  <annotation>{PLAYLIST_MARK}</annotation>",
        "  <trackList>",
    ]
    for track in tracks:
        lines += ["    <track>", f"      <location>{_xml(_uri(track.location))}</location>"]
        lines += [f"      <title>{_xml(track.title)}</title>"]
        if track.artist:
            lines += [f"      <creator>{_xml(track.artist)}</creator>"]
        if track.duration_s is not None:
            lines += [f"      <duration>{round(1000 * track.duration_s)}</duration>"]
        lines += ["    </track>"]
    return "\n".join([*lines, "  </trackList>", "</playlist>"]) + "\n"


_WRITERS: Mapping[str, Callable[[str, Sequence[_Track]], str]] = {"m3u8": _m3u8, "pls": _pls, "xspf": _xspf}


def _uri(location: str) -> str:
    """XSPF wants URIs: absolute paths become ``file:///...``, relative ones are percent-encoded."""
    if _SCHEME.match(location):
        return location
    posix = Path(location).as_posix()
    encoded = quote(posix.encode("utf-8", "surrogateescape"))
    if posix.startswith("/"):
        return f"file://{encoded}"
    return f"file:///{quote(posix, safe='/:')}" if re.match(r"^[A-Za-z]:/", posix) else encoded


def _xml(text: str) -> str:
    return escape(_XML_FORBIDDEN.sub(" ", text.encode("utf-8", "replace").decode("utf-8")))


def _one_line(location: str, form: str) -> str:
    if "\n" in location or "\r" in location:
        raise UsageError(
            f"{location!r} holds a line break and cannot stand in a {form} playlist; expected a path on one line. "
            "Rename the file, or write xspf."
        )
    return location


def _csv_row(outcome: Prediction | Failed) -> list[str]:
    name = re.split(r"[/\\]", outcome.path.rstrip("/\\"))[-1]
    if isinstance(outcome, Failed):
        return [name, outcome.path, "", "", ""]
    tempo_bpm = outcome.extras.get("tempo_bpm")
    tempo = "" if tempo_bpm is None else f"{tempo_bpm:.1f}"
    return [name, outcome.path, outcome.label, f"{outcome.confidence:.3f}", tempo]


def _has_sub_zone(outcome: Prediction | Failed) -> bool:
    return isinstance(outcome, Prediction) and "sub_zone" in outcome.extras


def _extra_cells(outcome: Prediction | Failed, fields: Iterable[str]) -> list[str]:
    found = outcome.extras if isinstance(outcome, Prediction) else {}
    return ["" if found.get(name) is None else str(found[name]) for name in fields]


def _refuse_foreign(paths: Mapping[Path, str]) -> None:
    foreign = [path for path in paths if path.exists() and not _is_ours(path)]
    if foreign:
        raise UsageError(
            f"{', '.join(f'`{path}`' for path in foreign)}: not written by earmark; expected a free name or a playlist "
            "of an earlier run. Choose another folder, or pass --force to replace."
        )


def _is_ours(path: Path) -> bool:
    return path.is_file() and PLAYLIST_MARK in path.read_text(encoding="utf-8", errors="replace")[:1000]


def _write(path: Path, text: str) -> None:
    # File names that are not UTF-8 pass through byte for byte.
    write_bytes_atomic(path, text.encode("utf-8", errors="surrogateescape"))
