"""`earmark prepare`: from label files and folders to a manifest, folds and a sealed test set."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command, open_project, task_argument

if TYPE_CHECKING:
    from earmark.tasks.project import Project
    from earmark.tasks.verbs.prepare import Prepared

__all__ = ["compare_label_files", "complain_of_rejected", "prepare"]

# Rows that hold nothing to use, in contrast to rows whose input failed: they do not change the exit code.
_NOTHING_TO_USE = frozenset(
    {"empty zone", "duplicate path", "listed twice", "song annotated twice", "same audio as a labelled track"}
)
_LISTED = 20


_STRATEGIES = ("plan", "simple", "advanced")
# Option -> what `ZoneMapping.with_thresholds` calls it.
_CHANGES = {
    "yellow_threshold": "yellow_max",
    "purple_threshold": "purple_min",
    "valence_threshold": "valence_min",
    "mapping_strategy": "strategy",
    "mapping_preset": "preset",
}


def _deam_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of DEAM and of the mapping from arousal and valence to zones."""
    folder = click.Path(exists=True, file_okay=False, path_type=Path)
    for option in reversed(
        (
            click.option(
                "--deam",
                "--deam-dir",
                "deam",
                type=folder,
                help="Folder of DEAM; its songs train beside your labels.",
            ),
            click.option(
                "--mapping",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="YAML file that says how arousal and valence become zones.",
            ),
            click.option(
                "--mapping-template",
                type=click.Path(dir_okay=False, path_type=Path),
                help="Write a file for --mapping with every default, explained, and prepare nothing.",
            ),
            click.option("--mapping-strategy", type=click.Choice(_STRATEGIES), help="Rule of the mapping."),
            click.option("--mapping-preset", metavar="NAME", help="Named thresholds for the rule `simple`."),
            click.option("--yellow-threshold", type=float, help="Arousal below which a song is YELLOW."),
            click.option("--purple-threshold", type=float, help="Arousal above which a song is PURPLE."),
            click.option("--valence-threshold", type=float, help="Valence above which PURPLE needs to be."),
            click.option(
                "--tempo-csv",
                type=click.Path(exists=True, dir_okay=False, path_type=Path),
                help="Tempos of DEAM's songs: CSV with track_id and tempo.",
            ),
            click.option(
                "--deam-tables",
                "--output-dir",
                "deam_tables",
                type=click.Path(file_okay=False, path_type=Path),
                help="Also write DEAM with its zones, and train, val and test, as CSV files for other tools.",
            ),
            click.option("--val-size", type=float, help="Share of val.csv of --deam-tables (default: 0.1)."),
            click.option(
                "--test-size", type=float, help="Share of test.csv of --deam-tables (default: 0.1)."
            ),
        )
    ):
        function = option(function)
    return function


