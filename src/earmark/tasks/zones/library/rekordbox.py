"""A rekordbox library in XML, out: tracks with beat grid, cues at their drops, colour, and a playlist per zone.

The file is imported in rekordbox under Preferences > Advanced > rekordbox xml; `rekordbox_xml` beside this
module reads such files.

Conventions
-----------
One ``TRACK`` per file, numbered from 1 in the order of the predictions. ``Location`` is a URL on ``localhost`` with
percent escapes of the name's bytes. Times are seconds with three decimals. A track bears one ``TEMPO`` where its
tempo holds, one per bar where it moves; which beat starts a bar is estimated. Each drop is a hot cue (``Num`` 0 to 7)
and a memory cue (``Num`` -1); breakdowns are memory cues as far as the ten of a player reach. Rekordbox knows eight
track colours: a zone gets the nearest. Cues are orange, so that they are not taken for the green and red of mix-in
and mix-out. Nothing in the file depends on the clock: the same predictions give the same bytes.

References
----------
AlphaTheta, "rekordbox XML format list", https://rekordbox.com/en/support/developer/
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.etree.ElementTree import Element, SubElement

from earmark import __version__
from earmark.data.parquet import write_bytes_atomic
from earmark.errors import InputError, UsageError
from earmark.inference.prediction import Failed, Prediction
from earmark.tasks.zones.cues import Cues, track_cues
from earmark.tasks.zones.labels import CLASSES, UNCERTAIN, ZONES
from earmark.tasks.zones.library.markup import to_xml, xml_text
from earmark.tasks.zones.library.track_tags import TrackTags, can_read_tags, read_track_tags
from earmark.tasks.zones.locations import is_remote, resolve

if TYPE_CHECKING:
    from earmark.tasks.project import Project

__all__ = ["PRODUCT", "TRACK_COLOURS", "location_url", "write_library"]

logger = logging.getLogger(__name__)

PRODUCT = "earmark"
"""Name of the program in the file: one without it belongs to somebody else."""

TRACK_COLOURS = {"YELLOW": "0xFFFF00", "GREEN": "0x00FF00", "PURPLE": "0x660099"}
"""Of the eight that rekordbox has, the nearest to the zone's own."""

MAX_MEMORY_CUES = 10
_CUE_COLOUR = {"Red": "224", "Green": "100", "Blue": "27"}
_KINDS = {"aif": "AIFF", "mp4": "M4A"}
_DISPLAY_NAMES = {zone.name: zone.display_name for zone in ZONES}


def write_library(
    project: Project, outcomes: Sequence[Prediction | Failed], path: str | Path, *, force: bool = False
) -> Path:
    """Write predictions as a rekordbox library.

    Parameters
    ----------
    project : Project
        Whose cache holds, or receives, beats and drops.
    outcomes : sequence of Prediction or Failed
        Failed inputs are left out; a file that was given twice counts once.
    path : path
        Its folder is made if absent.
    force : bool, default False
        Replace a file that earmark did not write.

    Returns
    -------
    Path
        The file. Titles, artists and so on come from the tags where the extra ``dj`` is installed and they can be
        read; else the file name is the title. A track that is too short for beats and drops has no cues. A warning
        is logged for both.

    Raises
    ------
    UsageError
        There is no prediction, one is of a URI rather than a file, or a foreign file is in the way.
    """
    target = Path(path)
    if not force and target.exists() and not _is_ours(target):
        raise UsageError(
            f"`{target}`: not written by earmark; expected a free name or a library of an earlier run. "
            "Choose another name, or pass --force to replace."
        )
    predictions = _by_location(outcomes)
    paths = [prediction.path for prediction in predictions]
    cues = track_cues(project, paths)
    tags = {prediction.path: _tags_of(Path(_file_of(prediction))) for prediction in predictions}
    _warn(
        [path for path in paths if path not in cues],
        "have no cues, since they are too short for beats and drops",
    )
    _warn(
        [path for path in paths if tags[path] is None], "are named by their files, since no tags can be read"
    )
    root = Element("DJ_PLAYLISTS", Version="1.0.0")
    SubElement(root, "PRODUCT", Name=PRODUCT, Version=__version__, Company=PRODUCT)
    collection = SubElement(root, "COLLECTION", Entries=str(len(predictions)))
    for number, prediction in enumerate(predictions, start=1):
        told = tags[prediction.path] or TrackTags()
        _add_track(collection, number, prediction, told, cues.get(prediction.path))
    _add_playlists(root, [prediction.label for prediction in predictions])
    target.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomic(target, to_xml(root))
    return target


def _warn(paths: Sequence[str], what: str) -> None:
    """Log which tracks lack something; the file is written without it."""
    if paths:
        named = ", ".join(f"`{path}`" for path in paths[:3]) + (" ..." if len(paths) > 3 else "")
        logger.warning("%d of the collection's tracks %s: %s", len(paths), what, named)


def location_url(path: str) -> str:
    """A local path as rekordbox writes it; relative paths start from the working folder.

    >>> location_url("/music/50 % & ü.mp3")
    'file://localhost/music/50%20%25%20%26%20%C3%BC.mp3'
    """
    absolute = os.path.abspath(path)  # noqa: PTH100  links stay as the user named them
    quoted = quote(os.fsencode(absolute.replace(os.sep, "/")), safe="/:")
    return f"file://localhost{'' if quoted.startswith('/') else '/'}{quoted}"


