"""Tracks and their zones: label files and folders into a manifest, with an account of every row.

Each row read is kept or rejected, and each rejection has a file, a row number and one of the reasons in
`accounting.REASONS`. A kept row with a zone trains or tests; one without (a bare path, a folder without
labels) can only be predicted.

Two rows that name one file, or one content under two names, with *different* zones are all rejected: which
zone is right is not known. The same file named twice with one zone counts once.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.data.groups import track_groups
from earmark.data.manifest import Manifest, item_ids
from earmark.errors import InputError, UsageError
from earmark.tasks.zones.accounting import (
    DUPLICATE_PATH,
    EMPTY_ZONE,
    MISSING_FILE,
    TWO_ZONES,
    UNDECODABLE,
    UNKNOWN_ZONE,
    PrepareReport,
    RejectedRow,
)
from earmark.tasks.zones.labels import CLASSES, follows_bpm_rule, parse_zone
from earmark.tasks.zones.layouts import UNREADABLE, LabelRow
from earmark.tasks.zones.library.imports import collection_of, read_rows
from earmark.tasks.zones.locations import Relocation, is_remote, parse_relocations, resolve
from earmark.tasks.zones.tagging.journal import journal_path, read_history
from earmark.tasks.zones.text import camelot_key, normalised, positive_number

if TYPE_CHECKING:
    from earmark.audio.decode import AudioInfo
    from earmark.tasks.task import Imported, ImportRequest

__all__ = ["import_zones", "prepare_tracks"]

PSEUDO = "pseudo"
"""`label_origin` of zones that a rule or a model made; other labels are ``listener``."""
ANNOTATION = "annotation"
"""`label_origin` of zones that were made from ratings of arousal and valence."""
LISTENER = "listener"

_LABEL_SUFFIXES = frozenset({".csv", ".tsv", ".txt", ".json"})
_TEXT_COLUMNS = ("artist", "album", "album_artist", "title", "genre")
_DEFAULT_SOURCE = "user"


@dataclass(frozen=True)
class _Track:
    """A row on its way: where it comes from and what has been found out so far."""

    file: str
    base: Path
    row: LabelRow
    uri: str = ""
    zone: str | None = None
    misspelt: bool = False
    content_hash: str | None = None
    duration_s: float | None = None
    pseudo: bool = False
    reason: str = ""
    detail: str = ""

    def rejected(self, reason: str, detail: str = "") -> _Track:
        return replace(self, reason=reason, detail=detail)


def import_zones(request: ImportRequest) -> Imported:
    """The importer of the task: `prepare_tracks`, and DEAM's songs where the option ``deam`` names its folder.

    Other options: ``relocate``, ``from``, ``check`` (probe each file), and those of `import_deam`.
    """
    from earmark.audio.decode import probe
    from earmark.tasks.task import Imported
    from earmark.tasks.zones.deam.rows import import_deam

    # Tags that earmark wrote change a file's bytes, not what it is: a test item stays one, wherever it is moved.
    history = read_history(journal_path(request.root))
    identify = request.identify
    request = replace(request, identify=lambda uri: history.original(identify(uri)))
    checked = probe if request.options.get("check", True) else None
    if not request.sources and request.options.get("deam"):
        return import_deam(request, None, probe=checked)
    labelled = prepare_tracks(
        request.sources,
        root=request.root,
        identify=request.identify,
        probe=checked,
        relocate=request.options.get("relocate", ()),
        kind=request.options.get("from"),
    )
    if request.options.get("deam"):
        return import_deam(request, labelled, probe=checked)
    return Imported(*labelled)


def prepare_tracks(
    sources: Sequence[str | Path],
    *,
    root: str | Path,
    identify: Callable[[str], bytes] | None = None,
    probe: Callable[[str], AudioInfo] | None = None,
    relocate: Sequence[str] = (),
    kind: str | None = None,
) -> tuple[Manifest, PrepareReport]:
    """Read label files and folders into one manifest.

    Parameters
    ----------
    sources : sequence of path
        Label files of any layout, collections of DJ software; folders that hold one label file, or
        subfolders named for the zones, or just tracks; single tracks.
    root : path
        Project folder, for the manifest.
    identify : callable, optional
        Content of a file as 16 bytes; raises `InputError` for one that cannot be read. Without it, equal
        audio is not noticed.
    probe : callable, optional
        Length of a file from its header; raises `InputError` for one that is no audio.
    relocate : sequence of str
        ``OLD=NEW`` for collections that have moved.
    kind : str, optional
        One of `collections.KINDS`, to read a folder by its tags, or to be sure of what a file is.

    Raises
    ------
    UsageError
        A source does not exist or holds no rows, or every row was rejected.
    """
    if not sources:
        raise UsageError("no source was given. Expected label files or folders of tracks. Name at least one.")
    relocations = parse_relocations(relocate)
    layouts: dict[str, str] = {}
    tracks: list[_Track] = []
    for source in sources:
        layout, found = _read_source(Path(source), kind)
        layouts[str(source)] = layout
        tracks += found
    tracks = [_examined(track, relocations, identify, probe) for track in tracks]
    tracks = _without_repeats(tracks)
    tracks = _marked_pseudo(tracks)
    kept = [track for track in tracks if not track.reason]
    _require_some(kept, tracks)
    table = _table(kept, Path(root).absolute())
    return Manifest(table, root=root), _report(tracks, kept, table["group"].n_unique(), layouts)


def _read_source(source: Path, kind: str | None = None) -> tuple[str, list[_Track]]:
    from earmark.audio.decode import AUDIO_SUFFIXES

    source = collection_of(source, kind)
    if kind == "tags":
        tagged = read_rows(source, kind)
        return tagged.layout, [_Track(str(source), source.absolute(), row) for row in tagged.rows]
    if source.is_dir() and kind is None:
        return _read_folder(source)
    if not source.exists():
        raise UsageError(
            f"there is no `{source}`. Expected a label file, a folder or a track. Correct the path."
        )
    if source.suffix.lower() in AUDIO_SUFFIXES:
        return "track", [_Track(source.name, source.parent, LabelRow(1, source.name, None))]
    labels = read_rows(source, kind)
    return labels.layout, [_Track(str(source), source.absolute().parent, row) for row in labels.rows]


def _read_folder(folder: Path) -> tuple[str, list[_Track]]:
    """A folder with a label file is that file; any other is its tracks, by subfolder where that is a zone."""
    files = sorted(
        path for path in folder.iterdir() if path.suffix.lower() in _LABEL_SUFFIXES and path.is_file()
    )
    if len(files) > 1:
        raise UsageError(
            f"`{folder}` holds {len(files)} label files: {', '.join(path.name for path in files[:5])}. "
            "Expected one. Name the one to use instead of the folder."
        )
    if files:
        return _read_source(files[0])
    return "folder", _folder_tracks(folder)


def _folder_tracks(folder: Path) -> list[_Track]:
    from earmark.audio.decode import AUDIO_SUFFIXES

    paths = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
    )
    if not paths:
        raise UsageError(
            f"`{folder}` holds no label file and no tracks ({', '.join(sorted(AUDIO_SUFFIXES)[:6])} ...). "
            "Expected one of the two. Correct the path."
        )
    tracks = []
    for number, path in enumerate(paths, start=1):
        inside = path.relative_to(folder)
        zone = inside.parts[0] if len(inside.parts) > 1 and parse_zone(inside.parts[0]) else None
        tracks.append(_Track(str(folder), folder.absolute(), LabelRow(number, inside.as_posix(), zone)))
    return tracks


def _examined(
    track: _Track,
    relocations: Sequence[Relocation],
    identify: Callable[[str], bytes] | None,
    probe: Callable[[str], AudioInfo] | None,
) -> _Track:
    """A track with zone, location, content and length, or with the first reason against it."""
    track = _with_zone(track)
    if track.reason:
        return track
    uri = resolve(track.row.path, track.base, relocations)
    track = replace(track, uri=uri)
    if not is_remote(uri) and not os.path.isfile(uri):  # noqa: PTH113  # False, not an error, for any text
        return track.rejected(MISSING_FILE, uri)
    try:
        content = identify(uri).hex() if identify else track.row.values.get("content_hash")
        duration_s = probe(uri).duration_s if probe else None
    except InputError as error:
        return track.rejected(UNDECODABLE, str(error))
    return replace(track, content_hash=content, duration_s=duration_s)


def _with_zone(track: _Track) -> _Track:
    row = track.row
    if row.problem or not _usable(row.path):
        return track.rejected(UNREADABLE, row.problem or "the path holds characters that no file name has")
    if row.zone is None:
        return track
    if not normalised(row.zone):
        return track.rejected(EMPTY_ZONE)
    zone = parse_zone(row.zone)
    if zone is None:
        return track.rejected(UNKNOWN_ZONE, row.zone)
    return replace(track, zone=zone[0], misspelt=zone[1])


def _usable(path: str) -> bool:
    try:
        path.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return "\0" not in path


def _printable(path: str) -> str:
    """A path that can be written to any UTF-8 stream, also if the file system's name is no Unicode."""
    return path.encode("utf-8", "backslashreplace").decode()


