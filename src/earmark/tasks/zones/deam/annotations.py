"""Reader of DEAM, a public collection of songs with arousal and valence, as tracks with zones.

Layout, below one folder::

    MEMD_audio/<id>.mp3                     excerpts of 45 s, some whole songs; any suffix of audio
    features/<id>.csv                       openSMILE, one row per 0.5 s; see `earmark.tasks.zones.deam.opensmile`
    annotations/annotations averaged per song/song_level/
        static_annotations_averaged_songs_1_2000.csv
        static_annotations_averaged_songs_2000_2058.csv
    metadata/metadata_2013.csv ... 2015     artist, title, album, genre; optional, each with its own header

Both annotation files are needed, and audio or features. An annotated song needs one of the two: its audio
where it exists, else its features. The second annotation file has extreme values over time beside the
averages. They nearly equal the target and exist for 3 % of the songs: `DENIED_COLUMNS` are never read, and
`refuse_annotations` keeps them and the annotations themselves out of any model's input.

Zones come from `earmark.tasks.zones.deam.mapping`. They are made from ratings of mood that were averaged over
listeners, not given by a DJ: they may help to train, but no score on them is a score of zones.

References: Aljanaki, Yang and Soleymani, "Developing a benchmark for emotional analysis of music", PLoS ONE
12(3), 2017. The collection has its own terms of use; nothing of it comes with this package.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from earmark.errors import SchemaError, UsageError
from earmark.tasks.zones.deam.mapping import ZoneMapping
from earmark.tasks.zones.labels import CLASSES
from earmark.tasks.zones.text import decode_text, normalised

__all__ = [
    "ANNOTATION_COLUMNS",
    "ANNOTATION_FILES",
    "ANNOTATION_FOLDER",
    "DEAM_SOURCE",
    "DENIED_COLUMNS",
    "REJECTION_REASONS",
    "SAME_AUDIO",
    "DeamRejection",
    "DeamSet",
    "DeamTrack",
    "read_deam",
    "refuse_annotations",
]

ANNOTATION_FOLDER = "annotations/annotations averaged per song/song_level"
ANNOTATION_FILES = (
    "static_annotations_averaged_songs_1_2000.csv",
    "static_annotations_averaged_songs_2000_2058.csv",
)
VALUE_COLUMNS = ("valence_mean", "valence_std", "arousal_mean", "arousal_std")
DENIED_COLUMNS = tuple(
    f"{what}_{extreme}_{statistic}"
    for what in ("arousal", "valence")
    for extreme in ("max", "min")
    for statistic in ("mean", "std")
)
"""Columns of the second annotation file that nearly are the target."""
ANNOTATION_COLUMNS = ("ann.arousal", "ann.valence")
"""Columns of the manifest that hold the annotations; estimates of the same are called ``est.``."""

DEAM_SOURCE = "deam"
"""Value of the column ``source`` of these tracks."""

UNREADABLE_SONG = "unreadable annotation"
REPEATED_SONG = "song annotated twice"
NO_ZONE = "no arousal or valence on the scale"
NO_MEDIA = "neither audio nor features"
SAME_AUDIO = "same audio as a labelled track"
REJECTION_REASONS = (UNREADABLE_SONG, REPEATED_SONG, NO_ZONE, NO_MEDIA, SAME_AUDIO)
"""Why an annotated song is set aside, in the order of the tests."""

# Archives unpacked into one folder, or each into a folder of its own; the first that exists is taken.
_AUDIO_FOLDERS = ("MEMD_audio", "DEAM_audio/MEMD_audio")
_FEATURE_FOLDERS = ("features/features", "features")
_ANNOTATION_ROOTS = ("", "DEAM_Annotations")
_METADATA_FILES = tuple(f"metadata_{year}.csv" for year in (2013, 2014, 2015))
_METADATA_FOLDERS = ("metadata/metadata", "metadata", "")
_METADATA_SYNONYMS = {
    "id": ("song_id", "song id", "id", "track_id", "track id"),
    "artist": ("artist", "artist name"),
    "title": ("song title", "title", "track", "track title", "song"),
    "album": ("album", "album title"),
    "genre": ("genre", "genres"),
}
_IMBALANCE = 2.0  # the largest zone may have this many times the tracks of the smallest
_SHOWN = 5


@dataclass(frozen=True)
class DeamTrack:
    """An annotated song with its zone.

    Parameters
    ----------
    id : str
        The song's number.
    audio, features : Path or None
        At least one of them exists.
    arousal, valence : float
        Averages over listeners, on the scale of the mapping.
    arousal_std, valence_std : float
        Spread over listeners; NaN where it is not given.
    zone : str
    file, row : str, int
        Where the annotation stands.
    artist, album, title, genre : str or None
    tempo_bpm : float or None
        Where a table of tempos was given.
    """

    id: str
    audio: Path | None
    features: Path | None
    arousal: float
    valence: float
    arousal_std: float
    valence_std: float
    zone: str
    file: str
    row: int
    artist: str | None = None
    album: str | None = None
    title: str | None = None
    genre: str | None = None
    tempo_bpm: float | None = None

    @property
    def item_id(self) -> str:
        """Id in a manifest; the same whether the audio or the table of features is used."""
        return f"{DEAM_SOURCE}/{self.id}"

    @property
    def path(self) -> Path:
        """What its features are made from: the audio, or else the table of features."""
        path = self.audio or self.features
        assert path is not None, "a song without either is rejected"
        return path


@dataclass(frozen=True)
class DeamRejection:
    """An annotation that was set aside: file, row number, song, reason of `REJECTION_REASONS`, detail."""

    file: str
    row: int
    id: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class DeamSet:
    """The annotated songs of a folder; ``len(tracks) + len(rejected)`` is the number of rows read."""

    folder: Path
    mapping: ZoneMapping
    tracks: tuple[DeamTrack, ...]
    rejected: tuple[DeamRejection, ...]
    warnings: tuple[str, ...]

    @property
    def zone_counts(self) -> dict[str, int]:
        """Tracks of each zone, in class order."""
        counts = Counter(track.zone for track in self.tracks)
        return {zone: counts[zone] for zone in CLASSES}


@dataclass(frozen=True)
class _Annotation:
    file: str
    row: int
    id: str
    values: Mapping[str, float]
    problem: str = ""


@dataclass(frozen=True)
class _Media:
    """Files by song: audio, features; and songs with more than one audio file."""

    audio: Mapping[str, Path]
    features: Mapping[str, Path]
    repeated: tuple[str, ...] = field(default=())


def read_deam(folder: str | Path, mapping: ZoneMapping | None = None) -> DeamSet:
    """Read annotations, find audio and features, and give each song its zone.

    Parameters
    ----------
    folder : path
    mapping : ZoneMapping, optional
        Default: `ZoneMapping.default`.

    Returns
    -------
    DeamSet
        Tracks in the order of their numbers.

    Raises
    ------
    UsageError
        Files or columns are missing (all are named), or no song can be used.
    """
    folder = Path(folder).absolute()
    mapping = mapping or ZoneMapping.default()
    annotations, media = _read_tree(folder)
    metadata, warnings = _read_metadata(folder)
    tracks: list[DeamTrack] = []
    rejected: list[DeamRejection] = []
    seen: set[str] = set()
    for found in annotations:
        reason, detail = _objection(found, seen, mapping, media)
        if reason:
            rejected.append(DeamRejection(found.file, found.row, found.id, reason, detail))
        else:
            tracks.append(_track(found, mapping, media, metadata.get(found.id, {})))
            seen.add(found.id)
    if not tracks:
        raise _nothing_usable(folder, rejected)
    tracks.sort(key=lambda track: int(track.id))
    deam = DeamSet(folder, mapping, tuple(tracks), tuple(rejected), ())
    warnings += [*_media_warnings(tracks, media), *_imbalance(deam.zone_counts)]
    return DeamSet(folder, mapping, deam.tracks, deam.rejected, tuple(warnings))


def refuse_annotations(columns: Iterable[str]) -> None:
    """Raise a `SchemaError` if annotations, or extremes of them, are among the columns of a model's input.

    Columns of the annotation files are known with and without a group before them.
    """
    targets = {*DENIED_COLUMNS, *VALUE_COLUMNS}
    bad = [name for name in columns if name.startswith("ann.") or name.rpartition(".")[2] in targets]
    if bad:
        raise SchemaError(
            f"{len(bad)} columns are annotations and not features: {', '.join(bad[:_SHOWN])}. Expected what can be "
            "computed from a track that nobody has rated. Leave them out."
        )


def _read_tree(folder: Path) -> tuple[list[_Annotation], _Media]:
    """Annotations and media, or one error with all that is missing."""
    if not folder.is_dir():
        raise UsageError(f"there is no folder `{folder}`. Expected the folder of DEAM. Correct --deam.")
    problems: list[str] = []
    annotations: list[_Annotation] = []
    for name in ANNOTATION_FILES:
        path = _first_of(folder, [f"{root}/{ANNOTATION_FOLDER}/{name}" for root in _ANNOTATION_ROOTS])
        if path is None:
            problems.append(f"the file `{ANNOTATION_FOLDER}/{name}`")
        else:
            annotations += _read_annotations(path, problems)
    audio, features = _first_of(folder, _AUDIO_FOLDERS), _first_of(folder, _FEATURE_FOLDERS)
    if audio is None and features is None:
        problems.append(
            f"both folders `{_AUDIO_FOLDERS[0]}` and `{_FEATURE_FOLDERS[-1]}`, of which one is needed"
        )
    if problems:
        raise UsageError(
            f"`{folder}` is not a complete DEAM: missing are {'; '.join(problems)}. Expected the archives of audio "
            "or features, and of annotations, unpacked there. Add them, or correct --deam."
        )
    return annotations, _media(audio, features)


def _first_of(folder: Path, names: Sequence[str]) -> Path | None:
    return next((path for name in names if (path := folder / name.lstrip("/")).exists()), None)


def _read_annotations(path: Path, problems: list[str]) -> list[_Annotation]:
    """Rows of one annotation file; columns are found by name, and none but the needed ones is looked at."""
    lines = [line for line in _cells(path, ",") if any(line)]
    header = lines[0] if lines else []
    missing = [name for name in ("song_id", *VALUE_COLUMNS) if name not in header]
    if missing:
        problems.append(f"the columns {', '.join(f'`{name}`' for name in missing)} of `{path.name}`")
        return []
    place = {name: header.index(name) for name in ("song_id", *VALUE_COLUMNS)}
    return [_annotation(path.name, number, cells, place) for number, cells in enumerate(lines[1:], start=2)]


def _annotation(file: str, row: int, cells: Sequence[str], place: Mapping[str, int]) -> _Annotation:
    if len(cells) <= max(place.values()):
        return _Annotation(file, row, cells[0], {}, f"{len(cells)} cells, fewer than the header names")
    song = _song_number(cells[place["song_id"]])
    if song is None:
        return _Annotation(file, row, cells[place["song_id"]], {}, "song_id is not a number")
    return _Annotation(file, row, song, {name: _number(cells[place[name]]) for name in VALUE_COLUMNS})


def _cells(path: Path, separator: str) -> list[list[str]]:
    """Cells of a CSV file without the white space around them; text that is not UTF-8 is read as Latin-1."""
    data = path.read_bytes()
    try:
        text = decode_text(data, str(path))
    except UsageError:
        text = data.decode("latin-1")  # names in the metadata were exported by several programs
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    try:
        return [[cell.strip() for cell in row] for row in rows]
    except csv.Error as error:
        raise UsageError(f"`{path}` is not a table ({error}). Expected CSV. Save it again.") from error


def _song_number(text: str) -> str | None:
    """`"7"` for ``7``, ``7.0`` or `` 7``; None for what is no whole number."""
    value = _number(text)
    return str(int(value)) if math.isfinite(value) and value == int(value) else None


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _media(audio: Path | None, features: Path | None) -> _Media:
    from earmark.audio.decode import AUDIO_SUFFIXES

    sounds: dict[str, Path] = {}
    repeated = []
    for path in sorted(audio.iterdir()) if audio else ():
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file():
            if path.stem in sounds:
                repeated.append(path.stem)
            sounds.setdefault(path.stem, path)
    tables = {path.stem: path for path in sorted(features.glob("*.csv"))} if features else {}
    return _Media(sounds, tables, tuple(repeated))


def _objection(found: _Annotation, seen: set[str], mapping: ZoneMapping, media: _Media) -> tuple[str, str]:
    """The first reason against an annotation, with a detail; empty texts if there is none."""
    if found.problem:
        return UNREADABLE_SONG, found.problem
    if found.id in seen:
        return REPEATED_SONG, "the first usable row counts"
    problem = mapping.problem(found.values["arousal_mean"], found.values["valence_mean"])
    if problem:
        return NO_ZONE, problem
    if found.id not in media.audio and found.id not in media.features:
        return NO_MEDIA, f"no {_AUDIO_FOLDERS[0]}/{found.id}.* and no {_FEATURE_FOLDERS[-1]}/{found.id}.csv"
    return "", ""


def _track(found: _Annotation, mapping: ZoneMapping, media: _Media, metadata: Mapping[str, str]) -> DeamTrack:
    arousal, valence = found.values["arousal_mean"], found.values["valence_mean"]
    return DeamTrack(
        id=found.id,
        audio=media.audio.get(found.id),
        features=media.features.get(found.id),
        arousal=arousal,
        valence=valence,
        arousal_std=found.values["arousal_std"],
        valence_std=found.values["valence_std"],
        zone=mapping.zone(arousal, valence),
        file=found.file,
        row=found.row,
        artist=metadata.get("artist"),
        album=metadata.get("album"),
        title=metadata.get("title"),
        genre=metadata.get("genre"),
    )


def _read_metadata(folder: Path) -> tuple[dict[str, dict[str, str]], list[str]]:
    """What is known of each song, and what could not be read; metadata only group tracks."""
    songs: dict[str, dict[str, str]] = {}
    warnings, absent = [], []
    for name in _METADATA_FILES:
        path = _first_of(folder, [f"{place}/{name}" for place in _METADATA_FOLDERS])
        if path is None:
            absent.append(name)
            continue
        rows = _metadata_rows(path)
        if rows is None:
            warnings.append(f"`{path.name}` has no column for the song's number and is left out")
        for row in rows or ():
            number = _song_number(row.pop("id", ""))
            if number is not None:
                songs.setdefault(number, row)
    if absent:
        warnings.append(
            f"{', '.join(absent)} not found: the artists of these songs are unknown, so songs of one artist may lie "
            "on two sides of a division"
        )
    return songs, warnings


def _metadata_rows(path: Path) -> list[dict[str, str]] | None:
    """Rows of a metadata file by our names of its columns; None if no column is the song's number."""
    first = path.read_bytes().split(b"\n", 1)[0].decode("latin-1")
    separator = max((",", ";", "\t"), key=first.count)
    lines = [line for line in _cells(path, separator) if any(line)]
    header = [normalised(cell) for cell in lines[0]] if lines else []
    place = {
        name: header.index(known)
        for name, synonyms in _METADATA_SYNONYMS.items()
        if (known := next((synonym for synonym in synonyms if synonym in header), None))
    }
    if "id" not in place:
        return None
    rows = []
    for cells in lines[1:]:
        row = {name: " ".join(cells[at].split()) for name, at in place.items() if at < len(cells)}
        rows.append({name: value for name, value in row.items() if value})
    return rows


