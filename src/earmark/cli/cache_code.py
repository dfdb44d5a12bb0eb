"""`earmark cache why` and `earmark cache adopt`: the code behind what is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from earmark.cli.options import Invocation, command, open_project

if TYPE_CHECKING:
    import numpy as np

    from earmark.cache.entries import FeatureCache
    from earmark.cache.fingerprint import Fingerprint
    from earmark.cache.parts import Part
    from earmark.cache.records import FingerprintRecord
    from earmark.features.group import FeatureGroup
    from earmark.tasks.project import Project

__all__ = ["adopt", "parts_of", "why", "why_document"]


@command("why")
@click.argument("group")
@click.argument("file", required=False)
@click.option("--task", help="Task of the group (default: the one that its name begins with).")
@click.option(
    "--from",
    "earlier",
    metavar="FINGERPRINT",
    help="Version to compare with (default: the newest other one).",
)
@click.pass_obj
def why(invocation: Invocation, group: str, file: str | None, task: str | None, earlier: str | None) -> None:
    """Say what changed in the code of GROUP since the cache was filled, and whether FILE is known.

    It names the function and shows a difference of it, or the constant, the parameter, the data file, or the
    library. Nothing is computed.

    \b
    Examples:
      earmark cache why zones.rhythm
      earmark cache why zones.rhythm track.mp3
      earmark cache why zones.rhythm --format json
    """
    from earmark.cli.output import emit

    document, changes = why_document(invocation, group, file, task=task, earlier=earlier)
    if invocation.format == "table":
        click.echo(_explained(document, changes))
    else:
        emit(
            invocation,
            document["changes"],
            columns=["kind", "name", "what", "before", "after"],
            document=document,
        )


@command("adopt")
@click.argument("group")
@click.argument("sources", nargs=-1)
@click.option("--task", help="Task of the group (default: the one that its name begins with).")
@click.option("--sample", type=click.IntRange(min=1), default=20, help="Items to compute again and compare.")
@click.option(
    "--tolerance",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Largest relative difference; 0: bit-equal.",
)
@click.option(
    "--from",
    "earlier",
    metavar="FINGERPRINT",
    help="Version to take over (default: the newest that is not current).",
)
@click.option("--seed", type=int, default=0, help="Seed of the sample.")
@click.pass_obj
def adopt(
    invocation: Invocation,
    group: str,
    sources: tuple[str, ...],
    task: str | None,
    sample: int,
    tolerance: float,
    earlier: str | None,
    seed: int,
) -> int:
    """Take over the entries of earlier code of GROUP after a refactoring that should change nothing.

    A random sample of the prepared items, or of the files and folders in SOURCES, is computed with the new code. If
    all values agree, the old entries are kept under the new fingerprint; if one differs, nothing is touched, the
    differences are shown, and the exit code is 3.

    \b
    Examples:
      earmark cache adopt zones.rhythm
      earmark cache adopt zones.rhythm --sample 50 --tolerance 1e-6
      earmark cache adopt mine.loudness recordings --task mine.py
    """
    from earmark.cli.output import emit, note
    from earmark.errors import GateError

    project, found = _group(invocation, group, task)
    fingerprint = found.fingerprint(project.cache.reads())
    old = _earlier_version(project.cache, group, fingerprint.digest, earlier)
    uris = _uris_by_identity(project, sources)
    adoption = project.cache.adopt(
        group,
        old,
        fingerprint,
        columns=found.columns,
        identities=list(uris),
        recompute=_recompute(project, found, uris),
        sample=sample,
        seed=seed,
        tolerance=tolerance,
    )
    rows = [
        dataclasses.asdict(row) | {"input": uris.get(bytes.fromhex(row.identity))}
        for row in adoption.differences
    ]
    emit(
        invocation,
        rows,
        columns=["input", "column", "old", "new"],
        document={**dataclasses.asdict(adoption), "differences": rows, "from": old.hex()},
    )
    if not adoption.adopted:
        raise GateError(
            f"`{group}` computes other values than version {old.hex()[:12]} did ({len(rows)} differences); nothing "
            "was touched. Run `earmark extract`, or give a --tolerance."
        )
    note(invocation, f"{adoption.compared} items compared, all equal: {adoption.entries} entries taken over.")
    return 0


def why_document(
    invocation: Invocation,
    group: str,
    file: str | None = None,
    *,
    task: str | None = None,
    earlier: str | None = None,
) -> tuple[dict[str, Any], list[str]]:
    """What changed in the code of a group since it filled the cache, and each change as text with its difference."""
    from earmark.cache.why import diff_parts

    project, fingerprint = _code_of(invocation, group, task)
    store = project.cache
    records = store.records(group)
    others = [record for record in records if record.digest != fingerprint.digest]
    named = [record for record in others if record.digest.hex().startswith(earlier or "")]
    before = named[0] if named else None
    changes = diff_parts(parts_of(before), fingerprint.parts) if before is not None else []
    entries = {row.fingerprint: row.entries for row in store.stats().versions}
    document: dict[str, Any] = {
        "group": group,
        "fingerprint": fingerprint.digest.hex(),
        "entries": entries.get(fingerprint.digest.hex(), 0),
        "compared_with": None if before is None else before.digest.hex(),
        "compared_entries": 0 if before is None else entries.get(before.digest.hex(), 0),
        "changes": [dataclasses.asdict(change) for change in changes],
        "file": None if file is None else _file_state(store, fingerprint.digest, records, file),
    }
    return document, [change.render() for change in changes]


def parts_of(record: FingerprintRecord) -> tuple[Part, ...]:
    """The parts that a stored version was made of."""
    from earmark.cache.parts import Part

    return tuple(Part(**part) for part in record.parts if {"kind", "name", "digest"} <= part.keys())


def _group(invocation: Invocation, name: str, task: str | None) -> tuple[Project, FeatureGroup]:
    """The group and its task: the one that was named, that of earmark.toml, or the one the group's name begins with."""
    from earmark.errors import UsageError
    from earmark.models.constraints import closest

    project = _project_of(invocation, name, task)
    groups = {group.name: group for group in project.task.all_groups}
    if name not in groups:
        raise UsageError(
            f"task `{project.task.name}` has no feature group `{name}`{closest(name, groups)}. "
            f"Known: {', '.join(groups)}."
        )
    return project, groups[name]


