"""`earmark cache`: what is kept, whether it is current, and why not."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import EarmarkCommand, EarmarkGroup, Invocation, open_project, task_argument

if TYPE_CHECKING:
    from earmark.cache.entries import FeatureCache
    from earmark.tasks.project import Project

__all__ = ["cache"]

_SIZE_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_DAY_S = 86_400.0


@click.group(
    cls=EarmarkGroup,
    lazy={
        "why": "earmark.cli.cache_code:why",
        "adopt": "earmark.cli.cache_code:adopt",
        "import": "earmark.cli.cache_import:import_command",
    },
)
def cache() -> None:
    """Look into the feature cache: sizes and costs, what is stale and why, upkeep.

    \b
    Examples:
      earmark cache stats
      earmark cache check zones
      earmark cache why zones.rhythm
      earmark cache gc --stale zones --dry-run
    """


@cache.command("stats", cls=EarmarkCommand)
@click.argument("task", required=False)
@click.option("--versions", is_flag=True, help="A row per version of each group's code.")
@click.pass_obj
def stats(invocation: Invocation, task: str | None, versions: bool) -> None:
    """Show entries, bytes and computing time per feature group, and what computing them again would cost.

    With TASK only the groups whose names begin with it, and how far its prepared items are covered, phase by phase,
    where it has phases.

    \b
    Examples:
      earmark cache stats
      earmark cache stats zones --versions --format json
    """
    from earmark.cli.cache_documents import stats_document
    from earmark.cli.output import emit, format_bytes, note

    document = stats_document(invocation, task, versions=versions)
    rows = document["groups"]
    note(
        invocation,
        f"{document['path']}: {document['entries']} entries, {format_bytes(document['bytes'])} in a file of "
        f"{format_bytes(document['file_bytes'])}",
    )
    for row in document.get("coverage", ()):
        note(invocation, "{phase}: {cached} cached ({percent} %), {failed} failed: {verdict}".format(**row))
    emit(
        invocation, rows, columns=list(rows[0]) if rows else ["group", "entries", "bytes"], document=document
    )


@cache.command("check", cls=EarmarkCommand)
@task_argument(required=False)
@click.argument("sources", nargs=-1)
@click.option(
    "--features", help="Feature sets, separated by commas; `all` for every group (default: the task's)."
)
@click.pass_obj
def check(invocation: Invocation, task: str | None, sources: tuple[str, ...], features: str | None) -> None:
    """Count, per feature group of TASK, the items that are fresh, stale, missing or known to fail: the prepared
    ones, or the files and folders in SOURCES.

    Nothing is computed. The last column says what computing the stale and missing ones will cost, from the time
    that earlier ones took.

    \b
    Examples:
      earmark cache check zones
      earmark cache check zones --features all --format json
      earmark cache check zones ~/Music
    """
    from earmark.cli.cache_documents import check_document
    from earmark.cli.output import complain, emit

    document, failed = check_document(invocation, task, sources, features=features)
    for line in failed:
        complain(line)
    emit(invocation, list(document["groups"].values()), document=document)


@cache.command("gc", cls=EarmarkCommand)
@task_argument(required=False)
@click.option("--stale", is_flag=True, help="Remove what earlier code of TASK's groups computed.")
@click.option(
    "--older-than",
    "days",
    type=click.FloatRange(min=0),
    metavar="DAYS",
    help="Remove what was not used since.",
)
@click.option(
    "--max-size", metavar="SIZE", help="Remove what was not used for the longest down to, e.g., 500M or 2G."
)
@click.option("--dry-run", is_flag=True, help="Only show; the default without --yes.")
@click.option("--yes", is_flag=True, help="Really remove.")
@click.pass_obj
def gc(
    invocation: Invocation,
    task: str | None,
    stale: bool,
    days: float | None,
    max_size: str | None,
    dry_run: bool,
    yes: bool,
) -> None:
    """Remove versions of features that are no longer wanted, and give their room back to the disk.

    Without --yes it only shows what would go.

    \b
    Examples:
      earmark cache gc zones --stale
      earmark cache gc zones --stale --yes
      earmark cache gc --older-than 90 --yes
      earmark cache gc --max-size 2G --yes
    """
    from earmark.cli.output import emit, format_bytes, note
    from earmark.errors import UsageError

    if not stale and days is None and max_size is None:
        raise UsageError(
            "gc was not told what to remove. Give --stale, --older-than DAYS or --max-size SIZE."
        )
    limits: dict[str, Any] = {"stale_only": stale, "dry_run": dry_run or not yes}
    if days is not None:
        limits["max_age_s"] = days * _DAY_S
    if max_size is not None:
        limits["max_bytes"] = parse_size(max_size)
    if stale:
        project = open_project(invocation, task)
        store = project.cache
        limits["current"], foreign = _current(project)
        if foreign:
            note(
                invocation,
                f"Groups that {project.task.name} does not have are left alone: {', '.join(foreign)}",
            )
    else:
        store = _open(invocation)
    cleaning = store.gc(**limits)
    rows = [
        {"group": row.group, "fingerprint": row.fingerprint[:12], "entries": row.entries, "bytes": row.bytes}
        for row in cleaning.removed
    ]
    emit(
        invocation,
        rows,
        columns=["group", "fingerprint", "entries", "bytes"],
        document=dataclasses.asdict(cleaning),
    )
    verb = "would remove" if cleaning.dry_run else "removed"
    note(invocation, f"{verb} {cleaning.entries} entries, {format_bytes(cleaning.bytes)}")
    if cleaning.dry_run and rows:
        note(invocation, "Run again with --yes to remove them.")


@cache.command("verify", cls=EarmarkCommand)
@click.option("--delete", is_flag=True, help="Remove damaged entries; they will be computed again.")
@click.pass_obj
def verify(invocation: Invocation, delete: bool) -> int:
    """Read every entry and check it against its checksum. Exit code 1 if one is damaged.

    A damaged entry is never used: it counts as missing when it is read.

    \b
    Examples:
      earmark cache verify
      earmark cache verify --delete
    """
    from earmark.cli.output import emit, format_bytes, note

    found = _open(invocation, read_only=not delete).verify(delete=delete)
    rows = [dataclasses.asdict(entry) for entry in found.bad]
    emit(
        invocation,
        rows,
        columns=["group", "fingerprint", "identity", "reason"],
        document=dataclasses.asdict(found),
    )
    note(
        invocation,
        f"{found.checked} entries, {format_bytes(found.bytes)}: {len(found.bad)} damaged, {found.deleted} removed",
    )
    return 1 if len(found.bad) > found.deleted else 0


def parse_size(text: str) -> int:
    """``"500M"`` -> bytes; the units are powers of 1024."""
    from earmark.errors import UsageError

    number, unit = text.strip().upper().removesuffix("B").removesuffix("I"), ""
    if number and number[-1] in "KMGT":
        number, unit = number[:-1], number[-1]
    try:
        size = float(number) * _SIZE_UNITS[unit]
    except ValueError:
        size = -1.0
    if not 0 <= size < float("inf"):
        raise UsageError(
            f"--max-size {text}: expected a number of bytes, or one with K, M, G or T, such as 2G."
        )
    return int(size)


def _open(invocation: Invocation, *, read_only: bool = False) -> FeatureCache:
    from earmark.cache.entries import FeatureCache

    return FeatureCache(invocation.settings().path("cache"), read_only=read_only)


def _current(project: Project) -> tuple[list[bytes], list[str]]:
    """Digests that are to stay, all versions of groups that the task does not have included, and those groups."""
    own = project.digests(project.task.all_groups)
    versions = project.cache.stats().versions
    foreign = [bytes.fromhex(row.fingerprint) for row in versions if row.group not in own]
    return [*own.values(), *foreign], sorted({row.group for row in versions if row.group not in own})
