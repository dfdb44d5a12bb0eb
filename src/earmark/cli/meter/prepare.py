"""`earmark prepare meter`: from data sets of time signatures to one manifest, folds and a sealed test set."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command, open_project

if TYPE_CHECKING:
    from earmark.tasks.meter.datasets.accounting import MeterReport
    from earmark.tasks.meter.datasets.download import FetchOptions
    from earmark.tasks.verbs.prepare import Prepared

__all__ = ["prepare"]

_FOLDER = click.Path(file_okay=False, path_type=Path)
_SET_OPTIONS = {"wikimeter": "data_dir", "fixtures": "fixtures", "ballroom": "ballroom", "gtzan": "gtzan"}
_GET = ("meter2800", "ballroom", "wikimeter", "fixtures")
DEFAULT_SEED = 42
_EXPECTED_OF_DATA = frozenset({"blacklisted", "listed twice", "no class"})
"""Reasons that say something of the data and nothing of a failure: they leave the exit code at 0."""


def _names(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (value or "").split(",") if part.strip())


@command("prepare")
@click.argument("sources", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--data-dir", "--wikimeter", "data_dir", type=_FOLDER, help="Folder of WIKIMETER.")
@click.option("--meter2800", type=_FOLDER, help="Folder of METER2800: its lists and its audio.")
@click.option("--ballroom", type=_FOLDER, help="Folder of Ballroom, which is only tested on.")
@click.option("--gtzan", type=_FOLDER, help="Folder of GTZAN with beats (GTZAN-Rhythm) or genres_tempos.csv.")
@click.option("--fixtures", type=_FOLDER, help="Folder of fixtures, which are only tested on.")
@click.option(
    "--csv",
    "tables",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV file with file and label; may be repeated.",
)
@click.option(
    "--source",
    "scores",
    type=click.Choice(["patterns", "music21", "midi"]),
    help="Render labelled clips first: of generated patterns, music21's corpus, or the MIDI files in SOURCES.",
)
@click.option(
    "--clips", type=click.IntRange(1), help="Of --source: how many (default: 600; of MIDI one per file)."
)
@click.option(
    "--soundfont",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Of --source: sound font.",
)
@click.option(
    "--workers", "-w", type=click.IntRange(1), default=1, help="Of --source: processes (default: 1)."
)
@click.option(
    "--label-set", type=click.Choice(["original", "corrected"]), help="Labels to train and test on."
)
@click.option(
    "--corrections",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The corrected label set, by SOURCE/stem (default: corrections.csv beside the lists).",
)
@click.option(
    "--wikimeter-split",
    type=click.Choice(["artist", "song"]),
    help="Divide WIKIMETER by artist (default), or by song as earlier figures did.",
)
@click.option(
    "--alt-weight", type=float, help="Weight of METER2800's alternative meter in soft labels (default: 0)."
)
@click.option(
    "--segment-length", "segment_s", type=float, help="Seconds of a segment of a whole song (default: 35)."
)
@click.option(
    "--crop",
    type=click.Choice(["centre", "first"]),
    help="Which 30 s of a long recording are heard (default: centre; earlier figures had the first).",
)
@click.option(
    "--no-check", is_flag=True, help="Do not open each file to see whether it is audio, and how long."
)
@click.option(
    "--no-near-duplicates", is_flag=True, help="Do not compare the sound of the files with each other."
)
@click.option("--test-fraction", type=float, help="Share sealed of what no data set has divided.")
@click.option(
    "--folds", "--kfold", type=int, help="Folds; the first holds what data sets give for validation."
)
@click.option("--seed", "--random-state", type=int, help="Seed of the division.")
@click.option(
    "--reseal", "reseal_reason", metavar="REASON", help="Draw a new test set; the ledger keeps the reason."
)
@click.option(
    "--write-labels",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write all rows and labels that were read, as one CSV file in the normal form.",
)
@click.option("--diff", "compare", is_flag=True, help="Compare two label files instead; nothing is prepared.")
@click.option(
    "--dry-run", is_flag=True, help="Read and divide, or tell what would be fetched; write nothing."
)
@click.option(
    "--get", "getting", type=click.Choice(_GET), help="Fetch a data set first, or tell how, and stop."
)
@click.option("--output-dir", type=_FOLDER, help="Of --get: the folder (default: data/ and the name).")
@click.option("--base-url", metavar="URL", help="Of --get: another server with the same paths.")
@click.option("--skip-download", is_flag=True, help="Of --get: unpack and count what is there.")
@click.option("--no-skip-existing", is_flag=True, help="Of --get: fetch songs again that are there.")
@click.option("--limit", type=click.IntRange(1), help="Of --get: at most so many songs or fixtures.")
@click.option("--meters", callback=_names, metavar="5,7", help="Of --get wikimeter: songs with one of these.")
@click.option("--no-poly", is_flag=True, help="Of --get wikimeter: no songs with several meters.")
@click.option(
    "--source-types", callback=_names, metavar="A,B", help="Of --get wikimeter: only from these sources."
)
@click.pass_obj
def prepare(invocation: Invocation, /, **given: Any) -> int:
    """Read data sets and label files, divide the clips once, and seal the labels of the test set.

    METER2800 stays divided as published: its validation part is the first fold, its test part is sealed. Ballroom
    and fixtures are sealed as a whole, WIKIMETER is divided by artist, all else as usual. Equal and near-equal
    audio never lies on two sides. Every row is kept or rejected with a reason.

    \b
    Examples:
      earmark prepare meter --data-dir data/wikimeter --meter2800 data/meter2800
      earmark prepare meter labels.csv --label-set corrected
      earmark prepare meter --get meter2800
      earmark prepare meter --get wikimeter --meters 9,11 --dry-run
      earmark prepare meter --source midi scores/
    """
    if given["getting"]:
        return _get(invocation, given)
    from earmark.cli.output import emit, note
    from earmark.cli.prepare import compare_label_files, complain_of_rejected
    from earmark.tasks.verbs.prepare import prepare as run_prepare

    project = open_project(
        invocation,
        "meter",
        split__test_fraction=given["test_fraction"],
        split__folds=given["folds"],
        seed=given["seed"],
    )
    if given["compare"]:
        return compare_label_files(invocation, project, given["sources"], ())
    prepared = run_prepare(
        project,
        _sources(invocation, given),
        options=_import_options(given),
        reseal_reason=given["reseal_reason"],
        labels_output=given["write_labels"],
        dry_run=given["dry_run"],
    )
    rejected, _ = complain_of_rejected(invocation, prepared)
    emit(invocation, _rows(prepared), columns=["what", "count", "corrected"], document=_document(prepared))
    if prepared.folder is not None:
        note(invocation, f"Written to {prepared.folder}. Next: earmark extract meter")
    return 1 if any(row["reason"] not in _EXPECTED_OF_DATA for row in rejected) else 0


def _sources(invocation: Invocation, given: dict[str, Any]) -> list[str]:
    """What the importer is to read: data sets as ``KIND=PATH``, then label files and folders."""
    named = {"meter2800": given["meter2800"], **{kind: given[name] for kind, name in _SET_OPTIONS.items()}}
    sets = [f"{kind}={path}" for kind, path in named.items() if path is not None]
    plain = () if given["scores"] == "midi" else given["sources"]
    rendered = (_rendered(invocation, given),) if given["scores"] else ()
    return [*sets, *map(str, (*given["tables"], *plain, *rendered))]


def _rendered(invocation: Invocation, given: dict[str, Any]) -> Path:
    """Label file of the clips that were rendered from scores."""
    from earmark.cli.output import complain
    from earmark.cli.progress import progress
    from earmark.errors import UsageError
    from earmark.tasks.meter.scores.sources import render_source

    source, folders = given["scores"], given["sources"]
    if source == "midi" and len(folders) != 1:
        raise UsageError(
            f"--source midi was given {len(folders)} folders of MIDI files; expected one: --source midi scores/"
        )
    with progress(invocation) as tell:
        rendered = render_source(
            source,
            invocation.folder / "data" / f"scores-{source}",
            n_clips=given["clips"],
            seed=given["seed"] or DEFAULT_SEED,
            workers=given["workers"],
            progress=tell,
            soundfont=given["soundfont"],
            midi_dir=folders[0] if source == "midi" else None,
        )
    for problem in rendered.failed:
        complain(f"not rendered: {problem}")
    return rendered.labels_csv


def _import_options(given: dict[str, Any]) -> dict[str, Any]:
    names = ("label_set", "corrections", "wikimeter_split", "alt_weight", "segment_s", "crop")
    switches = {"check": not given["no_check"], "near_duplicates": not given["no_near_duplicates"]}
    return {name: given[name] for name in names if given[name] is not None} | switches


def _rows(prepared: Prepared) -> list[dict[str, Any]]:
    """What was read and kept, then the classes of each part in both label sets side by side, then sources and folds."""
    report: MeterReport = prepared.report
    rows: list[dict[str, Any]] = [
        {"what": "rows read", "count": report.rows_read},
        {"what": "rows kept", "count": report.kept},
        {"what": "rows rejected", "count": len(report.rejected)},
    ]
    reasons = Counter(row.reason for row in report.rejected)
    rows += [{"what": f"rejected: {reason}", "count": count} for reason, count in reasons.most_common()]
    rows += [
        {"what": "items", "count": prepared.n_items},
        {"what": "items to train on", "count": prepared.n_train},
        {"what": "items sealed for the test", "count": prepared.n_test},
    ]
    original, corrected = (report.label_sets[name] for name in ("original", "corrected"))
    rows += [
        {"what": f"{part} {name}", "count": count, "corrected": corrected[part][name]}
        for part, counts in original.items()
        for name, count in counts.items()
        if count or corrected[part][name]
    ]
    rows += [
        {"what": f"source {source}, {name}", "count": count}
        for source, counts in report.by_source.items()
        for name, count in counts.items()
        if count
    ]
    return rows + [{"what": f"fold {fold}", "count": count} for fold, count in enumerate(prepared.folds)]


def _document(prepared: Prepared) -> dict[str, Any]:
    from dataclasses import asdict

    report = asdict(prepared.report)
    return {
        "task": "meter",
        **{
            name: report[name]
            for name in ("rows_read", "kept", "rejected", "label_sets", "by_source", "equal_audio")
        },
        "corrections": report["n_corrections"],
        "blacklisted": report["n_blacklisted"],
        "items": prepared.n_items,
        "train": prepared.n_train,
        "test": prepared.n_test,
        "folds": prepared.folds,
        "warnings": prepared.warnings,
        "folder": prepared.folder,
    }


def _get(invocation: Invocation, given: dict[str, Any]) -> int:
    from earmark.cli.output import emit, note
    from earmark.tasks.meter.datasets.download import get

    name = given["getting"]
    folder = given["output_dir"] or given[_SET_OPTIONS.get(name, name)] or invocation.folder / "data" / name
    done = get(name, folder, _fetch_options(given), tell=lambda text: note(invocation, text))
    rows = [{"name": each.name, "status": each.status, "detail": each.detail} for each in done]
    emit(invocation, rows)
    counts = Counter(each.status for each in done)
    note(invocation, f"{folder}: " + ", ".join(f"{count} {status}" for status, count in counts.most_common()))
    return 1 if counts["failed"] or counts["missing"] else 0


def _fetch_options(given: dict[str, Any]) -> FetchOptions:
    from earmark.tasks.meter.datasets.download import FetchOptions

    return FetchOptions(
        base_url=given["base_url"],
        skip_download=given["skip_download"],
        limit=given["limit"],
        meters=given["meters"],
        polymetric=not given["no_poly"],
        source_types=given["source_types"],
        dry_run=given["dry_run"],
        skip_existing=not given["no_skip_existing"],
    )