def _code_of(invocation: Invocation, name: str, task: str | None) -> tuple[Project, Fingerprint]:
    """The task of a group, and the code of the group as it is now; one that is cached by session has no items."""
    project = _project_of(invocation, name, task)
    if project.task.session_groups is not None:
        groups = project.task.session_groups(project)
        if name in groups:
            return project, groups[name]
    project, found = _group(invocation, name, task)
    return project, found.fingerprint(project.cache.reads())


def _project_of(invocation: Invocation, name: str, task: str | None) -> Project:
    named = task or invocation.settings().settings.task or name.partition(".")[0]
    return open_project(invocation, named)


def _file_state(
    store: FeatureCache, current: bytes, records: Sequence[FingerprintRecord], file: str
) -> dict[str, Any]:
    """What the cache knows of one input: its content's identity, under which code it is kept, why it failed."""
    identity = store.identify(file)
    digests = [current, *(record.digest for record in records if record.digest != current)]
    failure = store.failure(current, identity)
    return {
        "path": file,
        "identity": identity.hex(),
        "fresh": store.has_many(current, [identity])[0],
        "kept_by": [digest.hex() for digest in digests if store.has_many(digest, [identity])[0]],
        "failure": None if failure is None else failure.error,
    }


def _explained(document: dict[str, Any], changes: Sequence[str]) -> str:
    """The answer of `why` in sentences."""
    group, now, entries = document["group"], document["fingerprint"][:12], document["entries"]
    lines = [f"{group}: {entries} entries of the code as it is now ({now})."]
    if document["compared_with"] is None:
        lines.append("No other code of this group has filled the cache.")
    else:
        version = f"{document['compared_with'][:12]} ({document['compared_entries']} entries)"
        lines.append(f"Since version {version}:")
        lines += changes or ["nothing that shows in its parts changed"]
    file = document["file"]
    if file is not None:
        lines.append(_file_sentence(file))
    return "\n".join(lines)


def _file_sentence(file: dict[str, Any]) -> str:
    if file["failure"] is not None:
        return f"`{file['path']}`: failed before with the same bytes and code: {file['failure']}"
    if file["fresh"]:
        return f"`{file['path']}`: kept, a run computes nothing."
    if file["kept_by"]:
        return f"`{file['path']}`: kept only by earlier code ({file['kept_by'][0][:12]}), a run computes it again."
    return f"`{file['path']}`: this content was never computed."


def _uris_by_identity(project: Project, sources: Sequence[str]) -> dict[bytes, str]:
    uris = [item.uri for item in project.items(sources)]
    identities = project.cache.identify_many(uris)
    return {
        identity: uri for uri, identity in zip(uris, identities, strict=True) if isinstance(identity, bytes)
    }


def _earlier_version(store: FeatureCache, group: str, current: bytes, named: str | None) -> bytes:
    from earmark.errors import UsageError

    known = [
        bytes.fromhex(row.fingerprint)
        for row in store.stats().versions
        if row.group == group and row.entries and bytes.fromhex(row.fingerprint) != current
    ]
    chosen = [digest for digest in known if digest.hex().startswith(named or "")]
    if not chosen:
        shown = ", ".join(digest.hex()[:12] for digest in known) or "none"
        raise UsageError(
            f"The cache holds no earlier version {named or ''} of `{group}` to take over; it has {shown}. "
            "See `earmark cache stats --versions`."
        )
    return chosen[0]


def _recompute(
    project: Project, group: FeatureGroup, uris: dict[bytes, str]
) -> Callable[[Sequence[bytes]], list[np.ndarray]]:
    """A function from identities to the arrays that the code of now gives, not through the cache."""
    from earmark.errors import InputError
    from earmark.features.item import Item

    def compute(identities: Sequence[bytes]) -> list[np.ndarray]:
        items = [Item(identity.hex(), uris[identity]) for identity in identities]
        table = project.extract([group], items, use_cache=False)
        if table.failures:
            raise InputError("\n".join(f"{failure.uri}: {failure.error}" for failure in table.failures))
        return list(table.values) if group.kind == "vector" else list(table.frames(group.name))

    return compute
