"""A rekordbox library in XML, in: its tracks as rows of a label file, its cues, and transitions between cues.

The zone of a track is what the first of these says: a playlist that is named for a zone, the grouping, the comment or
a My Tag in it (rekordbox writes those as ``/* one / two */``). Only where none of them names a zone in the whole
file do track colours count, since colours are used for much else.

Cues coloured green mean mix-in, red mix-out, as DJs mark them by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

from earmark.errors import UsageError
from earmark.tasks.zones.labels import CLASSES, parse_zone, zone_of_colour
from earmark.tasks.zones.layouts import LabelFile, LabelRow
from earmark.tasks.zones.library.keys import camelot_of_tonality
from earmark.tasks.zones.library.markup import parse_xml
from earmark.tasks.zones.library.rekordbox import PRODUCT, TRACK_COLOURS

__all__ = ["ROOT", "TRANSITION_S", "cue_rows", "library_of", "transitions"]

ROOT = "DJ_PLAYLISTS"

TRANSITION_S = (10.0, 180.0)
"""A mix-in pairs with the next mix-out that lies this much later."""

_COLUMNS = {
    "AverageBpm": "bpm",
    "Artist": "artist",
    "Name": "title",
    "Album": "album",
    "Genre": "genre",
    "Tonality": "key",
}
_ROLES = {  # ranges of red, green, blue
    "mix-in": ((20, 80), (180, 255), (0, 80)),
    "mix-out": ((180, 255), (0, 80), (0, 80)),
}
_MY_TAGS = re.compile(r"/\*(.*?)\*/")
_ZONES_BY_COLOUR = {int(colour, 16): zone for zone, colour in TRACK_COLOURS.items()}
_PLAYLIST, _BY_LOCATION = "1", "1"


def library_of(root: Element, name: str) -> LabelFile:
    """Rows of a library.

    Parameters
    ----------
    root : Element
        Of the document, see `markup.parse_xml`.
    name : str
        What to call the file in errors.

    Returns
    -------
    LabelFile
        Layout ``rekordbox``; one row per track of the collection. A track in playlists of two zones bears both and
        so none. A track without a zone has an empty one where any other has one. Zones that earmark wrote itself
        have the label origin ``pseudo``.
    """
    tracks = _tracks(root, name)
    lists = _zones_of_playlists(root)
    zones = [_zone_of_texts(track, lists) for track in tracks]
    if not any(zones):
        zones = [_zone_of_colour(track) for track in tracks]
    product = root.find("PRODUCT")
    is_ours = product is not None and product.get("Name") == PRODUCT
    rows = [
        _row(number, track, zone or ("" if any(zones) else None), is_ours)
        for number, (track, zone) in enumerate(zip(tracks, zones, strict=True), start=1)
    ]
    return LabelFile("rekordbox", tuple(rows))


def cue_rows(source: str | Path) -> list[dict[str, Any]]:
    """Every cue of a library.

    Returns
    -------
    list of dict
        ``location``, ``title``, ``artist``, ``start_s``, ``kind`` (``memory`` or ``hot``), ``num``, ``name``,
        ``colour`` (``#RRGGBB`` or None), ``role`` (``mix-in``, ``mix-out`` or None); by track, then time.

    Raises
    ------
    UsageError
        The file cannot be read, is no library, or a cue has no time.
    """
    path = Path(source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"`{path}` cannot be read ({error}). Expected a rekordbox XML file. Check path and rights."
        ) from error
    tracks = _tracks(parse_xml(data, str(path)), str(path))
    return [row for track in tracks for row in _cues_of_track(track, str(path))]


def transitions(source: str | Path) -> list[dict[str, Any]]:
    """Pairs of cues between which a DJ plays a track: each mix-in and the next mix-out 10 to 180 s later.

    Returns
    -------
    list of dict
        ``location``, ``title``, ``artist``, ``mix_in_s``, ``mix_out_s``, ``duration_s``. A mix-in without such a
        mix-out is in no pair; the same place marked as hot and memory cue counts once.
    """
    by_track: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for cue in cue_rows(source):
        by_track.setdefault((cue["location"], cue["title"], cue["artist"]), []).append(cue)
    pairs = []
    for (location, title, artist), cues in by_track.items():
        outs = [cue["start_s"] for cue in cues if cue["role"] == "mix-out"]
        for start_s in dict.fromkeys(cue["start_s"] for cue in cues if cue["role"] == "mix-in"):
            ends = [end_s for end_s in outs if TRANSITION_S[0] <= end_s - start_s <= TRANSITION_S[1]]
            if ends:
                span = {"mix_in_s": start_s, "mix_out_s": ends[0], "duration_s": ends[0] - start_s}
                pairs.append({"location": location, "title": title, "artist": artist, **span})
    return pairs


def _tracks(root: Element, name: str) -> list[Element]:
    collection = root.find("COLLECTION")
    if root.tag != ROOT or collection is None:
        raise UsageError(
            f"`{name}` is XML with the root <{root.tag}>, no rekordbox library. Expected <{ROOT}> with <COLLECTION>. "
            "Export the collection in rekordbox with File > Export Collection in xml format."
        )
    return collection.findall("TRACK")


def _zones_of_playlists(root: Element) -> dict[tuple[bool, str], set[str]]:
    """Zones by what playlists name a track with: whether it is a location, and the key."""
    found: dict[tuple[bool, str], set[str]] = {}
    for node in root.iter("NODE"):
        zone = parse_zone(node.get("Name", "")) if node.get("Type") == _PLAYLIST else None
        if zone is None:
            continue
        for entry in node.findall("TRACK"):
            key = (node.get("KeyType") == _BY_LOCATION, entry.get("Key", ""))
            found.setdefault(key, set()).add(zone[0])
    return found


def _zone_of_texts(track: Element, lists: dict[tuple[bool, str], set[str]]) -> str | None:
    listed = lists.get((False, track.get("TrackID", "")), set()) | lists.get(
        (True, track.get("Location", "")), set()
    )
    if listed:
        return " and ".join(zone for zone in CLASSES if zone in listed)
    return next((zone[0] for text in _texts(track) if (zone := parse_zone(text))), None)


def _texts(track: Element) -> Iterator[str]:
    """Where a zone may stand alone: grouping, comment, and the My Tags in the comment."""
    comment = track.get("Comments", "")
    yield track.get("Grouping", "")
    yield comment
    for tags in _MY_TAGS.findall(comment):
        yield from tags.split(" / ")


def _zone_of_colour(track: Element) -> str | None:
    text = track.get("Colour", "").removeprefix("#").lower().removeprefix("0x")
    try:
        colour = int(text, 16)
    except ValueError:
        return None
    return _ZONES_BY_COLOUR.get(colour) or zone_of_colour(f"#{colour:06X}")


def _row(number: int, track: Element, zone: str | None, is_ours: bool) -> LabelRow:
    values = {column: text for attribute, column in _COLUMNS.items() if (text := track.get(attribute))}
    if key := camelot_of_tonality(values.get("key", "")):
        values["key"] = key
    if is_ours and zone:
        values["label_origin"] = "pseudo"
    location = track.get("Location", "")
    return LabelRow(number, location, zone, values, "" if location else "no Location")


def _cues_of_track(track: Element, name: str) -> list[dict[str, Any]]:
    head = {"location": track.get("Location", ""), "title": track.get("Name", "")} | {
        "artist": track.get("Artist", "")
    }
    marks = [head | _cue(mark, name) for mark in track.findall("POSITION_MARK")]
    return sorted(marks, key=lambda cue: (cue["start_s"], cue["num"]))


def _cue(mark: Element, name: str) -> dict[str, Any]:
    try:
        start_s, num = float(mark.get("Start", "")), int(mark.get("Num", "-1"))
        colour = tuple(int(mark.get(part, "-1")) for part in ("Red", "Green", "Blue"))
    except ValueError as error:
        raise UsageError(
            f"`{name}` holds a cue that cannot be read: {dict(mark.attrib)} ({error}). "
            "Expected Start in seconds, Num, Red, Green and Blue. Export the collection again."
        ) from error
    return {
        "start_s": start_s,
        "kind": "memory" if num < 0 else "hot",
        "num": num,
        "name": mark.get("Name", ""),
        "colour": "#{:02X}{:02X}{:02X}".format(*colour) if min(colour) >= 0 else None,
        "role": next((role for role, ranges in _ROLES.items() if _inside(colour, ranges)), None),
    }


def _inside(colour: tuple[int, ...], ranges: tuple[tuple[int, int], ...]) -> bool:
    return all(low <= part <= high for part, (low, high) in zip(colour, ranges, strict=True))