def _media_warnings(tracks: Sequence[DeamTrack], media: _Media) -> list[str]:
    tables = sum(track.audio is None for track in tracks)
    counted = [
        (tables, "songs have no audio: their features come from openSMILE tables, in units of their own"),
        (len(media.repeated), "songs have two audio files; the first by name is used"),
    ]
    return [f"{count} {what}" for count, what in counted if count]


def _imbalance(counts: Mapping[str, int]) -> list[str]:
    most, least = max(counts, key=counts.__getitem__), min(counts, key=counts.__getitem__)
    if counts[most] <= _IMBALANCE * counts[least]:
        return []
    return [
        f"DEAM has {counts[most]} {most} tracks and {counts[least]} {least}, more than {_IMBALANCE:g} times as many; "
        "another mapping or class weights may help"
    ]


def _nothing_usable(folder: Path, rejected: Sequence[DeamRejection]) -> UsageError:
    counts = Counter(row.reason for row in rejected)
    reasons = ", ".join(f"{reason} {count}" for reason, count in counts.most_common()) or "it has no rows"
    first = f" The first is song {rejected[0].id}: {rejected[0].detail}." if rejected else ""
    return UsageError(
        f"none of the {len(rejected)} annotated songs of `{folder}` can be used: {reasons}.{first} "
        "Expected songs with audio or features. Correct --deam."
    )
