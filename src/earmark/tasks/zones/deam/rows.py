"""DEAM's songs as rows of the manifest, beside labelled tracks or alone, with their part of the account.

Beside tracks that a listener labelled, DEAM's rows are *auxiliary*: they only train, by the strategy that
training names, and are never scored. Alone they are ordinary rows, with a warning. Groups are found over all
rows together, so that a song of an artist who is also in the collection stays on one side of a division. A
song whose audio is also a labelled track is set aside: the listener's label is the better one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.data.groups import track_groups
from earmark.data.manifest import Manifest
from earmark.errors import InputError, UsageError
from earmark.tasks.zones.accounting import TWO_ZONES, UNDECODABLE, PrepareReport, RejectedRow
from earmark.tasks.zones.deam.annotations import (
    ANNOTATION_COLUMNS,
    DEAM_SOURCE,
    SAME_AUDIO,
    DeamSet,
    DeamTrack,
    read_deam,
)
from earmark.tasks.zones.deam.mapping import ZoneMapping
from earmark.tasks.zones.deam.tables import write_deam_tables
from earmark.tasks.zones.deam.tempo import add_tempos, read_tempos
from earmark.tasks.zones.inputs import ANNOTATION
from earmark.tasks.zones.labels import CLASSES

if TYPE_CHECKING:
    import polars as pl

    from earmark.audio.decode import AudioInfo
    from earmark.tasks.task import Imported, ImportRequest

__all__ = ["add_deam", "import_deam"]


@dataclass(frozen=True)
class _Row:
    """A song on its way: what has been found out, and the first reason against it."""

    track: DeamTrack
    content_hash: str | None = None
    duration_s: float | None = None
    reason: str = ""
    detail: str = ""


def add_deam(
    labelled: tuple[Manifest, PrepareReport] | None,
    deam: DeamSet,
    *,
    root: str | Path,
    identify: Callable[[str], bytes] | None = None,
    probe: Callable[[str], AudioInfo] | None = None,
) -> tuple[Manifest, PrepareReport]:
    """Manifest and account of labelled tracks and DEAM together.

    Parameters
    ----------
    labelled : (Manifest, PrepareReport) or None
        What was read from label files; None for DEAM alone.
    deam : DeamSet
    root, identify, probe
        As in `prepare_tracks`; with `probe`, audio is opened, and tables are asked for their columns.

    Returns
    -------
    (Manifest, PrepareReport)
        Rows of DEAM have ``source`` "deam", ``label_origin`` "annotation", the annotations in ``ann.arousal`` and
        ``ann.valence``, the mapping that made their zones in ``label_mapping``, and ``auxiliary``.

    Raises
    ------
    UsageError
        No song can be used.
    """
    import polars as pl

    before = labelled[0].table if labelled else None
    ours = set(before["content_hash"].drop_nulls()) if before is not None else set()
    rows = [_examined(track, ours, identify, probe) for track in deam.tracks]
    rows = _without_contradictions(rows)
    kept = [row for row in rows if not row.reason]
    if not kept:
        raise UsageError(
            f"none of the {len(rows)} songs of `{deam.folder}` can be used; the first is song {rows[0].track.id}: "
            f"{rows[0].reason}. {rows[0].detail} Correct --deam, or leave it out."
        )
    auxiliary = before is not None and before["label"].drop_nulls().len() > 0
    table = _table(kept, deam, auxiliary)
    if before is not None:
        marked = before.with_columns(pl.lit(value=False).alias("auxiliary"))
        table = pl.concat([marked, table], how="diagonal")
    table = table.with_columns(pl.Series("group", _groups(table), dtype=pl.String))
    report = _joined(labelled[1] if labelled else None, rows, deam, table, auxiliary)
    return Manifest(table, root=root), report


def import_deam(
    request: ImportRequest,
    labelled: tuple[Manifest, PrepareReport] | None,
    *,
    probe: Callable[[str], AudioInfo] | None,
) -> Imported:
    """Read what the option ``deam`` names and join it with what was read from label files.

    Options: ``deam`` (folder), ``mapping`` (file or None), ``mapping_changes`` (arguments of
    `ZoneMapping.with_thresholds`), ``tempo_csv`` (file or None), and ``deam_tables`` (arguments of
    `write_deam_tables`, or None).
    """
    from earmark.tasks.task import Imported

    options = request.options
    file = options.get("mapping")
    mapping = ZoneMapping.read(file) if file else ZoneMapping.default()
    deam = read_deam(options["deam"], mapping.with_thresholds(**options.get("mapping_changes", {})))
    if options.get("tempo_csv"):
        deam = add_tempos(deam, read_tempos(options["tempo_csv"]))
    manifest, report = add_deam(labelled, deam, root=request.root, identify=request.identify, probe=probe)
    if options.get("deam_tables"):
        write_deam_tables(deam, manifest, **options["deam_tables"])
    return Imported(manifest, report)


def _examined(
    track: DeamTrack,
    labelled: set[str],
    identify: Callable[[str], bytes] | None,
    probe: Callable[[str], AudioInfo] | None,
) -> _Row:
    from earmark.tasks.zones.deam.opensmile import require_columns

    row = _Row(track)
    try:
        if identify is not None:
            row = replace(row, content_hash=identify(str(track.path)).hex())
        if probe is not None and track.audio is not None:
            row = replace(row, duration_s=probe(str(track.audio)).duration_s)
        elif probe is not None:
            require_columns(track.path)
    except InputError as error:
        return replace(row, reason=UNDECODABLE, detail=str(error))
    if row.content_hash in labelled:
        return replace(row, reason=SAME_AUDIO, detail="the listener's label counts")
    return row


def _without_contradictions(rows: Sequence[_Row]) -> list[_Row]:
    """Reject songs of equal content whose annotations fall into different zones."""
    zones: dict[str, set[str]] = {}
    for row in rows:
        if row.content_hash and not row.reason:
            zones.setdefault(row.content_hash, set()).add(row.track.zone)
    checked = []
    for row in rows:
        found = zones.get(row.content_hash or "", set())
        if len(found) > 1 and not row.reason:
            row = replace(
                row, reason=TWO_ZONES, detail=" and ".join(zone for zone in CLASSES if zone in found)
            )
        checked.append(row)
    return checked


def _table(kept: Sequence[_Row], deam: DeamSet, auxiliary: bool) -> pl.DataFrame:
    import polars as pl

    tracks = [row.track for row in kept]
    text = {
        name: [getattr(track, name) for track in tracks] for name in ("artist", "album", "title", "genre")
    }
    columns: dict[str, Any] = {
        "id": [track.item_id for track in tracks],
        "uri": [str(track.path) for track in tracks],
        "group": pl.Series([None] * len(tracks), dtype=pl.String),
        "label": [track.zone for track in tracks],
        **{name: pl.Series(values, dtype=pl.String) for name, values in text.items()},
        "bpm": pl.Series([track.tempo_bpm for track in tracks], dtype=pl.Float64),
        "source": [DEAM_SOURCE] * len(tracks),
        "sample_weight": [1.0] * len(tracks),
        "label_origin": [ANNOTATION] * len(tracks),
        "content_hash": pl.Series([row.content_hash for row in kept], dtype=pl.String),
        "duration_s": pl.Series([row.duration_s for row in kept], dtype=pl.Float64),
        ANNOTATION_COLUMNS[0]: [track.arousal for track in tracks],
        ANNOTATION_COLUMNS[1]: [track.valence for track in tracks],
        "label_mapping": [deam.mapping.digest()] * len(tracks),
        "auxiliary": [auxiliary] * len(tracks),
    }
    return pl.DataFrame(columns)


def _groups(table: pl.DataFrame) -> list[str]:
    """Groups over all rows; those that the label files gave stay together."""
    missing = [None] * table.height
    of = {
        name: table[name].to_list() if name in table.columns else missing
        for name in ("artist", "album", "album_artist", "content_hash", "group")
    }
    return track_groups(
        table["id"].to_list(),
        artists=of["artist"],
        albums=of["album"],
        album_artists=of["album_artist"],
        content_hashes=of["content_hash"],
        given=of["group"],
    )


def _joined(
    report: PrepareReport | None, rows: Sequence[_Row], deam: DeamSet, table: pl.DataFrame, auxiliary: bool
) -> PrepareReport:
    """The account of all rows; `report` is that of the label files."""
    set_aside = [RejectedRow(row.file, row.row, row.id, row.reason, row.detail) for row in deam.rejected]
    set_aside += [
        RejectedRow(row.track.file, row.track.row, str(row.track.path), row.reason, row.detail)
        for row in rows
        if row.reason
    ]
    kept = [row.track.zone for row in rows if not row.reason]
    zones = _in_class_order(Counter(kept))
    base = report or PrepareReport(0, 0, (), (), dict.fromkeys(CLASSES, 0), 0, 0, 0)
    return replace(
        base,
        rows_read=base.rows_read + len(rows) + len(deam.rejected),
        kept=base.kept + len(kept),
        rejected=(*base.rejected, *set_aside),
        warnings=(*base.warnings, *deam.warnings, *_caution(len(kept), auxiliary)),
        class_counts={zone: base.class_counts[zone] + zones[zone] for zone in CLASSES},
        n_groups=table["group"].n_unique(),
        layouts={**base.layouts, str(deam.folder): DEAM_SOURCE},
        by_source={**base.by_source, DEAM_SOURCE: zones},
        mapping={**deam.mapping.describe(), "digest": deam.mapping.digest(), "file": deam.mapping.file},
    )


def _in_class_order(counts: Mapping[str, int]) -> dict[str, int]:
    return {zone: counts.get(zone, 0) for zone in CLASSES}


def _caution(n_kept: int, auxiliary: bool) -> list[str]:
    if auxiliary:
        return []
    return [
        f"the zones of all {n_kept} DEAM tracks are made from averaged arousal and valence; no score on them is a "
        "score of zones that a listener gave"
    ]
