"""From data sets to one manifest: read, find, identify, correct, divide, cut into windows; nothing is lost on the way.

A source is ``KIND=PATH`` with a kind of `KINDS`, or a path alone: a CSV file or a folder of clips (``plain``). Each row
read is kept or rejected with a reason. A recording longer than `WHOLE_S` gives the window of 30 s in its middle, a song
of WIKIMETER one per segment; with ``crop`` ``first`` the windows lie at the beginning, as earlier figures had them.
Options of the request: ``label_set``, ``corrections``, ``wikimeter_split``, ``alt_weight``, ``segment_s``, ``crop``,
``check`` (probe each file), ``near_duplicates`` (compare the sound of all files).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earmark.audio.fragment import fragment
from earmark.data.manifest import Manifest
from earmark.errors import InputError, UsageError
from earmark.tasks.meter.datasets.accounting import (
    BLACKLISTED,
    DUPLICATE_KEY,
    EqualAudio,
    MeterReport,
    account,
    label_of,
)
from earmark.tasks.meter.datasets.ballroom import read_ballroom
from earmark.tasks.meter.datasets.corrections import (
    CORRECTIONS_FILE,
    Correction,
    apply_corrections,
    read_corrections,
)
from earmark.tasks.meter.datasets.fixtures import read_fixtures
from earmark.tasks.meter.datasets.gtzan import read_gtzan
from earmark.tasks.meter.datasets.meter2800 import read_meter2800
from earmark.tasks.meter.datasets.normal_form import FREE_COLUMNS, LABEL_SETS, MeterRow
from earmark.tasks.meter.datasets.plain import read_plain
from earmark.tasks.meter.datasets.splits import (
    WIKIMETER_RULES,
    group_names,
    matches_earlier,
    with_wikimeter_parts,
)
from earmark.tasks.meter.datasets.wikimeter import SEGMENT_S, read_wikimeter, song_segments
from earmark.tasks.meter.schema import MIN_DURATION_S, WHOLE_S, WINDOW_S

if TYPE_CHECKING:
    from earmark.tasks.task import Imported, ImportRequest

__all__ = ["KINDS", "import_meter"]

CROPS = ("centre", "first")
KINDS = ("meter2800", "wikimeter", "ballroom", "gtzan", "fixtures", "plain")
"""What a source may be, in the order in which equal names are kept."""

Warnings = list[str]


def import_meter(request: ImportRequest) -> Imported:
    """The importer of the task.

    Raises
    ------
    UsageError
        A source cannot be read, an option is none, or no row can be used.
    """
    from earmark.tasks.task import Imported

    options = _checked(request.options)
    warnings: Warnings = []
    rows = [row for source in _ordered(request.sources) for row in _read(*source, options, warnings)]
    rows = with_wikimeter_parts(_without_repeats(rows), options["wikimeter_split"])
    rows = [_examined(row, request.identify, check=options["check"]) for row in rows]
    rows = _corrected(rows, _corrections_files(request.sources, options), warnings)
    rows = [_in_label_set(row, options["label_set"]) for row in rows]
    rows, items = _cut(rows, options["segment_s"], options["crop"])
    if not items:
        raise UsageError(_nothing(rows))
    near = _near_equal(items) if options["near_duplicates"] else []
    manifest = Manifest(_table(items, near, options), root=request.root)
    report = account(rows, items, options["label_set"], _equal_audio(items, near), warnings)
    return Imported(manifest, _noted(report, items, options))


def _checked(given: Mapping[str, Any]) -> dict[str, Any]:
    options = {
        "label_set": "original",
        "corrections": None,
        "wikimeter_split": "artist",
        "alt_weight": 0.0,
        "segment_s": SEGMENT_S,
        "crop": "centre",
        "check": True,
        "near_duplicates": True,
        **{name: value for name, value in given.items() if value is not None},
    }
    for name, known in (("label_set", LABEL_SETS), ("wikimeter_split", WIKIMETER_RULES), ("crop", CROPS)):
        if options[name] not in known:
            raise UsageError(f"{name} is {options[name]!r}; expected {' or '.join(known)}. Correct it.")
    if not 0 <= options["alt_weight"] < 1:
        raise UsageError(
            f"alt_weight is {options['alt_weight']}; expected at least 0 and less than 1. Correct it."
        )
    return options


def _ordered(sources: Sequence[str]) -> list[tuple[str, Path]]:
    """Kind and path of each source, in the order of `KINDS`, whatever the order they were named in."""
    found = []
    for source in sources:
        kind, separator, path = source.partition("=")
        known = bool(separator) and kind in KINDS
        found.append((kind, Path(path)) if known else ("plain", Path(source)))
    return sorted(found, key=lambda pair: KINDS.index(pair[0]))


def _read(kind: str, path: Path, options: Mapping[str, Any], warnings: Warnings) -> list[MeterRow]:
    if kind == "plain":
        rows, told = read_plain(path)
        warnings += told
        return rows
    if not path.is_dir():
        raise UsageError(f"there is no folder `{path}`; expected that of {kind}. Correct the path.")
    if kind == "meter2800":
        return read_meter2800(path, alt_weight=options["alt_weight"])
    readers = {
        "wikimeter": read_wikimeter,
        "ballroom": read_ballroom,
        "gtzan": read_gtzan,
        "fixtures": read_fixtures,
    }
    return readers[kind](path)


def _without_repeats(rows: Sequence[MeterRow]) -> list[MeterRow]:
    """The rows, each further one of the same name rejected; of two plain files the later gets its path as name."""
    seen: set[str] = set()
    checked = []
    for row in rows:
        if row.key in seen and not row.reason:
            other = f"{Path(row.file).absolute().parent.as_posix()}/{row.key}"
            is_new = row.dataset == "plain" and other not in seen
            row = replace(row, key=other) if is_new else row.rejected(DUPLICATE_KEY, row.key)
        seen.add(row.key)
        checked.append(row)
    return checked


def _examined(row: MeterRow, identify: Callable[[str], bytes], *, check: bool) -> MeterRow:
    """A row with content and length, or with the reason why its file cannot be used."""
    from earmark.audio.decode import probe

    if row.reason:
        return row
    try:
        content = identify(row.path).hex()
        duration_s = probe(row.path).duration_s if check or row.dataset == "wikimeter" else None
    except InputError as error:
        return row.rejected("undecodable", str(error))
    if duration_s is not None and duration_s < MIN_DURATION_S:
        return row.rejected("too short", f"{duration_s:.2f} s; expected at least {MIN_DURATION_S:g} s")
    return replace(row, content_hash=content, duration_s=duration_s)


def _corrections_files(sources: Sequence[str], options: Mapping[str, Any]) -> list[Path]:
    """The file that was named, else those beside the data sets."""
    if options["corrections"]:
        return [Path(options["corrections"])]
    beside = [path / CORRECTIONS_FILE for _, path in _ordered(sources) if path.is_dir()]
    return [path for path in beside if path.is_file()]


def _corrected(rows: Sequence[MeterRow], files: Sequence[Path], warnings: Warnings) -> list[MeterRow]:
    entries: dict[str, Correction] = {}
    for file in files:
        entries |= read_corrections(file)
    corrected, told = apply_corrections(rows, entries)
    warnings += told
    return corrected


def _in_label_set(row: MeterRow, label_set: str) -> MeterRow:
    """The row with the soft label of the label set; blacklisted there, it is rejected."""
    if row.reason or label_set == "original" or row.label_corrected == row.label_original:
        return row
    if row.label_corrected is None:
        return row.rejected(BLACKLISTED, "the corrected label set leaves it out")
    return replace(row, meters=row.label_corrected)


def _cut(rows: Sequence[MeterRow], segment_s: float, crop: str) -> tuple[list[MeterRow], list[MeterRow]]:
    """The rows, and the items made of them: segments of songs, windows of what is long, all the rest."""
    checked, items = [], []
    for row in rows:
        is_song = row.dataset == "wikimeter" and row.key.endswith(f"/{row.song_id}")
        made = [] if row.reason else song_segments(row, segment_s) if is_song else [_window(row)]
        if crop == "first":
            made = [_at_the_beginning(item, row) for item in made]
        if not made and not row.reason:
            row = row.rejected("too short", f"{row.duration_s:.1f} s of song")
        checked.append(row)
        items += made
    return checked, items


def _window(row: MeterRow) -> MeterRow:
    if row.duration_s is None or row.duration_s <= WHOLE_S:
        return row
    start = round((row.duration_s - WINDOW_S) / 2, 3)
    return replace(row, span_s=(start, start + WINDOW_S))


def _at_the_beginning(item: MeterRow, row: MeterRow) -> MeterRow:
    """The window that was laid into a row, where the recording or the segment of a song begins."""
    if item.span_s is None or item.span_s == row.span_s:
        return item
    start = item.segment_start_s or 0.0
    return replace(item, span_s=(start, start + item.span_s[1] - item.span_s[0]))


def _near_equal(items: Sequence[MeterRow]) -> list[list[str]]:
    """Contents that sound the same."""
    from earmark.audio.decode import decode
    from earmark.tasks.meter.datasets.duplicates import SAMPLE_RATE_HZ, audio_words, near_equal

    paths = {item.content_hash or "": item.path for item in items}
    words = {}
    for content, path in paths.items():
        try:
            words[content] = audio_words(decode(path, sample_rate=SAMPLE_RATE_HZ))
        except InputError:
            continue  # the extraction says of each file what is wrong with it, and sets it aside
    return near_equal(words)


def _equal_audio(items: Sequence[MeterRow], near: Sequence[Sequence[str]]) -> list[EqualAudio]:
    """Recordings that occur under several names; segments of one song are not meant."""
    of_content = {content: f"near {number}" for number, contents in enumerate(near) for content in contents}
    found: dict[str, dict[str, MeterRow]] = {}
    for item in items:
        content = item.content_hash or item.key
        found.setdefault(of_content.get(content, content), {}).setdefault(item.path, item)
    return [
        EqualAudio(
            tuple(item.key for item in group.values()),
            tuple(
                sorted(
                    {item.label_original or "" for item in group.values()},
                    key=lambda label: (len(label), label),
                )
            ),
            same_bytes=len({item.content_hash for item in group.values()}) == 1,
        )
        for group in found.values()
        if len(group) > 1
    ]


def _table(items: Sequence[MeterRow], near: Sequence[Sequence[str]], options: Mapping[str, Any]) -> Any:
    import polars as pl

    groups = group_names(items, near, by_artist=options["wikimeter_split"] == "artist")
    columns: dict[str, Any] = {
        "id": [item.key for item in items],
        "uri": [fragment(item.path, *item.span_s) if item.span_s else item.path for item in items],
        "group": groups,
        "label": [label_of(item, options["label_set"]) for item in items],
        "label_set": [options["label_set"]] * len(items),
        "content_hash": [item.content_hash for item in items],
    }
    schema: dict[str, Any] = dict.fromkeys(columns, pl.String)
    for name in FREE_COLUMNS:
        columns[name] = [getattr(item, name) for item in items]
        schema[name] = pl.Float64 if name.endswith("_s") else pl.String
    columns["duration_s"] = [item.duration_s for item in items]
    columns["sample_weight"] = [item.weight for item in items]
    return pl.DataFrame(columns, schema=schema | {"duration_s": pl.Float64, "sample_weight": pl.Float64})


def _noted(report: MeterReport, items: Sequence[MeterRow], options: Mapping[str, Any]) -> MeterReport:
    """The report with what the division of WIKIMETER is comparable with."""
    if options["wikimeter_split"] == "artist" or not any(item.dataset == "wikimeter" for item in items):
        return report
    same = (
        "is the test part of earlier figures" if matches_earlier(items) else "is not that of earlier figures"
    )
    told = f"WIKIMETER is divided by song, so artists are on several sides; its test part {same}"
    return replace(report, warnings=(*report.warnings, told))


def _nothing(rows: Sequence[MeterRow]) -> str:
    counts = ", ".join(f"{reason} {n}" for reason, n in Counter(row.reason for row in rows).most_common())
    shown = "".join(
        f" The first is row {row.number} of `{row.file}`: {row.name}, {row.reason} ({row.detail})."
        for row in rows[:1]
    )
    return f"none of {len(rows)} rows can be used: {counts or 'there are none'}.{shown} Correct the source."