def _without_repeats(tracks: Sequence[_Track]) -> list[_Track]:
    """Reject contradictions between rows of one file or one content, then further rows of one file."""
    zones: dict[str, set[str]] = {}
    for track in tracks:
        if not track.reason and track.zone:
            for key in _names(track):
                zones.setdefault(key, set()).add(track.zone)
    seen: set[str] = set()
    checked = []
    for track in tracks:
        if not track.reason:
            found = set().union(*(zones.get(key, set()) for key in _names(track)))
            if len(found) > 1:
                track = track.rejected(TWO_ZONES, " and ".join(zone for zone in CLASSES if zone in found))
            elif track.uri in seen:
                track = track.rejected(DUPLICATE_PATH, track.uri)
            seen.add(track.uri)
        checked.append(track)
    return checked


def _names(track: _Track) -> list[str]:
    return [f"uri:{track.uri}"] + ([f"content:{track.content_hash}"] if track.content_hash else [])


def _marked_pseudo(tracks: Sequence[_Track]) -> list[_Track]:
    """Mark the rows whose own column says so, and all rows of a file whose zones follow the tempo rule."""
    made = set()
    for file in {track.file for track in tracks}:
        labelled = [track for track in tracks if track.file == file and track.zone]
        bpms = [positive_number(track.row.values.get("bpm", "")) for track in labelled]
        if follows_bpm_rule(bpms, [track.zone or "" for track in labelled]):
            made.add(file)
    return [
        replace(track, pseudo=bool(track.zone) and (track.file in made or _says_pseudo(track.row)))
        for track in tracks
    ]