@command()
@task_argument()
@click.argument("sources", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--relocate", multiple=True, metavar="OLD=NEW", help="Where files lie now; may be repeated.")
@click.option(
    "--from",
    "kind",
    metavar="KIND",
    help="What SOURCES are: serato, rekordbox-xml, rekordbox-anlz, playlist, or tags (of the tracks in a folder). "
    "All but tags are recognised without it.",
)
@click.option("--no-check", is_flag=True, help="Do not open each file to see whether it is audio.")
@click.option("--test-fraction", type=float, help="Share of items sealed as the test set.")
@click.option("--folds", "--cv-folds", type=int, help="Folds of cross-validation on the rest.")
@click.option("--seed", "--random-state", type=int, help="Seed of the division.")
@click.option(
    "--reseal", "reseal_reason", metavar="REASON", help="Draw a new test set; the ledger keeps the reason."
)
@click.option(
    "--write-labels",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Also write all rows and labels that were read, as one CSV file in the normal form.",
)
@_deam_options
@click.option("--diff", "compare", is_flag=True, help="Compare two label files instead; nothing is prepared.")
@click.option("--dry-run", is_flag=True, help="Read and divide, write nothing.")
@click.pass_obj
def prepare(
    invocation: Invocation,
    /,
    task: str,
    sources: tuple[Path, ...],
    relocate: tuple[str, ...],
    kind: str | None,
    no_check: bool,
    test_fraction: float | None,
    folds: int | None,
    seed: int | None,
    reseal_reason: str | None,
    write_labels: Path | None,
    compare: bool,
    dry_run: bool,
    **deam: Any,
) -> int:
    """Read label files or folders in SOURCES, divide the items once, and seal the labels of the test set.

    Every row is kept or rejected with a reason. Items of one group (artist, album, equal audio, or what the
    task says) never lie on two sides of a division. Test items of an earlier division stay test items.

    With --deam, songs with averaged arousal and valence join: beside labelled tracks they only train and are
    never scored; without SOURCES they are all there is.

    \b
    Examples:
      earmark prepare zones labels.csv
      earmark prepare zones playlist.txt --relocate C:/Music=/home/me/music
      earmark prepare zones labels.csv --dry-run --format json
      earmark prepare zones --diff labels_v1.txt labels_v2.txt
      earmark prepare zones labels.csv --deam DEAM --mapping-strategy simple --purple-threshold 5.7
      earmark prepare zones --mapping-template zone_mapping.yaml
      earmark prepare mine.py recordings/
    """
    from earmark.cli.output import emit, note
    from earmark.tasks.verbs.prepare import prepare as run_prepare

    project = open_project(
        invocation, task, split__test_fraction=test_fraction, split__folds=folds, seed=seed
    )
    template = deam.pop("mapping_template")
    if template is not None:
        return _write_template(invocation, project, template)
    second_source = _second_source(deam, project.settings.seed, dry_run=dry_run)
    if compare:
        return compare_label_files(invocation, project, sources, relocate)
    prepared = run_prepare(
        project,
        sources,
        options={"relocate": relocate, "from": kind, "check": not no_check, **second_source},
        reseal_reason=reseal_reason,
        labels_output=write_labels,
        dry_run=dry_run,
    )
    rejected, failed = complain_of_rejected(invocation, prepared)
    emit(invocation, _table(prepared, rejected), document=_document(project.task.name, prepared, rejected))
    if prepared.folder is not None:
        note(invocation, f"Written to {prepared.folder}. Next: earmark extract {task}")
    return 1 if failed else 0


def complain_of_rejected(invocation: Invocation, prepared: Prepared) -> tuple[list[dict[str, Any]], bool]:
    """List the rows that were rejected and the warnings; gives these rows, and whether the input of one failed."""
    from earmark.cli.output import complain, note

    rejected = [_rejection(row) for row in prepared.report.rejected]
    for row in rejected[: None if invocation.verbose else _LISTED]:
        complain("rejected: " + ": ".join(str(part) for part in row.values() if part not in (None, "")))
    if len(rejected) > _LISTED and not invocation.verbose:
        complain(f"... and {len(rejected) - _LISTED} more; -v lists all.")
    for warning in prepared.warnings:
        note(invocation, f"warning: {warning}")
    return rejected, any(row["reason"] not in _NOTHING_TO_USE for row in rejected)


def _write_template(invocation: Invocation, project: Project, path: Path) -> int:
    from earmark.cli.output import note
    from earmark.data.parquet import write_bytes_atomic
    from earmark.errors import UsageError
    from earmark.tasks.verbs.prepare import label_files

    template = label_files(project).mapping_template
    if template is None:
        raise UsageError(f"Task `{project.task.name}` maps nothing to labels. Leave --mapping-template out.")
    if path.exists():
        raise UsageError(f"`{path}` exists and is left as it is. Name another file.")
    write_bytes_atomic(path, template().encode())
    note(
        invocation,
        f"Written: {path}. Next: earmark prepare {project.spelled} LABELS --deam DIR --mapping {path}",
    )
    return 0


def compare_label_files(
    invocation: Invocation, project: Project, sources: tuple[Path, ...], relocate: tuple[str, ...]
) -> int:
    """Print what is new, removed and relabelled from the first label file to the second."""
    from earmark.cli.output import emit, note
    from earmark.errors import UsageError
    from earmark.tasks.verbs.prepare import label_files

    if len(sources) != 2:
        raise UsageError(f"--diff was given {len(sources)} files; expected two, the earlier one first.")
    rows = label_files(project).diff(*sources, relocate=relocate)
    counts = Counter(row["change"] for row in rows)
    note(invocation, ", ".join(f"{counts[kind]} {kind}" for kind in ("new", "removed", "relabelled")))
    emit(invocation, rows, columns=["change", "path", "before", "after"])
    return 0


def _second_source(given: Mapping[str, Any], seed: int, *, dry_run: bool) -> dict[str, Any]:
    """What the importer is told of DEAM; nothing without ``--deam``, and an error where only its options are."""
    said = {name: value for name, value in given.items() if value is not None}
    sizes: dict[str, Any] = {name: said[name] for name in ("val_size", "test_size") if name in said}
    _require("deam", said, tuple(said))
    _require("deam_tables", said, tuple(sizes))
    if not said:
        return {}
    tables: dict[str, Any] | None = None
    if "deam_tables" in said and not dry_run:
        tables = {"folder": said["deam_tables"], "seed": seed, **sizes}
    return {
        "deam": said["deam"],
        "mapping": said.get("mapping"),
        "mapping_changes": {_CHANGES[name]: said[name] for name in _CHANGES if name in said},
        "tempo_csv": said.get("tempo_csv"),
        "deam_tables": tables,
    }


def _require(needed: str, said: Mapping[str, Any], dependent: tuple[str, ...]) -> None:
    """Raise a UsageError for an option that was given without the one that it belongs to."""
    from earmark.errors import UsageError

    if dependent and needed not in said:
        flag, needs = (name.replace("_", "-") for name in (dependent[0], needed))
        raise UsageError(
            f"--{flag} was given without --{needs}, which it belongs to. Add that, or leave it out."
        )


def _rejection(row: Any) -> dict[str, Any]:
    if dataclasses.is_dataclass(row) and not isinstance(row, type):
        return dataclasses.asdict(row)
    path, reason = row
    return {"path": path, "reason": reason}


def _table(prepared: Prepared, rejected: list[dict[str, Any]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"what": "rows read", "count": prepared.report.rows_read},
        {"what": "rows kept", "count": prepared.report.kept},
        {"what": "rows rejected", "count": len(rejected)},
    ]
    reasons = Counter(row["reason"] for row in rejected)
    rows += [{"what": f"rejected: {reason}", "count": count} for reason, count in reasons.most_common()]
    rows += [
        {"what": "items", "count": prepared.n_items},
        {"what": "items to train on", "count": prepared.n_train},
        *([{"what": "items that only train", "count": prepared.n_auxiliary}] if prepared.n_auxiliary else []),
        {"what": "items sealed for the test", "count": prepared.n_test},
        {"what": "items without a label", "count": prepared.n_unlabelled},
    ]
    rows += [{"what": f"training {name}", "count": count} for name, count in prepared.train_classes.items()]
    sources = getattr(prepared.report, "by_source", {})
    if len(sources) > 1 or "mapping" in _told(prepared):
        rows += [
            {"what": f"source {source}, {name}", "count": count}
            for source, counts in sources.items()
            for name, count in counts.items()
        ]
    return rows + [{"what": f"fold {fold}", "count": count} for fold, count in enumerate(prepared.folds)]


def _document(task: str, prepared: Prepared, rejected: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "task": task,
        "rows_read": prepared.report.rows_read,
        "rows_kept": prepared.report.kept,
        "rejected": rejected,
        "items": prepared.n_items,
        "train": prepared.n_train,
        "test": prepared.n_test,
        "unlabelled": prepared.n_unlabelled,
        "folds": prepared.folds,
        "train_classes": prepared.train_classes,
        "auxiliary": prepared.n_auxiliary,
        **_told(prepared),
        "warnings": prepared.warnings,
        "folder": prepared.folder,
    }


def _told(prepared: Prepared) -> dict[str, Any]:
    """What the importer tells of its sources, where it has more than one or made the labels itself."""
    report = prepared.report
    told = {name: getattr(report, name, None) for name in ("by_source", "mapping")}
    return {name: value for name, value in told.items() if value}
