"""Zones written into the tags of the user's files, and taken back.

What is written and where is in `entries`, what is left alone in `plan`, both beside this module.
All other tags, and the audio, stay equal to the byte; genre is not touched; UNCERTAIN is not written.

The journal lies in ``.earmark/tags/journal.jsonl`` of the project (`earmark.tasks.zones.tagging.journal`). A process
that is killed leaves each file either as it was or wholly tagged, and the next write or undo finds out which.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from earmark.errors import CacheError, EarmarkError, InputError, UsageError
from earmark.inference.prediction import Failed, Prediction
from earmark.tasks.task import TagWriting
from earmark.tasks.zones.tagging.entries import Entry, Tags
from earmark.tasks.zones.tagging.files import (
    flush,
    make_backup,
    put_in_place,
    sentence,
    temporary_beside,
    write_checked,
)
from earmark.tasks.zones.tagging.formats import encode, read_tags
from earmark.tasks.zones.tagging.journal import (
    FieldChange,
    History,
    Journal,
    TagWrite,
    Texts,
    journal_path,
)
from earmark.tasks.zones.tagging.plan import TagChange, TagReport, carries_zone, plan_tags, shown, texts_now

if TYPE_CHECKING:
    from earmark.cache.entries import FeatureCache
    from earmark.tasks.project import Project

__all__ = ["TAG_WRITING", "UNDO_CHOICES", "undo_tags", "write_tags"]

logger = logging.getLogger(__name__)

UNDO_CHOICES = ("last", "all")


def write_tags(
    plan: TagReport, *, journal: Path, backup_copy: bool = False, cache: FeatureCache | None = None
) -> TagReport:
    """Carry out a plan.

    Parameters
    ----------
    plan : TagReport
        Of `plan_tags`. A file whose fields have changed since is kept.
    journal : path
        Made if absent; holds the old values before a file is touched.
    backup_copy : bool, default False
        First copy each file to ``<file>.backup``, unless that exists.
    cache : FeatureCache, optional
        Told that the tagged file is the same audio, so that its features are not computed again.

    Returns
    -------
    TagReport
        In the order of the plan. A file that cannot be written is in it as ``failed``; the others go on.

    Raises
    ------
    UsageError
        The journal is damaged, or another process writes tags.
    """
    with Journal.opened(journal) as opened:
        opened.settle(texts_now)
        session = _Session(opened, backup_copy, cache)
        try:
            return TagReport(tuple(session.write(change) for change in plan.changes))
        finally:
            session.close()


def undo_tags(journal: Path, *, which: str = "last", cache: FeatureCache | None = None) -> TagReport:
    """Restore what the fields held before earmark wrote them.

    Parameters
    ----------
    journal : path
    which : {"last", "all"}
        The files of the last write, or every write, step by step back as far as nobody else wrote in between.
    cache : FeatureCache, optional
        As for `write_tags`.

    Returns
    -------
    TagReport
        One change per file: ``restored``, ``unchanged`` where it was taken back before, ``kept`` where our fields no
        longer hold what we wrote, ``failed``. Empty if nothing was ever written. A note tells of earlier writes that
        stand, such as those of a command that was interrupted and given again.

    Raises
    ------
    UsageError
        `which` is neither, the journal is damaged, or another process writes tags.
    """
    if which not in UNDO_CHOICES:
        raise UsageError(f"There is no undo of {which!r}; expected one of {', '.join(UNDO_CHOICES)}.")
    if not journal.is_file():
        return TagReport(())
    with Journal.opened(journal) as opened:
        opened.settle(texts_now)
        history = opened.history
        chosen = history.last_batch() if which == "last" else [w for w in history.writes if w.is_answer]
        ids = {write.id for write in chosen}
        session = _Session(opened, False, cache)
        try:
            paths = dict.fromkeys(write.path for write in chosen)
            return TagReport(tuple(session.undo(path, ids) for path in paths), _earlier(history, ids))
        finally:
            session.close()


def _earlier(history: History, ids: Collection[str]) -> tuple[str, ...]:
    paths = {write.path for write in history.standing() if write.id not in ids}
    told = f"{len(paths)} files carry answers of earlier writes; --undo all takes those back too."
    return (told,) if paths else ()


class _Session:
    """One command's writes: their journal, their batch, and what the cache is to be told at the end."""

    def __init__(self, journal: Journal, backup_copy: bool, cache: FeatureCache | None) -> None:
        self._journal = journal
        self._backup_copy = backup_copy
        self._cache = None if cache is None or cache.read_only else cache
        self._batch = f"{time.time_ns():x}-{os.getpid():x}"
        self._n_writes = 0
        self._same: list[tuple[bytes, bytes]] = []

    def write(self, change: TagChange) -> TagChange:
        """Carry out one planned change."""
        if change.status != "to write":
            return change
        try:
            seen = change.target.stat()
            tags = read_tags(change.target)
            now = tags.texts()
            if any(now[name] != before for name, (before, _) in change.fields.items()):
                return replace(change, status="kept", reason="its tags were changed meanwhile", fields={})
            entries = {
                name: [encode(tags, name, text) for text in after]
                for name, (_, after) in change.fields.items()
            }
            notes = [change.reason, self._replace(change.target, seen, tags, entries, run=change.run)]
        except (EarmarkError, OSError) as error:
            return replace(change, status="failed", reason=sentence(change.target, error), fields={})
        return replace(change, status="written", reason="; ".join(filter(None, notes)))

    def undo(self, path: str, ids: Collection[str]) -> TagChange:
        """Take back those writes to one file that are among `ids`."""
        standing = [write for write in self._journal.history.standing_of(path) if write.id in ids]
        if not standing:
            return TagChange(path, "unchanged", "it was taken back before")
        try:
            seen = Path(path).stat()
            tags = read_tags(Path(path))
            now = tags.texts()
            edited = [name for name, new in standing[-1].new_texts().items() if now[name] != new]
            if edited:
                said = "; ".join(f"{name} is {shown(now[name])}" for name in edited)
                return TagChange(path, "kept", f"changed since earmark wrote it: {said}")
            back, left = _way_back(standing, now)
            entries = {name: _restored(tags, form, old) for name, (form, old) in back.items()}
            undoes = [write.id for write in standing[left:]]
            note = self._replace(Path(path), seen, tags, entries, undoes=undoes)
        except (EarmarkError, OSError) as error:
            return TagChange(path, "failed", sentence(Path(path), error))
        fields = {name: (now[name], tuple(entry.text for entry in old)) for name, (_, old) in back.items()}
        notes = [f"{left} earlier writes stay: the tags were changed in between" if left else "", note]
        return TagChange(path, "restored", "; ".join(filter(None, notes)), fields)

    def close(self) -> None:
        """Tell the cache which contents are the same audio."""
        if self._cache is None or not self._same:
            return
        try:
            self._cache.same_input(self._same)
        except CacheError as error:
            logger.warning(
                "the features of %d tagged files will be computed again: %s", len(self._same), error
            )

    def _replace(
        self,
        target: Path,
        seen: os.stat_result,
        tags: Tags,
        entries: Mapping[str, Sequence[Entry]],
        *,
        run: str | None = None,
        undoes: Sequence[str] = (),
    ) -> str:
        """Replace fields of a file, between two lines of the journal; gives what the user should know of it.

        `seen` is the file's state before its `tags` were read: if it changes after that, it is left alone.
        """
        before = self._identity(target)
        write = self._new_write(target, tags, entries, before, run, undoes)
        temporary = Path(write.temporary)
        self._journal.begin(write)
        try:
            if self._backup_copy:
                make_backup(target)
            write_checked(target, temporary, entries)
            put_in_place(target, temporary, seen)
        except (EarmarkError, OSError):
            temporary.unlink(missing_ok=True)
            self._journal.cancelled(write)
            raise
        return self._note(write, target, before)

    def _note(self, write: TagWrite, target: Path, before: bytes | None) -> str:
        """Note that a file was replaced. What fails here fails no write: the next one finds out from the file."""
        try:
            flush(target.parent)
            after = self._identity(target)
            self._journal.done(write, after.hex() if after else None)
        except (InputError, OSError) as error:
            return f"the journal could not note it ({error}); the next write or undo finds it out"
        if before and after:
            # The copy was proved to hold the same audio, packet by packet.
            self._same.append((before, after))
        return ""

    def _new_write(
        self,
        target: Path,
        tags: Tags,
        entries: Mapping[str, Sequence[Entry]],
        before: bytes | None,
        run: str | None,
        undoes: Sequence[str],
    ) -> TagWrite:
        self._n_writes += 1
        fields = {
            name: FieldChange(tags.of_field(name), tuple(entry.text for entry in new))
            for name, new in entries.items()
        }
        return TagWrite(
            id=f"{self._batch}-{self._n_writes}",
            batch=self._batch,
            time=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            path=str(target),
            temporary=str(temporary_beside(target)),
            form=tags.form,
            fields=fields,
            identity=before.hex() if before else "",
            run=run,
            undoes=tuple(undoes),
        )

    def _identity(self, target: Path) -> bytes | None:
        return None if self._cache is None else self._cache.identify(target)