def _says_pseudo(row: LabelRow) -> bool:
    return normalised(row.values.get("label_origin", "")) == PSEUDO


def _require_some(kept: Sequence[_Track], tracks: Sequence[_Track]) -> None:
    if kept:
        return
    reasons = Counter(track.reason for track in tracks)
    counts = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    first = tracks[0]
    detail = f" ({first.detail})" if first.detail else ""
    moved = "If the collection has moved, pass --relocate OLD=NEW."
    raise UsageError(
        f"none of {len(tracks)} rows can be used: {counts}. "
        f"The first is row {first.row.number} of `{first.file}`: `{_printable(first.row.path)}`, "
        f"{first.reason}{detail}. {moved if reasons[MISSING_FILE] else 'Correct the source.'}"
    )


def _table(kept: Sequence[_Track], root: Path) -> Any:
    import polars as pl

    rows = [track.row.values for track in kept]
    ids = _ids(kept)
    columns: dict[str, Any] = {
        "id": ids,
        "uri": [track.uri for track in kept],
        "group": _groups(ids, kept),
        "label": pl.Series([track.zone for track in kept], dtype=pl.String),
    }
    for name in _TEXT_COLUMNS:
        columns[name] = pl.Series([row.get(name) or None for row in rows], dtype=pl.String)
    columns["bpm"] = pl.Series([positive_number(row.get("bpm", "")) for row in rows], dtype=pl.Float64)
    columns["key"] = pl.Series([camelot_key(row.get("key", "")) for row in rows], dtype=pl.String)
    columns["source"] = [_source(row) for row in rows]
    columns["sample_weight"] = pl.Series([_weight(row) for row in rows], dtype=pl.Float64)
    origins = [_origin(track) for track in kept]
    columns["label_origin"] = pl.Series(origins, dtype=pl.String)
    columns["content_hash"] = pl.Series([track.content_hash for track in kept], dtype=pl.String)
    columns["duration_s"] = pl.Series([track.duration_s for track in kept], dtype=pl.Float64)
    return pl.DataFrame(columns)