def _by_location(outcomes: Sequence[Prediction | Failed]) -> list[Prediction]:
    predictions = [one for one in outcomes if isinstance(one, Prediction)]
    remote = [one.path for one in predictions if is_remote(_file_of(one))]
    if remote:
        raise UsageError(
            f"{len(remote)} inputs are no files on this machine: {', '.join(remote[:3])}. "
            "Rekordbox plays files only. Copy them to a disk and predict them there."
        )
    if not predictions:
        raise UsageError(
            f"none of {len(outcomes)} inputs has a prediction; expected at least one track. Name tracks that decode."
        )
    return list({location_url(_file_of(one)): one for one in reversed(predictions)}.values())[::-1]


def _file_of(prediction: Prediction) -> str:
    """The path that was predicted, also where it was given as a URL."""
    path = prediction.path
    return resolve(path, Path.cwd()) if path[:7].lower() == "file://" else path


def _add_track(
    collection: Element, number: int, prediction: Prediction, tags: TrackTags, cues: Cues | None
) -> None:
    attributes = {"TrackID": str(number), **_attributes(prediction, tags, cues)}
    track = SubElement(collection, "TRACK", {name: text for name, text in attributes.items() if text})
    if cues is None:
        return
    for segment in cues.grid.segments:
        SubElement(
            track,
            "TEMPO",
            Inizio=f"{segment.start_s:.3f}",
            Bpm=f"{segment.bpm:.2f}",
            Metro="4/4",
            Battito=str(segment.beat_in_bar),
        )
    for num, name, time_s in _marks(cues):
        SubElement(
            track,
            "POSITION_MARK",
            {"Name": name, "Type": "0", "Start": f"{time_s:.3f}", "Num": str(num), **_CUE_COLOUR},
        )


def _attributes(prediction: Prediction, tags: TrackTags, cues: Cues | None) -> dict[str, str]:
    from earmark.audio.decode import probe

    path = Path(_file_of(prediction))
    info = probe(path)
    suffix = path.suffix.lstrip(".").lower()
    of = {name: xml_text(text) for name, text in tags.values.items()}
    bpm = cues.grid.bpm if cues is not None else 0.0
    return {
        "Name": of.get("title") or xml_text(path.stem),
        "Artist": of.get("artist", ""),
        "Album": of.get("album", ""),
        "Grouping": _grouping(prediction, xml_text(tags.grouping)),
        "Genre": of.get("genre", ""),
        "Kind": f"{_KINDS.get(suffix, suffix.upper())} File",
        "Size": str(path.stat().st_size),
        "TotalTime": str(round(info.duration_s)),
        "AverageBpm": f"{bpm:.2f}" if bpm else "",
        "BitRate": str(tags.bit_rate_kbps or ""),
        "SampleRate": str(info.sample_rate),
        "Comments": _comment(prediction, xml_text(tags.comment)),
        "Location": location_url(str(path)),
        "Tonality": of.get("key", ""),
        "Colour": TRACK_COLOURS.get(prediction.label, ""),
    }


def _tags_of(path: Path) -> TrackTags | None:
    """Tags of a track that has been decoded; empty without mutagen, None where they, alone, cannot be read."""
    if not can_read_tags():
        return TrackTags()
    try:
        return read_track_tags(path)
    except InputError:
        return None


def _grouping(prediction: Prediction, theirs: str) -> str:
    """The track's own grouping, which an import would replace, else the zone; nothing where there is none."""
    decided = "" if prediction.label == UNCERTAIN else prediction.label
    return theirs or _DISPLAY_NAMES.get(decided, decided)


def _comment(prediction: Prediction, theirs: str) -> str:
    """The track's own comment, which an import would replace, and the answer."""
    method = prediction.extras.get("method")
    # The confidence of a track that is undecided is that of a zone which was not chosen.
    sure = f" {prediction.confidence:.2f}" if prediction.label in CLASSES else ""
    ours = f"{prediction.label}{sure}{f' ({method})' if method else ''}"
    return f"{theirs} | {ours}" if theirs else ours


def _marks(cues: Cues) -> list[tuple[int, str, float]]:
    """Number, name and time of each cue: memory cues in time order, then hot cues."""
    drops = [(f"Drop {number}", drop.time_s) for number, drop in enumerate(cues.drops, start=1)]
    breakdowns = [
        (f"Breakdown {number}", drop.breakdown_s)
        for number, drop in enumerate(cues.drops, start=1)
        if drop.breakdown_s is not None
    ]
    memory = sorted([*drops, *breakdowns[: MAX_MEMORY_CUES - len(drops)]], key=lambda mark: mark[1])
    return [
        *((-1, name, time_s) for name, time_s in memory),
        *((num, name, time_s) for num, (name, time_s) in enumerate(drops)),
    ]


def _add_playlists(root: Element, zones: Sequence[str]) -> None:
    names = [*CLASSES, *([UNCERTAIN] if UNCERTAIN in zones else [])]
    top = SubElement(SubElement(root, "PLAYLISTS"), "NODE", Type="0", Name="ROOT", Count="1")
    folder = SubElement(top, "NODE", Type="0", Name=PRODUCT, Count=str(len(names)))
    for name in names:
        numbers = [number for number, zone in enumerate(zones, start=1) if zone == name]
        playlist = SubElement(folder, "NODE", Type="1", Name=name, KeyType="0", Entries=str(len(numbers)))
        for number in numbers:
            SubElement(playlist, "TRACK", Key=str(number))


def _is_ours(path: Path) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return f'<PRODUCT Name="{PRODUCT}"'.encode() in file.read(1000)