def _way_back(
    standing: Sequence[TagWrite], now: Texts
) -> tuple[dict[str, tuple[str, tuple[Entry, ...]]], int]:
    """How far writes can be taken back: per field the form and the entries to restore, and how many writes stay."""
    texts = dict(now)
    back: dict[str, tuple[str, tuple[Entry, ...]]] = {}
    left = len(standing)
    for write in reversed(standing):
        if any(texts[name] != new for name, new in write.new_texts().items()):
            break
        for name, change in write.fields.items():
            back[name] = (write.form, change.old)
            texts[name] = change.old_texts
        left -= 1
    return back, left


def _restored(tags: Tags, form: str, old: Sequence[Entry]) -> list[Entry]:
    """The old entries as bytes; if another program has written the tags in another form since, by their text."""
    return list(old) if form == tags.form else [encode(tags, str(e.field), e.text) for e in old]


def _plan(project: Project, outcomes: Sequence[Prediction | Failed], *, overwrite: bool = False) -> TagReport:
    return plan_tags(
        outcomes, journal=journal_path(project.root), overwrite=overwrite, identify=project.cache.identify
    )


def _write(project: Project, plan: TagReport, *, backup_copy: bool = False) -> TagReport:
    return write_tags(plan, journal=journal_path(project.root), backup_copy=backup_copy, cache=project.cache)


def _undo(project: Project, *, which: str = "last") -> TagReport:
    return undo_tags(journal_path(project.root), which=which, cache=project.cache)


TAG_WRITING = TagWriting(_plan, _write, _undo, carries_zone)
"""Tag writing as the verbs and the page call it, with the project's journal and cache."""