def _origin(track: _Track) -> str | None:
    """Who gave the zone; a file that says it came from annotations is believed, so that it stays apart."""
    if not track.zone:
        return None
    if track.pseudo:
        return PSEUDO
    said = normalised(track.row.values.get("label_origin", ""))
    return ANNOTATION if said == ANNOTATION else LISTENER


def _weight(row: dict[str, str]) -> float:
    return positive_number(row.get("sample_weight", "")) or 1.0


def _ids(kept: Sequence[_Track]) -> list[str]:
    """Path below its label file's folder, else the whole path; also where two sources share a name."""
    ids, taken = [], set()
    for track in kept:
        id = item_ids([track.uri], track.base)[0]
        id = track.uri if id in taken else id
        taken.add(id)
        ids.append(id)
    return ids


def _groups(ids: Sequence[str], kept: Sequence[_Track]) -> list[str]:
    rows = [track.row.values for track in kept]
    return track_groups(
        ids,
        artists=[row.get("artist") for row in rows],
        albums=[row.get("album") for row in rows],
        album_artists=[row.get("album_artist") for row in rows],
        content_hashes=[track.content_hash for track in kept],
        given=[row.get("group") for row in rows],
    )


def _report(
    tracks: Sequence[_Track], kept: Sequence[_Track], n_groups: int, layouts: dict[str, str]
) -> PrepareReport:
    counts = Counter(track.zone for track in kept)
    return PrepareReport(
        rows_read=len(tracks),
        kept=len(kept),
        rejected=tuple(
            RejectedRow(track.file, track.row.number, _printable(track.row.path), track.reason, track.detail)
            for track in tracks
            if track.reason
        ),
        warnings=tuple(_warnings(kept)),
        class_counts={zone: counts[zone] for zone in CLASSES},
        n_unlabelled=counts[None],
        n_groups=n_groups,
        n_pseudo=sum(track.pseudo for track in kept),
        layouts=layouts,
        by_source=_by_source(kept),
    )


def _by_source(kept: Sequence[_Track]) -> dict[str, dict[str, int]]:
    counts: dict[str, Counter[str | None]] = {}
    for track in kept:
        counts.setdefault(_source(track.row.values), Counter())[track.zone] += 1
    return {source: {zone: of[zone] for zone in CLASSES} for source, of in counts.items()}


def _source(row: dict[str, str]) -> str:
    return row.get("source") or _DEFAULT_SOURCE


def _warnings(kept: Sequence[_Track]) -> list[str]:
    values = [track.row.values for track in kept]
    contents = Counter(track.content_hash for track in kept if track.content_hash)
    labelled = {track.zone for track in kept if track.zone}
    counted = [
        (sum(track.misspelt for track in kept), "zones spelt YELOW were read as YELLOW"),
        (sum(not track.zone for track in kept), "tracks have no zone and can only be predicted"),
        (
            sum(track.pseudo and not _says_pseudo(track.row) for track in kept),
            "zones were made from tempo alone; training needs --allow-pseudo",
        ),
        (
            sum(track.pseudo and _says_pseudo(track.row) for track in kept),
            "zones are of a rule or a model, not of a listener; training needs --allow-pseudo",
        ),
        (
            sum(count - 1 for count in contents.values()),
            "tracks repeat the audio of another; they share its group",
        ),
        (
            sum(_unread(row, "bpm", positive_number) for row in values),
            "tempos could not be read and are missing",
        ),
        (
            sum(_unread(row, "key", camelot_key) for row in values),
            "keys are not Camelot (1A to 12B) and are missing",
        ),
    ]
    warnings = [f"{count} {what}" for count, what in counted if count]
    missing = [zone for zone in CLASSES if zone not in labelled]
    if labelled and missing:
        warnings.append(f"no track is {' or '.join(missing)}; a model cannot learn it")
    return warnings


def _unread(row: dict[str, str], column: str, read: Callable[[str], object]) -> bool:
    """Whether a value is given, is not a number that stands for "not known", and cannot be read."""
    text = row.get(column, "").strip()
    return bool(text) and text.strip("0.,") != "" and read(text) is None
