"""`earmark store`: tables of features by date."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import EarmarkCommand, EarmarkGroup, Invocation, task_argument

if TYPE_CHECKING:
    from earmark.store.offline import FeatureStore
    from earmark.tasks.market.validation.readiness import Readiness

__all__ = ["store"]

DEFAULT_GROUP = "training_features"


@click.group(cls=EarmarkGroup)
def store() -> None:
    """Look into the tables of features by date: list, show, validate, compact, restore.

    \b
    Examples:
      earmark store list market
      earmark store validate market --ready
    """


def _names(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    return None if value is None else tuple(part.strip() for part in value.split(",") if part.strip())


def _selection(function: Callable[..., int | None]) -> Callable[..., int | None]:
    """The options that say which rows are meant."""
    for option in (
        click.option("--end", metavar="DATE", help="Last day or time, UTC, included."),
        click.option("--start", metavar="DATE", help="First day or time, UTC, included."),
        click.option("--symbols", callback=_names, metavar="A,B", help="Only these contracts."),
        _group_option,
    ):
        function = option(function)
    return function


_group_option = click.option(
    "--group",
    "--feature-group",
    "group",
    default=DEFAULT_GROUP,
    show_default=True,
    help="Group of the store.",
)
_store_option = click.option(
    "--store", "root", metavar="DIR", help="Folder or URI of the store (default: data/feature_store)."
)
_labels_option = click.option(
    "--label-set", default="default", show_default=True, help="Label set, by id or by its rule's name."
)


@store.command("list", cls=EarmarkCommand)
@task_argument()
@_store_option
@click.pass_obj
def list_(invocation: Invocation, task: str, root: str | None) -> None:
    """List groups, label sets and raw streams with their rows, days, symbols and sizes.

    \b
    Examples:
      earmark store list market
    """
    from earmark.cli.output import emit, format_bytes
    from earmark.tasks.market.store_listing import list_store

    rows = list_store(_opened(invocation, task, root), invocation.folder / "data" / "raw")
    shown = [{**row, "bytes": format_bytes(row["bytes"])} for row in rows]
    emit(invocation, rows if invocation.format == "csv" else shown, document=rows)


@store.command("show", cls=EarmarkCommand)
@task_argument()
@_selection
@_store_option
@_labels_option
@click.option("--columns", callback=_names, metavar="A,B", help="Only these columns.")
@click.option(
    "--limit", type=click.IntRange(1), default=20, show_default=True, help="Newest rows that are shown."
)
@click.option("--features", is_flag=True, help="Show the registry of features with their statistics.")
@click.option("--files", is_flag=True, help="Show the files of the group.")
@click.option("--history", is_flag=True, help="Show the versions of the group.")
@click.pass_obj
def show(invocation: Invocation, /, task: str, **options: Any) -> None:
    """Show the newest rows of a group, its files, its versions, or what is known of each feature.

    \b
    Examples:
      earmark store show market --symbols BTCUSDT --columns timestamp,mid_price,rsi_14
      earmark store show market --features
      earmark store show market --history
    """
    from earmark.cli.output import emit
    from earmark.errors import UsageError
    from earmark.tasks.market import store_listing as listing

    chosen = [name for name in ("features", "files", "history") if options[name]]
    if len(chosen) > 1:
        raise UsageError(f"--{chosen[0]} and --{chosen[1]} exclude each other. Give one of them.")
    opened = _opened(invocation, task, options["root"])
    if options["features"]:
        emit(invocation, listing.feature_rows(opened))
    elif options["files"]:
        emit(
            invocation,
            listing.file_rows(opened, options["group"], options["start"], options["end"], options["symbols"]),
        )
    elif options["history"]:
        emit(invocation, listing.version_rows(opened, options["group"], options["limit"]))
    else:
        emit(invocation, listing.newest_rows(opened, **{name: options[name] for name in _ROWS_OPTIONS}))


_ROWS_OPTIONS = ("group", "start", "end", "symbols", "columns", "label_set", "limit")


@store.command("validate", cls=EarmarkCommand)
@task_argument()
@_selection
@_store_option
@_labels_option
@click.option(
    "--horizon-s", type=click.IntRange(1), default=60, show_default=True, help="Horizon that is trained on."
)
@click.option("--ready", is_flag=True, help="Judge whether there is enough to train on; exit code 3 if not.")
@click.option(
    "--quality", is_flag=True, help="Judge each feature, and write a report to data/feature_analysis."
)
@click.option("--deep", is_flag=True, help="Read every file, and compare its bytes with what was written.")
@click.pass_obj
def validate(
    invocation: Invocation, /, task: str, ready: bool, quality: bool, deep: bool, **options: Any
) -> int:
    """Check the rows: schema, gaps, clocks, missing and stuck values, labels, files.

    Exit code 3 if a check fails, or with --ready if there is not enough to train on.

    \b
    Examples:
      earmark store validate market
      earmark store validate market --ready --format json
      earmark store validate market --quality
    """
    import time

    from earmark.tasks.market.validation.checks import check_rows, read_selection
    from earmark.tasks.market.validation.readiness import readiness

    selection = read_selection(
        _opened(invocation, task, options["root"]),
        options["group"],
        start=options["start"],
        end=options["end"],
        symbols=options["symbols"],
        label_set=options["label_set"],
        horizon_s=options["horizon_s"],
    )
    checks = check_rows(selection, now_ms=time.time_ns() // 1_000_000, deep=deep)
    judged = readiness(selection, checks) if ready else None
    document: dict[str, Any] = {"checks": [_check_row(check) for check in checks]}
    if quality:
        document["quality"] = _write_quality(invocation, selection)
    if judged is not None:
        return _emit_ready(invocation, judged, document)
    return _emit_checks(invocation, checks, document)


@store.command("compact", cls=EarmarkCommand)
@task_argument()
@_group_option
@_store_option
@click.option("--start", metavar="DATE", help="First day, UTC.")
@click.option("--end", metavar="DATE", help="Last day, UTC, included.")
@click.option("--vacuum", is_flag=True, help="Delete files that no version of the retention time needs.")
@click.option(
    "--retention-hours",
    type=click.FloatRange(0),
    default=168,
    show_default=True,
    help="For --vacuum: what is kept.",
)
@click.option("--dry-run", is_flag=True, help="For --vacuum: only tell what would go.")
@click.pass_obj
def compact(invocation: Invocation, /, task: str, **options: Any) -> None:
    """Put the files of each symbol and day together; with --vacuum delete what nothing needs any more.

    \b
    Examples:
      earmark store compact market
      earmark store compact market --vacuum --retention-hours 720
    """
    from earmark.cli.output import emit
    from earmark.tasks.market.store_listing import existing_table

    table = existing_table(_opened(invocation, task, options["root"]), options["group"])
    replaced = 0 if options["dry_run"] else table.compact(options["start"], options["end"])
    deleted = (
        table.vacuum(retention_hours=options["retention_hours"], dry_run=options["dry_run"])
        if options["vacuum"]
        else []
    )
    row = {
        "group": options["group"],
        "replaced": replaced,
        "files": table.files().height,
        "deleted": len(deleted),
    }
    emit(invocation, [row], document={**row, "deleted": deleted, "dry_run": options["dry_run"]})


@store.command("restore", cls=EarmarkCommand)
@task_argument()
@click.argument("version", type=click.IntRange(0))
@_group_option
@_store_option
@click.pass_obj
def restore(invocation: Invocation, task: str, version: int, group: str, root: str | None) -> None:
    """Make an earlier VERSION of a group the newest one; `store show --history` lists them.

    \b
    Examples:
      earmark store restore market 12
    """
    from earmark.cli.output import emit
    from earmark.tasks.market.store_listing import existing_table

    table = existing_table(_opened(invocation, task, root), group)
    table.restore(version)
    rows = int(table.files()["num_records"].sum())
    emit(invocation, [{"group": group, "restored": version, "version": table.version, "rows": rows}])


def _opened(invocation: Invocation, task: str, root: str | None) -> FeatureStore:
    from earmark.errors import UsageError
    from earmark.store.offline import DEFAULT_ROOT, FeatureStore
    from earmark.tasks.market.schema import market_store_schemas

    if task != "market":
        raise UsageError(
            f"The task `{task}` has no store by date. Expected market, e.g. earmark store list market"
        )
    place = root if root is not None and "://" in root else invocation.folder / (root or DEFAULT_ROOT)
    return FeatureStore(place, schemas=market_store_schemas())


def _check_row(check: Any) -> dict[str, Any]:
    return {
        "check": check.name,
        "status": check.status,
        "value": check.value,
        "message": check.message,
        "next": check.next,
    }


def _emit_checks(invocation: Invocation, checks: Any, document: dict[str, Any]) -> int:
    from earmark.cli.output import emit

    rows = [
        {name: row[name] for name in ("check", "status", "message", "next")} for row in document["checks"]
    ]
    emit(invocation, rows, document=document)
    return 3 if any(check.status == "fail" for check in checks) else 0


def _emit_ready(invocation: Invocation, judged: Readiness, document: dict[str, Any]) -> int:
    from dataclasses import asdict

    from earmark.cli.output import complain, emit

    rows = [asdict(requirement) for requirement in judged.requirements]
    document |= {
        "ready": judged.ready,
        "score": judged.score,
        "class_ratio": judged.class_ratio,
        "requirements": rows,
        "missing": list(judged.missing),
    }
    title = f"{'ready' if judged.ready else 'not ready'}, score {judged.score} of 100 (75 needed)"
    emit(invocation, rows, document=document, title=title)
    for line in judged.missing:
        complain(line)
    return 0 if judged.ready else 3


def _write_quality(invocation: Invocation, selection: Any) -> dict[str, Any]:
    from earmark.cli.output import note
    from earmark.tasks.market.validation.quality import feature_quality, write_quality

    report = feature_quality(selection)
    files = write_quality(report, invocation.folder / "data" / "feature_analysis")
    separating = sum(feature.separates for feature in report.features)
    note(
        invocation,
        f"feature quality {report.score:g} of 100: {separating} of {len(report.features)} features separate the "
        f"classes; {files[0]}",
    )
    return {"score": report.score, "separating": separating, "files": [str(path) for path in files]}
